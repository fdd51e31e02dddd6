"""RGBA pictures whose alpha is the mask: a folder of them, or AISegment's `clip_img` and `matting` trees.

A folder of cut-outs shows each person on white, as every picture with transparency is read. In AISegment's
trees the photo is `clip_img/1803151818/clip_00000000/NAME.jpg` and its cut-out
`matting/1803151818/matting_00000000/NAME.png`.
Source: https://github.com/aisegmentcn/matting_human_datasets
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from utils.images import Stored, image_size, list_images, read_alpha
from utils.layouts.base import (
    DatasetError,
    How,
    Pair,
    in_one_name,
    layout,
    named,
    partners,
    pictures_below,
    source_of,
)

PHOTOS, CUTOUTS = "clip_img", "matting"
PREFIXES = ("clip_", "matting_")
LOOKED_AT = 5


class Alpha(Stored):
    """The alpha of a cut-out, also where it is opaque from edge to edge."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def size(self) -> tuple[int, int]:
        return image_size(self.path)

    def read(self) -> np.ndarray:
        return read_alpha(self.path)


def sees(folder: Path) -> bool:
    """Whether the trees are there, or the pictures (the first few, by their headers) have alpha."""
    if (folder / PHOTOS).is_dir() and (folder / CUTOUTS).is_dir():
        return True
    pictures = list_images(folder)[:LOOKED_AT]
    return bool(pictures) and all(_has_alpha(path) for path in pictures)


def read(folder: Path, how: How) -> list[Pair]:
    """Pairs of a folder of cut-outs or of the trees. Raises DatasetError."""
    if (folder / PHOTOS).is_dir() and (folder / CUTOUTS).is_dir():
        photos, cutouts = _tree(folder / PHOTOS), _tree(folder / CUTOUTS)
        stems = partners(folder, photos, cutouts, how)
    else:
        photos = cutouts = named((path.stem, path) for path in list_images(folder))
        stems = sorted(photos)
    if not stems:
        raise DatasetError(f"{folder}: holds no cut-outs")
    return [Pair(stem, photos[stem], Alpha(cutouts[stem]), source=source_of(stem)) for stem in stems]


def _tree(root: Path) -> dict[str, Path]:
    """Pictures by their path below `root`, without what tells clip_00000000 from matting_00000000."""
    return named((_name(path.relative_to(root)), path) for path in pictures_below(root))


def _name(path: Path) -> str:
    folders = list(path.parent.parts)
    for number, part in enumerate(folders):
        prefix = next((p for p in PREFIXES if part.startswith(p)), "")
        folders[number] = part.removeprefix(prefix)
    return in_one_name([*folders, path.stem])


def _has_alpha(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return "A" in picture.getbands() or "transparency" in picture.info
    except Exception:  # whatever a decoder says: not a cut-out
        return False


LAYOUT = layout("cutouts", "RGBA pictures, or clip_img/ and matting/", sees, read)
