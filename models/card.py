"""Model cards: one JSON text that travels inside every model file.

A `.keras` file is a zip, and a zip may be appended to a `.tflite` file (as its metadata standard
does) or a TensorRT `.engine`, so all carry a member `card.json`; an `.h5` file keeps the text as an attribute, and
models/card_places.py says where it lies in ONNX, OpenVINO and SavedModel.
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

from models import card_places as places

MEMBER = "card.json"


def dumps(card: dict[str, Any]) -> str:
    """The card as JSON text, keys in the order given."""
    return json.dumps(card, indent=1, ensure_ascii=False)


def read(path: str | Path) -> dict[str, Any]:
    """The card of a model file of any kind (a SavedModel is a folder).

    Raises FileNotFoundError, or ValueError when the file carries none.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such model file")
    try:
        reader = places.read_folder if path.is_dir() else READERS.get(path.suffix, _read_zip)
        card = json.loads(reader(path))
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


def attach(path: str | Path, card: dict[str, Any]) -> None:
    """Add the card to a finished model file or folder of any kind that has none yet."""
    path = Path(path)
    writer = places.write_folder if path.is_dir() else WRITERS.get(path.suffix, _write_zip)
    writer(path, dumps(card))


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


def _write_zip(path: Path, text: str) -> None:
    """After a flatbuffer's end a zip does not disturb it."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MEMBER, text)


def _write_h5(path: Path, text: str) -> None:
    import h5py

    with h5py.File(path, "a") as file:
        file.attrs[places.KEY] = text


def _read_zip(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(MEMBER)


def _read_h5(path: Path) -> str:
    import h5py

    with h5py.File(path) as file:
        return file.attrs[places.KEY]


READERS = {".h5": _read_h5, ".onnx": places.read_onnx, ".xml": places.read_xml}
WRITERS = {".h5": _write_h5, ".onnx": places.write_onnx, ".xml": places.write_xml}
