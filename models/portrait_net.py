"""Portrait-Net: MobileNetV2 with a decoder of residual separable blocks and, in training, an edge head.

Source: Zhang et al., "PortraitNet: Real-time Portrait Segmentation Network for Mobile Device",
Computers & Graphics 2019. Any size divisible by 32.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

import models
from models import blocks, mobilenetv2

ENCODER = mobilenetv2.ENCODER
# RGB means of the paper's input, and its scale
MEAN = (123.68, 116.78, 103.94)
SCALE = 0.017

# (channels of the step, encoder layer then added), from stride 16 to stride 1
STEPS = ((96, "block_12_add"), (32, "block_5_add"), (24, "block_2_add"), (16, None), (8, None))


def build(size: tuple[int, int], channels: int = 3, edge_head: bool = False) -> keras.Model:
    """Pixels [N, H, W, channels] -> alpha [N, H, W, 1].

    edge_head: returns [alpha, edge alpha] instead, to train with the paper's boundary loss. Load such
    a network's file with edge_head=False to deploy it.
    """
    inputs, x = blocks.pixels(size, channels, SCALE, [-mean * SCALE for mean in MEAN])
    x = mobilenetv2.encoder(x, 1.0, relu_max=None, expand_first=True)
    encoder = keras.Model(inputs, x)
    for index, (filters, name) in enumerate(STEPS, start=1):
        x = blocks.residual(x, filters, f"decoder_{index}", match=False)
        x = layers.Conv2DTranspose(
            *(filters, 4, 2, "same"), use_bias=False, kernel_initializer=Bilinear(), name=f"up_{index}"
        )(x)
        if name:
            x = layers.Add(name=f"skip_{index}")([x, encoder.get_layer(name).output])
    logits = layers.Conv2D(2, 3, padding="same", use_bias=False, name="logits")(x)
    alpha = blocks.alpha(logits)
    if not edge_head:
        return keras.Model(inputs, alpha, name="portrait_net")
    edges = layers.Conv2D(2, 3, padding="same", use_bias=False, name="edge_logits")(x)
    edges = layers.Softmax(name="edge_softmax")(edges)[..., 1:]
    return keras.Model(inputs, [alpha, edges], name="portrait_net")


def load_encoder(network: keras.Model, weights: str | Path, edge_head: bool = False) -> None:
    """Start the encoder from "imagenet" or a MobileNetV2 weights file of width 1.0.

    Two things differ from Keras' network, so that its features come out the same: the stem is adapted
    from pixels in -1..1 to this network's normalisation, and block 0's extra 1x1 starts as identity.
    """
    mobilenetv2.load(network, weights, 1.0)
    if (
        Path(weights).suffix == ".keras"
        and models.cards.read(weights)["architecture"]["name"] == "portrait_net"
    ):
        return
    stem, norm = network.get_layer("Conv1"), network.get_layer("bn_Conv1")
    kernel = stem.get_weights()[0]
    shift = np.array(MEAN) / 127.5 - 1
    gamma, beta, mean, variance = norm.get_weights()
    norm.set_weights([gamma, beta, mean - np.einsum("hwio,i->o", kernel[:, :, :3], shift), variance])
    stem.set_weights([kernel / (127.5 * SCALE)])
    extra, norm = network.get_layer("expanded_conv_expand"), network.get_layer("expanded_conv_expand_BN")
    width = extra.filters
    extra.set_weights([np.eye(width)[None, None]])
    norm.set_weights([np.ones(width), np.zeros(width), np.zeros(width), np.full(width, 1 - norm.epsilon)])


@keras.saving.register_keras_serializable(package="portrait")
class Bilinear(keras.initializers.Initializer):
    """Start of a transposed convolution [4, 4, C, C] that enlarges every channel by itself, bilinearly."""

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> object:
        tent = np.array([0.25, 0.75, 0.75, 0.25])
        values = np.outer(tent, tent)[:, :, None, None] * np.eye(*shape[2:])
        return ops.convert_to_tensor(values, dtype=dtype or keras.config.floatx())
