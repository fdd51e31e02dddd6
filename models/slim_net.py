"""Slim-Net: an ENet-like network for 512x512 with PReLU and no batch norm.

Source: Paszke et al., "ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation",
2016, whose bottlenecks it slims down with separable convolutions. Any size divisible by 32.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from models import blocks

# How the names of the encoder's layers begin
ENCODER = ("stem_", "encode_")

# (channels inside, channels out, kind of body) of blocks 2..22; blocks 1, 4 and 9 halve the size
STAGE_1 = [(16, 64, "dw")] * 2
STAGE_2 = [(16, 128, "dw")] * 4
REPEATED = [(8, 128, kind) for kind in ("dw", 2, "sep5", 4, "dw", 8)]
STAGE_3 = [*REPEATED, *REPEATED, (4, 128, 1)]


def build(size: tuple[int, int], channels: int = 3) -> keras.Model:
    """Pixels [N, H, W, channels] -> alpha [N, H, W, 1]."""
    inputs, x = blocks.pixels(size, channels)
    x = blocks.prelu(layers.Conv2D(8, 2, 2, name="stem_1")(x), "stem_1_prelu")
    x = layers.Conv2D(32, 2, 2, name="stem_2")(x)
    number, pools, inner = 1, [], []
    for (inside, out), stage in (((16, 64), STAGE_1), ((32, 128), STAGE_2), ((16, 128), STAGE_3)):
        x, _, pool = encode(x, inside, out, "dw", f"encode_{number}", stride=2)
        pools.append(pool)
        for position, how in enumerate(stage):
            number += 1
            x, activated, _ = encode(x, *how, f"encode_{number}")
            if position == 0:
                inner.append(activated)
        number += 1
    x = decode(x, pools[2], inner[1], 8, 128, 8, "decode_1")
    x = decode(x, pools[1], inner[0], 8, 64, 4, "decode_2")
    x = decode(x, pools[0], None, 4, 32, 4, "decode_3")
    x = blocks.prelu(x, "head_prelu_1")
    x = blocks.prelu(layers.Conv2DTranspose(8, 2, 2, name="head")(x), "head_prelu_2")
    logits = layers.Conv2DTranspose(2, 2, 2, name="logits")(x)
    return keras.Model(inputs, blocks.alpha(logits), name="slim_net")


def encode(
    x: KerasTensor, inside: int, out: int, kind: str | int, name: str, stride: int = 1
) -> tuple[KerasTensor, KerasTensor, KerasTensor]:
    """Bottleneck; returns its output, its activated input, and its shortcut before any 1x1.

    kind: "dw" and "sep5" are separable bodies, a number is a dense 3x3 of that dilation.
    """
    x = activated = blocks.prelu(x, f"{name}_prelu_1")
    y = layers.Conv2D(inside, stride, stride, name=f"{name}_reduce")(x)
    y = blocks.prelu(y, f"{name}_prelu_2")
    if kind == "dw":
        y = layers.SeparableConv2D(inside, 3, padding="same", name=f"{name}_separable")(y)
        y = blocks.prelu(y, f"{name}_prelu_3")
        y = layers.DepthwiseConv2D(3, padding="same", name=f"{name}_depthwise")(y)
    elif kind == "sep5":
        y = layers.SeparableConv2D(inside, 5, padding="same", name=f"{name}_separable")(y)
    else:
        y = layers.Conv2D(out, 3, padding="same", dilation_rate=kind, name=f"{name}_dilated")(y)
    y = layers.Conv2D(out, 1, name=f"{name}_expand")(blocks.prelu(y, f"{name}_prelu_4"))
    shortcut = pool = layers.MaxPooling2D(2, name=f"{name}_pool")(x) if stride == 2 else x
    if shortcut.shape[-1] != out:
        shortcut = layers.Conv2D(out, 1, name=f"{name}_match")(shortcut)
    return layers.Add(name=f"{name}_add")([y, shortcut]), activated, pool


def decode(
    x: KerasTensor,
    low: KerasTensor,
    high: KerasTensor | None,
    inside: int,
    out: int,
    inside_2: int,
    name: str,
) -> KerasTensor:
    """Twice the size: transposed bottleneck beside a resized shortcut, then a bottleneck.

    low: skip of `out` channels at the size of x, added to the shortcut; high: skip at twice the size, concatenated.
    """

    def conv(x: KerasTensor, filters: int, part: str, kernel: int = 1) -> KerasTensor:
        return layers.Conv2D(filters, kernel, padding="same", name=f"{name}_{part}")(x)

    x = blocks.prelu(x, f"{name}_prelu_1")
    y = blocks.prelu(conv(x, inside, "reduce"), f"{name}_prelu_2")
    y = layers.Conv2DTranspose(8, 3, 2, "same", name=f"{name}_enlarge")(y)
    y = conv(blocks.prelu(y, f"{name}_prelu_3"), out, "expand")
    shortcut = layers.Add(name=f"{name}_low")([conv(x, out, "match"), low])
    shortcut = blocks.AlignedResize(factor=2, name=f"{name}_resize")(shortcut)
    z = blocks.prelu(layers.Add(name=f"{name}_add_1")([y, shortcut]), f"{name}_prelu_4")
    if high is not None:
        z = layers.Concatenate(name=f"{name}_cat")([z, high])
    y = blocks.prelu(conv(z, inside_2, "reduce_2"), f"{name}_prelu_5")
    y = blocks.prelu(conv(y, inside_2, "body", 3), f"{name}_prelu_6")
    y = conv(y, out, "expand_2")
    if high is not None:
        z = conv(z, out, "match_cat")
    return layers.Add(name=f"{name}_add_2")([y, z])
