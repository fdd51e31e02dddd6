"""Measure a segmenter on pairs of photos and masks, at each photo's own size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from utils import clips, layouts, metrics
from utils.cli import progress
from utils.clips import Moment
from utils.dataset import Pair
from utils.images import read_image, read_mask, resize
from utils.layouts.base import by_source
from utils.metrics import METRICS, score
from utils.pipeline import Matting, Stages, delayed
from utils.segmenter import Segmenter
from utils.sources import VideoFile, list_videos
from utils.temporal import Temporal

GROUP_SIZE = 5
MAX_GROUPS = 8
STEADINESS = ("flicker", "tc", "dtssd", "iou", "mad", "iou_after_cut")
RECOVERED = slice(3, 8)  # frames after a cut by which the scene before must be forgotten


def evaluate(
    segmenter: Segmenter, pairs: list[Pair], label: str = "eval", matting: bool = False
) -> list[dict]:
    """One row a photo: stem, every metric (Grad and Conn with `matting`), the network's milliseconds."""
    rows = []
    for pair in progress(pairs, label):
        alpha = segmenter(read_image(pair.image))
        truth = read_mask(pair.mask)
        milliseconds = segmenter.milliseconds["network"]
        found, true = alpha > 0.5, truth > 0.5
        counts = {"both": int((found & true).sum()), "either": int((found | true).sum())}
        rows.append(
            {"stem": pair.stem, **score(alpha, truth, matting), **counts, "milliseconds": milliseconds}
        )
    return rows


def mean(rows: list[dict]) -> dict[str, float]:
    """Mean of each metric over the photos."""
    names = [name for name in (*METRICS, *metrics.MATTING) if name in rows[0]]
    return {name: float(np.mean([row[name] for row in rows])) for name in names}


def find_clips(path: Path) -> list[Path]:
    """Videos and clip folders (`utils/clips.py`) that `path` is or holds; none if it is a dataset."""
    # Pairs of videos are clips as well; any other dataset may have a video lying beside it.
    if path.is_dir() and set(layouts.seen_in(path)) - {"videos"}:
        return []
    return list_videos(path) + (clips.list_clips(path) if path.is_dir() else [])


def evaluate_clips(segmenter: Segmenter, paths: list[Path], way: str | None = None) -> list[dict]:
    """One row a clip, see `steadiness`. Raises VideoError, ImageError."""
    rows = []
    for path in progress(paths, "clips"):
        if path.is_dir():
            moments, facts = clips.read_clip(path)
            rows.append({"clip": path.name, **steadiness(segmenter, moments, facts["cut"], way)})
        else:
            frames = (Moment(frame.image, None) for frame in VideoFile(path))
            rows.append({"clip": path.name, **steadiness(segmenter, frames, way=way)})
    return rows


def steadiness(
    segmenter: Segmenter, moments: Iterable[Moment], cut: int | None = None, way: str | None = None
) -> dict[str, float]:
    """Flicker, temporal consistency (tc) and, with truth, dtssd, IoU and MAD: means over the frames.

    A network with a fourth channel gets its own last alpha as prior. `cut`: the frame at which another
    scene begins; `iou_after_cut` is the mean of the frames 3 to 7 after it, and the change at the cut itself does
    not count as unsteady. `way` (utils/temporal.py) measures what the live scripts show instead of the network alone.
    """
    values: dict[str, list[float]] = {}
    before, alpha_before = None, None
    for number, (now, alpha) in enumerate(_alphas(segmenter, moments, way)):
        found: dict[str, float | None] = {}
        if before is not None and number != cut:
            pair = (before.frame, now.frame, alpha_before, alpha)
            found |= {"flicker": metrics.flicker(*pair), "tc": metrics.temporal_consistency(*pair)}
            if now.alpha is not None:
                found["dtssd"] = metrics.dtssd(alpha_before, alpha, before.alpha, now.alpha)
        if now.alpha is not None:
            found |= {"iou": metrics.iou(alpha, now.alpha), "mad": metrics.mad(alpha, now.alpha)}
            if cut is not None and RECOVERED.start <= number - cut < RECOVERED.stop:
                found["iou_after_cut"] = found["iou"]
        for name, value in found.items():
            if value is not None:
                values.setdefault(name, []).append(value)
        before, alpha_before = now, alpha
    return {name: float(np.mean(values[name])) for name in STEADINESS if name in values}


def _alphas(
    segmenter: Segmenter, moments: Iterable[Moment], way: str | None
) -> Iterator[tuple[Moment, np.ndarray]]:
    """Each moment with its alpha: the network's own, or as the live scripts steady it."""
    if way is not None:
        matting = Matting(segmenter, Temporal(way), Stages())
        pairs = ((moment, matting(moment.frame)) for moment in moments)
        yield from delayed(pairs) if way == "delay" else pairs
        return
    before = None
    for moment in moments:
        before = segmenter.coarse(moment.frame, before).alpha
        yield moment, resize(before, *moment.frame.shape[:2])


def mean_steadiness(rows: list[dict]) -> dict[str, float]:
    """Mean over the clips that have each figure."""
    found = {name: [row[name] for row in rows if name in row] for name in STEADINESS}
    return {name: float(np.mean(values)) for name, values in found.items() if values}


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
    sources = by_source((row["stem"] for row in rows), GROUP_SIZE)
    if len(sources) <= MAX_GROUPS:
        for name, places in sources.items():
            yield name, [rows[place] for place in places]
