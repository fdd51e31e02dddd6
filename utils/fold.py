"""Fold batch normalisation into the convolution before it: fewer numbers, the same picture.

    network = fold(models.load("portrait.keras"), "own")

At inference a batch norm is `x * scale + shift` for each channel, so a convolution right before it
can do that with its own kernel and bias. `fold` compares the folded network with the original on
random pixels, whichever way it was folded, and refuses the result if they differ.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import keras
import numpy as np
from keras import layers

TOLERANCE = 1e-4
WAYS = ("own", "kito", "none")


def fold(model: keras.Model, how: str = "own") -> keras.Model:
    """A copy with its batch norms folded ("own" or "kito"), or `model` itself ("none").

    Raises ValueError for another word, and when the copy's outputs differ by more than `TOLERANCE`.
    """
    if how not in WAYS:
        raise ValueError(f"cannot fold by {how!r}: choose one of {', '.join(WAYS)}")
    if how == "none":
        return model
    if how == "kito":
        return fold_with_kito(model)
    folded = fold_batch_norm(model)
    _check_equal(model, folded, "fold_batch_norm")
    return folded


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """A copy in which every batch norm that can be folded into its convolution is.

    The convolution gets a bias, keeps its name, and the batch norm is gone. Left alone: a
    convolution with an activation, with a second consumer, used twice, or whose own result is an
    output of the network.
    """
    if isinstance(model, keras.Sequential):
        model = keras.Model(_single(model.inputs), _single(model.outputs), name=model.name)
    folds = foldable(model)
    norms = {id(norm) for norm in folds.values()}
    copies: list[tuple[layers.Layer, layers.Layer]] = []
    gone = layers.Identity()

    def clone(operation: keras.Operation) -> keras.Operation:
        if isinstance(operation, keras.Model):
            return fold_batch_norm(operation)
        if id(operation) in norms:
            return gone
        config = operation.get_config()
        if operation in folds:
            config["use_bias"] = True
        copy = type(operation).from_config(config)
        if isinstance(operation, layers.Layer):
            copies.append((operation, copy))
        return copy

    def call(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        return args[0] if operation is gone else operation(*args, **kwargs)

    folded = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for source, copy in copies:
        norm = folds.get(source)
        copy.set_weights(_folded_weights(source, norm) if norm else source.get_weights())
    return folded


def fold_with_kito(model: keras.Model) -> keras.Model:
    """The same done by kito 1.0.5, with the few functions replaced that cannot read a Keras 3 graph.

    Raises ValueError where kito is known to be wrong or gives up, and always when the outputs of
    its network differ from the original's by more than `TOLERANCE`.
    """
    import kito

    if isinstance(model, keras.Sequential):
        model = keras.Model(_single(model.inputs), _single(model.outputs), name=model.name)
    _refuse_for_kito(model)
    body, tail = _split_operations(model)
    readers = {
        "get_input_layers_ids": _inputs_of,
        "get_output_layers_ids": _outputs_of,
        "get_copy_of_layer": _copy,
    }
    classes = {kind.__name__: kind for kind in SCALERS}  # it names them without their module
    silent = contextlib.redirect_stdout(io.StringIO())
    try:
        with mock.patch.multiple(kito, **readers), keras.saving.custom_object_scope(classes), silent:
            folded = kito.reduce_keras_model(body)
    except SystemExit as error:  # its way of saying that a convolution has an activation
        raise ValueError(
            "kito gives up on a convolution with an activation before a batch norm: use own"
        ) from error
    except Exception as error:  # it was written for Keras 2 and fails in many ways
        raise ValueError(f"kito cannot read this network ({type(error).__name__}): use own") from error
    outputs = tail(_single(folded.outputs)) if tail else folded.outputs
    folded = keras.Model(_single(folded.inputs), _single(outputs), name=model.name)
    _check_equal(model, folded, "kito")
    return folded


def max_difference(model: keras.Model, other: keras.Model, seed: int = 0) -> float:
    """Largest difference of any output on two pictures of random pixels 0..255; inf if shapes differ."""
    random = np.random.default_rng(seed)
    inputs = [random.uniform(0, 255, (2, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
    results = []
    for network in (model, other):
        outputs = keras.tree.flatten(network(_single(inputs), training=False))
        results.append([keras.ops.convert_to_numpy(output) for output in outputs])
    if [output.shape for output in results[0]] != [output.shape for output in results[1]]:
        return float("inf")
    return float(np.max([np.max(np.abs(a - b)) for a, b in zip(*results, strict=True)]))  # NaN stays NaN


def _single(items: Any) -> Any:
    """The only one of a list of one, for networks of one input or output."""
    return items[0] if isinstance(items, list) and len(items) == 1 else items


def _check_equal(model: keras.Model, folded: keras.Model, by: str) -> None:
    difference = max_difference(model, folded)
    if not difference <= TOLERANCE:  # also when it is NaN
        raise ValueError(f"{by} changes this network's output by {difference:.2g}: fold another way, or none")


def foldable(model: keras.Model) -> dict[layers.Layer, layers.BatchNormalization]:
    """Convolution -> the batch norm that is its only consumer."""
    nodes = list(_nodes(model))
    calls = Counter(id(node.operation) for node in nodes)
    consumers = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    results = {id(tensor) for tensor in model.outputs}
    folds = {}
    for node in nodes:
        norm = node.operation
        if not _is_plain_norm(node) or calls[id(norm)] > 1:
            continue
        tensor = node.input_tensors[0]
        conv = tensor._keras_history.operation
        alone = calls[id(conv)] == 1 and consumers[id(tensor)] == 1 and id(tensor) not in results
        if alone and _is_linear_conv(conv):
            folds[conv] = norm
    return folds


def _nodes(model: keras.Model) -> Iterator:
    """The calls that make up this graph; a layer may have others, from graphs built on top of it."""
    for nodes in model._nodes_by_depth.values():
        yield from (node for node in nodes if node.operation is not None)


def _is_plain_norm(node) -> bool:
    """Over the last axis, and not told to use the batch's own statistics."""
    norm = node.operation
    if type(norm) is not layers.BatchNormalization or len(node.input_tensors) != 1:
        return False
    axes = np.atleast_1d(norm.axis)
    last = len(axes) == 1 and axes[0] in (-1, len(node.input_tensors[0].shape) - 1)
    return last and not node.arguments.kwargs.get("training")


