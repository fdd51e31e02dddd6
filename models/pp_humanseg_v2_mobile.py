"""PP-HumanSegV2-Mobile: PP-LiteSeg on STDC1, with spatial attention between what is deep and what is fine.

Parameters are counted with batch-norm statistics: 7,527,536. Made for 192x192; any size divisible by 32. Sources:
Peng et al., "PP-LiteSeg: A Superior Real-Time Semantic Segmentation Model", 2022; Fan et al., "Rethinking BiSeNet
for Real-time Semantic Segmentation", CVPR 2021.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers, ops

from models import blocks
from models.pp_humanseg import context, conv, finish, pixels

# How the names of the encoder's layers begin
ENCODER = ("stem", "stage_")

STAGES = (256, 512, 1024)  # channels at strides 8, 16 and 32
STEPS = (64, 32, 16, 4)  # channels that each step up hands on, from stride 32 to 4


def build(size: tuple[int, int], channels: int = 3, training_heads: bool = False) -> keras.Model:
    """Pixels [N, H, W, channels] -> alpha [N, H, W, 1].

    training_heads: returns a list, the alpha and that of a head on each deeper step, as `pp_humanseg_v2_lite` does.
    """
    inputs, x = pixels(size, channels)
    x = conv(conv(x, 32, "stem_0", 3, 2), 64, "stem_1", 3, 2)
    features = [x]
    for index, filters in enumerate(STAGES):
        x = stdc(stdc(x, filters, 2, f"stage_{index}_0"), filters, 1, f"stage_{index}_1")
        features.append(x)
    x = conv(context(x, 128, "context"), 128, "context_out", 3, bias=True)
    steps = []
    for index, (skip, filters) in enumerate(zip(features[::-1], STEPS, strict=True)):
        x = step(x, skip, filters, f"step_{index}")
        steps.append(x)
    heads = [head(y, f"head_{i}") for i, y in enumerate(steps[-2::-1])] if training_heads else []
    return finish(inputs, head(x, "classes"), heads, "pp_humanseg_v2_mobile")


def stdc(x: KerasTensor, filters: int, stride: int, name: str) -> KerasTensor:
    """Half, a quarter and twice an eighth of the channels, one made of the other, joined."""
    first = conv(x, filters // 2, f"{name}_a")
    y = first
    if stride == 2:
        y = layers.DepthwiseConv2D(3, 2, "same", use_bias=False, name=f"{name}_down")(y)
        y = blocks.batch_norm(y, f"{name}_down_bn", 1e-5)
        first = layers.AveragePooling2D(3, 2, "same", name=f"{name}_pool")(first)
    parts = [first]
    for letter, part in (("b", 4), ("c", 8), ("d", 8)):
        y = conv(y, filters // part, f"{name}_{letter}", 3)
        parts.append(y)
    return layers.Concatenate(name=f"{name}_cat")(parts)


def step(x: KerasTensor, skip: KerasTensor, filters: int, name: str) -> KerasTensor:
    """`skip` and the enlarged `x`, each pixel mixed in its own proportion."""
    low = conv(skip, x.shape[-1], f"{name}_skip", 3)
    x = blocks.resize(x, *skip.shape[1:3], f"{name}_up")
    share = attention(low, x, f"{name}_share")
    return conv(low * share + x * (1.0 - share), filters, f"{name}_out", 3)


def attention(low: KerasTensor, deep: KerasTensor, name: str) -> KerasTensor:
    """How much of each pixel comes from `low`, 0..1 [N, H, W, 1]: from mean and maximum over the channels."""
    seen = [reduce(x, -1, keepdims=True) for x in (low, deep) for reduce in (ops.mean, ops.max)]
    y = conv(layers.Concatenate(name=f"{name}_cat")(seen), 2, f"{name}_a", 3)
    y = conv(y, 1, f"{name}_b", 3, relu=False)
    return layers.Activation("sigmoid", name=f"{name}_sigmoid")(y)


def head(x: KerasTensor, name: str) -> KerasTensor:
    """Logits of background and person."""
    return layers.Conv2D(2, 1, use_bias=False, name=name)(conv(x, x.shape[-1], f"{name}_features", 3))
