"""Photos and masks on disk, paired by name; problems are named, never guessed away.

`open_dataset` reads every layout of utils/layouts: folders `images` and `masks` (in `train/`, `val/`, `test/` or
split by stem), list files, cut-outs, Supervisely, COCO, VOC, the reference's arrays, videos with matte videos.
"""

from __future__ import annotations

import argparse
import filecmp
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from utils import layouts, maskfile
from utils.images import ImageError, Stored, image_size, open_upright, read_image, read_mask
from utils.layouts.base import WHOLE, DatasetError, How, Pair, Parts, some
from utils.layouts.folders import MASK_FOLDERS, find_pairs

DECODERS = min(4, os.cpu_count() or 1)  # photos decoded at a time: large ones are large
__all__ = ["MASK_FOLDERS", "DatasetError", "How", "Pair", "check", "find_pairs", "mask_fault", "open_dataset"]
__all__ += ["open_parts", "split", "training_pairs"]


def open_dataset(
    folder: str | Path,
    val_split: float = 0.1,
    skip_unpaired: bool = False,
    seed: int = 0,
    layout: str | None = None,
    category: str = "person",
) -> tuple[list[Pair], list[Pair]]:
    """Training and validation pairs of a dataset folder. Raises FileNotFoundError, DatasetError, VideoError.

    Without a part `val`, stems are split by a hash of stem and seed, so a photo stays on its side when others
    are added; frames of a video stay together. `layout` names how the folder is read where it looks like
    several, `category` the class that counts where there are several. A part `test` is left alone.
    """
    parts = open_parts(folder, skip_unpaired, layout, category)
    train = training_part(parts)
    validation = parts.get("val")
    return (train, validation) if validation and train is not validation else split(train, val_split, seed)


def open_parts(
    folder: str | Path, skip_unpaired: bool = False, layout: str | None = None, category: str = "person"
) -> Parts:
    """The pairs of a dataset by part: "train", "val", "test", or "" for all where it was never split."""
    return layouts.read(folder, layout, How(skip_unpaired, category))


def training_pairs(
    folder: str | Path,
    skip_unpaired: bool = False,
    weight: float = 1.0,
    layout: str | None = None,
    category: str = "person",
) -> list[Pair]:
    """What there is to learn from in a dataset: its part train, or all of it where it was never split.

    `layout` decides only where the folder looks like several. Raises as `open_dataset` does.
    """
    seen = layouts.seen_in(Path(folder)) if Path(folder).is_dir() else []
    parts = open_parts(folder, skip_unpaired, layout if layout in seen else None, category)
    return [pair._replace(weight=weight) for pair in training_part(parts)]


def training_part(parts: Parts) -> list[Pair]:
    """The part train, else what was never split, else what there is but test."""
    for part in ("train", WHOLE, "val"):
        if parts.get(part):
            return parts[part]
    return parts["test"]


