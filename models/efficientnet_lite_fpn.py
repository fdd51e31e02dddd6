"""EfficientNet-Lite-FPN: our larger network for stills, which does not ship yet (checkpoints/README.md).

EfficientNet-Lite encoder with the feature-pyramid decoder of `models/fpn.py`. Any size divisible by 32.
"""

from __future__ import annotations

from pathlib import Path

import keras

from models import blocks, efficientnet_lite, fpn

ENCODER = efficientnet_lite.ENCODER


def build(size: tuple[int, int], channels: int = 3, scale: int = 2, decoder: str = "wide") -> keras.Model:
    """scale: 0 to 4, that of the encoder's name; decoder: "full", "light" or "wide". Raises ValueError."""
    if scale not in range(len(efficientnet_lite.SCALES)):
        raise ValueError(
            f"there is no EfficientNet-Lite{scale}: choose 0 to {len(efficientnet_lite.SCALES) - 1}"
        )
    # The published weights take (pixel - 127) / 128.
    inputs, x = blocks.pixels(size, channels, 1 / 128, -127 / 128)
    x = efficientnet_lite.encoder(x, scale)
    encoder = keras.Model(inputs, x)
    skips = [encoder.get_layer(name).output for name in efficientnet_lite.SKIPS]
    return keras.Model(inputs, blocks.alpha(fpn.logits(x, skips, decoder)), name="efficientnet_lite_fpn")


def load_encoder(network: keras.Model, weights: str | Path, **_: object) -> None:
    """Start the encoder from a .keras file of ours or a .pth of EfficientNet-Lite."""
    efficientnet_lite.load(network, weights)
