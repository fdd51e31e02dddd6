"""python train.py DATASET --model mobilenetv2_fpn --epochs 30

Stage 1: a folder of photos and masks -> a trained network, its curves and a sheet of overlays.

DATASET holds train/images, train/masks and val/images, val/masks (or one images + masks pair, split
by stem), or is laid out in another way that utils/layouts knows. Masks may be 0/255, 0/1 or the alpha
channel of a PNG. More photos with soft masks come in with --extra, new scenes behind the people with
--backgrounds, people to place on them with --cutouts.

python train.py MY_PHOTOS --init checkpoints/live.keras --freeze 0.3 --minutes 5 fine-tunes a network that ships;
python train.py MY_PHOTOS --init RUN/best.keras --qat --epochs 5 makes it lose less in whole numbers (utils/qat.py).

A run folder holds best.keras (the EMA weights of the best epoch, with --hold of the newest), last.keras (all that
--resume needs), settings.json, log.csv, tensorboard/, curves.png, overlays.png and, of every epoch, overlays/.
python -m utils.compare RUN RUN lays runs side by side. KERAS_BACKEND=jax trains on JAX.
"""

from __future__ import annotations

import argparse
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from utils import cli

if TYPE_CHECKING:
    from utils.feed import Batches
    from utils.runs import Run
    from utils.training import Trainer


