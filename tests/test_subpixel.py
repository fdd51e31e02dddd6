"""Transposed convolutions rewritten as convolution and shuffle give the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import layers  # noqa: E402

import models  # noqa: E402
from utils.subpixel import SubPixel, sub_pixel  # noqa: E402


def network(**options: object) -> keras.Model:
    """One transposed convolution on [12, 10, 5]."""
    inputs = layers.Input((12, 10, 5))
    return keras.Model(inputs, layers.Conv2DTranspose(name="up", **options)(inputs))


def randomised(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("kernel", [2, 4])
@pytest.mark.parametrize("filters", [1, 3])
@pytest.mark.parametrize("more", [{}, {"use_bias": False}, {"activation": "sigmoid"}])
def test_same_numbers(kernel: int, filters: int, more: dict) -> None:
    model = randomised(network(filters=filters, kernel_size=kernel, strides=2, padding="same", **more))
    rewritten = sub_pixel(model)
    assert isinstance(rewritten.get_layer("up"), SubPixel)
    pixels = np.random.default_rng(1).normal(size=(2, 12, 10, 5)).astype(np.float32)
    before, after = (m.predict_on_batch(pixels) for m in (model, rewritten))
    assert after.shape == (2, 24, 20, filters)
    assert np.abs(before - after).max() < 1e-5


@pytest.mark.parametrize(
    "options",
    [
        {"filters": 1, "kernel_size": 3, "strides": 2, "padding": "same"},
        {"filters": 1, "kernel_size": 4, "strides": 2, "padding": "valid"},
        {"filters": 1, "kernel_size": 4, "strides": 4, "padding": "same"},
        {"filters": 16, "kernel_size": 4, "strides": 2, "padding": "same"},
    ],
)
def test_others_are_left_alone(options: dict) -> None:
    model = network(**options)
    assert sub_pixel(model) is model


def test_whole_network_and_its_file(tmp_path) -> None:
    model = models.create("mobilenetv2_fpn", (64, 64), alpha=0.35)
    rewritten = sub_pixel(model)
    pixels = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    before = model.predict_on_batch(pixels)
    assert np.abs(before - rewritten.predict_on_batch(pixels)).max() < 1e-5
    rewritten.save(tmp_path / "rewritten.keras")
    again = keras.models.load_model(tmp_path / "rewritten.keras")
    assert np.abs(before - again.predict_on_batch(pixels)).max() < 1e-5
