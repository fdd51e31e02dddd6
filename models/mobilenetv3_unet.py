"""MobileNetV3 U-Net: the minimalistic MobileNetV3-small encoder with a U-Net decoder.

Sources: Howard et al., "Searching for MobileNetV3", ICCV 2019; Ronneberger et al., "U-Net",
MICCAI 2015. Any size divisible by 32.
"""

from __future__ import annotations

from pathlib import Path

import keras
from keras import KerasTensor, layers

from models import blocks, mobilenetv3

ENCODER = mobilenetv3.ENCODER
WIDTHS = (0.5, 1.0)

# (channels of the step at width 1, encoder layer then concatenated), from stride 16 to stride 2
STEPS = (
    (256, "expanded_conv_8_expand_relu"),
    (128, "expanded_conv_3_expand_relu"),
    (64, "expanded_conv_1_expand_relu"),
    (32, "conv_relu"),
)


def build(size: tuple[int, int], channels: int = 3, width: float = 1.0, dropout: float = 0.5) -> keras.Model:
    """Pixels [N, H, W, channels] -> alpha [N, H, W, 1].

    width: 1.0 or 0.5, scales the encoder's projections and the decoder. Raises ValueError on others.
    dropout: see `mobile_unet`.
    """
    if width not in WIDTHS:
        raise ValueError(f"width {width!r} is unknown: choose {' or '.join(map(str, WIDTHS))}")
    inputs, x = blocks.pixels(size, channels, 1 / 127.5, -1.0)
    x = layers.ReLU(name="conv_1_relu")(mobilenetv3.encoder(x, width, bias=True))
    encoder = keras.Model(inputs, x)
    for index, (filters, name) in enumerate(STEPS, start=1):
        x = enlarge(x, int(filters * width), f"up_{index}", dropout=dropout)
        x = layers.Concatenate(name=f"cat_{index}")([x, encoder.get_layer(name).output])
    x = enlarge(x, int(16 * width), "up_5")
    logits = layers.Conv2DTranspose(1, 1, padding="same", name="logits")(x)
    return keras.Model(inputs, blocks.alpha(logits), name="mobilenetv3_unet")


def load_encoder(network: keras.Model, weights: str | Path, width: float = 1.0, **_: object) -> None:
    """Start the encoder from "imagenet" or a minimalistic MobileNetV3Small weights file (width 1.0)."""
    mobilenetv3.load(network, weights, width)


def enlarge(x: KerasTensor, filters: int, name: str, dropout: float = 0.0) -> KerasTensor:
    """Transposed convolution to twice the size, batch norm, dropout if any, ReLU."""
    x = layers.Conv2DTranspose(filters, 3, 2, "same", name=name)(x)
    x = blocks.batch_norm(x, f"{name}_bn")
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
