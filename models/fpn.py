"""Feature-pyramid decoder: from an encoder's features at strides 2 to 32 to logits at the picture's size.

Lateral 1x1 convolutions are added (addition quantises better than concatenation), one separable convolution a
level, image-wide context at the deepest level, and logits enlarged by one transposed convolution.
Source: Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras import KerasTensor, layers

from models import blocks

# Channels after each merge. "light" spends less where pixels are many: 0.85 of the int8 latency; "wide"
# goes with large encoders, for stills.
DECODERS = {"full": (64, 48, 32, 16, 16), "light": (64, 32, 16, 16), "wide": (128, 96, 64, 32, 32)}


def logits(x: KerasTensor, skips: Sequence[KerasTensor], decoder: str) -> KerasTensor:
    """Logits [N, H, W, 1] from features at stride 32 and `skips` at 16, 8, 4 and 2. Raises ValueError."""
    if decoder not in DECODERS:
        raise ValueError(f"there is no decoder {decoder!r}: choose {' or '.join(DECODERS)}")
    widths = DECODERS[decoder]
    x = context(x, 96)
    for level, width in enumerate(widths):
        if level < len(skips):
            lateral = blocks.conv_bn(skips[level], x.shape[-1], f"lateral_{level}")
            x = layers.Add(name=f"merge_{level}")([blocks.upsample(x), lateral])
        x = blocks.depthwise_bn(x, f"level_{level}_depthwise", relu=False)
        x = blocks.conv_bn(x, width, f"level_{level}")
    # Kernel 4, stride 2: each pixel mixes the same number of taps, so no checkerboard.
    return layers.Conv2DTranspose(1, 4, 2, "same", name="logits")(x)


def context(x: KerasTensor, width: int) -> KerasTensor:
    """Local features plus the image's mean: what is a person depends on the whole scene."""
    mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
    mean = layers.Conv2D(width, 1, activation="relu", name="context_mean")(mean)
    return layers.Add(name="context_add")([blocks.conv_bn(x, width, "context"), mean])
