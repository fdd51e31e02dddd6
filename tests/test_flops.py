"""Multiply-adds of layers counted by hand, and of whole networks against published figures."""

from __future__ import annotations

import pytest

keras = pytest.importorskip("keras")
from keras import layers  # noqa: E402

import models  # noqa: E402
from models import sinet  # noqa: E402
from utils.flops import multiply_adds  # noqa: E402


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(5, 3, padding="same"), 8 * 6 * 9 * 4 * 5),
        (layers.Conv2D(5, 3, 2, padding="same"), 4 * 3 * 9 * 4 * 5),
        (layers.Conv2D(6, 1, groups=2), 8 * 6 * 2 * 6),
        (layers.Conv2D(5, 3), 6 * 4 * 9 * 4 * 5),
        (layers.DepthwiseConv2D(5, padding="same", depth_multiplier=2), 8 * 6 * 25 * 4 * 2),
        (layers.SeparableConv2D(7, 3, padding="same"), 8 * 6 * (9 * 4 + 4 * 7)),
        (layers.Conv2DTranspose(5, 4, 2, "same"), 8 * 6 * 16 * 4 * 5),
        (layers.Dense(3), 8 * 6 * 4 * 3),
        (sinet.ShuffledGroups(6), 8 * 6 * 2 * (2 * 3)),
        (layers.BatchNormalization(), 0),
        (layers.PReLU(), 0),
        (layers.UpSampling2D(2, interpolation="bilinear"), 0),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_layers(layer: keras.layers.Layer, expected: int) -> None:
    inputs = layers.Input((8, 6, 4))
    assert multiply_adds(keras.Model(inputs, layer(inputs))) == expected


def test_a_layer_used_twice_counts_twice_and_models_inside_count() -> None:
    inputs, layer = layers.Input((8, 8, 4)), layers.Conv2D(4, 1)
    inner = keras.Model(inputs, layer(layer(inputs)))
    assert multiply_adds(inner) == 2 * 64 * 16
    other = layers.Input((8, 8, 4))
    assert multiply_adds(keras.Model(other, layers.Conv2D(1, 1)(inner(other)))) == 2 * 64 * 16 + 64 * 4


def test_what_cannot_be_counted_is_refused() -> None:
    inputs = layers.Input((8, 4))
    with pytest.raises(ValueError, match="nobody said how to count a Conv1D"):
        multiply_adds(keras.Model(inputs, layers.Conv1D(2, 1)(inputs)))
    inputs = layers.Input((None, None, 4))
    with pytest.raises(ValueError, match="fixed size"):
        multiply_adds(keras.Model(inputs, layers.Conv2D(2, 1)(inputs)))


@pytest.mark.parametrize(
    ("name", "size", "options", "millions"),
    [
        ("pp_humanseg_v1_lite", (192, 192), {}, 104),
        ("pp_humanseg_v1_lite", (224, 398), {}, 251),
        ("pp_humanseg_v2_lite", (192, 192), {}, 194),
        ("pp_humanseg_v2_lite", (144, 256), {"form": "portrait"}, 154),
        ("pp_humanseg_v1_mobile", (192, 192), {}, 577),
        ("pp_humanseg_v1_server", (512, 512), {}, 113_700),
        ("modnet", (512, 512), {}, 15_500),
    ],
)
def test_networks(name: str, size: tuple[int, int], options: dict, millions: int) -> None:
    """Figures of the papers and their code, given to three digits."""
    found = multiply_adds(models.create(name, size, **options)) / 1e6
    assert found == pytest.approx(millions, rel=0.005)
