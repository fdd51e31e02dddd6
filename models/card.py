"""Model cards: one JSON text that travels inside every model file.

A `.keras` file is a zip, and a zip may be appended to a `.tflite` file (as its metadata standard
does), so both carry a member `card.json`; an `.h5` file keeps the text as an attribute.
No TensorFlow or Keras here: the light runtime reads cards too.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MEMBER = "card.json"
ATTRIBUTE = "portrait_segmentation_card"


def dumps(card: dict[str, Any]) -> str:
    """The card as JSON text, keys in the order given."""
    return json.dumps(card, indent=1, ensure_ascii=False)


def read(path: str | Path) -> dict[str, Any]:
    """The card of a .keras, .tflite or .h5 file.

    Raises FileNotFoundError, or ValueError when the file carries none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    try:
        text = _read_h5(path) if path.suffix == ".h5" else _read_zip(path)
        card = json.loads(text)
    except Exception as error:  # zip, zlib, HDF5 and JSON each have errors of their own
        raise ValueError(f"{path}: carries no model card, so it is not one of ours") from error
    if not isinstance(card, dict):
        raise ValueError(f"{path}: its model card is damaged")
    return card


def carried(path: str | Path) -> bool:
    """Whether a .tflite file has a card already."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return MEMBER in archive.namelist()


def append(path: str | Path, card: dict[str, Any]) -> None:
    """Add the card to a .tflite file that has none yet: a zip after the flatbuffer's end."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MEMBER, dumps(card))


def write_h5(path: str | Path, card: dict[str, Any]) -> None:
    """Store the card in an .h5 file."""
    import h5py

    with h5py.File(path, "a") as file:
        file.attrs[ATTRIBUTE] = dumps(card)


@contextmanager
def weights_file(path: Path) -> Iterator[Path]:
    """A path that Keras can load weights from: the .h5 itself, or the one inside a .keras file."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model.weights.h5"
        if path.suffix == ".h5":
            target.symlink_to(path.resolve())
        else:
            with zipfile.ZipFile(path) as archive:
                target.write_bytes(archive.read("model.weights.h5"))
        yield target


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it over `path` at the end, remove it on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_zip(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(MEMBER)


def _read_h5(path: Path) -> str:
    import h5py

    with h5py.File(path) as file:
        return file.attrs[ATTRIBUTE]
