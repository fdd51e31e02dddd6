"""A network that gives a composite's foreground the colours of its background.

It sees the composite and its alpha in a few pixels and answers with a coarse grid of colour transforms, one 3x4
matrix a cell, to be applied at any size: detail never passes through the network. After Gharbi et al., "Deep
Bilateral Learning for Real-Time Image Enhancement", SIGGRAPH 2017, without its depth of guide values.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers, ops

from models import blocks

SIZE = 128
WIDTHS = (16, 32, 64, 96)
GAIN, OFFSET = 0.8, 0.4  # the farthest that a matrix's entry may be from "unchanged"


def build() -> keras.Model:
    """Composite and alpha 0..255, [N, 128, 128, 4] -> changes of the transform [N, 8, 8, 12], all 0 for "unchanged".

    A cell's numbers are three rows of (red, green, blue, 1), for colours of 0..1.
    """
    inputs, x = blocks.pixels((SIZE, SIZE), 4)
    for number, filters in enumerate(WIDTHS, start=1):
        x = blocks.conv_bn(x, filters, f"down_{number}", kernel=3, stride=2)
    x = blocks.conv_bn(x, WIDTHS[-1], "near", kernel=3)
    everywhere = layers.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
    everywhere = layers.Conv2D(WIDTHS[-1], 1, activation="relu", name="whole_1")(everywhere)
    everywhere = layers.Conv2D(WIDTHS[-1], 1, name="whole_2")(everywhere)
    x = layers.Add(name="near_and_whole")([x, everywhere])
    x = blocks.conv_bn(x, 64, "mix")
    x = layers.Conv2D(12, 1, activation="tanh", kernel_initializer="zeros", name="matrices")(x)
    scales = ([GAIN] * 3 + [OFFSET]) * 3
    return keras.Model(inputs, layers.Rescaling(scales, name="grid")(x), name="harmoniser")


def trainer(network: keras.Model) -> keras.Model:
    """The network with its transform applied: composite and alpha in, harmonised colours 0..1 [N, 128, 128, 3] out."""
    return keras.Model(network.input, Apply(name="apply")([network.input, network.output]))


class Apply(layers.Layer):
    """The grid, enlarged, applied to each pixel of the composite; outside of alpha nothing changes."""

    def call(self, inputs: list[KerasTensor]) -> KerasTensor:
        """[pixels 0..255 [N, H, W, 4], grid [N, 8, 8, 12]] -> colours [N, H, W, 3]."""
        pixels, grid = inputs
        height, width = pixels.shape[1:3]
        colours, alpha = pixels[..., :3] / 255, pixels[..., 3:] / 255
        grid = ops.image.resize(grid, (height, width), interpolation="bilinear")
        rows = ops.reshape(grid, (-1, height, width, 3, 4))
        change = ops.sum(rows[..., :3] * colours[..., None, :], -1) + rows[..., 3]
        return colours + change * alpha