def split(pairs: list[Pair], share: float, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Two lists, about `share` of the stems (of videos: of the videos) in the second.

    Raises DatasetError if one is empty.
    """
    units = list(dict.fromkeys(unit(pair) for pair in pairs))
    count = round(len(units) * share)
    if not 0 < count < len(units):
        what = "videos" if any(pair.group for pair in pairs) else "photos"
        raise DatasetError(f"{len(units)} {what} cannot be split: give a val folder or another --val-split")
    held = set(sorted(units, key=lambda name: draw(name, seed))[:count])
    return [p for p in pairs if unit(p) not in held], [p for p in pairs if unit(p) in held]


def unit(pair: Pair) -> str:
    """What a split may not divide: the video of a frame, else the photo."""
    return pair.group or pair.stem


def draw(name: str, seed: int) -> float:
    """A number 0..1 that depends on the name and the seed alone."""
    return int(hashlib.sha256(f"{seed} {name}".encode()).hexdigest()[:8], 16) / 2**32


def reading(args: argparse.Namespace) -> list[str]:
    """The words by which another script reads the same photos, divided in the same way."""
    usual = {"layout": None, "category": "person", "val_split": 0.1, "seed": 0}
    words = [
        word
        for name, value in usual.items()
        if getattr(args, name) != value
        for word in (f"--{name.replace('_', '-')}", str(getattr(args, name)))
    ]
    return [*words, "--skip-unpaired"] if args.skip_unpaired else words


def check(pairs: list[Pair], sample: int = 500, held: Sequence[Pair] = (), nobody: bool = False) -> list[str]:
    """The quick part of utils/doctor.py: what cannot work is refused, the rest is returned as warnings.

    Sizes of all pairs are compared from the file headers, photos of `pairs` and of `held` (validation) byte by
    byte. Up to `sample` masks, evenly spread, are decoded. Raises DatasetError for unreadable files, sizes that
    differ, photos on both sides, and where all masks are empty or full, or most inverted or not 0/255. All files
    of `held` are decoded (ImageError): it is first met when an epoch has passed, which a damaged photo would make vain.
    With `nobody` all masks may be empty: there is nothing to learn from scenes without people, but much to measure.
    """
    check_sizes([*pairs, *held])
    files = [
        pair for pair in held if isinstance(pair.image, Path)
    ]  # films are long, and cut off they have frames
    with ThreadPoolExecutor(DECODERS) as pool:
        for _ in pool.map(_decode, files):
            pass
    leaks = copies(pairs, held)
    if leaks:
        raise DatasetError(
            f"{len(leaks)} photos are in training and validation alike ({some(leaks)}): its score would mean "
            "nothing: python -m utils.doctor DATASET --fix OUT keeps them apart"
        )
    everything = [*pairs, *held]
    looked_at = everything[:: max(1, len(everything) // sample)]
    faults: dict[str, list] = {}
    for pair in looked_at:
        fault = _quick_look(pair.mask)
        if fault:
            faults.setdefault(fault, []).append(pair.mask)
    for fault, masks in faults.items():
        allowed = len(looked_at) - 1 if fault in ("empty", "full") else len(looked_at) / 2
        if len(masks) > allowed and not (nobody and fault == "empty"):
            raise DatasetError(
                f"{len(masks)} of {len(looked_at)} masks looked at are {fault} ({some(masks)}): "
                "nothing can be learnt from that: python -m utils.doctor DATASET --report doctor.html shows why"
            )
    return [
        f"{len(masks)} of {len(looked_at)} masks looked at are {fault} ({some(masks)})"
        for fault, masks in faults.items()
    ]


def _decode(pair: Pair) -> None:
    read_image(pair.image)
    read_mask(pair.mask)


def copies(pairs: Sequence[Pair], held: Sequence[Pair]) -> list[Path]:
    """Photos of `pairs` that `held` holds too, under whatever name; only files of equal sizes are read."""
    by_size: dict[int, list[Path]] = {}
    for pair in held:
        if isinstance(pair.image, Path):
            by_size.setdefault(pair.image.stat().st_size, []).append(pair.image)
    return [
        pair.image
        for pair in pairs
        if isinstance(pair.image, Path)
        and any(filecmp.cmp(pair.image, other, False) for other in by_size.get(pair.image.stat().st_size, ()))
    ]


def _quick_look(mask: Any) -> str | None:
    if isinstance(mask, Stored):
        return mask_fault(mask.read())
    held = maskfile.examine(open_upright(mask))
    if held.misread:
        return maskfile.MISREAD[held.fault]
    return mask_fault(held.meant.astype(np.float32) / 255)


def mask_fault(mask: np.ndarray) -> str | None:
    """ "empty", "full", "probably inverted" or None, for a mask 0..1 [H, W]."""
    mean = float(mask.mean())
    if mean < 1e-4:
        return "empty"
    if mean > 0.999:
        return "full"
    height, width = mask.shape
    middle = mask[height // 4 : -(height // 4) or None, width // 4 : -(width // 4) or None].mean()
    # People fill the middle or stand on the lower edge; an inverted mask fills top and sides.
    rim = np.concatenate([mask[0], mask[: height // 2, 0], mask[: height // 2, -1]]).mean()
    return "probably inverted" if rim > 0.8 and middle < 0.5 else None


def check_sizes(pairs: Sequence[Pair]) -> None:
    """Refuse (DatasetError) pairs whose files cannot be read, or whose mask has not the size of its photo. Reads headers alone."""
    wrong, unreadable = [], []
    for pair in pairs:
        try:
            if image_size(pair.image) != image_size(pair.mask):
                wrong.append(pair.mask)
        except ImageError as error:
            unreadable.append(str(error))
    if unreadable:
        raise DatasetError(f"{len(unreadable)} files cannot be read: {unreadable[0]}: repair or remove them")
    if wrong:
        raise DatasetError(
            f"{len(wrong)} masks have another size than their photo ({some(wrong)}): python -m utils.doctor tells which are turned"
        )
