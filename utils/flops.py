"""Multiplications of a network, counted on its Keras graph.

    multiply_adds(models.create("sinet"))     # of one picture

Counted, as papers do, are convolutions and dense layers: one multiply-add for each kernel value used at each place.
Biases, norms, activations, pooling, resizing and elementwise arithmetic are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from models import sinet

Shape = tuple[int | None, ...]


def multiply_adds(model: keras.Model) -> int:
    """Of one picture; the model must be built for a fixed size. Raises ValueError if it is not."""
    total = 0
    for nodes in model._nodes_by_depth.values():
        for node in nodes:
            operation = node.operation
            if isinstance(operation, keras.Model):
                total += multiply_adds(operation)
            elif type(operation) in RULES:
                total += _count(operation, node.input_tensors[0].shape, node.outputs[0].shape)
            elif _is_convolution(operation):
                raise ValueError(f"{operation.name}: nobody said how to count a {type(operation).__name__}")
    return total


def _count(layer: Any, before: Shape, after: Shape) -> int:
    if None in (*before[1:], *after[1:]):
        raise ValueError(f"{layer.name}: its size is open: build the network for a fixed size")
    return RULES[type(layer)](layer, before, after)


def _is_convolution(operation: Any) -> bool:
    """Whether it has a kernel, and would be forgotten without a rule."""
    return any(
        len(weight.shape) > 1 and "kernel" in weight.name for weight in getattr(operation, "weights", [])
    )


def _places(shape: Shape) -> int:
    """Pixels; for a dense layer the rows."""
    return math.prod(shape[1:-1])


def _convolution(layer: Any, before: Shape, after: Shape) -> int:
    return _places(after) * math.prod(layer.kernel.shape)


def _transposed(layer: Any, before: Shape, after: Shape) -> int:
    """Each input pixel meets the whole kernel."""
    return _places(before) * math.prod(layer.kernel.shape)


def _separable(layer: Any, before: Shape, after: Shape) -> int:
    kernels = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    return _places(after) * kernels


def _groups(layer: Any, before: Shape, after: Shape) -> int:
    return _places(after) * (math.prod(layer.first.shape) + math.prod(layer.second.shape))


RULES: dict[type, Callable[[Any, Shape, Shape], int]] = {
    layers.Conv2D: _convolution,
    layers.DepthwiseConv2D: _convolution,
    layers.Dense: _convolution,
    layers.Conv2DTranspose: _transposed,
    layers.SeparableConv2D: _separable,
    sinet.ShuffledGroups: _groups,
}
