"""Data-parallel training over several GPUs and hosts, by Keras' own distribution API on JAX, tf.distribute on TensorFlow.

    KERAS_BACKEND=jax KERAS_DISTRIBUTION_JOB_ADDRESSES=10.0.0.1:1234 KERAS_DISTRIBUTION_NUM_PROCESSES=2 \\
        KERAS_DISTRIBUTION_PROCESS_ID=0 python train.py DATASET --distribute --out RUN

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:1234", "10.0.0.2:1234"]}, "task": {"type": "worker", "index": 0}}' \\
        python train.py DATASET --distribute --out RUN

start process 0 of two; the other has PROCESS_ID=1, or index 1. Without these variables one process takes all GPUs of
its machine. Every process computes `--batch` photos of each step; weights are the same everywhere, and batch norms look
at the whole common batch. Process 0 alone writes the run folder; `--resume` needs it to be readable by all.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras

VARIABLES = (
    "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    "KERAS_DISTRIBUTION_NUM_PROCESSES",
    "KERAS_DISTRIBUTION_PROCESS_ID",
)

strategy: Any = None  # of TensorFlow, once training is distributed


def start(args: argparse.Namespace) -> tuple[int, int]:
    """Join the cluster; returns this process's number and how many there are, (0, 1) without --distribute.

    Must come before the first computation. Raises ValueError.
    """
    if not args.distribute:
        return 0, 1
    check(args)
    if keras.backend.backend() == "tensorflow":
        return _start_tensorflow(args)
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


def _start_tensorflow(args: argparse.Namespace) -> tuple[int, int]:
    global strategy
    from utils import mirrored

    strategy = mirrored.strategy()
    devices = len(strategy.extended.worker_devices)
    if args.batch % devices:
        raise ValueError(f"--batch {args.batch} cannot be shared by {devices} devices: make it a multiple")
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.cluster_spec().as_dict():
        return 0, 1
    return resolver.task_id, strategy.num_replicas_in_sync // devices


def scope() -> AbstractContextManager[Any]:
    """Within it networks and optimizers are built for all devices; without --distribute nothing changes."""
    return strategy.scope() if strategy else nullcontext()


def check(args: argparse.Namespace) -> None:
    """Raises ValueError for settings that need what only one process knows, or another backend."""
    if keras.backend.backend() not in ("jax", "tensorflow"):
        raise ValueError("--distribute runs on TensorFlow and JAX: set KERAS_BACKEND=jax")
    for name in ("minutes", "consistency", "teacher", "hold", "hard", "qat"):
        if getattr(args, name):
            raise ValueError(f"--{name} does not go with --distribute: leave one of them out")
    if keras.backend.backend() == "tensorflow" and args.accumulate > 1:  # branches in a replica
        raise ValueError("--accumulate does not go with --distribute on TensorFlow: set KERAS_BACKEND=jax")
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
