"""benchmark.py: networks side by side, on several runtimes, by operator, and the toy networks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import memory, portraits
from tests.conftest import ROOT, Command, refused
from utils import bitpack, cli, segmenter
from utils.benchmarks import contenders, fresh, gpucom, networks, operators, turns
from utils.images import read_image
from utils.profile import Share

FLOAT, INT8 = "checkpoints/live_float32.tflite", "checkpoints/live_int8.tflite"
FEW = turns.Settings(runs=6, warm_up=2, seconds=60, frame=(90, 160))


def test_what_starting_and_running_costs(command: Command, tmp_path: Path) -> None:
    """Without a peer ratios are to the first network; compare_models takes them for no peer's."""
    file = tmp_path / "times.json"
    words = ("--threads", "1", "--runs", 12, "--warm-up", 2, "--size", "320x180", "--json", file)
    result = command("benchmark.py", INT8, FLOAT, *words)
    assert result.returncode == 0, result.stderr
    rows = json.loads(file.read_text())
    assert [row["shapes"] for row in rows] == [5, 1]
    for row in rows:
        assert row["multiply_adds"] == rows[0]["multiply_adds"] > 1e8
        assert row["peak_mb"] > row["added_mb"] > 5
        assert min(row["load_ms"], row["open_ms"], row["first_ms"], row["frame_p50_ms_1"]) > 0
        assert row["frames_per_second_1"] == pytest.approx(1000 / row["p50_ms_1"])
        assert row["ratio_1"] == pytest.approx(row["p50_ms_1"] / rows[0]["p50_ms_1"])
        assert (row["batch"], row["frame"], row["runtime"]) == (1, "320x180", "LiteRT (XNNPACK)")
    assert f"ratios: to {Path(INT8).name}" in result.stdout
    result = command("-m", "utils.compare_models", file, "--out", tmp_path / "n")
    assert "1 thread, ms" in result.stdout
    assert "times the peer" not in result.stdout


def test_a_checkpoint_on_several_runtimes(checkpoint: Path, tmp_path: Path) -> None:
    """The same alpha everywhere; only Keras takes many pictures at once."""
    wanted = contenders.runtimes("keras, litert,onnxruntime,openvino,litert")
    assert wanted == ["keras", "litert", "onnx", "openvino"]
    found = contenders.open_all([str(checkpoint)], wanted, tmp_path)
    assert [one.name for one in found] == [f"portrait.keras ({name})" for name in wanted]
    frame = portraits.portrait(3)[0]
    alphas = [segmenter.open(one.path, 1)(frame) for one in found]
    assert alphas[0].std() > 0.01
    for alpha in alphas[1:]:
        np.testing.assert_allclose(alpha, alphas[0], atol=1e-3)
    times = turns.measure([one.path for one in found], 1, FEW)
    assert [its.batch for its in times] == [turns.BATCH, 1, 1, 1]
    assert [bool(its.batched) for its in times] == [True, False, False, False]
    assert all(len(its.network) == len(its.frame) == 6 for its in times)


def test_what_cannot_be_measured_is_refused(command: Command, tmp_path: Path) -> None:
    line = refused(command("benchmark.py", INT8, "--runtimes", "onnx"), "runs on litert, not on onnx")
    assert "give the checkpoint" in line
    refused(command("benchmark.py", "checkpoints/live.keras", "--runtimes", "tensorrt"), "tftrt_convert.py")
    refused(command("benchmark.py", INT8, "--runtimes", "caffe"), "choose from keras, litert")
    refused(command("benchmark.py", INT8, "--peer", "mediapipe"), "pip install --no-deps mediapipe==")
    before = (ROOT / FLOAT).read_bytes()
    for option in ("--json", "--ops"):  # the model behind it is not what is to be written
        result = command("benchmark.py", option, FLOAT)
        assert result.returncode == 2
        assert "does not end in ." in result.stderr
    assert (ROOT / FLOAT).read_bytes() == before
    with pytest.raises(ValueError, match=r"--ops reads \.tflite"):
        operators.report([contenders.Contender("a", Path("a.onnx"))], [1], tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_mediapipe_s_networks_are_found_in_its_package(monkeypatch, tmp_path: Path) -> None:
    """Which is not imported: it would fail."""
    folder = tmp_path / "mediapipe" / contenders.PEERS
    folder.mkdir(parents=True)
    (tmp_path / "mediapipe/__init__.py").write_text("raise RuntimeError('imported')")
    published = (ROOT / FLOAT).read_bytes().split(b"PK\x03\x04")[0]
    for name in ("selfie_segmentation_landscape", "selfie_segmentation"):
        (folder / f"{name}.tflite").write_bytes(published)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "out").mkdir()
    found = contenders.peers("mediapipe", tmp_path / "out")
    names = ["selfie_segmentation (peer)", "selfie_segmentation_landscape (peer)"]
    assert [one.name for one in found] == names
    assert all(one.peer and one.path.parent == tmp_path / "out" for one in found)
    assert contenders.peers(None, tmp_path) == []


def test_a_new_process_has_memory_of_its_own() -> None:
    """What this one holds does not count, what that one let go does."""
    held = bytearray(b"x") * 300_000_000
    little, much = fresh.apart(memory.most_after, 0), fresh.apart(memory.most_after, 200)
    assert fresh.peak_memory() > 300 > 2 * little
    assert much - little == pytest.approx(200, abs=20)
    with pytest.raises(FileNotFoundError, match="no such model file"):
        fresh.apart(fresh.start, Path("none.tflite"), 1)
    del held


