"""Any layout that utils/layouts reads, written as the standard one: part by part, each photo by itself."""

from __future__ import annotations

import csv
import glob
import io
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from utils import bulk, dataset
from utils.cli import progress
from utils.files import replacing, sweep, write_bytes, write_json, write_text
from utils.images import (
    JPEG,
    Stored,
    encode,
    header,
    mask_to_uint8,
    read_image,
    read_mask,
    write_image,
)
from utils.layouts.base import WHOLE, DatasetError, Pair, Parts

WAYS = ("photo", "video", "source")
LOSSY = JPEG | {".webp", ".avif"}
QUALITY = 95
CHUNK = 64  # frames or photos a worker does in a row; a video's decoder goes on within them
SETTINGS, MANIFEST, PLANNED = "conversion.json", "manifest.csv", "planned.csv"


class Row(NamedTuple):
    """A line of manifest.csv."""

    stem: str
    split: str
    source: str
    image: str
    mask: str
    height: int
    width: int
    mean_alpha: float


class Job(NamedTuple):
    """One photo to write to `folder`/images and `folder`/masks as part `split`."""

    pair: Pair
    folder: Path
    split: str


def convert(parts: Parts, out: Path, settings: dict, ray_address: str | None = None) -> list[Row]:
    """Write all pairs to `out` and, last, manifest.csv. Raises DatasetError, ImageError, VideoError, OSError, ValueError.

    `settings` say what the conversion is: with the same ones a conversion is taken up again, and what was changed since is followed.
    `ray_address`: of a cluster that shares the work, see utils/bulk.py.
    """
    jobs = [Job(pair, out / part, part) for part, pairs in parts.items() for pair in pairs]
    _all_differ(jobs)
    work = bulk.run(list(_chunks(jobs)), open_writer, None, ray_address)
    _begin(out, settings)
    known = _plan(out, jobs)
    found: dict[tuple[str, str], Row] = {}
    with progress(None, "converting", total=len(jobs)) as bar:
        for done in work:
            found |= {(row.split, row.stem): row for row in done}
            bar.update(len(done))
    _sweep(out)
    _take_out_gone(out, known, jobs)
    rows = [found[job.split, job.pair.stem] for job in jobs]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows)
    write_text(out / MANIFEST, text.getvalue())
    (out / PLANNED).unlink()
    return rows


def open_writer() -> Callable[[list[Job]], list[Row]]:
    """A worker of utils/bulk.py; there is nothing to open."""
    return write_chunk


def write_chunk(jobs: list[Job]) -> list[Row]:
    """Some jobs in a row."""
    return [write_pair(job) for job in jobs]


def write_pair(job: Job) -> Row:
    """Write a photo and, after it, its mask, each whole; what is there and no older is kept. Depends on nothing but the job.

    An upright JPEG or plain PNG is copied byte for byte; others become a PNG, or a JPEG of quality 95 if they were
    compressed with loss. Masks become 8-bit grey PNGs, soft ones stay soft.
    """
    pair, folder, split = job
    target = folder / "masks" / f"{pair.stem}.png"
    if not target.is_file() or _outdated(target, pair):
        _unlink(folder / "images", pair.stem)  # it may have had another ending
        _write_image(pair.image, folder / "images", pair.stem)
        write_bytes(target, encode(mask_to_uint8(read_mask(pair.mask))))
    alpha = read_mask(target)
    mean = round(float(alpha.mean()), 5)
    return Row(pair.stem, split, pair.source, str(pair.image), str(pair.mask), *alpha.shape, mean)


def divide(parts: Parts, val: float, test: float, seed: int = 0, by: str | None = None) -> Parts:
    """Parts with the shares `val` and `test` of what is for training held out, unless the parts are there.

    Split by photo, by video (where there are videos; frames of one never part) or by whole sources. By photo and
    by video each source gives its share. Who is held out depends on name and seed alone. Raises DatasetError.
    """
    learn = "train" if parts.get("train") else WHOLE
    pairs = parts.get(learn, [])
    wanted = {part: share for part, share in (("test", test), ("val", val)) if share and part not in parts}
    if not pairs or not (wanted or len(parts) > 1):
        return parts
    name = _namer(pairs, by)
    strata: dict[str, dict[str, None]] = defaultdict(dict)
    for pair in pairs:
        strata["" if by == "source" else pair.source][name(pair)] = None
    total = sum(len(units) for units in strata.values())
    held: dict[str, str] = {}
    for part, share in wanted.items():
        count = round(total * share)
        if not 0 < count < total - len(held):
            raise DatasetError(
                f"{total} {by or 'photo'}s cannot give a part {part} of {share}: choose another share"
            )
        ranked = {
            source: sorted(units.keys() - held.keys(), key=lambda unit: dataset.draw(unit, seed))
            for source, units in sorted(strata.items())
        }
        for source, number in _shared_out(count, {s: len(units) for s, units in ranked.items()}).items():
            held |= dict.fromkeys(ranked[source][:number], part)
    divided: Parts = {part: [] for part in ("train", "val", "test")}
    divided |= {part: list(found) for part, found in parts.items() if part != learn}
    for pair in pairs:
        divided[held.get(name(pair), "train")].append(pair)
    return {part: found for part, found in divided.items() if found}


