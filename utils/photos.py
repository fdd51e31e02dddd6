"""What a data tool is given: one photo, a folder of photos, or a dataset whose masks go along."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from utils import dataset
from utils.dataset import DatasetError
from utils.images import JPEG, list_images
from utils.layouts import folders
from utils.layouts.base import PARTS


class Photo(NamedTuple):
    """A photo, its mask if there is one, and its part of the dataset ("" where there are no parts)."""

    image: Path
    mask: Path | None = None
    part: str = ""

    def places(self, name: str) -> tuple[Path, Path | None]:
        """Where photo and mask of the new name lie in a result of the same layout; masks are PNG."""
        if self.mask is None:
            return Path(f"{name}{ending(self.image)}"), None
        return Path(self.part, "images", f"{name}{ending(self.image)}"), Path(
            self.part, "masks", f"{name}.png"
        )


def find_photos(source: str | Path, skip_unpaired: bool = False) -> list[Photo]:
    """All photos of a file, a folder or a dataset. Raises FileNotFoundError, DatasetError."""
    source = Path(source)
    if source.is_file():
        return [Photo(source)]
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such photo, folder or dataset")
    parts = [part for part in ("", *PARTS) if (source / part / "images").is_dir()]
    if parts:
        # Pictures to test on often have no masks.
        parts = [part for part in parts if part != "test" or folders.sees(source / part)] or ["test"]
        pairs = [(pair, part) for part in parts for pair in dataset.find_pairs(source / part, skip_unpaired)]
        return [Photo(pair.image, pair.mask, part) for pair, part in pairs]
    found = [Photo(path) for path in list_images(source)]
    if not found:
        raise DatasetError(f"{source}: holds no photo: give a photo, a folder of photos or a dataset")
    stems = [photo.image.stem for photo in found]
    double = (
        next((stem for stem in stems if stems.count(stem) > 1), None)
        if len(set(stems)) < len(stems)
        else None
    )
    if double is not None:
        raise DatasetError(f"{source}: two photos are called {double}: rename one of them")
    return found


def ending(path: Path) -> str:
    """The ending that a changed copy gets: JPEG stays JPEG, all else is written without loss."""
    return ".jpg" if path.suffix.lower() in JPEG else ".png"
