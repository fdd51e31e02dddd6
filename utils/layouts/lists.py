"""Lists `train.txt`, `val.txt`, `test.txt` with a line "image mask" for each photo, as PP-HumanSeg has them.

Paths are relative to the folder of the lists. Between the two stands a tab or a space; where paths hold spaces
as well, the place is taken at which both files exist.
Source: https://github.com/PaddlePaddle/PaddleSeg/tree/release/2.9/contrib/PP-HumanSeg
"""

from __future__ import annotations

import os
from pathlib import Path

from utils.layouts.base import (
    DatasetError,
    How,
    Layout,
    Pair,
    Parts,
    in_one_name,
    leave_out,
    named,
    source_of,
)

LISTS = ("train", "val", "test")


def sees(folder: Path) -> bool:
    """Whether a list is there whose first line names a picture that exists and a mask."""
    for path in _lists(folder).values():
        lines = _lines(path)
        if lines:
            return any((folder / image).is_file() for image, _ in _cuts(lines[0][1]))
    return False


def read(folder: Path, how: How) -> Parts:
    """The pairs of each list; lines that name a missing file are refused or left out. Raises DatasetError."""
    lists = _lists(folder)
    if not lists:
        raise DatasetError(f"{folder}: holds no train.txt, val.txt or test.txt")
    found = {part: _listed(folder, path) for part, path in lists.items()}
    missing = [p for pairs in found.values() for pair in pairs for p in pair if not p.is_file()]
    leave_out(folder, missing, "are named in lists and missing", how)
    gone = set(missing)
    kept = {part: [p for p in pairs if gone.isdisjoint(p)] for part, pairs in found.items()}
    photos = [image for pairs in kept.values() for image, _ in pairs]
    if not photos:
        raise DatasetError(f"{folder}: its lists name no photo with a mask")
    root = Path(os.path.commonpath([photo.parent for photo in photos]))
    return {part: _pairs(pairs, root) for part, pairs in kept.items() if pairs}


def _pairs(pairs: list[tuple[Path, Path]], root: Path) -> list[Pair]:
    """Named by their path below the folder that all photos share."""
    stems = named((in_one_name(image.relative_to(root).with_suffix("").parts), image) for image, _ in pairs)
    return [Pair(stem, *pair, source=source_of(stem)) for stem, pair in zip(stems, pairs, strict=True)]


def _lists(folder: Path) -> dict[str, Path]:
    return {part: folder / f"{part}.txt" for part in LISTS if (folder / f"{part}.txt").is_file()}


def _lines(path: Path) -> list[tuple[int, str]]:
    """Lines that say something, with their numbers. Raises DatasetError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is not text in UTF-8") from error
    return [(n, line.strip()) for n, line in enumerate(lines, 1) if line.strip() and line[0] != "#"]


def _listed(folder: Path, path: Path) -> list[tuple[Path, Path]]:
    pairs = []
    for number, line in _lines(path):
        cuts = [(folder / image, folder / mask) for image, mask in _cuts(line)]
        if not cuts:
            raise DatasetError(f'{path}, line {number}: {line!r} is not "image mask"')
        real = [cut for cut in cuts if cut[0].is_file() and cut[1].is_file()]
        if not real and len(cuts) > 1:
            raise DatasetError(
                f"{path}, line {number}: {line!r}: no two of its parts are files: put a tab between"
            )
        pairs.append((real or cuts)[0])
    return pairs


def _cuts(line: str) -> list[tuple[str, str]]:
    """All ways to read a line as two paths."""
    if "\t" in line:
        parts = [part.strip() for part in line.split("\t") if part.strip()]
        return [(parts[0], parts[1])] if len(parts) == 2 else []
    spaces = [place for place, sign in enumerate(line) if sign == " "]
    cuts = ((line[:place].strip(), line[place:].strip()) for place in spaces)
    return list(dict.fromkeys(cuts))


LAYOUT = Layout("lists", 'train.txt, val.txt with lines "image mask"', sees, read)
