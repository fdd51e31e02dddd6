"""The second look, the mirror, scales and edges: what a card asks for beside one run of the network."""

from __future__ import annotations

import time

import numpy as np
import pytest

from utils import closer
from utils.pipeline import Matting, Stages
from utils.segmenter import Segmenter, ShapedSegmenter
from utils.temporal import Temporal


class Coarse(Segmenter):
    """Sees a picture in 32x32 pixels and calls bright ones person."""

    def __init__(self, size: tuple[int, int] = (32, 32), **card: object) -> None:
        super().__init__(card, size, 3, 1)
        self.runs = 0

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        self.runs += 1
        return (pixels[..., :1] > 127).astype(np.float32)


def photo(top: int, left: int, height: int, width: int) -> np.ndarray:
    """A black photo of 400x400 with a bright diamond in it: slanted edges, which few pixels show badly."""
    y, x = np.mgrid[0:400, 0:400]
    inside = np.abs((y - top) / height - 0.5) + np.abs((x - left) / width - 0.5) < 0.5
    return np.repeat((255 * inside).astype(np.uint8)[..., None], 3, 2)


def error(alpha: np.ndarray, frame: np.ndarray) -> float:
    return float(np.abs(alpha - frame[..., 0] / 255).mean())


@pytest.mark.parametrize("place", [(150, 60, 90, 80), (0, 310, 90, 90), (330, 0, 70, 90)])
def test_small_people_come_out_finer_wherever_they_are(place: tuple[int, ...]) -> None:
    frame = photo(*place)
    once, twice = Coarse()(frame), Coarse(closer=True)(frame)
    assert twice.shape == (400, 400)
    assert error(twice, frame) < 0.5 * error(once, frame)


def test_only_small_people_are_looked_at_again() -> None:
    looks = []
    for frame in (photo(150, 60, 90, 80), photo(10, 20, 380, 370), np.zeros((400, 400, 3), np.uint8)):
        segmenter = Coarse(closer=True)
        segmenter(frame)
        looks.append(segmenter.runs)
    assert looks == [2, 1, 1]


def test_the_part_holds_everybody_with_a_margin() -> None:
    alpha = np.zeros((100, 200), np.float32)
    alpha[30:40, 50:60] = alpha[60:70, 90:100] = 1
    box = closer.where(alpha)
    assert box.top < 30
    assert box.left < 50
    assert box.top + box.height > 70
    assert box.left + box.width > 100
    part = closer.cut(alpha, box)
    assert part.sum() == alpha.sum()
    assert np.array_equal(closer.put(np.zeros_like(alpha), part, box), alpha)


def test_milliseconds_are_those_of_both_looks() -> None:
    class Slow(Coarse):
        def infer(self, pixels: np.ndarray) -> np.ndarray:
            time.sleep(0.01)
            return super().infer(pixels)

    segmenter = Slow(closer=True)
    segmenter(photo(150, 60, 90, 80))
    assert segmenter.milliseconds["network"] >= 20


class Lopsided(Coarse):
    """Calls everybody person but in the left quarter of what it sees, where it is blind."""

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        alpha = super().infer(pixels)
        alpha[:, :, :8] = 0
        return alpha


def test_the_mirrored_look_is_turned_back_and_averaged() -> None:
    frame = photo(20, 20, 360, 360)
    plain, both = Lopsided()(frame), Lopsided(mirror=True)(frame)
    assert plain[200, 60] == 0
    assert both[200, 60] == pytest.approx(0.5)
    assert both[200, 340] == pytest.approx(0.5)
    assert both[200, 200] == 1
    assert np.allclose(both, both[:, ::-1], atol=0.05)


def test_mirror_and_second_look_together() -> None:
    frame = photo(150, 60, 90, 80)
    segmenter = Coarse(closer=True, mirror=True)
    alpha = segmenter(frame)
    assert segmenter.runs == 4
    assert error(alpha, frame) < 0.5 * error(Coarse(mirror=True)(frame), frame)


def shaped(scales: int) -> ShapedSegmenter:
    sizes = ((32, 32), (64, 48), (48, 64), (96, 80))
    return ShapedSegmenter([Coarse(size, scales=scales, mirror=True) for size in sizes])


def test_several_scales_are_averaged_largest_first() -> None:
    frame = photo(20, 20, 360, 360)  # square: shown at 80, 48 (twice) and 32 pixels
    looks = [
        [member.runs for member in several.members]
        for several in map(shaped, (1, 2, 3, 9))
        if several(frame).any()
    ]
    assert looks == [[0, 0, 0, 2], [0, 2, 0, 2], [2, 2, 0, 2], [2, 2, 0, 2]]
    large, both = shaped(1)(frame), shaped(2)(frame)
    middle = Coarse((64, 48), mirror=True)(frame)
    np.testing.assert_allclose(both, (large + middle) / 2, atol=1e-6)


def test_live_looks_keep_to_one_scale() -> None:
    several = shaped(3)
    several.coarse(photo(20, 20, 360, 360))
    assert [member.runs for member in several.members] == [0, 0, 0, 1]


def test_edges_are_drawn_as_the_live_scripts_draw_them() -> None:
    frame = photo(20, 20, 360, 360)
    alpha = Coarse(edges=True)(frame)
    assert error(alpha, frame) < 0.5 * error(Coarse()(frame), frame)
    live = Matting(Coarse(edges=True), Temporal("off"), Stages())(frame)
    np.testing.assert_array_equal(alpha, live)
    np.testing.assert_array_equal(alpha, Matting(Coarse(), Temporal("off"), Stages())(frame))
