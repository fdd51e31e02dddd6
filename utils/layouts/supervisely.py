"""A Supervisely project: `meta.json`, and for each dataset a folder with `img/` and `ann/NAME.json`.

Polygons (outline and holes, corners in whole pixels, the outline belongs to the object), bitmaps and alpha masks
of one class are united; other shapes are no masks. A class `person_bmp` or `person_poly` counts as `person`, as
in the Supervisely Person dataset, whose `neutral` (too hard to say) counts as not person.
Source: https://developer.supervisely.com/getting-started/supervisely-annotation-format/objects
"""

from __future__ import annotations

import base64
import io
import re
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from utils.images import unit
from utils.layouts.base import (
    PARTS,
    WHOLE,
    DatasetError,
    DrawnMask,
    How,
    Layout,
    Pair,
    Parts,
    annotation_error,
    by_stem,
    named,
    partners,
    read_json,
    source_of,
)


class ObjectsMask(DrawnMask):
    """The objects of some classes in one annotation file, which is read each time."""

    def __init__(self, photo: Path, path: Path, classes: frozenset[str]) -> None:
        super().__init__(photo)
        self.path, self.classes = path, classes

    def __str__(self) -> str:
        return str(self.path)

    def drawn_size(self) -> tuple[int, int]:
        return self._read()[0]

    def draw(self) -> np.ndarray:
        size, objects = self._read()
        canvas = np.zeros(size, np.float32)
        try:
            for entry in objects:
                if entry["classTitle"] in self.classes:
                    _draw(canvas, entry)
        except (KeyError, TypeError, AttributeError, ValueError, OSError, cv2.error, zlib.error) as error:
            raise annotation_error(self, error) from error
        return canvas

    def _read(self) -> tuple[tuple[int, int], list[dict]]:
        try:
            content = read_json(self.path)
            return (int(content["size"]["height"]), int(content["size"]["width"])), content["objects"]
        except (KeyError, TypeError, ValueError) as error:
            raise annotation_error(self, error) from error


def sees(folder: Path) -> bool:
    return (folder / "meta.json").is_file() and bool(_datasets(folder))


def read(folder: Path, how: How) -> Parts:
    """Pairs of all datasets; those called train, val or test are these parts. Raises DatasetError."""
    datasets = _datasets(folder)
    if not (folder / "meta.json").is_file() or not datasets:
        raise DatasetError(f"{folder}: needs meta.json and a folder with img and ann")
    classes = _classes(folder / "meta.json", how.category)
    found: Parts = {}
    for place in datasets:
        photos, notes = by_stem(place / "img"), _annotations(place / "ann")
        name = "" if len(datasets) == 1 else f"{place.name}_"
        pairs = [
            Pair(
                f"{name}{stem}",
                photos[stem],
                ObjectsMask(photos[stem], notes[stem], classes),
                source=name[:-1] or source_of(stem),
            )
            for stem in partners(place, photos, notes, how)
        ]
        part = PARTS.get(place.name.lower(), WHOLE)
        found[part] = found.get(part, []) + pairs
    return found


def decode_bitmap(text: str) -> np.ndarray:
    """The picture in a bitmap's text as float32 [H, W] in 0..1. Raises ValueError, OSError, zlib.error."""
    with Image.open(io.BytesIO(zlib.decompress(base64.b64decode(text)))) as picture:
        if picture.mode == "RGBA":
            return np.asarray(picture.getchannel("A")).astype(np.float32) / 255
        if picture.mode == "P":
            return (np.asarray(picture) > 0).astype(np.float32)
        return unit(np.asarray(picture.convert("L")))


def _draw(canvas: np.ndarray, entry: dict) -> None:
    kind = entry["geometryType"]
    if kind == "polygon":
        added = np.zeros(canvas.shape, np.uint8)
        cv2.fillPoly(added, [_corners(entry["points"]["exterior"])], 1)
        for hole in entry["points"].get("interior") or []:
            cv2.fillPoly(added, [_corners(hole)], 0)
        np.maximum(canvas, added, out=canvas)
    elif kind in ("bitmap", "alpha_mask"):
        part = decode_bitmap(entry["bitmap"]["data"])
        left, top = (int(number) for number in entry["bitmap"]["origin"])
        place = canvas[max(top, 0) : top + part.shape[0], max(left, 0) : left + part.shape[1]]
        if place.shape != part.shape:
            raise ValueError(f"a bitmap at {left}, {top} reaches beyond {canvas.shape[1]}x{canvas.shape[0]}")
        np.maximum(place, part if kind == "alpha_mask" else part > 0, out=place)


def _corners(points: list) -> np.ndarray:
    corners = np.asarray(points, np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2:
        raise ValueError("a polygon is not a list of [x, y]")
    return np.rint(corners).astype(np.int32)


def _datasets(folder: Path) -> list[Path]:
    inside = (path for path in sorted(folder.glob("*")) if (path / "ann").is_dir())
    return [path for path in inside if (path / "img").is_dir()]


def _annotations(folder: Path) -> dict[str, Path]:
    """By the photo's stem: they are called photo.jpg.json, in old projects photo.json."""
    files = sorted(path for path in folder.glob("*.json") if path.name[0] != ".")
    ending = re.compile(r"\.(jpe?g|png|webp|bmp|tiff?|gif)$", re.IGNORECASE)
    return named((ending.sub("", path.stem), path) for path in files)


def _classes(path: Path, category: str) -> frozenset[str]:
    """Titles whose first word is the category. Raises DatasetError."""
    try:
        titles = [entry["title"] for entry in read_json(path)["classes"]]
        wanted = [title for title in titles if re.split(r"[\s_-]", title.lower())[0] == category.lower()]
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path}: is not the meta.json of a project: lacks {error}") from error
    if not wanted:
        raise DatasetError(
            f"{path}: has no class {category}: choose one with --category: {', '.join(titles)}"
        )
    return frozenset(wanted)


LAYOUT = Layout("supervisely", "meta.json, and folders with img/ and ann/", sees, read)
