"""One photo seen several times: mirrored, smaller, nearer, by several networks; the mean, and how far they agree.

    found = views.look(frame, networks, scales=(0.8, 1.0, 1.25))
    found.alpha, found.confidence

confidence = agreement x decidedness, both 0..1:

- agreement: the mean over the views of the IoU of each (alpha > 0.5) with the mean of all (> 0.5);
- decidedness: 1 - sum of (1 - |2 alpha - 1|) / number of pixels of the person, outside a band of `BAND` of the diagonal
  around the edge, where a matte has to be soft.

Averaging over flips and scales: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic
Image Segmentation", ECCV 2018 (section 4.1); disagreement as doubt: Lakshminarayanan et al., "Simple and Scalable
Predictive Uncertainty Estimation using Deep Ensembles", NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from utils import closer, metrics
from utils.images import Box, resize
from utils.segmenter import Segmenter

BAND = 0.02
WORK = 1280  # longer side at which views are worked out: no network sees more, and memory stays small
FEWEST = 0.001  # share of a photo below which nobody is there


class Found(NamedTuple):
    """A photo's mean alpha, float32 [H, W]; figures 0..1, `person` is the share of the photo that is person."""

    alpha: np.ndarray
    confidence: float
    agreement: float
    decided: float
    person: float


def look(frame: np.ndarray, networks: list[Segmenter], scales: tuple[float, ...] = (0.8, 1.0, 1.25)) -> Found:
    """All views of a frame, uint8 RGB [H, W, 3], as one alpha with its confidence.

    Where every network's card asks for it, small people are looked at once more (utils/closer.py), in as many views.
    """
    scale = min(1.0, WORK / max(frame.shape[:2]))
    small = resize(frame, *(max(1, round(side * scale)) for side in frame.shape[:2]))
    mean, masks = _mean(small, networks, scales)
    box = closer.where(mean) if all(network.closer for network in networks) else None
    if box is not None:
        part, part_masks = _mean(closer.cut(small, box), networks, scales)
        mean = closer.put(mean, part, box)
        masks = [closer.put(mask, part, box) for mask, part in zip(masks, part_masks, strict=True)]
    agreement = float(np.mean([metrics.iou(mask.astype(np.float32), mean) for mask in masks]))
    decided, person = decidedness(mean), float((mean > 0.5).mean())
    return Found(resize(mean, *frame.shape[:2]), agreement * decided, agreement, decided, person)


def decidedness(alpha: np.ndarray) -> float:
    """How decided an alpha [H, W] is away from its edge, 0..1; see above. Without a person, all pixels are counted."""
    found = (alpha > 0.5).astype(np.uint8)
    undecided = 1 - np.abs(2 * alpha - 1)
    if not found.any():
        return float(1 - undecided.mean())
    reach = max(1.0, BAND * float(np.hypot(*alpha.shape)))
    away = [cv2.distanceTransform(side, cv2.DIST_L2, 5) > reach for side in (found, 1 - found)]
    return float(max(0.0, 1 - undecided[away[0] | away[1]].sum() / found.sum()))


def _mean(
    frame: np.ndarray, networks: list[Segmenter], scales: tuple[float, ...]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The mean alpha of all views and each view's mask, bool [H, W]."""
    total, masks = np.zeros(frame.shape[:2], np.float32), []
    for network in networks:
        for scale in scales:
            for alpha in _mirrored(network, frame, scale):
                total += alpha
                masks.append(alpha > 0.5)
    return total / len(masks), masks


def _mirrored(network: Segmenter, frame: np.ndarray, scale: float) -> Iterator[np.ndarray]:
    """The alpha of one network at one scale, as it is and in the mirror."""
    for step in (1, -1):
        turned = np.ascontiguousarray(frame[:, ::step])
        alpha = _smaller(network, turned, scale) if scale <= 1 else _nearer(network, turned, scale)
        yield alpha[:, ::step]


def _smaller(network: Segmenter, frame: np.ndarray, scale: float) -> np.ndarray:
    """With so much black around the frame that the network sees it `scale` times as large as else."""
    height, width = frame.shape[:2]
    down, right = (round(side * (1 / scale - 1) / 2) for side in (height, width))
    canvas = cv2.copyMakeBorder(frame, down, down, right, right, cv2.BORDER_CONSTANT)
    return network.batch([canvas])[0][down : down + height, right : right + width]


def _nearer(network: Segmenter, frame: np.ndarray, scale: float) -> np.ndarray:
    """Seen in parts, each 1 / scale of its sides, which fade into each other: up to twice as near in its four corners."""
    height, width = frame.shape[:2]
    tall, wide = (max(1, round(side / scale)) for side in (height, width))
    total, weights = np.zeros((2, height, width), np.float32)
    count = int(np.ceil(scale)) + (scale >= 2)
    for top in np.linspace(0, height - tall, count).astype(int):
        for left in np.linspace(0, width - wide, count).astype(int):
            box = Box(int(top), int(left), tall, wide)
            weight = np.outer(
                *(_fade(at, size, side) for at, size, side in ((top, tall, height), (left, wide, width)))
            )
            part = slice(top, top + tall), slice(left, left + wide)
            total[part] += weight * network.batch([closer.cut(frame, box)])[0]
            weights[part] += weight
    return total / weights


def _fade(at: int, size: int, side: int) -> np.ndarray:
    """Weights of a part's rows, falling to its cut ends but not to those that are the picture's."""
    place = (np.arange(size, dtype=np.float32) + 0.5) / size
    ends = np.ones(size, np.float32) if at == 0 else place
    return np.minimum(ends, np.ones(size, np.float32) if at + size == side else 1 - place)
