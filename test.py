"""python test.py data/samples/astronaut.jpg --background blur --out results

Stage 4: a photo or a folder of photos -> cut-outs, masks, new backgrounds.

Writes <out>/<stem>_<kind>.png for every kind in --save: alpha (8-bit grey at the photo's own size),
cutout (RGBA), composite (on --background), panel (photo | alpha | cut-out | composite).
SPEC of --background: a colour (green, #00ff00, 0,255,0), a picture, blur or transparent.
Unreadable files are named and skipped; the exit code is then 2.
--ray shares the photos among the machines of a Ray cluster, one thread a worker.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from utils import cli

KINDS = ("alpha", "cutout", "composite", "panel")
DEFAULT_MODEL = "checkpoints/photo_int8.tflite"


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("photos", nargs="+", help="photos or folders of photos")
    parser.add_argument(
        "--model", default=str(Path(__file__).parent / DEFAULT_MODEL), help="any model file of ours"
    )
    parser.add_argument(
        "--background", default="blur", metavar="SPEC", help="colour, picture, blur or transparent"
    )
    parser.add_argument(
        "--fit", default="cover", choices=("cover", "contain", "tile"), help="of a background picture"
    )
    parser.add_argument("--save", default="composite", help=f"comma-separated: {','.join(KINDS)}")
    parser.add_argument("--out", default="results", metavar="DIR", help="folder to write to")
    cli.add_runtime(parser)
    cli.add_ray(parser)
    args = parser.parse_args()
    args.save = [kind.strip() for kind in args.save.split(",")]
    if not args.save or set(args.save) - set(KINDS):
        parser.error(f"--save takes {','.join(KINDS)}")
    return args


def main() -> int:
    args = arguments()
    from utils import segmenter
    from utils.background import Background

    photos = find_photos(args.photos)
    names = output_stems(photos)
    spare(photos, names, args)
    background = Background(args.background, args.fit)
    network = segmenter.by_arguments(args)
    print(f"{Path(args.model).name}: {network}")
    network.warm_up()
    stages: dict[str, float] = defaultdict(float)
    began = time.perf_counter()
    if args.ray:
        done, failed = shared(args, names, stages)
    else:
        done, failed = cut_out(args, names, network, background, stages)
    report(args, done, stages, time.perf_counter() - began)
    for line in failed:
        print(f"skipped: {line}", file=sys.stderr)
    return 2 if failed else 0


def cut_out(args, names, network, background, stages) -> tuple[list[str], list[str]]:
    """All photos, on this machine; returns the names of those done, and why others were not."""
    from utils.images import ImageError

    done, failed, photos = [], [], list(names)
    # Reading and writing run beside the network; two photos ahead keep memory small.
    with ThreadPoolExecutor(2) as pool:
        waiting = []
        for photo, frame in cli.progress(read_ahead(pool, photos, stages), "photos", len(photos)):
            if isinstance(frame, ImageError):
                failed.append(str(frame))
                continue
            alpha = look(network, frame, stages)
            done.append(names[photo])
            waiting.append(pool.submit(write, args, names[photo], frame, alpha, background, stages))
            while len(waiting) > 2:
                waiting.pop(0).result()
        for task in waiting:
            task.result()
    return done, failed


def shared(args, names, stages) -> tuple[list[str], list[str]]:
    """The same on a Ray cluster. What is done is noted in a folder beside the results until all of it is."""
    from utils import bulk
    from utils.files import sweep

    notes = Path(args.out) / f".notes_{uuid.uuid4().hex}"
    work = bulk.run(list(names.items()), functools.partial(open_worker, args, notes), None, args.ray)
    done, failed = [], []
    try:
        for note in cli.progress(work, "photos", len(names)):
            (failed if note["failed"] else done).append(note["failed"] or note["name"])
            for stage, seconds in note["stages"].items():
                stages[stage] += seconds
    finally:
        shutil.rmtree(notes, ignore_errors=True)
        sweep(args.out, {f"{name}_{kind}" for name in names.values() for kind in args.save})
    return done, sorted(failed)


def open_worker(args, notes: Path) -> Callable[[tuple[Path, str]], dict[str, Any]]:
    """A worker of utils/bulk.py: network and background opened once, then one photo after the other."""
    from utils import segmenter
    from utils.background import Background
    from utils.files import write_json
    from utils.images import ImageError

    args = argparse.Namespace(**{**vars(args), "threads": 1})
    network, background = segmenter.by_arguments(args), Background(args.background, args.fit)

    def work(item: tuple[Path, str]) -> dict[str, Any]:
        photo, name = item
        place = notes / f"{name}.json"
        if place.exists():  # by a worker that died before it could say so
            return json.loads(place.read_text())
        stages: dict[str, float] = defaultdict(float)
        frame = read(photo, stages)
        note = {"name": name, "failed": str(frame) if isinstance(frame, ImageError) else "", "stages": stages}
        if not note["failed"]:
            write(args, name, frame, look(network, frame, stages), background, stages)
        write_json(place, note)
        return note

    return work


def find_photos(arguments: list[str]) -> list[Path]:
    """Photos named, and those in folders named. Raises FileNotFoundError, ValueError."""
    from utils.images import list_images

    photos: list[Path] = []
    if "" in arguments:
        raise ValueError("the name of a photo is empty")
    for path in map(Path, arguments):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such photo or folder")
        photos += list_images(path) if path.is_dir() else [path]
    if not photos:
        raise ValueError(f"{', '.join(arguments)}: no photos there")
    return list(dict.fromkeys(photos))


def spare(photos: list[Path], names: dict[Path, str], args: argparse.Namespace) -> None:
    """Raise ValueError where a result would take the place of a photo or of the background."""
    read = {photo.resolve() for photo in (*photos, Path(args.background))}
    for name in names.values():
        for kind in args.save:
            result = Path(args.out) / f"{name}_{kind}.png"
            if result.resolve() in read:
                raise ValueError(f"{result} is one of the photos, or the background: give another --out")


def output_stems(photos: list[Path]) -> dict[Path, str]:
    """A name for each photo: its stem, with the ending kept where two stems are alike."""
    taken: dict[str, Path] = {}
    for photo in photos:
        name, count = photo.stem, 1
        while name in taken:
            name = f"{photo.stem}_{photo.suffix[1:]}" if count == 1 else f"{photo.stem}_{count}"
            count += 1
        taken[name] = photo
    return {photo: name for name, photo in taken.items()}


def read_ahead(pool, photos, stages):
    """(photo, frame or ImageError) in order, read two ahead."""
    ahead = [pool.submit(read, photo, stages) for photo in photos[:2]]
    for index, photo in enumerate(photos):
        frame = ahead.pop(0).result()
        if index + 2 < len(photos):
            ahead.append(pool.submit(read, photos[index + 2], stages))
        yield photo, frame


def read(photo, stages):
    """The frame, or ImageError."""
    from utils.images import ImageError, read_image

    start = time.perf_counter()
    try:
        return read_image(photo)
    except ImageError as error:
        return error
    finally:
        stages["read"] += time.perf_counter() - start


def look(network, frame, stages):
    """The frame's alpha."""
    alpha = network(frame)
    for stage, milliseconds in network.milliseconds.items():
        stages[stage] += milliseconds / 1000
    return alpha


