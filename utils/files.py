"""Files are written whole or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from models.card import replacing

__all__ = ["for_ffmpeg", "need_room", "replacing", "sweep", "write_bytes", "write_json", "write_text"]


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write under a temporary name, then rename. Raises OSError (full disk) and leaves nothing."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """The same for text, as UTF-8."""
    write_bytes(path, text.encode())


def for_ffmpeg(name: str | Path) -> str:
    """An address as it is, a file by its absolute path: FFmpeg takes the 12 of `12:30.mp4` for a protocol."""
    return str(name) if "://" in str(name) else os.path.abspath(name)


def write_json(path: str | Path, value: Any) -> None:
    """The same for a JSON value."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def sweep(folder: str | Path, stems: Container[str] | None = None) -> None:
    """Remove what processes that were killed left half written in a folder, of files of these stems only if given.

    Nobody may be writing them meanwhile.
    """
    for path in Path(folder).glob(".*"):
        left = re.fullmatch(r"\.(.+)\.\d+\.\w+", path.name)  # as `replacing` names them
        if left and (stems is None or left[1] in stems):
            path.unlink(missing_ok=True)


def need_room(folder: str | Path, ours: Iterable[str | Path] = ()) -> None:
    """Check that a folder holds nothing but `ours` (paths in it, which will be overwritten) or is not there yet.

    Results among other files would be taken for theirs. Raises FileExistsError, NotADirectoryError.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: is a file: give a folder")
    expected = {folder / path for path in ours}
    for path in folder.rglob("*"):
        if path not in expected and path.is_file() and not path.name.startswith("."):
            raise FileExistsError(
                f"{folder}: holds other files ({path.relative_to(folder)}): give an empty or new folder"
            )
