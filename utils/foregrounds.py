"""People cut out once and kept: foregrounds estimated from RGBA cut-outs or from photos and masks.

Estimating takes most of the time of drawing a picture, so it is done once per file and kept in a folder
(`Foregrounds(..., cache)`), under a name made of the file's path, size and time of change.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from utils import dataset, synthetic
from utils.dataset import Pair
from utils.files import replacing
from utils.images import ImageError, list_images, read_image, read_mask, read_rgba, resize, to_uint8

VERSION = 1  # of how foregrounds are estimated: kept ones of another version are not used
LARGEST = 1024  # pixels of a photo's longer side
HARD_EDGE = 0.7  # pixels: hand-made masks are hard, real edges are about a pixel wide
MARGIN = 8


class Person(NamedTuple):
    """A cut-out with its colours estimated beyond the edge: float32 [H, W, 3] and alpha [H, W]."""

    foreground: np.ndarray
    alpha: np.ndarray


def cut_out(rgba: np.ndarray) -> Person:
    """A person from an RGBA picture."""
    alpha = rgba[..., 3].astype(np.float32) / 255
    return Person(synthetic.estimate_foreground(np.ascontiguousarray(rgba[..., :3]), alpha), alpha)


def cut_out_photo(image: np.ndarray, mask: np.ndarray) -> Person:
    """A person from a photo uint8 [H, W, 3] and its mask 0..1, cut to where somebody is; hard edges softened.

    Raises ValueError for a mask with nobody in it.
    """
    scale = min(1.0, LARGEST / max(image.shape[:2]))
    size = max(1, round(scale * image.shape[0])), max(1, round(scale * image.shape[1]))
    image, mask = resize(image, *size), resize(mask, *size)
    rows, columns = np.flatnonzero(mask.max(1) > 0.05), np.flatnonzero(mask.max(0) > 0.05)
    if not len(rows):
        raise ValueError("the mask is empty")
    box = tuple(slice(max(0, at[0] - MARGIN), at[-1] + 1 + MARGIN) for at in (rows, columns))
    image, mask = np.ascontiguousarray(image[box]), np.ascontiguousarray(mask[box])
    if _is_hard(mask):
        mask = cv2.GaussianBlur(mask, (0, 0), HARD_EDGE)
    return Person(synthetic.estimate_foreground(image, mask), mask)


def find_cutouts(folder: str | Path) -> list[Path | Pair]:
    """RGBA pictures in a folder, or the photos with masks of a dataset (of its train part, where it has parts).

    Raises FileNotFoundError, DatasetError, ValueError.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    place = folder / "train" if (folder / "train").is_dir() else folder
    if (place / "images").is_dir() or place != folder:
        pairs = dataset.find_pairs(place, skip_unpaired=True)
        dataset.check_sizes(pairs)
        return pairs
    found = list_images(folder)
    if not found:
        raise dataset.DatasetError(f"{folder}: holds no cut-outs: give RGBA pictures, or images and masks")
    return found


class Foregrounds:
    """People of `sources` by call, estimated or taken from the folder `cache`.

    Kept foregrounds are of 8 bits, those just estimated are rounded alike where a cache is given, so a picture
    does not depend on what was kept. Many threads may ask. Raises ImageError for a file that cannot be used.
    """

    def __init__(self, sources: list[Path | Pair], cache: Path | None = None) -> None:
        self.sources, self.cache = sources, cache
        self._lock = threading.Lock()

    def __call__(self, source: Path | Pair) -> Person:
        if self.cache is None:
            return self._estimated(source)
        path = self.cache / f"{_key(source)}.npy"
        kept = _load(path)
        if kept is None:
            person = self._estimated(source)
            kept = np.dstack(
                [np.clip(np.rint(person.foreground), 0, 255).astype(np.uint8), to_uint8(person.alpha)]
            )
            with self._lock, replacing(path) as temporary:
                np.save(temporary, kept)
        return Person(kept[..., :3].astype(np.float32), kept[..., 3].astype(np.float32) / 255)

    def _estimated(self, source: Path | Pair) -> Person:
        if isinstance(source, Path):
            rgba = read_rgba(source)
            if rgba[..., 3].min() == 255:
                raise ImageError(
                    f"{source}: nothing in it is transparent: --cutouts wants RGBA cut-outs, or images + masks"
                )
            return cut_out(rgba)
        image, mask = read_image(source.image, at_least=LARGEST), read_mask(source.mask)
        if mask.shape != image.shape[:2]:  # a large JPEG came back reduced
            mask = resize(mask, *image.shape[:2])
        try:
            return cut_out_photo(image, mask)
        except ValueError as error:
            raise ImageError(f"{source.mask}: {error}: python -m utils.doctor finds such masks") from error


def _is_hard(mask: np.ndarray) -> bool:
    """Whether most of the outline jumps from 0 to 1 between two pixels."""
    kernel = np.ones((3, 3), np.uint8)
    outline = np.count_nonzero(cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, kernel) > 0.5)
    return np.count_nonzero((mask > 0.05) & (mask < 0.95)) < 0.25 * outline


def _key(source: Path | Pair) -> str:
    """A name for a source that changes whenever its files do."""
    text = [str(VERSION)]
    for path in [source] if isinstance(source, Path) else [source.image, source.mask]:
        facts = path.stat()
        text += [str(path.resolve()), str(facts.st_size), str(facts.st_mtime_ns)]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:32]


def _load(path: Path) -> np.ndarray | None:
    try:
        kept = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or spoiled: estimated anew
        return None
    return kept if kept.dtype == np.uint8 and kept.ndim == 3 and kept.shape[2] == 4 else None
