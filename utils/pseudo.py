"""python -m utils.pseudo PHOTOS OUT

Masks for photos without any, from a network that ships (or yours, or several, averaged).

Each photo is seen mirrored and at several scales; where the views agree and are decided (utils/views.py has the
formula) it is kept: OUT/images and OUT/masks are a dataset for `train.py --extra OUT`. OUT/confidence.csv lists every photo, OUT/review.jpg
shows the least sure of those kept and the surest of those left out. Started again it goes on where it
was; another --bar takes photos in or out, what has changed or gone is followed. Unreadable photos are named and passed by.
OUT/images holds hard links where it can: whoever edits a photo there edits the original.

With --ray the photos are shared among the machines of a Ray cluster, which must see PHOTOS, OUT and the networks under
the same paths (`pip install "ray[data]"`; no address: a cluster on this machine).
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from utils import bulk, cli, segmenter, sheets, views
from utils.files import write_json, write_text
from utils.images import ImageError, mask_to_uint8, read_image, read_mask, resize, write_image
from utils.layouts.base import by_stem

DEFAULT_MODEL = Path(__file__).parent.parent / "checkpoints" / "photo_int8.tflite"
BAR = 0.9  # of 129 photos with true masks this keeps 109, of IoU .959 on average; the others have .838
SETTINGS = "pseudo.json"
COLUMNS = ("photo", "confidence", "agreement", "decided", "person", "kept", "note")
THUMBNAIL = 240
SHOWN = 24  # photos of either kind on the review sheet


class Labeller:
    """A worker: opens the networks once, then makes the mask of one photo after the other. Picklable before use."""

    def __init__(self, models: list[str], scales: tuple[float, ...], bar: float, out: Path) -> None:
        self.networks = [segmenter.open(model, threads=1) for model in models]
        self.scales, self.bar, self.out = scales, bar, out

    def __call__(self, photo: str) -> dict[str, Any]:
        """The photo's row of `confidence.csv`; its files are in OUT when this returns. Raises OSError."""
        path = Path(photo)
        row = read_row(self.out, path)
        if row is None or row.get("seen") != stamp(path) or not settled(row, self.bar, self.out):
            row = label(path, self.networks, self.scales, self.bar, self.out)
        return row


def label(
    photo: Path, networks: list[segmenter.Segmenter], scales: tuple[float, ...], bar: float, out: Path
) -> dict[str, Any]:
    """Make one photo's mask: its files and, last of all, its record go to `out`. Returns the record. Raises OSError."""
    forget(out, photo)
    row: dict[str, Any] = {"photo": photo.name, "note": "", "seen": stamp(photo)}
    try:
        frame = read_image(photo)
    except ImageError as error:
        return row | {"note": str(error)}
    found = views.look(frame, networks, scales)
    row |= {name: round(getattr(found, name), 4) for name in COLUMNS[1:5]}
    if found.person < views.FEWEST:
        row["note"] = "nobody found"
    if keeps(row, bar):
        write_image(mask_path(out, photo), mask_to_uint8(found.alpha))
        link(photo, out / "images" / photo.name)
    else:
        write_small(out, photo, found.alpha)
    write_json(record(out, photo), row)
    return row


def stamp(photo: Path) -> list[int]:
    """Size and time of a photo, by which another of the same name is told from it; of a link to nothing, 0 and 0."""
    try:
        stat = photo.stat()
    except OSError:
        return [0, 0]
    return [stat.st_size, stat.st_mtime_ns]


def forget(out: Path, photo: Path) -> None:
    """Take a photo, its mask and its record out of `out`."""
    own, known = record(out, photo), read_row(out, photo) or {}
    names = {photo.name, known.get("photo", photo.name)}
    for path in (
        mask_path(out, photo),
        *(out / "images" / name for name in names),
        own,
        own.with_suffix(".png"),
    ):
        path.unlink(missing_ok=True)


def write_small(out: Path, photo: Path, alpha: np.ndarray) -> None:
    """What the review sheet shows of a mask that is not kept."""
    scale = min(1.0, THUMBNAIL / max(alpha.shape))
    small = resize(alpha, *(max(1, round(side * scale)) for side in alpha.shape))
    write_image(record(out, photo).with_suffix(".png"), mask_to_uint8(small))


def keeps(row: dict[str, Any], bar: float) -> bool:
    """Whether a photo's mask is worth keeping."""
    return not row["note"] and row["confidence"] >= bar


def settled(row: dict[str, Any], bar: float, out: Path) -> bool:
    """Whether nothing is left to do for a photo with this record."""
    photo = Path(row["photo"])
    mask = mask_path(out, photo).exists()
    if keeps(row, bar):
        return mask and (out / "images" / photo.name).exists()
    return mask or record(out, photo).with_suffix(".png").exists()


def record(out: Path, photo: Path) -> Path:
    """Where a photo's record is: in one of 256 folders, as one alone would hold too many."""
    return out / "records" / hashlib.sha256(photo.stem.encode()).hexdigest()[:2] / f"{photo.stem}.json"


def mask_path(out: Path, photo: Path) -> Path:
    return out / "masks" / f"{photo.stem}.png"


def read_row(out: Path, photo: Path) -> dict[str, Any] | None:
    """A photo's record, None if it has none."""
    path = record(out, photo)
    return json.loads(path.read_text()) if path.exists() else None


