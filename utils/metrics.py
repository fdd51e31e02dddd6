"""Quality of one alpha against its truth; every function is checked by hand-computed cases in tests.

Alphas are float32 [H, W] in 0..1 of equal size; masks are alphas above 0.5. With nothing to find
and nothing found a score is 1.
"""

from __future__ import annotations

import math

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
    reach = math.ceil(width * float(np.hypot(*alpha.shape[:2])) - 1e-9)
    found, true = _contour(alpha > 0.5), _contour(truth > 0.5)
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


def grad(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Squared difference of the gradients' magnitudes (Gaussian derivative, sigma 1.4), summed, / 1000.

    Source: Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting", CVPR 2009.
    """
    found, true = (_gradient(a.astype(np.float32), 1.4) for a in (alpha, truth))
    return float(((found - true) ** 2).sum()) / 1000


def conn(alpha: np.ndarray, truth: np.ndarray, step: float = 0.1, theta: float = 0.15) -> float:
    """Difference in how strongly pixels hang together with the largest common piece, summed, / 1000.

    A pixel's level is the highest threshold at which it still belongs to that piece; what its alpha
    has above the level (if at least `theta`) counts as unconnected. Source: as `grad`.
    """
    level = np.ones(alpha.shape, np.float32)
    inside = np.ones(alpha.shape, bool)
    for number in range(1, round(1 / step) + 1):
        both = ((alpha >= number * step) & (truth >= number * step)).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(both, connectivity=4)
        largest = 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA]) if count > 1 else -1
        level[inside & (labels != largest)] = (number - 1) * step
        inside &= labels == largest
    excess = [values - level for values in (alpha, truth)]
    connected = [1 - gap * (gap >= theta) for gap in excess]
    return float(np.abs(connected[0] - connected[1]).sum()) / 1000


def flicker(before: np.ndarray, now: np.ndarray, alpha_before: np.ndarray, alpha: np.ndarray) -> float | None:
    """Mean |alpha(t) - alpha(t-1)| x 1000 where the picture stood still; needs no truth.

    `before` and `now` are frames uint8 [H, W, 3]. A pixel stood still if no smoothed grey difference
    around it exceeds 3 of 255. None if less than a hundredth of the picture did.
    """
    change = cv2.absdiff(*(cv2.GaussianBlur(_grey(frame), (0, 0), 2) for frame in (before, now)))
    still = cv2.dilate(change, np.ones((9, 9), np.uint8)) <= 3
    if still.mean() < 0.01:
        return None
    return 1000 * float(np.abs(alpha - alpha_before)[still].mean())


def temporal_consistency(
    before: np.ndarray, now: np.ndarray, alpha_before: np.ndarray, alpha: np.ndarray
) -> float:
    """IoU of the mask with the one before, moved along the optic flow (DIS) of the frames.

    Source: PP-HumanSeg (Chu et al., WACV 2022 workshops) measures its video networks so.
    """
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    moved = flow.calc(_grey(now), _grey(before), None)
    y, x = np.indices(alpha.shape, np.float32)
    warped = cv2.remap(
        alpha_before, x + moved[..., 0], y + moved[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return _iou(warped > 0.5, alpha > 0.5)


def dtssd(alpha_before: np.ndarray, alpha: np.ndarray, truth_before: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square of the error in alpha's change from frame to frame, x 100.

    Source: Erofeev et al., "Perceptually Motivated Benchmark for Video Matting", BMVC 2015.
    """
    error = (alpha - alpha_before) - (truth - truth_before)
    return 100 * float(np.sqrt((error**2).mean()))


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

# Slower, and only telling where the truth is a soft matte
MATTING = {"grad": grad, "conn": conn}


def score(alpha: np.ndarray, truth: np.ndarray, matting: bool = False) -> dict[str, float]:
    """All metrics of one picture by name; Grad and Conn with `matting`."""
    chosen = {**METRICS, **MATTING} if matting else METRICS
    return {name: metric(alpha, truth) for name, metric in chosen.items()}


def _grey(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def _inner_band(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Mask pixels at most `pixels` from the outside; the picture's edge counts as outside."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    kernel = np.ones((2 * pixels + 1,) * 2, np.uint8)
    eroded = cv2.erode(padded, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return mask & (eroded[1:-1, 1:-1] == 0)


def _contour(mask: np.ndarray) -> np.ndarray:
    """Pixels that differ from their right, lower or lower right neighbour; the picture's edge is none (as in DAVIS)."""
    padded = np.pad(mask, ((0, 1), (0, 1)), "edge")
    return (mask ^ padded[:-1, 1:]) | (mask ^ padded[1:, :-1]) | (mask ^ padded[1:, 1:])


def _gradient(alpha: np.ndarray, sigma: float) -> np.ndarray:
    """The gradient's magnitude by derivatives of a Gaussian, each kernel of L2 norm 1 (as in Rhemann's own code)."""
    half = math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * 0.01)))
    x = np.arange(-half, half + 1)
    bell = np.exp(-(x**2) / (2 * sigma**2))
    kernel = np.outer(bell, x * bell)
    kernel = (kernel / np.linalg.norm(kernel)).astype(np.float32)
    across, down = (
        cv2.filter2D(alpha, cv2.CV_32F, k, borderType=cv2.BORDER_REPLICATE) for k in (kernel, kernel.T)
    )
    return np.hypot(across, down)


def _distance(contour: np.ndarray) -> np.ndarray:
    return cv2.distanceTransform((~contour).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _pixels(shape: tuple[int, ...], share: float) -> int:
    return max(1, round(share * float(np.hypot(*shape[:2]))))
