"""Two processes on loopback, or two devices of one, learn what one process with the whole batch learns."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, refused

TOLERANCE = 1e-4  # relative, of the loss: sums in another order
SETTINGS = ("--model", "tiny", "--epochs", "3", "--seed", "4", "--workers", "1", "--rate", "0.01")


def start(*words: object, **settings: str) -> subprocess.Popen:
    environment = {**os.environ, **settings}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "tests.tiny", "train.py", *map(str, words)]
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


def addresses(count: int) -> list[str]:
    """On loopback, not in use."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return found


def cluster(backend: str, count: int) -> list[dict[str, str]]:
    """What each process of a cluster finds in its environment."""
    places = addresses(count)
    if backend == "tensorflow":
        tasks = [{"type": "worker", "index": number} for number in range(count)]
        return [{"TF_CONFIG": json.dumps({"cluster": {"worker": places}, "task": task})} for task in tasks]
    common = {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": places[0],
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


def equal(one: Path, two: Path) -> None:
    """Losses, scores, averaged weights, batch norms' statistics and moments, and the files of two runs."""
    assert len(rows(one)) == len(rows(two)) == 3
    for a, b in zip(rows(one), rows(two), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=TOLERANCE)
        assert b["iou"] == pytest.approx(a["iou"], abs=0.002)
    assert np.allclose(weights(one), weights(two), atol=1e-3)
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_two_processes_equal_one_with_twice_the_batch(people: Path, tmp_path: Path, backend: str) -> None:
    """With augmentation; frozen at first. On TensorFlow two devices of one process do as well."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}")
    common, on = (people, *SETTINGS, "--freeze", 1), {"KERAS_BACKEND": backend}
    finish(start(*common, "--batch", 6, "--out", tmp_path / "one", **on))
    words = (*common, "--batch", 3, "--distribute", "--out", tmp_path / "two")
    outputs = finish(*(start(*words, **on, **place) for place in cluster(backend, 2)))
    equal(tmp_path / "one", tmp_path / "two")
    assert "epoch 3" in outputs[0]
    assert "epoch 3" not in outputs[1]  # one of them writes
    if backend == "tensorflow":
        words = (*common, "--batch", 6, "--distribute", "--out", tmp_path / "devices")
        finish(start(*words, **on, LOGICAL_DEVICES="2"))
        equal(tmp_path / "one", tmp_path / "devices")
        assert "going on after epoch 3" in finish(start("--resume", tmp_path / "devices", **on))[0]


def test_what_cannot_be_distributed_is_refused(command, people: Path, tmp_path: Path) -> None:
    words = ("train.py", people, "--distribute", "--out", tmp_path / "run")
    refused(command(*words, KERAS_BACKEND="torch"), "TensorFlow and JAX")
    refused(command(*words, KERAS_BACKEND="tensorflow", TF_CONFIG="{}"), "TF_CONFIG")
    refused(command(*words, "--accumulate", 2, KERAS_BACKEND="tensorflow"), "--accumulate")
    refused(command(*words, "--minutes", 1, KERAS_BACKEND="jax"), "--minutes")
    partly = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": "127.0.0.1:1", "KERAS_BACKEND": "jax"}
    refused(command(*words, **partly), "KERAS_DISTRIBUTION_NUM_PROCESSES")
