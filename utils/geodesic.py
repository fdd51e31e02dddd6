"""From a stroke of a brush to the region that is meant: connected, of like colours, not across edges.

Source: the geodesic distance of Criminisi, Sharp and Blake, "GeoS: Geodesic Image Segmentation" (ECCV 2008), whose
paths pay for way and for contrast; a payment for colours unlike those under the stroke is added, after Bai and
Sapiro, "A Geodesic Framework for Fast Interactive Image and Video Segmentation and Matting" (ICCV 2007). It is
computed exactly (Dijkstra) on a reduced picture around the stroke, and brought to the edges by a guided filter.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from utils import refine
from utils.images import Box, resize

NODES = 20_000  # pixels of the reduced picture; more cost more time, fewer lose thin parts
CONTRAST = 25.0  # sum of steps in Lab (0..100) along a path, each less NOISE, that uses up its whole length
NOISE = 2.0
SPREAD = 2.5, 7.0  # bounds of the standard deviation of a colour under the stroke
UNLIKE = 0.25  # of a path's length, for each pixel whose colour is twice as far off as those of the stroke
COLOURS = 3
HOLE = 0.02  # of the grown region: smaller holes in it belong to it
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


def path_mask(shape: tuple[int, int], points: np.ndarray, radius: float) -> np.ndarray:
    """A brush of `radius` pixels drawn along points [N, 2] (x, y), smooth at its rim: float32 [H, W] in 0..1."""
    drawn = np.zeros(shape, np.uint8)
    radius = max(0.5, radius - 0.8)  # OpenCV draws rims wider than they are
    fixed = np.round(points * 16).astype(np.int32)
    for start, end in zip(fixed, [*fixed[1:], fixed[-1]], strict=True):
        cv2.circle(drawn, start.tolist(), round(radius * 16), 255, -1, cv2.LINE_AA, 4)
        side = end - start
        if np.hypot(*side) > 16:
            across = np.array([-side[1], side[0]]) * (radius * 16 / np.hypot(*side))
            corners = np.stack([start + across, end + across, end - across, start - across])
            cv2.fillConvexPoly(drawn, np.round(corners).astype(np.int32), 255, cv2.LINE_AA, 4)
    return drawn.astype(np.float32) / 255


def around(points: np.ndarray, margin: float, shape: tuple[int, int]) -> Box | None:
    """The part of a picture that lies within `margin` pixels of the points; None if none does."""
    low, high = np.floor(points.min(0) - margin), np.ceil(points.max(0) + margin) + 1
    left, top = np.maximum(low, 0).astype(int)
    right, bottom = np.minimum(high, shape[::-1]).astype(int)
    if right <= left or bottom <= top:
        return None
    return Box(int(top), int(left), int(bottom - top), int(right - left))


def grown(frame: np.ndarray, seeds: np.ndarray, reach: float, barred: np.ndarray | None = None) -> np.ndarray:
    """Alpha float32 [H, W] of the region around `seeds`, float32 [H, W] in 0..1, of a frame [H, W, 3].

    It reaches at most `reach` pixels beyond them and never enters `barred` (bool [H, W]). Without a seed it is
    empty.
    """
    scale = min(1.0, float(np.sqrt(NODES / seeds.size)))
    small = tuple(max(1, round(side * scale)) for side in seeds.shape)
    start = resize(seeds, *small) > 0.5
    if not start.any():
        start = resize(seeds, *small) > 0
        if not start.any():
            return np.zeros_like(seeds)
    near = cv2.distanceTransform((~start).astype(np.uint8), cv2.DIST_L2, 5) <= reach * scale
    if barred is not None:
        near &= start | (resize(barred.astype(np.float32), *small) < 0.5)
    lab = _lab(resize(frame, *small))
    region = _distances(lab, _unlike(lab, start), start, near, max(1.0, reach * scale)) <= 1
    region = _filled(region & near | start)
    return refine.guided(frame, region.astype(np.float32), radius=2, epsilon=1e-4, levels=(0.1, 0.9))


def _lab(picture: np.ndarray) -> np.ndarray:
    smooth = cv2.bilateralFilter(picture, 5, 20, 2)
    return cv2.cvtColor(smooth.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)


def _unlike(lab: np.ndarray, start: np.ndarray) -> np.ndarray:
    """How far each colour is from those under the stroke: 0 within three deviations, 1 at twice that."""
    samples = lab[start]
    samples = samples[:: max(1, len(samples) // 400)]
    count = min(COLOURS, len(samples))
    stop = (cv2.TERM_CRITERIA_MAX_ITER | cv2.TERM_CRITERIA_EPS, 10, 0.5)
    cv2.setRNGSeed(0)
    points = samples[:, None]  # three channels: OpenCV takes one row of three numbers for three points of one
    _, labels, centres = cv2.kmeans(points, count, None, stop, 1, cv2.KMEANS_PP_CENTERS)
    nearest = np.full(lab.shape[:2], np.inf, np.float32)
    for number, centre in enumerate(centres):
        own = samples[labels[:, 0] == number]
        if len(own) < 0.05 * len(samples):
            continue  # a pixel or two at the rim of the brush are no colour of what is meant
        spread = np.clip(np.sqrt(((own - centre) ** 2).mean()), *SPREAD)
        nearest = np.minimum(nearest, np.linalg.norm(lab - centre, axis=2) / (3 * spread))
    return np.clip(nearest - 1, 0, 4)


def _distances(
    lab: np.ndarray, unlike: np.ndarray, start: np.ndarray, near: np.ndarray, reach: float
) -> np.ndarray:
    """Length of the cheapest path from `start` within `near`, as a share of the longest allowed; inf beyond."""
    numbers = np.full(near.shape, -1)
    numbers[near] = np.arange(near.sum())
    rows, columns, costs = [], [], []
    for down, right in NEIGHBOURS:
        one, other = _shifted(near.shape, down, right)
        joined = near[one] & near[other]
        step = float(np.hypot(down, right))
        contrast = np.linalg.norm(lab[one] - lab[other], axis=2)[joined]
        strange = (unlike[one] + unlike[other])[joined] / 2
        costs.append(
            step / reach + np.maximum(contrast - NOISE * step, 0) / CONTRAST + UNLIKE * step * strange
        )
        rows.append(numbers[one][joined])
        columns.append(numbers[other][joined])
    ways = (np.concatenate(costs), (np.concatenate(rows), np.concatenate(columns)))
    graph = coo_matrix(ways, shape=(int(near.sum()),) * 2).tocsr()
    found = dijkstra(graph, directed=False, indices=numbers[start & near], min_only=True, limit=1.0)
    result = np.full(near.shape, np.inf)
    result[near] = found
    return result


def _shifted(shape: tuple[int, int], down: int, right: int) -> tuple[tuple, tuple]:
    """Two views of an array whose pixels are neighbours in that direction."""
    height, width = shape
    one = slice(0, height - down), slice(max(0, -right), width - max(0, right))
    other = slice(down, height), slice(max(0, right), width - max(0, -right))
    return one, other


def _filled(region: np.ndarray) -> np.ndarray:
    """Without small holes inside, and without single pixels missing."""
    closed = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, labels, facts, _ = cv2.connectedComponentsWithStats(1 - closed, connectivity=4)
    small = facts[:, cv2.CC_STAT_AREA] < HOLE * region.sum()
    small[0] = False
    return closed.astype(bool) | small[labels] & (count > 1)
