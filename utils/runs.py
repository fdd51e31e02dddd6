"""A run folder: the settings it began with, and what every epoch leaves in it.

best.keras (the averaged weights of the best epoch, with --hold of the newest), last.keras (all that --resume needs, within
long epochs too), settings.json, log.csv, curves.png, tensorboard/, overlays/epoch_003.jpg (the same few validation photos after each epoch), and at the
end overlays.png and progress.jpg (these photos from the first epoch to the last).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import models
from utils import distribution, evaluation, recipe, schedules, segmenter, sheets
from utils.dataset import Pair
from utils.files import write_json, write_text
from utils.images import encode, read_image, read_mask, write_image
from utils.segmenter import KerasSegmenter, Segmenter
from utils.training import Trainer

OVERLAYS = 20
FEW, CELL = 6, 160  # photos in the overlays of each epoch, and their size
LINES = 8  # epochs in progress.jpg
KEEP_SECONDS = 300  # of training at most that a kill loses


class Run:
    """The folder `path` of one training on `args`, with the pairs it is judged on.

    Of several processes, all measure (so that all know when to end) and the one that `writes` writes.
    """

    def __init__(
        self,
        path: Path,
        args: argparse.Namespace,
        architecture: dict[str, Any],
        validation: list[Pair],
        writes: bool = True,
    ) -> None:
        self.path, self.args, self.architecture, self.validation = path, args, architecture, validation
        self.log = TensorBoardLog(path / "tensorboard") if writes else None
        self._kept = time.monotonic()

    def finish_epoch(self, trainer: Trainer, row: dict[str, float]) -> None:
        """Measure the EMA weights, then write best, last, log, curves and overlays, each whole or not at all."""
        began = time.perf_counter()
        with trainer.ema.applied() as averaged, distribution.alone():
            network = recipe.for_use(averaged, self.architecture, self.args.qat)
            # What counts is how it does in whole numbers, as they are played.
            opened = KerasSegmenter(averaged if self.args.qat else network, {})
            rows = evaluation.evaluate(opened, self.validation, "validation")
            metrics = evaluation.mean(rows)
            row |= {"epoch": trainer.epoch + 1, **metrics}
            row["score"] = metrics["iou"] + 0.5 * metrics["boundary_iou"]
            card = recipe.model_card(self.args, self.architecture, network.count_params(), rows, row["epoch"])
            best = schedules.kept_epoch([*trainer.history, row], self.args.hold) is row
            if best and self.log:
                models.save(network, self.path / "best.keras", card)
            strip = self._strip(opened, row["epoch"]) if self.log else None
        trainer.seconds += time.perf_counter() - began
        trainer.history.append(row)
        if self.log:
            self._write(trainer, row, card, strip)
            print(_summary(row, rows), flush=True)

    def keep(self, trainer: Trainer) -> None:
        """Within an epoch: write last.keras if the last one is `KEEP_SECONDS` old."""
        if time.monotonic() - self._kept >= KEEP_SECONDS:
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write last.keras within an epoch."""
        if self.log:
            parameters = trainer.network.count_params()
            card = recipe.model_card(self.args, self.architecture, parameters, [], trainer.epoch)
            self._write_last(trainer, card)

    def _write(
        self, trainer: Trainer, row: dict[str, float], card: dict[str, Any], strip: np.ndarray
    ) -> None:
        self._write_log(trainer.history)
        self.log.write(row, trainer.epoch, {"overlays": strip})
        sheets.plot_curves(self.path / "curves.png", trainer.history)
        # Last, so that an epoch which counts as done has left all its traces.
        self._write_last(trainer, card)

    def _write_last(self, trainer: Trainer, card: dict[str, Any]) -> None:
        heads = [key for key in models.TRAINING_ONLY if self.architecture["options"].get(key)]
        # The metrics are those of the averaged weights, which best.keras has.
        card = {**card, "metrics": {}, "simulated": self.args.qat, "heads": heads}
        models.save(trainer.network, self.path / "last.keras", card, trainer.state())
        self._kept = time.monotonic()

    def finish(self) -> None:
        """Twenty validation photos with the best network's outline and the true one; the photos over the epochs."""
        if not self.log:
            return
        with distribution.alone():
            network = segmenter.open(self.path / "best.keras")
            self._write_sheets(network)

    def _write_sheets(self, network: Segmenter) -> None:
        pictures = _overlays(network, spread(self.validation, OVERLAYS))
        write_image(self.path / "overlays.png", sheets.grid(pictures, 5))
        strips = [read_image(path) for path in spread(sheets.overlays_of(self.path), LINES)]
        write_image(self.path / "progress.jpg", np.vstack(strips))

    def _strip(self, network: Segmenter, epoch: int) -> np.ndarray:
        pictures = _overlays(network, spread(self.validation, FEW))
        strip = sheets.label(sheets.grid(pictures, len(pictures), CELL), f"epoch {epoch}")
        write_image(self.path / "overlays" / f"epoch_{epoch:03d}.jpg", strip)
        return strip

    def _write_log(self, history: list[dict[str, float]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, ["epoch", *(key for key in history[-1] if key != "epoch")])
        writer.writeheader()
        writer.writerows(history)
        write_text(self.path / "log.csv", text.getvalue())


def spread(items: list[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly spread, the first and the last among them."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]


def save_settings(path: Path, args: argparse.Namespace) -> None:
    """Write settings.json."""
    write_json(path / "settings.json", {key: value for key, value in vars(args).items() if key != "resumed"})


def load_settings(path: Path, defaults: dict[str, Any]) -> argparse.Namespace:
    """The settings a run was started with; `defaults` for those that did not exist then.

    Raises ValueError if there is nothing to go on with.
    """
    try:
        settings = json.loads((path / "settings.json").read_text())
    except FileNotFoundError as error:
        raise ValueError(f"{path} holds no settings.json: it is not a run folder") from error
    if not isinstance(settings, dict) or not settings.keys() >= {"dataset", "model", "size", "epochs"}:
        raise ValueError(f"{path / 'settings.json'}: not the settings of a run: start one with --init")
    # Killed before the first state was kept there is nothing to go on from: start again, same settings.
    return argparse.Namespace(**{**defaults, **settings}, resumed=(path / "last.keras").exists())


def _overlays(network: Segmenter, pairs: list[Pair]) -> list[np.ndarray]:
    frames = [read_image(pair.image) for pair in pairs]
    return [
        sheets.overlay(frame, network(frame), read_mask(pair.mask))
        for frame, pair in zip(frames, pairs, strict=True)
    ]


def _summary(row: dict[str, float], rows: list[dict]) -> str:
    by_source = "".join(
        f", {name} {evaluation.mean(some)['iou']:.4f} / {evaluation.mean(some)['boundary_iou']:.4f}"
        for name, some in evaluation.groups(rows)
    )
    return (
        f"epoch {row['epoch']}: loss {row['loss']:.4f}, IoU / Boundary IoU {row['iou']:.4f} / "
        f"{row['boundary_iou']:.4f}{by_source}, {row['images_per_second']:.0f} images/s"
    )


class TensorBoardLog:
    """Scalars and pictures for TensorBoard, written by its own package so that TensorFlow is not needed."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder))

    def write(
        self, values: dict[str, float], step: int, pictures: dict[str, np.ndarray] | None = None
    ) -> None:
        """One point a value, one picture (uint8 RGB) a name. Raises OSError (full disk)."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        for name, picture in (pictures or {}).items():
            height, width = picture.shape[:2]
            image = Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=encode(picture, ".jpg")
            )
            points.append(Summary.Value(tag=name, image=image))
        try:
            self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=points)))
            self._writer.flush()
        except Exception as error:  # TensorFlow writes where it is installed, with errors of its own
            raise OSError(f"the TensorBoard log cannot be written: {error}") from error