def write(args, stem, frame, alpha, background, stages) -> None:
    """Make and write the pictures that --save names."""
    from utils import blending, sheets
    from utils.images import to_uint8, write_image

    start = time.perf_counter()
    cut = blending.cutout(frame, alpha) if set(args.save) - {"alpha"} else None
    pictures = {"alpha": lambda: to_uint8(alpha), "cutout": lambda: cut}
    if {"composite", "panel"} & set(args.save):
        finished = background.compose(frame, alpha, cut)
        pictures["composite"] = lambda: finished
        pictures["panel"] = lambda: sheets.panel(frame, alpha, cut, finished)
    ready = {kind: pictures[kind]() for kind in args.save}
    stages["composite"] += time.perf_counter() - start
    start = time.perf_counter()
    for kind, picture in ready.items():
        write_image(Path(args.out) / f"{stem}_{kind}.png", picture)
    stages["write"] += time.perf_counter() - start


def report(args: argparse.Namespace, stems: list[str], stages: dict[str, float], wall: float) -> None:
    """Times a photo, and where the pictures are."""
    if stems:
        each = ", ".join(f"{name} {1000 * seconds / len(stems):.1f}" for name, seconds in stages.items())
        print(f"{len(stems)} photo{'s' * (len(stems) != 1)} in {wall:.2f} s; ms a photo: {each}")
    for kind in args.save if stems else ():
        print(f"{kind}: {Path(args.out) / (stems[0] if len(stems) == 1 else '<photo>')}_{kind}.png")


if __name__ == "__main__":
    cli.run(main)
