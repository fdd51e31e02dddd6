"""Sixteen pixels of a binary mask in one number, packed inside the network and unpacked here.

Few output bytes matter where the network runs on a GPU and its answer is read back by the CPU: one convolution, 1x16
with stride 16 and the weights 2^7 .. 2^-8, makes a number of each sixteen pixels in a row. Every pattern is exact in
float32. Source: the reference toolkit's study of GPU delegates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

BITS = 16
WEIGHTS = 2.0 ** np.arange(7, 7 - BITS, -1)


def packed(alpha: keras.KerasTensor) -> keras.KerasTensor:
    """Alpha [N, H, W, 1] as a mask (0.5 and more is person) packed to [N, H, W / 16, 1]. Raises ValueError."""
    from keras import layers, ops

    if alpha.shape[2] % BITS:
        raise ValueError(f"a width of {alpha.shape[2]} cannot be packed: it must be a multiple of {BITS}")
    mask = ops.cast(alpha >= 0.5, "float32")
    pack = layers.Conv2D(1, (1, BITS), strides=(1, BITS), use_bias=False, trainable=False, name="pack")
    result = pack(mask)
    pack.set_weights([WEIGHTS.astype(np.float32).reshape(1, BITS, 1, 1)])
    return result


def pack(mask: np.ndarray) -> np.ndarray:
    """What the graph does, in NumPy: a boolean mask [..., W] to float32 [..., W / 16]."""
    groups = np.asarray(mask, np.float32).reshape(*mask.shape[:-1], -1, BITS)
    return groups @ WEIGHTS.astype(np.float32)


def unpack(values: np.ndarray) -> np.ndarray:
    """Packed numbers [..., W / 16] as 0 and 1, float32 [..., W]."""
    whole = np.rint(np.asarray(values, np.float64) * 2.0**8).astype(">u2")  # weights 2^15 .. 2^0
    bits = np.unpackbits(whole[..., None].view(np.uint8), axis=-1)
    return bits.reshape(*values.shape[:-1], -1).astype(np.float32)
