"""Where mask edges lie beside picture edges, on disks whose masks are drawn too large or too small on purpose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils import edge_offset


def disk(radius: float, size: int = 200) -> np.ndarray:
    """Coverage 0..1 of a disk in the middle."""
    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    return np.clip(radius - np.hypot(x, y) + 0.5, 0, 1).astype(np.float32)


def photo(seed: int, alpha: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(seed)
    front, behind = ((150, 60, 90), (70, 160, 120))
    picture = alpha[..., None] * front + (1 - alpha[..., None]) * behind
    return np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-2.5, 2.5), radius=st.floats(40, 80), seed=st.integers(0, 99))
def test_a_shift_is_found(shift: float, radius: float, seed: int) -> None:
    alpha = disk(radius)
    mask = (255 * disk(radius + shift)).astype(np.uint8)
    found = edge_offset.offset(edge_offset.profile(photo(seed, alpha), mask))
    assert abs(found - shift) < 0.35


@settings(max_examples=25, deadline=None)
@given(pixels=st.floats(-4, 4), radius=st.floats(40, 80))
def test_growing_moves_the_edge_by_as_much(pixels: float, radius: float) -> None:
    grown = edge_offset.grown(disk(radius), pixels)
    assert grown.min() >= 0
    assert grown.max() <= 1
    found = np.sqrt(grown.sum() / np.pi)  # of a disk of that area
    assert abs(found - radius - pixels) < 0.2


@pytest.mark.parametrize("pixels", [0.5, -0.5])
def test_parts_of_a_pixel_count_on_large_masks_too(pixels: float) -> None:
    mask = np.zeros((3000, 3200), np.float32)
    mask[1380:1580, 100:300] = disk(60)
    found = np.sqrt(edge_offset.grown(mask, pixels).sum() / np.pi)
    assert abs(found - 60 - pixels) < 0.2


def test_pieces_make_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = disk(70)
    in_pieces = edge_offset.grown(mask, 2.3)
    monkeypatch.setattr(edge_offset, "TILE", 1000)
    np.testing.assert_allclose(in_pieces, edge_offset.grown(mask, 2.3), atol=1e-6)


def test_what_was_measured_is_taken_back() -> None:
    alpha = disk(60)
    mask = disk(61.5)
    measured = edge_offset.offset(edge_offset.profile(photo(1, alpha), (255 * mask).astype(np.uint8)))
    mended = (255 * edge_offset.grown(mask, -measured)).astype(np.uint8)
    assert abs(edge_offset.offset(edge_offset.profile(photo(1, alpha), mended))) < 0.3


def test_large_photos_are_measured_small() -> None:
    alpha, mask = disk(200, 768), disk(204, 768)
    found = edge_offset.offset(edge_offset.profile(photo(2, alpha), (255 * mask).astype(np.uint8)))
    assert abs(found - 2) < 0.25  # 4 of 768 pixels


@pytest.mark.parametrize("mask", [np.zeros((90, 120), np.uint8), np.full((90, 120), 255, np.uint8)])
def test_no_edge_no_profile(mask: np.ndarray) -> None:
    assert edge_offset.profile(np.zeros((90, 120, 3), np.uint8), mask) is None


def test_noise_has_no_edge() -> None:
    noise = np.random.default_rng(3).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    assert edge_offset.offset(edge_offset.profile(noise, (255 * disk(60)).astype(np.uint8))) is None
