"""Pieces that several networks share: normalised input, batch-norm convolutions, resizes, the alpha head."""

from __future__ import annotations

import keras
import numpy as np
from keras import KerasTensor, layers, ops

# From random weights a slow average (Keras' encoders keep 0.999) still holds its start after a few
# hundred steps, and inference is garbage while the training loss looks perfect.
MOMENTUM = 0.9


def pixels(
    size: tuple[int, int],
    channels: int,
    scale: float | list[float] = 1 / 255,
    offset: float | list[float] = 0.0,
) -> tuple[KerasTensor, KerasTensor]:
    """Input of pixels 0..255 and its normalised form `pixels * scale + offset` for RGB.

    A fourth channel, the previous alpha, always becomes 0..1.
    """
    inputs = layers.Input((*size, channels), name="pixels")
    if channels == 4:
        scale = [*_three(scale), 1 / 255]
        offset = [*_three(offset), 0.0]
    return inputs, layers.Rescaling(scale, offset, name="normalise")(inputs)


def batch_norm(x: KerasTensor, name: str | None = None, epsilon: float = 1e-3) -> KerasTensor:
    """Batch normalisation with the momentum that training from scratch needs."""
    return layers.BatchNormalization(momentum=MOMENTUM, epsilon=epsilon, name=name)(x)


def instance_norm(x: KerasTensor, name: str | None = None, epsilon: float = 1e-5) -> KerasTensor:
    """`InstanceNorm` of [N, H, W, C]."""
    return InstanceNorm(epsilon, name=name)(x)


def alpha(logits: KerasTensor) -> KerasTensor:
    """Alpha 0..1 [N, H, W, 1] from the layer called "logits": one channel, or background and person."""
    if logits.shape[-1] == 1:
        return layers.Activation("sigmoid", name="alpha")(logits)
    return layers.Softmax(name="softmax")(logits)[..., 1:]


def upsample(x: KerasTensor, factor: int | tuple[int, int] = 2, name: str | None = None) -> KerasTensor:
    """Bilinear enlargement with half-pixel centres."""
    return layers.UpSampling2D(factor, interpolation="bilinear", name=name)(x)


