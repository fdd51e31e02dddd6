"""Pieces that several networks share: normalised input, batch-norm convolutions, the alpha head."""

from __future__ import annotations

from keras import KerasTensor, layers

# From random weights a slow average (Keras' encoders keep 0.999) still holds its start after a few
# hundred steps, and inference is garbage while the training loss looks perfect.
MOMENTUM = 0.9


def pixels(
    size: tuple[int, int],
    channels: int,
    scale: float | list[float] = 1 / 255,
    offset: float | list[float] = 0.0,
) -> tuple[KerasTensor, KerasTensor]:
    """Input of pixels 0..255 and its normalised form `pixels * scale + offset` for RGB.

    A fourth channel, the previous alpha, always becomes 0..1.
    """
    inputs = layers.Input((*size, channels), name="pixels")
    if channels == 4:
        scale = [*_three(scale), 1 / 255]
        offset = [*_three(offset), 0.0]
    return inputs, layers.Rescaling(scale, offset, name="normalise")(inputs)


def batch_norm(x: KerasTensor, name: str | None = None, epsilon: float = 1e-3) -> KerasTensor:
    """Batch normalisation with the momentum that training from scratch needs."""
    return layers.BatchNormalization(momentum=MOMENTUM, epsilon=epsilon, name=name)(x)


def alpha(logits: KerasTensor) -> KerasTensor:
    """Alpha 0..1 [N, H, W, 1] from the layer called "logits": one channel, or background and person."""
    if logits.shape[-1] == 1:
        return layers.Activation("sigmoid", name="alpha")(logits)
    return layers.Softmax(name="softmax")(logits)[..., 1:]


def upsample(x: KerasTensor, factor: int = 2, name: str | None = None) -> KerasTensor:
    """Bilinear enlargement with half-pixel centres."""
    return layers.UpSampling2D(factor, interpolation="bilinear", name=name)(x)


def _three(value: float | list[float]) -> list[float]:
    return list(value) if isinstance(value, (list, tuple)) else [value] * 3
