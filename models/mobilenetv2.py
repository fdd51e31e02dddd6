"""The MobileNetV2 encoder, with the layer names of keras.applications so its weights fit by name.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
"""

from __future__ import annotations

from pathlib import Path

import keras
from keras import KerasTensor, layers

import models
from models import blocks

# (output channels before width scaling, stride) of blocks 0..16
BLOCKS = (
    *[(16, 1), (24, 2), (24, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1), (64, 1)],
    *[(96, 1), (96, 1), (96, 1), (160, 2), (160, 1), (160, 1), (320, 1)],
)

# How the names of its layers begin
ENCODER = ("Conv1", "bn_Conv1", "expanded_conv_", "block_")


def encoder(
    x: KerasTensor,
    alpha: float,
    divisor: int = 8,
    output_stride: int = 32,
    relu_max: float | None = 6.0,
    expand_first: bool = False,
    epsilon: float = 1e-3,
) -> KerasTensor:
    """Blocks 0..16; returns the last projection. Take skips with `model.get_layer(name).output`.

    Beyond `output_stride`, strides become dilations. `expand_first` keeps block 0's 1x1 expansion.
    """

    def conv_bn(x: KerasTensor, filters: int, name: str, norm: str, **how: object) -> KerasTensor:
        kernel, stride = how.get("kernel", 1), how.get("stride", 1)
        x = layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=name)(x)
        return blocks.batch_norm(x, norm, epsilon)

    def relu(x: KerasTensor, name: str) -> KerasTensor:
        return layers.ReLU(relu_max, name=name)(x)

    x = relu(
        conv_bn(x, blocks.scaled(32, alpha, divisor), "Conv1", "bn_Conv1", kernel=3, stride=2), "Conv1_relu"
    )
    stride_so_far, dilation = 2, 1
    for index, (filters, stride) in enumerate(BLOCKS):
        prefix = f"block_{index}_" if index else "expanded_conv_"
        block_dilation = dilation
        if stride == 2 and stride_so_far >= output_stride:
            stride, dilation = 1, dilation * 2
        stride_so_far *= stride
        skip, filters = x, blocks.scaled(filters, alpha, divisor)
        if index or expand_first:
            width = x.shape[-1] * (6 if index else 1)
            x = relu(conv_bn(x, width, prefix + "expand", prefix + "expand_BN"), prefix + "expand_relu")
        x = layers.DepthwiseConv2D(
            3, stride, "same", use_bias=False, dilation_rate=block_dilation, name=prefix + "depthwise"
        )(x)
        x = relu(blocks.batch_norm(x, prefix + "depthwise_BN", epsilon), prefix + "depthwise_relu")
        x = conv_bn(x, filters, prefix + "project", prefix + "project_BN")
        if stride == 1 and skip.shape[-1] == filters and index:
            x = layers.Add(name=prefix + "add")([skip, x])
    return x


def load(network: keras.Model, weights: str | Path, alpha: float) -> None:
    """Copy an encoder from "imagenet", a weights file of keras.applications, or a .keras file of ours.

    Channels that the network lacks (12 where Keras has 16) are left out, those the file lacks (a
    fourth input channel) start at zero. Raises ValueError if the file is of another network.
    """
    if Path(weights).suffix == ".keras":
        if not blocks.copy_by_name(models.load(weights), network, ENCODER):
            raise ValueError(f"{weights}: holds no MobileNetV2 encoder")
        return
    try:
        donor = keras.applications.MobileNetV2(
            include_top=False, weights=None, alpha=alpha, input_shape=(224, 224, 3)
        )
        if weights == "imagenet":
            donor = keras.applications.MobileNetV2(include_top=False, alpha=alpha, input_shape=(224, 224, 3))
        else:
            donor.load_weights(str(weights))
    except Exception as error:  # Keras raises many kinds here, all with the same remedy
        raise ValueError(
            f"{weights}: cannot be read as MobileNetV2 {alpha} weights ({_line(error)})"
        ) from error
    blocks.copy_by_name(donor, network)


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
