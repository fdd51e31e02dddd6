"""python eval.py checkpoints/photo.keras DATASET --out results

Stage 2: a model file of any kind and a folder of photos and masks -> a table of metrics.

DATASET is read as train.py reads it; its validation part is measured (--part all for everything).
Each photo is measured at its own size. Scores are means over photos. Writes <out>/<model>_eval.json,
<model>_eval.csv (a line a photo) and <model>_worst.png (the 16 lowest IoU with the true outline).

A video, or a folder of videos or of clips (utils/clips.py), is measured for steadiness instead: flicker
(change of alpha where the picture stood still), temporal consistency and, with truth, dtSSD. Writes
<model>_clips.json.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from utils import cli
from utils.temporal import WAYS

WORST = 16


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("model", help="model file of any kind")
    parser.add_argument("dataset", help="folder of photos and masks, or of clips")
    parser.add_argument(
        "--part", default="val", choices=("val", "train", "test", "all"), help="which photos to measure"
    )
    parser.add_argument(
        "--val-split", type=cli.share, default=0.1, help="share held out where there is no val folder"
    )
    parser.add_argument("--seed", type=int, default=0, help="of that split; give the training's own")
    cli.add_layout(parser)
    cli.add_runtime(parser)
    parser.add_argument(
        "--temporal",
        choices=WAYS,
        help="of clips: what the live scripts show with this steadying (off: edges drawn, unsteadied); default: the network alone",
    )
    parser.add_argument("--out", default="results", metavar="DIR", help="folder to write to")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    from utils import evaluation, segmenter
    from utils.files import write_json, write_text

    clips = evaluation.find_clips(Path(args.dataset))
    if clips:
        return measure_clips(args, clips)
    if args.temporal:
        raise ValueError(f"--temporal steadies clips: {args.dataset} holds none")
    pairs = choose_pairs(args)
    network = segmenter.by_arguments(args)
    print(f"{network.file.name}: {network}, {len(pairs)} photos")
    network.warm_up()
    rows = evaluation.evaluate(network, pairs, matting=True)
    sources = {name: evaluation.mean(some) for name, some in evaluation.groups(rows)}
    summary = {
        "model": network.file.name,
        "runtime": str(network),
        "photos": len(rows),
        **evaluation.mean(rows),
        "set_iou": evaluation.set_iou(rows),
        **evaluation.latency(rows),
        "sources": sources,
    }
    stem = output_stem(args, network.file)
    print_table(summary)
    write_json(f"{stem}_eval.json", summary)
    write_text(f"{stem}_eval.csv", table(rows))
    write_worst(Path(f"{stem}_worst.png"), network, pairs, rows)
    print(f"written: {stem}_eval.json, _eval.csv, _worst.png")
    return 0


def measure_clips(args: argparse.Namespace, paths: list[Path]) -> int:
    """Steadiness of the network on videos, frame after frame."""
    from utils import evaluation, segmenter
    from utils.files import write_json

    network = segmenter.by_arguments(args)
    print(f"{network.file.name}: {network}, {len(paths)} clips")
    rows = evaluation.evaluate_clips(network, paths, args.temporal)
    summary = evaluation.mean_steadiness(rows)
    print(f"{'clip':<40}" + "".join(f"{name:>15}" for name in summary))
    for row in [*rows, {"clip": "all", **summary}]:
        cells = (f"{row[name]:>15.3f}" if name in row else f"{'-':>15}" for name in summary)
        print(f"{row['clip'][:38]:<40}" + "".join(cells))
    target = f"{output_stem(args, network.file)}_clips.json"
    write_json(target, {"model": network.file.name, **summary, "clips": rows})
    print(f"written: {target} (flicker and mad x1000, dtssd x100)")
    return 0


def output_stem(args: argparse.Namespace, file: Path) -> Path:
    """What the names of all files written begin with; every run's network is called best, so its folder is named too."""
    run, kind = file.resolve().parent, file.stem.split("_")[0]
    if (run.parent / f"{kind}.keras").exists():  # exports lie in a folder of their run
        run = run.parent
    name = (
        f"{run.name}_{file.name}"
        if kind in ("best", "last") and (run / f"{kind}.keras").exists()
        else file.name
    )
    return Path(args.out) / name.replace(".", "_")


def choose_pairs(args: argparse.Namespace) -> list:
    """The photos to measure. Raises FileNotFoundError, DatasetError, VideoError."""
    from utils import dataset

    if args.part in ("test", "all"):
        parts = dataset.open_parts(args.dataset, args.skip_unpaired, args.layout, args.category)
        if args.part == "test" and "test" not in parts:
            raise ValueError(f"{args.dataset}: has no part test: choose another --part")
        pairs = parts["test"] if args.part == "test" else [pair for some in parts.values() for pair in some]
    else:
        train, val = dataset.open_dataset(
            args.dataset, args.val_split, args.skip_unpaired, args.seed, args.layout, args.category
        )
        pairs = train if args.part == "train" else val
    for warning in dataset.check(pairs, nobody=True):
        print(f"warning: {warning}")
    return pairs


def print_table(summary: dict) -> None:
    from utils.metrics import MATTING, METRICS

    names = [*METRICS, *MATTING]
    print(f"{'source':<12}" + "".join(f"{name:>14}" for name in names))
    for name, scores in {**summary["sources"], "all": summary}.items():
        print(f"{name:<12}" + "".join(f"{scores[metric]:>14.4f}" for metric in names))
    print(f"IoU over the whole set {summary['set_iou']:.4f} (mad, mse x1000; grad, conn /1000)")
    print(f"network alone: p50 {summary['p50_ms']:.1f} ms, p95 {summary['p95_ms']:.1f} ms")


def table(rows: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_worst(path: Path, network, pairs: list, rows: list[dict]) -> None:
    """The photos with the lowest IoU, worst first, not-person tinted, true outline in green."""
    from utils import sheets
    from utils.images import read_image, read_mask, write_image

    ranked = sorted(zip(rows, pairs, strict=True), key=lambda item: item[0]["iou"])[:WORST]
    pictures = []
    for row, pair in ranked:
        frame = read_image(pair.image)
        picture = sheets.overlay(frame, network(frame), read_mask(pair.mask))
        pictures.append(sheets.label(sheets.grid([picture], 1), f"{row['iou']:.3f} {pair.stem[:28]}"))
    write_image(path, sheets.grid(pictures, 4))


if __name__ == "__main__":
    cli.run(main)
