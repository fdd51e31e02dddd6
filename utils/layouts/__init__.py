"""The ways in which people's datasets lie on disk, each read by a file of its own, told apart by looking."""

from __future__ import annotations

from pathlib import Path

from utils.layouts import coco, cutouts, folders, lists, npy, supervisely, videos, voc
from utils.layouts.base import WHOLE, DatasetError, How, Parts

LAYOUTS = {
    reader.LAYOUT.name: reader.LAYOUT
    for reader in (folders, lists, cutouts, supervisely, coco, voc, npy, videos)
}
SHOWN = 6


def seen_in(folder: Path) -> list[str]:
    """The names of all layouts that a folder looks like."""
    return [name for name, layout in LAYOUTS.items() if layout.sees(folder)]


def read(folder: str | Path, layout: str | None = None, how: How | None = None) -> Parts:
    """The pairs of a dataset by part. Raises FileNotFoundError, DatasetError, VideoError.

    Without `layout` the folder must look like exactly one. A folder that holds but one folder, as archives
    unpack, is that folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such dataset folder")
    if layout is not None and layout not in LAYOUTS:
        raise DatasetError(f"--layout {layout}: no such layout: choose from {', '.join(LAYOUTS)}")
    place = folder
    while not (seen := seen_in(place)):
        inside = [path for path in place.iterdir() if path.name[0] != "."]
        if len(inside) != 1 or not inside[0].is_dir():
            break
        place = inside[0]
    if layout is not None:
        return _gathered(LAYOUTS[layout].read(place if seen else folder, how or How()))
    if len(seen) > 1:
        looks = " and ".join(f"{name} ({LAYOUTS[name].looks})" for name in seen)
        raise DatasetError(f"{folder}: looks like {looks}: say which with --layout {'|'.join(seen)}")
    if not seen:
        known = "; ".join(f"{name}: {layout.looks}" for name, layout in LAYOUTS.items())
        raise DatasetError(
            f"{folder}: needs a folder images and a folder masks, or another layout ({known}): "
            f"it holds {_content(folder)}: rename what differs, or pass --layout {'|'.join(LAYOUTS)}"
        )
    return _gathered(LAYOUTS[seen[0]].read(place, how or How()))


def _gathered(parts: Parts) -> Parts:
    """What belongs to no part, where there are parts, is there to learn from."""
    if WHOLE in parts and len(parts) > 1:
        parts["train"] = [*parts.get("train", []), *parts.pop(WHOLE)]
    return parts


def _content(folder: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir() if path.name[0] != ".")
    return (
        ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if names[SHOWN:] else "") or "nothing"
    )
