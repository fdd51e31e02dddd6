"""MODNet: a coarse matte from deep features, its edge from fine ones, and the two fused.

Parameters of the matte alone, with batch-norm statistics: 6,511,409; with a prior 6,511,697, or 6,512,705 where the
two fine branches see it too; 10,498 more (10,786 with a prior everywhere) with the heads that only training has. Made for
512x512; any size divisible by 32. Source: Ke et al., "MODNet: Real-Time Trimap-Free Portrait Matting via Objective
Decomposition", AAAI 2022.
"""

from __future__ import annotations

from pathlib import Path

import keras
from keras import KerasTensor, layers

import models
from models import blocks, mobilenetv2

ENCODER = (*mobilenetv2.ENCODER, "Conv_1")
EPSILON = 1e-5
PRIORS = ("encoder", "everywhere")
BRANCHES = ("all", "low")


def build(
    size: tuple[int, int],
    channels: int = 3,
    prior: str = "encoder",
    branch: str = "all",
    training_heads: bool = False,
) -> keras.Model:
    """Pixels [N, H, W, channels] -> alpha [N, H, W, 1].

    prior: which parts see a fourth channel, the "encoder" or "everywhere". branch: "all", or "low" for the coarse
    branch alone, which gives its alpha at an eighth of the size: for simple scenes, with a third of the multiply-adds.
    training_heads: returns a list, the alpha, that of the detail head (right at the edge) and that of the semantic head
    (what is right at a sixteenth of the size), for `utils.losses.HEADS` to teach; leave them out to deploy. Raises ValueError
    on others, and on training heads of the low branch, which is a semantic head itself.
    """
    for name, value, known in (("prior", prior, PRIORS), ("branch", branch, BRANCHES)):
        if value not in known:
            raise ValueError(f"{name} {value!r} is unknown: choose {' or '.join(known)}")
    if training_heads and branch == "low":
        raise ValueError("training_heads belong to branch 'all'")
    inputs, image = blocks.pixels(size, channels, 1 / 127.5, -1.0)
    x = mobilenetv2.encoder(image, 1.0, epsilon=EPSILON)
    encoder = keras.Model(inputs, x)
    low = coarse(x)
    if branch == "low":
        # The paper's semantic head, which trains on a sixteenth, without its stride
        x = layers.Conv2D(1, 3, padding="same", name="semantic")(low)
        return keras.Model(inputs, blocks.alpha(blocks.upsample(x, 8, "logits")), name="modnet")
    taps = [encoder.get_layer(name).output for name in ("expanded_conv_project_BN", "block_2_add")]
    views = pictures(image, size, prior == "everywhere")
    half = fine(*taps, low, views)
    heads = training_outputs(low, half, views[1]) if training_heads else []
    x = ib_conv(blocks.upsample(low, name="fusion_up_8"), 32, "fusion_4", 5)
    x = ib_conv(join([blocks.upsample(x, name="fusion_up_4"), half], "fusion_2"), 32, "fusion_2", 3)
    x = join([blocks.upsample(x, name="fusion_up_2"), *views[1]], "matte")
    alpha = blocks.alpha(layers.Conv2D(1, 1, name="logits")(ib_conv(x, 16, "matte", 3)))
    return keras.Model(inputs, [alpha, *heads] if heads else alpha, name="modnet")


def load_encoder(network: keras.Model, weights: str | Path, **_: object) -> None:
    """Start the encoder from "imagenet" or a MobileNetV2 weights file of width 1.0.

    The norms of all but another MODNet were trained with a larger epsilon: the variances take up the difference, so
    that features are the same.
    """
    mobilenetv2.load(network, weights, 1.0)
    if Path(weights).suffix == ".keras" and models.cards.read(weights)["architecture"]["name"] == "modnet":
        return
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization) and layer.name.startswith(ENCODER):
            *others, variance = layer.get_weights()
            layer.set_weights([*others, variance + 1e-3 - EPSILON])


