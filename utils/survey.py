"""Read each pair of a dataset once and keep a small record of it: what utils/faults.py judges by.

Pictures are never kept; a record takes about two kilobytes, so a million pairs fit into memory.
"""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from utils import cli, dataset, edge_offset, layouts, lookalike, maskfile, metrics
from utils.dataset import DatasetError
from utils.faults import same_aspect
from utils.images import (
    ImageError,
    header,
    image_size,
    list_images,
    open_upright,
    read_image,
    resize,
    to_uint8,
    turn,
)
from utils.layouts import folders
from utils.layouts.base import name_of, parts_in
from utils.segmenter import Segmenter

SIDE = 256  # what masks are judged at: the network sees no more
SOFT = 0.001  # share of values between that makes a mask a soft one
SURE = 0.7  # IoU with the network that makes it a witness


@dataclass(slots=True)
class Record:
    """What is known of one pair. Shares and IoUs are 0..1, None where not measured; sizes (height, width) upright."""

    part: str
    stem: str
    image: Any  # a path, or another picture with read() and size()
    mask: Any
    broken: str = ""  # the file that cannot be read, and why
    size: tuple[int, int] = (0, 0)
    mask_size: tuple[int, int] = (0, 0)
    orientation: int = 1  # of the photo, by EXIF
    held: str | None = None  # utils/maskfile.py: how the mask is held wrongly
    misread: bool = False  # training would see something else than was meant
    person: str | None = None  # the label or colour that is the person, by the network
    known: bool = True  # whether it is known which pixels are meant
    share: float | None = None  # of the picture that is person
    shape: str | None = None  # dataset.mask_fault
    soft: bool = False
    iou: float | None = None  # of mask and network
    iou_inverse: float | None = None
    seen: float | None = None  # share of the picture that the network takes for a person
    sure: float = 0.0  # share of that on which it hardly doubts
    turn: int = 1  # EXIF number by which the mask must be turned; 0: it must, but how is unknown
    image_digest: bytes = b""
    mask_digest: bytes = b""
    look: lookalike.Look | None = None
    edge: np.ndarray | None = None  # edge_offset.profile, where photo and mask fit as they are
    measured: int = 0  # longer side of the picture that was taken on

    @property
    def name(self) -> str:
        return f"{self.part}/{self.stem}" if self.part else self.stem


@dataclass
class Listing:
    """What a folder holds: pairs not looked at yet, files without a partner, files of the same stem."""

    records: list[Record] = field(default_factory=list)
    lonely: list[tuple[str, Path]] = field(default_factory=list)
    twice: list[tuple[str, Path]] = field(default_factory=list)


def listing(folder: str | Path, layout: str | None = None, category: str = "person") -> Listing:
    """Pairs and leftovers of a dataset folder, by part as they lie. Raises FileNotFoundError, DatasetError."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such dataset folder")
    found = Listing()
    only = not layout and len(layouts.seen_in(folder)) <= 1
    parts = parts_in(folder, folders.sees) if only else {}
    plain = only and all(map(folders.sees, parts.values()))
    for part, place in parts.items() if plain else ():
        _list_part(found, part, place)
    if not plain:
        for part, pairs in dataset.open_parts(folder, True, layout, category).items():
            found.records += [Record(part, pair.stem, pair.image, pair.mask) for pair in pairs]
    if not found.records:
        raise DatasetError(f"{folder}: holds no photo with a mask of the same name")
    return found


def survey(records: list[Record], network: Segmenter | None = None, photos: int = 0) -> None:
    """Fill the records in, on all cores. `network` looks at `photos` of them, evenly spread, and at all suspects."""
    asked = {int(place) for place in np.linspace(0, len(records) - 1, min(photos, len(records)))}
    lock = threading.Lock()

    def one(number: int) -> None:
        look_at(records[number], network, number in asked, lock)

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the threads here are the parallelism
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in cli.progress(pool.map(one, range(len(records))), "pairs", len(records), "pair"):
                pass
    finally:
        cv2.setNumThreads(threads)


def look_at(record: Record, network: Segmenter | None, asked: bool, lock: Any) -> None:
    """Read one pair and fill its record in."""
    try:
        frame, held = _read(record)
    except (ImageError, OSError) as error:
        record.broken = cli.one_line(error)
        return
    record.look = lookalike.look(frame)
    record.held, record.misread, record.known = held.fault, held.misread, held.meant is not None
    height, width = record.size
    small = (max(1, round(SIDE * height / max(record.size))), max(1, round(SIDE * width / max(record.size))))
    if held.meant is not None:
        _judge_shape(record, held.meant, small)
    suspect = record.shape or not record.known or record.orientation > 1 or record.size != record.mask_size
    alpha = None
    if network and (asked or suspect):
        with lock:
            alpha = resize(network(frame), *small)
        record.seen = float((alpha > 0.5).mean())
        record.sure = float((alpha > 0.9).mean()) / record.seen if record.seen else 1.0
    if held.meant is None:
        held = _by_witness(record, held, alpha, small)
    record.turn = _turn(record, held.meant, alpha, small)
    if held.meant is not None and record.turn == 1 and record.size == record.mask_size:
        record.edge = edge_offset.profile(frame, held.meant)
        record.measured = min(edge_offset.SIDE, max(frame.shape))
    if alpha is not None and held.meant is not None and record.turn:
        mask = resize(turn(held.meant, record.turn), *small).astype(np.float32) / 255
        record.iou, record.iou_inverse = float(metrics.iou(alpha, mask)), float(metrics.iou(alpha, 1 - mask))


def meant_mask(record: Record) -> np.ndarray | None:
    """The mask as uint8 [H, W] 0..255 at its file's size, values set right, not turned. None if unknown."""
    if not isinstance(record.mask, Path):
        return to_uint8(record.mask.read())
    held = maskfile.examine(open_upright(record.mask))
    return held.choices.get(record.person) if held.meant is None else held.meant


