"""PP-HumanSegV1-Mobile: the small HRNet, which keeps four resolutions beside each other, with a plain head.

Parameters are counted with batch-norm statistics: 1,543,954. Made for 192x192; any size divisible by 32. Sources:
Chu et al., see models/pp_humanseg.py; Wang et al., "Deep High-Resolution Representation Learning for Visual
Recognition", TPAMI 2020 (W18, small, version 1).
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from models import blocks
from models.pp_humanseg import conv, finish, pixels

# How the names of the encoder's layers begin
ENCODER = ("stem", "stage_")

WIDTHS = (16, 32, 64, 128)  # channels at strides 4, 8, 16 and 32


def build(size: tuple[int, int], channels: int = 3) -> keras.Model:
    """Pixels [N, H, W, channels] -> alpha [N, H, W, 1]."""
    inputs, x = pixels(size, channels)
    x = conv(conv(x, 64, "stem_0", 3, 2), 64, "stem_1", 3, 2)
    x = bottleneck(x, 32, 128, "stage_1")
    branches = [conv(x, 16, "stage_2_from_0", 3), conv(x, 32, "stage_2_from_1", 3, 2)]
    branches = module(branches, "stage_2")
    for stage, width in enumerate(WIDTHS[2:], start=3):
        branches = [*branches, conv(branches[-1], width, f"stage_{stage}_from", 3, 2)]
        branches = module(branches, f"stage_{stage}")
    fine = branches[0].shape[1:3]
    parts = [blocks.resize(x, *fine, f"head_up_{index}") for index, x in enumerate(branches)]
    x = conv(layers.Concatenate(name="head_cat")(parts), 240, "head", bias=True)
    return finish(inputs, layers.Conv2D(2, 1, name="classes")(x), [], "pp_humanseg_v1_mobile")


def bottleneck(x: KerasTensor, inside: int, filters: int, name: str) -> KerasTensor:
    """1x1, 3x3, 1x1, beside a 1x1."""
    y = conv(conv(x, inside, f"{name}_a"), inside, f"{name}_b", 3)
    y = conv(y, filters, f"{name}_c", relu=False)
    return merge([y, conv(x, filters, f"{name}_match", relu=False)], name)


def module(branches: list[KerasTensor], name: str) -> list[KerasTensor]:
    """Two basic blocks on every branch, then each branch becomes the sum of all."""
    deep = []
    for index, x in enumerate(branches):
        for block in range(2):
            x = basic(x, f"{name}_branch_{index}_{block}")
        deep.append(x)
    fused = []
    for i, target in enumerate(deep):
        parts = [exchange(x, target, j, i, f"{name}_fuse_{j}_to_{i}") for j, x in enumerate(deep)]
        fused.append(merge(parts, f"{name}_fuse_{i}"))
    return fused


def basic(x: KerasTensor, name: str) -> KerasTensor:
    """Two 3x3 and what came in."""
    y = conv(x, x.shape[-1], f"{name}_a", 3)
    return merge([conv(y, x.shape[-1], f"{name}_b", 3, relu=False), x], name)


def exchange(x: KerasTensor, target: KerasTensor, j: int, i: int, name: str) -> KerasTensor:
    """Branch `j` brought to the size and the channels of branch `i`."""
    if j > i:
        x = conv(x, target.shape[-1], name, relu=False)
        return blocks.resize(x, *target.shape[1:3], f"{name}_up")
    for number in range(i - j):
        last = number == i - j - 1
        filters = target.shape[-1] if last else x.shape[-1]
        x = conv(x, filters, f"{name}_{number}", 3, 2, relu=not last)
    return x


def merge(parts: list[KerasTensor], name: str) -> KerasTensor:
    """Sum, ReLU."""
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")(parts))
