"""Normalising the other way round: the same picture, and int8 files that keep whole grey levels."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import models  # noqa: E402
from utils import exporting, formats  # noqa: E402
from utils.centre import Centred, centred  # noqa: E402
from utils.formats import Job  # noqa: E402


@pytest.mark.parametrize(
    ("name", "channels"), [("mobilenetv2_fpn", 3), ("mobilenetv2_fpn", 4), ("portrait_net", 3)]
)
def test_the_same_numbers(name: str, channels: int) -> None:
    keras.utils.set_random_seed(0)
    network = models.create(name, (64, 64), channels)
    other = centred(network)
    assert any(isinstance(layer, Centred) for layer in other.layers)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, channels)).astype(np.float32)
    difference = np.asarray(network(pixels, training=False)) - np.asarray(other(pixels, training=False))
    assert np.abs(difference).max() < 1e-5


def test_without_an_offset_nothing_changes() -> None:
    network = models.create("prisma_net", (64, 64))
    assert [type(layer) for layer in centred(network).layers] == [type(layer) for layer in network.layers]


def test_int8_keeps_whole_grey_levels(tmp_path) -> None:
    """In no tensor is a picture stored in coarser steps than it came in."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    keras.utils.set_random_seed(0)
    network = models.create("mobilenetv2_fpn", (64, 64), alpha=0.35)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 1, 64, 64, 3)).astype(np.float32)
    path = tmp_path / "whole.tflite"
    with exporting.saved_model(network) as folder:
        formats.FORMATS["tflite_int8"].convert(Job(folder, lambda: iter(pictures)), path)
    details = litert.Interpreter(str(path)).get_tensor_details()
    steps = [
        found["quantization"][0]
        for found in details
        if list(found["shape"]) == [1, 64, 64, 3] and found["dtype"] is np.int8
    ]
    assert steps
    assert all(step in (pytest.approx(1, rel=0.01), pytest.approx(1 / 127.5, rel=0.01)) for step in steps)