def link(photo: Path, to: Path) -> None:
    """The photo in another place: a hard link, or a copy on another disk."""
    to.parent.mkdir(parents=True, exist_ok=True)
    if to.exists():
        return
    try:
        os.link(photo.resolve(), to)
    except OSError:
        temporary = to.with_name(f".{to.name}.{os.getpid()}")
        shutil.copyfile(photo, temporary)
        os.replace(temporary, to)


def open_out(out: Path, settings: dict[str, Any]) -> None:
    """Make OUT, or go on in it. Raises ValueError if it holds anything else, or was made with other settings."""
    path = out / SETTINGS
    if path.exists():
        if json.loads(path.read_text()) != settings:
            raise ValueError(f"{out}: made with other networks, scales or photos: give another OUT")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out}: not empty and not made by this program: give another OUT")
    else:
        write_json(path, settings)


def finish(out: Path, photos: list[Path], rows: list[dict[str, Any]], bar: float) -> list[dict[str, Any]]:
    """Take out what a higher bar no longer keeps; write the table and the sheet. Returns the rows by photo."""
    rows = sorted(rows, key=lambda row: row["photo"])
    for row in rows:
        row["kept"] = int(keeps(row, bar))
        if not row["kept"]:
            take_out(out, Path(row["photo"]))
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(out / "confidence.csv", text.getvalue())
    review(out, {photo.name: photo for photo in photos}, rows)
    return rows


def take_out(out: Path, photo: Path) -> None:
    """Undo what keeping a photo at a lower bar has left."""
    mask = mask_path(out, photo)
    if mask.exists():
        write_small(out, photo, read_mask(mask))
        mask.unlink()
    (out / "images" / photo.name).unlink(missing_ok=True)


def review(out: Path, photos: dict[str, Path], rows: list[dict[str, Any]]) -> None:
    """The least sure of those kept, then the surest of those left out: where the bar is right or wrong."""
    sure = sorted((row for row in rows if "confidence" in row), key=lambda row: row["confidence"])
    kept = [row for row in sure if row["kept"]][:SHOWN]
    left = [row for row in sure if not row["kept"]][::-1][:SHOWN]
    parts = []
    for title, chosen in (("lowest of those kept", kept), ("highest of those left out", left)):
        if chosen:
            pictures = [_thumbnail(out, photos[row["photo"]], row) for row in chosen]
            cells = sheets.grid(pictures, min(8, max(len(kept), len(left))), THUMBNAIL)
            parts += [sheets.label(np.zeros((28, cells.shape[1], 3), np.uint8), title), cells]
    if parts:
        write_image(out / "review.jpg", np.vstack(parts))


def _thumbnail(out: Path, photo: Path, row: dict[str, Any]) -> np.ndarray:
    frame = read_image(photo, at_least=THUMBNAIL)
    scale = THUMBNAIL / max(frame.shape[:2])
    frame = resize(frame, *(max(1, round(side * scale)) for side in frame.shape[:2]))
    small = record(out, photo).with_suffix(".png")
    alpha = read_mask(mask_path(out, photo) if row["kept"] else small)
    picture = sheets.overlay(frame, resize(alpha, *frame.shape[:2]))
    return sheets.label(picture, f"{row['confidence']:.3f} {photo.stem[:24]}")


def arguments() -> Any:
    parser = cli.parser(__doc__)
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("out", type=Path, help="new folder, or one to go on in")
    parser.add_argument("--model", nargs="+", default=[str(DEFAULT_MODEL)], help="networks, averaged")
    parser.add_argument("--bar", type=float, default=BAR, help="least confidence to be kept, 0..1")
    parser.add_argument(
        "--scales", nargs="+", type=cli.above_zero, default=[0.8, 1.0, 1.25], help="sizes to see photos at"
    )
    parser.add_argument(
        "--threads", type=cli.threads, default=os.cpu_count(), help="photos at a time (with --ray: workers)"
    )
    parser.add_argument("--limit", type=cli.positive, metavar="N", help="the first N photos only")
    cli.add_ray(parser)
    args = parser.parse_args()
    if not 0 <= args.bar <= 1:
        parser.error("--bar is between 0 and 1")
    if not all(0.25 <= scale <= 4 for scale in args.scales):
        parser.error("--scales are between 0.25 and 4")
    return args


def main() -> int:
    args = arguments()
    stems = by_stem(args.photos)
    photos = list(stems.values())[: args.limit]
    if not photos:
        raise ValueError(f"{args.photos}: no photos there")
    for model in args.model:
        print(f"{Path(model).name}: {segmenter.open(model, threads=1)}")
    models, out = [str(Path(model).resolve()) for model in args.model], args.out.resolve()
    settings = {
        "photos": str(args.photos.resolve()),
        "networks": [hashlib.sha256(Path(model).read_bytes()).hexdigest() for model in models],
        "scales": args.scales,
    }
    open_out(out, settings)
    for path in (out / "records").glob("*/*.json"):
        if path.stem not in stems:
            forget(out, Path(path.name))  # its stem is the photo's
    make = functools.partial(Labeller, models, tuple(args.scales), args.bar, out)
    work = bulk.run([str(photo.resolve()) for photo in photos], make, args.threads, args.ray)
    rows = finish(out, photos, list(cli.progress(work, "pseudo", len(photos))), args.bar)
    unread = [row["note"] for row in rows if "confidence" not in row]
    for line in unread:
        print(f"skipped: {line}", file=sys.stderr)
    kept = sum(row["kept"] for row in rows)
    print(
        f"kept {kept} of {len(rows)} photos at a bar of {args.bar}: {args.out}; look at {args.out / 'review.jpg'}"
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
