"""Exponential moving average of all weights, batch-norm statistics included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops

EARLY = 40  # steps


class EMA:
    """Call `update` after every step; `applied` shows the network with the averaged weights.

    The average warms up: after n updates at most (1 + n) / (10 + n) of it is old, so that an early
    epoch is not judged on random weights. Averaging every `every` steps costs a fraction and,
    with the decay raised to that power, is the same average; the first `EARLY` steps are all taken in, as some
    trainings have no more.
    """

    def __init__(self, network: keras.Model, decay: float = 0.999, every: int = 4) -> None:
        self.network, self.decay, self.every = network, decay, every
        self.values = [ops.copy(ops.stop_gradient(variable.value)) for variable in network.weights]
        self.steps = 0

    def update(self) -> None:
        """Take in the network's weights after one training step."""
        self.steps += 1
        every = 1 if self.steps <= EARLY else self.every
        if self.steps % every:
            return
        updates = self.steps // every
        keep = min(self.decay**every, (1 + updates) / (10 + updates))
        self.values = [
            old + (1 - keep) * (ops.stop_gradient(variable.value) - old)
            for old, variable in zip(self.values, self.network.weights, strict=True)
        ]

    @contextmanager
    def applied(self) -> Iterator[keras.Model]:
        """The network with averaged weights; its own come back afterwards."""
        own = self.network.get_weights()
        self.network.set_weights(self.arrays())
        try:
            yield self.network
        finally:
            self.network.set_weights(own)

    def arrays(self) -> list[np.ndarray]:
        """The averaged weights, for saving."""
        return [ops.convert_to_numpy(value) for value in self.values]

    def restore(self, arrays: list[np.ndarray], steps: int) -> None:
        """Go on from saved weights."""
        self.values = [ops.convert_to_tensor(array) for array in arrays]
        self.steps = steps
