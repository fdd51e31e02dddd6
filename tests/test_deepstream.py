"""DeepStream's configuration: keys that its documentation lists, and a network that takes the batch."""

from __future__ import annotations

import configparser
from pathlib import Path

import numpy as np
import pytest

import models
from models import card as cards
from tests.test_export import run_here

# Gst-nvinfer, group [property]; deepstream-app, by group: NVIDIA's developer guide, versions 6.0 to 7.1
INFER = [
    "gpu-id",
    "onnx-file",
    "model-engine-file",
    "net-scale-factor",
    "model-color-format",
    "infer-dims",
    "network-input-order",
    "maintain-aspect-ratio",
    "symmetric-padding",
    "batch-size",
    "network-mode",
    "network-type",
    "num-detected-classes",
    "output-blob-names",
    "segmentation-output-order",
    "segmentation-threshold",
    "interval",
    "gie-unique-id",
    "offsets",
    "labelfile-path",
    "process-mode",
]
APP = {
    "application": "enable-perf-measurement perf-measurement-interval-sec gie-kitti-output-dir",
    "tiled-display": "enable rows columns width height gpu-id nvbuf-memory-type",
    "source": "enable type uri num-sources gpu-id camera-width camera-height latency drop-frame-interval cudadec-memtype",
    "streammux": "gpu-id live-source batch-size batched-push-timeout width height enable-padding nvbuf-memory-type",
    "primary-gie": "enable gpu-id batch-size gie-unique-id config-file interval model-engine-file",
    "segvisual": "enable gpu-id batch-size width height nvbuf-memory-type",
    "sink": "enable type sync source-id gpu-id codec bitrate rtsp-port udp-port container output-file iframeinterval",
}


def read(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(path)
    return parser


def test_four_channels_are_refused(tmp_path: Path, monkeypatch, capsys) -> None:
    network = models.create("mobilenetv2_fpn", (32, 32), channels=4, alpha=0.35)
    card = {"architecture": models.describe("mobilenetv2_fpn", (32, 32), channels=4, alpha=0.35)}
    models.save(network, tmp_path / "video.keras", card)
    words = (tmp_path / "video.keras", "--deepstream", 2, "--out", tmp_path / "out")
    assert run_here(monkeypatch, *words) == 2
    assert "DeepStream gives a network three channels" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sources", [2, 3])
def test_keys_batch_and_network_agree(checkpoint: Path, tmp_path: Path, monkeypatch, sources: int) -> None:
    assert run_here(monkeypatch, checkpoint, "--deepstream", sources, "--out", tmp_path) == 0
    infer = read(tmp_path / "config_infer.txt")
    assert infer.sections() == ["property"]
    assert set(infer["property"]) <= set(INFER)
    model = tmp_path / infer["property"]["onnx-file"]
    assert cards.read(model)["output_kind"] == "softmax"
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    channels, height, width = map(int, infer["property"]["infer-dims"].split(";"))
    assert session.get_inputs()[0].shape == [sources, height, width, channels]
    assert session.get_outputs()[0].shape == [
        sources,
        height,
        width,
        int(infer["property"]["num-detected-classes"]),
    ]
    found = session.run(
        None, {session.get_inputs()[0].name: np.zeros((sources, height, width, 3), np.float32)}
    )[0]
    assert found.sum(-1) == pytest.approx(1, abs=1e-5)
    app = read(tmp_path / "deepstream_app.txt")
    assert len([name for name in app.sections() if name.startswith("source")]) == sources
    for name in app.sections():
        assert set(app[name]) <= set(APP[name.rstrip("0123456789")].split()), name
    assert app["primary-gie"]["config-file"] == "config_infer.txt"
    tiles = int(app["tiled-display"]["rows"]) * int(app["tiled-display"]["columns"])
    assert sources <= tiles < sources + 2
    assert {app[name]["batch-size"] for name in ("streammux", "primary-gie")} == {str(sources)}


def test_another_network_in_the_file_is_refused(
    checkpoint: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    from utils import deepstream

    monkeypatch.setattr(deepstream, "TOLERANCE", -1.0)
    assert run_here(monkeypatch, checkpoint, "--deepstream", 2, "--out", tmp_path) == 2
    assert "differs from the network" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
