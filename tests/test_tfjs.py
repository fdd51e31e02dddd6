"""TensorFlow.js files: written by a converter of another environment, run by Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from models import card as cards
from tests.conftest import ROOT, refused
from utils import formats, segmenter, tfjs

# What the converter made of alpha = sigmoid((R + 2 G - 3 B) / 100) for pictures of 8x12.
SMALL = Path(__file__).parent / "data" / "tfjs"
node = pytest.mark.skipif(not shutil.which("npm"), reason="needs Node.js with npm")


def folder_of(tmp_path: Path) -> Path:
    folder = shutil.copytree(SMALL, tmp_path / "small_tfjs")
    cards.attach(folder, {"name": "small", "output_kind": "alpha"})
    return folder


@pytest.fixture(scope="module")
def installed() -> None:
    """TensorFlow.js as web/tfjs/package-lock.json says."""
    subprocess.run(
        ["make", "web/tfjs/node_modules/.package-lock.json"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=300,
    )


@node
@pytest.mark.gui
def test_a_file_runs_on_the_wasm_backend(installed, tmp_path: Path) -> None:
    opened = segmenter.open(folder_of(tmp_path), threads=1)
    assert opened.runtime == "TensorFlow.js (wasm)"
    assert (opened.size, opened.channels, opened.card["name"]) == ((8, 12), 3, "small")
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 8, 12, 3)).astype(np.float32)
    expected = 1 / (1 + np.exp(-pixels @ np.float32([1, 2, -3]) / 100))
    assert np.abs(opened.infer(pixels)[..., 0] - expected).max() < 1e-5
    process = opened._node
    opened.close()
    assert process.returncode == 0
    with pytest.raises(ValueError, match="closed"):
        opened.infer(pixels)


@node
@pytest.mark.gui
@pytest.mark.parametrize("fault", ["cut", "no json", "weights gone"])
def test_a_damaged_file_is_one_line(installed, command, tmp_path: Path, fault: str) -> None:
    folder = folder_of(tmp_path)
    if fault == "cut":
        (folder / "model.json").write_text((folder / "model.json").read_text()[:900])
    elif fault == "no json":
        (folder / "model.json").write_text("{}")
    else:
        (folder / "group1-shard1of1.bin").unlink()
    photo = ROOT / "data" / "samples" / "astronaut.jpg"
    refused(command("test.py", photo, "--model", folder, "--out", tmp_path / "out"), "not a TensorFlow.js")


def test_what_is_missing_is_said(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tfjs, "CONVERTER", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="tensorflowjs is not installed: make tfjs"):
        formats.choose("tfjs")
    assert "tfjs" not in formats.choose("all")
    monkeypatch.setattr(tfjs, "RUNNER", tmp_path / "run.mjs")
    with pytest.raises(ValueError, match=r"run by Node\.js: make tfjs"):
        segmenter.open(folder_of(tmp_path))


@pytest.mark.parametrize("works", [True, False])
def test_the_converter_is_called_as_it_wants(monkeypatch, tmp_path: Path, works: bool) -> None:
    """A stand-in of the program notes how it is called."""
    program, target = tmp_path / "tensorflowjs_converter", tmp_path / "out_tfjs"
    last = 'mkdir "$6"; echo {} > "$6/model.json"' if works else "echo 'no such op: Frob' >&2; exit 1"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\n{last}\n')
    program.chmod(0o755)
    monkeypatch.setattr(tfjs, "CONVERTER", program)
    if works:
        tfjs.write("saved", target)
    else:
        with pytest.raises(ValueError, match="no such op: Frob"):
            tfjs.write("saved", target)
    words = (tmp_path / "words").read_text().splitlines()
    assert words == [
        "--input_format=tf_saved_model",
        "--output_format=tfjs_graph_model",
        "--signature_name=serving_default",
        "--saved_model_tags=serve",
        "saved",
        str(target),
    ]


@pytest.mark.skipif(not tfjs.ready(), reason="needs make tfjs, which takes minutes")
def test_the_whole_way(command, checkpoint: Path, tmp_path: Path) -> None:
    done = command("export.py", checkpoint, "--formats", "tfjs", "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / f"{checkpoint.stem}_tfjs"
    assert json.loads((folder / "model.json").read_text())["format"] == "graph-model"
    assert segmenter.open(folder, threads=1).card["format"] == "tfjs"
