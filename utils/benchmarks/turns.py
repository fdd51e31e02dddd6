"""Latencies of several networks that take turns, so that a busy moment slows all of them alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from utils import cli, segmenter
from utils.blending import fit_background
from utils.images import read_image

PORTRAIT = Path(__file__).resolve().parents[2] / "data/samples/astronaut.jpg"
BATCH = 8


class Settings(NamedTuple):
    """How long to measure: `runs` of each after `warm_up`, at most `seconds` each measure; `frame` (height, width)."""

    runs: int
    warm_up: int
    seconds: float
    frame: tuple[int, int]


class Times(NamedTuple):
    """Milliseconds of each run: the network alone, a camera's frame, and `batch` pictures at once (empty if 1)."""

    network: list[float]
    frame: list[float]
    batched: list[float]
    batch: int


def measure(paths: list[Path], threads: int, settings: Settings) -> list[Times]:
    """Times of each network on so many threads; for a new process, as TensorFlow settles its threads once."""
    cv2.setNumThreads(threads)
    networks = [segmenter.open(path, threads) for path in paths]
    rng = np.random.default_rng(0)
    noise = [rng.random((1, *n.size, n.channels), np.float32) * 255 for n in networks]
    picture = fit_background(read_image(PORTRAIT), settings.frame)
    label = f"{threads} thread{'s' * (threads != 1)}"
    alone = in_turns([partial(n.infer, p) for n, p in zip(networks, noise)], settings, f"{label}, network")
    frames = in_turns([partial(n, picture) for n in networks], settings, f"{label}, frame")
    many = {i: np.repeat(noise[i], BATCH, 0) for i, n in enumerate(networks) if n.batches}
    batched = in_turns([partial(networks[i].infer, p) for i, p in many.items()], settings, f"{label}, batch")
    by_network = dict(zip(many, batched))
    return [
        Times(one, frame, by_network.get(i, []), BATCH if i in many else 1)
        for i, (one, frame) in enumerate(zip(alone, frames))
    ]


def in_turns(works: list[Callable[[], Any]], settings: Settings, label: str) -> list[list[float]]:
    """Milliseconds of each run of each work, warm-up left out; each turn in another order, as who is next finds a
    cache full of the last one's numbers."""
    times: list[list[float]] = [[] for _ in works]
    if not works:
        return times
    order, shuffle = list(range(len(works))), random.Random(0).shuffle
    began = time.perf_counter()
    for turn in cli.progress(range(settings.warm_up + settings.runs), label, unit="turn"):
        shuffle(order)
        for index in order:
            start = time.perf_counter()
            works[index]()
            times[index].append(1000 * (time.perf_counter() - start))
        if time.perf_counter() - began > settings.seconds and turn > 10:
            break
    whole = len(times[0]) == settings.warm_up + settings.runs
    warm = settings.warm_up if whole else min(settings.warm_up, len(times[0]) // 4)
    return [record[warm:] for record in times]
