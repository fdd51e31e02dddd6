"""Drawn composites: exact alpha, several people, a dataset that eval.py reads."""

from __future__ import annotations

import json

import numpy as np

from tests import portraits
from tests.conftest import refused
from utils import clips, composites
from utils.images import list_images, read_image, read_mask, write_image


def person(seed: int) -> clips.Person:
    image, alpha = portraits.portrait(seed)
    return clips.cut_out(np.dstack([image, (alpha * 255).astype(np.uint8)]))


def test_alpha_is_what_was_drawn() -> None:
    """Before black and before white the difference is 1 - alpha, whoever stands where."""
    people, size = [person(1), person(2)], (80, 100)
    seen = []
    for wall in (np.zeros((90, 90, 3), np.uint8), np.full((90, 90, 3), 255, np.uint8)):
        rng = np.random.default_rng(5)
        seen.append(composites.draw(people, wall, size, rng))
    black, white = seen
    assert np.array_equal(black.alpha, white.alpha)
    assert black.alpha.max() > 0.99
    assert black.alpha.min() == 0
    between = (white.frame.astype(float) - black.frame).mean(2) / 255
    assert np.abs(between - (1 - black.alpha)).mean() < 0.02


def test_more_people_cover_more() -> None:
    wall = np.full((90, 90, 3), 128, np.uint8)
    one = composites.draw([person(3)], wall, (80, 100), np.random.default_rng(0)).alpha
    two = composites.draw([person(3), person(4)], wall, (80, 100), np.random.default_rng(0)).alpha
    assert (two >= one - 1e-6).all()
    assert two.sum() > one.sum()


def test_command_writes_a_dataset_that_eval_measures(command, tmp_path) -> None:
    for seed in range(3):
        image, alpha = portraits.portrait(seed)
        write_image(tmp_path / "cut" / f"{seed}.png", np.dstack([image, (alpha * 255).astype(np.uint8)]))
    walls = portraits.write_backgrounds(tmp_path / "walls")
    words = ("--cutouts", tmp_path / "cut", "--backgrounds", walls, "--count", 6, "--size", "96x128")
    result = command("-m", "utils.composites", tmp_path / "drawn", *words)
    assert result.returncode == 0, result.stderr
    photos = list_images(tmp_path / "drawn" / "images")
    assert len(photos) == 6
    assert read_image(photos[0]).shape == (96, 128, 3)
    masks = [read_mask(path) for path in list_images(tmp_path / "drawn" / "masks")]
    assert any(((mask > 0.1) & (mask < 0.9)).any() for mask in masks)
    again = command("-m", "utils.composites", tmp_path / "again", *words)
    assert again.returncode == 0
    assert all((tmp_path / "again/images" / p.name).read_bytes() == p.read_bytes() for p in photos)
    network = "checkpoints/live_int8.tflite"
    result = command("eval.py", network, tmp_path / "drawn", "--part", "all", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out" / "live_int8_tflite_eval.json").read_text())
    assert found["photos"] == 6
    assert found["grad"] > 0
    assert found["conn"] > 0


def test_empty_folders_are_refused(command, tmp_path) -> None:
    (tmp_path / "none").mkdir()
    words = ("--cutouts", tmp_path / "none", "--backgrounds", tmp_path / "none")
    refused(command("-m", "utils.composites", tmp_path / "drawn", *words), "must hold pictures")
