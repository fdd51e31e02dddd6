"""PP-HumanSegV1-Server: DeepLabV3+ on ResNet50-vd, for machines that have time.

Parameters are counted with batch-norm statistics: 26,789,874. Made for 512x512; any size divisible by 8. Sources:
Chu et al., see models/pp_humanseg.py; Chen et al., "Encoder-Decoder with Atrous Separable Convolution", ECCV 2018;
He et al., "Bag of Tricks for Image Classification with Convolutional Neural Networks", CVPR 2019 (its ResNet-D).
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from models import blocks
from models.pp_humanseg import conv, finish, pixels, separable

# How the names of the encoder's layers begin
ENCODER = ("stem", "stage_")

# (channels inside, stride of the first block, dilation of each block) of the stages
STAGES = (
    (64, 1, (1,) * 3),
    (128, 2, (1,) * 4),
    (256, 1, (2,) * 6),
    (512, 1, (4, 8, 16)),
)
RATES = (12, 24, 36)


def build(size: tuple[int, int], channels: int = 3) -> keras.Model:
    """Pixels [N, H, W, channels] -> alpha [N, H, W, 1]."""
    inputs, x = pixels(size, channels)
    for index, (filters, stride) in enumerate(((32, 2), (32, 1), (64, 1))):
        x = conv(x, filters, f"stem_{index}", 3, stride)
    x = layers.MaxPooling2D(3, 2, "same", name="pool")(x)
    features = []
    for stage, (inside, stride, dilations) in enumerate(STAGES):
        for index, dilation in enumerate(dilations):
            x = bottleneck(x, inside, 1 if index else stride, dilation, not index, f"stage_{stage}_{index}")
        features.append(x)
    fine = conv(features[0], 48, "fine", bias=True)
    x = blocks.resize(pyramid(x), *fine.shape[1:3], "pyramid_up")
    x = layers.Concatenate(name="decode_cat")([x, fine])
    for index in range(2):
        x = separable(x, 256, f"decode_{index}", bias=True, depthwise_bias=True)
    return finish(inputs, layers.Conv2D(2, 1, name="classes")(x), [], "pp_humanseg_v1_server")


def bottleneck(
    x: KerasTensor, inside: int, stride: int, dilation: int, match: bool, name: str
) -> KerasTensor:
    """1x1, 3x3, 1x1 to four times `inside`; the way past it averages where it halves the size."""
    y = conv(conv(x, inside, f"{name}_a"), inside, f"{name}_b", 3, stride, dilation=dilation)
    y = conv(y, 4 * inside, f"{name}_c", relu=False)
    if match:
        x = layers.AveragePooling2D(2, 2, "same", name=f"{name}_pool")(x) if stride == 2 else x
        x = conv(x, 4 * inside, f"{name}_match", relu=False)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def pyramid(x: KerasTensor) -> KerasTensor:
    """The same features seen near, at three distances, and as the picture's mean, joined to 256 channels."""
    parts = [conv(x, 256, "pyramid_near", bias=True)]
    for rate in RATES:
        part = separable(x, 256, f"pyramid_{rate}", dilation=rate, bias=True, depthwise_bias=True)
        parts.append(part)
    mean = layers.GlobalAveragePooling2D(keepdims=True, name="pyramid_mean")(x)
    mean = conv(mean, 256, "pyramid_scene")
    parts.append(blocks.resize(mean, *x.shape[1:3], "pyramid_scene_up"))
    return conv(layers.Concatenate(name="pyramid_cat")(parts), 256, "pyramid_out", bias=True)
