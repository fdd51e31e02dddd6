"""Half the file: weights near the old ones, the same card, an answer that hardly differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import models
from models import card as cards
from tests.conftest import Command, refused
from utils import compact

NUMBERS = st.floats(-1e6, 1e6, width=32)


@given(st.lists(NUMBERS, min_size=1), st.integers(4, 20))
def test_rounding_is_to_the_nearest_number_of_so_many_bits(values: list[float], bits: int) -> None:
    array = np.array(values, np.float32)
    found = compact.rounded(array, bits)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(compact.rounded(found, bits), found)
    normal = np.abs(array) > 1e-30
    assert (np.abs(found - array) <= np.abs(array) * 2.0**-bits)[normal].all()
    mantissa = np.frexp(found[normal])[0] * 2.0**bits
    np.testing.assert_array_equal(mantissa, np.round(mantissa))


def test_half_the_file(here: Command, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.keras"
    done = here("utils.compact", checkpoint, "--out", out)
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size < 0.65 * checkpoint.stat().st_size
    assert cards.read(out) == {**cards.read(checkpoint), "rounded_to_bits": compact.BITS}
    old, new = models.load(checkpoint), models.load(out)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, *old.input_shape[1:])).astype(np.float32)
    difference = np.abs(old.predict(pixels, verbose=0) - new.predict(pixels, verbose=0))
    assert 0 < difference.max() < 0.02
    assert difference.mean() < 1e-3
    for one, other in zip(old.get_weights(), new.get_weights(), strict=True):
        if one.ndim < 2:
            np.testing.assert_array_equal(one, other)
    refused(here("utils.compact", checkpoint, "--out", tmp_path / "small.h5"), "ends in .keras")
    refused(here("utils.compact", out, "--out", out), "would replace the original")


def test_heads_of_a_training_are_left_out_of_the_card_as_well(here: Command, tmp_path: Path) -> None:
    network = models.create("portrait_net", (64, 64), edge_head=True)
    card = {"architecture": models.describe("portrait_net", (64, 64)), "heads": ["edge_head"]}
    models.save(network, tmp_path / "last.keras", card)
    done = here("utils.compact", tmp_path / "last.keras", "--out", tmp_path / "small.keras")
    assert done.returncode == 0, done.stderr
    assert len(models.load(tmp_path / "small.keras").outputs) == 1
    assert len(models.load(tmp_path / "last.keras", edge_head=True).outputs) == 2
