"""The gate every export passes: does the file give the same alpha as the network it came from?

    parity = compare(source, exported, frames)
    print(parity.faults("tflite_fp16") or "equal")

Differences are measured where they matter, on alpha at each photo's own size, and judged by one
table of tolerances.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from utils import metrics
from utils.segmenter import Segmenter


@dataclass(frozen=True)
class Tolerance:
    """What a format may cost; None where the measure does not fit it."""

    max: float | None = None
    mean: float | None = None
    iou: float | None = None
    iou_loss: float | None = None


# Measured on mobilenetv2_fpn 192x192 in training (IoU 0.89 and 0.90), over 160 photos it had not seen:
# float32 max 2.2e-5; float16 max 3.0e-2 (single pixels on an edge: 99.99 % are below 1.2e-2), mean
# 1.4e-4 (1.2e-3 on a Portrait-Net of random weights); int8 max 0.66, mean 4.2e-3, IoU between masks
# 0.987-0.993, change in IoU with truth -0.0015..+0.0008, whether 2 or 200 photos set the ranges.
FLOAT, WHOLE = Tolerance(max=1e-3), Tolerance(iou=0.97, iou_loss=0.005)
TOLERANCES = {
    "tflite": FLOAT,
    "tflite_fp16": Tolerance(max=0.1, mean=2e-3),
    "tflite_dynamic": WHOLE,
    "tflite_int8": WHOLE,
    "tflite_qat": WHOLE,
    "tflite_int16": WHOLE,
    "onnx": FLOAT,
    "onnx_int8": WHOLE,
    "saved_model": FLOAT,
    "openvino": FLOAT,
    "openvino_int8": WHOLE,
    "tfjs": FLOAT,
}
HARD = (
    "argmax",
    "packed",
)  # outputs that are 0 or 1: their source's alpha is cut at 0.5 before it is compared
# A pixel of 0.49999 may come out as 1; of these outputs a share may differ.
CUT = Tolerance(mean=1e-3)


@dataclass(frozen=True)
class Parity:
    """How far an export is from its source.

    max, mean: of |difference in alpha|, 0..1. iou: of the two masks, mean over photos. iou_change:
    IoU of the export against true masks minus that of the source, mean over photos; None without
    truth. boundary_change: the same of Boundary IoU. coverage: share of the photos' pixels that the source calls
    person. hard: the export gives 0 and 1 only. finite: every value it gives is a number.
    """

    photos: int
    max: float
    mean: float
    iou: float
    coverage: float
    iou_change: float | None = None
    boundary_change: float | None = None
    hard: bool = False
    finite: bool = True

    def faults(self, format: str) -> list[str]:
        """What exceeds the format's tolerance, in words; an empty list means the export is good.

        Where truth is known it judges the masks: a mask may differ, as long as it is not worse.
        """
        limit = TOLERANCES[format]
        if self.hard and limit is not WHOLE:
            limit = CUT
        found = [] if self.finite else ["gives values that are no numbers"]
        # "not <=" rather than ">", so that NaN fails too.
        if limit.max is not None and not self.max <= limit.max:
            found.append(f"max |d| {self.max:.2g} > {limit.max:g}")
        if limit.mean is not None and not self.mean <= limit.mean:
            found.append(f"mean |d| {self.mean:.2g} > {limit.mean:g}")
        if limit.iou_loss is not None and self.iou_change is not None:
            if not self.iou_change >= -limit.iou_loss:
                found.append(f"IoU with truth falls by {-self.iou_change:.4f} > {limit.iou_loss:g}")
        elif limit.iou is not None and not self.iou >= limit.iou:
            found.append(f"IoU between masks {self.iou:.4f} < {limit.iou:g}")
        return found

    def as_card(self) -> dict[str, float]:
        """The numbers for a model card."""
        numbers = {"photos": self.photos, "max": self.max, "mean": self.mean, "iou": self.iou}
        if self.iou_change is not None:
            numbers |= {"iou_change": self.iou_change, "boundary_change": self.boundary_change}
        return {name: value if name == "photos" else float(f"{value:.4g}") for name, value in numbers.items()}


def compare(
    source: Segmenter,
    exported: Segmenter,
    frames: Iterable[np.ndarray],
    truths: Iterable[np.ndarray] | None = None,
    hard: bool = False,
) -> Parity:
    """Run both on the same frames (uint8 RGB [H, W, 3]); `truths` are their masks [H, W] in 0..1.

    `hard` says that the export gives 0 and 1: both are cut at 0.5, at the network's size.
    A network with a fourth channel runs twice on each: with no prior, and with its source's alpha.
    Raises ValueError without frames, and where a truth has another size than its frame.
    """
    rows = []
    exported = Watched(exported)
    if hard:
        source = Cut(source)
    for frame, truth in _together(frames, truths):
        alpha = source(frame)
        rows.append(_differences(alpha, exported(frame), truth))
        if source.channels == 4:
            rows.append(_differences(source(frame, alpha), exported(frame, alpha), truth))
    if not rows:
        raise ValueError("there are no photos to compare the export on")
    columns = list(zip(*rows, strict=True))
    changes = [None, None] if truths is None else [float(np.mean(column)) for column in columns[4:]]
    means = [float(np.mean(column)) for column in columns[1:4]]
    photos = len(rows) // (2 if source.channels == 4 else 1)
    return Parity(photos, float(np.max(columns[0])), *means, *changes, hard, exported.finite)


class Watched(Segmenter):
    """A segmenter that remembers whether its file gave NaN or infinity, which those who use it see as 0 or 1."""

    def __init__(self, of: Segmenter) -> None:
        super().__init__(of.card, of.size, of.channels, of.threads)
        self._of, self.finite = of, True

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        alpha = self._of.infer(pixels)
        self.finite &= bool(np.isfinite(alpha).all())
        return alpha


class Cut(Segmenter):
    """A segmenter whose alpha is cut at 0.5 as it comes out of the network, as exports with a hard output give it."""

    def __init__(self, of: Segmenter) -> None:
        super().__init__(of.card, of.size, of.channels, of.threads)
        self._of = of

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        return (self._of.infer(pixels) >= 0.5).astype(np.float32)


def _together(frames: Iterable[np.ndarray], truths: Iterable[np.ndarray] | None) -> Iterable[tuple]:
    if truths is None:
        return ((frame, None) for frame in frames)
    return zip(frames, truths, strict=True)


def _differences(alpha: np.ndarray, other: np.ndarray, truth: np.ndarray | None) -> tuple[float, ...]:
    """Max and mean difference, IoU of the masks, person's share, change in IoU and Boundary IoU with truth."""
    difference = np.abs(alpha - other)
    change = boundary = 0.0
    if truth is not None:
        if truth.shape != alpha.shape:
            raise ValueError(f"a true mask of {truth.shape} does not fit its photo of {alpha.shape}")
        change = metrics.iou(other, truth) - metrics.iou(alpha, truth)
        boundary = metrics.boundary_iou(other, truth) - metrics.boundary_iou(alpha, truth)
    coverage = float((alpha > 0.5).mean())
    mean, most = float(difference.mean()), float(difference.max())
    return most, mean, metrics.iou(alpha, other), coverage, change, boundary
