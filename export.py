"""python export.py runs/people/best.keras --calibration data/people/val

Stage 3: a checkpoint -> files to deploy, each compared with the checkpoint before it gets its name.

Writes <out>/<checkpoint> with the ending of each format: batch 1, RGB pixels 0..255 in and alpha 0..1 out, the
model card inside. --formats takes names with commas between, or "all" for those whose packages are installed:
tflite, tflite_fp16, tflite_dynamic, tflite_int8, tflite_qat (int8 of what train.py --qat made), tflite_int16, onnx, onnx_int8, saved_model, openvino, openvino_int8,
tfjs (`make tfjs` first).
Half of the calibration photos set the ranges of whole numbers, the other half (all, if there are few) are compared
on. An export that differs by more than utils/parity.py allows is not written, and the exit code is 1.
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
    parser.add_argument(
        "--formats", default=FORMATS, help="which files to write, with commas between, or all"
    )
    parser.add_argument("--out", default="exports", metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--calibration",
        metavar="DIR",
        help="photos like those it will meet (DIR or DIR/images); default: those of --truth, or data/samples",
    )
    parser.add_argument(
        "--truth", metavar="DATASET", help="compare on its validation photos, by IoU with its masks"
    )
    cli.add_layout(parser.add_argument_group("how DATASET is read"))
    parser.add_argument("--force", action="store_true", help="write over files that are there already")
    parser.add_argument(
        "--output",
        default="alpha",
        choices=("alpha", "flat", "softmax", "argmax", "packed"),
        help="what comes out (utils/outputs.py); every script reads all of them",
    )
    parser.add_argument(
        "--io", default="float", choices=("float", "uint8"), help="what int8 TFLite files take and give"
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
    parser.add_argument(
        "--edges",
        action="store_true",
        help="draw alpha's edges to those of the photo, as the live scripts do",
    )
    parser.add_argument(
        "--scales",
        type=cli.positive,
        default=1,
        metavar="N",
        help="for stills: the mean of the N --size that show a photo largest, each at another scale",
    )
    parser.add_argument(
        "--deepstream",
        type=cli.positive,
        metavar="SOURCES",
        help="write an ONNX file for so many sources at once and NVIDIA DeepStream's configuration files instead",
    )
    parser.add_argument("--photos", type=cli.positive, default=64, help="photos to use at most")
    parser.add_argument(
        "--threads", type=cli.threads, default=os.cpu_count(), help="threads of the comparison"
    )
    return parser.parse_args()


def main() -> int:
    args = arguments()
    from utils import exporting, formats, parity
    from utils.segmenter import KerasSegmenter

    if args.deepstream:
        return export_deepstream(args)
    if args.scales > len(args.size or [None]):
        raise ValueError(f"--scales {args.scales}: give as many --size")
    if args.edges and args.output in parity.HARD:
        raise ValueError(f"--edges draws soft edges, --output {args.output} has none: leave one of them out")
    names = formats.choose(args.formats)
    check_output(args.output, names)
    chosen = choose_photos(args)
    failed = 0
    # All of them first: a size that cannot be is refused before anything is written.
    networks = [exporting.load(args.checkpoint, size) for size in args.size or [None]]
    names = without_qat(args, names, networks[0][1])
    targets = [target_paths(args, names, network, n) for n, (network, _) in enumerate(networks)]
    exporting.check_free([path for paths in targets for path in paths.values()], args.force)
    for (network, card), paths in zip(networks, targets, strict=True):
        card["source"] = Path(args.checkpoint).name
        edges = (args.edges or bool(card.get("edges"))) and args.output not in parity.HARD
        card |= {"closer": args.closer, "mirror": args.mirror, "edges": edges, "scales": args.scales}
        source = KerasSegmenter(network, card, args.threads)
        print(
            f"{card['source']}: {source}; {len(chosen[0])} photos set ranges, {len(chosen[1])} are compared"
        )
        failed += export_size(args, paths, source, chosen)
    return 1 if failed else 0


def without_qat(args: argparse.Namespace, names: list[str], card: dict) -> list[str]:
    """The names, without tflite_qat where "all" asked for it of a network that was not trained so. Raises ValueError."""
    if "tflite_qat" not in names or card.get("settings", {}).get("qat"):
        return names
    remedy = f"train.py DATASET --init {args.checkpoint} --qat makes one that can"
    if args.formats.strip() != "all":
        raise ValueError(f"{args.checkpoint} has not learnt to bear whole numbers: {remedy}")
    print(f"note: tflite_qat is left out: {remedy}")
    return [name for name in names if name != "tflite_qat"]


def export_deepstream(args: argparse.Namespace) -> int:
    """For DeepStream, in a folder of its own."""
    from utils import exporting, formats

    formats.choose("onnx")  # is refused where its packages are missing
    network, card = exporting.load(args.checkpoint, (args.size or [None])[0])
    from utils import deepstream  # after TensorFlow was imported quietly
    from utils.fold import fold

    card["source"] = Path(args.checkpoint).name
    written = deepstream.write(fold(network, args.fold), card, Path(args.out), args.deepstream, args.force)
    for path in written:
        print(f"written: {path}")
    print(
        f"next, where DeepStream is: set the sources in {written[-1].name}, then deepstream-app -c {written[-1].name}"
    )
    return 0


def target_paths(args: argparse.Namespace, names: list[str], network, number: int) -> dict[str, Path]:
    """Where each format goes; all but the first size are named after it."""
    from utils import formats

    shape = "_{}x{}".format(*network.input_shape[1:3]) if number else ""
    kind = "" if args.output == "alpha" else f"_{args.output}"
    found = {}
    for name in names:
        ending = formats.FORMATS[name].ending
        io = "_uint8" if args.io == "uint8" and name in formats.BYTES else ""
        path = Path(args.out) / (Path(args.checkpoint).stem + ending)
        found[name] = path.with_name(f"{path.stem}{kind}{io}{shape}{path.suffix}")
    return found


def check_output(output: str, names: list[str]) -> None:
    """Whole numbers of 8 bits cannot hold sixteen pixels. Raises ValueError."""
    from utils import formats

    coarse = [name for name in names if "int" in name or name in formats.BYTES]
    if output == "packed" and coarse:
        raise ValueError(f"--output packed needs floats: leave out {', '.join(coarse)}")


def export_size(args: argparse.Namespace, paths: dict[str, Path], source, chosen: tuple) -> int:
    """All formats of one input size, a table row each; how many failed."""
    from utils import exporting, formats
    from utils.fold import fold

    ranges, photos, masks = chosen
    pixels = exporting.calibration(source, ranges)
    failed = 0
    with exporting.saved_model(fold(source.network, args.fold), args.output) as folder:
        bar = cli.progress(paths, "exporting", unit="file")
        bar.write(
            f"{'file':<32}{'MB':>8}{'max |d|':>10}{'mean |d|':>10}{'IoU':>8}{'with truth':>12}{'boundary':>10}"
        )
        for name in bar:
            path = paths[name]
            job = exporting.Job(folder, pixels, args.io)
            try:
                row, faults = check_and_write(path, name, job, source, photos, masks, args.output)
            except exporting.ConversionError as error:
                row, faults = "", [str(error)]
            if faults:
                formats.remove(path)  # one from an earlier run would pass for this one
                failed += 1
            verdict = f"FAILED, not written: {'; '.join(faults)}" if faults else "ok"
            bar.write(f"{path.name:<32}{row}  {verdict}")
    return failed


def choose_photos(args: argparse.Namespace) -> tuple[list[Path], list[Path], list[Path] | None]:
    """Photos that set ranges, photos to compare on, and the masks of these where --truth gives them."""
    from utils import dataset, exporting

    if args.truth:
        train, held = dataset.open_dataset(
            args.truth, skip_unpaired=args.skip_unpaired, layout=args.layout, category=args.category
        )
        held = exporting.spread(held, args.photos)
        ranges = exporting.spread([pair.image for pair in train], args.photos)
        if args.calibration:
            ranges = exporting.choose_photos(args.calibration, args.photos)
        return ranges, [pair.image for pair in held], [pair.mask for pair in held]
    if not args.calibration:
        print(
            "note: without --calibration the sample pictures are compared, and set int8's ranges: give it photos of your own"
        )
    photos = exporting.choose_photos(args.calibration or exporting.SAMPLES, args.photos)
    if len(photos) < FEW:
        return photos, photos, None
    return photos[::2], photos[1::2], None


def check_and_write(
    path: Path, name: str, job, source, photos: list[Path], masks: list[Path] | None, output: str
) -> tuple[str, list[str]]:
    """Convert, compare with the source and give it its name if it is equal: table row and faults."""
    from utils import exporting, formats, outputs, parity, quantisation
    from utils.images import read_mask

    with exporting.workplace(path) as raw:
        exporting.convert(name, job, raw)
        io = job.io if name in formats.BYTES else "float"
        card = {**source.card, "format": name, **outputs.described(source.card, output, io)}
        exported = exporting.trial(raw, card, source.threads)
        frames = cli.progress(exporting.frames(photos), f"comparing {name}", len(photos))
        truths = None if masks is None else (read_mask(mask) for mask in masks)
        found = parity.compare(source, exported, frames, truths, output in parity.HARD)
        size = exporting.megabytes(raw)
        faults = found.faults(name)
        if not faults:
            exporting.place(raw, path, {**card, "parity": found.as_card()})
        elif name in formats.BYTES:
            faults += quantisation.blame(job)
    change = f"{'-':>12}{'-':>10}"
    if masks is not None:
        change = f"{found.iou_change:>+12.4f}{found.boundary_change:>+10.4f}"
    if found.coverage == 0:
        change += "  (no person found by the source: this comparison says little)"
    return f"{size:>8.2f}{found.max:>10.1e}{found.mean:>10.1e}{found.iou:>8.4f}{change}", faults


if __name__ == "__main__":
    cli.run(main)
