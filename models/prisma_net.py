"""Prisma-Net: a light residual U-Net without batch norm, its skips added rather than concatenated.

Sources: the network of Prisma's "Real-time portrait segmentation on smartphones" (2018), with the
pre-activation residuals of He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016.
Any size divisible by 16.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from models import blocks

# How the names of the encoder's layers begin
ENCODER = ("down_",)

# (channels, stride, residual blocks) of each stage, all but the last kept as a skip
STAGES = ((8, 1, 1), (32, 2, 1), (64, 2, 1), (128, 2, 2), (128, 2, 6))
# (channels, residual blocks) of each step up
DECODER = ((128, 3), (64, 3), (32, 3), (8, 3))


def build(size: tuple[int, int], channels: int = 3) -> keras.Model:
    """Pixels [N, H, W, channels] -> alpha [N, H, W, 1]."""
    inputs, x = blocks.pixels(size, channels)
    skips = []
    for index, (filters, stride, count) in enumerate(STAGES):
        x = layers.Conv2D(filters, 3, stride, "same", name=f"down_{index}")(x)
        x = residuals(x, count, f"down_{index}")
        skips.append(x)
    skips.pop()
    for index, (filters, count) in enumerate(DECODER, start=1):
        x = layers.Conv2DTranspose(filters, 3, 2, "same", name=f"up_{index}")(x)
        x = layers.Add(name=f"up_{index}_skip")([x, skips.pop()])
        x = residuals(x, count, f"up_{index}")
    logits = layers.Conv2DTranspose(1, 1, padding="same", name="logits")(x)
    return keras.Model(inputs, blocks.alpha(logits), name="prisma_net")


def residuals(x: KerasTensor, count: int, name: str) -> KerasTensor:
    """`count` blocks of twice (ReLU, separable 3x3), each added to its own input."""
    filters = x.shape[-1]
    for index in range(1, count + 1):
        y = x
        for half in ("a", "b"):
            y = layers.ReLU(name=f"{name}_{index}{half}_relu")(y)
            y = layers.SeparableConv2D(filters, 3, padding="same", name=f"{name}_{index}{half}")(y)
        x = layers.Add(name=f"{name}_{index}_add")([x, y])
    return x