def make_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("dataset", nargs="?", help="folder of photos and masks")
    parser.add_argument("--resume", metavar="RUN", help="go on with this run folder, with its own settings")
    add = parser.add_argument_group("network").add_argument
    add("--model", help="architecture (models/__init__.py lists them); default: --init's, or mobilenetv2_fpn")
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="of the architecture; repeatable")
    add(
        "--size",
        type=cli.size,
        metavar="HxW",
        help="input size; default: --init's, or the architecture's own",
    )
    add("--channels", type=int, choices=(3, 4), help="4 adds the previous alpha; default: --init's, or 3")
    add("--init", metavar="FILE", help="start from this checkpoint, whose card says what network it is")
    add("--encoder", metavar="FILE", help="start the encoder from imagenet, a weights file or a .keras file")
    group = parser.add_argument_group("data")
    cli.add_layout(group)
    add = group.add_argument
    add(
        "--val-split",
        type=cli.share,
        default=0.1,
        help="share of stems held out where there is no val folder",
    )
    add("--extra", action="append", default=[], metavar="DIR[=WEIGHT]", help="more photos, loss weighted")
    add("--backgrounds", metavar="DIR", help="pictures without people to composite on")
    add(
        "--cutouts",
        action="append",
        default=[],
        metavar="DIR",
        help="people to composite: RGBA or images + masks",
    )
    add("--composite", type=cli.share, default=0.3, help="share of photos given a new background")
    add = parser.add_argument_group("training").add_argument
    add("--epochs", type=cli.positive, default=30, help="passes over the photos")
    add("--minutes", type=cli.above_zero, help="train this long instead, whatever the epochs")
    add("--batch", type=cli.positive, default=16, help="photos a step")
    add(
        "--rate",
        type=cli.above_zero,
        help="peak learning rate; default 1e-3, 5e-4 from pretrained weights, or 1e-4 with --qat",
    )
    add(
        "--schedule",
        default="cosine",
        help="of the learning rate: cosine, poly or plateau (needs no known end)",
    )
    add(
        "--freeze",
        type=cli.above_zero,
        default=0.0,
        metavar="E",
        help="epochs (below 1: share of the training) with the encoder frozen, then all at a fifth of the rate",
    )
    add(
        "--patience",
        type=cli.positive,
        metavar="N",
        help="end after N epochs without a better validation score",
    )
    add(
        "--hard",
        type=cli.share,
        default=0.0,
        metavar="SHARE",
        help="of each batch, from the hardest quarter of photos",
    )
    add(
        "--accumulate",
        type=cli.positive,
        default=1,
        metavar="N",
        help="batches whose gradients make one step",
    )
    add(
        "--precision",
        default="auto",
        choices=("auto", "float32", "mixed"),
        help="mixed computes in bfloat16; auto does so on PyTorch where the processor has it",
    )
    add(
        "--qat",
        action="store_true",
        help="quantisation-aware: go on with --init's network as its int8 export computes",
    )
    add("--decay", type=cli.from_zero, default=0.01, help="weight decay of convolution kernels")
    add(
        "--loss",
        default="bce+dice+boundary",
        help="sum of bce, dice, boundary, lovasz, focal, scl, each also as WEIGHT*NAME",
    )
    add("--boundary", type=cli.from_zero, default=3.0, help="extra weight of pixels near the true boundary")
    add(
        "--consistency",
        type=cli.from_zero,
        default=0.0,
        help="show each photo twice in other colours and ask for the same alpha, weighted by this",
    )
    add("--teacher", metavar="FILE", help="a better network of ours whose alpha is learnt from as well")
    add("--teach", type=cli.share, default=0.5, help="the teacher's share of the target, 0..1")
    add(
        "--hold",
        type=cli.share,
        default=0.0,
        help="with --channels 4: keep this share (0..1) of the last alpha where nothing moved; best.keras is the newest epoch then",
    )
    add("--ema", type=cli.share, default=0.999, help="decay of the averaged weights, which are the ones kept")
    add(
        "--distribute",
        action="store_true",
        help="over several GPUs or hosts (TensorFlow, JAX): see utils/distribution.py",
    )
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
    from utils import backend

    backend.choose()
    import keras

    from utils import dataset, distribution, recipe, runs, schedules

    if args.resume:
        folder = Path(args.resume)
        args = runs.load_settings(folder, vars(make_parser().parse_args([])))
        recipe.settle(args, None)
    else:
        args.resumed = False
        recipe.settle(args, args.init)
        folder = Path(args.out or f"runs/{args.model}_{time.strftime('%Y%m%d_%H%M%S')}")
    keras.utils.set_random_seed(args.seed)
    backend.set_precision(args.precision)
    part = distribution.start(args)
    train, validation, batches = recipe.open_data(args, part)
    if (folder / "last.keras").exists() and not args.resumed:
        raise ValueError(f"{folder} holds a run already: pass --resume {folder}, or another --out")
    with distribution.scope():
        network, architecture = recipe.open_network(
            args, folder / "last.keras" if args.resumed else None, batches
        )
    print(
        f"{architecture['name']}: {network.count_params():,} parameters, {len(train)} photos, Keras on {backend.choose()}"
    )
    trainer = recipe.make_trainer(args, network, batches)
    folder.mkdir(parents=True, exist_ok=True)
    if args.resumed:
        restore(trainer, folder)
    elif part[0] == 0:
        runs.save_settings(folder, args)
    run = runs.Run(folder, args, architecture, validation, part[0] == 0)
    while not trainer.finished:
        run.finish_epoch(trainer, train_epoch(trainer, batches, run, args.workers))
    if trainer.timetable.stalled(trainer.history):
        print(f"no better for {args.patience} epochs: enough")
    run.finish()
    if part[0] == 0:
        best = schedules.kept_epoch(trainer.history, args.hold)
        print(
            f"{'last' if args.hold else 'best'} epoch {best['epoch']}: IoU {best['iou']:.4f}, Boundary IoU {best['boundary_iou']:.4f}"
        )
        print(cli.next_command("eval.py", folder / "best.keras", args.dataset, *dataset.reading(args)))
    return 0


def train_epoch(trainer: Trainer, batches: Batches, run: Run, workers: int) -> dict[str, float]:
    """One epoch; a picture that cannot be read costs nothing of what was learnt. Raises ValueError."""
    from utils.images import ImageError
    from utils.sources import VideoError

    try:
        return trainer.train_epoch(batches, workers, run.keep)
    except (ImageError, VideoError, FileNotFoundError) as error:
        run.save(trainer)
        go_on = cli.pasteable("train.py", "--resume", run.path)
        raise ValueError(f"{error} (mend or replace it; {go_on} goes on from here)") from error


def restore(trainer: Trainer, folder: Path) -> None:
    """Go on after the last state that a run kept. Raises ValueError."""
    try:
        with zipfile.ZipFile(folder / "last.keras") as archive:
            trainer.restore(archive.read("state.npz"))
    except KeyError as error:
        raise ValueError(
            f"{folder / 'last.keras'} holds no training state: start a new run with --init"
        ) from error
    within = f" and {len(trainer.losses)} batches" if trainer.losses else ""
    print(f"going on after epoch {trainer.epoch}{within}")


if __name__ == "__main__":
    cli.run(main)
