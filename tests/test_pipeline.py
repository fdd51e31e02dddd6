"""Frames are worked on side by side, in order, none lost; a stream's network remembers."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from tests import portraits
from utils.pipeline import Behind, Matting, Stages, ahead, delayed
from utils.segmenter import Look
from utils.temporal import Temporal

FRAME, ALPHA = portraits.portrait(5, 192, 160)


def test_ahead_keeps_the_order_and_works_meanwhile() -> None:
    def slow():
        for number in range(8):
            time.sleep(0.05)
            yield number

    began, seen = time.perf_counter(), []
    for number in ahead(slow()):
        time.sleep(0.05)
        seen.append(number)
    assert seen == list(range(8))
    assert time.perf_counter() - began < 0.7  # one after the other would take 0.8


def test_ahead_raises_what_the_items_raise() -> None:
    def broken():
        yield 1
        raise ValueError("broken")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_behind_runs_in_order_and_raises() -> None:
    seen: list[int] = []
    with Behind(lambda number: (time.sleep(0.01), seen.append(number))) as behind:
        for number in range(10):
            behind(number)
    assert seen == list(range(10))

    def fail(number: int) -> None:
        raise OSError("disk full")

    def run() -> None:
        with Behind(fail) as behind:
            for number in range(10):
                behind(number)

    with pytest.raises(OSError, match="disk full"):
        run()


def test_stages_may_be_read_while_others_add() -> None:
    stages, stop = Stages(), threading.Event()

    def add() -> None:
        number = 0
        while not stop.is_set():
            stages.add(f"stage {number % 50}", 1.0)
            number += 1

    thread = threading.Thread(target=add)
    thread.start()
    for _ in range(200):
        stages.summary()
    stop.set()
    thread.join()
    assert stages.summary()["stage 0"] == (1.0, 1.0)


class Network:
    """A segmenter that answers with a known alpha and keeps the priors it was given."""

    channels = 4

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self.priors: list = []

    def coarse(self, frame: np.ndarray, prior: np.ndarray | None) -> Look:
        self.priors.append(prior)
        return Look(np.ascontiguousarray(frame[::2, ::2]), np.ascontiguousarray(ALPHA[::2, ::2]))


def test_the_last_alpha_is_the_prior_until_a_cut() -> None:
    network = Network()
    matting = Matting(network, Temporal("off"), Stages())
    for frame in (FRAME, FRAME, np.rot90(FRAME, 2).copy(), FRAME[:, ::-1].copy()):
        alpha = matting(frame)
    assert alpha.shape == FRAME.shape[:2]
    assert [prior is None for prior in network.priors] == [True, False, True, True]
    assert np.array_equal(network.priors[1], ALPHA[::2, ::2])


def test_delayed_gives_every_frame_once() -> None:
    for count in (0, 1, 2, 3, 7):
        pairs = [(number, np.full((2, 2), 0.5, np.float32)) for number in range(count)]
        assert [frame for frame, _ in delayed(iter(pairs))] == list(range(count))
