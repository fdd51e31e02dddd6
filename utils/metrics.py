"""Quality of one alpha against its truth; every function is checked by hand-computed cases in tests.

Alphas are float32 [H, W] in 0..1 of equal size; masks are alphas above 0.5. With nothing to find
and nothing found a score is 1.
"""

from __future__ import annotations

import cv2
import numpy as np


def iou(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of the person."""
    return _iou(alpha > 0.5, truth > 0.5)


def two_class_iou(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Mean of the IoU of person and background (mIoU)."""
    found, true = alpha > 0.5, truth > 0.5
    return (_iou(found, true) + _iou(~found, ~true)) / 2


def boundary_iou(alpha: np.ndarray, truth: np.ndarray, width: float = 0.02) -> float:
    """IoU of the inner boundary bands, `width` of the picture's diagonal wide (at least a pixel).

    Source: Cheng et al., "Boundary IoU", CVPR 2021.
    """
    pixels = _pixels(alpha.shape, width)
    return _iou(_inner_band(alpha > 0.5, pixels), _inner_band(truth > 0.5, pixels))


def boundary_f(alpha: np.ndarray, truth: np.ndarray, width: float = 0.008) -> float:
    """F-measure of contour pixels that have a partner within `width` of the diagonal.

    Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for VOS", CVPR 2016.
    """
    reach = _pixels(alpha.shape, width)
    found, true = _inner_band(alpha > 0.5, 1), _inner_band(truth > 0.5, 1)
    if not found.any() or not true.any():
        return float(found.any() == true.any())
    precision = float((_distance(true)[found] <= reach).mean())
    recall = float((_distance(found)[true] <= reach).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def mad(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute difference, x 1000."""
    return 1000 * float(np.abs(alpha - truth).mean())


def mse(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Mean squared error, x 1000."""
    return 1000 * float(((alpha - truth) ** 2).mean())


def pixel_accuracy(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Share of pixels on the right side of 0.5."""
    return float(((alpha > 0.5) == (truth > 0.5)).mean())


METRICS = {
    "iou": iou,
    "miou": two_class_iou,
    "boundary_iou": boundary_iou,
    "boundary_f": boundary_f,
    "mad": mad,
    "mse": mse,
    "accuracy": pixel_accuracy,
}


def score(alpha: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """All metrics of one picture by name."""
    return {name: metric(alpha, truth) for name, metric in METRICS.items()}


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def _inner_band(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Mask pixels at most `pixels` from the outside; the picture's edge counts as outside."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    kernel = np.ones((2 * pixels + 1,) * 2, np.uint8)
    eroded = cv2.erode(padded, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return mask & (eroded[1:-1, 1:-1] == 0)


def _distance(contour: np.ndarray) -> np.ndarray:
    return cv2.distanceTransform((~contour).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _pixels(shape: tuple[int, ...], share: float) -> int:
    return max(1, round(share * float(np.hypot(*shape[:2]))))
