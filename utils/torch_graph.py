"""Keras networks run by PyTorch's own channels-last kernels, for training on a CPU.

Keras' layers on PyTorch copy between layouts and take batch norm apart into a dozen operations.
Here the same graph with the same weights runs on whole kernels of PyTorch, in bfloat16 where the
processor has it: on two cores, 1.3 times as fast as TensorFlow (README). Layers
without a rule below are Keras' own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import torch
from keras import layers
from torch.nn import functional

from models import blocks

Tensor = torch.Tensor

SUB_PIXEL = 256  # pixels from which on `_sub_pixel` is faster than PyTorch's transposed convolution


class TorchGraph(keras.Model):
    """`TorchGraph(network.inputs, network.outputs)` shares all weights and state with `network`.

    Takes and returns float32 [N, H, W, C]. With the attribute `half` the inside is bfloat16.
    """

    half = False

    def call(self, inputs: Tensor, training: bool | None = None, mask: object = None) -> Tensor:
        """The outputs of the graph."""
        inputs = torch.as_tensor(inputs)
        values = {id(self.inputs[0]): inputs.permute(0, 3, 1, 2)}
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.half):
            for operation in self.operations:
                if isinstance(operation, layers.InputLayer):
                    continue
                node = _node(operation, values)
                given = [values[id(tensor)] for tensor in node.input_tensors]
                rule = RULES.get(type(operation), _own)
                values[id(node.outputs[0])] = rule(operation, node, given, bool(training))
        return values[id(self.outputs[0])].permute(0, 2, 3, 1).float()


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def _node(operation: keras.Operation, known: dict[int, Tensor]) -> Any:
    """The use of a layer within this graph: it may have others, in graphs made from the same layers."""
    for node in operation._inbound_nodes:
        if all(id(tensor) in known for tensor in node.input_tensors):
            return node
    raise ValueError(f"{operation.name}: its inputs are not part of the graph")


def _own(operation: Any, node: Any, given: list[Tensor], training: bool) -> Tensor:
    """Any layer without a rule, run by Keras on float32, pictures as [N, H, W, C]; other shapes are kept as they are."""
    pairs = zip(node.input_tensors, given, strict=True)
    found = {id(a): (b.permute(0, 2, 3, 1) if b.ndim == 4 else b).float() for a, b in pairs}
    arguments, keywords = _filled(node.arguments, found)
    if (
        isinstance(operation, layers.Dropout) or "training" in keywords
    ):  # noted as it was when the graph was made
        keywords["training"] = training
    result = operation(*arguments, **keywords)
    return result.permute(0, 3, 1, 2) if result.ndim == 4 else result


def _filled(arguments: Any, found: dict[int, Tensor]) -> tuple[tuple, dict]:
    def swap(value: Any) -> Any:
        return found.get(id(value), value) if isinstance(value, keras.KerasTensor) else value

    return keras.tree.map_structure(swap, (arguments.args, arguments.kwargs))


def _convolution(layer: Any, node: Any, given: list[Tensor], training: bool) -> Tensor:
    x, padding = _padded(given[0], layer)
    weight = layer.kernel.value.permute(3, 2, 0, 1)
    y = functional.conv2d(x, weight, _bias(layer), layer.strides, padding, layer.dilation_rate, layer.groups)
    return layer.activation(y)


def _depthwise(layer: Any, node: Any, given: list[Tensor], training: bool) -> Tensor:
    return layer.activation(_each_channel(layer, given[0], layer.kernel.value, _bias(layer)))


def _separable(layer: Any, node: Any, given: list[Tensor], training: bool) -> Tensor:
    x = _each_channel(layer, given[0], layer.depthwise_kernel.value, None)
    return layer.activation(
        functional.conv2d(x, layer.pointwise_kernel.value.permute(3, 2, 0, 1), _bias(layer))
    )


def _each_channel(layer: Any, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Depthwise convolution with a kernel [h, w, channels, multiplier]."""
    groups = x.shape[1]
    x, padding = _padded(x, layer)
    weight = kernel.permute(2, 3, 0, 1).flatten(0, 1)[:, None]
    # The gradient of a strided depthwise kernel takes two and a half times as long in bfloat16.
    exact = layer.strides[0] > 1
    device = x.device.type
    with torch.autocast(device, torch.bfloat16, enabled=torch.is_autocast_enabled(device) and not exact):
        x = x.float() if exact else x
        return functional.conv2d(x, weight, bias, layer.strides, padding, layer.dilation_rate, groups)


def _bias(layer: Any) -> Tensor | None:
    return layer.bias.value if layer.use_bias else None


