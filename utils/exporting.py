"""From a checkpoint to files that phones and browsers run.

    network, card = load("portrait.keras")
    with saved_model(fold(network, "own")) as folder:
        data = convert(folder, "tflite_int8", pixels)

A new format is one function and one line in `FORMATS` (and its tolerance in utils/parity.py).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import models
from models import card as cards
from utils.backend import quiet
from utils.images import ImageError, image_size, list_images, read_image
from utils.segmenter import KerasSegmenter, TFLiteSegmenter

if TYPE_CHECKING:
    import keras

SAMPLES = Path(__file__).parent.parent / "data" / "samples"

# What a network looks like when deployed, where that differs from training.
VARIANTS: dict[str, dict[str, Any]] = {
    "deeplab": {"output_stride": 8},
    "portrait_net": {"edge_head": False},
    "pp_humanseg_v2_lite": {"training_heads": False},
    "pp_humanseg_v2_mobile": {"training_heads": False},
}

Pixels = Callable[[], Iterator[np.ndarray]]


class ConversionError(ValueError):
    """The runtime's converter cannot express this network."""


class Format(NamedTuple):
    """How a format's files end, and what makes one from a SavedModel folder and calibration pixels."""

    ending: str
    convert: Callable[[str, Pixels], bytes]


def load(path: str | Path, size: tuple[int, int] | None = None) -> tuple[keras.Model, dict[str, Any]]:
    """The network of a checkpoint in the form that is deployed, and its card saying so.

    Raises FileNotFoundError, ValueError (not one of ours, a size it cannot take, no TensorFlow).
    """
    if Path(path).suffix not in (".keras", ".h5") and Path(path).exists():
        raise ValueError(f"{path}: not a checkpoint: give a .keras or .h5 file")
    card = cards.read(path)
    _need_tensorflow()
    architecture = dict(card.get("architecture") or {})
    changes = dict(VARIANTS.get(architecture.get("name", ""), {}))
    with quiet():
        network = models.load(path, **changes, **({"input_size": size} if size else {}))
    architecture["input_size"] = list(network.input_shape[1:3])
    architecture["options"] = {**(architecture.get("options") or {}), **changes}
    return network, {**card, "architecture": architecture, "weights": fingerprint(network)}


def fingerprint(network: keras.Model) -> str:
    """Sixteen hexadecimal digits that files of the same weights share, whatever their input shape."""
    digest = hashlib.sha256()
    for values in network.get_weights():
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]


def choose_photos(folder: str | Path, count: int) -> list[Path]:
    """At most `count` photos spread evenly over `folder`, or its `images`. Raises OSError, ValueError."""
    folder = Path(folder)
    photos = list_images(folder / "images" if (folder / "images").is_dir() else folder)
    if not photos:
        raise ValueError(f"{folder}: holds no photos")
    chosen = spread(photos, count)
    for path in chosen:
        image_size(path)  # a damaged file is named now, not after minutes of conversion
    return chosen


def spread(items: list, count: int) -> list:
    """At most `count` of the items, evenly spread and in their order."""
    places = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[round(place)] for place in places]


def frames(photos: list[Path]) -> Iterator[np.ndarray]:
    """The photos one by one as uint8 RGB [H, W, 3]. Raises ImageError."""
    return (read_image(path) for path in photos)


def calibration(source: KerasSegmenter, photos: list[Path]) -> Pixels:
    """What int8 learns its ranges from: the photos as the segmenter feeds them, float32 [1, H, W, C].

    A network with a fourth channel sees each photo without a prior and with its own alpha as prior.
    """

    def pixels() -> Iterator[np.ndarray]:
        for frame in frames(photos):
            priors = [None] if source.channels == 3 else [None, source(frame)]
            for prior in priors:
                yield source.prepare([frame], [prior])[0]

    return pixels


@contextmanager
def saved_model(network: keras.Model) -> Iterator[str]:
    """A temporary SavedModel with batch 1 fixed: an open batch leaves shape operations that halve speed.

    Its narrow transposed convolutions are written as convolutions (utils/subpixel.py).
    """
    import keras

    from utils.subpixel import sub_pixel

    network = sub_pixel(network)
    with tempfile.TemporaryDirectory() as folder:
        signature = [keras.InputSpec(shape=(1, *network.input_shape[1:]), dtype="float32", name="pixels")]
        with quiet():
            network.export(folder, verbose=False, input_signature=signature)
        yield folder


def convert(folder: str, format: str, pixels: Pixels) -> bytes:
    """A SavedModel as the bytes of a model file. Raises ConversionError, or ImageError for a bad photo."""
    try:
        with quiet():
            return FORMATS[format].convert(folder, pixels)
    except (OSError, ImageError):
        raise
    except Exception as error:  # the converters' own kinds, often many lines long
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ConversionError(f"cannot be converted: {line[:200]}") from error


@contextmanager
def trial(data: bytes, card: dict[str, Any], threads: int) -> Iterator[TFLiteSegmenter]:
    """The file as its users would open it, while it has no name yet."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trial.tflite"
        path.write_bytes(data)
        cards.append(path, card)
        yield TFLiteSegmenter(path, threads)


def write(path: Path, data: bytes, card: dict[str, Any]) -> None:
    """A model file with its card inside, whole or not at all. Raises OSError."""
    with cards.replacing(path) as temporary:
        temporary.write_bytes(data)
        cards.append(temporary, card)


def _need_tensorflow() -> None:
    if importlib.util.find_spec("tensorflow") is None:
        raise ValueError(
            "exporting needs TensorFlow, which is not installed: pip install -r requirements.txt"
        )
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet():
        import keras
        import tensorflow  # noqa: F401
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Keras is already running on another backend: start again with KERAS_BACKEND=tensorflow"
        )


def _tflite(folder: str, pixels: Pixels) -> bytes:
    return _converter(folder).convert()


def _tflite_fp16(folder: str, pixels: Pixels) -> bytes:
    """Weights in half precision: half the file, the same speed."""
    import tensorflow as tf

    converter = _converter(folder)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def _tflite_int8(folder: str, pixels: Pixels) -> bytes:
    """Whole numbers throughout; input and output stay float32, so every caller feeds it the same."""
    import tensorflow as tf

    converter = _converter(folder)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([picture] for picture in pixels())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert()


def _converter(folder: str) -> Any:
    import tensorflow as tf

    # Not from_concrete_functions([f], model): with a Keras 3 model it writes files that return NaN.
    return tf.lite.TFLiteConverter.from_saved_model(folder)


FORMATS = {
    "tflite": Format("_float32.tflite", _tflite),
    "tflite_fp16": Format("_float16.tflite", _tflite_fp16),
    "tflite_int8": Format("_int8.tflite", _tflite_int8),
}
