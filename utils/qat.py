"""Quantisation-aware training: whole numbers are played in training, so that the weights learn to bear them.

    network = simulated(models.load("live.keras"))      # train this one, after
    look(network, pictures)                              # has set the ranges it starts with
    plain = taken_out(network, models.create(...))       # its weights in the ordinary network

Batch norms are folded, the kernels of convolutions rounded to 8 bits for each channel as TFLite rounds them, and
what flows between layers to 8 bits over the range that was seen; gradients pass as if nothing had been rounded.
Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018. The layers that do so are made of Keras operations alone: every backend runs them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from utils.fold import fold, foldable

STEPS = 255  # between the ends of a range of 8 bits
FORGET = 0.01  # of the way a range shrinks in a step whose values stay within it
# What keeps its input's range, or has a fixed one (alpha); rounding after these says nothing new.
PASSING = (
    layers.MaxPooling2D,
    layers.UpSampling2D,
    layers.Dropout,
    layers.Softmax,
    layers.Reshape,
    layers.Identity,
)
FUSED = (layers.ReLU,)  # is done by the convolution or addition before it, whose own result is never stored


def rounded(x: KerasTensor, low: KerasTensor, high: KerasTensor) -> KerasTensor:
    """`x` on the 256 steps from `low` to `high`, one of which is 0; beyond them it is cut, without gradient."""
    low, high = ops.minimum(low, 0.0), ops.maximum(high, 0.0)
    step = ops.maximum(high - low, 1e-8) / STEPS
    zero = ops.round(-low / step)
    kept = ops.clip(x, -zero * step, (STEPS - zero) * step)
    return kept + ops.stop_gradient(ops.round(kept / step) * step - kept)


def rounded_kernel(kernel: KerasTensor, axes: tuple[int, ...]) -> KerasTensor:
    """A kernel in whole numbers of -127..127, its largest value over `axes` being 127; a scale for each channel."""
    step = ops.maximum(ops.max(ops.abs(kernel), axes, keepdims=True), 1e-8) / 127
    return kernel + ops.stop_gradient(ops.round(kernel / step) * step - kernel)


class Range(layers.Layer):
    """Rounds what passes to 8 bits over the range `low`..`high` that it saw in training."""

    def build(self, shape: tuple) -> None:
        """Nothing was seen yet."""
        self.low, self.high = (
            self.add_weight((), "zeros", trainable=False, name=name) for name in ("low", "high")
        )

    def compute_output_spec(self, x: KerasTensor, training: bool = False) -> KerasTensor:
        """What came in; Keras takes a product with a number for a sparse tensor, which cannot be tried out."""
        return KerasTensor(x.shape, x.dtype)

    def call(self, x: KerasTensor, training: bool = False) -> KerasTensor:
        """Widens at once and shrinks slowly, as calibration takes the extremes of many photos."""
        if training:
            seen = ops.stop_gradient(ops.cast(x, "float32"))
            low, high = ops.min(seen), ops.max(seen)
            self.low.assign(ops.minimum(low, self.low + FORGET * (low - self.low)))
            self.high.assign(ops.maximum(high, self.high + FORGET * (high - self.high)))
        return rounded(x, self.low, self.high)


class RoundedConv2D(layers.Conv2D):
    """A convolution by a rounded kernel."""

    def convolution_op(self, inputs: KerasTensor, kernel: KerasTensor) -> KerasTensor:
        """Keras' own, by the rounded kernel."""
        return super().convolution_op(inputs, rounded_kernel(kernel, (0, 1, 2)))


class RoundedDepthwiseConv2D(layers.DepthwiseConv2D):
    """A depthwise convolution by a rounded kernel."""

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """[N, H, W, C] in and out."""
        kernel = rounded_kernel(self.kernel, (0, 1))
        x = ops.depthwise_conv(inputs, kernel, self.strides, self.padding, dilation_rate=self.dilation_rate)
        return self.activation(x + self.bias if self.use_bias else x)


class RoundedConv2DTranspose(layers.Conv2DTranspose):
    """A transposed convolution by a rounded kernel."""

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """[N, h, w, C] in, enlarged out."""
        x = ops.conv_transpose(
            inputs,
            rounded_kernel(self.kernel, (0, 1, 3)),
            list(self.strides),
            self.padding,
            self.output_padding,
            dilation_rate=self.dilation_rate,
        )
        return self.activation(x + self.bias if self.use_bias else x)


class RoundedSeparableConv2D(layers.SeparableConv2D):
    """Both convolutions by rounded kernels, and what flows between them rounded too."""

    def build(self, shape: tuple) -> None:
        """One more range."""
        super().build(shape)
        self.between = Range(name="between")
        self.between.build(shape)

    def call(self, inputs: KerasTensor, training: bool = False) -> KerasTensor:
        """[N, H, W, C] in and out."""
        depthwise = rounded_kernel(self.depthwise_kernel, (0, 1))
        x = ops.depthwise_conv(
            inputs, depthwise, self.strides, self.padding, dilation_rate=self.dilation_rate
        )
        x = ops.conv(self.between(x, training=training), rounded_kernel(self.pointwise_kernel, (0, 1, 2)))
        return self.activation(x + self.bias if self.use_bias else x)


