"""Networks beside each other: a table and a picture of what benchmark.py measured, as users make them."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import refused
from utils import cli, compare_models, comparison_chart
from utils.images import read_image

keras = pytest.importorskip("keras")
import models  # noqa: E402


def row(name: str, ratio: float, iou: float | None = None, peer: bool = False, **more: object) -> dict:
    known = {"name": name, "size": "64x64", "parameters": 1000, "peer": peer, "iou": iou, "boundary_iou": iou}
    return {**known, "p50_ms_1": 3 * ratio, "ratio_1": ratio, "architecture": None, **more}


def write(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def run(monkeypatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["compare_models", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.run(compare_models.main)
    return stop.value.code


def test_benchmark_to_table_and_picture(command, tmp_path: Path) -> None:
    """Names with sizes and options are timed, a checkpoint and an evaluation bring the quality."""
    name = "pp_humanseg_v1_lite:32x64"
    words = ("--runs", 6, "--warm-up", 2, "--threads", 1, "--json", tmp_path / "times.json")
    result = command("benchmark.py", name, "sinet:32x32", "checkpoints/live_float32.tflite", *words)
    assert result.returncode == 0, result.stderr
    timed = json.loads((tmp_path / "times.json").read_text())
    assert [found["size"] for found in timed[:2]] == ["32x64", "32x32"]
    architecture = models.describe("pp_humanseg_v1_lite", (32, 64))
    card = {"architecture": architecture, "metrics": {"iou": 0.75, "boundary_iou": 0.5}}
    models.save(models.create("pp_humanseg_v1_lite", (32, 64)), tmp_path / "best.keras", card)
    evaluated = write(tmp_path / "e.json", {"model": "live_float32.tflite", "iou": 0.9, "boundary_iou": 0.6})
    words = ("-m", "utils.compare_models", tmp_path / "times.json", "--out", tmp_path / "out" / "networks")
    result = command(*words, "--quality", tmp_path / "best.keras", evaluated)
    assert result.returncode == 0, result.stderr
    table = (tmp_path / "out" / "networks.md").read_text().splitlines()
    cells = {line.split("|")[1].strip(" `"): [cell.strip() for cell in line.split("|")] for line in table}
    heads = ["parameters", "multiply-adds", "1 thread, ms", "IoU", "Boundary IoU", ""]
    assert cells["network"][3:] == heads
    assert cells[name][3:5] == ["137,466", "5.76 M"]
    assert cells[name][6:8] == ["0.750", "0.500"]
    assert cells["live_float32.tflite"][6:8] == ["0.900", "0.600"]
    assert cells["sinet:32x32"][6:8] == ["", ""]
    assert "not in the picture: sinet:32x32" in result.stdout
    assert read_image(tmp_path / "out" / "networks.png").std() > 5


def test_ratios_of_several_runs_stand_side_by_side(monkeypatch, tmp_path: Path, capsys) -> None:
    first = write(tmp_path / "a.json", [row("a", 2.0, 0.9), row("peer (peer)", 1.0, peer=True)])
    second = write(tmp_path / "b.json", [row("b", 0.5, 0.8), row("peer (peer)", 1.0, peer=True)])
    quality = write(tmp_path / "peer_eval.json", {"model": "peer.tflite", "iou": 0.7, "boundary_iou": 0.4})
    assert run(monkeypatch, first, second, "--quality", quality, "--out", tmp_path / "n") == 0
    rows = json.loads((tmp_path / "n.json").read_text())
    assert [(found["name"], found["iou"]) for found in rows] == [("a", 0.9), ("b", 0.8), ("peer (peer)", 0.7)]
    assert "| `b` | 64x64 | 1,000 |  | 0.50 | 0.800 | 0.800 |" in capsys.readouterr().out
    assert run(monkeypatch, write(tmp_path / "c.json", [row("c", 1.0)]), "--out", tmp_path / "none") == 0
    assert not (tmp_path / "none.png").exists()


def test_multiply_adds_are_those_of_the_size_that_was_timed() -> None:
    architecture = models.describe("pp_humanseg_v1_lite", (192, 192))
    found = compare_models.count({"architecture": architecture, "size": "224x398"})
    assert compare_models.short(found) == "251 M"
    assert compare_models.short(15_540_000_000) == "15.5 G"
    assert compare_models.count({"architecture": None}) is None


@pytest.mark.parametrize("text", ["hello", "[]", "{}", "[1]", '[{"name": "a"}]'])
def test_other_files_are_refused(monkeypatch, tmp_path: Path, capsys, text: str) -> None:
    (tmp_path / "times.json").write_text(text)
    assert run(monkeypatch, tmp_path / "times.json") == 2
    assert re.search(r"times\.json: not what benchmark\.py --json", capsys.readouterr().err)


def test_quality_without_a_row_is_refused(command, monkeypatch, tmp_path: Path, capsys) -> None:
    times = write(tmp_path / "times.json", [row("a", 2.0)])
    quality = write(tmp_path / "b.json", {"model": "b.tflite", "iou": 0.7, "boundary_iou": 0.4})
    assert run(monkeypatch, times, "--quality", quality, "--out", tmp_path / "n") == 2
    assert "no row of b in the times" in capsys.readouterr().err
    assert run(monkeypatch, times, "--quality", times, "--out", tmp_path / "n") == 2
    assert "not what eval.py writes" in capsys.readouterr().err
    assert not list(tmp_path.glob("n.*"))
    refused(command("benchmark.py", "sinet:wide=1"), "has no option wide")
    refused(command("benchmark.py", "sinet:33x32"), "multiples of 32")


def test_names_do_not_cover_each_other() -> None:
    """Eighteen networks in a crowd: no name over another, over a dot or out of the picture."""
    from matplotlib.figure import Figure

    rng = np.random.default_rng(0)
    dots = [
        (float(2 ** rng.normal(0, 1)), float(rng.normal(0.9, 0.02)), f"network number {i}", i % 5 == 0)
        for i in range(18)
    ]
    figure = Figure(figsize=(6.4, 5.6), layout="constrained", dpi=110)
    axes = figure.subplots()
    comparison_chart.draw_panel(axes, dots)
    figure.draw_without_rendering()
    boxes = comparison_chart.place_names(axes, dots)
    assert len(boxes) == 18
    points = axes.transData.transform([dot[:2] for dot in dots])
    for index, box in enumerate(boxes):
        assert all(comparison_chart.shared(box, other) == 0 for other in boxes[:index])
        inside = (points > box[:2]).all(1) & (points < box[2:]).all(1)
        assert not inside.any()
        assert comparison_chart.shared(box, axes.get_window_extent().extents) > 0.999 * (box[2] - box[0]) * (
            box[3] - box[1]
        )
