"""From a checkpoint to files that phones and browsers run.

    network, card = load("portrait.keras")
    with saved_model(fold(network, "own")) as folder, workplace(path) as raw:
        convert("tflite_int8", Job(folder, pixels), raw)
        place(raw, path, card)

What is written how stands in utils/formats.py.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from models import card as cards
from utils import backend, outputs, segmenter
from utils.backend import quiet
from utils.formats import FORMATS, Job, Pixels, remove
from utils.images import ImageError, image_size, list_images, read_image
from utils.segmenter import KerasSegmenter, Segmenter

if TYPE_CHECKING:
    import keras

SAMPLES = Path(__file__).parent.parent / "data" / "samples"

# What a network looks like when deployed, where that differs from training.
VARIANTS: dict[str, dict[str, Any]] = {
    "deeplab": {"output_stride": 8},
    "portrait_net": {"edge_head": False},
    "pp_humanseg_v2_lite": {"training_heads": False},
    "pp_humanseg_v2_mobile": {"training_heads": False},
    "modnet": {"training_heads": False},
}


class ConversionError(ValueError):
    """The runtime's converter cannot express this network."""


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
def saved_model(network: keras.Model, output: str = "alpha", batch: int = 1) -> Iterator[str]:
    """A temporary SavedModel with a fixed batch: an open one leaves shape operations that halve speed.

    `output` is what comes out (utils/outputs.py).

    Its narrow transposed convolutions are written as convolutions (utils/subpixel.py), and its normalisation so that it can be
    moved into the first convolution (utils/centre.py).
    """
    import tensorflow as tf

    from utils.centre import centred
    from utils.subpixel import sub_pixel

    network = outputs.shaped(centred(sub_pixel(network)), output)
    shape = (batch, *network.input_shape[1:])
    # Keras' own `export` traces the network and keeps its weights twice, which doubles the time of every conversion.
    module = tf.Module()
    module.held = [variable.value for variable in network.weights]
    module.serve = tf.function(
        lambda pixels: network(pixels, training=False),
        input_signature=[tf.TensorSpec(shape, tf.float32, name="pixels")],
    )
    with tempfile.TemporaryDirectory() as folder:
        with quiet():
            tf.saved_model.save(module, folder, signatures=module.serve)
        yield folder


def convert(format: str, job: Job, target: Path) -> None:
    """Write a SavedModel as a model file or folder. Raises ConversionError, or ImageError for a bad photo."""
    try:
        with quiet(), _python_quiet():
            FORMATS[format].convert(job, target)
    except (OSError, ImageError):
        raise
    except Exception as error:  # the converters' own kinds, often many lines long
        raise ConversionError(f"cannot be converted: {_line(error)}") from error


def _line(error: Exception) -> str:
    """What an error of others says, in one line."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # TensorFlow begins with "in user code:" and ends with what is wrong.
    return lines[-1 if lines[0].rstrip().endswith(":") else 0].strip()[:200]


def check_free(paths: list[Path], force: bool) -> None:
    """Raises ValueError if one is there already and may not be written over."""
    there = [path.name for path in paths if path.exists()]
    if there and not force:
        raise ValueError(f"{paths[0].parent} holds {', '.join(there)} already: pass --force to write over it")


@contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, in a hidden folder that is gone afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export_") as folder:
        yield Path(folder) / path.name


def trial(raw: Path, card: dict[str, Any], threads: int) -> Segmenter:
    """The file as its users would open it, while it has no name yet. Raises ConversionError where its runtime refuses it."""
    copy = raw.parent / "trial" / raw.name
    copy.parent.mkdir(exist_ok=True)
    if raw.is_dir():
        shutil.copytree(raw, copy)
    else:
        shutil.copy(raw, copy)
    if raw.suffix == ".xml":
        shutil.copy(raw.with_suffix(".bin"), copy.with_suffix(".bin"))
    cards.attach(copy, card)
    try:
        return segmenter.open(copy, threads)
    except (ValueError, RuntimeError) as error:
        line = _line(error).replace(f"{copy}: ", "")  # a name that will be gone
        raise ConversionError(f"cannot be opened again: {line}") from error


def place(raw: Path, path: Path, card: dict[str, Any]) -> None:
    """Give a file (or folder) its card and its name, in the place of an older one. Raises OSError."""
    cards.attach(raw, card)
    remove(path)
    if raw.suffix == ".xml":  # first what it refers to
        raw.with_suffix(".bin").replace(path.with_suffix(".bin"))
    raw.replace(path)


def megabytes(path: Path) -> float:
    """The size of a model file, with the weights beside it, or of a folder."""
    weights = [path.with_suffix(".bin")] if path.suffix == ".xml" else []
    files = path.rglob("*") if path.is_dir() else [path, *weights]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


@contextmanager
def _python_quiet() -> Iterator[None]:
    """Converters write to the log, each in its own way."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _need_tensorflow() -> None:
    if importlib.util.find_spec("tensorflow") is None:
        raise ValueError(
            "exporting needs TensorFlow, which is not installed: pip install -r requirements.txt"
        )
    os.environ["KERAS_BACKEND"] = "tensorflow"
    backend.choose()
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Keras is already running on another backend: start again with KERAS_BACKEND=tensorflow"
        )
