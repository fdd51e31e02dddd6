"""Losses from logits, written with keras.ops so that every backend can differentiate them."""

from __future__ import annotations

import keras
from keras import KerasTensor, ops


class SegmentationLoss(keras.losses.Loss):
    """BCE + Dice + boundary weight, one value a picture.

    `y_true` alpha 0..1 [N, H, W, 1]; `y_pred` logits [N, H, W, 1], or [N, H, W, 2] where the second
    channel is an edge head's, trained on the same band, or more, of heads on deeper layers that each learn the same
    as the first (Lee et al., "Deeply-Supervised Nets", 2015). Pixels within `band` of the true boundary
    count `1 + boundary` times in the BCE. Band width: a 48th of the side, about the band that
    Boundary IoU looks at (Cheng et al., CVPR 2021).

    With `consistency` above 0 the second half of a batch must be the first in other colours
    (`Mix.twins`): each picture's alpha is then pulled to its twin's, that much beside the BCE (Xie et
    al., "Unsupervised Data Augmentation for Consistency Training", NeurIPS 2020).
    """

    def __init__(
        self, boundary: float = 3.0, dice: float = 1.0, edge: float = 0.3, consistency: float = 0.0
    ) -> None:
        super().__init__(name="segmentation", reduction="sum_over_batch_size")
        self.boundary, self.dice, self.edge, self.consistency = boundary, dice, edge, consistency

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        if y_pred.shape[-1] > 2:
            return sum(self.call(y_true, y_pred[..., i : i + 1]) for i in range(y_pred.shape[-1]))
        logits = y_pred[..., :1]
        near = boundary_band(y_true)
        weight = 1.0 + self.boundary * near
        cross = ops.sum(weight * bce(y_true, logits), (1, 2, 3)) / ops.sum(weight, (1, 2, 3))
        total = cross + self.dice * dice(y_true, ops.sigmoid(logits))
        if y_pred.shape[-1] == 2:
            total += self.edge * ops.mean(bce(near, y_pred[..., 1:]), (1, 2, 3))
        if self.consistency:
            apart = ops.sum(weight * divergence(twins(logits), logits), (1, 2, 3))
            total += self.consistency * apart / ops.sum(weight, (1, 2, 3))
        return total


def twins(batch: KerasTensor) -> KerasTensor:
    """A batch with its halves exchanged, of which nothing is learnt."""
    return ops.stop_gradient(ops.roll(batch, ops.shape(batch)[0] // 2, axis=0))


def divergence(target: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """KL divergence a pixel of the alphas of `logits` from those of the logits `target`; 0 where equal."""
    alpha = ops.sigmoid(target)
    return bce(alpha, logits) - bce(alpha, target)


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
    reach = max(1, target.shape[1] // 48)
    return _grown(target, reach) + _grown(-target, reach)


def _grown(x: KerasTensor, reach: int) -> KerasTensor:
    """The largest value within `reach` pixels, up, down and sideways: a square maximum filter.

    By maxima of ever more shifted copies, which a CPU does in a tenth of the time of max pooling.
    """
    for axis in (1, 2):
        padding = [(reach, reach) if i == axis else (0, 0) for i in range(4)]
        x = ops.pad(x, padding, constant_values=-1.0)
        span, width = 1, 2 * reach + 1
        while span < width:
            step = min(span, width - span)
            length = x.shape[axis] - step
            x = ops.maximum(_part(x, 0, length, axis), _part(x, step, length, axis))
            span += step
    return x


def _part(x: KerasTensor, start: int, length: int, axis: int) -> KerasTensor:
    return x[:, start : start + length] if axis == 1 else x[:, :, start : start + length]
