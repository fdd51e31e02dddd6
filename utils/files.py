"""Files are written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.card import replacing

__all__ = ["replacing", "write_bytes", "write_json", "write_text"]


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write under a temporary name, then rename. Raises OSError (full disk) and leaves nothing."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """The same for text, as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """The same for a JSON value."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
