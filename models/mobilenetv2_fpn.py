"""MobileNetV2-FPN: our small network for ordinary photos, as which `live`, `video` and `photo` ship.

MobileNetV2 encoder with the feature-pyramid decoder of `models/fpn.py`. Any size divisible by 32.
"""

from __future__ import annotations

from pathlib import Path

import keras

from models import blocks, fpn, mobilenetv2

ENCODER = mobilenetv2.ENCODER
# Encoder layers merged from deep to shallow: strides 16, 8, 4, 2
SKIPS = ("block_13_expand_relu", "block_6_expand_relu", "block_3_expand_relu", "block_1_expand_relu")


def build(size: tuple[int, int], channels: int = 3, alpha: float = 0.5, decoder: str = "full") -> keras.Model:
    """alpha: width of the encoder (0.35, 0.5, 0.75 or 1.0); decoder: "full", "light" or "wide". Raises ValueError."""
    inputs, x = blocks.pixels(size, channels, 1 / 127.5, -1.0)
    x = mobilenetv2.encoder(x, alpha)
    encoder = keras.Model(inputs, x)
    logits = fpn.logits(x, [encoder.get_layer(name).output for name in SKIPS], decoder)
    return keras.Model(inputs, blocks.alpha(logits), name="mobilenetv2_fpn")


def load_encoder(network: keras.Model, weights: str | Path, alpha: float = 0.5, **_: object) -> None:
    """Start the encoder from "imagenet" or a MobileNetV2 weights file."""
    mobilenetv2.load(network, weights, alpha)
