"""The minimalistic MobileNetV3-small encoder (3x3 kernels, ReLU, no squeeze-and-excite).

Layer names are those of keras.applications, so its weights fit by name.
Source: Howard et al., "Searching for MobileNetV3", ICCV 2019.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from keras import KerasTensor, layers

from models.blocks import batch_norm, conv_bn, depthwise_bn, fit

# (stride, channels inside the block, channels out before width scaling) of blocks 0..10
BLOCKS = (
    *[(2, 16, 16), (2, 72, 24), (1, 88, 24), (2, 96, 40), (1, 240, 40), (1, 240, 40)],
    *[(1, 120, 48), (1, 144, 48), (2, 288, 96), (1, 576, 96), (1, 576, 96)],
)
TOP = 576

# How the names of its layers begin
ENCODER = ("conv", "expanded_conv_")


def encoder(x: KerasTensor, width: float = 1.0, bias: bool = False) -> KerasTensor:
    """Blocks 0..10 and the last 1x1 with its batch norm, stride 32, before any activation.

    `width` scales only what blocks hand on. `bias` gives every convolution one (useless before
    batch norm, but the U-Net's published counts include them).
    Take skips with `model.get_layer(name).output`.
    """
    x = conv_bn(x, 16, "conv", 3, 2, bias)
    for index, (stride, inside, filters) in enumerate(BLOCKS):
        prefix = f"expanded_conv_{index}_" if index else "expanded_conv_"
        skip, filters = x, int(filters * width)
        if index:
            x = conv_bn(x, inside, prefix + "expand", bias=bias)
        x = depthwise_bn(x, prefix + "depthwise", 3, stride, bias)
        x = conv_bn(x, filters, prefix + "project", bias=bias, relu=False)
        if stride == 1 and skip.shape[-1] == filters:
            x = layers.Add(name=prefix + "add")([skip, x])
    x = layers.Conv2D(TOP, 1, use_bias=bias, name="conv_1")(x)
    return batch_norm(x, "conv_1_bn")


def load(network: keras.Model, weights: str | Path, width: float = 1.0) -> None:
    """Copy an encoder from "imagenet" or a weights file of the keras.applications network.

    A fourth input channel and biases that the file lacks start at zero. Raises ValueError for another
    width than 1.0 (nobody trained one) or a file of another network.
    """
    if width != 1.0:
        raise ValueError(f"only width 1.0 has pretrained weights: leave them out for width {width}")
    how = {"minimalistic": True, "include_top": False, "alpha": 1.0, "input_shape": (224, 224, 3)}
    try:
        donor = keras.applications.MobileNetV3Small(
            weights="imagenet" if weights == "imagenet" else None, **how
        )
        if weights != "imagenet":
            donor.load_weights(str(weights))
    except Exception as error:  # Keras raises many kinds here, all with the same remedy
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(
            f"{weights}: cannot be read as minimalistic MobileNetV3 weights ({reason})"
        ) from error
    for layer in donor.layers:
        if layer.weights:
            _copy(layer, network.get_layer(layer.name))


def _copy(layer: keras.layers.Layer, target: keras.layers.Layer) -> None:
    values = layer.get_weights()
    if getattr(target, "use_bias", False):
        values.append(np.zeros(target.bias.shape, "float32"))
    target.set_weights([fit(a, b.shape) for a, b in zip(values, target.weights, strict=True)])
