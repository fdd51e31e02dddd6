"""A network's graph again, with some of its layers replaced."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import layers


def rebuilt(
    model: keras.Model,
    replace: Callable[[keras.Operation], layers.Layer | None],
    weights: Callable[[layers.Layer], list[np.ndarray]] = layers.Layer.get_weights,
) -> keras.Model:
    """A copy whose layers are those that `replace` gives, or copies where it gives None.

    A copy has its original's weights, a replacement those that `weights` makes of the original's.
    """
    pairs: list[tuple[layers.Layer, layers.Layer, bool]] = []

    def clone(operation: keras.Operation) -> keras.Operation:
        other = replace(operation)
        copy = type(operation).from_config(operation.get_config()) if other is None else other
        if isinstance(operation, layers.Layer):
            pairs.append((operation, copy, other is not None))
        return copy

    result = keras.models.clone_model(model, clone_function=clone)
    for source, copy, other in pairs:
        copy.set_weights(weights(source) if other else source.get_weights())
    return result
