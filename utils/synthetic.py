"""People onto new backgrounds, with estimated foregrounds so no fringe of the old scene comes along."""

from __future__ import annotations

import cv2
import numpy as np

from utils.images import resize


def estimate_foreground(image: np.ndarray, alpha: np.ndarray, radius: int = 0) -> np.ndarray:
    """The person's own colours under and beyond a soft edge, float32 [H, W, 3] in 0..255.

    Blur-fusion: the colour of nearby certain pixels, corrected by what the composite leaves over.
    `image` uint8 RGB, `alpha` 0..1; `radius` in pixels, 0 for a 12th of the longer side.
    Source: Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021; here pixels count by
    the cube of their certainty, which halves what a wide soft edge leaves of the old scene.
    """
    radius = radius or max(4, max(image.shape[:2]) // 12)
    image = image.astype(np.float32)
    alpha = np.ascontiguousarray(alpha, np.float32)
    foreground, background = image, image
    for size, power in ((2 * radius + 1, 3), (max(3, radius // 4 * 2 + 1), 1)):
        near_f = mean_near(foreground, alpha**power, size)
        near_b = mean_near(background, (1 - alpha) ** power, size)
        inside = alpha[..., None]
        rest = image - inside * near_f - (1 - inside) * near_b
        foreground = np.clip(near_f + inside * rest, 0, 255)
        background = near_b
    return foreground


def composite(
    foreground: np.ndarray, alpha: np.ndarray, background: np.ndarray, match: float = 0.0
) -> np.ndarray:
    """Foreground over background, uint8 [H, W, 3]; `match` 0..1 pulls its tone to the background's.

    Matched light makes the edge, not the tone, the cue that a network learns from.
    """
    foreground = foreground.astype(np.float32)
    if match:
        weight = alpha.sum() + 1e-5
        own = (foreground * alpha[..., None]).sum((0, 1)) / weight
        foreground = foreground + match * (background.mean((0, 1)) - own)
    mixed = foreground * alpha[..., None] + background * (1 - alpha[..., None])
    return np.clip(mixed, 0, 255).astype(np.uint8)


def lay_over(picture: np.ndarray, alpha: np.ndarray, foreground: np.ndarray, added: np.ndarray) -> None:
    """Somebody more in a picture float32 [H, W, 3] and its alpha, in place; only where `added` alpha is."""
    box = box_of(added)
    if box is None:
        return
    weight = added[box][..., None]
    picture[box] = foreground[box] * weight + picture[box] * (1 - weight)
    alpha[box] = added[box] + alpha[box] * (1 - added[box])


def box_of(alpha: np.ndarray, least: float = 0.0) -> tuple[slice, slice] | None:
    """Rows and columns that hold alpha above `least`; None where there is nobody."""
    rows, columns = np.flatnonzero(alpha.max(1) > least), np.flatnonzero(alpha.max(0) > least)
    if not len(rows):
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def random_crop(background: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random part of a picture, of random scale and mirrored half the time, at (height, width)."""
    height, width = background.shape[:2]
    scale = min(height / size[0], width / size[1]) * rng.uniform(0.5, 1.0)
    crop = max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
    top = int(rng.integers(0, height - crop[0] + 1))
    left = int(rng.integers(0, width - crop[1] + 1))
    part = background[top : top + crop[0], left : left + crop[1]]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    return resize(np.ascontiguousarray(part), *size)


def mean_near(values: np.ndarray, weight: np.ndarray, size: int) -> np.ndarray:
    """Weighted mean of the `size` x `size` pixels around each."""
    border = cv2.BORDER_REPLICATE
    wide = cv2.merge([weight] * 3)  # OpenCV multiplies alike shapes in a fraction of NumPy's time
    total = cv2.blur(cv2.multiply(values, wide), (size, size), borderType=border)
    amount = cv2.blur(weight, (size, size), borderType=border) + np.float32(1e-5)
    return cv2.divide(total, cv2.merge([amount] * 3))
