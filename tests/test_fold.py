"""Folding changes the numbers' place, never the picture; kito is used only where it is right."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import models
from utils.fold import fold, fold_batch_norm, fold_with_kito, max_difference

Graph = tuple[keras.Model, int]


def norm(**settings: bool) -> layers.BatchNormalization:
    return layers.BatchNormalization(**settings)


def picture() -> tuple[keras.KerasTensor, keras.KerasTensor]:
    inputs = layers.Input((16, 12, 3))
    return inputs, layers.Rescaling(1 / 255)(inputs)


def plain() -> Graph:
    inputs, x = picture()
    x = layers.ReLU()(norm()(layers.Conv2D(6, 3, 2, "same", use_bias=False)(x)))
    return keras.Model(inputs, norm()(layers.Conv2D(4, 3, groups=2)(x))), 0


def with_bias() -> Graph:
    inputs, x = picture()
    conv = layers.Conv2D(5, 3, padding="same", bias_initializer="random_normal")
    return keras.Model(inputs, norm()(conv(x))), 0


def without_scale_or_center() -> Graph:
    inputs, x = picture()
    x = norm(scale=False)(layers.Conv2D(5, 3)(x))
    x = norm(center=False)(layers.Conv2D(5, 3)(x))
    return keras.Model(inputs, norm(center=False, scale=False)(layers.Conv2D(5, 3, use_bias=False)(x))), 0


def residual() -> Graph:
    inputs, x = picture()
    x = norm()(layers.Conv2D(6, 1)(x))
    y = norm()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(layers.ReLU()(x)))
    return keras.Model(inputs, layers.Add()([x, y])), 0


def dilated() -> Graph:
    inputs, x = picture()
    x = norm()(layers.Conv2D(4, 3, padding="same", dilation_rate=2)(x))
    return keras.Model(inputs, norm()(layers.DepthwiseConv2D(3, padding="same", dilation_rate=4)(x))), 0


def transposed() -> Graph:
    inputs, x = picture()
    x = norm()(layers.Conv2DTranspose(7, 4, 2, "same", use_bias=False)(x))
    return keras.Model(inputs, norm()(layers.Conv2DTranspose(2, 2, 2)(x))), 0


def separable() -> Graph:
    inputs, x = picture()
    x = norm()(layers.SeparableConv2D(6, 3, padding="same", use_bias=False)(x))
    return keras.Model(inputs, norm()(layers.SeparableConv2D(4, 3, depth_multiplier=2)(x))), 0


def depth_multiplier() -> Graph:
    inputs, x = picture()
    return keras.Model(inputs, norm()(layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(x))), 0


def dense() -> Graph:
    inputs, x = picture()
    return keras.Model(inputs, norm()(layers.Dense(5)(x))), 0


def sliced() -> Graph:
    inputs, x = picture()
    x = layers.Softmax()(norm()(layers.Conv2D(2, 3, padding="same")(x)))
    return keras.Model(inputs, x[..., 1:]), 0


def nested() -> Graph:
    inner = layers.Input((16, 12, 3))
    block = keras.Model(inner, norm()(layers.Conv2D(4, 3)(inner)), name="block")
    inputs, x = picture()
    return keras.Model(inputs, layers.ReLU()(block(x))), 0


def shared_convolution() -> Graph:
    inputs, x = picture()
    conv = layers.Conv2D(3, 3, padding="same")
    return keras.Model(inputs, layers.Add()([norm()(conv(x)), norm()(conv(layers.ReLU()(x)))])), 2


def shared_norm() -> Graph:
    inputs, x = picture()
    both = norm()
    return keras.Model(inputs, both(layers.Conv2D(3, 3)(both(x)))), 1


def two_consumers() -> Graph:
    inputs, x = picture()
    x = layers.Conv2D(4, 3, padding="same")(x)
    return keras.Model(inputs, layers.Add()([x, norm()(x)])), 1


def convolution_is_output() -> Graph:
    inputs, x = picture()
    x = layers.Conv2D(4, 3)(x)
    return keras.Model(inputs, [x, norm()(x)]), 1


def norm_after_concat() -> Graph:
    inputs, x = picture()
    x = layers.Concatenate()([layers.Conv2D(3, 1)(x), layers.Conv2D(2, 1)(x)])
    return keras.Model(inputs, norm()(x)), 1


def convolution_with_activation() -> Graph:
    inputs, x = picture()
    return keras.Model(inputs, norm()(layers.Conv2D(4, 3, activation="relu")(x))), 1


def norm_over_rows() -> Graph:
    inputs, x = picture()
    return keras.Model(inputs, layers.BatchNormalization(axis=1)(layers.Conv2D(4, 3)(x))), 1


def operation_in_the_middle() -> Graph:
    inputs, x = picture()
    x = norm()(layers.Conv2D(4, 3, padding="same")(x))
    return keras.Model(inputs, layers.Add()([norm()(layers.Conv2D(4, 1)(x + 1.0)), x])), 0


def network() -> Graph:
    return models.create("mobilenetv2_fpn", (64, 64), alpha=0.35), 0


# Each graph with the number of batch norms that must stay.
GRAPHS = [
    *(plain, with_bias, without_scale_or_center, residual, dilated, transposed, separable, depth_multiplier),
    *(dense, sliced, nested, shared_convolution, shared_norm, two_consumers, convolution_is_output),
    *(norm_after_concat, convolution_with_activation, norm_over_rows, operation_in_the_middle, network),
]
KITO_EQUAL = [plain, with_bias, residual, dilated, transposed, separable, sliced, two_consumers, network]
KITO_REFUSES = {
    depth_multiplier: "depth_multiplier",
    convolution_is_output: "outputs",
    convolution_with_activation: "activation",
    without_scale_or_center: "cannot read",
    shared_convolution: "kito",
    nested: "cannot read",
    norm_over_rows: "kito",
    operation_in_the_middle: "middle",
}


def build(make) -> Graph:
    """A graph with every weight random; variances and scales stay well away from zero."""
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(1)
    model, left = make()
    for layer in norms(model):
        layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    return model, left


def norms(model: keras.Model) -> list[layers.BatchNormalization]:
    inside = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    own = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    return own + [found for other in inside for found in norms(other)]


@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
def test_folded_network_gives_the_same_picture(make):
    model, left = build(make)
    before = model.get_weights()
    folded = fold_batch_norm(model)
    assert max_difference(model, folded) <= 1e-5
    assert len(norms(folded)) == left
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_layers_keep_their_names_and_other_graphs_do_not_count_as_consumers():
    model, _ = build(plain)
    conv = next(layer for layer in model.layers if isinstance(layer, layers.Conv2D))
    keras.Model(model.inputs, layers.ReLU()(conv.output))  # a second graph on top of the same layers
    folded = fold_batch_norm(model)
    assert not norms(folded)
    assert folded.get_layer(conv.name).use_bias


def test_norm_told_to_use_batch_statistics_stays():
    inputs, x = picture()
    model = keras.Model(inputs, norm()(layers.Conv2D(4, 3)(x), training=True))
    assert len(norms(fold_batch_norm(model))) == 1


def test_sequential_network_folds_too():
    model = keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(4, 3), norm()])
    assert not norms(fold(model, "own"))


@pytest.mark.parametrize("make", KITO_EQUAL, ids=lambda make: make.__name__)
def test_kito_gives_the_same_picture(make):
    model, _ = build(make)
    assert max_difference(model, fold_with_kito(model)) <= 1e-5


@pytest.mark.parametrize(
    ("make", "reason"), KITO_REFUSES.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_kito_is_refused_where_it_is_wrong(make, reason):
    model, _ = build(make)
    with pytest.raises(ValueError, match=reason):
        fold_with_kito(model)


def test_wrong_fold_is_refused_not_used(monkeypatch):
    model, _ = build(plain)
    monkeypatch.setattr("utils.fold._scale_and_shift", lambda norm: (1.01, norm.get_weights()[0]))
    with pytest.raises(ValueError, match="changes this network's output"):
        fold(model, "own")


def test_none_returns_the_network_and_unknown_words_are_refused():
    model, _ = build(plain)
    assert fold(model, "none") is model
    with pytest.raises(ValueError, match="own, kito, none"):
        fold(model, "both")
