"""The two Keras backends we run under, and what each needs to be told."""

from __future__ import annotations

import contextlib
import importlib.util
import os


def choose() -> str:
    """Pick the backend before Keras is imported: $KERAS_BACKEND, else TensorFlow, else JAX.

    Raises ValueError when neither is installed.
    """
    wanted = os.environ.get("KERAS_BACKEND")
    for name in [wanted] if wanted else ["tensorflow", "jax"]:
        if importlib.util.find_spec(name):
            os.environ["KERAS_BACKEND"] = name
            return name
    raise ValueError(
        f"{wanted or 'neither tensorflow nor jax'} is not installed: pip install -r requirements.txt"
    )


def compile_flags() -> dict[str, bool]:
    """XLA makes TensorFlow several times slower on a CPU, and JAX needs it."""
    import keras

    return {"jit_compile": keras.backend.backend() != "tensorflow"}


def limit_threads(threads: int) -> None:
    """Let TensorFlow use so many threads; must run before its first operation."""
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        return
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # already started in this process: the first choice stands
        tf.config.threading.set_intra_op_parallelism_threads(threads)
