"""SINet: 87 thousand parameters, by spatial squeeze modules and an information-blocking decoder.

Source: Park et al., "SINet: Extreme Lightweight Portrait Segmentation Networks with Spatial Squeeze
Modules and Information Blocking Decoder", WACV 2020. Any size divisible by 32.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers, ops

from models import blocks

# How the names of the encoder's layers begin
ENCODER = ("level_1", "level_2_down", "level_2_0", "level_2_1", "level_2_cat", "level_3_")

# Two branches (kernel, pooling) of each S2 module at stride 4 and stride 8
LEVEL_2 = (((3, 1), (5, 1)), ((3, 1), (3, 1)))
LEVEL_3 = (
    *[((3, 1), (5, 1)), ((3, 1), (3, 1)), ((5, 1), (3, 2)), ((5, 2), (3, 4))],
    *[((3, 1), (3, 1)), ((5, 1), (5, 1)), ((3, 2), (3, 4)), ((3, 1), (5, 2))],
)


def build(size: tuple[int, int], channels: int = 3) -> keras.Model:
    """Pixels [N, H, W, channels] -> alpha [N, H, W, 1]."""
    inputs, x = blocks.pixels(size, channels)
    x = norm_prelu(conv(x, 12, "level_1", 3, 2), "level_1")
    down_2 = squeeze_excite_conv(x, 16, 1, "level_2_down")
    level_2 = level(down_2, 48, LEVEL_2, "level_2")
    x = layers.Concatenate(name="level_2_cat")([down_2, level_2])
    down_3 = squeeze_excite_conv(norm_prelu(x, "level_2_cat"), 48, 2, "level_3_down")
    level_3 = level(down_3, 96, LEVEL_3, "level_3")
    x = layers.Concatenate(name="level_3_cat")([down_3, level_3])
    x = conv(norm_prelu(x, "level_3_cat"), 2, "classes")
    # Where the coarse classes are sure, the finer features are blocked: they would only add noise.
    x = blocks.batch_norm(enlarge(x, "up_1"), "up_1_bn")
    unsure = 1 - ops.max(layers.Softmax(name="confidence")(x), axis=-1, keepdims=True)
    fine = norm_prelu(conv(level_2, 2, "level_2_classes"), "level_2_classes")
    x = layers.Add(name="unblocked")([x, layers.Multiply(name="gate")([fine, unsure])])
    x = blocks.batch_norm(enlarge(x, "up_2"), "up_2_bn")
    logits = conv(enlarge(x, "up_3"), 2, "logits", 3)
    return keras.Model(inputs, blocks.alpha(logits), name="sinet")


def level(x: KerasTensor, filters: int, modules: tuple, name: str) -> KerasTensor:
    """S2 modules one after the other; the first widens and so has no residual."""
    for index, branches in enumerate(modules):
        x = s2_module(x, filters, branches, f"{name}_{index}")
    return x


def s2_module(x: KerasTensor, filters: int, branches: tuple, name: str) -> KerasTensor:
    """Grouped 1x1 to half the channels, two depthwise branches at their own scale, concatenated."""
    reduced = ShuffledGroups(filters // 2, name=f"{name}_reduce")(x)
    both = [s2_branch(reduced, *how, f"{name}_{part}") for part, how in zip("ab", branches, strict=True)]
    y = layers.Concatenate(name=f"{name}_cat")(both)
    if x.shape[-1] == filters:
        y = layers.Add(name=f"{name}_add")([x, y])
    return norm_prelu(y, name)


def s2_branch(x: KerasTensor, kernel: int, pool: int, name: str) -> KerasTensor:
    """Depthwise convolution on a picture `pool` times smaller: a wide view for little work."""
    filters = x.shape[-1]
    if pool > 1:
        x = layers.AveragePooling2D(pool, name=f"{name}_pool")(x)
    x = layers.DepthwiseConv2D(kernel, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = conv(norm_prelu(x, f"{name}_depthwise"), filters, f"{name}_conv")
    if pool > 1:
        x = enlarge(x, f"{name}_up", pool)
    return blocks.batch_norm(x, f"{name}_bn")


def squeeze_excite_conv(x: KerasTensor, filters: int, divide: int, name: str) -> KerasTensor:
    """Half the size: depthwise 3x3, channels weighted by the picture's mean, 1x1, batch norm, PReLU."""
    x = layers.DepthwiseConv2D(3, 2, "same", use_bias=False, name=f"{name}_depthwise")(x)
    width = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(x)
    if divide > 1:
        gate = layers.Conv2D(width // divide, 1, name=f"{name}_squeeze")(gate)
        gate = blocks.prelu(gate, f"{name}_squeeze_prelu")
    gate = layers.Conv2D(width, 1, name=f"{name}_excite")(gate)
    # As in the paper's code the gate has no sigmoid.
    gate = blocks.prelu(gate, f"{name}_excite_prelu")
    x = layers.Multiply(name=f"{name}_gate")([x, gate])
    return norm_prelu(conv(x, filters, f"{name}_conv"), name)


def conv(x: KerasTensor, filters: int, name: str, kernel: int = 1, stride: int = 1) -> KerasTensor:
    """Convolution without bias."""
    return layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=name)(x)


def norm_prelu(x: KerasTensor, name: str) -> KerasTensor:
    """Batch norm, then a PReLU with one slope per channel."""
    return blocks.prelu(blocks.batch_norm(x, f"{name}_bn"), f"{name}_prelu")


def enlarge(x: KerasTensor, name: str, factor: int = 2) -> KerasTensor:
    """Bilinear, corners aligned."""
    return blocks.AlignedResize(factor=factor, name=name)(x)


@keras.saving.register_keras_serializable(package="portrait")
class ShuffledGroups(layers.Layer):
    """1x1 convolution in two groups, then their channels shuffled (even: first group, odd: second).

    Done as one dense convolution whose kernel already holds the zeros and the shuffle: runtimes fold it
    to a constant, where slices and shuffles would copy the picture. [N, H, W, C] -> [N, H, W, filters].
    """

    def __init__(self, filters: int, **keywords: object) -> None:
        super().__init__(**keywords)
        self.filters = filters

    def build(self, shape: tuple) -> None:
        """One kernel for each group."""
        inside = (shape[-1] // 2, self.filters // 2)
        self.first = self.add_weight(shape=inside, name="first")
        self.second = self.add_weight(shape=inside, name="second")

    def call(self, x: KerasTensor) -> KerasTensor:
        """Convolve."""
        zero = ops.zeros(self.first.shape, self.first.dtype)
        halves = [ops.stack([self.first, zero], axis=-1), ops.stack([zero, self.second], axis=-1)]
        kernel = ops.reshape(ops.concatenate(halves), (1, 1, x.shape[-1], self.filters))
        return ops.conv(x, ops.cast(kernel, x.dtype), padding="valid", data_format="channels_last")

    def compute_output_shape(self, shape: tuple) -> tuple:
        """Shape after the convolution."""
        return (*shape[:-1], self.filters)

    def get_config(self) -> dict:
        """What rebuilds this layer."""
        return {**super().get_config(), "filters": self.filters}