def _is_linear_conv(layer: keras.Operation) -> bool:
    # The exact type: a subclass may compute something else.
    if type(layer) not in SCALERS or layer.activation is not keras.activations.linear:
        return False
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def _folded_weights(conv: layers.Layer, norm: layers.BatchNormalization) -> list[np.ndarray]:
    """Kernels and bias that do both, computed in double precision."""
    *kernels, bias = conv.get_weights() if conv.use_bias else [*conv.get_weights(), 0.0]
    scale, shift = _scale_and_shift(norm)
    kernels[-1] = SCALERS[type(conv)](kernels[-1].astype(np.float64), scale)
    return [*kernels, bias * scale + shift]


def _scale_and_shift(norm: layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """The batch norm at inference as x * scale + shift, each [C]."""

    def values(variable: keras.Variable | None, missing: float) -> np.ndarray | float:
        return missing if variable is None else keras.ops.convert_to_numpy(variable).astype(np.float64)

    scale = values(norm.gamma, 1.0) / np.sqrt(values(norm.moving_variance, 1.0) + norm.epsilon)
    return scale, values(norm.beta, 0.0) - values(norm.moving_mean, 0.0) * scale


def _scale_last(kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return kernel * scale


def _scale_depthwise(kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
    # [h, w, input channel, multiple]: the multiples of one channel lie side by side in the output
    return kernel * scale.reshape(kernel.shape[2:])


def _scale_transposed(kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return kernel * scale[:, None]  # [h, w, output, input]


SCALERS: dict[type, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    layers.Conv2D: _scale_last,
    layers.Dense: _scale_last,
    layers.SeparableConv2D: _scale_last,  # its last kernel is the pointwise one
    layers.DepthwiseConv2D: _scale_depthwise,
    layers.Conv2DTranspose: _scale_transposed,
}


def _refuse_for_kito(model: keras.Model) -> None:
    """kito mixes up the channels of a depth multiplier, and drops outputs that are used further on."""
    nodes = list(_nodes(model))
    used = {id(tensor) for node in nodes for tensor in node.input_tensors}
    if any(id(tensor) in used for tensor in model.outputs):
        raise ValueError("kito loses outputs that the network itself uses further on: use own")
    for node in nodes:
        if not isinstance(node.operation, layers.BatchNormalization):
            continue
        conv = node.input_tensors[0]._keras_history.operation
        if isinstance(conv, layers.DepthwiseConv2D) and conv.depth_multiplier > 1:
            raise ValueError(f"kito folds depth_multiplier > 1 wrongly ({conv.name}): use own")


def _split_operations(model: keras.Model) -> tuple[keras.Model, keras.Model | None]:
    """The layers of a network, and the bare operations behind them (such as a slice) or None.

    kito sees layers only. Raises ValueError when layers follow on an operation.
    """
    bare = [node for node in _nodes(model) if not isinstance(node.operation, layers.Layer)]
    if not bare:
        return model, None
    inputs = {id(tensor): tensor for node in bare for tensor in node.input_tensors}
    seam = [t for t in inputs.values() if isinstance(t._keras_history.operation, layers.Layer)]
    refusal = "kito sees layers only, and this network has other operations in its middle: use own"
    try:
        tail = keras.Model(_single(seam), _single(model.outputs), name="tail")
    except ValueError as error:
        raise ValueError(refusal) from error
    if any(not isinstance(layer, layers.InputLayer) for layer in tail.layers):
        raise ValueError(refusal)
    return keras.Model(_single(model.inputs), seam), tail


def _inputs_of(model: keras.Model, layer: layers.Layer, verbose: bool = False) -> list[int]:
    """For kito: positions in `model.layers` of the layers that feed this one."""
    position = {id(other): index for index, other in enumerate(model.layers)}
    own = [node for node in _nodes(model) if node.operation is layer]
    return [position[id(tensor._keras_history.operation)] for node in own for tensor in node.input_tensors]


def _outputs_of(model: keras.Model, layer: layers.Layer, verbose: bool = False) -> list[int]:
    """For kito: positions of the layers that this one feeds."""
    position = {id(other): index for index, other in enumerate(model.layers)}
    fed = [node for node in _nodes(model) for t in node.input_tensors if t._keras_history.operation is layer]
    return [position[id(node.operation)] for node in fed]


def _copy(layer: layers.Layer, verbose: bool = False) -> layers.Layer:
    """For kito: a fresh layer of the same settings; its own looks for modules that are gone."""
    return type(layer).from_config(layer.get_config())