def _padded(x: Tensor, layer: Any) -> tuple[Tensor, tuple[int, int] | int]:
    """Keras pads more at the end where the padding is odd; PyTorch only knows equal sides."""
    if layer.padding != "same":
        return x, 0
    pads = []
    for side, kernel, stride, dilation in zip(
        x.shape[2:], layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        total = max((-(-side // stride) - 1) * stride + (kernel - 1) * dilation + 1 - side, 0)
        pads.append((total // 2, total - total // 2))
    if all(before == after for before, after in pads):
        return x, (pads[0][0], pads[1][0])
    return functional.pad(x, (*pads[1], *pads[0])), 0


def _transposed(layer: Any, node: Any, given: list[Tensor], training: bool) -> Tensor:
    if layer.padding != "same" or any(k < s for k, s in zip(layer.kernel_size, layer.strides, strict=True)):
        return _own(layer, node, given, training)
    x = given[0]
    weight = layer.kernel.value.permute(3, 2, 0, 1)
    doubled = (tuple(layer.kernel_size), tuple(layer.strides)) == ((3, 3), (2, 2))
    if doubled and x.shape[2] * x.shape[3] >= SUB_PIXEL:
        return layer.activation(_sub_pixel(x, weight.transpose(0, 1), _bias(layer)))
    y = functional.conv_transpose2d(x, weight, _bias(layer), layer.strides)
    height, width = (side * stride for side, stride in zip(x.shape[2:], layer.strides, strict=True))
    top, left = ((k - s) // 2 for k, s in zip(layer.kernel_size, layer.strides, strict=True))
    return layer.activation(y[:, :, top : top + height, left : left + width])


def _sub_pixel(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A transposed 3x3 kernel of stride 2 as one 2x2 convolution to four pixels each, laid side by side.

    Seven of the sixteen taps are zeros, and yet it takes half the time of PyTorch's own, forwards and back.
    """
    even, odd = [2, 0], [1]  # an even output is reached from two inputs, an odd one from its own only
    pad = functional.pad
    taps = torch.cat(
        [
            weight[:, :, even][:, :, :, even],
            pad(weight[:, :, even][:, :, :, odd], (1, 0)),
            pad(weight[:, :, odd][:, :, :, even], (0, 0, 1, 0)),
            pad(weight[:, :, odd][:, :, :, odd], (1, 0, 1, 0)),
        ]
    )
    y = functional.conv2d(pad(x, (1, 0, 1, 0)), taps, None if bias is None else bias.repeat(4))
    count, _, height, width = y.shape
    pixels = y.permute(0, 2, 3, 1).reshape(count, height, width, 2, 2, -1).transpose(2, 3)
    return pixels.reshape(count, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


def _batch_norm(layer: Any, node: Any, given: list[Tensor], training: bool) -> Tensor:
    learning = training and layer.trainable
    if learning and given[0].shape[0] * given[0].shape[2] * given[0].shape[3] == 1:
        return _own(layer, node, given, training)  # PyTorch wants more than one value a channel
    return functional.batch_norm(
        given[0],
        layer.moving_mean.value,
        layer.moving_variance.value,
        layer.gamma.value if layer.scale else None,
        layer.beta.value if layer.center else None,
        learning,
        1 - layer.momentum,
        layer.epsilon,
    )


def _instance_norm(layer: Any, node: Any, given: list[Tensor], training: bool) -> Tensor:
    return functional.instance_norm(given[0].float(), eps=layer.epsilon).to(given[0].dtype)


def _relu(layer: Any, node: Any, given: list[Tensor], training: bool) -> Tensor:
    if layer.negative_slope or layer.threshold:
        return _own(layer, node, given, training)
    if layer.max_value is None:
        return functional.relu(given[0])
    return functional.hardtanh(given[0], 0.0, float(layer.max_value))


def _prelu(layer: Any, node: Any, given: list[Tensor], training: bool) -> Tensor:
    if layer.alpha.value.numel() != given[0].shape[1]:
        return _own(layer, node, given, training)
    return functional.prelu(given[0], layer.alpha.value.flatten().to(given[0].dtype))


def _upsampled(layer: Any, node: Any, given: list[Tensor], training: bool) -> Tensor:
    factors = tuple(float(factor) for factor in layer.size)
    if layer.interpolation == "nearest":
        return functional.interpolate(given[0], scale_factor=factors)
    return functional.interpolate(given[0], scale_factor=factors, mode=layer.interpolation)


def _mean(layer: Any, node: Any, given: list[Tensor], training: bool) -> Tensor:
    return given[0].mean((2, 3), keepdim=True) if layer.keepdims else _own(layer, node, given, training)


def _add(layer: Any, node: Any, given: list[Tensor], training: bool) -> Tensor:
    total = given[0]
    for other in given[1:]:
        total = total + other
    return total


def _joined(layer: Any, node: Any, given: list[Tensor], training: bool) -> Tensor:
    return torch.cat(given, 1) if layer.axis in (-1, 3) else _own(layer, node, given, training)


Rule = Callable[[Any, Any, list[Tensor], bool], Tensor]
RULES: dict[type, Rule] = {
    layers.Conv2D: _convolution,
    layers.DepthwiseConv2D: _depthwise,
    layers.SeparableConv2D: _separable,
    layers.Conv2DTranspose: _transposed,
    layers.BatchNormalization: _batch_norm,
    blocks.InstanceNorm: _instance_norm,
    layers.ReLU: _relu,
    layers.PReLU: _prelu,
    layers.UpSampling2D: _upsampled,
    layers.GlobalAveragePooling2D: _mean,
    layers.Add: _add,
    layers.Concatenate: _joined,
}
