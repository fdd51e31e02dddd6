"""Masks of every form come out as 8-bit grey, soft ones as soft as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from tests import portraits
from tests.conftest import refused
from utils import maskfile
from utils.images import ImageError, list_images, mask_to_uint8, read_mask
from utils.remask import remask

SOFT = (portraits.portrait(4)[1] * 255).round().astype(np.uint8)
HARD = (SOFT > 127).astype(np.uint8)
PALETTE = [0, 0, 0, *[7, 90, 200] * 14, 192, 128, 128, *[224, 224, 192] * 240]  # as Pascal VOC's


def save(path: Path, values: np.ndarray, mode: str | None = None, palette: list[int] | None = None) -> Path:
    picture = Image.fromarray(values) if mode is None else Image.fromarray(values).convert(mode)
    if palette:
        picture = Image.frombytes("P", values.shape[::-1], values.tobytes())
        picture.putpalette(palette)
    picture.save(path)
    return path


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.uint8, (9, 7)))
def test_eight_bits_stay_as_they_are(tmp_path_factory, values: np.ndarray) -> None:
    path = save(tmp_path_factory.mktemp("m") / "a.png", values)
    result = mask_to_uint8(remask(path))
    if values.max() == 1:
        assert np.array_equal(result, values * 255)
    elif ((values > 1) & (values < 255)).any():
        assert np.array_equal(result, values)
    else:
        assert np.array_equal(result, np.where(values == 255, 255, 0))


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.float32, (9, 7), elements=st.floats(0, 1, width=32)))
def test_what_is_written_is_read_back(tmp_path_factory, mask: np.ndarray) -> None:
    path = save(tmp_path_factory.mktemp("m") / "a.png", mask_to_uint8(mask))
    assert np.abs(read_mask(path) - mask).max() <= 1 / 255


@pytest.mark.parametrize(
    ("name", "make", "tolerance"),
    [
        ("grey", lambda p: save(p, SOFT), 0),
        ("one channel", lambda p: save(p, np.dstack([SOFT * 0, SOFT, SOFT * 0])), 0),
        ("a colour", lambda p: save(p, np.dstack([SOFT, SOFT // 3, SOFT * 0])), 0),
        ("rgb", lambda p: save(p, np.dstack([SOFT] * 3)), 0),
        ("alpha", lambda p: save(p, np.dstack([SOFT * 0 + 200] * 3 + [SOFT])), 0),
        ("grey with alpha", lambda p: save(p, np.dstack([SOFT * 0, SOFT])), 0),
        ("16 bit", lambda p: save(p, SOFT.astype(np.uint16) * 257), 0),
        ("grey palette", lambda p: save(p, SOFT, palette=[v for n in range(256) for v in (n, n, n)]), 0),
    ],
)
def test_soft_masks_of_every_form(tmp_path: Path, name: str, make, tolerance: int) -> None:
    result = mask_to_uint8(remask(make(tmp_path / "a.png")))
    assert np.abs(result.astype(int) - SOFT).max() <= tolerance, name


@pytest.mark.parametrize(
    "make",
    [
        lambda p: save(p, HARD),
        lambda p: save(p, HARD * np.uint8(255)),
        lambda p: save(p, HARD, palette=[0, 0, 0, 128, 0, 0]),
        lambda p: save(p, HARD.astype(np.uint16)),
        lambda p: save(p, HARD.astype(bool)),
        lambda p: save(p, np.dstack([HARD] * 3)),
        lambda p: save(p, np.dstack([HARD * np.uint8(100), HARD * 0, HARD * 0])),
        lambda p: save(p, np.dstack([HARD * np.uint8(192), HARD * np.uint8(128), HARD * np.uint8(128)])),
    ],
)
def test_hard_masks_of_every_form(tmp_path: Path, make) -> None:
    assert np.array_equal(mask_to_uint8(remask(make(tmp_path / "a.png"))), HARD * 255)


def test_labels_by_number(tmp_path: Path) -> None:
    labels = np.where(HARD == 1, np.uint8(15), np.uint8(2))
    labels[:5], labels[5:9] = 0, 255
    path = save(tmp_path / "voc.png", labels, palette=PALETTE)
    with pytest.raises(ImageError, match=r"labels 0, 2, 15.*--person"):
        remask(path)
    for made in (
        path,
        save(tmp_path / "grey.png", labels),
        save(tmp_path / "r.png", np.dstack([labels] * 3)),
    ):
        assert np.array_equal(remask(made, person=[15]), labels == 15)
    assert np.array_equal(remask(path, person=[2, 15]), np.isin(labels, (2, 15)))
    one = save(tmp_path / "one.png", np.where(HARD == 1, np.uint8(15), np.uint8(0)), palette=PALETTE)
    assert np.array_equal(remask(one), HARD)  # whatever colour the palette has for 15
    colours = save(tmp_path / "c.png", np.dstack([labels, labels // 2, labels]))
    with pytest.raises(ImageError, match="not of label numbers"):
        remask(colours, person=[15])


@pytest.mark.parametrize("level", [0, 1])
def test_black_and_white_in_a_palette_are_read_as_they_look(tmp_path: Path, level: int) -> None:
    for name, mask in (("both", HARD * np.uint8(255)), ("one", np.full((8, 8), 255 * level, np.uint8))):
        path = tmp_path / f"{name}.png"
        Image.fromarray(mask).quantize(2).save(path)
        assert np.array_equal(mask_to_uint8(read_mask(path)), mask), name
        assert np.array_equal(mask_to_uint8(remask(path)), mask), name
        assert np.array_equal(maskfile.examine(Image.open(path)).meant, mask), name


def test_a_map_of_colours_is_no_mask(tmp_path: Path) -> None:
    values = np.dstack([HARD * np.uint8(192), HARD * np.uint8(128), HARD * np.uint8(128)])
    values[:5] = 128, 0, 0
    with pytest.raises(ImageError, match=r"drawn in several colours.*--channel red"):
        remask(save(tmp_path / "a.png", values))


def test_channel_hard_and_soften(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.dstack([255 - SOFT, SOFT, SOFT * 0 + 255]))
    assert np.array_equal(mask_to_uint8(remask(path, channel="green")), SOFT)
    with pytest.raises(ImageError, match="no alpha"):
        remask(path, channel="alpha")
    path = save(tmp_path / "b.png", SOFT)
    assert np.array_equal(remask(path, hard=0.5), SOFT / 255 >= 0.5)
    wide = remask(path, soften=3.0)
    assert ((wide > 0.05) & (wide < 0.95)).sum() > 2 * ((SOFT > 13) & (SOFT < 242)).sum()
    assert 0 <= wide.min() <= wide.max() <= 1
    assert wide.sum() == pytest.approx(SOFT.sum() / 255, rel=0.05)


def test_command(command, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "a.png", SOFT)
    save(tmp_path / "in" / "b.png", HARD)
    save(tmp_path / "in" / "c.png", HARD * np.uint8(15))
    before = {path: path.read_bytes() for path in list_images(tmp_path / "in")}
    words = ("-m", "utils.remask", tmp_path / "in")
    result = command(*words, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "1 of 3 masks are faint" in result.stdout
    assert "c.png" in result.stdout
    found = [Image.open(path) for path in list_images(tmp_path / "out")]
    assert {picture.mode for picture in found} == {"L"}
    assert np.array_equal(np.asarray(found[0]), SOFT)
    assert np.array_equal(np.asarray(found[1]), HARD * 255)
    result = command(*words, tmp_path / "labels", "--person", 15)
    assert result.returncode == 0, result.stderr
    assert "2 of 3 masks are empty" in result.stdout
    assert np.array_equal(read_mask(tmp_path / "labels" / "c.png"), HARD)
    command(*words, tmp_path / "wider", "--grow", 1.5)
    command(*words, tmp_path / "tighter", "--grow", -0.5)
    areas = {name: read_mask(tmp_path / name / "a.png").sum() for name in ("tighter", "out", "wider")}
    assert areas["tighter"] < areas["out"] < areas["wider"] < 1.3 * areas["out"]
    refused(command(*words, tmp_path / "new", "--grow", "nan"), "--grow", "at most 50 pixels")
    result = command("-m", "utils.remask", tmp_path / "in" / "a.png", tmp_path / "one", "--hard", 0.5)
    assert result.returncode == 0, result.stderr
    assert set(np.unique(read_mask(tmp_path / "one" / "a.png"))) == {0, 1}
    assert {path: path.read_bytes() for path in list_images(tmp_path / "in")} == before
    refused(command(*words, tmp_path / "in"), "replace the originals")
    (tmp_path / "out" / "other.txt").write_text("mine")
    refused(command(*words, tmp_path / "out"), "holds other files", "other.txt")
    (tmp_path / "in" / "a.jpg").write_bytes((tmp_path / "in" / "a.png").read_bytes())
    refused(command(*words, tmp_path / "new"), "two masks are called a")
    (tmp_path / "in" / "a.jpg").write_text("no picture")
    (tmp_path / "in" / "a.png").unlink()
    refused(command(*words, tmp_path / "new"), "a.jpg")
