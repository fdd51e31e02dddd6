"""Data-parallel training over several GPUs and hosts, through Keras' own distribution API on JAX.

    KERAS_BACKEND=jax KERAS_DISTRIBUTION_JOB_ADDRESSES=10.0.0.1:1234 KERAS_DISTRIBUTION_NUM_PROCESSES=2 \\
        KERAS_DISTRIBUTION_PROCESS_ID=0 python train.py DATASET --distribute --out RUN

starts process 0 of two; the other has PROCESS_ID=1. Without these variables one process takes all GPUs of its
machine. Every process computes `--batch` photos of each step; weights are the same everywhere, and batch norms look at
the whole common batch. Process 0 alone writes the run folder; `--resume` needs it to be readable by all.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

import keras

VARIABLES = (
    "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    "KERAS_DISTRIBUTION_NUM_PROCESSES",
    "KERAS_DISTRIBUTION_PROCESS_ID",
)


def start(args: argparse.Namespace) -> tuple[int, int]:
    """Join the cluster; returns this process's number and how many there are, (0, 1) without --distribute.

    Must come before the first computation. Raises ValueError.
    """
    if not args.distribute:
        return 0, 1
    check(args)
    if any(name in os.environ for name in VARIABLES):
        missing = [name for name in VARIABLES if name not in os.environ]
        if missing:
            raise ValueError(f"--distribute: {missing[0]} is not set: see utils/distribution.py")
        keras.distribution.initialize()
    import jax

    devices = jax.local_device_count()
    if args.batch % devices:
        raise ValueError(f"--batch {args.batch} cannot be shared by {devices} devices: make it a multiple")
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return jax.process_index(), jax.process_count()


def check(args: argparse.Namespace) -> None:
    """Raises ValueError for settings that need what only one process knows, or another backend."""
    if keras.backend.backend() != "jax":
        raise ValueError("--distribute runs on JAX: set KERAS_BACKEND=jax")
    for name in ("minutes", "consistency", "teacher", "hold", "hard", "qat"):
        if getattr(args, name):
            raise ValueError(f"--{name} does not go with --distribute: leave one of them out")
    if "scl" in args.loss:
        raise ValueError("--loss scl does not go with --distribute: leave one of them out")


@contextmanager
def alone() -> Iterator[None]:
    """Within it, networks are built and run in this process only."""
    shared = keras.distribution.distribution()
    if shared is None:
        yield
        return
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(shared)
