"""Mobile-UNet: a MobileNetV2 encoder with a U-Net decoder, the toolkit's first network.

Sources: Ronneberger et al., "U-Net", MICCAI 2015; Sandler et al., "MobileNetV2", CVPR 2018.
Any size divisible by 32.
"""

from __future__ import annotations

from pathlib import Path

import keras
from keras import KerasTensor, layers

from models import blocks, mobilenetv2

ENCODER = mobilenetv2.ENCODER
WIDTH = 0.5
DECODERS = ("transpose", "bilinear")

# (channels of the step, encoder layer then concatenated), from stride 16 to stride 2
STEPS = (
    (512, "block_13_expand_relu"),
    (256, "block_6_expand_relu"),
    (128, "block_3_expand_relu"),
    (64, "block_1_expand_relu"),
)


def build(
    size: tuple[int, int], channels: int = 3, decoder: str = "transpose", dropout: float = 0.5
) -> keras.Model:
    """Pixels [N, H, W, channels] -> alpha [N, H, W, 1].

    decoder: how a step enlarges, "transpose" (learned) or "bilinear" (no checkerboard), equal in
    parameters. Raises ValueError on others. dropout: share (0..1) of a step's values that training leaves out;
    0 learns several times as fast where photos are many and hours few.
    """
    if decoder not in DECODERS:
        raise ValueError(f"decoder {decoder!r} is unknown: choose {' or '.join(DECODERS)}")
    # -1..1 is what the pretrained encoder was trained on
    inputs, x = blocks.pixels(size, channels, 1 / 127.5, -1.0)
    x = mobilenetv2.encoder(x, WIDTH)
    encoder = keras.Model(inputs, x)
    for index, (width, name) in enumerate(STEPS, start=1):
        x = enlarge(x, width, decoder, f"up_{index}", dropout=dropout)
        x = layers.Concatenate(name=f"cat_{index}")([x, encoder.get_layer(name).output])
    x = enlarge(x, 32, decoder, "up_5")
    logits = layers.Conv2DTranspose(1, 1, padding="same", name="logits")(x)
    return keras.Model(inputs, blocks.alpha(logits), name="mobile_unet")


def load_encoder(network: keras.Model, weights: str | Path, **_: object) -> None:
    """Start the encoder from "imagenet" or a MobileNetV2 weights file of width 0.5."""
    mobilenetv2.load(network, weights, WIDTH)


def enlarge(x: KerasTensor, width: int, decoder: str, name: str, dropout: float = 0.0) -> KerasTensor:
    """Twice the size, `width` channels, batch norm, dropout if any, ReLU."""
    if decoder == "bilinear":
        x = blocks.upsample(x, name=f"{name}_bilinear")
        x = layers.Conv2D(width, 3, padding="same", kernel_initializer="he_normal", name=name)(x)
    else:
        x = layers.Conv2DTranspose(width, 3, 2, "same", kernel_initializer="he_normal", name=name)(x)
    x = blocks.batch_norm(x, f"{name}_bn")
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
