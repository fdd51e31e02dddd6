"""Where a network cuts best is found, and its logits are moved there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import models
from models import card as cards
from tests import portraits
from tests.conftest import Command, refused
from utils import dataset, threshold
from utils.segmenter import KerasSegmenter, Segmenter


class Shy(Segmenter):
    """Knows bright from dark, and says 0.35 of people that are there; 0.3 of walls."""

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        return np.where(pixels[..., :1] > 127, np.float32(0.35), np.float32(0.3))


def test_a_shy_network_is_cut_lower(tmp_path: Path) -> None:
    from utils.images import write_image

    for number in range(3):
        mask = np.zeros((64, 64), np.uint8)
        mask[20:, 10 + number : 50] = 255
        write_image(tmp_path / "val" / "images" / f"{number}.png", np.dstack([mask] * 3))
        write_image(tmp_path / "val" / "masks" / f"{number}.png", mask)
    pairs = dataset.find_pairs(tmp_path / "val")
    found = threshold.scores(Shy({}, (64, 64), 3, 1), pairs)
    assert found.keys() == {"photos", "all"}
    assert threshold.best(found["all"]) == pytest.approx(0.325)
    assert found["all"][5].tolist() == [1, 1]  # at 0.325
    assert found["all"][12].tolist() == [0, 0]  # at 0.5


def test_sources_count_alike(tmp_path: Path) -> None:
    rows = np.zeros((len(threshold.THRESHOLDS), 2))
    assert threshold.best(rows) == 0.5  # all alike: it stays
    rows[4] = 0.7
    assert threshold.best(rows) == pytest.approx(0.3)


@pytest.mark.parametrize("value", [0.2, 0.4, 0.5, 0.7])
def test_a_shift_takes_its_threshold_to_the_half(value: float) -> None:
    logit = np.log(value / (1 - value))
    assert 1 / (1 + np.exp(-(logit + threshold.shift(value)))) == pytest.approx(0.5)


def test_the_shifted_network_cuts_there(checkpoint: Path, tmp_path: Path) -> None:
    measured = tmp_path / "measured.keras"
    models.save(models.load(checkpoint), measured, {**cards.read(checkpoint), "metrics": {"iou": 0.5}})
    checkpoint = measured
    for value in (0.4, 0.5):  # twice: 0.4 of the first is 0.5 of the second, and 0.5 stays
        threshold.shifted(checkpoint, tmp_path / f"{value}.keras", value)
    size = tuple(models.load(checkpoint).input_shape[1:3])
    frame = portraits.portrait(1, *size)[0]
    alpha, moved, same = (
        KerasSegmenter(models.load(path), {})(frame)
        for path in (checkpoint, tmp_path / "0.4.keras", tmp_path / "0.5.keras")
    )
    clear = np.abs(alpha - 0.4) > 1e-4
    assert ((alpha > 0.4) != (alpha > 0.5)).any()
    assert np.array_equal((alpha > 0.4)[clear], (moved > 0.5)[clear])
    np.testing.assert_allclose(alpha, same, atol=1e-6)
    assert "metrics" not in cards.read(tmp_path / "0.4.keras")
    assert cards.read(tmp_path / "0.4.keras")["logits_shifted"] == pytest.approx(0.4055, abs=1e-4)


def test_of_two_classes_one_is_shifted(tmp_path: Path) -> None:
    network = models.create("slim_net", (64, 64))
    models.save(network, tmp_path / "a.keras", {"architecture": models.describe("slim_net", (64, 64))})
    threshold.shifted(tmp_path / "a.keras", tmp_path / "b.keras", 0.3)
    frame = portraits.portrait(1, 64, 64)[0]
    old, new = (KerasSegmenter(models.load(tmp_path / f"{name}.keras"), {})(frame) for name in "ab")
    logit = np.log(old / (1 - old)) + threshold.shift(0.3)
    np.testing.assert_allclose(new, 1 / (1 + np.exp(-logit)), atol=1e-4)


def test_photos_of_small_sources_count_as_well(tmp_path: Path) -> None:
    from utils.images import write_image

    mask = np.zeros((64, 64), np.uint8)
    mask[20:, 10:50] = 255
    for name in [f"{kind}_{n}" for kind in ("web", "selfie") for n in range(5)] + ["one", "two_1"]:
        write_image(tmp_path / "val" / "images" / f"{name}.png", np.dstack([mask] * 3))
        write_image(tmp_path / "val" / "masks" / f"{name}.png", mask)
    found = threshold.scores(Shy({}, (64, 64), 3, 1), dataset.find_pairs(tmp_path / "val"))
    assert found.keys() == {"web", "selfie", "others", "all"}


def test_command(here: Command, checkpoint: Path, people: Path, tmp_path: Path) -> None:
    out = tmp_path / "moved.keras"
    done = here("utils.threshold", checkpoint, people, "--seed", 3, "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("--seed 3")
    line = next(line for line in done.stdout.splitlines() if line.startswith("all"))
    found = float(line.split()[1])
    assert cards.read(out)["logits_shifted"] == pytest.approx(threshold.shift(found), abs=1e-3)
    assert (
        float(line.split()[2]) + float(line.split()[3]) / 2
        >= float(line.split()[4]) + float(line.split()[5]) / 2
    )
    refused(here("utils.threshold", tmp_path / "a.tflite", people), ".keras")


def test_a_known_shift_there_and_back(here: Command, checkpoint: Path, people: Path, tmp_path: Path) -> None:
    """Without photos, and 0.45 takes back what 0.55 did."""
    there, back = tmp_path / "there.keras", tmp_path / "back.keras"
    for source, value, out in ((checkpoint, 0.55, there), (there, 0.45, back)):
        done = here("utils.threshold", source, "--at", value, "--out", out)
        assert done.returncode == 0, done.stderr
    assert cards.read(there)["logits_shifted"] == pytest.approx(-0.2007, abs=1e-4)
    assert cards.read(back)["logits_shifted"] == pytest.approx(0, abs=1e-4)
    old, moved, same = (
        models.load(path).get_layer("logits").bias.numpy() for path in (checkpoint, there, back)
    )
    np.testing.assert_allclose(moved, old + threshold.shift(0.55), atol=1e-6)
    np.testing.assert_allclose(same, old, atol=1e-6)
    refused(here("utils.threshold", checkpoint, "--at", 0.4), "--out FILE")
    refused(here("utils.threshold", checkpoint, people, "--at", 0.4, "--out", back), "--at T")
    refused(here("utils.threshold", checkpoint, "--at", 1, "--out", back), "between 0 and 1")
