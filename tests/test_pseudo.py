"""Masks for unlabelled photos: the confidence by numbers, and the command with what goes wrong in practice."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT, refused
from utils import dataset, pseudo, views
from utils.images import read_image, read_mask, write_image


class Fake:
    """A network that says what `answer` makes of the frame [H, W, 3]."""

    closer = False

    def __init__(self, answer) -> None:
        self.answer = answer

    def batch(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        return [self.answer(frame) for frame in frames]


def red(frame: np.ndarray) -> np.ndarray:
    return (frame[..., 0] > 128).astype(np.float32)


def scene(left: int = 30) -> np.ndarray:
    frame = np.zeros((100, 120, 3), np.uint8)
    frame[20:90, left : left + 40] = (200, 20, 20)
    return frame


def test_views_come_back_to_their_place() -> None:
    """A network that is always right is agreed with in the mirror, made smaller and looked at nearer."""
    found = views.look(scene(), [Fake(red)], (0.6, 1.0, 1.3, 2.0, 3.5))
    np.testing.assert_allclose(found.alpha, red(scene()), atol=1e-5)
    assert found.agreement == pytest.approx(1)
    assert found.decided == pytest.approx(1)
    assert found.confidence == pytest.approx(1)
    assert found.person == pytest.approx(70 * 40 / 12000)


def test_networks_that_disagree_are_less_sure() -> None:
    """One finds 40 columns, the other 20 of them: mean IoU with the mean of both is (1 + .5) / 2 or less."""

    def half(frame: np.ndarray) -> np.ndarray:
        alpha = red(frame)
        columns = np.flatnonzero(alpha.any(0))
        alpha[:, columns[len(columns) // 2 :]] = 0
        return alpha

    both = views.look(scene(), [Fake(red), Fake(half)], (1.0,))
    assert views.look(scene(), [Fake(red)], (1.0,)).confidence == pytest.approx(1)
    assert both.agreement < 0.85
    assert both.confidence < 0.8


@given(st.floats(0, 1))
def test_decidedness_counts_what_is_between_away_from_the_edge(value: float) -> None:
    alpha = np.zeros((100, 100), np.float32)
    alpha[20:80, 20:80] = 1
    assert views.decidedness(alpha) == 1
    alpha[18:20, 20:80], alpha[20:22, 20:80] = 0.3, 0.6  # at the edge a matte is soft
    assert views.decidedness(alpha) > 0.99
    alpha[40:50, 40:50] = max(value, 0.51)
    lost = 100 * (1 - abs(2 * max(value, 0.51) - 1)) / 3600
    assert views.decidedness(alpha) == pytest.approx(1 - lost, abs=0.005)


def test_small_people_are_looked_at_again() -> None:
    calls = []

    def watch(frame: np.ndarray) -> np.ndarray:
        calls.append(frame.shape)
        return red(frame)

    network = Fake(watch)
    network.closer = True
    frame = np.zeros((300, 400, 3), np.uint8)
    frame[100:160, 100:130] = (200, 20, 20)
    found = views.look(frame, [network], (1.0,))
    np.testing.assert_allclose(found.alpha, red(frame), atol=1e-5)
    assert len(calls) == 4
    assert min(shape[0] for shape in calls) < 120


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """An astronaut, twice; noise, which is nobody; and a file that is no picture."""
    folder = tmp_path / "photos"
    frame = read_image(ROOT / "data" / "samples" / "astronaut.jpg")[::2, ::2]
    write_image(folder / "a.jpg", frame)
    write_image(folder / "b.png", np.ascontiguousarray(frame[:, ::-1]))
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    write_image(folder / "noise.png", noise)
    (folder / "broken.jpg").write_text("not a picture")
    return folder


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "confidence.csv").open() as file:
        return {row["photo"]: row for row in csv.DictReader(file)}


def run(command, photos: Path, out: Path, *words: object):
    result = command("-m", "utils.pseudo", photos, out, "--model", "checkpoints/live_int8.tflite", *words)
    assert result.returncode == 0, result.stderr
    return result


def test_the_command_keeps_what_it_is_sure_of_and_goes_on(command, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(command, photos, out, "--bar", 0.3)
    assert "kept 2 of 4 photos" in result.stdout
    assert "broken.jpg: not a picture" in result.stderr
    found = rows(out)
    assert [name for name, row in found.items() if row["kept"] == "1"] == ["a.jpg", "b.png"]
    assert found["noise.png"]["note"] == "nobody found"
    assert [pair.stem for pair in dataset.find_pairs(out)] == ["a", "b"]
    assert dataset.check(dataset.find_pairs(out)) == []
    mask = read_mask(out / "masks" / "a.png")
    assert ((mask > 0.1) & (mask < 0.9)).mean() > 0.005  # soft
    assert np.abs(mask - read_mask(out / "masks" / "b.png")[:, ::-1]).mean() < 0.02
    assert read_image(out / "review.jpg").shape[0] > 240
    times = {path: path.stat().st_mtime_ns for path in (out / "masks").iterdir()}

    # Interrupted: what one photo had is gone; only that is done again.
    (out / "masks" / "a.png").unlink()
    pseudo.record(out, Path("a.jpg")).unlink()
    run(command, photos, out, "--bar", 0.3)
    assert (out / "masks" / "a.png").stat().st_mtime_ns > times[out / "masks" / "a.png"]
    assert (out / "masks" / "b.png").stat().st_mtime_ns == times[out / "masks" / "b.png"]
    assert rows(out) == found

    # Another bar takes photos out and in again.
    assert "kept 0 of 4" in run(command, photos, out, "--bar", 1).stdout
    assert not list((out / "masks").iterdir())
    assert not list((out / "images").iterdir())
    assert photos.joinpath("a.jpg").exists()
    assert "kept 2 of 4" in run(command, photos, out, "--bar", 0.3).stdout
    assert np.array_equal(read_mask(out / "masks" / "a.png"), mask)


def test_photos_that_changed_or_went_are_followed(command, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(command, photos, out, "--bar", 0.3)
    (photos / "b.png").rename(photos / "a.2024.png")  # a stem with a dot is not that of a
    run(command, photos, out, "--bar", 0.3)
    times = (out / "masks" / "a.png").stat().st_mtime_ns
    (photos / "a.2024.png").unlink()
    run(command, photos, out, "--bar", 0.3)
    assert (out / "masks" / "a.png").stat().st_mtime_ns == times
    write_image(photos / "a.jpg", read_image(photos / "a.jpg")[:, ::-1])
    before = read_mask(out / "masks" / "a.png")
    assert "kept 1 of 3" in run(command, photos, out, "--bar", 0.3).stdout
    assert [path.name for folder in ("images", "masks") for path in (out / folder).iterdir()] == [
        "a.jpg",
        "a.png",
    ]
    assert np.array_equal(read_image(out / "images" / "a.jpg"), read_image(photos / "a.jpg"))
    assert np.abs(read_mask(out / "masks" / "a.png")[:, ::-1] - before).mean() < 0.02


def test_what_cannot_be_done_is_refused(command, photos: Path, tmp_path: Path) -> None:
    words = ("-m", "utils.pseudo", photos)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("mine")
    refused(command(*words, foreign), "foreign", "not empty", "another OUT")
    assert [path.name for path in foreign.iterdir()] == ["mine.txt"]
    out = tmp_path / "out"
    run(command, photos, out, "--limit", 1)
    assert list(rows(out)) == ["a.jpg"]
    refused(command(*words, out), "made with other networks")
    refused(command("-m", "utils.pseudo", tmp_path / "gone", out), "no such folder")
    shutil.copy(photos / "a.jpg", photos / "b.jpg")
    refused(command(*words, tmp_path / "new"), "same name")


def test_the_work_on_one_photo_can_be_done_anywhere(tmp_path: Path) -> None:
    """`label` alone leaves the files and returns the record."""
    write_image(tmp_path / "p.png", scene())
    row = pseudo.label(tmp_path / "p.png", [Fake(red)], (1.0,), 0.9, tmp_path / "out")
    assert row == pseudo.read_row(tmp_path / "out", Path("p.png"))
    assert row["confidence"] == 1
    assert pseudo.settled(row, 0.9, tmp_path / "out")
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "masks" / "p.png"), red(scene()))
