"""Two processes on loopback learn what one process with the doubled batch learns."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, refused

pytest.importorskip("jax")
models = pytest.importorskip("models")

NETWORK = ("--option", "alpha=0.35", "--size", "32", "--epochs", "2", "--seed", "4", "--workers", "1")
TOLERANCE = 2e-3  # relative, of the loss: sums in another order, over two epochs


def rows(run: Path) -> list[dict[str, float]]:
    with open(run / "log.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_two_processes_equal_one_with_twice_the_batch(command, people: Path, tmp_path: Path) -> None:
    words = ("train.py", people, *NETWORK, "--batch", 6, "--out", tmp_path / "one")
    single = command(*words, KERAS_BACKEND="jax")
    assert single.returncode == 0, single.stderr
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = [sys.executable, "train.py", people, *NETWORK, "--batch", "3", "--distribute"]
    words = [str(word) for word in (*words, "--out", tmp_path / "two")]
    processes = []
    for number in range(2):
        cluster = {
            "KERAS_BACKEND": "jax",
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
            "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
            "KERAS_DISTRIBUTION_PROCESS_ID": str(number),
        }
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(words, cwd=ROOT, env={**os.environ, **cluster}, **pipes))
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], [text[-1500:] for _, text in outputs]
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert len(one) == len(two) == 2
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=TOLERANCE)
        assert b["iou"] == pytest.approx(a["iou"], abs=0.01)
    ours, theirs = (models.load(tmp_path / name / "last.keras").get_weights() for name in ("one", "two"))
    assert np.concatenate([(a - b).ravel() for a, b in zip(ours, theirs)]).std() < 5e-3
    assert "epoch 2" in outputs[0][0]
    assert "epoch 2" not in outputs[1][0]  # one of them writes


def test_what_cannot_be_distributed_is_refused(command, people: Path, tmp_path: Path) -> None:
    words = ("train.py", people, *NETWORK, "--distribute", "--out", tmp_path / "run")
    refused(command(*words, KERAS_BACKEND="tensorflow"), "KERAS_BACKEND=jax")
    refused(command(*words, "--minutes", 1, KERAS_BACKEND="jax"), "--minutes")
    partly = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": "127.0.0.1:1", "KERAS_BACKEND": "jax"}
    refused(command(*words, **partly), "KERAS_DISTRIBUTION_NUM_PROCESSES")
