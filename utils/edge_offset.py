"""Where a mask's edge lies beside the picture's own edge: hands and programs draw masks tight or generous, by a pixel.

Two sources that differ in it teach two edges, and a network learns neither: at 2 % of the diagonal a shift of
0.15 % (0.6 of 400 pixels) costs some 12 points of Boundary IoU. `utils/doctor.py` tells it, `utils/remask.py --grow` mends it.
"""

from __future__ import annotations

import cv2
import numpy as np

from utils.images import resize

SIDE = 384  # longer side on which is measured
REACH = 6  # pixels there, to either side
PLACES = np.arange(-REACH, REACH) + 0.5  # of a profile's values: pixels inside the mask's edge
CLEAR = 1.5  # times the median: a lower peak is no edge
FEWEST = 30  # pixels of the contour
TILE = 64  # pixels: a mask's edge is worked on in pieces, as enlarged it would not fit in memory
TRUSTED = 3.5  # pixels: a peak farther out is another edge


def profile(photo: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """Mean contrast of a photo uint8 [H, W, 3] along the normal of its mask uint8 [H, W]: one value, 0 and more, for each of PLACES.

    None where the mask has next to no edge inside the picture.
    """
    scale = min(1.0, SIDE / max(photo.shape[:2]))
    size = [max(1, round(side * scale)) for side in photo.shape[:2]]
    inside = (resize(mask, *size) > 127).astype(np.uint8)
    photo = cv2.GaussianBlur(resize(photo, *size), (0, 0), 0.7)
    margin = np.zeros(inside.shape, bool)
    margin[3:-3, 3:-3] = True
    depth = _depth(inside)
    if (margin & (np.abs(depth) < 1)).sum() < 2 * FEWEST:
        return None
    contrast = _contrast(photo, depth)
    bins = np.floor(depth).astype(int) + REACH
    counted = margin & (bins >= 0) & (bins < 2 * REACH)
    total = np.bincount(bins[counted], contrast[counted], 2 * REACH)
    count = np.bincount(bins[counted], minlength=2 * REACH)
    return (total / np.maximum(count, 1)).astype(np.float32)


def offset(mean: np.ndarray) -> float | None:
    """How many pixels (at SIDE) the mask's edge lies outside the picture's, by the peak of a mean profile; negative: inside.

    None where no peak stands out.
    """
    near = np.flatnonzero(np.abs(PLACES) <= TRUSTED)
    best = int(near[np.argmax(mean[near])])
    low, peak, high = mean[best - 1 : best + 2]
    if peak < CLEAR * np.median(mean) or peak < max(low, high):
        return None
    curve = low - 2 * peak + high
    return float(PLACES[best] + (0.5 * (low - high) / curve if curve else 0))


def grown(mask: np.ndarray, pixels: float) -> np.ndarray:
    """A mask float32 [H, W] in 0..1 grown by so many pixels and parts of them, or shrunk by a negative number."""
    margin = int(np.ceil(abs(pixels))) + 1
    result = mask.copy()
    height, width = mask.shape
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            first = max(0, top - margin), max(0, left - margin)
            around = mask[first[0] : top + TILE + margin, first[1] : left + TILE + margin]
            if around.min() == around.max():
                continue  # no edge near
            moved = _moved(around, pixels)[top - first[0] :, left - first[1] :]
            part = result[top : top + TILE, left : left + TILE]
            part[:] = moved[: part.shape[0], : part.shape[1]]
    return result


def _moved(mask: np.ndarray, pixels: float) -> np.ndarray:
    """The same of a small piece, enlarged so that parts of a pixel are whole ones."""
    fine = max(1, int(8 / max(1.0, abs(pixels))))
    radius = abs(pixels) * fine
    whole = int(np.ceil(radius))
    y, x = np.mgrid[-whole : whole + 1, -whole : whole + 1]
    disk = (np.hypot(x, y) <= radius + 0.25).astype(np.uint8)
    height, width = mask.shape
    large = cv2.resize(mask, (fine * width, fine * height), interpolation=cv2.INTER_LINEAR)
    large = (cv2.dilate if pixels > 0 else cv2.erode)(large, disk)
    return cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)


def _depth(inside: np.ndarray) -> np.ndarray:
    """Pixels from the contour, positive inside; the pixels along it have 0.5 and -0.5."""
    to_outside, to_inside = (
        cv2.distanceTransform(side, cv2.DIST_L2, cv2.DIST_MASK_5) for side in (inside, 1 - inside)
    )
    return np.where(inside > 0, to_outside - 0.5, 0.5 - to_inside)


def _contrast(photo: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Change of colour along the normal of the contour."""
    smooth = cv2.GaussianBlur(depth.astype(np.float32), (0, 0), 2)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    length = np.maximum(np.hypot(across, down), 1e-6)[..., None]
    lab = cv2.cvtColor(photo, cv2.COLOR_RGB2LAB).astype(np.float32)
    change = cv2.Sobel(lab, cv2.CV_32F, 1, 0) * (across[..., None] / length)
    change += cv2.Sobel(lab, cv2.CV_32F, 0, 1) * (down[..., None] / length)
    return np.linalg.norm(change, axis=2)
