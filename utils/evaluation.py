"""Measure a segmenter on pairs of photos and masks, at each photo's own size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from utils.cli import progress
from utils.dataset import Pair
from utils.images import read_image, read_mask
from utils.metrics import METRICS, score
from utils.segmenter import Segmenter

GROUP_SIZE = 5
MAX_GROUPS = 8


def evaluate(segmenter: Segmenter, pairs: list[Pair], label: str = "eval") -> list[dict]:
    """One row a photo: stem, every metric, and the network's milliseconds."""
    rows = []
    for pair in progress(pairs, label):
        alpha = segmenter(read_image(pair.image))
        truth = read_mask(pair.mask)
        milliseconds = segmenter.milliseconds["network"]
        found, true = alpha > 0.5, truth > 0.5
        counts = {"both": int((found & true).sum()), "either": int((found | true).sum())}
        rows.append({"stem": pair.stem, **score(alpha, truth), **counts, "milliseconds": milliseconds})
    return rows


def mean(rows: list[dict]) -> dict[str, float]:
    """Mean of each metric over the photos."""
    return {name: float(np.mean([row[name] for row in rows])) for name in METRICS}


def set_iou(rows: list[dict]) -> float:
    """IoU of the person over the whole set: all pixels together, so large people count more."""
    either = sum(row["either"] for row in rows)
    return sum(row["both"] for row in rows) / either if either else 1.0


def latency(rows: list[dict]) -> dict[str, float]:
    """Median and 95th percentile of the network's milliseconds, the first tenth left out as warm-up."""
    times = [row["milliseconds"] for row in rows[len(rows) // 10 :]]
    return {"p50_ms": float(np.percentile(times, 50)), "p95_ms": float(np.percentile(times, 95))}


def groups(rows: list[dict]) -> Iterator[tuple[str, list[dict]]]:
    """Rows by source, where stems begin with one ("web_12"): nothing unless 2..8 sources are found."""
    counts = Counter(row["stem"].split("_")[0] for row in rows if "_" in row["stem"])
    large = [name for name, count in counts.items() if count >= GROUP_SIZE]
    if 2 <= len(large) <= MAX_GROUPS:
        for name in sorted(large):
            yield name, [row for row in rows if row["stem"].split("_")[0] == name]
