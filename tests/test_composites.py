"""Drawn composites: exact alpha, several people, a dataset that eval.py reads."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests import portraits
from tests.conftest import refused
from utils import clips, clutter, composites
from utils.images import list_images, read_image, read_mask, write_image
from utils.stock import Extras


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


def white(seed: int) -> clips.Person:
    """Somebody all in one colour, so that what is not this colour is not the person."""
    alpha = person(seed).alpha
    return clips.Person(np.full((*alpha.shape, 3), 255, np.float32), alpha)


def test_alpha_takes_account_of_what_stands_in_front() -> None:
    """White people before black, things in blue: red is the alpha, whoever and whatever is before or behind."""
    blue = np.zeros((60, 60, 3), np.uint8)
    blue[..., 2] = 255
    wall = np.zeros((90, 90, 3), np.uint8)
    hidden = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        pieces = [clutter.piece_of(blue, rng) for _ in range(4)]
        extras = Extras(0.0, tuple(pieces[:2]), tuple(pieces[2:]))
        seen = composites.draw(
            [white(seed), white(seed + 1)], wall, (96, 120), np.random.default_rng(seed), extras
        )
        plain = composites.draw([white(seed), white(seed + 1)], wall, (96, 120), np.random.default_rng(seed))
        # Red of a picture without grain is 255 * alpha; grain is cut off at black and white.
        assert np.abs(seen.frame[..., 0] / 255.0 - seen.alpha).mean() < 0.02
        assert (seen.alpha <= plain.alpha + 1e-6).all()  # people stand where they stand without things
        hidden += int((plain.alpha - seen.alpha).max() > 0.9)
        assert (plain.alpha - seen.alpha).sum() <= 2 * clutter.HIDDEN * plain.alpha.sum()
    assert hidden >= 3


def test_things_behind_hide_nobody() -> None:
    rng = np.random.default_rng(0)
    pieces = tuple(clutter.piece_of(portraits.portrait(n)[0], rng) for n in range(4))
    wall = np.zeros((90, 90, 3), np.uint8)
    seen = [
        composites.draw([person(1)], wall, (96, 120), np.random.default_rng(2), Extras(0.0, behind))
        for behind in ((), pieces)
    ]
    assert np.array_equal(seen[0].alpha, seen[1].alpha)
    assert np.abs(seen[0].frame.astype(int) - seen[1].frame)[seen[0].alpha == 0].mean() > 3


def test_matched_people_are_nearer_to_the_scene() -> None:
    """Before an orange wall a person gets warmer; alpha and picture still belong together."""
    wall = np.full((90, 90, 3), (200, 120, 40), np.uint8)
    pairs = [
        [
            composites.draw([person(n)], wall, (96, 120), np.random.default_rng(n), Extras(m))
            for m in (0.0, 1.0)
        ]
        for n in range(6)
    ]
    warmth = [
        [float((p.frame[..., 0].astype(float) - p.frame[..., 2])[p.alpha > 0.95].mean()) for p in pair]
        for pair in pairs
        if (pair[0].alpha > 0.95).any()
    ]
    assert np.mean([after - before for before, after in warmth]) > 15


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
    refused(command("-m", "utils.composites", tmp_path / "drawn", *words), "holds no cut-outs")


def test_people_of_a_dataset_with_everything(command, people, tmp_path) -> None:
    """Photos and masks as cut-outs; clutter, matching and a cache, which changes nothing when it is warm."""
    walls = portraits.write_backgrounds(tmp_path / "walls")
    words = ("--cutouts", people, "--backgrounds", walls, "--count", 5, "--size", "96x128")
    words += ("--match", 0.8, "--clutter", 3, "--objects", walls, "--cache", tmp_path / "cache")
    for name in ("cold", "warm"):
        result = command("-m", "utils.composites", tmp_path / name, *words)
        assert result.returncode == 0, result.stderr
    kept = {path.name for path in (tmp_path / "cache").iterdir()}
    assert kept
    for path in (tmp_path / "cold").rglob("*.*"):
        assert (tmp_path / "warm" / path.relative_to(tmp_path / "cold")).read_bytes() == path.read_bytes()
    assert len(list_images(tmp_path / "cold" / "masks")) == 5
    (tmp_path / "cold" / "images" / "mine.jpg").write_text("other")
    refused(command("-m", "utils.composites", tmp_path / "cold", *words), "holds other files", "mine.jpg")
    refused(
        command("-m", "utils.composites", tmp_path / "x", "--cutouts", walls, "--backgrounds", walls),
        "transparent",
    )


def test_default_pictures_stay_as_they_were() -> None:
    """Figures are quoted on drawn sets: the same seed must go on giving the same pictures.

    Sums of a frame and an alpha, of before light, grain, sharpness and things could be added.
    """
    photo = composites.draw(
        [person(1), person(2)], np.full((90, 90, 3), 90, np.uint8), (80, 100), np.random.default_rng(7)
    )
    assert int(photo.frame.astype(int).sum()) == pytest.approx(2402799, abs=60)  # rounding of other machines
    assert float(photo.alpha.sum()) == pytest.approx(2745.01, abs=0.05)
    wall = np.full((60, 80, 3), 120, np.uint8)
    moments, facts = clips.clip([person(1)], [wall], (60, 80), 12, np.random.default_rng(7))
    assert facts == {"frames": 12, "cut": 7, "events": ["leave", "stay"]}
    assert sum(int(m.frame.astype(int).sum()) for m in moments) == pytest.approx(20650393, abs=600)
