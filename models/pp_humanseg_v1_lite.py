"""PP-HumanSegV1-Lite: shuffled half-channel units at an eighth and a sixteenth, one skip, 137 thousand parameters.

Parameters are counted with batch-norm statistics: 137,466 (131,766 trainable). Made for 192x192 (people) and
224x398 (height x width, video calls); any even size. The last unit ends in ReLU, as published, so logits are
never negative. Source: Chu et al., see models/pp_humanseg.py; its units are those of Ma et al., "ShuffleNet V2",
ECCV 2018.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers, ops

from models import blocks
from models.pp_humanseg import conv, finish, pixels, separable

# How the names of the encoder's layers begin
ENCODER = ("stem", "stage_")

# (channels, units) of the stages; each first unit halves the size
STAGES = ((72, 4), (144, 8))


def build(size: tuple[int, int], channels: int = 3) -> keras.Model:
    """Pixels [N, H, W, channels] -> alpha [N, H, W, 1]."""
    inputs, x = pixels(size, channels)
    stem = conv(x, 36, "stem", 3, 2)
    skip = conv(stem, 18, "skip")
    x = layers.MaxPooling2D(3, 2, "same", name="pool")(stem)
    for stage, (filters, count) in enumerate(STAGES, start=1):
        x = down_unit(x, filters, f"stage_{stage}_0")
        for index in range(1, count):
            x = basic_unit(x, f"stage_{stage}_{index}")
    x = separable(x, 64, "decode_0")
    x = blocks.resize(x, *skip.shape[1:3], "decode_up")
    x = layers.Concatenate(name="decode_cat")([skip, x])
    x = separable(x, 64, "decode_1")
    return finish(inputs, separable(x, 2, "classes"), [], "pp_humanseg_v1_lite")


def down_unit(x: KerasTensor, filters: int, name: str) -> KerasTensor:
    """Half the size, `filters` channels, from two branches that both see all of `x`."""
    half = filters // 2
    first = separable(x, half, f"{name}_a", stride=2)
    second = separable(conv(x, half, f"{name}_b"), half, f"{name}_b", stride=2)
    return shuffle(layers.Concatenate(name=f"{name}_cat")([first, second]))


def basic_unit(x: KerasTensor, name: str) -> KerasTensor:
    """The first half of the channels as it is, beside what is made of the second."""
    half = x.shape[-1] // 2
    second = separable(conv(x[..., half:], half, f"{name}_b"), half, f"{name}_b")
    return shuffle(layers.Concatenate(name=f"{name}_cat")([x[..., :half], second]))


def shuffle(x: KerasTensor) -> KerasTensor:
    """Channel 2 k is the first half's k, 2 k + 1 the second half's."""
    _, height, width, channels = x.shape
    x = ops.reshape(x, (-1, height, width, 2, channels // 2))
    return ops.reshape(ops.transpose(x, (0, 1, 2, 4, 3)), (-1, height, width, channels))
