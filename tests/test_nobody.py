"""Pictures without people cut out of photos: the largest there are, and a dataset that eval.py measures on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.conftest import Command, refused
from utils import nobody
from utils.images import read_image, read_mask, write_image


def largest_by_trying(taken: np.ndarray, least: int) -> int:
    """Area of the largest free rectangle, found by trying all."""
    height, width = taken.shape
    areas = [0]
    for top in range(height):
        for bottom in range(top + least, height + 1):
            for left in range(width):
                for right in range(left + least, width + 1):
                    if not taken[top:bottom, left:right].any():
                        areas.append((bottom - top) * (right - left))
    return max(areas)


@settings(max_examples=150, deadline=None)
@given(st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(lambda s: arrays(bool, s)), st.integers(1, 3))
def test_no_free_rectangle_is_larger(taken: np.ndarray, least: int) -> None:
    found = nobody.largest_free(taken, least)
    area = 0
    if found is not None:
        part = taken[found]
        assert not part.any()
        assert min(part.shape) >= least
        area = part.size
    assert area == largest_by_trying(taken, least)


def test_keeps_away_from_people() -> None:
    alpha = np.zeros((200, 400), np.float32)
    alpha[:, :100] = 0.3
    rows, columns = nobody.free_of_people(alpha, 96)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (0, 200, 102, 400)
    assert nobody.free_of_people(np.ones((200, 400), np.float32), 96) is None


def write_photos(folder: Path) -> None:
    """A person on the left, one in the middle (no room), and one whose mask is empty; one more to train on."""
    rng = np.random.default_rng(0)
    people = {
        "left": slice(0, 60),
        "middle": slice(80, 220),
        "forgotten": slice(0, 0),
        "learnt": slice(0, 60),
    }
    for name, columns in people.items():
        part = folder / ("train" if name == "learnt" else "val")
        mask = np.zeros((150, 300), np.uint8)
        mask[:, columns] = 255
        write_image(part / "images" / f"{name}.png", rng.integers(0, 255, (150, 300, 3), np.uint8))
        write_image(part / "masks" / f"{name}.png", mask)


def test_command_and_eval(command: Command, checkpoint: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "people")
    out = tmp_path / "nobody"
    done = command("-m", "utils.nobody", tmp_path / "people", out, "--leave-out", "forgotten")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("written: 1 pictures")
    whole = read_image(tmp_path / "people" / "val" / "images" / "left.png")
    assert np.array_equal(read_image(out / "images" / "left.png"), whole[:, 62:])
    assert not read_mask(out / "masks" / "left.png").any()
    assert (out / "sheet.png").exists()
    measured = command("eval.py", checkpoint, out, "--part", "all", "--out", tmp_path / "results")
    assert measured.returncode == 0, measured.stderr
    assert "warning: 1 of 1 masks looked at are empty" in measured.stdout
    (result,) = (tmp_path / "results").glob("*_eval.json")
    assert 0 <= json.loads(result.read_text())["iou"] <= 1


def test_what_cannot_be_is_refused(command: Command, tmp_path: Path) -> None:
    write_photos(tmp_path / "people")
    out = tmp_path / "nobody"
    refused(command("-m", "utils.nobody", tmp_path / "people", out, "--leave-out", "nameless"), "nameless")
    refused(command("-m", "utils.nobody", tmp_path / "people", out, "--least", 400), "400x400")
    write_image(tmp_path / "people" / "val" / "masks" / "left.png", np.zeros((75, 150), np.uint8))
    refused(command("-m", "utils.nobody", tmp_path / "people", out), "another size than their photo")
    assert not out.exists()