def coarse(x: KerasTensor) -> KerasTensor:
    """The encoder's last features, weighed by the whole picture, brought to an eighth: 32 channels."""
    x = blocks.batch_norm(layers.Conv2D(1280, 1, use_bias=False, name="Conv_1")(x), "Conv_1_bn", EPSILON)
    x = layers.ReLU(6.0, name="out_relu")(x)
    mean = layers.GlobalAveragePooling2D(keepdims=True, name="gate_mean")(x)
    gate = layers.Conv2D(320, 1, use_bias=False, activation="relu", name="gate_squeeze")(mean)
    gate = layers.Conv2D(1280, 1, use_bias=False, activation="sigmoid", name="gate_excite")(gate)
    x = layers.Multiply(name="gate")([x, gate])
    x = ib_conv(blocks.upsample(x, name="low_up_32"), 96, "low_16", 5)
    return ib_conv(blocks.upsample(x, name="low_up_16"), 32, "low_8", 5)


def pictures(image: KerasTensor, size: tuple[int, int], with_prior: bool) -> dict[int, list[KerasTensor]]:
    """The picture at full, half and quarter size as parts to join: RGB, and the prior if told.

    The prior comes apart from RGB so that it is the last of the channels that are joined.
    """
    views = {}
    for factor in (1, 2, 4):
        view = blocks.resize(image, size[0] // factor, size[1] // factor, f"image_{factor}")
        prior = [view[..., 3:]] if with_prior and image.shape[-1] == 4 else []
        views[factor] = [view[..., :3] if image.shape[-1] == 4 else view, *prior]
    return views


def fine(
    half: KerasTensor, quarter: KerasTensor, low: KerasTensor, views: dict[int, list[KerasTensor]]
) -> KerasTensor:
    """What the edges need, at half the size: 32 channels."""
    rgb, *prior = views[2]
    skip = ib_conv(half, 32, "high_skip_2", 1)
    x = ib_conv(join([rgb, skip, *prior], "high_down"), 32, "high_down", 3, 2)
    x = join([x, ib_conv(quarter, 32, "high_skip_4", 1)], "high_in")
    x = ib_conv(x, 64, "high_in", 3)
    x = join([x, blocks.upsample(low, name="high_up_8"), *views[4]], "high_4")
    for index, filters in enumerate((64, 64, 32)):
        x = ib_conv(x, filters, f"high_4_{index}", 3)
    x = join([blocks.upsample(x, name="high_up_4"), skip], "high_2")
    for index, filters in enumerate((64, 32, 32, 32)):
        x = ib_conv(x, filters, f"high_2_{index}", 3)
    return x


def training_outputs(low: KerasTensor, half: KerasTensor, whole: list[KerasTensor]) -> list[KerasTensor]:
    """Alphas at full size of the detail head, and of the semantic head, each value 16 pixels wide and high."""
    semantic = layers.Conv2D(1, 3, 2, padding="same", name="semantic")(low)
    semantic = layers.UpSampling2D(16, interpolation="nearest", name="semantic_logits")(semantic)
    x = ib_conv(join([blocks.upsample(half, name="detail_up_2"), *whole], "detail"), 32, "detail", 3)
    detail = layers.Conv2D(1, 1, name="detail_logits")(x)
    named = {"detail": detail, "semantic": semantic}
    return [layers.Activation("sigmoid", name=f"{name}_alpha")(y) for name, y in named.items()]


def ib_conv(x: KerasTensor, filters: int, name: str, kernel: int, stride: int = 1) -> KerasTensor:
    """Convolution, then batch norm on the first half of the channels and instance norm on the rest, ReLU.

    Each half has a convolution of its own: the same numbers, and the batch norm can be folded.
    """
    how = {"kernel_size": kernel, "strides": stride, "padding": "same"}
    first = layers.Conv2D(filters // 2, **how, name=f"{name}_batch")(x)
    second = layers.Conv2D(filters // 2, **how, name=f"{name}_instance")(x)
    first = blocks.batch_norm(first, f"{name}_batch_bn", EPSILON)
    second = blocks.instance_norm(second, f"{name}_instance_norm", EPSILON)
    return layers.ReLU(name=f"{name}_relu")(join([first, second], f"{name}_halves"))


def join(parts: list[KerasTensor], name: str) -> KerasTensor:
    """All channels side by side."""
    return layers.Concatenate(name=f"{name}_cat")(parts)
