"""Warm and cool: which way each channel goes, and that masks go along untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import portraits
from tests.conftest import refused
from utils import curve
from utils.dataset import find_pairs
from utils.images import list_images, read_image, read_rgba, write_image

GREYS = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)


def test_warm_lifts_red_and_cool_lifts_blue() -> None:
    image = portraits.portrait(3)[0].astype(int)
    warm, cool = (curve.toned(image.astype(np.uint8), tone).astype(int) for tone in curve.TONES)
    assert (warm - image)[..., 0].mean() > 3 > -20 > (warm - image)[..., 2].mean()
    assert (cool - image)[..., 2].mean() > 3 > -20 > (cool - image)[..., 0].mean()


def test_curves_pass_through_the_points_of_the_reference() -> None:
    """At 64, 128 and 192: up to 70, 140 and 210, down to 30, 80 and 120; saturation is left out on grey."""
    for points, values in ((curve.RAISED, (70, 140, 210)), (curve.LOWERED, (30, 80, 120))):
        assert tuple(curve._table(points, 1.0)[[64, 128, 192]]) == values


def test_colours_get_stronger_in_warm_light_and_paler_in_cool() -> None:
    image = np.full((4, 4, 3), (120, 150, 120), np.uint8)
    spread = {tone: np.ptp(curve.toned(image, tone)[0, 0].astype(int)) for tone in curve.TONES}
    assert spread["warm"] > spread["cool"]


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.sampled_from(curve.TONES))
def test_strength_goes_from_nothing_to_all(strength: float, tone: str) -> None:
    """Tones never change places, and the change grows with the strength."""
    red = curve.toned(GREYS, tone, strength)[0, :, 0].astype(int)
    assert (np.diff(red) >= -2).all()  # the way through hue and saturation rounds
    change = np.abs(red - GREYS[0, :, 0]).mean()
    assert change <= np.abs(curve.toned(GREYS, tone, 1.0)[0, :, 0].astype(int) - GREYS[0, :, 0]).mean() + 1


def test_strength_zero_changes_nothing() -> None:
    image = portraits.portrait(5)[0]
    assert np.array_equal(curve.toned(image, "warm", 0.0), image)


def test_dataset_with_masks(command, tmp_path: Path) -> None:
    people = portraits.write_dataset(tmp_path / "people", 3, 2)
    result = command("-m", "utils.curve", people, tmp_path / "out", "--tone", "both")
    assert result.returncode == 0, result.stderr
    for part, count in (("train", 6), ("val", 4)):
        pairs = find_pairs(tmp_path / "out" / part)
        assert len(pairs) == count
        for pair in pairs:
            original = people / part / "masks" / f"{pair.stem.rsplit('_', 1)[0]}.png"
            assert pair.mask.read_bytes() == original.read_bytes()
    again = command("-m", "utils.curve", people, tmp_path / "out", "--tone", "both")
    assert again.returncode == 0, again.stderr  # its own files it may write again
    refused(command("-m", "utils.curve", people, tmp_path / "out", "--tone", "warm"), "holds other files")
    (people / "val" / "masks" / "a_1000.png").unlink()
    refused(command("-m", "utils.curve", people, tmp_path / "new"), "a_1000", "--skip-unpaired")


def test_folder_and_single_photo(command, tmp_path: Path) -> None:
    image, alpha = portraits.portrait(2)
    rgba = np.dstack([image, (alpha * 255).astype(np.uint8)])
    write_image(tmp_path / "in" / "a.png", rgba)
    write_image(tmp_path / "in" / "b.jpg", image)
    result = command(
        "-m", "utils.curve", tmp_path / "in", tmp_path / "out", "--tone", "cool", "--strength", 0.5
    )
    assert result.returncode == 0, result.stderr
    assert [path.name for path in list_images(tmp_path / "out")] == ["a_cool.png", "b_cool.jpg"]
    assert np.array_equal(read_rgba(tmp_path / "out" / "a_cool.png")[..., 3], rgba[..., 3])
    result = command("-m", "utils.curve", tmp_path / "in" / "b.jpg", tmp_path / "one")
    assert result.returncode == 0, result.stderr
    warm, cool = (read_image(tmp_path / "one" / f"b_{tone}.jpg") for tone in curve.TONES)
    assert warm[..., 0].mean() > cool[..., 0].mean() + 10


@pytest.mark.parametrize("words", [("none", "out"), ("empty", "out")])
def test_refused(command, tmp_path: Path, words: tuple[str, str]) -> None:
    (tmp_path / "empty").mkdir()
    refused(command("-m", "utils.curve", *(tmp_path / word for word in words)), "folder")
