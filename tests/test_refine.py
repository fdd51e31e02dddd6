"""Filters of alpha do what they say, keep its range, and take frames without anybody."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import portraits
from utils import refine

FRAME, ALPHA = portraits.portrait(5, 96, 80)
NOBODY = np.zeros_like(ALPHA)

ALPHA_FILTERS = [
    refine.smooth_step,
    lambda a: refine.feather(a, 4),
    lambda a: refine.grow(a, 3),
    lambda a: refine.grow(a, -3),
    refine.certain_regions,
    refine.without_islands,
    refine.without_holes,
    refine.one_person,
    lambda a: refine.guided(FRAME, a),
]


@pytest.mark.parametrize("number", range(len(ALPHA_FILTERS)))
@pytest.mark.parametrize("alpha", [ALPHA, NOBODY, np.ones_like(ALPHA)], ids=["somebody", "nobody", "all"])
def test_alpha_stays_alpha_and_the_input_untouched(number: int, alpha: np.ndarray) -> None:
    before = alpha.copy()
    result = ALPHA_FILTERS[number](alpha)
    assert result.shape == alpha.shape
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1
    assert np.array_equal(alpha, before)


@given(st.floats(0, 0.9), st.floats(0.01, 1), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_smooth_step_rises_from_0_to_1(low: float, span: float, at: float) -> None:
    high = min(1.0, low + span)
    values = refine.smooth_step(np.array([[0.0, low, at, high, 1.0]], np.float32), low, high)[0]
    assert values[1] == pytest.approx(0, abs=1e-6)
    assert values[3] == pytest.approx(1, abs=1e-3)
    assert 0 <= values[2] <= 1
    middle = refine.smooth_step(np.array([[(low + high) / 2]], np.float32), low, high)
    assert middle[0, 0] == pytest.approx(0.5, abs=0.02)


def test_smooth_step_refuses_a_reversed_range() -> None:
    with pytest.raises(ValueError, match="low < high"):
        refine.smooth_step(ALPHA, 0.6, 0.4)


def test_grow_and_shrink_by_so_many_pixels() -> None:
    dot = np.zeros((21, 21), np.float32)
    dot[10, 10] = 1
    grown = refine.grow(dot, 4)
    assert grown[10, 14] == 1
    assert grown[10, 15] == 0
    assert np.array_equal(refine.grow(grown, -4), dot)


def blobs() -> np.ndarray:
    """A large figure with a small hole, a small island and a middle-sized second figure, soft edges."""
    alpha = np.zeros((120, 160), np.float32)
    alpha[20:110, 20:80] = 1
    alpha[50:54, 40:44] = 0
    alpha[40:100, 110:140] = 1
    alpha[5:10, 100:105] = 1
    return cv2.GaussianBlur(alpha, (0, 0), 0.8)


def test_islands_go_with_their_soft_edge_and_figures_stay() -> None:
    alpha = blobs()
    result = refine.without_islands(alpha)
    assert result[:15, 95:110].max() == 0
    assert np.array_equal(result[30:], alpha[30:])


def test_holes_are_filled_and_the_outside_is_not() -> None:
    alpha = blobs()
    result = refine.without_holes(alpha)
    assert result[46:58, 36:48].min() > 0.4
    assert result[51:53, 41:43].min() == 1
    assert result[0, 0] == 0


def test_one_person_is_the_largest_or_the_one_clicked() -> None:
    alpha = blobs()
    largest = refine.one_person(alpha)
    assert largest[60, 50] > 0.9
    assert largest[:, 105:].max() == 0
    clicked = refine.one_person(alpha, (120, 60))
    assert clicked[60, 120] == 1
    assert clicked[:, :85].max() == 0
    assert np.array_equal(refine.one_person(alpha, (0, 0)), largest)  # nobody there: the largest


def test_certain_regions_drop_what_is_never_certain() -> None:
    alpha = np.zeros((80, 120), np.float32)
    alpha[10:70, 10:50] = 1
    alpha[20:60, 80:110] = 0.8
    result = refine.certain_regions(alpha)
    assert result[40, 30] == 1
    assert result[:, 80:].max() == 0


def test_guided_edges_follow_the_frame() -> None:
    """A quarter-size alpha with blurred edges comes back sharper at the true edge than by resizing."""
    frame, alpha = portraits.portrait(7, 240, 200)
    frame = np.where(alpha[..., None] > 0.5, 60, 200).astype(np.uint8).repeat(3, 2)
    small = cv2.GaussianBlur(cv2.resize(alpha, (50, 60), interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    plain = cv2.resize(small, (200, 240), interpolation=cv2.INTER_LINEAR)
    guided = refine.guided(frame, small)
    assert np.abs(guided - alpha).mean() < 0.85 * np.abs(plain - alpha).mean()


def test_levels_take_a_haze_away_and_keep_the_middle() -> None:
    alpha = np.full((40, 50), 0.04, np.float32)
    alpha[:, 20:30], alpha[:, 30:] = 0.5, 0.96
    flat = np.full((40, 50, 3), 90, np.uint8)
    stretched = refine.guided(flat, alpha, radius=1, levels=(0.05, 0.95))
    assert stretched[:, :15].max() == 0
    assert stretched[:, 35:].min() == 1
    assert stretched[20, 25] == pytest.approx(0.5, abs=0.01)
