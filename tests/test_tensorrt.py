"""The TensorRT scripts up to where a GPU begins, and past it with the package replaced."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from models import card as cards
from tests import portraits
from tests.conftest import refused
from tests.test_export import run_here
from utils import segmenter, tensorrt

HEADLESS = {"DISPLAY": "", "WAYLAND_DISPLAY": ""}


@pytest.fixture(scope="module")
def converted(checkpoint: Path, command):
    return command("tftrt_convert.py", checkpoint, "--out", checkpoint.parent / "out", "--photos", 2)


def test_without_tensorrt_the_onnx_file_stays_and_one_line_says_so(
    checkpoint: Path, converted, command
) -> None:
    refused(converted, "TensorRT is not installed", "portrait.onnx is written and equal")
    assert "portrait.onnx: ONNX Runtime (CPU) on cpu" in converted.stdout
    assert [path.name for path in (checkpoint.parent / "out").iterdir()] == ["portrait.onnx"]
    frame = portraits.portrait(9)[0]
    source = segmenter.open(checkpoint, 1)(frame)
    onnx = checkpoint.parent / "out" / "portrait.onnx"
    assert np.abs(segmenter.open(onnx, 1)(frame) - source).max() < 1e-3
    film = ("--source", "data/samples/astronaut.jpg", "--no-window", "--frames", 1)
    refused(command("tftrt_infer.py", onnx, *film, **HEADLESS), "tensorrt was asked for")
    slow = command("tftrt_infer.py", onnx, "blur", *film, "--device", "cpu", **HEADLESS)
    assert slow.returncode == 0, slow.stderr
    assert "frame 0: " in slow.stdout


def test_what_export_wrote_is_taken(checkpoint: Path, tmp_path: Path, monkeypatch, command) -> None:
    assert run_here(monkeypatch, checkpoint, "--formats", "onnx", "--photos", 2, "--out", tmp_path) == 0
    again = command("tftrt_convert.py", checkpoint, "--out", tmp_path, "--photos", 2, "--dry-run")
    assert again.returncode == 0, again.stderr
    assert "portrait.onnx: is there already" in again.stdout


class FakeBuilder:
    """TensorRT's builder, as far as `build` uses it."""

    def __init__(self, log: list) -> None:
        self.log = log

    def create_network(self, flags: int) -> str:
        self.log.append(("flags", flags))
        return "network"

    def create_builder_config(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(
            set_memory_pool_limit=lambda pool, size: self.log.append((pool, size)),
            set_flag=lambda flag: self.log.append(("set", flag)),
        )

    def build_serialized_network(self, network: str, settings: object) -> bytes | None:
        return b"plan" if ("parsed", b"onnx") in self.log else None


def fake(log: list, version: int) -> types.SimpleNamespace:
    logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})

    class Parser:
        def __init__(self, network: str, logger: object) -> None:
            assert network == "network"

        def parse(self, data: bytes) -> bool:
            log.append(("parsed", data))
            return data == b"onnx"

        def get_error(self, number: int) -> str:
            return "no such operator"

    flags = types.SimpleNamespace(EXPLICIT_BATCH=0) if version < 10 else types.SimpleNamespace()
    return types.SimpleNamespace(
        Logger=logger,
        Builder=lambda logger: FakeBuilder(log),
        OnnxParser=Parser,
        NetworkDefinitionCreationFlag=flags,
        MemoryPoolType=types.SimpleNamespace(WORKSPACE="workspace"),
        BuilderFlag=types.SimpleNamespace(FP16="fp16"),
    )


@pytest.mark.parametrize("version", [8, 10])
def test_an_engine_is_built_by_both_generations(tmp_path: Path, monkeypatch, version: int) -> None:
    log: list = []
    monkeypatch.setitem(sys.modules, "tensorrt", fake(log, version))
    (tmp_path / "a.onnx").write_bytes(b"onnx")
    assert tensorrt.build(tmp_path / "a.onnx", "fp16") == b"plan"
    assert ("flags", 1 if version < 10 else 0) in log
    assert ("set", "fp16") in log
    (tmp_path / "b.onnx").write_bytes(b"other")
    with pytest.raises(ValueError, match="no such operator"):
        tensorrt.build(tmp_path / "b.onnx", "fp32")


def test_the_card_does_not_reach_tensorrt(tmp_path: Path) -> None:
    path = tmp_path / "a.engine"
    path.write_bytes(b"PK\x03\x04 an engine may hold anything" * 50)
    plan = path.read_bytes()
    cards.attach(path, {"name": "a"})
    assert cards.read(path) == {"name": "a"}
    assert tensorrt.plan_of(path) == plan


def test_an_engine_without_a_gpu_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.engine"
    path.write_bytes(b"engine")
    cards.attach(path, {"name": "a"})
    with pytest.raises(ValueError, match="TensorRT is not installed"):
        segmenter.open(path, 1)


def test_a_dry_run_needs_no_gpu(checkpoint: Path, command) -> None:
    words = ("tftrt_convert.py", checkpoint, "--out", checkpoint.parent / "dry", "--photos", 2)
    assert command(*words, "--dry-run").returncode == 0
    refused(command(*words, "--engine", "tftrt"), "2.17 was the last")
    refused(command(*words, "--dry-run", "--size", "64x96"), "--force")  # what is there has another size


def test_pictures_reach_the_calibrator_one_by_one(monkeypatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    trt = types.SimpleNamespace(IInt8EntropyCalibrator2=object)
    pictures = [np.full((1, 2, 2, 3), n, np.float32) for n in range(2)]
    calibrator = tensorrt._calibrator(trt, lambda: iter(pictures))
    assert calibrator.get_batch_size() == 1
    assert [calibrator.get_batch(["pixels"]) is not None for _ in range(3)] == [True, True, False]


def test_this_tensorflow_says_whether_it_has_tf_trt() -> None:
    assert tensorrt.has_tf_trt() is False
