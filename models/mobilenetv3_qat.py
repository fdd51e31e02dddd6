"""A minimalistic MobileNetV3 encoder with a decoder made for int8: additions and ReLU only.

Sources: Howard et al., "Searching for MobileNetV3", ICCV 2019, whose minimalistic form drops what
quantises badly; the decoder's blocks are those of Portrait-Net. Any size divisible by 32.
"""

from __future__ import annotations

from pathlib import Path

import keras
from keras import layers

from models import blocks, mobilenetv3

ENCODER = mobilenetv3.ENCODER
# (channels of the step, encoder layer then added), from stride 16 to stride 4
STEPS = (
    (288, "expanded_conv_8_expand_relu"),
    (96, "expanded_conv_3_expand_relu"),
    (72, "expanded_conv_1_expand_relu"),
)


def build(size: tuple[int, int], channels: int = 3) -> keras.Model:
    """Pixels [N, H, W, channels] -> alpha [N, H, W, 1]."""
    inputs, x = blocks.pixels(size, channels, 1 / 127.5, -1.0)
    x = mobilenetv3.encoder(x)
    encoder = keras.Model(inputs, x)
    for index, (filters, name) in enumerate(STEPS, start=1):
        x = blocks.residual(x, filters, f"decoder_{index}", bias=True)
        x = blocks.upsample(x, name=f"up_{index}")
        x = layers.Add(name=f"skip_{index}")([x, encoder.get_layer(name).output])
    x = blocks.residual(x, 16, "decoder_4", bias=True)
    # The 1x1 commutes with bilinear enlargement: done first, it costs a sixteenth.
    x = layers.Conv2D(2, 1, name="classes")(x)
    logits = blocks.upsample(blocks.upsample(x, name="up_4"), name="logits")
    return keras.Model(inputs, blocks.alpha(logits), name="mobilenetv3_qat")


def load_encoder(network: keras.Model, weights: str | Path) -> None:
    """Start the encoder from "imagenet" or a minimalistic MobileNetV3Small weights file (width 1.0)."""
    mobilenetv3.load(network, weights)
