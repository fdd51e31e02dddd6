"""The training loop: one step, one epoch, checkpoints that a kill cannot spoil.

Built on `train_on_batch`, which Keras gives to every backend.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

import models
from utils import backend
from utils.cli import progress
from utils.ema import EMA
from utils.feed import AHEAD, Batches, prefetch
from utils.losses import SegmentationLoss

WARM_UP = 0.04
FLOOR = 0.01
STILL = 0.7  # of the pictures with a prior, those in which nothing moved


def learning_rate(share: float, peak: float) -> float:
    """Linear warm-up over the first 4 %, then a cosine down to 1 % of the peak; `share` 0..1 done."""
    if share < WARM_UP:
        return peak * (share + 1e-3) / WARM_UP
    done = min((share - WARM_UP) / (1 - WARM_UP), 1.0)
    return peak * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * done)) / 2)


def make_optimizer(network: keras.Model, peak: float, decay: float) -> keras.optimizers.Optimizer:
    """AdamW that decays dense and convolution kernels only: no norms, biases or depthwise kernels."""
    optimizer = keras.optimizers.AdamW(peak, weight_decay=decay, global_clipnorm=1.0)
    free = [
        weight
        for layer in network.layers
        for weight in layer.trainable_weights
        if len(weight.shape) < 4 or isinstance(layer, keras.layers.DepthwiseConv2D)
    ]
    # SeparableConv2D holds a depthwise kernel too, known by its name.
    free += [
        w for w in network.trainable_weights if "depthwise_kernel" in w.path and all(w is not f for f in free)
    ]
    optimizer.exclude_from_weight_decay(var_list=free)
    return optimizer


class Trainer:
    """Trains `network` and keeps what resuming needs.

    `epochs` or `minutes` bound the training; the learning rate follows the share of it that is done.
    A `teacher` (of the same input size) makes `teach` (0..1) of every target: it sees the very picture the
    network sees, augmented as it is (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).
    `hold` (0..1) teaches a network with a prior to keep to it where nothing moved, see `held`.
    """

    def __init__(
        self,
        network: keras.Model,
        peak: float,
        decay: float = 0.01,
        ema: float = 0.999,
        boundary: float = 3.0,
        epochs: int | None = None,
        minutes: float | None = None,
        consistency: float = 0.0,
        teacher: keras.Model | None = None,
        teach: float = 0.5,
        hold: float = 0.0,
    ) -> None:
        self.network, self.peak, self.epochs, self.minutes = network, peak, epochs, minutes
        self.graph = backend.fast(models.logits(network), half=True)
        self.optimizer = make_optimizer(network, peak, decay)
        loss = SegmentationLoss(boundary, consistency=consistency)
        self.graph.compile(self.optimizer, loss, **backend.compile_flags())
        self.optimizer.build(self.graph.trainable_variables)
        if not 0 <= teach <= 1:
            raise ValueError(f"--teach {teach}: the teacher's share is 0..1")
        self.teacher, self.teach = teacher, teach
        if teacher:
            self.teacher = backend.fast(teacher, half=True)
            self.teacher.compile(**backend.compile_flags())
        if not 0 <= hold < 1 or (hold and network.input_shape[3] != 4):
            raise ValueError(
                f"--hold {hold}: give 0..1 (1 not included), and --channels 4 for the prior that is held"
            )
        self.hold = hold
        if hold:
            self.earlier = backend.fast(network, half=True)
            self.earlier.compile(**backend.compile_flags())
        self.ema = EMA(network, ema)
        self.history: list[dict[str, float]] = []
        self.best = -1.0
        self.seconds = 0.0

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.history)

    def share(self, step: int, steps: int) -> float:
        """How much of the training is done, 0..1."""
        if self.minutes:
            return min(self.seconds / (60 * self.minutes), 1.0)
        return min((self.epoch + step / steps) / (self.epochs or 1), 1.0)

    @property
    def finished(self) -> bool:
        """Whether the epochs or the minutes are used up."""
        return self.share(0, 1) >= 1.0

    def train_epoch(self, batches: Batches, workers: int = 2) -> dict[str, float]:
        """One pass over the photos (less when the minutes run out); returns loss, rate, images/s.

        Raises ValueError when the loss is no longer a number.
        """
        batches.start_epoch(self.epoch)
        losses, began = [], time.perf_counter()
        bar = progress(range(len(batches) * batches.batch), f"epoch {self.epoch + 1}")
        with bar:
            for step, (pixels, alpha, weights) in enumerate(prefetch(batches, workers)):
                start = time.perf_counter()
                share = self.share(step, len(batches))
                if share >= 1.0:
                    break
                self.optimizer.learning_rate = learning_rate(share, self.peak)
                target = self.target(pixels, alpha)
                if self.hold:
                    rng = np.random.default_rng((batches.seed, self.epoch, step))
                    pixels, target = self.held(pixels, target, rng)
                losses.append(float(self.graph.train_on_batch(pixels, target, sample_weight=weights)))
                if not math.isfinite(losses[-1]):
                    raise ValueError("the loss is no longer a number: try a lower --rate")
                self.ema.update()
                bar.update(len(pixels))
                self.seconds += time.perf_counter() - start
                bar.set_postfix_str(f"loss {np.mean(losses[-50:]):.3f}, {self._left(share)} left")
        speed = len(losses) * batches.batch / (time.perf_counter() - began)
        return {
            "loss": float(np.mean(losses)),
            "rate": float(ops.convert_to_numpy(self.optimizer.learning_rate)),
            "images_per_second": speed,
        }

    def target(self, pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """What is learnt from a batch: the true alpha [N, H, W, 1], mixed with the teacher's if there is one."""
        if self.teacher is None:
            return alpha
        taught = self.teacher.predict_on_batch(pixels[..., : self.teacher.input_shape[3]])
        return (1 - self.teach) * alpha + self.teach * np.asarray(taught, np.float32)

    def held(
        self, pixels: np.ndarray, target: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """In most pictures that have a prior, make it the network's own alpha of the frame before in a still scene.

        That frame is the picture with a camera's other grain and exposure. What flickers between the two is
        damped, as `hold` of the target is that alpha; priors that moved or are blank keep the truth as their target.
        """
        rows = np.flatnonzero((pixels[..., 3].max((1, 2)) > 0) & (rng.random(len(pixels)) < STILL))
        before = pixels.copy()
        shape = (len(pixels), 1, 1, 1)
        grain = rng.standard_normal(before[..., :3].shape, np.float32) * rng.uniform(0.5, 4, shape)
        light = rng.normal(1, 0.02, shape)
        before[..., :3] = np.clip(before[..., :3] * light + grain, 0, 255)
        alpha = self.earlier.predict_on_batch(before)
        alpha = np.asarray(alpha[0] if isinstance(alpha, list) else alpha, np.float32)
        pixels, target = pixels.copy(), target.copy()
        pixels[rows, ..., 3] = 255 * alpha[rows, ..., 0]
        target[rows] = (1 - self.hold) * target[rows] + self.hold * alpha[rows]
        return pixels, target

    def _left(self, share: float) -> str:
        minutes = self.seconds * (1 / max(share, 1e-6) - 1) / 60
        return f"{minutes:.0f} min" if share > 0.002 else "?"

    def state(self) -> bytes:
        """Everything besides the weights that resuming needs, as an .npz."""
        arrays = {f"optimizer_{i}": v for i, v in enumerate(self._optimizer_arrays())}
        arrays |= {f"ema_{i}": v for i, v in enumerate(self.ema.arrays())}
        notes = {
            "history": self.history,
            "best": self.best,
            "seconds": self.seconds,
            "ema_steps": self.ema.steps,
        }
        arrays["notes"] = np.array(json.dumps(notes))
        data = io.BytesIO()
        np.savez(data, **arrays)
        return data.getvalue()

    def restore(self, state: bytes) -> None:
        """Go on from `state` (the network's weights are loaded already). Raises ValueError, KeyError."""
        with np.load(io.BytesIO(state), allow_pickle=False) as arrays:
            notes: dict[str, Any] = json.loads(str(arrays["notes"]))
            for i, variable in enumerate(self.optimizer.variables):
                variable.assign(arrays[f"optimizer_{i}"])
            count = len(self.network.weights)
            self.ema.restore([arrays[f"ema_{i}"] for i in range(count)], notes["ema_steps"])
        self.history, self.best, self.seconds = notes["history"], notes["best"], notes["seconds"]

    def _optimizer_arrays(self) -> list[np.ndarray]:
        return [ops.convert_to_numpy(variable) for variable in self.optimizer.variables]


def step_times(
    trainer: Trainer, batches: Batches, steps: int = 12, rounds: int = 5
) -> list[tuple[float, float]]:
    """Seconds a training step on one cached batch and on freshly made ones, in alternating rounds."""
    cached = batches[0]

    def timed(feed: Iterator[tuple[np.ndarray, ...]]) -> float:
        start = time.perf_counter()
        for pixels, alpha, weights in feed:
            trainer.graph.train_on_batch(pixels, alpha, sample_weight=weights)
        return (time.perf_counter() - start) / steps

    timed(iter([cached] * steps))  # compiles, warms up
    results = []
    for number in range(rounds):
        batches.start_epoch(number)
        stream = prefetch(batches)
        first = timed(iter([cached] * steps))
        # The first of them nobody computes beside; from then on the queue is as full as at the end.
        for _ in itertools.islice(stream, AHEAD):
            pass
        results.append((first, timed(itertools.islice(stream, steps))))
        stream.close()
    return results


class TensorBoardLog:
    """Scalars for TensorBoard, written by its own package so that TensorFlow is not needed."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder))

    def write(self, values: dict[str, float], step: int) -> None:
        """One point a value. Raises OSError (full disk)."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        try:
            self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=points)))
            self._writer.flush()
        except Exception as error:  # TensorFlow writes where it is installed, with errors of its own
            raise OSError(f"the TensorBoard log cannot be written: {error}") from error
