"""The reference's arrays: `img_uint8.npy` [N, H, W, 3] and `msk_uint8.npy` [N, H, W, 1] or [N, H, W].

Masks hold 0/1 or 0/255, row i of one belongs to row i of the other. Both stay on disk and are read by row.
A `names.txt` beside them (utils/data.py writes it) names the rows; without it they are called by number.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from utils.images import Stored, unit
from utils.layouts.base import DatasetError, How, Pair, layout, leave_out, named, source_of

IMAGES, MASKS, NAMES = "img_uint8.npy", "msk_uint8.npy", "names.txt"


class Row(Stored):
    """A photo or a mask in an array on disk."""

    def __init__(self, path: Path, array: np.ndarray, number: int) -> None:
        self.path, self.array, self.number = path, array, number

    def __str__(self) -> str:
        return f"{self.path}[{self.number}]"

    def size(self) -> tuple[int, int]:
        return self.array.shape[1], self.array.shape[2]

    def __reduce__(self):  # another process opens the file, instead of being sent all of it
        return _row, (type(self), self.path, self.number)


class Photo(Row):
    def read(self) -> np.ndarray:
        return np.array(self.array[self.number])


class Mask(Row):
    def read(self) -> np.ndarray:
        values = np.array(self.array[self.number]).reshape(self.size())
        return unit(values.astype(np.uint8))


def sees(folder: Path) -> bool:
    return (folder / IMAGES).is_file() and (folder / MASKS).is_file()


def read(folder: Path, how: How) -> list[Pair]:
    """A pair a row. Raises DatasetError where the two do not fit together."""
    images, masks = _array(folder / IMAGES), _array(folder / MASKS)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise DatasetError(f"{folder / IMAGES}: is {_kind(images)}, not uint8 [N, H, W, 3]")
    if masks.dtype not in (np.uint8, np.bool_) or masks.shape[3:] not in ((), (1,)) or masks.ndim < 3:
        raise DatasetError(f"{folder / MASKS}: is {_kind(masks)}, not uint8 [N, H, W, 1]")
    if images.shape[1:3] != masks.shape[1:3]:
        raise DatasetError(f"{folder}: photos are {_kind(images)}, masks {_kind(masks)}: sizes must be equal")
    count = min(len(images), len(masks))
    longer = (MASKS, masks) if len(masks) > count else (IMAGES, images)
    lonely = [f"{longer[0]}[{number}]" for number in range(count, len(longer[1]))]
    leave_out(folder, lonely, "have no partner in the other array", how)
    if not count:
        raise DatasetError(f"{folder}: its arrays are empty")
    return [
        Pair(
            name,
            Photo(folder / IMAGES, images, n),
            Mask(folder / MASKS, masks, n),
            source=source_of(name),
        )
        for n, name in enumerate(_names(folder, count))
    ]


def _row(kind: type[Row], path: Path, number: int) -> Row:
    return kind(path, _array(path), number)


def _array(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file") from error
    except (ValueError, EOFError, OSError) as error:
        raise DatasetError(f"{path}: is not an array that can be read ({error}): write it again") from error


def _names(folder: Path, count: int) -> list[str]:
    if not (folder / NAMES).is_file():
        return [f"{number:06}" for number in range(count)]
    names = (folder / NAMES).read_text(encoding="utf-8").split("\n")[:-1]
    if len(names) != count:
        raise DatasetError(f"{folder / NAMES}: has {len(names)} names for {count} rows: correct or remove it")
    return list(named((name, f"row {name}") for name in names))


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"


LAYOUT = layout("npy", f"{IMAGES} and {MASKS}", sees, read)
