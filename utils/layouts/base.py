"""What all layouts share: pairs, parts (train, val, test), pairing by name, masks drawn from annotations."""

from __future__ import annotations

import json
import re
import unicodedata
from abc import abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils.images import ImageError, Stored, header, list_images, turn

PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
WHOLE = ""  # the part of a dataset that was never split
LISTED = 5


class Pair(NamedTuple):
    """One photo and its mask. `weight` scales its loss.

    `source` says where it came from (a collection, a sub-dataset); pairs of the same `group` (a video) belong
    on one side of every split.
    """

    stem: str
    image: Path | Stored
    mask: Path | Stored
    weight: float = 1.0
    source: str = ""
    group: str = ""


class DatasetError(ValueError):
    """A dataset that cannot be used as it is; the message names files and the remedy."""


class How(NamedTuple):
    """What a reader is told: leave out what has no partner, and which class of several is the person."""

    skip_unpaired: bool = False
    category: str = "person"


Parts = dict[str, list[Pair]]  # by "train", "val", "test", or WHOLE


class Layout(NamedTuple):
    """A way in which datasets lie on disk. `read` raises DatasetError, ImageError, VideoError."""

    name: str
    looks: str
    sees: Callable[[Path], bool]
    read: Callable[[Path, How], Parts]


def layout(
    name: str, looks: str, sees: Callable[[Path], bool], read: Callable[[Path, How], list[Pair]]
) -> Layout:
    """A layout whose parts, where there are any, are folders train, val and test that look like it."""

    def looks_like_it(folder: Path) -> bool:
        return sees(folder) or any(sees(path) for path, _ in part_folders(folder))

    def read_parts(folder: Path, how: How) -> Parts:
        return {part: read(path, how) for part, path in parts_in(folder, sees).items()}

    return Layout(name, looks, looks_like_it, read_parts)


def parts_in(folder: Path, sees: Callable[[Path], bool]) -> dict[str, Path]:
    """The folder of each part, {WHOLE: folder} where there are none. Raises DatasetError where a part has two.

    Photos beside a folder val or test, and not in one of their own, are those to learn from.
    """
    folders = part_folders(folder)
    if not any(sees(path) for path, _ in folders):
        return {WHOLE: folder}
    # Pictures to test on often have no masks; a train or val folder without them is a fault.
    folders = [(path, part) for path, part in folders if part != "test" or sees(path)]
    folders += [(folder, "train")] if sees(folder) else []
    found: dict[str, Path] = {}
    for path, part in folders:
        if part in found:
            both = f"{found[part].name}/ and {'the photos beside it' if path == folder else path.name + '/'}"
            raise DatasetError(f"{folder}: {both} are both its part {part}: put them into one folder")
        found[part] = path
    return found


def part_folders(folder: Path) -> list[tuple[Path, str]]:
    """Folders called train, val (valid, validation) and test in `folder`, each with the part it is."""
    return [(folder / name, part) for name, part in PARTS.items() if (folder / name).is_dir()]


def part_named(name: str) -> str:
    """ "instances_val2017" -> "val": the part that a name speaks of, else WHOLE."""
    words = re.findall("[a-z]+", name.lower())
    return next((PARTS[word] for word in words if word in PARTS), WHOLE)


def source_of(stem: str) -> str:
    """Where a photo came from, by its name: what stands before the first digit or underscore ("web_12")."""
    return re.match(r"[^\d_]*", stem).group().rstrip(" -.")


def by_source(stems: Iterable[str], fewest: int) -> dict[str, list[int]]:
    """Places of the photos of each source, by its name, that has `fewest` or more; {} where that is one source or none."""
    places: dict[str, list[int]] = {}
    for place, stem in enumerate(stems):
        places.setdefault(source_of(stem), []).append(place)
    large = {name: places[name] for name in sorted(places) if name and len(places[name]) >= fewest}
    return large if len(large) > 1 else {}


