"""python -m utils.threshold runs/people/best.keras data/people --out runs/people/shifted.keras

Move a network's 0.5 to where it cuts best: the masks it learnt from were drawn tighter or wider than those of DATASET
(`python -m utils.doctor` says by how much), or it doubts edges more to one side. A constant is added to its logits;
nothing else changes. Several sources (the beginning of the names: "web_12") count alike, however many photos each has.

python -m utils.threshold FILE --at 0.55 --out OTHER moves it by what is known; --at 0.45 takes that back.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from utils import cli, dataset, evaluation, metrics, segmenter
from utils.images import read_image, read_mask
from utils.layouts.base import by_source
from utils.segmenter import Segmenter

THRESHOLDS = np.round(np.arange(0.2, 0.801, 0.025), 3)
HALF = 0.5  # of Boundary IoU, added to IoU: the score by which training keeps an epoch


def scores(network: Segmenter, pairs: list) -> dict[str, np.ndarray]:
    """For each source and for "all" (the mean of the sources) IoU and Boundary IoU [THRESHOLDS, 2], means over its photos."""
    rows = []
    for pair in cli.progress(pairs, "threshold"):
        alpha, truth = network(read_image(pair.image)), read_mask(pair.mask)
        cuts = [(alpha > threshold).astype(np.float32) for threshold in THRESHOLDS]
        both = [(metrics.iou(cut, truth), metrics.boundary_iou(cut, truth)) for cut in cuts]
        rows.append({"stem": pair.stem, "scores": both})
    places = by_source((row["stem"] for row in rows), evaluation.GROUP_SIZE)
    known = {place for some in places.values() for place in some}
    places["others" if places else "photos"] = [place for place in range(len(rows)) if place not in known]
    groups = {name: [rows[place] for place in some] for name, some in places.items() if some}
    found = {name: np.mean([row["scores"] for row in some], axis=0) for name, some in groups.items()}
    return {**found, "all": np.mean(list(found.values()), axis=0)}


def best(found: np.ndarray) -> float:
    """The threshold of the highest IoU + Boundary IoU / 2; of equal ones the nearest to 0.5."""
    score = found[:, 0] + HALF * found[:, 1]
    equal = THRESHOLDS[score >= score.max() - 1e-9]
    return float(equal[np.argmin(np.abs(equal - 0.5))])


def shift(threshold: float) -> float:
    """What must be added to the logits for alpha of `threshold` to become 0.5."""
    return math.log((1 - threshold) / threshold)


def shifted(checkpoint: Path, out: Path, threshold: float) -> None:
    """Write the network with its logits shifted. Raises ValueError where they have no bias."""
    import models
    from models import card as cards

    network = models.load(checkpoint)
    bias = getattr(network.get_layer("logits"), "bias", None)
    if bias is None:
        raise ValueError(f"{checkpoint}: its logits have no bias that could be shifted")
    # Of two classes only the person's moves.
    share = np.array([0.0, 1.0], np.float32) if bias.shape[0] == 2 else 1.0
    bias.assign(bias + shift(threshold) * share)
    card = cards.read(checkpoint)
    kept = {
        name: value for name, value in card.items() if name != "metrics"
    }  # they were of the network before
    moved = card.get("logits_shifted", 0.0) + shift(threshold)
    models.save(network, out, {**kept, "logits_shifted": round(moved, 4)})


def options() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("checkpoint", type=Path, help=".keras file")
    parser.add_argument("dataset", nargs="?", help="photos and masks; its validation part is measured")
    parser.add_argument("--at", type=float, metavar="T", help="the threshold, 0..1, instead of measuring it")
    parser.add_argument("--edges", action="store_true", help="with alpha's edges drawn to the photos'")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the shifted network; default: only tell"
    )
    own = "; default: the training's own"
    parser.add_argument(
        "--val-split", type=cli.share, help="share held out where there is no val folder" + own
    )
    parser.add_argument("--seed", type=int, help="of that split" + own)
    cli.add_layout(parser)
    args = parser.parse_args()
    if (args.dataset is None) == (args.at is None) or (args.at is not None and not args.out):
        raise ValueError("give a DATASET to measure, or --at T and --out FILE")
    if args.at is not None and not 0 < args.at < 1:
        raise ValueError(f"--at {args.at:g}: a threshold lies between 0 and 1")
    if args.checkpoint.suffix != ".keras" or (args.out and args.out.suffix != ".keras"):
        raise ValueError("the network is read from and written to .keras files")
    return args


def measured(args: argparse.Namespace) -> float:
    """The best threshold on the photos of `args`; prints it by source."""
    network = segmenter.open(args.checkpoint)
    settings = network.card.get("settings", {})
    for name, usual in (("seed", 0), ("val_split", 0.1)):
        if getattr(args, name) is None:
            setattr(args, name, settings.get(name, usual))
    _, pairs = dataset.open_dataset(
        args.dataset, args.val_split, args.skip_unpaired, args.seed, args.layout, args.category
    )
    network.edges = network.edges or args.edges
    found = scores(network, pairs)
    at = int(np.argmin(np.abs(THRESHOLDS - 0.5)))
    print(f"{'source':<12}{'best at':>8}{'IoU':>9}{'BIoU':>9}{'at 0.5':>9}{'':>9}")
    for name, values in found.items():
        own = int(np.argmin(np.abs(THRESHOLDS - best(values))))
        numbers = "".join(f"{value:>9.4f}" for value in (*values[own], *values[at]))
        print(f"{name[:12]:<12}{THRESHOLDS[own]:>8.3f}{numbers}")
    return best(found["all"])


def main() -> int:
    args = options()
    threshold = measured(args) if args.at is None else args.at
    if args.out:
        shifted(args.checkpoint, args.out, threshold)
        print(f"written: {args.out}: {shift(threshold):+.3f} on its logits, for a threshold of {threshold:g}")
    if args.out and args.dataset:
        print(cli.next_command("eval.py", args.out, args.dataset, *dataset.reading(args)))
    return 0


if __name__ == "__main__":
    cli.run(main)
