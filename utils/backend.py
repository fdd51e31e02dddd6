"""The Keras backends we run under, and what each needs to be told."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras


BACKENDS = ("tensorflow", "jax", "torch")
# Keras and TensorFlow import these wherever they are installed, for what we never ask of them.
UNUSED = ("IPython", "jax", "matplotlib", "pandas", "sklearn", "tensorflow")


def choose() -> str:
    """Import Keras under $KERAS_BACKEND (torch too), else TensorFlow, else JAX; returns the backend's name.

    Raises ValueError when neither is installed.
    """
    wanted = os.environ.get("KERAS_BACKEND")
    for name in {wanted} & {*BACKENDS} if wanted else BACKENDS[:2]:
        if importlib.util.find_spec(name):
            os.environ["KERAS_BACKEND"] = name
            with quiet(), hidden({*UNUSED} - {name}):
                importlib.import_module("keras")
            return name
    if wanted and wanted not in BACKENDS:
        raise ValueError(f"KERAS_BACKEND={wanted}: choose one of {', '.join(BACKENDS)}")
    remedy = "-r requirements.txt" if wanted in (None, "tensorflow") else wanted
    raise ValueError(f"{wanted or 'neither tensorflow nor jax'} is not installed: pip install {remedy}")


def compile_flags() -> dict[str, bool]:
    """XLA makes TensorFlow several times slower on a CPU, and JAX needs it."""
    import keras

    return {"jit_compile": keras.backend.backend() == "jax"}


def set_precision(precision: str) -> None:
    """Let networks built from now on compute in bfloat16, with float32 weights, if `precision` is "mixed".

    "auto" is float32, but for training on PyTorch, whose networks get their precision from `fast`.
    """
    import keras

    mixed = precision == "mixed" and keras.backend.backend() != "torch"
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed else "float32")


def fast(network: keras.Model, precision: str = "float32") -> keras.Model:
    """The network in the form its backend runs fastest, with the same weights.

    `precision` concerns PyTorch: "mixed" has bfloat16 inside, "auto" only where the processor gains by it.
    """
    import keras

    if keras.backend.backend() != "torch":
        return network
    from utils.torch_graph import TorchGraph, has_fast_bfloat16

    graph = TorchGraph(network.inputs, network.outputs)
    graph.half = precision == "mixed" or (precision == "auto" and has_fast_bfloat16())
    return graph


def on_host(function: Callable[..., np.ndarray], arrays: list[Any], dtype: str) -> Any:
    """`function` of NumPy arrays within a network's step, without gradient: [N, H, W, len(arrays)] out.

    TensorFlow and JAX call back from their compiled step; PyTorch runs it as it is.
    """
    import keras

    shape = (*arrays[0].shape[:3], len(arrays))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        result = tf.numpy_function(function, arrays, dtype, stateful=False)
        result.set_shape(shape)
        return result
    if keras.backend.backend() == "jax":
        import jax

        def call(*values: Any) -> np.ndarray:
            return function(*map(np.asarray, values))

        return jax.pure_callback(
            call, jax.ShapeDtypeStruct(shape, dtype), *map(jax.lax.stop_gradient, arrays)
        )
    values = [keras.ops.convert_to_numpy(keras.ops.stop_gradient(array)) for array in arrays]
    return keras.ops.convert_to_tensor(function(*values), dtype=dtype)


def limit_threads(threads: int) -> None:
    """Let TensorFlow use so many threads; must run before its first operation."""
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        return
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # already started in this process: the first choice stands
        tf.config.threading.set_intra_op_parallelism_threads(threads)


@contextlib.contextmanager
def hidden(names: set[str]) -> Iterator[None]:
    """Let `import NAME` fail for a while, where it was not imported before: this saves a third to half of Keras' start."""
    names = {name for name in names if name not in sys.modules}
    sys.modules.update(dict.fromkeys(names))  # None is how Python is told that a module is not there
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what TensorFlow's C++ prints past Python; Python's own errors still rise."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
        for number in (*kept, nowhere):
            os.close(number)


def keep_memory() -> None:
    """Let freed pictures be used again instead of being handed back to the system and cleared for each frame.

    With glibc this halves the time of a live loop's arithmetic on large frames; elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        trim_threshold, map_threshold = -1, -3  # malloc.h
        set_option(trim_threshold, 512 << 20)
        set_option(map_threshold, 64 << 20)
