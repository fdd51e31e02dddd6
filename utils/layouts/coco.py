"""COCO: a JSON of photos and annotations, beside or above the folder of the photos.

The annotations of one class are united: polygons, run lengths plain and compressed, crowds as well (they are
people). A photo without any is a photo without people. `instances_train2017.json` belongs to the part train,
as does `train/_annotations.coco.json`. The file is made compact while it is read; masks are drawn when asked for.
Source: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from utils.images import ImageError, list_images
from utils.layouts.base import (
    DatasetError,
    DrawnMask,
    How,
    Layout,
    Pair,
    Parts,
    annotation_error,
    in_one_name,
    leave_out,
    part_folders,
    part_named,
    read_json,
    source_of,
)
from utils.layouts.drawing import decode_runs, decompress, draw_polygon

KEYS = re.compile(rb'"(images|annotations)"\s*:\s*\[')
PEEK = 1 << 16
KEPT = ("images", "annotations", "categories", "id", "name", "file_name", "height", "width")
KEPT += ("image_id", "category_id", "segmentation", "size", "counts")
SAMPLE = 50


class CocoMask(DrawnMask):
    """All annotations of a photo, drawn when read: polygons [N, 2] as float32, run lengths as a dict."""

    def __init__(self, photo: Path, path: Path, size: tuple[int, int], shapes: list[Any]) -> None:
        super().__init__(photo)
        self.path, self._size, self.shapes = path, size, shapes

    def __str__(self) -> str:
        return f"annotation of {self.photo.parent.name}/{self.photo.name}"

    def drawn_size(self) -> tuple[int, int]:
        return self._size

    def draw(self) -> np.ndarray:
        canvas = np.zeros(self._size, np.uint8)
        try:
            for shape in self.shapes:
                if isinstance(shape, dict):
                    canvas |= _runs(shape, self._size)
                else:
                    draw_polygon(canvas, shape)
        except (KeyError, TypeError, ValueError) as error:
            raise annotation_error(self, error) from error
        return canvas.astype(np.float32)


def sees(folder: Path) -> bool:
    return bool(_files(folder))


def read(folder: Path, how: How) -> Parts:
    """Pairs by part. Photos that are missing, or that no JSON knows, are refused or left out. Raises DatasetError."""
    files = _files(folder)
    if not files:
        raise DatasetError(f"{folder}: holds no JSON with images and annotations")
    found: Parts = {}
    photos: set[Path] = set()
    missing: list[Path] = []
    for path in files:
        pairs, gone = _read_file(folder, path, how.category)
        part = part_named(path.stem) or part_named(path.parent.name)
        found[part] = found.get(part, []) + pairs
        photos.update(pair.image for pair in pairs)
        missing += gone
    leave_out(folder, missing, "are annotated and missing", how)
    beside = [path for place in sorted({photo.parent for photo in photos}) for path in list_images(place)]
    leave_out(folder, [path for path in beside if path not in photos], "have no annotation", how)
    if not photos:
        raise DatasetError(f"{folder}: holds no photo that its JSON names")
    return found


def _files(folder: Path) -> list[Path]:
    places = [folder, folder / "annotations", *(path for path, _ in part_folders(folder))]
    files = [path for place in places for path in sorted(place.glob("*.json")) if _looks_like(path)]
    instances = [path for path in files if path.name.startswith("instances_")]
    return instances or files  # COCO's own captions and keypoints tell of the same photos


def _looks_like(path: Path) -> bool:
    """Whether `images` or `annotations` is listed near the beginning or the end of a JSON."""
    with path.open("rb") as file:
        start = file.read(PEEK)
        file.seek(max(0, path.stat().st_size - PEEK))
        return bool(KEYS.search(start) or KEYS.search(file.read()))


def _read_file(folder: Path, path: Path, category: str) -> tuple[list[Pair], list[Path]]:
    """Pairs, and the photos that are not there. Raises DatasetError."""
    content = read_json(path, _compact)
    try:
        wanted = _category(path, content["categories"], category)
        shapes = defaultdict(list)
        for annotation in content["annotations"]:
            if annotation["category_id"] in wanted:
                found = annotation.get("segmentation") or []
                shapes[annotation["image_id"]] += found if isinstance(found, list) else [found]
        root = _root(folder, path, [entry["file_name"] for entry in content["images"]])
        pairs, missing = [], []
        for entry in content["images"]:
            name, size = entry["file_name"], (int(entry["height"]), int(entry["width"]))
            photo, stem = root / name, in_one_name(Path(name).with_suffix("").parts)
            mask = CocoMask(photo, path, size, shapes.get(entry["id"], []))
            pairs.append(Pair(stem, photo, mask, source=source_of(stem)))
        missing = [pair.image for pair in pairs if not pair.image.is_file()]
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path}: is not COCO: lacks {error}") from error
    gone = set(missing)
    return [pair for pair in pairs if pair.image not in gone], missing


def _category(path: Path, categories: list[dict], name: str) -> set[int]:
    wanted = {entry["id"] for entry in categories if entry["name"].lower() == name.lower()}
    if not wanted:
        names = ", ".join(str(entry["name"]) for entry in categories)
        raise DatasetError(f"{path}: has no class {name}: choose one with --category: {names}")
    return wanted


def _root(folder: Path, path: Path, names: list[str]) -> Path:
    """The folder that holds most of the photos."""
    places = [path.parent, folder, *sorted(p for p in folder.rglob("[!.]*") if p.is_dir())]
    sample = names[:: max(1, len(names) // SAMPLE)]
    return max(places, key=lambda place: sum((place / name).is_file() for name in sample))


def _compact(entry: dict) -> dict:
    """What is needed of a JSON object, called as soon as it is read: lists of numbers become arrays.

    So a file of half a gigabyte needs little more than its own size in memory.
    """
    entry = {key: value for key, value in entry.items() if key in KEPT}
    if isinstance(entry.get("counts"), list):
        entry["counts"] = np.asarray(entry["counts"], np.int64)
    if isinstance(entry.get("segmentation"), list):
        entry["segmentation"] = [_points(numbers) for numbers in entry["segmentation"]]
    return entry


def _points(numbers: list[float]) -> np.ndarray:
    points = np.asarray(numbers, np.float32)
    if points.ndim != 1 or len(points) % 2 or not np.isfinite(points).all():
        raise ValueError("a polygon is not a list of x, y, x, y ...")
    return points.reshape(-1, 2)


def _runs(shape: dict, size: tuple[int, int]) -> np.ndarray:
    if tuple(shape["size"]) != size:
        raise ImageError(f"its run lengths are for {shape['size']}, the photo has {list(size)}")
    counts = shape["counts"]
    return decode_runs(decompress(counts) if isinstance(counts, str) else counts, *size)


LAYOUT = Layout("coco", "a JSON of images and annotations", sees, read)
