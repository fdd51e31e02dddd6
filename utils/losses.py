"""Losses from logits, written with keras.ops so that every backend can differentiate them."""

from __future__ import annotations

import keras
from keras import KerasTensor, ops


class SegmentationLoss(keras.losses.Loss):
    """BCE + Dice + boundary weight, one value a picture.

    `y_true` alpha 0..1 [N, H, W, 1]; `y_pred` logits [N, H, W, 1], or [N, H, W, 2] where the second
    channel is an edge head's, trained on the same band. Pixels within `band` of the true boundary
    count `1 + boundary` times in the BCE. Band width: a 48th of the side, about the band that
    Boundary IoU looks at (Cheng et al., CVPR 2021).
    """

    def __init__(self, boundary: float = 3.0, dice: float = 1.0, edge: float = 0.3) -> None:
        super().__init__(name="segmentation", reduction="sum_over_batch_size")
        self.boundary, self.dice, self.edge = boundary, dice, edge

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        logits = y_pred[..., :1]
        near = boundary_band(y_true)
        weight = 1.0 + self.boundary * near
        cross = ops.sum(weight * bce(y_true, logits), (1, 2, 3)) / ops.sum(weight, (1, 2, 3))
        total = cross + self.dice * dice(y_true, ops.sigmoid(logits))
        if y_pred.shape[-1] == 2:
            total += self.edge * ops.mean(bce(near, y_pred[..., 1:]), (1, 2, 3))
        return total


def bce(target: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """Binary cross-entropy a pixel, stable for large logits; soft targets 0..1 allowed."""
    return ops.relu(logits) - logits * target + ops.softplus(-ops.abs(logits))


def dice(target: KerasTensor, alpha: KerasTensor, smooth: float = 10.0) -> KerasTensor:
    """1 - soft Dice [N] of alphas [N, H, W, 1]; `smooth` keeps pictures without people well behaved.

    Source: Milletari et al., "V-Net", 3DV 2016.
    """
    both = ops.sum(target * alpha, (1, 2, 3))
    either = ops.sum(target, (1, 2, 3)) + ops.sum(alpha, (1, 2, 3))
    return 1.0 - (2.0 * both + smooth) / (either + smooth)


def boundary_band(target: KerasTensor) -> KerasTensor:
    """1 near the boundary of an alpha [N, H, W, 1], 0 elsewhere, soft where the alpha is soft."""
    width = max(3, target.shape[1] // 48 * 2 + 1)
    grown = ops.max_pool(target, width, 1, "same")
    shrunk = -ops.max_pool(-target, width, 1, "same")
    return grown - shrunk
