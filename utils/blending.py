"""Compositing: frame, alpha and background in, picture out. Every filter is a pure function on arrays.

A background is given as SPEC: a colour (name, "#rrggbb" or "r,g,b"), a picture's path, "blur" or
"transparent".
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import ImageColor

from utils.images import read_image, resize
from utils.synthetic import estimate_foreground

WORKING_SIZE = 640
ROWS = 512


def clean_foreground(frame: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The frame with the old background's colour taken out of the soft edge, uint8 [H, W, 3].

    Foreground colours are estimated on a reduced picture (they are smooth) and used in proportion to
    how transparent a pixel is, so certain pixels keep every detail. `alpha` is 0..1.
    """
    height, width = alpha.shape
    small = _working_size(height, width)
    estimate = estimate_foreground(resize(frame, *small), resize(alpha, *small))
    result = np.empty_like(frame)
    estimate = np.clip(estimate, 0, 255).astype(np.uint8)
    estimate = resize(estimate, height, width)
    for part in _strips(height):
        keep = np.clip(alpha[part, :, None] * 10 - 9, 0, 1)  # all frame above alpha 1, none below 0.9
        mixed = frame[part] * keep + estimate[part] * (1 - keep)
        result[part] = np.rint(mixed)
    return result


def cutout(frame: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """RGBA uint8 [H, W, 4]: clean foreground with the alpha beside it (not multiplied in)."""
    return np.dstack([clean_foreground(frame, alpha), cv2.convertScaleAbs(alpha, alpha=255.0)])


def over(foreground: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """alpha * foreground + (1 - alpha) * background, uint8 [H, W, 3]; alpha 0..1."""
    result = np.empty_like(foreground)
    for part in _strips(len(foreground)):
        weight = alpha[part, :, None].astype(np.float32)
        result[part] = np.rint(foreground[part] * weight + background[part] * (1 - weight))
    return result


def blurred_background(frame: np.ndarray, alpha: np.ndarray, strength: float = 0.03) -> np.ndarray:
    """The scene out of focus without a glow around the person, uint8 [H, W, 3].

    The person is filled in from the surroundings first: a blur of the background alone, divided by
    how much background went into it. `strength` is the blur's sigma as a share of the longer side.
    """
    height, width = alpha.shape
    small = _working_size(height, width)
    sigma = max(0.5, strength * max(small))
    scene = resize(frame, *small).astype(np.float32)
    # Growing the person by a little keeps hair that the alpha missed out of the blur.
    reach = 2 * max(1, round(sigma / 3)) + 1
    weight = 1 - cv2.dilate(np.ascontiguousarray(resize(alpha, *small)), np.ones((reach, reach), np.uint8))
    total, amount = np.zeros_like(scene), np.zeros(small, np.float32)
    for spread in (sigma, 4 * sigma, 16 * sigma):  # wider blurs reach into the middle of the person
        share = 1.0 if spread == sigma else 1e-3
        total += share * _wide_blur(scene * weight[..., None], spread)
        amount += share * _wide_blur(weight, spread)
    mean = scene.mean((0, 1))
    filled = (total + 1e-6 * mean) / (amount[..., None] + 1e-6)
    return resize(np.clip(filled, 0, 255).astype(np.uint8), height, width)


def _wide_blur(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; wide ones on a reduced picture, where they cost no more than narrow ones."""
    height, width = values.shape[:2]
    step = max(1, int(sigma / 4))
    small = resize(values, max(1, round(height / step)), max(1, round(width / step)))
    return resize(cv2.GaussianBlur(small, (0, 0), sigma / step), height, width)


def fit_background(picture: np.ndarray, size: tuple[int, int], how: str = "cover") -> np.ndarray:
    """A background at (height, width) without squashing: "cover" crops, "contain" adds black, "tile"."""
    height, width = size
    if how == "tile":
        counts = -(-height // picture.shape[0]), -(-width // picture.shape[1]), 1
        return np.tile(picture, counts)[:height, :width]
    ratios = height / picture.shape[0], width / picture.shape[1]
    if how == "cover":  # cropped before it is enlarged: a narrow strip would become huge
        crop = [max(1, round(side / max(ratios))) for side in size]
        top, left = (max(0, (have - want) // 2) for have, want in zip(picture.shape, crop, strict=False))
        return resize(picture[top : top + crop[0], left : left + crop[1]], height, width)
    inner = [max(1, round(side * min(ratios))) for side in picture.shape[:2]]
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + inner[0], left : left + inner[1]] = resize(picture, *inner)
    return canvas


class Background:
    """A background read once and made for each frame: `background(frame, alpha)` -> uint8 [H, W, 3].

    Raises ValueError for a SPEC that is neither a colour, a readable picture, "blur" nor "transparent".
    """

    def __init__(self, spec: str, fit: str = "cover") -> None:
        self.spec, self.fit = spec, fit
        self.transparent = spec == "transparent"
        self.picture: np.ndarray | None = None
        self.colour: tuple[int, int, int] | None = None
        if spec in ("blur", "transparent"):
            return
        if Path(spec).is_file():
            self.picture = read_image(spec)
            return
        self.colour = parse_colour(spec)

    def __call__(self, frame: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        if self.picture is not None:
            return fit_background(self.picture, frame.shape[:2], self.fit)
        if self.colour is not None:
            return np.full_like(frame, self.colour)
        return blurred_background(frame, alpha)

    def compose(self, frame: np.ndarray, alpha: np.ndarray, cut: np.ndarray | None = None) -> np.ndarray:
        """The finished picture: RGB, or RGBA where the background is transparent."""
        cut = cutout(frame, alpha) if cut is None else cut
        if self.transparent:
            return cut
        return over(np.ascontiguousarray(cut[..., :3]), alpha, self(frame, alpha))


def parse_colour(spec: str) -> tuple[int, int, int]:
    """A colour's name, "#rrggbb" or "r,g,b" as 0..255 each. Raises ValueError."""
    text = f"rgb({spec})" if spec.count(",") == 2 else spec
    try:
        colour = ImageColor.getrgb(text)[:3]
        if max(colour) > 255:
            raise ValueError(f"{spec}: a colour's parts are 0..255")
        return colour
    except ValueError as error:
        raise ValueError(
            f"background {spec!r} is no colour and no picture that exists: give a colour (green, #00ff00, "
            "0,255,0), a picture's path, blur or transparent"
        ) from error


def _working_size(height: int, width: int) -> tuple[int, int]:
    """Half the size, at most `WORKING_SIZE`: enough for colours that are smooth or about to be blurred."""
    scale = min(0.5, WORKING_SIZE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _strips(height: int) -> list[slice]:
    """Rows in portions: a 100-megapixel photo in floats would not fit into memory at once."""
    return [slice(top, top + ROWS) for top in range(0, height, ROWS)]