def resize(x: KerasTensor, height: int, width: int, name: str | None = None) -> KerasTensor:
    """Bilinear with half-pixel centres, without antialiasing, to a size; `x` itself where it has it.

    Whole factors go by `upsample`, whose layer every backend and runtime does fastest.
    """
    before = x.shape[1:3]
    if before == (height, width):
        return x
    if height % before[0] == 0 and width % before[1] == 0:
        return upsample(x, (height // before[0], width // before[1]), name)
    return layers.Resizing(height, width, name=name)(x)


def conv_bn(
    x: KerasTensor,
    filters: int,
    name: str,
    kernel: int = 1,
    stride: int = 1,
    bias: bool = False,
    relu: bool = True,
    epsilon: float = 1e-3,
    dilation: int = 1,
) -> KerasTensor:
    """Convolution, batch norm and (unless relu=False) ReLU."""
    x = layers.Conv2D(filters, kernel, stride, "same", dilation_rate=dilation, use_bias=bias, name=name)(x)
    x = batch_norm(x, name + "_bn", epsilon)
    return layers.ReLU(name=name + "_relu")(x) if relu else x


def depthwise_bn(
    x: KerasTensor,
    name: str,
    kernel: int = 3,
    stride: int = 1,
    bias: bool = False,
    epsilon: float = 1e-3,
    relu: bool = True,
    dilation: int = 1,
) -> KerasTensor:
    """Depthwise convolution, batch norm and (unless relu=False) ReLU."""
    x = layers.DepthwiseConv2D(kernel, stride, "same", dilation_rate=dilation, use_bias=bias, name=name)(x)
    x = batch_norm(x, name + "_bn", epsilon)
    return layers.ReLU(name=name + "_relu")(x) if relu else x


def residual(x: KerasTensor, filters: int, name: str, bias: bool = False, match: bool = True) -> KerasTensor:
    """Two depthwise-separable convolutions beside a 1x1, added, ReLU.

    ``match=False`` drops that 1x1 where the channels are equal already.
    """
    body = depthwise_bn(x, name + "_depthwise_1", bias=bias)
    body = conv_bn(body, filters, name + "_conv_1", bias=bias)
    body = depthwise_bn(body, name + "_depthwise_2", bias=bias)
    body = conv_bn(body, filters, name + "_conv_2", bias=bias, relu=False)
    if match or x.shape[-1] != filters:
        x = conv_bn(x, filters, name + "_match", bias=bias, relu=False)
    return layers.ReLU(name=name + "_relu")(layers.Add(name=name + "_add")([body, x]))


def prelu(x: KerasTensor, name: str | None = None) -> KerasTensor:
    """ReLU with one learned slope per channel, whatever the picture's size."""
    return layers.PReLU(shared_axes=[1, 2], name=name)(x)


@keras.saving.register_keras_serializable(package="portrait")
class InstanceNorm(layers.Layer):
    """Each picture's channels [N, H, W, C] to mean 0 and variance 1, nothing learnt; the same in training and use.

    Keras' LayerNormalization over height and width does this too, but not on PyTorch.
    Source: Ulyanov et al., "Instance Normalization: The Missing Ingredient for Fast Stylization", 2016.
    """

    def __init__(self, epsilon: float = 1e-5, **keywords: object) -> None:
        super().__init__(**keywords)
        self.epsilon = epsilon

    def call(self, x: KerasTensor) -> KerasTensor:
        """In float32 whatever the precision: squares of large features leave that of half."""
        wide = ops.cast(x, "float32")
        mean, variance = ops.moments(wide, (1, 2), keepdims=True)
        return ops.cast((wide - mean) * ops.rsqrt(variance + self.epsilon), x.dtype)

    def get_config(self) -> dict:
        """What rebuilds this layer."""
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="portrait")
class AlignedResize(layers.Layer):
    """Bilinear resize whose corner pixels stay corners (align_corners=True), to a size or by a factor.

    [N, h, w, C] -> [N, height, width, C]; h and w must be known when the network is built.
    """

    @staticmethod
    def matrix(before: int, after: int) -> np.ndarray:
        """Weights [after, before] of one axis."""
        return interpolation(before, after)

    def __init__(
        self,
        height: int | None = None,
        width: int | None = None,
        factor: int | None = None,
        **keywords: object,
    ) -> None:
        super().__init__(**keywords)
        if (factor is None) == (height is None or width is None):
            raise ValueError("AlignedResize takes either height and width, or factor")
        self.height, self.width, self.factor = height, width, factor

    def compute_output_shape(self, shape: tuple) -> tuple:
        """Shape after the resize."""
        batch, height, width, channels = shape
        if height is None or width is None:
            raise ValueError("AlignedResize needs the height and width of its input: build with a fixed size")
        if self.factor:
            return (batch, height * self.factor, width * self.factor, channels)
        return (batch, self.height, self.width, channels)

    def call(self, x: KerasTensor) -> KerasTensor:
        """Each axis in turn becomes the last and passes a 1x1 convolution with constant weights.

        The backends share no op for this, and convolutions are what every runtime (and int8) does best.
        """
        _, height, width, _ = self.compute_output_shape(x.shape)
        x = self._interpolate(ops.transpose(x, (0, 2, 3, 1)), height)
        x = self._interpolate(ops.transpose(x, (0, 2, 3, 1)), width)
        return ops.transpose(x, (0, 2, 3, 1))

    def get_config(self) -> dict:
        """What rebuilds this layer."""
        return {**super().get_config(), "height": self.height, "width": self.width, "factor": self.factor}

    def _interpolate(self, x: KerasTensor, size: int) -> KerasTensor:
        kernel = ops.convert_to_tensor(self.matrix(x.shape[-1], size).T[None, None], dtype=x.dtype)
        return ops.conv(x, kernel, padding="valid", data_format="channels_last")


@keras.saving.register_keras_serializable(package="portrait")
class AdaptivePool(AlignedResize):
    """Average pooling to a size, whatever the picture's: bin i of n is the mean of floor(i H / n) to ceil((i + 1) H / n).

    Bins overlap where n does not divide H. [N, h, w, C] -> [N, height, width, C].
    """

    @staticmethod
    def matrix(before: int, after: int) -> np.ndarray:
        """Weights [after, before] of one axis."""
        place, bins = np.arange(before), np.arange(after)[:, None]
        inside = (place >= bins * before // after) & (place < -(-(bins + 1) * before // after))
        return (inside / inside.sum(1, keepdims=True)).astype("float32")


def interpolation(before: int, after: int) -> np.ndarray:
    """Matrix [after, before] of the linear resize that keeps both ends in place; its rows sum to 1."""
    position = np.arange(after) * ((before - 1) / max(after - 1, 1))
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(before))).astype("float32")


def fit(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`values` cut or zero-padded to `shape`, from the first element of every axis."""
    result = np.zeros(shape, values.dtype)
    common = tuple(slice(0, min(a, b)) for a, b in zip(values.shape, shape, strict=True))
    result[common] = values[common]
    return result


def copy_by_name(donor: keras.Model, network: keras.Model, prefixes: tuple[str, ...] = ("",)) -> int:
    """Copy weights between layers of the same name, fitting shapes; returns how many layers matched.

    Only layers whose name starts with one of `prefixes`.
    """
    own = {layer.name: layer for layer in network.layers if layer.name.startswith(prefixes)}
    matched = [layer for layer in donor.layers if layer.weights and layer.name in own]
    for layer in matched:
        target = own[layer.name]
        target.set_weights(
            [fit(a, b.shape) for a, b in zip(layer.get_weights(), target.weights, strict=True)]
        )
    return len(matched)


def scaled(filters: int, alpha: float, divisor: int = 8) -> int:
    """Channels after width scaling: a multiple of `divisor`, never below 90 % of the exact value."""
    value = filters * alpha
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def _three(value: float | list[float]) -> list[float]:
    return list(value) if isinstance(value, (list, tuple)) else [value] * 3
