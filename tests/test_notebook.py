"""portrait_segmentation.ipynb: run as users run it, with a small network and seconds of training."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.conftest import ROOT
from utils.images import read_image

NOTEBOOK = ROOT / "portrait_segmentation.ipynb"

DRIVE = """
from pathlib import Path

def mount(folder):
    Path("mounted").write_text(folder)
"""


def run(folder: Path, upto: str = "", path: str = "", **settings: object) -> list[dict]:
    """What the notebook puts out, run in `folder` with other values of its first cell, up to the cell with `upto`."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (chosen,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    assert {line.split(" = ")[0] for line in chosen.source.splitlines()} >= settings.keys()
    chosen.source += "".join(f"\n{name} = {value!r}" for name, value in settings.items())
    if upto:
        last = next(n for n, c in enumerate(notebook.cells) if c.cell_type == "code" and upto in c.source)
        del notebook.cells[last + 1 :]
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute(env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"})
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def test_the_whole_chain_on_the_samples(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "with a space"
    outputs = run(ROOT, OUT=str(out), INIT=str(checkpoint), MINUTES=0.05, FORMATS="tflite")
    parts = {part: len(list((out / "dataset" / part / "images").iterdir())) for part in ("train", "val")}
    assert parts == {"train": 60, "val": 8}
    made = (
        "doctor.html",
        "run/best.keras",
        "exports/best_float32.tflite",
        "after/best_float32_tflite_eval.json",
    )
    for name in (*made, f"before/{checkpoint.stem}_keras_eval.json"):
        assert (out / name).is_file(), name
    photo = read_image(ROOT / "data/samples/astronaut.jpg")
    assert read_image(out / "results" / "astronaut_composite.png").shape == photo.shape
    text = "".join(output.get("text", "") for output in outputs)
    assert "with truth" in text  # the gate of the export
    assert "best epoch" in text
    assert "Traceback" not in text
    assert sum("image/png" in o.get("data", ()) or "image/jpeg" in o.get("data", ()) for o in outputs) == 5


def test_on_colab_it_clones_and_reads_the_drive(people: Path, tmp_path: Path) -> None:
    """With Colab's own module imitated: Drive is asked for, the clone and its packages are used."""
    (tmp_path / "fake" / "google" / "colab").mkdir(parents=True)
    (tmp_path / "fake" / "google" / "colab" / "drive.py").write_text(DRIVE)
    content, fake = tmp_path / "content", str(tmp_path / "fake")
    content.mkdir()
    with pytest.raises(CellExecutionError, match="set REPOSITORY above"):
        run(content, "google.colab", fake)
    settings = {"REPOSITORY": str(ROOT), "DATASET": str(people), "OUT": "made"}
    run(content, "utils.augment", fake, **settings)
    assert (content / "mounted").read_text() == "/content/drive"
    clone = content / "Portrait-Segmentation"
    assert (clone / "made" / "augmented.jpg").is_file()
    assert len(list((clone / "made" / "dataset" / "train" / "images").iterdir())) == 12
    with pytest.raises(CellExecutionError, match=r"this command failed: python -m utils\.doctor"):
        run(
            content, "utils.doctor", fake, **settings | {"DATASET": str(tmp_path / "missing"), "OUT": "again"}
        )


def test_nothing_of_a_machine_is_kept() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
