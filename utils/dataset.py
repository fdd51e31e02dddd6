"""Photos and masks on disk, paired by stem; problems are named, never guessed away.

A dataset is a folder with `train/images`, `train/masks` and `val/...`, or one `images` + `masks`
pair that is split by stem. A folder of masks may also be called teacher, alphas or mattes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.images import ImageError, image_size, list_images, read_mask

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
    images, masks = by_stem(folder / "images"), by_stem(mask_folder)
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


def check(pairs: list[Pair], sample: int = 500) -> list[str]:
    """Look for masks that cannot be right; returns warnings with counts.

    Sizes of all pairs are compared from the file headers. Up to `sample` masks, evenly spread, are
    decoded: empty, full and inverted ones are counted (inverted: person on most of the border and
    not in the middle). Raises DatasetError for unreadable files and for sizes that differ.
    """
    _check_sizes(pairs)
    looked_at = pairs[:: max(1, len(pairs) // sample)]
    faults: dict[str, list[Path]] = {"empty": [], "full": [], "probably inverted": []}
    for pair in looked_at:
        fault = mask_fault(read_mask(pair.mask))
        if fault:
            faults[fault].append(pair.mask)
    return [
        f"{len(paths)} of {len(looked_at)} masks looked at are {fault} ({_some(paths)})"
        for fault, paths in faults.items()
        if paths
    ]


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


def by_stem(folder: str | Path) -> dict[str, Path]:
    """All pictures directly in `folder`, by stem. Raises FileNotFoundError, DatasetError for a stem twice."""
    found: dict[str, Path] = {}
    for path in list_images(folder):
        if path.stem in found:
            raise DatasetError(f"{path}: {found[path.stem].name} has the same name: keep one of them")
        found[path.stem] = path
    return found


def _some(paths: list[Path]) -> str:
    names = ", ".join(f"{path.parent.name}/{path.name}" for path in paths[:LISTED])
    return names + (", ..." if len(paths) > LISTED else "")
