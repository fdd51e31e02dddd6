"""python export.py runs/people/best.keras --calibration data/people/val

Stage 3: a checkpoint -> files to deploy, each compared with the checkpoint before it gets its name.

Writes <out>/<checkpoint>_float32.tflite, _float16.tflite and _int8.tflite: batch 1, RGB pixels 0..255
in and alpha 0..1 out, float32 on both sides of all three, the model card inside. Half of the
calibration photos set the ranges of int8, the other half (all, if there are few) are compared on.
An export that differs by more than utils/parity.py allows is not written, and the exit code is 1.
Several --size give as many files of the same weights, <out>/<checkpoint>_int8_256x192.tflite for instance:
they are opened together with the first one, and each picture goes to the one that suits its shape.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from utils import cli

FORMATS = "tflite,tflite_fp16,tflite_int8"
FEW = 16


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("checkpoint", help="trained network: .keras or .h5")
    parser.add_argument("--formats", default=FORMATS, help="which files to write, with commas between")
    parser.add_argument("--out", default="exports", metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--calibration",
        metavar="DIR",
        help="photos like those it will meet (DIR or DIR/images); default: those of --truth, or data/samples",
    )
    parser.add_argument(
        "--truth", metavar="DATASET", help="compare on its validation photos, by IoU with its masks"
    )
    parser.add_argument("--fold", default="own", help="batch norms into convolutions: own, kito or none")
    parser.add_argument(
        "--size",
        type=cli.size,
        nargs="+",
        metavar="HxW",
        help="input sizes, the main one first; default: the checkpoint's own",
    )
    parser.add_argument(
        "--closer", action="store_true", help="for stills: small people are cut out and looked at again"
    )
    parser.add_argument(
        "--mirror", action="store_true", help="for stills: each look is averaged with one in the mirror"
    )
    parser.add_argument("--photos", type=cli.positive, default=64, help="photos to use at most")
    parser.add_argument(
        "--threads", type=cli.threads, default=os.cpu_count(), help="threads of the comparison"
    )
    return parser.parse_args()


def main() -> int:
    args = arguments()
    formats = choose_formats(args.formats)
    from utils import exporting
    from utils.segmenter import KerasSegmenter

    chosen = choose_photos(args)
    failed = 0
    # All of them first: a size that cannot be is refused before anything is written.
    networks = [exporting.load(args.checkpoint, size) for size in args.size or [None]]
    for number, (network, card) in enumerate(networks):
        card["source"] = Path(args.checkpoint).name
        card |= {"closer": args.closer, "mirror": args.mirror}
        source = KerasSegmenter(network, card, args.threads)
        print(
            f"{card['source']}: {source}; {len(chosen[0])} photos set ranges, {len(chosen[1])} are compared"
        )
        shape = "_{}x{}".format(*source.size) if number else ""
        failed += export_size(args, formats, source, shape, chosen)
    return 1 if failed else 0


def export_size(args: argparse.Namespace, formats: list[str], source, shape: str, chosen: tuple) -> int:
    """All formats of one input size, a table row each; how many failed."""
    from utils import exporting
    from utils.fold import fold

    ranges, photos, masks = chosen
    pixels = exporting.calibration(source, ranges)
    failed = 0
    with exporting.saved_model(fold(source.network, args.fold)) as folder:
        bar = cli.progress(formats, "exporting", unit="file")
        bar.write(f"{'file':<32}{'MB':>8}{'max |d|':>10}{'mean |d|':>10}{'IoU':>8}{'with truth':>12}")
        for format in bar:
            path = Path(args.out) / (Path(args.checkpoint).stem + exporting.FORMATS[format].ending)
            path = path.with_stem(path.stem + shape)
            try:
                data = exporting.convert(folder, format, pixels)
                row, faults = check_and_write(path, format, data, source, photos, masks)
            except exporting.ConversionError as error:
                row, faults = "", [str(error)]
            if faults:
                path.unlink(missing_ok=True)  # one from an earlier run would pass for this one
                failed += 1
            verdict = f"FAILED, not written: {'; '.join(faults)}" if faults else "ok"
            bar.write(f"{path.name:<32}{row}  {verdict}")
    return failed


def choose_formats(text: str) -> list[str]:
    """The formats asked for, each once. Raises ValueError on an unknown one."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS.split(",")]
    if unknown or not names:
        raise ValueError(f"--formats {text}: no such format {', '.join(unknown)}: choose from {FORMATS}")
    return names


def choose_photos(args: argparse.Namespace) -> tuple[list[Path], list[Path], list[Path] | None]:
    """Photos that set ranges, photos to compare on, and the masks of these where --truth gives them."""
    from utils import dataset, exporting

    if args.truth:
        train, held = dataset.open_dataset(args.truth)
        held = exporting.spread(held, args.photos)
        ranges = exporting.spread([pair.image for pair in train], args.photos)
        if args.calibration:
            ranges = exporting.choose_photos(args.calibration, args.photos)
        return ranges, [pair.image for pair in held], [pair.mask for pair in held]
    if not args.calibration:
        print(
            "note: without --calibration int8 learns its ranges from data/samples: give it photos of your own"
        )
    photos = exporting.choose_photos(args.calibration or exporting.SAMPLES, args.photos)
    if len(photos) < FEW:
        return photos, photos, None
    return photos[::2], photos[1::2], None


def check_and_write(
    path: Path, format: str, data: bytes, source, photos: list[Path], masks: list[Path] | None
) -> tuple[str, list[str]]:
    """Compare an export with its source and give it its name if it is equal: table row and faults."""
    from utils import exporting, parity
    from utils.images import read_mask

    with exporting.trial(data, source.card, source.threads) as exported:
        frames = cli.progress(exporting.frames(photos), f"comparing {format}", len(photos))
        truths = None if masks is None else (read_mask(mask) for mask in masks)
        found = parity.compare(source, exported, frames, truths)
    faults = found.faults(format)
    if not faults:
        exporting.write(path, data, {**source.card, "format": format, "parity": found.as_card()})
    change = f"{found.iou_change:>+12.4f}" if masks is not None else f"{'-':>12}"
    if found.coverage == 0:
        change += "  (no person found by the source: this comparison says little)"
    return f"{len(data) / 1e6:>8.2f}{found.max:>10.1e}{found.mean:>10.1e}{found.iou:>8.4f}{change}", faults


if __name__ == "__main__":
    cli.run(main)
