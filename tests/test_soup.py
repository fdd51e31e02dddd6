"""Means of networks: exact, of networks that belong together only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import models
from models import card as cards
from tests.conftest import Command, refused
from utils import soup


def test_the_mean_of_two(here: Command, checkpoint: Path, tmp_path: Path) -> None:
    network = models.load(checkpoint)
    own = network.get_weights()
    rng = np.random.default_rng(0)
    other = [array * (1 + 0.01 * rng.standard_normal(array.shape)) for array in own]
    network.set_weights(other)
    models.save(network, tmp_path / "other.keras", cards.read(checkpoint))
    out = tmp_path / "mean.keras"
    done = here("utils.soup", checkpoint, tmp_path / "other.keras", "--size", "96x64", "--out", out)
    assert done.returncode == 0, done.stderr
    found = models.load(out)
    assert found.input_shape == (None, 96, 64, 3)
    assert cards.read(out)["architecture"]["input_size"] == [96, 64]
    assert cards.read(out)["mean_of"] == [checkpoint.name, "other.keras"]
    for a, b, c in zip(own, other, found.get_weights(), strict=True):
        np.testing.assert_allclose(c, (a + b) / 2, atol=1e-5)
    refused(here("utils.soup", checkpoint, "--out", out), "two checkpoints or more")


def test_shares_and_a_prior(here: Command, checkpoint: Path, tmp_path: Path) -> None:
    """The prior's kernel, which the second lacks, stays as it is; all else lies at a quarter of the way."""
    plain = models.load(checkpoint)
    prior = models.load(checkpoint, channels=4)
    own, rng = prior.get_weights(), np.random.default_rng(2)
    own = [array * (1 + 0.01 * rng.standard_normal(array.shape)) for array in own]
    own[0][:, :, 3] = 0.05
    prior.set_weights(own)
    card = cards.read(checkpoint)
    card["architecture"]["channels"] = 4
    models.save(prior, tmp_path / "prior.keras", card)
    out = tmp_path / "mean.keras"
    moved = tmp_path / "moved.keras"
    models.save(plain, moved, {**cards.read(checkpoint), "logits_shifted": 0.4})
    given = ("utils.soup", tmp_path / "prior.keras", moved, "--out", out, "--weights")
    refused(here(*given, 1), "one for each checkpoint")
    done = here(*given, 3, 1)
    assert done.returncode == 0, done.stderr
    found, other = models.load(out).get_weights(), plain.get_weights()
    np.testing.assert_allclose(found[0][:, :, 3], 0.05, atol=1e-6)
    np.testing.assert_allclose(found[0][:, :, :3], 0.75 * own[0][:, :, :3] + 0.25 * other[0], atol=1e-5)
    for a, b, c in zip(own[1:], other[1:], found[1:], strict=True):
        np.testing.assert_allclose(c, 0.75 * a + 0.25 * b, atol=1e-5)
    assert cards.read(out)["shares"] == [3, 1]
    assert cards.read(out)["logits_shifted"] == pytest.approx(0.25 * 0.4)
    swapped = here("utils.soup", checkpoint, tmp_path / "prior.keras", "--out", out)
    refused(swapped, "not of one architecture")


def test_strangers_are_refused() -> None:
    rng = np.random.default_rng(1)
    own = [rng.standard_normal((3, 4)), rng.standard_normal(4)]
    with pytest.raises(ValueError, match="one architecture"):
        soup.mean([own, own[:1]])
    with pytest.raises(ValueError, match="too far apart"):
        soup.mean([own, [rng.standard_normal(array.shape) for array in own]])
    np.testing.assert_array_equal(soup.mean([own, own])[0], own[0])
