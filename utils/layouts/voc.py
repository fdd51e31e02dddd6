"""Pascal VOC: `JPEGImages/`, `SegmentationClass/` of class PNGs, `ImageSets/Segmentation/train.txt` and others.

A pixel's palette index is its class: 0 background, 15 person, 255 "ignore" (outlines, what is too hard), which
counts as not person here. Masks are turned with photos that carry an EXIF orientation (base.DrawnMask).
Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from utils.images import ImageError, header
from utils.layouts.base import (
    WHOLE,
    DatasetError,
    DrawnMask,
    How,
    Layout,
    Pair,
    Parts,
    by_stem,
    leave_out,
    partners,
    source_of,
)

PHOTOS, CLASSES, LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
NAMES = ["background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"]
NAMES += ["diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"]
NAMES += ["tvmonitor"]


class ClassMask(DrawnMask):
    """Where a class PNG has one index."""

    def __init__(self, photo: Path, path: Path, index: int) -> None:
        super().__init__(photo)
        self.path, self.index = path, index

    def __str__(self) -> str:
        return str(self.path)

    def drawn_size(self) -> tuple[int, int]:
        return header(self.path)[0]

    def draw(self) -> np.ndarray:
        try:
            with Image.open(self.path) as picture:
                mode, labels = picture.mode, np.asarray(picture)
        except Exception as error:  # truncated data surfaces in many kinds
            raise ImageError(f"{self.path}: damaged or truncated picture") from error
        if mode not in ("P", "L"):
            raise ImageError(
                f"{self.path}: is {mode}, not a class PNG (a palette or grey with class numbers)"
            )
        return (labels == self.index).astype(np.float32)


def sees(folder: Path) -> bool:
    return (folder / PHOTOS).is_dir() and (folder / CLASSES).is_dir()


def read(folder: Path, how: How) -> Parts:
    """The photos of the lists, or all where there are no lists. Raises DatasetError."""
    if not sees(folder):
        raise DatasetError(f"{folder}: needs the folders {PHOTOS} and {CLASSES}")
    if how.category not in NAMES:
        raise DatasetError(f"{folder}: VOC has no class {how.category}: choose from {', '.join(NAMES[1:])}")
    index = NAMES.index(how.category)
    photos, masks = by_stem(folder / PHOTOS), by_stem(folder / CLASSES)
    found = {}
    for part, stems in (_lists(folder) or {WHOLE: photos.keys() | masks.keys()}).items():
        nowhere = sorted(stems - photos.keys() - masks.keys())
        leave_out(
            folder, [folder / PHOTOS / f"{s}.jpg" for s in nowhere], "are named in lists and missing", how
        )
        here = ({s: files[s] for s in stems & files.keys()} for files in (photos, masks))
        both = partners(folder, *here, how)
        found[part] = [
            Pair(s, photos[s], ClassMask(photos[s], masks[s], index), source=source_of(s)) for s in both
        ]
    return found


def _lists(folder: Path) -> dict[str, set[str]]:
    paths = {part: folder / LISTS / f"{part}.txt" for part in ("train", "val", "test")}
    return {part: _named_in(path) for part, path in paths.items() if path.is_file()}


def _named_in(path: Path) -> set[str]:
    return {line.split()[0] for line in path.read_text().splitlines() if line.strip()}


LAYOUT = Layout("voc", f"{PHOTOS}/, {CLASSES}/", sees, read)
