"""Steadying: still pixels are held, moving ones followed, cuts and empty scenes forget."""

from __future__ import annotations

import numpy as np
import pytest

from tests import portraits
from utils import temporal
from utils.pipeline import Matting, Stages
from utils.segmenter import Segmenter
from utils.temporal import OnePerson, Temporal

PICTURE, ALPHA = portraits.portrait(5, 96, 80)
OTHER, OTHER_ALPHA = portraits.portrait(11, 96, 80)


def noisy(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The same scene again: grain on the picture, noise on alpha."""
    rng = np.random.default_rng(seed)
    picture = np.clip(PICTURE + rng.normal(0, 2, PICTURE.shape), 0, 255).astype(np.uint8)
    return picture, np.clip(ALPHA + rng.normal(0, 0.1, ALPHA.shape), 0, 1).astype(np.float32)


def flicker(way: str) -> float:
    memory, results = Temporal(way), []
    for seed in range(12):
        picture, alpha = noisy(seed)
        memory.watch(picture)
        results.append(memory(picture, alpha))
    return float(np.abs(np.diff(results[2:], axis=0)).mean())


def test_still_scenes_flicker_less() -> None:
    plain = flicker("off")
    assert flicker("smooth") < 0.35 * plain
    assert flicker("flow") < 0.9 * plain


@pytest.mark.parametrize("way", ["smooth", "flow"])
def test_what_moves_is_followed_at_once(way: str) -> None:
    """A person who jumps aside by a third of the picture leaves no ghost behind."""
    memory = Temporal(way)
    memory(PICTURE, ALPHA)
    moved, alpha = np.roll(PICTURE, 26, 1), np.roll(ALPHA, 26, 1)
    memory.watch(moved)
    result = memory(moved, alpha)
    assert np.abs(result - alpha).mean() < 0.04


@pytest.mark.parametrize("way", ["off", "smooth", "flow"])
def test_a_cut_forgets(way: str) -> None:
    memory = Temporal(way)
    memory.watch(PICTURE)
    memory(PICTURE, ALPHA)
    memory.watch(OTHER)
    assert memory.alpha is None  # before the network is asked: it must not be given the old scene's prior
    assert memory.resets == 1
    assert np.array_equal(memory(OTHER, OTHER_ALPHA), OTHER_ALPHA)


@pytest.mark.parametrize("gain", [0.6, 1.4])
def test_a_change_of_light_is_no_cut(gain: float) -> None:
    memory = Temporal("smooth")
    memory.watch(PICTURE)
    memory(PICTURE, ALPHA)
    memory.watch(np.clip(PICTURE * gain, 0, 255).astype(np.uint8))
    assert memory.resets == 0


def test_nobody_left_forgets() -> None:
    memory = Temporal("smooth")
    memory(PICTURE, ALPHA)
    empty = memory(PICTURE, ALPHA * 0.1)
    assert empty.max() <= 0.1
    assert memory.alpha is None


def test_what_is_no_number_is_not_remembered() -> None:
    class Broken(Segmenter):
        def infer(self, pixels: np.ndarray) -> np.ndarray:
            alpha = np.full((len(pixels), 32, 32, 1), 0.5, np.float32)
            alpha[:, 3, 3] = np.nan
            return alpha

    network, frame = Broken({}, (32, 32), 3, 1), np.zeros((64, 64, 3), np.uint8)
    assert np.isfinite(network(frame)).all()
    assert np.isfinite(Matting(network, Temporal("smooth"), Stages())(frame)).all()


def test_another_size_begins_anew() -> None:
    memory = Temporal("smooth")
    memory(PICTURE, ALPHA)
    small = np.ascontiguousarray(PICTURE[::2, ::2]), np.ascontiguousarray(ALPHA[::2, ::2])
    assert np.array_equal(memory(*small), small[1])


def test_unknown_ways_are_refused() -> None:
    with pytest.raises(ValueError, match="choose one of off, smooth"):
        Temporal("magic")


def test_a_frame_unlike_both_its_neighbours_is_mended() -> None:
    hole = ALPHA.copy()
    hole[40:50, 30:40] = 0
    assert np.array_equal(temporal.mended(ALPHA, hole, ALPHA), ALPHA)
    assert np.array_equal(temporal.mended(OTHER_ALPHA, hole, ALPHA)[0], hole[0])


def two_people(shift: int = 0) -> np.ndarray:
    alpha = np.zeros((96, 160), np.float32)
    alpha[20:, 10 + shift : 60 + shift] = 1
    alpha[40:, 110:140] = 1
    return alpha


def test_the_largest_is_kept_and_the_bystander_fades() -> None:
    keep = OnePerson()
    first = keep(two_people())
    assert first[60, 30] == 1
    assert first[60, 125] == 0
    lonely = two_people()
    lonely[:, 100:] = 0
    keep(lonely)
    again = [keep(two_people())[60, 125] for _ in range(20)]
    assert max(again) < 0.8
    assert again[-1] < 0.01  # who comes in is faded out, not switched off
    assert (np.diff(again) <= 0).all()


def test_the_one_chosen_is_followed() -> None:
    keep = OnePerson()
    keep(two_people())
    keep.choose(125 / 160, 0.7)
    for shift in range(0, 30, 3):
        result = keep(two_people(shift))
    assert result[60, 125] == 1
    for _ in range(20):
        result = keep(two_people(30))
    assert result[60, 60] < 0.01


@pytest.mark.parametrize("height", [4, 13, 20])
def test_flow_takes_very_wide_pictures(height: int) -> None:
    memory = Temporal("flow")
    picture = np.zeros((height, 256, 3), np.uint8)
    for _ in range(2):
        alpha = memory(picture, np.ones((height, 256), np.float32))
    assert alpha.shape == (height, 256)
