"""The training loop: one step, one epoch, checkpoints that a kill cannot spoil.

Built on `train_on_batch`, which Keras gives to every backend.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

import models
from utils import backend, distribution, losses
from utils.cli import progress
from utils.ema import EMA
from utils.feed import AHEAD, Batches, prefetch
from utils.hard import Hardness, PhotoLosses
from utils.losses import SegmentationLoss
from utils.schedules import Timetable
from utils.teaching import Teaching


@dataclass
class Recipe:
    """How a network is trained, besides when and how fast (`Timetable`).

    `accumulate` batches make one step. `encoder` names the layers that `Timetable.freeze` freezes. `terms` and the
    others of the loss: `SegmentationLoss`. `precision`: "auto", "float32" or "mixed", see `backend.fast`.
    """

    decay: float = 0.01
    ema: float = 0.999
    boundary: float = 3.0
    consistency: float = 0.0
    terms: dict[str, float] = field(default_factory=lambda: losses.parse(losses.DEFAULT))
    teacher: keras.Model | None = None
    teach: float = 0.5
    hold: float = 0.0
    accumulate: int = 1
    precision: str = "auto"
    encoder: tuple[str, ...] = ()


def make_optimizer(
    network: keras.Model, peak: float, decay: float, accumulate: int = 1
) -> keras.optimizers.Optimizer:
    """AdamW that decays dense and convolution kernels only: no norms, biases or depthwise kernels.

    It steps once in `accumulate` batches, by the mean of their gradients.
    """
    optimizer = keras.optimizers.AdamW(
        peak,
        weight_decay=decay,
        global_clipnorm=1.0,
        gradient_accumulation_steps=accumulate if accumulate > 1 else None,
    )
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

    Call `train_epoch`, append its row with a "score" to `history`, until `finished`.
    """

    def __init__(self, network: keras.Model, timetable: Timetable, recipe: Recipe | None = None) -> None:
        self.network, self.timetable = network, timetable
        self.recipe = recipe = recipe or Recipe()
        self.graph = backend.fast(models.logits(network), recipe.precision)
        self.loss = SegmentationLoss(
            recipe.boundary, recipe.consistency, recipe.terms, heads=models.heads(network)
        )
        self.teaching = Teaching(network, recipe.teacher, recipe.teach, recipe.hold, recipe.precision)
        self.ema = EMA(network, recipe.ema)
        self.hardness: Hardness | None = None
        self.history: list[dict[str, float]] = []
        self.losses: list[float] = []  # of the steps of the epoch under way
        self._hardest: np.ndarray | None = None  # what the rest of that epoch draws from, after a restore
        self.seconds = 0.0
        self._photos: int | None = None  # of the dataset when `restore`d state was taken
        self._mirrored: Callable[..., float] | None = None
        self._measured = 0  # pictures whose losses each step reports
        with distribution.scope():
            self._compile()

    def _compile(self) -> None:
        """An optimizer for what is trained now, and a step for it; frozen batch norms keep their statistics."""
        for name in self.recipe.encoder:
            self.network.get_layer(name).trainable = not self.timetable.frozen
        self.optimizer = make_optimizer(
            self.network, self.timetable.peak, self.recipe.decay, self.recipe.accumulate
        )
        self.optimizer.build(self.graph.trainable_variables)
        self.accumulated = 0  # batches since the last step of the optimizer
        self._attach()

    def _attach(self) -> None:
        if distribution.strategy:
            from utils.mirrored import MirroredStep

            self._mirrored = MirroredStep(distribution.strategy, self.graph, self.loss, self.optimizer)
            return
        metrics = [PhotoLosses(self.loss, self._measured)] if self._measured else None
        self.graph.compile(self.optimizer, self.loss, metrics=metrics, **backend.compile_flags())

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.history)

    @property
    def finished(self) -> bool:
        """Whether the epochs or the minutes are used up, or patience is at its end; never within an epoch."""
        return not self.losses and self.timetable.finished(self.epoch, self.seconds, self.history)

    def train_epoch(
        self, batches: Batches, workers: int = 2, keep: Callable[[Trainer], None] | None = None
    ) -> dict[str, float]:
        """One pass over the photos (less when the minutes run out); returns loss, rate, images/s.

        `keep` is called after each step, to save a state. After `restore` the epoch goes on where that state was.
        Raises ValueError when the loss is no longer a number.
        """
        learnt = self.losses
        self._prepare(batches)
        first, began = len(self.losses), time.perf_counter()
        start = began  # what is waited for counts too
        bar = progress(range(len(batches) * batches.batch), f"epoch {self.epoch + 1}")
        with bar:
            bar.update(first * batches.batch)
            for step, batch in enumerate(prefetch(batches, workers, first=first), first):
                done = self.epoch + step / len(batches)
                share = self.timetable.share(done, self.seconds)
                if share >= 1.0:
                    break
                if self.timetable.thaw_now(done, self.seconds):
                    with distribution.scope():
                        self._compile()
                self.optimizer.learning_rate = self.timetable.rate(done, self.seconds, self.history)
                self.losses.append(self._step(batches, step, *batch))
                bar.update(batches.batch)
                now = time.perf_counter()
                self.seconds, start = self.seconds + now - start, now
                bar.set_postfix_str(f"loss {np.mean(self.losses[-50:]):.3f}, {self._left(share)} left")
                if keep:
                    keep(self)
        speed = (len(self.losses) - first) * batches.batch / (time.perf_counter() - began)
        # With other photos the epoch begins anew; if no time is left for that, what was learnt before counts.
        losses, self.losses, self._hardest = self.losses or learnt, [], None
        return {
            "loss": float(np.mean(losses)),
            "rate": float(ops.convert_to_numpy(self.optimizer.learning_rate)),
            "images_per_second": speed,
        }

    def _prepare(self, batches: Batches) -> None:
        """Shuffle for the next epoch; where hard photos are shown more often, see that each loss is known."""
        if self._photos not in (None, len(batches.pairs)):
            print(f"note: {len(batches.pairs)} photos instead of {self._photos}: the epoch begins anew")
            self.losses, self._hardest, self.hardness = [], None, None
        self._photos = len(batches.pairs)
        if batches.hard and self.hardness is None:
            self.hardness = Hardness(len(batches.pairs))
        if batches.hard and not self._measured:
            self._measured = batches.batch
            self._attach()
        if self._hardest is None and self.hardness:
            self._hardest = self.hardness.hardest()
        batches.start_epoch(self.epoch, self._hardest)

    def _step(
        self, batches: Batches, step: int, pixels: np.ndarray, alpha: np.ndarray, weights: np.ndarray
    ) -> float:
        """Learn from one batch; returns its loss."""
        rng = np.random.default_rng((batches.seed, self.epoch, step))
        pixels, target = self.teaching.batch(pixels, alpha, rng)
        if self._mirrored:
            found = self._mirrored(pixels, target, weights)
        else:
            found = self.graph.train_on_batch(pixels, target, sample_weight=weights)
        loss = float(found[0] if self._measured else found)
        if not math.isfinite(loss):
            raise ValueError("the loss is no longer a number: try a lower --rate")
        if self.hardness:
            own = batches.shows_photo(step)
            self.hardness.update(batches.chosen(step)[own], np.atleast_1d(found[1])[: len(own)][own])
        self.accumulated = (self.accumulated + 1) % self.recipe.accumulate
        if not self.accumulated:
            self.ema.update()
        return loss

    def _left(self, share: float) -> str:
        minutes = self.seconds * (1 / max(share, 1e-6) - 1) / 60
        return f"{minutes:.0f} min" if share > 0.002 else "?"

    def state(self) -> bytes:
        """Everything besides the weights that resuming needs, as an .npz."""
        arrays = {f"optimizer_{i}": v for i, v in enumerate(self._optimizer_arrays())}
        arrays |= {f"ema_{i}": v for i, v in enumerate(self.ema.arrays())}
        notes = {
            "history": self.history,
            "seconds": self.seconds,
            "ema_steps": self.ema.steps,
            "thawed": self.timetable.thawed,
            "accumulated": self.accumulated,
            "losses": self.losses,
            "photos": self._photos,
        }
        if self.hardness:
            arrays["hardness"] = self.hardness.losses
        if self._hardest is not None:
            arrays["hardest"] = self._hardest
        arrays |= {f"seed_{i}": ops.convert_to_numpy(seed) for i, seed in enumerate(self._seeds())}
        if keras.backend.backend() == "torch":  # whose Dropout draws from PyTorch's own generator
            arrays["torch_seed"] = _torch().get_rng_state().numpy()
        arrays["notes"] = np.array(json.dumps(notes))
        data = io.BytesIO()
        np.savez(data, **arrays)
        return data.getvalue()

    def restore(self, state: bytes) -> None:
        """Go on from `state` (the network's weights are loaded already). Raises ValueError, KeyError."""
        with np.load(io.BytesIO(state), allow_pickle=False) as arrays:
            notes: dict[str, Any] = json.loads(str(arrays["notes"]))
            if notes.get("thawed"):
                self.timetable.thawed = tuple(notes["thawed"])
                with distribution.scope():
                    self._compile()
            if "hardness" in arrays:
                self.hardness = Hardness(len(arrays["hardness"]))
                self.hardness.losses[:] = arrays["hardness"]
            self._hardest = arrays.get("hardest")
            for i, seed in enumerate(self._seeds()):
                seed.assign(arrays[f"seed_{i}"])
            if "torch_seed" in arrays and keras.backend.backend() == "torch":
                _torch().set_rng_state(_torch().from_numpy(arrays["torch_seed"]))
            self.accumulated = notes.get("accumulated", 0)
            for i, variable in enumerate(self.optimizer.variables):
                variable.assign(arrays[f"optimizer_{i}"])
            count = len(self.network.weights)
            self.ema.restore([arrays[f"ema_{i}"] for i in range(count)], notes["ema_steps"])
        self.history, self.seconds = notes["history"], notes["seconds"]
        self.losses, self._photos = notes.get("losses", []), notes.get("photos")

    def _seeds(self) -> list[Any]:
        """What Dropout draws from, which Keras does not save."""
        generators = (getattr(layer, "seed_generator", None) for layer in self.network.layers)
        return [generator.state for generator in generators if generator is not None]

    def _optimizer_arrays(self) -> list[np.ndarray]:
        return [ops.convert_to_numpy(variable) for variable in self.optimizer.variables]


def _torch() -> Any:
    import torch

    return torch


def step_times(
    trainer: Trainer, batches: Batches, steps: int = 12, rounds: int = 5
) -> list[tuple[float, float]]:
    """Seconds a training step on one cached batch and on freshly made ones, in alternating rounds."""
    if len(batches) < AHEAD + 1:
        raise ValueError(
            f"{len(batches)} batches are too few to time: give at least {(AHEAD + 1) * batches.batch} photos"
        )
    cached = batches[0]

    def timed(feed: Iterator[tuple[np.ndarray, ...]]) -> float:
        start, count = time.perf_counter(), 0
        for pixels, alpha, weights in feed:
            trainer.graph.train_on_batch(pixels, alpha, sample_weight=weights)
            count += 1
        return (time.perf_counter() - start) / count

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