def in_one_name(parts: Iterable[str]) -> str:
    """Folders and file of a tree as one stem: "a/b/c" becomes "a_b_c"."""
    return "_".join(part for part in parts if part not in ("", "/", ".", "..")).lstrip(".")


def partners(folder: Path, images: dict[str, Any], masks: dict[str, Any], how: How) -> list[str]:
    """The names that both have, sorted. What is in one alone is refused, or left out with a note.

    Raises DatasetError.
    """
    lonely = [images[stem] for stem in sorted(images.keys() - masks.keys())]
    lonely += [masks[stem] for stem in sorted(masks.keys() - images.keys())]
    leave_out(folder, lonely, "have no partner of the same name", how)
    both = sorted(images.keys() & masks.keys())
    if not both:
        raise DatasetError(f"{folder}: holds no photo with a mask of the same name")
    return both


def leave_out(folder: Path, lonely: list[Any], fault: str, how: How) -> None:
    """Refuse (DatasetError) files or frames that cannot be used, or say that they are left out."""
    if lonely and not how.skip_unpaired:
        raise DatasetError(
            f"{folder}: {len(lonely)} files {fault} ({some(lonely)}): add it, or pass --skip-unpaired"
        )
    if lonely:
        print(f"note: {folder}: {len(lonely)} files without a partner are left out ({some(lonely)})")


def by_stem(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by stem. Raises DatasetError where two share one."""
    return named((name_of(path), path) for path in list_images(folder))


def name_of(path: Path) -> str:
    """A file's stem. A Mac may have written its accents as letters of their own: then they are joined."""
    return unicodedata.normalize("NFC", path.stem)


def named(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Files by name. Raises DatasetError where two share one."""
    found: dict[str, Any] = {}
    for name, path in items:
        if name in found:
            raise DatasetError(f"{path}: {tail(found[name])} has the same name: keep one of them")
        found[name] = path
    return found


def some(paths: list[Any]) -> str:
    """The first few of many files, for a message."""
    return ", ".join(tail(path) for path in paths[:LISTED]) + (", ..." if len(paths) > LISTED else "")


def tail(path: Any) -> str:
    return f"{path.parent.name}/{path.name}" if isinstance(path, Path) else str(path)


def pictures_below(folder: Path) -> list[Path]:
    """All pictures in a tree of folders, sorted; hidden files and folders left out."""
    folders = [folder, *(path for path in sorted(folder.rglob("[!.]*")) if path.is_dir())]
    return [path for each in folders for path in list_images(each)]


def read_json(path: Path, hook: Callable[[dict], Any] | None = None) -> Any:
    """A JSON file. Raises DatasetError naming it where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_hook=hook)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: is not JSON that can be read ({error}): write it again") from error


class DrawnMask(Stored):
    """A mask drawn from an annotation of a photo.

    Annotations count the photo's pixels as the file stores them, so the mask is turned upright with the photo;
    not where their height and width show that they were made on the upright photo.
    """

    def __init__(self, photo: Path) -> None:
        self.photo = photo

    @abstractmethod
    def drawn_size(self) -> tuple[int, int]:
        """(height, width) of the annotation."""

    @abstractmethod
    def draw(self) -> np.ndarray:
        """float32 [H, W] in 0..1 of `drawn_size`. Raises ImageError."""

    def size(self) -> tuple[int, int]:
        height, width = self.drawn_size()
        return (width, height) if self._turned() >= 5 else (height, width)

    def read(self) -> np.ndarray:
        return turn(self.draw(), self._turned())

    def _turned(self) -> int:
        (height, width), orientation = header(self.photo)
        if orientation < 5:
            return orientation
        made_upright = height != width and self.drawn_size() == (width, height)
        return 1 if made_upright else orientation


def annotation_error(name: object, error: Exception) -> ImageError:
    """What a damaged annotation raises, in one line."""
    reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
    return ImageError(f"{name}: annotation cannot be read: {reason}")
