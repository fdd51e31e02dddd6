"""python train.py DATASET --model mobilenetv2_fpn --epochs 30

Stage 1: a folder of photos and masks -> a trained network, its curves and a sheet of overlays.

DATASET holds train/images, train/masks and val/images, val/masks (or one images + masks pair, split
by stem), or is laid out in another way that utils/layouts knows. Masks may be 0/255, 0/1 or the alpha
channel of a PNG. More photos with soft masks come in with --extra, new scenes behind the people with
--backgrounds, people to place on them with --cutouts.

A run folder holds best.keras (the EMA weights of the best epoch), last.keras (all that
--resume needs), settings.json, log.csv, tensorboard/, curves.png and overlays.png.
KERAS_BACKEND=jax trains on JAX.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import time
import zipfile
from pathlib import Path

from utils import cli

OVERLAYS = 20


def make_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("dataset", nargs="?", help="folder of photos and masks")
    parser.add_argument("--resume", metavar="RUN", help="go on with this run folder, with its own settings")
    add = parser.add_argument_group("network").add_argument
    add("--model", default="mobilenetv2_fpn", help="architecture (models/__init__.py lists them)")
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="of the architecture; repeatable")
    add("--size", type=cli.size, metavar="HxW", help="input size; default: the architecture's own")
    add("--channels", type=int, default=3, choices=(3, 4), help="4 adds the previous alpha")
    add("--init", metavar="FILE", help="start from this checkpoint")
    add("--encoder", metavar="FILE", help="start the encoder from imagenet, a weights file or a .keras file")
    group = parser.add_argument_group("data")
    cli.add_layout(group)
    add = group.add_argument
    add("--val-split", type=float, default=0.1, help="share of stems held out where there is no val folder")
    add("--extra", action="append", default=[], metavar="DIR[=WEIGHT]", help="more photos, loss weighted")
    add("--backgrounds", metavar="DIR", help="pictures without people to composite on")
    add(
        "--cutouts",
        action="append",
        default=[],
        metavar="DIR",
        help="people to composite: RGBA or images + masks",
    )
    add("--composite", type=float, default=0.3, help="share of photos given a new background")
    add = parser.add_argument_group("training").add_argument
    add("--epochs", type=cli.positive, default=30, help="passes over the photos")
    add("--minutes", type=cli.above_zero, help="train this long instead, whatever the epochs")
    add("--batch", type=cli.positive, default=16, help="photos a step")
    add(
        "--rate",
        type=cli.above_zero,
        help="peak learning rate; default 1e-3, or 5e-4 from pretrained weights",
    )
    add("--decay", type=float, default=0.01, help="weight decay of convolution kernels")
    add("--boundary", type=float, default=3.0, help="extra weight of pixels near the true boundary")
    add(
        "--consistency",
        type=float,
        default=0.0,
        help="show each photo twice in other colours and ask for the same alpha, weighted by this",
    )
    add("--teacher", metavar="FILE", help="a better network of ours whose alpha is learnt from as well")
    add("--teach", type=float, default=0.5, help="the teacher's share of the target, 0..1")
    add(
        "--hold",
        type=float,
        default=0.0,
        help="with --channels 4: keep this share (0..1) of the last alpha where nothing moved",
    )
    add("--ema", type=float, default=0.999, help="decay of the averaged weights, which are the ones kept")
    add("--seed", type=int, default=0, help="of weights, order and augmentation")
    add("--workers", type=cli.positive, default=2, help="threads that make batches")
    add("--out", metavar="RUN", help="run folder; default runs/<model>_<date>_<time>")
    add("--data-note", default="", help="goes into the model card: what the data is and its licence")
    return parser


def arguments() -> argparse.Namespace:
    parser = make_parser()
    args = parser.parse_args()
    if bool(args.dataset) == bool(args.resume):
        parser.error("give a DATASET, or --resume RUN")
    changed = [name for name, value in vars(args).items() if value != parser.get_default(name)]
    if args.resume and changed != ["resume"]:
        parser.error("--resume goes on with the run's own settings: leave out all others")
    return args


def main() -> int:
    args = arguments()
    args.resumed = False
    run = Path(args.resume or args.out or f"runs/{args.model}_{time.strftime('%Y%m%d_%H%M%S')}")
    if args.resume:
        args = load_settings(run)
    from utils import backend

    backend.choose()
    import keras

    from utils import recipe
    from utils.training import TensorBoardLog, Trainer

    keras.utils.set_random_seed(args.seed)
    train, validation, batches = recipe.open_data(args)
    if (run / "last.keras").exists() and not args.resumed:
        raise ValueError(f"{run} holds a run already: pass --resume {run}, or another --out")
    network, architecture = recipe.open_network(args, run / "last.keras" if args.resumed else None, batches)
    print(
        f"{architecture['name']}: {network.count_params():,} parameters, {len(train)} photos, Keras on {backend.choose()}"
    )
    trainer = Trainer(
        network,
        args.rate,
        args.decay,
        args.ema,
        args.boundary,
        None if args.minutes else args.epochs,
        args.minutes,
        args.consistency,
        recipe.open_teacher(args, batches),
        args.teach,
        args.hold,
    )
    run.mkdir(parents=True, exist_ok=True)
    if args.resumed:
        try:
            with zipfile.ZipFile(run / "last.keras") as archive:
                trainer.restore(archive.read("state.npz"))
        except KeyError as error:
            raise ValueError(
                f"{run / 'last.keras'} holds no training state: start a new run with --init"
            ) from error
        print(f"going on after epoch {trainer.epoch}")
    else:
        save_settings(run, args)
    log = TensorBoardLog(run / "tensorboard")
    while not trainer.finished:
        row = trainer.train_epoch(batches, args.workers)
        finish_epoch(run, args, architecture, trainer, validation, row, log)
    write_overlays(run, validation)
    best = max(trainer.history, key=lambda row: row["score"])
    print(f"best epoch {best['epoch']}: IoU {best['iou']:.4f}, Boundary IoU {best['boundary_iou']:.4f}")
    print(
        f"next: python eval.py {run / 'best.keras'} {args.dataset}"
        + f" --layout {args.layout}" * bool(args.layout)
    )
    return 0


def finish_epoch(run, args, architecture, trainer, validation, row, log) -> None:
    """Measure the EMA weights, then write best, last, log and curves, each whole or not at all."""
    import models
    from utils import evaluation, recipe
    from utils.files import write_text
    from utils.segmenter import KerasSegmenter
    from utils.sheets import plot_curves

    began = time.perf_counter()
    with trainer.ema.applied() as averaged:
        network = recipe.for_use(averaged, architecture)
        rows = evaluation.evaluate(KerasSegmenter(network, {}), validation, "validation")
        metrics = evaluation.mean(rows)
        row |= {"epoch": trainer.epoch + 1, **metrics}
        row["score"] = metrics["iou"] + 0.5 * metrics["boundary_iou"]
        card = recipe.model_card(args, architecture, network.count_params(), rows, row["epoch"])
        if row["score"] > trainer.best:
            models.save(network, run / "best.keras", card)
            trainer.best = row["score"]
    trainer.seconds += time.perf_counter() - began
    trainer.history.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, ["epoch", *(key for key in row if key != "epoch")])
    writer.writeheader()
    writer.writerows(trainer.history)
    write_text(run / "log.csv", text.getvalue())
    log.write(row, trainer.epoch)
    plot_curves(run / "curves.png", trainer.history)
    # Last, so that an epoch which counts as done has left all its traces.
    models.save(trainer.network, run / "last.keras", card, trainer.state())
    by_source = "".join(
        f", {name} {evaluation.mean(some)['iou']:.4f} / {evaluation.mean(some)['boundary_iou']:.4f}"
        for name, some in evaluation.groups(rows)
    )
    print(
        f"epoch {row['epoch']}: loss {row['loss']:.4f}, IoU / Boundary IoU {row['iou']:.4f} / "
        f"{row['boundary_iou']:.4f}{by_source}, {row['images_per_second']:.0f} images/s",
        flush=True,
    )


def write_overlays(run: Path, validation: list) -> None:
    """Twenty validation photos, evenly spread, with the best network's alpha and the true outline."""
    from utils import segmenter, sheets
    from utils.images import read_image, read_mask, write_image

    network = segmenter.open(run / "best.keras")
    chosen = validation[:: max(1, len(validation) // OVERLAYS)][:OVERLAYS]
    pictures = []
    for pair in chosen:
        frame = read_image(pair.image)
        pictures.append(sheets.overlay(frame, network(frame), read_mask(pair.mask)))
    write_image(run / "overlays.png", sheets.grid(pictures, 5))


def save_settings(run: Path, args: argparse.Namespace) -> None:
    from utils.files import write_json

    write_json(run / "settings.json", {key: value for key, value in vars(args).items() if key != "resumed"})


def load_settings(run: Path) -> argparse.Namespace:
    """The settings a run was started with. Raises ValueError if there is nothing to go on with."""
    try:
        settings = json.loads((run / "settings.json").read_text())
    except FileNotFoundError as error:
        raise ValueError(f"{run} holds no settings.json: it is not a run folder") from error
    if not isinstance(settings, dict) or not settings.keys() >= vars(make_parser().parse_args([])).keys():
        raise ValueError(
            f"{run / 'settings.json'}: not the settings of a run of this version: start one with --init"
        )
    # Killed within the first epoch there is nothing to go on from: start again, same settings.
    return argparse.Namespace(**settings, resumed=(run / "last.keras").exists())


if __name__ == "__main__":
    cli.run(main)
