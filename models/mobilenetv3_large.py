"""The MobileNetV3-large encoder as PaddleSeg has it: gates of slope 0.2, an expansion in every block.

Source: Howard et al., "Searching for MobileNetV3", ICCV 2019.
"""

from __future__ import annotations

from keras import KerasTensor, layers, ops

from models.blocks import batch_norm

EPSILON = 1e-5

# How the names of its layers begin
ENCODER = ("stem", "block_")

# (kernel, stride, channels inside, channels out, squeeze-and-excite, hard swish) of blocks 0..14
BLOCKS = (
    *[(3, 1, 16, 16, 0, 0), (3, 2, 64, 24, 0, 0), (3, 1, 72, 24, 0, 0)],
    *[(5, 2, 72, 40, 1, 0), (5, 1, 120, 40, 1, 0), (5, 1, 120, 40, 1, 0)],
    *[(3, 2, 240, 80, 0, 1), (3, 1, 200, 80, 0, 1), (3, 1, 184, 80, 0, 1), (3, 1, 184, 80, 0, 1)],
    *[(3, 1, 480, 112, 1, 1), (3, 1, 672, 112, 1, 1)],
    *[(5, 2, 672, 160, 1, 1), (5, 1, 960, 160, 1, 1), (5, 1, 960, 160, 1, 1)],
)
TAPS = (2, 5, 11, 14)  # the last blocks at strides 4, 8, 16 and 32


def encoder(x: KerasTensor, deepest: int = 32) -> list[KerasTensor]:
    """Features at strides 4, 8, 16 and, unless `deepest` is 16, 32."""
    x = layers.Conv2D(16, 3, 2, "same", use_bias=False, name="stem")(x)
    x = hard_swish(batch_norm(x, "stem_bn", EPSILON))
    features = []
    for index, how in enumerate(BLOCKS[: TAPS[-1 if deepest == 32 else -2] + 1]):
        x = block(x, *how, f"block_{index}")
        if index in TAPS:
            features.append(x)
    return features


def block(
    x: KerasTensor, kernel: int, stride: int, inside: int, filters: int, gated: int, swish: int, name: str
) -> KerasTensor:
    """1x1 up, depthwise, a gate on each channel if told, 1x1 down, added to what came in where it fits."""

    def act(x: KerasTensor, part: str) -> KerasTensor:
        x = batch_norm(x, f"{name}_{part}_bn", EPSILON)
        return hard_swish(x) if swish else layers.ReLU(name=f"{name}_{part}_relu")(x)

    y = act(layers.Conv2D(inside, 1, use_bias=False, name=f"{name}_expand")(x), "expand")
    y = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_depthwise")(y)
    y = act(y, "depthwise")
    y = gate(y, name) if gated else y
    y = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project")(y)
    y = batch_norm(y, f"{name}_project_bn", EPSILON)
    return layers.Add(name=f"{name}_add")([x, y]) if stride == 1 and x.shape[-1] == filters else y


def gate(x: KerasTensor, name: str) -> KerasTensor:
    """Squeeze-and-excite: each channel times clip(0.2 v + 0.5, 0, 1), v of the picture's mean."""
    mean = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(x)
    y = layers.Conv2D(x.shape[-1] // 4, 1, activation="relu", name=f"{name}_squeeze")(mean)
    y = layers.Conv2D(x.shape[-1], 1, name=f"{name}_excite")(y)
    # The same as the clip above, in the form that runtimes have as one operator.
    return layers.Multiply(name=f"{name}_gate")([x, ops.relu6(1.2 * y + 3.0) * (1 / 6)])


def hard_swish(x: KerasTensor) -> KerasTensor:
    """x relu6(x + 3) / 6, in the order that TFLite's converter makes one operator of."""
    return x * (ops.relu6(x + 3.0) * (1 / 6))
