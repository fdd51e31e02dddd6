"""From train.py's settings to data, network and model card."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

import models
from models import card as cards
from utils import cli, dataset, distribution, encoders, evaluation, losses, outputs, qat
from utils.dataset import Pair
from utils.feed import Batches, Mix
from utils.foregrounds import find_cutouts
from utils.images import list_images
from utils.schedules import Timetable
from utils.training import Recipe, Trainer

CALIBRATION = 128
SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
DEFAULT_MODEL = "mobilenetv2_fpn"


def open_data(
    args: argparse.Namespace, part: tuple[int, int] = (0, 1)
) -> tuple[list[Pair], list[Pair], Batches]:
    """Training pairs, validation pairs and the feed; prints warnings. Raises DatasetError."""
    train, validation = dataset.open_dataset(
        args.dataset, args.val_split, args.skip_unpaired, args.seed, args.layout, args.category
    )
    extra: list[Pair] = []
    for text in args.extra:
        folder, _, weight = text.partition("=")
        extra += dataset.training_pairs(
            folder, args.skip_unpaired, _number(weight or "1", text), args.layout, args.category
        )
    warnings = dataset.check(train, held=validation) + (dataset.check(extra) if extra else [])
    leaks = dataset.copies(extra, validation)
    if leaks:
        warnings.append(
            f"{len(leaks)} photos of --extra are in validation too ({leaks[0].name}): its score is too good"
        )
    for warning in warnings:
        print(f"warning: {warning}")
    train += extra
    backgrounds = list_images(args.backgrounds) if args.backgrounds else []
    if args.backgrounds and not backgrounds:
        raise ValueError(f"{args.backgrounds}: holds no pictures")
    cutouts: list[Pair | Path] = []
    for folder in args.cutouts:
        cutouts += find_cutouts(folder)
    known = set(dataset.copies([item for item in cutouts if isinstance(item, Pair)], validation))
    if known:
        print(f"note: {len(known)} people of --cutouts are in validation: left out")
        cutouts = [item for item in cutouts if not (isinstance(item, Pair) and item.image in known)]
    if cutouts and not backgrounds:
        raise ValueError("--cutouts need --backgrounds to be placed on")
    mix = Mix(True, backgrounds, cutouts, args.composite, twins=args.consistency > 0)
    batch = args.batch * part[1]
    batches = Batches(train, tuple(args.size), batch, args.channels, mix, args.seed, args.hard, part)
    return train, validation, batches


def settle(args: argparse.Namespace, init: str | None) -> None:
    """Fill in the network's settings that were not given: those of the file `init`, else the architecture's own.

    Raises FileNotFoundError, ValueError.
    """
    known: dict[str, Any] = cards.read(init).get("architecture") or {} if init else {}
    if init and args.model not in (None, known.get("name")):
        raise ValueError(f"{init} is a {known.get('name')}: pass --model {known.get('name')}")
    args.model = args.model or known.get("name") or DEFAULT_MODEL
    args.channels = args.channels or known.get("channels") or 3
    given = options(args)
    stored = {key: value for key, value in (known.get("options") or {}).items() if key not in given}
    args.option = [*args.option, *(f"{key}={_text(value)}" for key, value in stored.items())]
    size = args.size or known.get("input_size")
    args.size = models.describe(args.model, size and tuple(size), args.channels, **options(args))[
        "input_size"
    ]
    if args.qat:
        _settle_qat(args)
    args.rate = args.rate or (5e-4 if args.init or args.encoder else 1e-3)


def _settle_qat(args: argparse.Namespace) -> None:
    """Whole numbers are played in full precision, at a low rate. Raises ValueError."""
    if not args.init:
        raise ValueError("--qat goes on with a trained network: pass it by --init FILE")
    heads = [name for name in models.TRAINING_ONLY if options(args).get(name)]
    if heads:
        raise ValueError(f"--qat trains what is deployed: leave out --option {heads[0]}")
    if args.precision == "mixed":
        raise ValueError("--qat needs full precision: leave out --precision mixed")
    args.precision = "float32"
    args.rate = args.rate or 1e-4


def open_network(
    args: argparse.Namespace, last: Path | None, batches: Batches
) -> tuple[keras.Model, dict[str, Any]]:
    """The network to train, from a checkpoint, an encoder file or nothing. Raises ValueError."""
    architecture = models.describe(args.model, batches.size, args.channels, **options(args))
    if last and args.qat:
        network = models.create(args.model, batches.size, args.channels, **options(args))
        return models.weighted(qat.simulated(network), last), architecture
    if last:
        return models.load(last, **options(args)), architecture
    if args.init and args.encoder:
        raise ValueError("--init brings its own encoder: leave out --encoder")
    if args.init:
        network = models.load(args.init, input_size=batches.size, channels=args.channels, **options(args))
        if args.qat:
            return _simulated(network, batches), architecture
        if cards.read(args.init).get("settings", {}).get("qat"):  # its norms only add: see utils/qat.py
            encoders.revive_batch_norms(network, np.concatenate(_pictures(batches)))
        return network, architecture
    network = models.create(args.model, batches.size, args.channels, args.encoder, **options(args))
    if args.encoder:
        _revive(network, batches, args.seed)
    return network, architecture


def make_trainer(args: argparse.Namespace, network: keras.Model, batches: Batches) -> Trainer:
    """The trainer that the settings describe. Raises FileNotFoundError, ValueError."""
    if args.accumulate > len(batches):
        raise ValueError(f"--accumulate {args.accumulate}: an epoch has {len(batches)} batches only")
    timetable = Timetable(
        args.rate,
        None if args.minutes else args.epochs,
        args.minutes,
        args.schedule,
        args.freeze,
        args.patience,
    )
    recipe = Recipe(
        args.decay,
        args.ema,
        args.boundary,
        args.consistency,
        losses.parse(args.loss),
        open_teacher(args, batches),
        args.teach,
        args.hold,
        args.accumulate,
        args.precision,
        models.encoder_layers(network, args.model) if args.freeze else (),
    )
    return Trainer(network, timetable, recipe)


def open_teacher(args: argparse.Namespace, batches: Batches) -> keras.Model | None:
    """The network of --teacher at the size of the training pictures. Raises FileNotFoundError, ValueError."""
    if not args.teacher:
        return None
    teacher = models.load(args.teacher, input_size=batches.size)
    if teacher.input_shape[3] > batches.channels:
        raise ValueError(f"{args.teacher} wants a prior: pass --channels 4, or another --teacher")
    return teacher


def options(args: argparse.Namespace) -> dict[str, Any]:
    """--option NAME=VALUE as a dict: numbers, yes or no, or text. Raises ValueError."""
    found: dict[str, Any] = {}
    for text in args.option:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--option {text}: write NAME=VALUE")
        found[name] = _value(value)
    return found


def for_use(network: keras.Model, architecture: dict[str, Any], simulated: bool = False) -> keras.Model:
    """The network without what only training needs: its heads, half precision, other processes, played roundings."""
    if simulated:
        size, channels = tuple(architecture["input_size"]), architecture["channels"]
        plain = models.create(architecture["name"], size, channels, **architecture["options"])
        network = qat.taken_out(network, plain)
    policy = keras.config.dtype_policy()
    shared = distribution.strategy or getattr(network.weights[0], "_layout", None) is not None
    if policy.name == "float32" and not shared:
        return models.without_heads(network, architecture)
    keras.config.set_dtype_policy("float32")
    try:
        size, channels = tuple(architecture["input_size"]), architecture["channels"]
        options = models.deployed(architecture["options"])
        plain = models.create(architecture["name"], size, channels, **options)
    finally:
        keras.config.set_dtype_policy(policy)
    if len(plain.weights) == len(network.weights):
        plain.set_weights(network.get_weights())  # layers without a name of their own are called otherwise
        return plain
    return models.copied(network, plain)


def model_card(
    args: argparse.Namespace, architecture: dict[str, Any], parameters: int, rows: list[dict], epoch: int
) -> dict[str, Any]:
    """What a user of the file should know; folders are named without their path. No rows: not measured yet."""
    sources = {name: _short(evaluation.mean(some)) for name, some in evaluation.groups(rows)}
    folders = [args.dataset, *args.extra, *args.cutouts, args.backgrounds]
    keep = (
        "batch",
        "rate",
        "decay",
        "loss",
        "boundary",
        "consistency",
        "hold",
        "qat",
        "ema",
        "composite",
        "epochs",
        "minutes",
        "schedule",
        "freeze",
        "hard",
        "accumulate",
        "precision",
        "seed",
        "val_split",
    )
    return {
        "name": architecture["name"],
        "architecture": {**architecture, "options": models.deployed(architecture["options"])},
        "parameters": parameters,
        "input": outputs.PIXELS,
        "output": outputs.GIVEN["alpha"],
        "data": {"folders": [Path(f).name for f in folders if f], "note": args.data_note},
        "settings": {key: getattr(args, key) for key in keep},
        "init": Path(args.init).name if args.init else None,
        "teacher": Path(args.teacher).name if args.teacher else None,
        "epoch": epoch,
        "metrics": {"photos": len(rows), **_short(evaluation.mean(rows)), "sources": sources} if rows else {},
    }


def _simulated(network: keras.Model, batches: Batches) -> keras.Model:
    """As its int8 export computes, over the ranges that the photos it is going to see have."""
    copy = qat.simulated(network)
    qat.look(copy, _pictures(batches))
    return copy


def _pictures(batches: Batches) -> list[np.ndarray]:
    """The pixels of `CALIBRATION` photos or more, batch by batch."""
    return [batches[i % len(batches)][0] for i in range(-(-CALIBRATION // batches.batch))]


def _revive(network: keras.Model, batches: Batches, seed: int) -> None:
    """Fit a pretrained encoder for training on the photos it is going to see."""
    pixels = np.concatenate(_pictures(batches))
    woken = encoders.wake_zero_channels(network, np.random.default_rng(seed))
    folded = encoders.revive_batch_norms(network, pixels)
    if folded:
        print(f"encoder: {folded} folded batch norms revived, {woken} silent channels woken")


def _short(metrics: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in metrics.items()}


def _number(text: str, option: str) -> float:
    try:
        return cli.above_zero(text)
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--extra {option}: the weight after = : {error}") from error


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(text: str) -> Any:
    """A number, yes or no, or else the text itself. Raises ValueError for infinity and NaN."""
    if text.lower() in SWITCHES:
        return SWITCHES[text.lower()]
    try:
        number = int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        raise ValueError(f"--option {text}: give a finite number")
    return number
