"""`images/` and `masks/` paired by stem, and the same in `train/`, `val/` and `test/`."""

from __future__ import annotations

from pathlib import Path

from utils.layouts.base import DatasetError, How, Pair, by_stem, layout, partners, source_of

MASK_FOLDERS = ("masks", "teacher", "alphas", "mattes")


def find_pairs(folder: str | Path, skip_unpaired: bool = False, weight: float = 1.0) -> list[Pair]:
    """Pairs of `folder/images` and its masks, by stem. Raises FileNotFoundError, DatasetError.

    Photos without a mask and masks without a photo are refused, or left out with `skip_unpaired`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such dataset folder")
    masks_in = mask_folder(folder)
    if masks_in is None or not (folder / "images").is_dir():
        raise DatasetError(
            f"{folder}: needs a folder images and a folder masks (or train/images, train/masks)"
        )
    images, masks = by_stem(folder / "images"), by_stem(masks_in)
    stems = partners(folder, images, masks, How(skip_unpaired))
    return [Pair(stem, images[stem], masks[stem], weight, source_of(stem)) for stem in stems]


def sees(folder: Path) -> bool:
    return (folder / "images").is_dir() and mask_folder(folder) is not None


def mask_folder(folder: Path) -> Path | None:
    """The folder beside `images` that holds the masks."""
    return next((folder / name for name in MASK_FOLDERS if (folder / name).is_dir()), None)


LAYOUT = layout(
    "folders", "images/ and masks/", sees, lambda folder, how: find_pairs(folder, how.skip_unpaired)
)
