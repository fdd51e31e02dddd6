"""Make a pretrained encoder trainable whose batch norms were folded into its convolutions."""

from __future__ import annotations

import keras
import numpy as np


def wake_zero_channels(network: keras.Model, rng: np.random.Generator, share: float = 0.1) -> int:
    """Give kernels' all-zero input or output channels a little noise; returns how many were woken.

    Zero-padded channels with zeros on both sides get no gradient, for ever.
    """
    woken = 0
    for layer in network.layers:
        if not isinstance(layer, keras.layers.Conv2D) or not np.any(layer.get_weights()[0]):
            continue
        kernel, *rest = layer.get_weights()
        silent = ~kernel.any((0, 1, 2))[None, :] | ~kernel.any((0, 1, 3))[:, None]
        if silent.any():
            scale = share * kernel[kernel != 0].std()
            kernel = np.where(silent, rng.normal(0, scale, kernel.shape), kernel)
            layer.set_weights([kernel.astype(np.float32), *rest])
            woken += int(silent.any(0).sum() + silent.any(1).sum())
    return woken


def revive_batch_norms(network: keras.Model, pixels: np.ndarray) -> int:
    """Give folded batch norms real statistics without changing what the network computes.

    A folded norm has gamma 1, mean 0 and one variance for all, with a beta that is not 0. In training it would
    divide by each batch's deviation and destroy the encoder; so mean and variance are measured on
    `pixels` [N, H, W, C], and gamma and beta set to undo them. Returns how many norms were folded.
    """
    folded = [layer for layer in network.layers if _is_folded(layer)]
    if not folded:
        return 0
    probe = keras.Model(network.inputs[0], [layer.input for layer in folded])
    sums = None
    for start in range(0, len(pixels), 8):
        features = probe.predict_on_batch(pixels[start : start + 8])
        batch = [
            (f.sum((0, 1, 2)), (f.astype(np.float64) ** 2).sum((0, 1, 2)), f[..., 0].size) for f in features
        ]
        sums = batch if sums is None else [tuple(map(np.add, a, b)) for a, b in zip(sums, batch, strict=True)]
    for layer, (total, squares, count) in zip(folded, sums, strict=True):
        gamma, beta, old_mean, old_variance = layer.get_weights()
        mean = total / count
        variance = np.maximum(squares / count - mean**2, 0)
        scale = gamma / np.sqrt(old_variance + layer.epsilon)
        new = [scale * np.sqrt(variance + layer.epsilon), beta + scale * (mean - old_mean), mean, variance]
        layer.set_weights([values.astype(np.float32) for values in new])
    return len(folded)


def _is_folded(layer: keras.layers.Layer) -> bool:
    if not isinstance(layer, keras.layers.BatchNormalization) or not (layer.scale and layer.center):
        return False
    gamma, beta, mean, variance = layer.get_weights()
    return bool(np.all(gamma == 1) and np.any(beta) and not np.any(mean) and np.ptp(variance) == 0)
