"""DeepLabV3+ as the toolkit uses it: MobileNetV2 at half width with the head's image-pooling branch.

Sources: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, and
"Encoder-Decoder with Atrous Separable Convolution", ECCV 2018. Like the mobile models of those
authors it has no atrous branches. Sides 8 n or 8 n + 1.
"""

from __future__ import annotations

from pathlib import Path

import keras
from keras import layers

from models import blocks, mobilenetv2

ENCODER = mobilenetv2.ENCODER
WIDTH = 0.5
OUTPUT_STRIDES = (8, 16)


def build(size: tuple[int, int], channels: int = 3, output_stride: int = 16) -> keras.Model:
    """Pixels [N, H, W, channels] -> alpha [N, H, W, 1].

    output_stride: 16 is over twice as fast, 8 (dilations instead of strides) is finer; the same
    weights serve both. Raises ValueError on others.
    """
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(f"output_stride {output_stride!r} is unknown: choose 8 or 16")
    inputs, x = blocks.pixels(size, channels, 1 / 127.5, -1.0)
    x = mobilenetv2.encoder(x, WIDTH, divisor=4, output_stride=output_stride)
    height, width = x.shape[1:3]
    pooled = layers.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
    pooled = blocks.conv_bn(pooled, 256, "image_pooling")
    pooled = blocks.AlignedResize(height, width, name="spread")(pooled)
    local = blocks.conv_bn(x, 256, "local")
    x = layers.Concatenate(name="cat")([pooled, local])
    x = blocks.conv_bn(x, 256, "projection")
    x = layers.Conv2D(2, 1, name="classes")(x)
    logits = blocks.AlignedResize(*size, name="logits")(x)
    return keras.Model(inputs, blocks.alpha(logits), name="deeplab")


def load_encoder(network: keras.Model, weights: str | Path, output_stride: int = 16) -> None:
    """Start the encoder from "imagenet" or a MobileNetV2 weights file of width 0.5."""
    mobilenetv2.load(network, weights, WIDTH)
