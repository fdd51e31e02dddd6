"""Learning rates, freezing and stopping, from what is done and from the log alone."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils import schedules
from utils.schedules import THAWED, Timetable


@pytest.mark.parametrize("schedule", [schedules.cosine, schedules.poly])
def test_learning_rate_warms_up_and_falls(schedule) -> None:
    rates = [schedule(share, 1.0) for share in np.linspace(0, 1, 101)]
    assert rates[0] < 0.05
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert int(np.argmax(rates)) in (3, 4, 5)
    assert np.all(np.diff(rates[5:]) < 0)
    assert rates[-1] == pytest.approx(0.01)


def test_poly_is_a_power_of_what_is_left() -> None:
    done = (0.52 - 0.04) / 0.96
    assert schedules.poly(0.52, 2.0) == pytest.approx(2 * (0.01 + 0.99 * (1 - done) ** 0.9))


def scored(*scores: float) -> list[dict[str, float]]:
    return [{"score": score} for score in scores]


def test_plateau_halves_after_fifteen_epochs_without_a_rise() -> None:
    assert schedules.plateau(scored(0.5, *[0.4] * 14), 1e-3) == 1e-3
    assert schedules.plateau(scored(0.5, *[0.4] * 15), 1e-3) == 5e-4
    assert schedules.plateau(scored(0.5, *[0.4] * 14, 0.6, *[0.5] * 14), 1e-3) == 1e-3
    assert schedules.plateau(scored(0.5, *[0.5] * 30), 1e-3) == 2.5e-4
    assert schedules.plateau(scored(0.5, *[0.4] * 900), 1e-3) == 1e-6


@given(st.lists(st.floats(0, 1.5), max_size=120), st.floats(1e-7, 1))
def test_plateau_never_rises_nor_falls_below_its_floor(scores: list[float], peak: float) -> None:
    rates = [schedules.plateau(scored(*scores[:n]), peak) for n in range(len(scores) + 1)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates))
    assert rates[-1] >= min(peak, 1e-6)


def test_default_is_the_cosine_over_epochs_or_minutes() -> None:
    for timetable, done in ((Timetable(2.0, 10), (4.5, 0.0)), (Timetable(2.0, None, 2.0), (99.0, 54.0))):
        assert timetable.rate(*done, []) == schedules.cosine(0.45, 2.0)
        assert not timetable.thaw_now(*done)
        assert not timetable.finished(*done, [])
    assert Timetable(1.0, 10).finished(10, 0, [])
    assert Timetable(1.0, None, 2.0).finished(1, 120, [])


@pytest.mark.parametrize(
    ("timetable", "thaws_at"),
    [
        (Timetable(1.0, 10, freeze=2), (2, 0)),
        (Timetable(1.0, 10, freeze=0.3), (3, 0)),
        (Timetable(1.0, None, 2.0, freeze=0.5), (7.25, 60)),
        (Timetable(1.0, None, 2.0, "poly", freeze=1), (1, 31)),
    ],
)
def test_frozen_part_then_a_schedule_of_its_own(timetable: Timetable, thaws_at: tuple) -> None:
    epochs, seconds = thaws_at
    assert timetable.frozen
    assert not timetable.thaw_now(0.99 * epochs, 0.99 * seconds)
    assert timetable.rate(0.99 * epochs, 0.99 * seconds, []) < 0.05  # its own schedule ends
    assert timetable.thaw_now(epochs, seconds)
    assert not timetable.frozen
    assert not timetable.thaw_now(epochs, seconds)  # only once
    end = (10, 120)
    rates = [
        timetable.rate(epochs + t * (end[0] - epochs), seconds + t * (end[1] - seconds), [])
        for t in np.linspace(0, 1, 101)
    ]
    assert max(rates) == pytest.approx(THAWED, rel=0.03)
    assert rates[0] < 0.01
    assert rates[-1] == pytest.approx(0.01 * THAWED)


def test_plateau_and_patience_count_anew_after_thawing() -> None:
    timetable = Timetable(1.0, 100, schedule="plateau", freeze=2, patience=3)
    before = scored(0.9, 0.8, 0.7, 0.6, 0.5)
    assert not timetable.stalled(before)  # nothing ends while frozen
    assert timetable.thaw_now(2, 0)
    assert not timetable.stalled(before[:5])
    assert timetable.stalled(before[:6] + scored(0.4))
    assert timetable.rate(5, 0, before) == THAWED


def test_patience_ends_a_run_that_no_longer_gets_better() -> None:
    timetable = Timetable(1.0, 100, patience=2)
    assert not timetable.finished(3, 0, scored(0.1, 0.5, 0.4))
    assert timetable.finished(4, 0, scored(0.1, 0.5, 0.4, 0.5))
    assert not timetable.finished(4, 0, scored(0.1, 0.5, 0.4, 0.6))
    assert not Timetable(1.0, 100).finished(99, 0, scored(*[0.5] * 99))


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="choose one of cosine, poly, plateau"):
        Timetable(1.0, 5, schedule="step")
    with pytest.raises(ValueError, match="--freeze 5"):
        Timetable(1.0, 5, freeze=5)
