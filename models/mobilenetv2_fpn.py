"""MobileNetV2-FPN: our small network for ordinary photos, the one that ships.

MobileNetV2 encoder with a feature-pyramid decoder: lateral 1x1 convolutions added (addition
quantises better than concatenation), one separable convolution a level, image-wide context at the
deepest level, and logits enlarged by one transposed convolution. Any size divisible by 32.
Source of the pyramid: Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017.
"""

from __future__ import annotations

from pathlib import Path

import keras
from keras import KerasTensor, layers

from models import blocks, mobilenetv2

ENCODER = mobilenetv2.ENCODER
# Encoder layers merged from deep to shallow: strides 16, 8, 4, 2
SKIPS = ("block_13_expand_relu", "block_6_expand_relu", "block_3_expand_relu", "block_1_expand_relu")
# Channels after each merge. "light" spends less where pixels are many: 0.85 of the int8 latency; "wide"
# goes with the full encoder, for stills.
DECODERS = {"full": (64, 48, 32, 16, 16), "light": (64, 32, 16, 16), "wide": (128, 96, 64, 32, 32)}


def build(size: tuple[int, int], channels: int = 3, alpha: float = 0.5, decoder: str = "full") -> keras.Model:
    """alpha: width of the encoder (0.35, 0.5, 0.75 or 1.0); decoder: "full", "light" or "wide". Raises ValueError."""
    if decoder not in DECODERS:
        raise ValueError(f"mobilenetv2_fpn has no decoder {decoder!r}: choose {' or '.join(DECODERS)}")
    inputs, x = blocks.pixels(size, channels, 1 / 127.5, -1.0)
    x = mobilenetv2.encoder(x, alpha)
    encoder = keras.Model(inputs, x)
    x = context(x, 96)
    widths = DECODERS[decoder]
    for name, width in zip(SKIPS, widths, strict=False):
        skip = conv_bn_relu(encoder.get_layer(name).output, x.shape[-1], 1)
        x = layers.Add()([blocks.upsample(x), skip])
        x = separable(x, width)
    for width in widths[len(SKIPS) :]:
        x = separable(x, width)
    # Kernel 4, stride 2: each pixel mixes the same number of taps, so no checkerboard.
    logits = layers.Conv2DTranspose(1, 4, 2, "same", name="logits")(x)
    return keras.Model(inputs, blocks.alpha(logits), name="mobilenetv2_fpn")


def load_encoder(network: keras.Model, weights: str | Path, alpha: float = 0.5, **_: object) -> None:
    """Start the encoder from "imagenet" or a MobileNetV2 weights file."""
    mobilenetv2.load(network, weights, alpha)


def context(x: KerasTensor, width: int) -> KerasTensor:
    """Local features plus the image's mean: what is a person depends on the whole scene."""
    mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
    mean = layers.Conv2D(width, 1, activation="relu")(mean)
    return layers.Add()([conv_bn_relu(x, width, 1), mean])


def separable(x: KerasTensor, width: int) -> KerasTensor:
    """Depthwise 3x3, batch norm, 1x1, batch norm, ReLU."""
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    return conv_bn_relu(blocks.batch_norm(x), width, 1)


def conv_bn_relu(x: KerasTensor, width: int, kernel: int) -> KerasTensor:
    """Convolution, batch norm, ReLU."""
    x = layers.Conv2D(width, kernel, padding="same", use_bias=False)(x)
    return layers.ReLU()(blocks.batch_norm(x))
