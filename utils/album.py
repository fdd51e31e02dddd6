"""Photos of a folder and the masks made for them: where they are kept, which are missing, which photos are rejected.

Masks lie in `masks/`: of OUT, or beside the photos (beside the folder if it is called `images`, so that both are
a dataset). `rejected.txt` next to it lists the rejected photos, whose masks wait in `rejected/`.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from utils.files import write_text
from utils.images import ImageError, mask_to_uint8, read_mask, write_image
from utils.layouts.base import by_stem


class Album:
    """The photos in `folder`, by name. Raises FileNotFoundError, DatasetError for a stem twice, ValueError for none."""

    def __init__(self, folder: str | Path, out: str | Path | None = None) -> None:
        folder = Path(folder)
        self.photos = list(by_stem(folder).values())
        if not self.photos:
            raise ValueError(f"{folder}: no photos there")
        self.root = Path(out) if out else folder.parent if folder.resolve().name == "images" else folder
        self._list = self.root / "rejected.txt"
        self.rejected = set(self._list.read_text().splitlines()) if self._list.exists() else set()

    def mask_path(self, photo: Path) -> Path:
        """Where the mask of a photo is kept."""
        return self.root / ("rejected" if photo.name in self.rejected else "masks") / f"{photo.stem}.png"

    def first_open(self) -> int:
        """The number of the first photo that has no mask and is not rejected; 0 if all are done."""
        undone = (number for number, photo in enumerate(self.photos) if not self.done(photo))
        return next(undone, 0)

    def done(self, photo: Path) -> bool:
        """Whether a photo has a mask or is rejected."""
        return photo.name in self.rejected or self.mask_path(photo).exists()

    def mask(self, photo: Path, size: tuple[int, int]) -> np.ndarray | None:
        """The kept mask, float32 [H, W] in 0..1, or None. Raises ImageError if it is damaged or of another size."""
        path = self.mask_path(photo)
        if not path.exists():
            return None
        mask = read_mask(path)
        if mask.shape != size:
            raise ImageError(f"{path}: not of the size of its photo: move it away to make a new one")
        return mask

    def save(self, photo: Path, matte: np.ndarray) -> None:
        """Keep a mask, uint8 [H, W]: whole or not at all. Raises OSError."""
        write_image(self.mask_path(photo), mask_to_uint8(matte / 255))

    def reject(self, photo: Path) -> bool:
        """Reject a photo, or take it back; returns whether it is rejected now. Its mask goes along."""
        before = self.mask_path(photo)
        self.rejected ^= {photo.name}
        write_text(self._list, "".join(f"{name}\n" for name in sorted(self.rejected)))
        if before.exists():
            after = self.mask_path(photo)
            after.parent.mkdir(parents=True, exist_ok=True)
            os.replace(before, after)
        return photo.name in self.rejected