def test_options_may_have_points(tmp_path: Path) -> None:
    (made,) = contenders.open_all(["mobilenetv2_fpn:64x64:alpha=0.35"], [], tmp_path)
    assert made.path.exists()


def test_turns_are_even_and_mixed() -> None:
    calls: list[int] = []
    works = [lambda i=i: calls.append(i) for i in range(3)]
    times = turns.in_turns(works, FEW, "")
    assert [len(record) for record in times] == [6, 6, 6]
    assert Counter(calls) == {0: 8, 1: 8, 2: 8}
    rounds = [tuple(calls[i : i + 3]) for i in range(0, 24, 3)]
    assert all(sorted(one) == [0, 1, 2] for one in rounds)
    assert len(set(rounds)) > 1
    short = turns.in_turns(works, FEW._replace(runs=1000, seconds=1e-9), "")
    assert {len(record) for record in short} == {10}
    assert turns.in_turns([], FEW, "") == []


TIMES = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=30)


@given(TIMES, TIMES, TIMES, st.integers(1, 16))
def test_figures_of_times(network: list[float], frame: list[float], batched: list[float], batch: int) -> None:
    its = turns.Times(network, frame, batched if batch > 1 else [], batch)
    found = networks.summary(its, its)
    assert found["ratio"] == found["frame_ratio"] == 1
    assert min(network) <= found["p50_ms"] <= found["p95_ms"] * (1 + 1e-9) <= max(network) * (1 + 1e-6)
    each = float(np.median(batched)) / batch if batch > 1 else found["p50_ms"]
    assert found["frames_per_second"] * each == pytest.approx(1000)
    half = turns.Times([value / 2 for value in network], frame, [], 1)
    assert networks.summary(its, half)["ratio"] == pytest.approx(2)


def test_operators_as_table_and_picture(command: Command, tmp_path: Path) -> None:
    words = ("--ops", tmp_path / "ops.png", "--threads", 1, "--json", tmp_path / "ops.json")
    result = command("benchmark.py", INT8, *words)
    assert result.returncode == 0, result.stderr
    (found,) = json.loads((tmp_path / "ops.json").read_text())
    times = {row["operator"]: row["milliseconds"] for row in found["operators"]}
    assert max(times, key=times.get) in ("CONV_2D", "DEPTHWISE_CONV_2D")
    assert sum(times.values()) < 20 * found["whole_ms"]
    assert "cut out of the network and timed alone" in result.stdout
    assert read_image(tmp_path / "ops.png").std() > 5


@given(st.lists(st.tuples(st.integers(1, 99), st.floats(0, 100)), min_size=1, max_size=40))
def test_bars_hold_all_operators(values: list[tuple[int, float]]) -> None:
    shares = [Share(str(i), *value) for i, value in enumerate(values)]
    bars = operators.gathered(shares)
    assert len(bars) <= operators.SHOWN
    assert sum(bar.count for bar in bars) == sum(share.count for share in shares)
    assert sum(bar.milliseconds for bar in bars) == pytest.approx(sum(s.milliseconds for s in shares))


def test_seven_toys(command: Command, tmp_path: Path) -> None:
    """Their parameters are those of the study, and each brings the mask back."""
    words = ("--threads", 1, "--runs", 6, "--warm-up", 2, "--json", tmp_path / "toys.json")
    result = command("benchmark.py", "gpucom", *words)
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "toys.json").read_text())
    assert [row["parameters"] for row in rows] == [10, 27, 148, 54, 45, 45, 28]
    assert [row["bytes_out"] for row in rows] == [4 * 256 * n for n in (256, 16, 1024, 16, 16, 16, 1024)]
    assert [row["unpack_ms_1"] > 0 for row in rows] == [False, True, False, True, True, True, False]
    assert all(row["p50_ms_1"] > 0 for row in rows)
    assert "measured on the CPU" in result.stdout
    for pair in gpucom.PAIRS:
        assert f"{pair.other} to {pair.one} " in result.stdout


def test_a_toy_that_packs_wrongly_is_found(monkeypatch, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    monkeypatch.setattr(gpucom, "TOYS", {2: gpucom.TOYS[2]})
    (right,) = gpucom.write_all(tmp_path)
    assert gpucom.measure([right["file"]], 1, FEW)[0]["unpack_ms"] > 0
    monkeypatch.setattr(bitpack, "WEIGHTS", bitpack.WEIGHTS[::-1].copy())
    (wrong,) = gpucom.write_all(tmp_path)
    with pytest.raises(ValueError, match=r"toy_2\.tflite: the mask that came out"):
        gpucom.measure([wrong["file"]], 1, FEW)


def test_words_of_the_command_line() -> None:
    assert cli.several(cli.positive)("1, 2,1") == [1, 2]
    assert cli.frame("1280x720") == (720, 1280)
    with pytest.raises(cli.argparse.ArgumentTypeError, match="WxH"):
        cli.frame("wide")
    with pytest.raises(cli.argparse.ArgumentTypeError):
        cli.several(cli.positive)("1,,2")
