"""Two processes on loopback learn what one process with the doubled batch learns."""

from __future__ import annotations

import csv
import io
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, refused

pytest.importorskip("jax")

TOLERANCE = 1e-4  # relative, of the loss: sums in another order
SETTINGS = ("--model", "tiny", "--epochs", "3", "--seed", "4", "--workers", "1", "--rate", "0.01")

# train.py with a network of three layers, batch norm among them, that JAX compiles in a moment
PROGRAM = """
import sys, types, keras, models, train
from models import blocks
from utils import cli

def build(size, channels=3):
    inputs, x = blocks.pixels(size, channels)
    x = keras.layers.Conv2D(4, 3, 2, padding="same", name="enc")(x)
    x = keras.layers.ReLU()(blocks.batch_norm(x, "enc_bn"))
    x = keras.layers.Conv2DTranspose(1, 4, 2, padding="same", name="logits")(x)
    return keras.Model(inputs, blocks.alpha(x))

module = types.ModuleType("models.tiny")
module.build, module.ENCODER = build, ("enc",)
sys.modules["models.tiny"] = module
models.REGISTRY["tiny"] = models.Entry((32, 32), 8)
cli.run(train.main)
"""


def start(*words: object, **cluster: str) -> subprocess.Popen:
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT), **cluster}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)


def finish(*processes: subprocess.Popen) -> list[str]:
    """What each printed; all must end well."""
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return [text for text, _ in outputs]


def cluster(count: int) -> list[dict[str, str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    common = {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
        "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
    }
    return [{**common, "KERAS_DISTRIBUTION_PROCESS_ID": str(number)} for number in range(count)]


def rows(run: Path) -> list[dict[str, float]]:
    with open(run / "log.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def weights(run: Path) -> np.ndarray:
    """All numbers of last.keras: weights, statistics, averages and the optimizer's."""
    with (
        zipfile.ZipFile(run / "last.keras") as archive,
        np.load(io.BytesIO(archive.read("state.npz"))) as state,
    ):
        names = [name for name in state if name.startswith(("ema_", "optimizer_"))]
        return np.concatenate([state[name].ravel().astype(np.float64) for name in names])


def test_two_processes_equal_one_with_twice_the_batch(people: Path, tmp_path: Path) -> None:
    """Losses, averaged weights, batch norms' statistics and moments, with augmentation; frozen at first."""
    common = (people, *SETTINGS, "--freeze", 1)
    finish(start(*common, "--batch", 6, "--out", tmp_path / "one"))
    words = (*common, "--batch", 3, "--distribute", "--out", tmp_path / "two")
    outputs = finish(*(start(*words, **place) for place in cluster(2)))
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert len(one) == len(two) == 3
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=TOLERANCE)
        assert b["iou"] == pytest.approx(a["iou"], abs=0.002)
    assert np.allclose(weights(tmp_path / "one"), weights(tmp_path / "two"), atol=1e-3)
    assert "epoch 3" in outputs[0]
    assert "epoch 3" not in outputs[1]  # one of them writes
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        path.name for path in (tmp_path / "two").iterdir()
    }


def test_what_cannot_be_distributed_is_refused(command, people: Path, tmp_path: Path) -> None:
    words = ("train.py", people, "--distribute", "--out", tmp_path / "run")
    refused(command(*words, KERAS_BACKEND="tensorflow"), "KERAS_BACKEND=jax")
    refused(command(*words, "--minutes", 1, KERAS_BACKEND="jax"), "--minutes")
    partly = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": "127.0.0.1:1", "KERAS_BACKEND": "jax"}
    refused(command(*words, **partly), "KERAS_DISTRIBUTION_NUM_PROCESSES")
