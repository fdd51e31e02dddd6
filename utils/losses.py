"""Losses by name, written with keras.ops so that every backend can differentiate them.

`--loss bce+dice+boundary` is the default; `--loss 0.8*bce+0.2*lovasz`, `--loss focal+dice+boundary+0.5*scl` weigh
others. Each loss says by the name of its argument whether it takes logits or alpha.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import KerasTensor, ops

from utils.connectivity import scl

DEFAULT = "bce+dice+boundary"
EDGE = 0.3  # weight of an edge head
DECOMPOSED = 10.0  # weight of MODNet's two heads (Ke et al., "MODNet", AAAI 2022, has 1 and 10 beside a loss of another kind)
Loss = Callable[[KerasTensor, KerasTensor], KerasTensor]


class SegmentationLoss(keras.losses.Loss):
    """The sum of named losses, one value a picture.

    `y_true` alpha 0..1 [N, H, W, 1]; `y_pred` logits [N, H, W, 1], followed by a channel for each of `heads` that
    only training has: what one of a name in `HEADS` learns is said there, all others, on deeper layers, learn the same
    as the first (Lee et al., "Deeply-Supervised Nets", 2015). `terms`: weight by name, see `parse`. With the term
    "boundary", pixels within `boundary_band` of the true boundary count `1 + boundary` times in bce and focal. Band
    width: a 48th of the side, about the band that Boundary IoU looks at (Cheng et al., CVPR 2021).

    With `consistency` above 0 the second half of a batch must be the first in other colours
    (`Mix.twins`): each picture's alpha is then pulled to its twin's, that much beside the BCE (Xie et
    al., "Unsupervised Data Augmentation for Consistency Training", NeurIPS 2020).
    """

    def __init__(
        self,
        boundary: float = 3.0,
        consistency: float = 0.0,
        terms: dict[str, float] | None = None,
        heads: tuple[str, ...] = (),
    ) -> None:
        super().__init__(name="segmentation", reduction="sum_over_batch_size")
        self.terms = parse(DEFAULT) if terms is None else terms
        self.boundary = boundary * self.terms.get("boundary", 0.0)
        self.consistency, self.heads = consistency, heads

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        total = self.main(y_true, y_pred[..., :1])
        for channel, head in enumerate(self.heads, 1):
            total += HEADS.get(head, self.main)(y_true, y_pred[..., channel : channel + 1])
        return total

    def main(self, y_true: KerasTensor, logits: KerasTensor) -> KerasTensor:
        """The loss [N] of one channel of logits."""
        near = boundary_band(y_true)
        weight = 1.0 + self.boundary * near
        whole = ops.sum(weight, (1, 2, 3))
        total = ops.zeros_like(whole)
        for name, share in self.terms.items():
            if name in PIXEL_LOSSES:
                total += share * (ops.sum(weight * PIXEL_LOSSES[name](y_true, logits), (1, 2, 3)) / whole)
            elif name in PICTURE_LOSSES:
                total += share * PICTURE_LOSSES[name](y_true, logits)
        if self.consistency:
            total += self.consistency * ops.sum(weight * divergence(twins(logits), logits), (1, 2, 3)) / whole
        return total


def parse(text: str) -> dict[str, float]:
    """ "bce+0.5*lovasz" -> {"bce": 1.0, "lovasz": 0.5}. Raises ValueError naming what would work."""
    terms: dict[str, float] = {}
    for part in text.replace(",", "+").split("+"):
        weight, star, name = part.rpartition("*")
        name = name.strip()
        try:
            value = float(weight) if star else 1.0
        except ValueError:
            value = -1.0
        if name not in NAMES or name in terms or not 0 < value < float("inf"):
            raise ValueError(
                f"--loss {text}: write each once as NAME or WEIGHT*NAME, joined by +, out of {', '.join(NAMES)}"
            )
        terms[name] = value
    if "boundary" in terms and not terms.keys() & PIXEL_LOSSES.keys():
        raise ValueError(f"--loss {text}: boundary only weighs the pixels of bce and focal: add one of them")
    return terms


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


def focal(target: KerasTensor, logits: KerasTensor, gamma: float = 2.0) -> KerasTensor:
    """BCE a pixel times |target - alpha|^gamma: what is right already counts little. Soft targets allowed.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017; for soft targets Li et al.,
    "Generalized Focal Loss", NeurIPS 2020.
    """
    if not gamma:
        return bce(target, logits)
    # Away from 0, where a power below 1 would have no gradient
    gap = ops.maximum(ops.abs(target - ops.sigmoid(logits)), 1e-7)
    return gap**gamma * bce(target, logits)


def dice(target: KerasTensor, alpha: KerasTensor, smooth: float = 10.0) -> KerasTensor:
    """1 - soft Dice [N] of alphas [N, H, W, 1]; `smooth` keeps pictures without people well behaved.

    Source: Milletari et al., "V-Net", 3DV 2016.
    """
    both = ops.sum(target * alpha, (1, 2, 3))
    either = ops.sum(target, (1, 2, 3)) + ops.sum(alpha, (1, 2, 3))
    return 1.0 - (2.0 * both + smooth) / (either + smooth)


def lovasz(target: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """Lovasz hinge [N], the mean of person and background; targets count as masks (above 0.5).

    A pixel's error is 0 from a logit of 1 on the right side on, 1 on the fence, 2 at 1 on the wrong side.
    Source: Berman et al., "The Lovasz-Softmax Loss", CVPR 2018.
    """
    count = target.shape[1] * target.shape[2]
    truth = ops.reshape(ops.cast(target > 0.5, "float32"), (-1, count))
    errors = ops.relu(1.0 - ops.reshape(logits, (-1, count)) * (2.0 * truth - 1.0))
    # Turned about, labels and logits both change sign: the errors, and so their order, are the same.
    order = ops.argsort(ops.stop_gradient(-errors), axis=1)
    errors, truth = (ops.take_along_axis(values, order, axis=1) for values in (errors, truth))
    return (jaccard_extension(errors, truth) + jaccard_extension(errors, 1.0 - truth)) / 2


def jaccard_extension(errors: KerasTensor, truth: KerasTensor) -> KerasTensor:
    """Lovasz extension of 1 - IoU [N]: errors [N, P] from large to small, truth 0 or 1 [N, P] in their order.

    With errors of 0 and 1 alone it is 1 - IoU of the mask that has these errors.
    """
    person = ops.sum(truth, axis=1, keepdims=True)
    either = person + ops.cumsum(1.0 - truth, axis=1)
    lost = 1.0 - (person - ops.cumsum(truth, axis=1)) / ops.maximum(either, 1.0)
    steps = ops.concatenate([lost[:, :1], lost[:, 1:] - lost[:, :-1]], axis=1)
    return ops.sum(errors * ops.stop_gradient(steps), axis=1)


def edge(target: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """What an edge head learns [N]: the band of the boundary (Zhang et al., "PortraitNet", 2019)."""
    return EDGE * ops.mean(bce(boundary_band(target), logits), (1, 2, 3))


def semantic(target: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """What MODNet's semantic head learns [N]: alpha, without its detail, at a sixteenth of the size."""
    coarse = [ops.average_pool(x, 16, padding="same") for x in (target, ops.sigmoid(logits))]
    return DECOMPOSED * ops.mean((coarse[0] - coarse[1]) ** 2, (1, 2, 3))


def detail(target: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """What MODNet's detail head learns [N]: alpha near the boundary, and nothing elsewhere."""
    return DECOMPOSED * ops.mean(boundary_band(target) * ops.abs(target - ops.sigmoid(logits)), (1, 2, 3))


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


def _of_alpha(loss: Loss) -> Loss:
    return lambda target, logits: loss(target, ops.sigmoid(logits))


PIXEL_LOSSES: dict[str, Loss] = {"bce": bce, "focal": focal}
PICTURE_LOSSES: dict[str, Loss] = {"dice": _of_alpha(dice), "lovasz": lovasz, "scl": _of_alpha(scl)}
NAMES = ("bce", "dice", "boundary", "lovasz", "focal", "scl")
HEADS: dict[str, Loss] = {"edge": edge, "semantic": semantic, "detail": detail}
