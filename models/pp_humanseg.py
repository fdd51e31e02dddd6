"""Pieces that the PP-HumanSeg networks share.

Source: Chu et al., "PP-HumanSeg: Connectivity-Aware Portrait Segmentation with a Large-Scale
Teleconferencing Video Dataset", WACVW 2022, and the networks that its toolkit, PaddleSeg, takes by that name.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from models import blocks

EPSILON = 1e-5  # of every batch norm


def pixels(size: tuple[int, int], channels: int) -> tuple[KerasTensor, KerasTensor]:
    """Input of pixels 0..255, and its form -1..1 that these networks take."""
    return blocks.pixels(size, channels, 1 / 127.5, -1.0)


def conv(
    x: KerasTensor, filters: int, name: str, kernel: int = 1, stride: int = 1, **how: int
) -> KerasTensor:
    """Convolution, batch norm, ReLU; `how` as for `blocks.conv_bn`."""
    return blocks.conv_bn(x, filters, name, kernel, stride, epsilon=EPSILON, **how)


def separable(
    x: KerasTensor,
    filters: int,
    name: str,
    stride: int = 1,
    dilation: int = 1,
    bias: bool = False,
    depthwise_bias: bool = False,
) -> KerasTensor:
    """Depthwise 3x3, batch norm, 1x1 (with a bias if told), batch norm, ReLU."""
    x = blocks.depthwise_bn(
        *(x, f"{name}_depthwise", 3, stride),
        bias=depthwise_bias,
        epsilon=EPSILON,
        relu=False,
        dilation=dilation,
    )
    return conv(x, filters, f"{name}_pointwise", bias=bias)


def context(x: KerasTensor, filters: int, name: str) -> KerasTensor:
    """Sum of what 1, 4 and 16 parts of the picture look like on average, each enlarged to the size of `x`.

    Source: Peng et al., "PP-LiteSeg: A Superior Real-Time Semantic Segmentation Model", 2022.
    """
    parts = []
    for bins in (1, 2, 4):
        part = f"{name}_{bins}"
        y = blocks.AdaptivePool(bins, bins, name=f"{part}_pool")(x)
        y = conv(y, filters, part, bias=True)
        parts.append(blocks.resize(y, *x.shape[1:3], f"{part}_up"))
    return layers.Add(name=f"{name}_sum")(parts)


def finish(inputs: KerasTensor, classes: KerasTensor, heads: list[KerasTensor], name: str) -> keras.Model:
    """The network from its input, the two classes' coarse logits, and those of heads that only training has."""
    size = inputs.shape[1:3]
    outputs = [blocks.alpha(blocks.resize(classes, *size, "logits"))]
    for index, head in enumerate(heads):
        head = blocks.resize(head, *size, f"head_{index}_logits")
        outputs.append(layers.Softmax(name=f"head_{index}_softmax")(head)[..., 1:])
    return keras.Model(inputs, outputs if heads else outputs[0], name=name)
