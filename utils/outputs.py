"""What comes out of an exported network, and how it becomes alpha again.

    network = shaped(network, "softmax")     # on the way out
    alpha = decode(output, "softmax", size)  # in the segmenter, by the card's "output_kind"

"alpha" is [1, H, W, 1] in 0..1. The others are for programs that want them so: "flat" [1, H * W] for phones, "softmax"
[1, H, W, 2] with background first, "argmax" whole numbers [1, H, W], "packed" sixteen pixels to a number
(utils/bitpack.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from utils import bitpack

if TYPE_CHECKING:
    import keras


def shaped(network: keras.Model, kind: str) -> keras.Model:
    """The network with another output; raises ValueError for a width that cannot be packed."""
    import keras
    from keras import layers, ops

    alpha = network.outputs[0]
    height, width = alpha.shape[1:3]
    if kind == "alpha":
        return network
    if kind == "flat":
        output = layers.Reshape((height * width,))(alpha)
    elif kind == "softmax":
        output = layers.Concatenate()([1.0 - alpha, alpha])
    elif kind == "argmax":
        output = ops.cast(layers.Reshape((height, width))(alpha) >= 0.5, "int32")
    else:
        output = bitpack.packed(alpha)
    return keras.Model(network.inputs[0], output, name=network.name)


def described(card: dict[str, Any], kind: str, io: str = "float") -> dict[str, Any]:
    """What a file's card says of its input and output; `io` as in utils/formats.py."""
    taken, given = card.get("input", PIXELS), GIVEN[kind]
    if io == "uint8":
        taken, given = taken.replace("float32", "uint8"), f"{given}; uint8, by the scale in the file"
    return {"input": taken, "output": given, "output_kind": kind, "io": io}


def decode(output: np.ndarray, kind: str, size: tuple[int, int]) -> np.ndarray:
    """A network's output for one picture as alpha float32 [1, H, W, 1] in 0..1."""
    return DECODERS[kind](output.astype(np.float32, copy=False).reshape(1, -1), size).reshape(1, *size, 1)


def check(kind: str, path: object) -> str:
    """The kind itself. Raises ValueError for one that is not known."""
    if kind not in DECODERS:
        raise ValueError(f"{path}: its card says output_kind {kind!r}; known are {', '.join(DECODERS)}")
    return kind


def _softmax(output: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    logits = output.reshape(*size, -1)
    values = np.exp(logits - logits.max(-1, keepdims=True))
    return values / values.sum(-1, keepdims=True)


def _packed(output: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return bitpack.unpack(output.reshape(size[0], -1))


PIXELS = "RGB pixels 0..255, float32; alpha of the frame before as fourth channel where there are four"
GIVEN = {
    "alpha": "alpha 0..1",
    "flat": "alpha 0..1, row by row in one line",
    "softmax": "background and alpha, which add up to 1",
    "argmax": "1 where alpha is 0.5 or more, else 0: whole numbers",
    "packed": "one bit a pixel, sixteen pixels to a number (utils/bitpack.py)",
}

DECODERS: dict[str, Callable[[np.ndarray, tuple[int, int]], np.ndarray]] = {
    "alpha": lambda output, size: output,
    "flat": lambda output, size: output,
    "argmax": lambda output, size: output,
    "softmax": lambda output, size: output.reshape(*size, 2)[..., 1],
    "packed": _packed,
    # Networks of others end in logits of background and person, or of background and kinds of person.
    "softmax_last": lambda output, size: _softmax(output, size)[..., -1],
    "softmax_not_first": lambda output, size: 1 - _softmax(output, size)[..., 0],
}
