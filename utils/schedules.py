"""When a training ends, what its learning rate is, and how long its encoder stays frozen.

Nothing here computes: a `Timetable` answers from how much is done and from the log so far, so that a
resumed run goes on exactly where it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

WARM_UP = 0.04
FLOOR = 0.01
POWER = 0.9
PATIENCE, FACTOR, LOWEST = 15, 0.5, 1e-6  # of plateau, as in the reference toolkit
THAWED = 0.2  # the peak rate of the whole network, next to that of the decoder alone
Rows = list[dict[str, float]]


def cosine(share: float, peak: float) -> float:
    """Linear warm-up over the first 4 %, then a cosine down to 1 % of the peak; `share` 0..1 done."""
    if share < WARM_UP:
        return peak * (share + 1e-3) / WARM_UP
    return peak * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * _after_warm_up(share))) / 2)


def poly(share: float, peak: float) -> float:
    """The same warm-up, then peak * (1 - done)^0.9 down to 1 % of the peak.

    Source: Chen et al., "DeepLab", TPAMI 2017.
    """
    if share < WARM_UP:
        return peak * (share + 1e-3) / WARM_UP
    return peak * (FLOOR + (1 - FLOOR) * (1 - _after_warm_up(share)) ** POWER)


def plateau(history: Rows, peak: float) -> float:
    """The peak, halved whenever the validation score has not risen for 15 epochs, at least 1e-6."""
    rate, best, waited = peak, -math.inf, 0
    for row in history:
        if row["score"] > best:
            best, waited = row["score"], 0
            continue
        waited += 1
        if waited == PATIENCE:
            rate, waited = max(rate * FACTOR, min(peak, LOWEST)), 0
    return rate


SCHEDULES = ("cosine", "poly", "plateau")


@dataclass
class Timetable:
    """`epochs` or `minutes` bound a training whose learning rate peaks at `peak`.

    For the first `freeze` epochs, or below 1 that share of the training, the encoder is frozen. Then the
    schedule starts anew at a fifth of the peak (the two cycles of Howard and Ruder's "ULMFiT", ACL 2018, and
    of fastai's fine_tune). `patience`: end after so many epochs without a better validation score.
    Raises ValueError for settings that contradict each other.
    """

    peak: float
    epochs: int | None = None
    minutes: float | None = None
    schedule: str = "cosine"
    freeze: float = 0.0
    patience: int | None = None
    thawed: tuple[float, int] | None = None  # share of the training and whole epochs done by then

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"--schedule {self.schedule}: choose one of {', '.join(SCHEDULES)}")
        if self.freeze < 0 or (not self.minutes and self.freeze >= (self.epochs or math.inf)):
            raise ValueError(
                f"--freeze {self.freeze:g}: nothing would be trained after it, of {self.epochs} epochs"
            )

    @property
    def frozen(self) -> bool:
        """Whether the encoder is still frozen."""
        return self.freeze > 0 and self.thawed is None

    def share(self, epochs: float, seconds: float) -> float:
        """How much of the training is done, 0..1, after so many epochs and seconds."""
        if self.minutes:
            return min(seconds / (60 * self.minutes), 1.0)
        return min(epochs / (self.epochs or 1), 1.0)

    def finished(self, epochs: float, seconds: float, history: Rows) -> bool:
        """Whether the time is used up, or patience is at its end."""
        return self.share(epochs, seconds) >= 1.0 or self.stalled(history)

    def stalled(self, history: Rows) -> bool:
        """Whether the best of the last `patience` epochs is no better than what was before."""
        rows = self._of_phase(history)
        if not self.patience or self.frozen or len(rows) <= self.patience:
            return False
        scores = [row["score"] for row in rows]
        return max(scores[-self.patience :]) <= max(scores[: -self.patience])

    def thaw_now(self, epochs: float, seconds: float) -> bool:
        """Whether the frozen part is over; from then on `frozen` is False."""
        if not self.frozen or self._frozen_share(epochs, seconds) < 1.0:
            return False
        self.thawed = (self.share(epochs, seconds), int(epochs))
        return True

    def rate(self, epochs: float, seconds: float, history: Rows) -> float:
        """The learning rate of the next step."""
        peak = self.peak if self.thawed is None else THAWED * self.peak
        if self.schedule == "plateau":
            return plateau(self._of_phase(history), peak)
        share = self.share(epochs, seconds)
        if self.frozen:
            share = self._frozen_share(epochs, seconds)
        elif self.thawed:
            share = (share - self.thawed[0]) / max(1 - self.thawed[0], 1e-9)
        return (cosine if self.schedule == "cosine" else poly)(min(share, 1.0), peak)

    def _frozen_share(self, epochs: float, seconds: float) -> float:
        done = epochs if self.freeze >= 1 else self.share(epochs, seconds)
        return done / self.freeze

    def _of_phase(self, history: Rows) -> Rows:
        return history[self.thawed[1] :] if self.thawed else history


def _after_warm_up(share: float) -> float:
    return min((share - WARM_UP) / (1 - WARM_UP), 1.0)


def kept_epoch(history: Rows, hold: float) -> dict[str, float]:
    """The row of a run's log whose weights are best.keras: of the highest score, with --hold the newest.

    How steady alpha has become is not in the score, and takes a little from it.
    """
    return history[-1] if hold else max(history, key=lambda row: row["score"])
