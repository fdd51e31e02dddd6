"""python -m utils.data convert PHOTOS data/people

Write a dataset of any layout (utils/layouts) as train/images, train/masks, val/images, val/masks. Parts the input
has are kept; others are held out by photo, by video where there are videos, or by whole sources, each source (a
sub-dataset, or what a file's name begins with before a digit or underscore) giving its share. Upright JPEGs are
copied, masks become 8-bit grey, soft ones stay soft. manifest.csv says where each photo came from. Interrupted, the
same command goes on. Originals are never touched. --ray shares the work on a Ray cluster.

    python -m utils.data to-npy data/people arrays --size 128     # the reference's img_uint8.npy, msk_uint8.npy
    python -m utils.data from-npy arrays data/back

Arrays are letterboxed; names.txt beside them keeps the photos' names. They are written on disk, not in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from utils import cli, dataset
from utils.convert import MANIFEST, WAYS, convert, divide, way
from utils.files import replacing, sweep
from utils.images import letterbox, mask_to_uint8, read_image, read_mask
from utils.layouts.base import DatasetError, Pair, Parts
from utils.layouts.npy import IMAGES, MASKS, NAMES


def run_convert(args: argparse.Namespace) -> int:
    """Any layout -> the standard one."""
    parts = opened(args)
    by = way(parts, args.by)
    parts = divide(parts, args.val, args.test, args.seed, by)
    names = ("layout", "category", "val", "test", "seed", "skip_unpaired")
    settings = {"input": str(Path(args.dataset).resolve()), "by": by, **{n: getattr(args, n) for n in names}}
    rows = convert(parts, args.out, settings, args.ray)
    tell_of_videos(parts)
    for part, pairs in parts.items():
        sources = Counter(pair.source for pair in pairs).most_common()
        shown = ", ".join(f"{name or 'no source'} {count}" for name, count in sources[:8])
        print(f"{part or 'all'}: {len(pairs)} photos ({shown}{', ...' * (len(sources) > 8)})")
    print(f"written: {len(rows)} photos with masks to {args.out}, listed in {MANIFEST}")
    return 0


def run_to_npy(args: argparse.Namespace) -> int:
    """Photos and masks -> arrays."""
    parts = opened(args)
    write_arrays(parts, args.out, args.size)
    tell_of_videos(parts)
    for part, pairs in parts.items():
        print(f"written: {args.out / part}: {len(pairs)} photos of {args.size[0]}x{args.size[1]}")
    return 0


def tell_of_videos(parts: Parts) -> None:
    """Frames are photos from now on: who divides them later does not see which belong together."""
    if len(parts) == 1 and any(pair.group for pairs in parts.values() for pair in pairs):
        print(
            "note: frames of one video may come to both sides when this is divided later: "
            "let `utils.data convert IN OUT --val 0.1` divide it by video, and go on from there"
        )


def opened(args: argparse.Namespace) -> Parts:
    """The dataset by part, looked over; prints warnings. Raises DatasetError."""
    parts = dataset.open_parts(args.dataset, args.skip_unpaired, args.layout, args.category)
    for warning in dataset.check([pair for pairs in parts.values() for pair in pairs]):
        print(f"warning: {warning}")
    return parts


def write_arrays(parts: Parts, out: Path, size: tuple[int, int]) -> None:
    """img_uint8.npy [N, H, W, 3], msk_uint8.npy [N, H, W, 1] and names.txt of every part, all or none of them.

    Raises DatasetError where there are some already, and OSError.
    """
    there = [out / part / name for part in parts for name in (IMAGES, MASKS) if (out / part / name).exists()]
    if there:
        raise DatasetError(f"{there[0]}: is there already: remove it, or give another folder")
    for part in parts:
        sweep(out / part)
    with contextlib.ExitStack() as files:
        for part, pairs in parts.items():
            places = [files.enter_context(replacing(out / part / name)) for name in (IMAGES, MASKS, NAMES)]
            images, masks = (
                np.lib.format.open_memmap(place, "w+", np.uint8, (len(pairs), *size, channels))
                for place, channels in zip(places, (3, 1), strict=False)
            )
            fill(images, masks, pairs, part)
            images.flush()
            masks.flush()
            places[2].write_text("".join(f"{pair.stem}\n" for pair in pairs), encoding="utf-8")


def fill(images: np.ndarray, masks: np.ndarray, pairs: list[Pair], label: str) -> None:
    """Letterbox each pair into its row."""
    size = images.shape[1:3]

    def write(row: int) -> None:
        images[row] = letterbox(read_image(pairs[row].image), size)[0]
        masks[row, ..., 0] = mask_to_uint8(letterbox(read_mask(pairs[row].mask), size)[0])

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for _ in cli.progress(pool.map(write, range(len(pairs))), label or "photos", len(pairs)):
            pass
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def share(text: str) -> float:
    """argparse type: a share, 0 or more and below 1."""
    value = 0.0 if text.strip() in ("0", "0.0") else cli.above_zero(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share below 1")
    return value


def main() -> int:
    parser = cli.parser(__doc__)
    commands = parser.add_subparsers(required=True)
    for name, run, about in (
        ("convert", run_convert, "write any layout as train/ and val/ with images/ and masks/"),
        ("to-npy", run_to_npy, "write photos and masks as arrays"),
        ("from-npy", run_convert, "write arrays as photos and masks, with the parts they have"),
    ):
        add = commands.add_parser(name, formatter_class=cli.Help, help=about)
        add.set_defaults(run=run)
        add.add_argument("dataset", metavar="IN", help="the dataset")
        add.add_argument("out", metavar="OUT", type=Path, help="folder to write to")
        if name == "from-npy":
            add.set_defaults(
                layout="npy",
                category="person",
                val=0.0,
                test=0.0,
                seed=0,
                by=None,
                skip_unpaired=False,
                ray=None,
            )
            continue
        cli.add_layout(add)
        if name == "to-npy":
            add.add_argument(
                "--size", type=cli.size, default=(128, 128), metavar="HxW", help="of the pictures"
            )
            continue
        add.add_argument(
            "--val", type=share, default=0.1, help="share to validate on, where the input has no such part"
        )
        add.add_argument("--test", type=share, default=0.0, help="share to test on, likewise")
        add.add_argument("--seed", type=int, default=0, help="of the split")
        add.add_argument("--by", choices=WAYS, help="what no split divides; default: video, else photo")
        cli.add_ray(add)
    args = parser.parse_args()
    return args.run(args)


if __name__ == "__main__":
    cli.run(main)
