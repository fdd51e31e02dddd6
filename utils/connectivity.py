"""The connectivity loss: a person should come in as many pieces as in the truth, and in the same ones.

Source: Chu et al., "PP-HumanSeg: Connectivity-Aware Portrait Segmentation with a Large-Scale
Teleconferencing Video Dataset", WACV 2022 workshops.
"""

from __future__ import annotations

import cv2
import numpy as np
from keras import KerasTensor, ops

from utils.backend import on_host

PIECES = 10


def scl(target: KerasTensor, alpha: KerasTensor) -> KerasTensor:
    """1 - semantic connectivity [N] of alphas [N, H, W, 1]; 0 for equal pieces, more with each split.

    Both are cut into connected pieces above 0.5, of which the ten largest count. A true piece is worth the mean
    IoU with the predicted pieces that touch it; the mean is taken over the true pieces and the predicted ones
    that touch none. Cutting has no gradient; the IoUs are those of alpha within its pieces, so that it
    flows through every matched piece. Where nothing touches (as at the start of a training) the loss is
    1 and the mean |target - alpha|, which grows with what is missed and what is invented.
    """
    pieces = on_host(label_pieces, [ops.stop_gradient(alpha), target], "int32")
    numbers = ops.arange(1, PIECES + 1, dtype="int32")
    found = ops.cast(pieces[..., 0:1] == numbers, "float32")  # [N, H, W, pieces]
    true = ops.cast(pieces[..., 1:2] == numbers, "float32")
    found, true = (ops.reshape(p, (-1, p.shape[1] * p.shape[2], PIECES)) for p in (found, true))
    inside = found * ops.reshape(alpha, (-1, found.shape[1], 1))
    both = ops.matmul(ops.transpose(true, (0, 2, 1)), inside)  # [N, true pieces, found pieces]
    touch = ops.cast(ops.matmul(ops.transpose(true, (0, 2, 1)), found) > 0, "float32")
    either = ops.sum(true, 1)[:, :, None] + ops.sum(inside, 1)[:, None, :] - both
    iou = touch * both / ops.maximum(either, 1e-6)
    worth = ops.sum(ops.sum(iou, 2) / ops.maximum(ops.sum(touch, 2), 1.0), 1)
    exists = [ops.cast(ops.max(p, 1) > 0, "float32") for p in (true, found)]
    lone = ops.sum(exists[1] * (1.0 - ops.max(touch, 1)), 1)
    count = ops.sum(exists[0], 1) + lone
    connectivity = worth / ops.maximum(count, 1.0)
    apart = ops.mean(ops.abs(target - alpha), (1, 2, 3))
    nothing_touches = ops.cast(ops.max(touch, (1, 2)) == 0, "float32")
    return ops.where(count > 0, 1.0 - connectivity + nothing_touches * apart, ops.zeros_like(count))


def label_pieces(alpha: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Number 1..10 of the piece each pixel belongs to, largest first, else 0: int32 [N, H, W, 2], of both."""
    pieces = [[_largest(picture[..., 0] > 0.5) for picture in batch] for batch in (alpha, target)]
    return np.stack([np.stack(maps) for maps in pieces], axis=-1)


def _largest(mask: np.ndarray) -> np.ndarray:
    count, labels, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    order = 1 + np.argsort(-facts[1:, cv2.CC_STAT_AREA], kind="stable")[:PIECES]
    numbers = np.zeros(count, np.int32)
    numbers[order] = np.arange(1, len(order) + 1)
    return numbers[labels]