ROUNDED: dict[type, type] = {
    layers.Conv2D: RoundedConv2D,
    layers.DepthwiseConv2D: RoundedDepthwiseConv2D,
    layers.Conv2DTranspose: RoundedConv2DTranspose,
    layers.SeparableConv2D: RoundedSeparableConv2D,
}


def simulated(network: keras.Model) -> keras.Model:
    """A copy with its batch norms folded that computes as its int8 export will; layers keep their names.

    Its ranges are closed until `look` or a step of training has seen something. Raises ValueError where folding fails.
    """
    network = fold(network)
    follows = _followers(network)
    originals = {operation.name: operation for operation in network.operations}
    outputs = {id(tensor) for tensor in network.outputs}
    copies: list[tuple[layers.Layer, layers.Layer]] = []

    def clone(operation: keras.Operation) -> keras.Operation:
        copy = ROUNDED.get(type(operation), type(operation)).from_config(operation.get_config())
        if isinstance(operation, layers.Layer):
            copies.append((operation, copy))
        return copy

    def call(operation: keras.Operation, *given: Any, **keywords: Any) -> Any:
        result = operation(*given, **keywords)
        original = originals[operation.name]
        if id(original.output) in outputs or _needs_no_range(original, follows):
            return result
        return Range(name=f"{operation.name}_range")(result)

    copy = keras.models.clone_model(network, clone_function=clone, call_function=call)
    for source, target in copies:
        count = len(source.get_weights())
        target.set_weights([*source.get_weights(), *target.get_weights()[count:]])
    return copy


def look(network: keras.Model, pictures: Iterable[np.ndarray]) -> None:
    """Set the ranges of a simulated network by batches float32 [N, H, W, C] of 0..255; nothing else changes."""
    ranges = {id(weight) for layer in _ranges(network) for weight in layer.weights}
    others = [weight for weight in network.non_trainable_weights if id(weight) not in ranges]
    kept = [ops.convert_to_numpy(weight) for weight in others]
    for batch in pictures:
        network(batch, training=True)
    for weight, values in zip(others, kept, strict=True):
        weight.assign(values)


def _ranges(network: keras.Model) -> list[Range]:
    return [layer for layer in network._flatten_layers() if isinstance(layer, Range)]


def taken_out(network: keras.Model, plain: keras.Model) -> keras.Model:
    """`plain`, an ordinary network of the same architecture, with what the simulated one has learnt.

    A folded batch norm becomes one that only adds: its convolution already does the rest.
    """
    twin = simulated(
        plain
    )  # layers are called as those of `plain`, where `network` has other numbers in its names
    twin.set_weights(network.get_weights())
    learnt = {layer.name: layer.get_weights() for layer in twin.layers}
    norms = {conv.name: norm for conv, norm in foldable(plain).items()}
    for layer in plain.layers:
        if not layer.weights or layer in norms.values():
            continue
        values = learnt[layer.name]
        norm = norms.get(layer.name)
        if norm is None:
            layer.set_weights(values[: len(layer.weights)])
            continue
        *kernels, shift = values[: len(layer.weights) + (not layer.use_bias)]
        layer.set_weights([*kernels, np.zeros_like(shift)] if layer.use_bias else kernels)
        _only_add(norm, shift)
    return plain


def _only_add(norm: layers.BatchNormalization, shift: np.ndarray) -> None:
    values = {"gamma": 1.0, "beta": shift, "moving_mean": 0.0, "moving_variance": 1.0 - norm.epsilon}
    for name, value in values.items():
        variable = getattr(norm, name)
        if variable is not None:
            variable.assign(np.broadcast_to(np.float32(value), variable.shape))
    if norm.beta is None:
        norm.moving_mean.assign(-shift)


def _followers(network: keras.Model) -> dict[int, list[keras.Operation]]:
    """Which operations take each tensor."""
    found: dict[int, list[keras.Operation]] = {}
    for nodes in network._nodes_by_depth.values():
        for node in nodes:
            for tensor in node.input_tensors:
                found.setdefault(id(tensor), []).append(node.operation)
    return found


def _needs_no_range(operation: keras.Operation, follows: dict[int, list[keras.Operation]]) -> bool:
    """Whether its result is never stored as it is, or has the range of what came in."""
    if isinstance(operation, PASSING) or operation.name == "logits":  # what the loss looks at
        return True
    after = follows.get(id(operation.output), [])
    return len(after) == 1 and isinstance(after[0], FUSED)
