"""Photos and masks on disk, paired by stem; problems are named, never guessed away.

A dataset is a folder with `train/images`, `train/masks` and `val/...`, or one `images` + `masks`
pair that is split by stem. A folder of masks may also be called teacher, alphas or mattes.
"""

from __future__ import annotations

import filecmp
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils import maskfile
from utils.images import ImageError, image_size, list_images, open_upright

MASK_FOLDERS = ("masks", "teacher", "alphas", "mattes")
LISTED = 5


class Pair(NamedTuple):
    """One photo and its mask. `weight` scales its loss."""

    stem: str
    image: Path
    mask: Path
    weight: float = 1.0


class DatasetError(ValueError):
    """A dataset that cannot be used as it is; the message names files and the remedy."""


def open_dataset(
    folder: str | Path, val_split: float = 0.1, skip_unpaired: bool = False, seed: int = 0
) -> tuple[list[Pair], list[Pair]]:
    """Training and validation pairs of a dataset folder. Raises FileNotFoundError, DatasetError.

    Without a `val` folder, stems are split by a hash of stem and seed, so a photo stays on its side
    when others are added.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such dataset folder")
    if (folder / "train").is_dir():
        train = find_pairs(folder / "train", skip_unpaired)
        if (folder / "val").is_dir():
            return train, find_pairs(folder / "val", skip_unpaired)
        return split(train, val_split, seed)
    return split(find_pairs(folder, skip_unpaired), val_split, seed)


def find_pairs(folder: str | Path, skip_unpaired: bool = False, weight: float = 1.0) -> list[Pair]:
    """Pairs of `folder/images` and its masks, by stem. Raises FileNotFoundError, DatasetError.

    Photos without a mask and masks without a photo are refused, or left out with `skip_unpaired`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such dataset folder")
    mask_folder = next((folder / name for name in MASK_FOLDERS if (folder / name).is_dir()), None)
    if mask_folder is None or not (folder / "images").is_dir():
        raise DatasetError(
            f"{folder}: needs a folder images and a folder masks (or train/images, train/masks)"
        )
    images, masks = _by_stem(folder / "images"), _by_stem(mask_folder)
    lonely = [images[stem] for stem in sorted(images.keys() - masks.keys())]
    lonely += [masks[stem] for stem in sorted(masks.keys() - images.keys())]
    if lonely and not skip_unpaired:
        raise DatasetError(
            f"{folder}: {len(lonely)} files have no partner of the same name ({_some(lonely)}): "
            "add it, or pass --skip-unpaired"
        )
    if lonely:
        print(f"note: {folder}: {len(lonely)} files without a partner are left out ({_some(lonely)})")
    pairs = [Pair(stem, images[stem], masks[stem], weight) for stem in sorted(images.keys() & masks.keys())]
    if not pairs:
        raise DatasetError(f"{folder}: holds no photo with a mask of the same name")
    return pairs


def split(pairs: list[Pair], share: float, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Two lists, about `share` of the stems in the second. Raises DatasetError if one is empty."""

    def draw(stem: str) -> float:
        return int(hashlib.sha256(f"{seed} {stem}".encode()).hexdigest()[:8], 16) / 2**32

    ranked = sorted(pairs, key=lambda pair: draw(pair.stem))
    count = round(len(pairs) * share)
    if not 0 < count < len(pairs):
        raise DatasetError(f"{len(pairs)} photos cannot be split: give a val folder or another --val-split")
    held = {pair.stem for pair in ranked[:count]}
    return [p for p in pairs if p.stem not in held], [p for p in pairs if p.stem in held]


def check(pairs: list[Pair], sample: int = 500, held: Sequence[Pair] = ()) -> list[str]:
    """The quick part of utils/doctor.py: what cannot work is refused, the rest is returned as warnings.

    Sizes of all pairs are compared from the file headers, photos of `pairs` and of `held` (validation) byte by
    byte. Up to `sample` masks, evenly spread, are decoded. Raises DatasetError for unreadable files, sizes that
    differ, photos on both sides, and where all masks are empty or full, or most inverted or not 0/255.
    """
    _check_sizes([*pairs, *held])
    leaks = copies(pairs, held)
    if leaks:
        raise DatasetError(
            f"{len(leaks)} photos are in training and validation alike ({_some(leaks)}): its score would mean "
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
        if len(masks) > allowed:
            raise DatasetError(
                f"{len(masks)} of {len(looked_at)} masks looked at are {fault} ({_some(masks)}): "
                "nothing can be learnt from that: python -m utils.doctor DATASET --report doctor.html shows why"
            )
    return [
        f"{len(masks)} of {len(looked_at)} masks looked at are {fault} ({_some(masks)})"
        for fault, masks in faults.items()
    ]


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
    if not isinstance(mask, Path):
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


def _check_sizes(pairs: list[Pair]) -> None:
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
        raise DatasetError(f"{len(wrong)} masks have another size than their photo ({_some(wrong)})")


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in list_images(folder):
        if path.stem in found:
            raise DatasetError(f"{path}: {found[path.stem].name} has the same name: keep one of them")
        found[path.stem] = path
    return found


def _some(paths: list[Path]) -> str:
    names = ", ".join(f"{path.parent.name}/{path.name}" for path in paths[:LISTED])
    return names + (", ..." if len(paths) > LISTED else "")