def _read(record: Record) -> tuple[np.ndarray, maskfile.Held]:
    if isinstance(record.image, Path):
        record.image_digest = _digest(record.image)
        record.size, record.orientation = image_size(record.image), header(record.image)[1]
        frame = read_image(record.image, at_least=SIDE)
    else:
        frame = record.image.read()
        record.size = frame.shape[:2]
    if isinstance(record.mask, Path):
        record.mask_digest = _digest(record.mask)
        held = maskfile.examine(open_upright(record.mask))
        record.mask_size = image_size(record.mask)
    else:
        held = maskfile.Held(None, to_uint8(record.mask.read()), {}, False)
        record.mask_size = held.meant.shape
    return frame, held


def _judge_shape(record: Record, meant: np.ndarray, small: tuple[int, int]) -> None:
    between = cv2.countNonZero(cv2.inRange(meant, 12, 243))
    record.soft = between > SOFT * meant.size
    mask = resize(meant, *small).astype(np.float32) / 255
    record.share, record.shape = float(cv2.mean(meant)[0]) / 255, dataset.mask_fault(mask)


def _by_witness(record: Record, held: maskfile.Held, alpha: np.ndarray | None, small: tuple) -> maskfile.Held:
    """Of several labels the one that the network sees as the person, if it is sure."""
    if alpha is None or not held.choices:
        return held
    scores = {
        name: metrics.iou(alpha, resize(mask, *small).astype(np.float32) / 255)
        for name, mask in held.choices.items()
    }
    best = max(scores, key=scores.get)
    if scores[best] < SURE:
        return held
    record.person, record.known = best, True
    _judge_shape(record, held.choices[best], small)
    return held._replace(meant=held.choices[best])


def _turn(record: Record, meant: np.ndarray | None, alpha: np.ndarray | None, small: tuple) -> int:
    """How the mask must be turned to lie on the upright photo: EXIF number, 1 as it is, 0 unknown."""
    exif, size, across = record.orientation, record.size, record.mask_size[::-1]
    misfit = (
        size != record.mask_size and not same_aspect(size, record.mask_size) and same_aspect(size, across)
    )
    ways = ({exif} if exif >= 5 else set()) | {6, 8} if misfit else {1, exif}
    if alpha is None or meant is None or len(ways) == 1:
        return min(ways) if len(ways) == 1 or not misfit else exif if exif >= 5 else 0
    scores = {
        way: metrics.iou(alpha, resize(turn(meant, way), *small).astype(np.float32) / 255) for way in ways
    }
    best = max(scores, key=scores.get)
    if not misfit:  # sizes agree, so only a clear word of the network counts
        return best if scores[best] > max(SURE, scores[1] + 0.15) else 1
    return best if scores[best] > SURE else exif if exif >= 5 else 0


def _digest(path: Path) -> bytes:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()


def _list_part(found: Listing, part: str, place: Path) -> None:
    sides: list[dict[str, Path]] = []
    for folder in (place / "images", folders.mask_folder(place)):
        sides.append({})
        for path in list_images(folder):
            if name_of(path) in sides[-1]:
                found.twice.append((part, path))
            else:
                sides[-1][name_of(path)] = path
    images, masks = sides
    found.lonely += [
        (part, side[stem])
        for side in sides
        for stem in sorted(side)
        if not (stem in images and stem in masks)
    ]
    found.records += [
        Record(part, stem, images[stem], masks[stem]) for stem in sorted(images) if stem in masks
    ]