def way(parts: Parts, by: str | None) -> str:
    """The way to split: the one asked for, else by video where there are videos. Raises DatasetError."""
    videos = any(pair.group for pairs in parts.values() for pair in pairs)
    if by == "photo" and videos:
        raise DatasetError("--by photo would put frames of one video on both sides: use --by video")
    if by == "video" and not videos:
        raise DatasetError("--by video: there are no videos here: use --by photo or --by source")
    return by or ("video" if videos else "photo")


def _namer(pairs: list[Pair], by: str | None):
    return (lambda pair: pair.source) if by == "source" else dataset.unit


def _shared_out(count: int, sizes: dict[str, int]) -> dict[str, int]:
    """`count` shared out in proportion to the sizes, what is left over to the largest remainders."""
    total = sum(sizes.values())
    exact = {name: count * size / total for name, size in sizes.items()}
    shares = {name: int(value) for name, value in exact.items()}
    most = sorted(exact, key=lambda name: (shares[name] - exact[name], name))
    for name in most[: count - sum(shares.values())]:
        shares[name] += 1
    return shares


def _all_differ(jobs: list[Job]) -> None:
    seen: dict[tuple[Path, str], Pair] = {}
    for job in jobs:
        key = job.folder, job.pair.stem.lower()  # some file systems know no case
        if key in seen:
            raise DatasetError(f"{job.pair.image} and {seen[key].image} would get the same name: rename one")
        seen[key] = job.pair


def _begin(out: Path, settings: dict) -> None:
    """Make `out` ours, or find that it is. Raises DatasetError where it holds something else."""
    inside = list(out.iterdir()) if out.is_dir() else []
    if out.exists() and not out.is_dir():
        raise DatasetError(f"{out}: is a file: give a folder")
    if inside:
        try:
            known = json.loads((out / SETTINGS).read_text())
        except (OSError, ValueError):
            known = None
        if known != settings:
            what = "another conversion" if known else "something else"
            raise DatasetError(f"{out}: holds {what}: remove it, or give another folder")
        _sweep(out)
    write_json(out / SETTINGS, settings)


def _outdated(target: Path, pair: Pair) -> bool:
    """Whether a photo or its mask was changed after they were written here."""
    files = [side.path if isinstance(side, Stored) else side for side in (pair.image, pair.mask)]
    return any(file.stat().st_mtime_ns > target.stat().st_mtime_ns for file in files)


def _plan(out: Path, jobs: list[Job]) -> set[tuple[str, str]]:
    """Note (part, stem) of all that is going to be written; returns those of this and of earlier runs, killed ones too."""
    known = {(job.split, job.pair.stem) for job in jobs}
    for name in (MANIFEST, PLANNED):
        if (out / name).is_file():
            with (out / name).open(newline="") as file:
                known |= {(row["split"], row["stem"]) for row in csv.DictReader(file)}
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("split", "stem"), *sorted(known)])
    write_text(out / PLANNED, text.getvalue())
    return known


def _take_out_gone(out: Path, known: set[tuple[str, str]], jobs: list[Job]) -> None:
    """What was written before of photos that are gone, or that now belong to another part."""
    for part, stem in known - {(job.split, job.pair.stem) for job in jobs}:
        _unlink(out / part / "images", stem)
        _unlink(out / part / "masks", stem)


def _unlink(folder: Path, stem: str) -> None:
    for path in folder.glob(f"{glob.escape(stem)}.*"):
        if path.stem == stem:
            path.unlink()


def _sweep(out: Path) -> None:
    for folder in (out, *(path for path in out.rglob("*") if path.is_dir())):
        sweep(folder)


def _chunks(jobs: list[Job]) -> Iterator[list[Job]]:
    """Jobs in their order, in small lists that do not mix videos."""
    chunk: list[Job] = []
    for job in jobs:
        if chunk and (len(chunk) == CHUNK or chunk[-1].pair.group != job.pair.group):
            yield chunk
            chunk = []
        chunk.append(job)
    if chunk:
        yield chunk


def _write_image(image: Path | Stored, folder: Path, stem: str) -> None:
    ending = None if isinstance(image, Stored) else _copied_as(image)
    if ending:
        read_image(image, at_least=1)  # a damaged file is named now, not in training
        with replacing(folder / f"{stem}{ending}") as temporary:
            shutil.copyfile(image, temporary)
        return
    lossy = image.lossy if isinstance(image, Stored) else image.suffix.lower() in LOSSY
    write_image(folder / f"{stem}{'.jpg' if lossy else '.png'}", read_image(image), QUALITY)


def _copied_as(path: Path) -> str | None:
    """The ending of a file that any program shows as we read it: upright, 8 bits, RGB or grey, nothing else."""
    orientation = header(path)[1]
    with Image.open(path) as picture:
        plain = orientation == 1 and picture.mode in ("RGB", "L") and "transparency" not in picture.info
        return {"JPEG": ".jpg", "PNG": ".png"}.get(picture.format or "") if plain else None
