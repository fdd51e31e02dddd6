"""Filters of alpha, each a pure function: float32 [H, W] in 0..1 in and out, pictures uint8 RGB [H, W, 3]."""

from __future__ import annotations

import cv2
import numpy as np

from utils.images import resize

LEVELS = (0.05, 0.95)  # of alpha, that become 0 and 1 where its edges are drawn
EDGES = 640  # longer side on which edges are drawn: finer than the network sees, and a quarter of the work of 1280


def smooth_step(alpha: np.ndarray, low: float = 0.3, high: float = 0.5) -> np.ndarray:
    """0 below `low`, 1 above `high`, a smooth S between; 0 <= low < high <= 1. Raises ValueError."""
    if not 0 <= low < high <= 1:
        raise ValueError(f"smooth step from {low} to {high}: give 0 <= low < high <= 1")
    share = np.clip((alpha - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def feather(alpha: np.ndarray, radius: float) -> np.ndarray:
    """Softened by a Gaussian whose sigma is half of `radius` pixels; 0 leaves it as it is."""
    return alpha if radius <= 0 else cv2.GaussianBlur(alpha, (0, 0), radius / 2)


def grow(alpha: np.ndarray, pixels: int) -> np.ndarray:
    """Grown by so many pixels in all directions, or shrunk by a negative number."""
    if not pixels:
        return alpha
    side = 2 * abs(pixels) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return (cv2.dilate if pixels > 0 else cv2.erode)(alpha, kernel)


def certain_regions(alpha: np.ndarray) -> np.ndarray:
    """PP-HumanSeg's post-processing: keeps alpha only around what is certain.

    Certain is above 240/255, less a 5x5 cross, grown by a 25x25 cross and multiplied in.
    """
    certain = (alpha > 240 / 255).astype(np.uint8)
    certain = cv2.erode(certain, cv2.getStructuringElement(cv2.MORPH_CROSS, (5, 5)))
    return alpha * cv2.dilate(certain, cv2.getStructuringElement(cv2.MORPH_CROSS, (25, 25)))


def without_islands(alpha: np.ndarray, share: float = 0.05) -> np.ndarray:
    """Without parts smaller than `share` (0..1) of all that is found."""
    found = (alpha > 0.5).astype(np.uint8)
    count, labels, facts, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    if count <= 2:
        return alpha
    areas = facts[:, cv2.CC_STAT_AREA]
    small = np.flatnonzero(areas < share * areas[1:].sum())
    return alpha * ~_reached(np.isin(labels, small[small > 0]), alpha)


def without_holes(alpha: np.ndarray, share: float = 0.05) -> np.ndarray:
    """With holes filled that are smaller than `share` (0..1) of the person and do not touch the frame."""
    person = float((alpha > 0.5).sum())
    empty = (alpha <= 0.5).astype(np.uint8)
    count, labels, facts, _ = cv2.connectedComponentsWithStats(empty, connectivity=4)
    height, width = alpha.shape
    result = alpha.copy()
    for number in range(1, count):
        left, top, wide, tall, area = facts[number]
        inside = left > 0 and top > 0 and left + wide < width and top + tall < height
        if inside and area < share * person:
            result[labels == number] = 1
    return result


def one_person(alpha: np.ndarray, at: tuple[int, int] | None = None) -> np.ndarray:
    """The largest connected figure alone, or the one at pixel (x, y); the others are taken out."""
    found = (alpha > 0.5).astype(np.uint8)
    count, labels, facts, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    if count <= 2:
        return alpha
    chosen = 1 + int(np.argmax(facts[1:, cv2.CC_STAT_AREA]))
    if at is not None:
        x, y = (int(np.clip(value, 0, side - 1)) for value, side in zip(at, alpha.shape[::-1], strict=True))
        chosen = int(labels[y, x]) or chosen
    return alpha * ~_reached((labels != chosen) & (labels > 0), alpha)


def guided(
    frame: np.ndarray,
    alpha: np.ndarray,
    radius: int = 4,
    epsilon: float = 1e-3,
    levels: tuple[float, float] = (0.0, 1.0),
) -> np.ndarray:
    """Alpha [h, w] of a smaller picture brought to the size of `frame`, its edges drawn to those of the frame.

    Source: He and Sun, "Fast Guided Filter", 2015, with the frame's grey (reduced to `EDGES`) as guide. `radius` in pixels of the
    small alpha, `epsilon` the contrast squared (0..1) below which an edge of the frame does not count. `levels` become 0 and 1, what is between is stretched: a
    haze of a few percent that no photo shows is seen in a film.
    """
    height, width = alpha.shape
    scale = min(1.0, EDGES / max(frame.shape[:2]))
    fine = max(height, round(frame.shape[0] * scale)), max(width, round(frame.shape[1] * scale))
    guide = resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), *fine).astype(np.float32) / 255
    small = cv2.resize(guide, (width, height), interpolation=cv2.INTER_AREA)
    side = (2 * radius + 1,) * 2

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, side, borderType=cv2.BORDER_REFLECT)

    mean_guide, mean_alpha, both, square = cv2.split(
        mean(cv2.merge([small, alpha, small * alpha, small * small]))
    )
    slope = (both - mean_guide * mean_alpha) / (square - mean_guide * mean_guide + np.float32(epsilon))
    offset = mean(mean_alpha - slope * mean_guide)
    stretch = np.float32(1 / (levels[1] - levels[0]))  # while it is small
    guide *= cv2.resize(mean(slope) * stretch, fine[::-1])
    guide += cv2.resize((offset - np.float32(levels[0])) * stretch, fine[::-1])
    return resize(np.clip(guide, 0, 1, out=guide), *frame.shape[:2])


def _reached(part: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """A part with its own soft edge: what of alpha lies nearer to it than a few pixels."""
    if not part.any():
        return part
    kept = (alpha > 0.5) & ~part
    near = cv2.dilate(part.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    return near & ~kept
