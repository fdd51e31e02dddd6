"""A SavedModel for serving: pixels in and alpha out, and a second door for encoded pictures.

    serve = tf.saved_model.load("live_saved_model").signatures
    serve["serving_default"](pixels=...)             # float32 [1, H, W, C] -> {"alpha": [1, H, W, 1]}
    serve["pictures"](encoded=open("a.jpg", "rb").read())   # JPEG, PNG, BMP or GIF -> {"alpha": [h, w], the photo's own size}

The second, which packed outputs do not have, letterboxes inside the graph as utils/images.py does. TensorFlow reads no EXIF: turn phone photos first.
"""

from __future__ import annotations

from pathlib import Path

from utils.backend import quiet


def write(folder: str, path: Path) -> None:
    """Write the SavedModel in `folder` (batch 1) to `path` with both signatures."""
    import tensorflow as tf

    class Serving(tf.Module):
        """What is saved: the network and what goes before and after it."""

        def __init__(self, network) -> None:
            super().__init__()
            self.network = network

        def pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"alpha": _only(self.network.signatures["serving_default"](pixels))}

        def pictures(self, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
            photo = tf.io.decode_image(encoded, channels=3, expand_animations=False)
            photo.set_shape([None, None, 3])
            canvas, box = _letterbox(tf.cast(photo, tf.float32), height, width)
            if channels == 4:  # no alpha of a frame before
                canvas = tf.pad(canvas, [[0, 0], [0, 0], [0, 1]])
            # Of two classes the second is the person's.
            alpha = tf.reshape(self.pixels(canvas[None])["alpha"], [height, width, -1])[..., -1:]
            alpha = tf.cast(alpha, tf.float32)
            top, left, tall, wide = box
            inner = alpha[top : top + tall, left : left + wide]
            return {"alpha": _resize(inner, tf.shape(photo)[0], tf.shape(photo)[1])[..., 0]}

    with quiet():
        network = tf.saved_model.load(folder)
        spec = next(iter(network.signatures["serving_default"].structured_input_signature[1].values()))
        _, height, width, channels = spec.shape
        module = Serving(network)
        pixels = tf.function(module.pixels, input_signature=[tf.TensorSpec(spec.shape, tf.float32, "pixels")])
        pictures = tf.function(module.pictures, input_signature=[tf.TensorSpec([], tf.string, "encoded")])
        signatures = {"serving_default": pixels}
        if not _packed(network, height * width):
            signatures["pictures"] = pictures
        tf.saved_model.save(module, str(path), signatures=signatures)


def _packed(network, pixels: int) -> bool:
    """Whether its output has fewer numbers than pixels: sixteen in one, which cannot be resized."""
    return _only(network.signatures["serving_default"].structured_outputs).shape.num_elements() < pixels


def _only(outputs: dict):
    return next(iter(outputs.values()))


def _letterbox(photo, height: int, width: int):
    import tensorflow as tf

    shape = tf.shape(photo)
    scale = tf.minimum(height / shape[0], width / shape[1])
    tall = tf.maximum(1, tf.cast(tf.round(tf.cast(shape[0], tf.float64) * scale), tf.int32))
    wide = tf.maximum(1, tf.cast(tf.round(tf.cast(shape[1], tf.float64) * scale), tf.int32))
    top, left = (height - tall) // 2, (width - wide) // 2
    inner = tf.round(_resize(photo, tall, wide))
    edges = [[top, height - tall - top], [left, width - wide - left], [0, 0]]
    return tf.ensure_shape(tf.pad(inner, edges), [height, width, 3]), (top, left, tall, wide)


def _resize(picture, height, width):
    """Averaging when shrinking, bilinear when enlarging, as utils.images.resize."""
    import tensorflow as tf

    shape = tf.shape(picture)
    return tf.cond(
        height * width < shape[0] * shape[1],
        lambda: tf.image.resize(picture[None], [height, width], "area")[0],
        lambda: tf.image.resize(picture, [height, width], "bilinear"),
    )
