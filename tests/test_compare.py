"""Runs laid side by side: what differs is named, the picture shows all of them, bad folders are one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import refused
from utils import compare
from utils.images import read_image, write_image


def write_run(folder: Path, scores: list[float], overlays: bool = True, **settings: object) -> Path:
    columns = (
        "epoch",
        "loss",
        "rate",
        "images_per_second",
        "iou",
        "boundary_iou",
        "accuracy",
        "mad",
        "score",
    )
    lines = [",".join(columns)]
    for number, score in enumerate(scores, 1):
        values = (number, 1 / number, 1e-3, 20.0, score, score - 0.1, score + 0.02, 9.0, 1.5 * score)
        lines.append(",".join(map(str, values)))
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    (folder / "settings.json").write_text(json.dumps({"seed": 0, "model": "sinet", **settings}))
    if overlays:
        colour = np.full((40, 240, 3), (200, 30, 30), np.uint8)
        write_image(folder / "overlays" / "epoch_001.jpg", np.zeros_like(colour))
        write_image(folder / "overlays" / "epoch_002.jpg", colour)
    return folder


def test_table_and_picture(command, tmp_path: Path) -> None:
    first = write_run(tmp_path / "a" / "run", [0.5, 0.8, 0.7], loss="bce", out="x")
    second = write_run(tmp_path / "b" / "run", [0.6, 0.9], overlays=False, loss="focal", hard=0.25, out="y")
    out = tmp_path / "both.png"
    result = command("-m", "utils.compare", first, second, "--out", out)
    assert result.returncode == 0, result.stderr
    lines = {line.split("  ")[0]: line.split() for line in result.stdout.splitlines()}
    assert lines["loss"][1:] == ["bce", "focal"]
    assert lines["hard"][1:] == ["-", "0.25"]
    assert lines["iou"][1:] == ["0.8000", "0.9000"]
    assert lines["kept epoch"][2:] == ["2", "of", "3", "2", "of", "2"]
    assert not lines.keys() & {"seed", "model", "out"}  # equal, or bound to differ
    assert "a/run" in result.stdout
    picture = read_image(out)
    assert picture.shape[1] > 1000
    red = (np.abs(picture.astype(int) - (200, 30, 30)) < 12).all(-1)
    assert red.sum() > 50_000, "the last overlays are not shown"


def test_with_hold_the_newest_epoch_is_the_one_kept(command, tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", [0.5, 0.8, 0.7], hold=0.85)
    second = write_run(tmp_path / "b", [0.5, 0.8, 0.7], hold=0.0)
    result = command("-m", "utils.compare", first, second, "--out", tmp_path / "both.png")
    assert result.returncode == 0, result.stderr
    lines = {line.split("  ")[0]: line.split() for line in result.stdout.splitlines()}
    assert lines["kept epoch"][2:] == ["3", "of", "3", "2", "of", "3"]
    assert lines["iou"][1:] == ["0.7000", "0.8000"]


def test_what_is_no_run_is_refused(command, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [0.5])
    refused(command("-m", "utils.compare", run), "at least two")
    refused(command("-m", "utils.compare", run, tmp_path / "none"), "log.csv")
    refused(command("-m", "utils.compare", run, run), "twice")
    (run / "settings.json").unlink()
    refused(command("-m", "utils.compare", run, write_run(tmp_path / "other", [0.5])), "settings.json")


def test_names_are_as_short_as_they_can_be() -> None:
    assert compare.names([Path("runs/a"), Path("runs/b")]) == ["a", "b"]
    assert compare.names([Path("x/a/1"), Path("x/b/1")]) == ["a/1", "b/1"]
    with pytest.raises(ValueError, match="twice"):
        compare.names([Path("x/a"), Path("x/a")])
