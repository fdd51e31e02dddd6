"""Random changes of a picture's colours, light and sharpness; nothing moves, so alpha stays as it is.

Each is a pure function, uint8 RGB [H, W, 3] in and out, alone or in the seeded pipeline `texture`. Everything
random comes from the generator passed in: same seed, same result.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

Texture = Callable[[np.ndarray, np.random.Generator], np.ndarray]
CURVE_POINTS = np.array([0.0, 85.0, 170.0, 255.0])
LEVELS = np.arange(256, dtype=np.float32)


def brightness(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lighter or darker by up to 50 levels."""
    return _graded(image, 1.0, rng.uniform(-50, 50))


def contrast(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Contrast 0.6..1.5 about the middle: flatter or harder."""
    return _graded(image, rng.uniform(0.6, 1.5), 0.0)


def brightness_contrast(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Both in one pass: contrast 0.6..1.5 about the middle, brightness -50..50."""
    return _graded(image, rng.uniform(0.6, 1.5), rng.uniform(-50, 50))


def saturation(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Saturation 0.3..1.7: paler or stronger colours."""
    return _coloured(image, 0, rng.uniform(0.3, 1.7))


def hue(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hue turned by up to 12 degrees."""
    return _coloured(image, int(rng.integers(-6, 7)), 1.0)


def saturation_hue(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Both in one pass: saturation 0.3..1.7, hue turned by up to 12 degrees."""
    return _coloured(image, int(rng.integers(-6, 7)), rng.uniform(0.3, 1.7))


def tone_curve(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth curve for each channel: warm, cool, dark and bright casts, lifted or crushed shadows."""
    common = rng.uniform(-25, 25, 4)
    moved = [np.sort(np.clip(CURVE_POINTS + common + rng.uniform(-18, 18, 4), 0, 255)) for _ in range(3)]
    return cv2.LUT(image, np.stack([curve(CURVE_POINTS, points) for points in moved], -1)[None])


def curve(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A table uint8 [256] through `values` at `points`, both rising within 0..256.

    A monotone spline (Fritsch and Carlson, SIAM J. Numer. Anal. 1980), so tones never change places.
    """
    return np.clip(PchipInterpolator(points, values)(np.arange(256)), 0, 255).astype(np.uint8)


def point_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A round spot of light, or of shadow, anywhere in the picture."""
    return _lit(image, 1.0, rng)


def line_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A streak of light, as from a tube or through a blind, or of shadow, at any angle."""
    return _lit(image, 0.1, rng)


def low_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A dark room: 15..50 % of the light and the grain that comes with it."""
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(2, 8))
    return np.clip(image * np.float32(rng.uniform(0.15, 0.5)) + grain, 0, 255).astype(np.uint8)


def noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian grain with a deviation of 2..14."""
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(2, 14))
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus: sigma 0.4..1.8 pixels."""
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8))


def motion_blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Moved while the shutter was open: a line of 3..9 pixels at any angle."""
    length = int(rng.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1 / length
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), rng.uniform(0, 180), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1e-3))


def jpeg(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compression artefacts, quality 20..80."""
    # The encoder takes the channels for BGR; given RGB both ways, only the artefacts of red and blue swap.
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 81))])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def grey(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A black-and-white photo."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


# Each with the share of pictures that get it.
TEXTURES: tuple[tuple[Texture, float], ...] = (
    (brightness_contrast, 0.5),
    (saturation_hue, 0.4),
    (tone_curve, 0.3),
    (point_light, 0.075),
    (line_light, 0.075),
    (low_light, 0.04),
    (blur, 0.09),
    (motion_blur, 0.06),
    (noise, 0.2),
    (jpeg, 0.2),
    (grey, 0.04),
)
# The pipeline takes pairs of changes in one pass; each alone:
SINGLE: tuple[Texture, ...] = (brightness, contrast, saturation, hue)
ALL: tuple[Texture, ...] = SINGLE + tuple(change for change, _ in TEXTURES[2:])


def texture(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All texture changes in order, each with its own probability; uint8 RGB in and out."""
    for change, share in TEXTURES:
        if rng.random() < share:
            image = change(image, rng)
    return image


def _graded(image: np.ndarray, gain: float, add: float) -> np.ndarray:
    """`gain` about the middle and `add` levels, as one table."""
    table = np.maximum(LEVELS * gain + (128 - 128 * gain + add), 0)  # convertScaleAbs would mirror negatives
    return cv2.LUT(image, cv2.convertScaleAbs(table)[None])


def _coloured(image: np.ndarray, turn: int, gain: float) -> np.ndarray:
    """Hue turned by `turn` steps of 2 degrees, saturation times `gain`."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    turned = ((np.arange(256) + turn) % 180).astype(np.uint8)
    stretched = np.clip(np.arange(256) * gain, 0, 255).astype(np.uint8)
    table = np.stack([turned, stretched, np.arange(256, dtype=np.uint8)], -1)[None]
    return cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2RGB)


def _lit(image: np.ndarray, stretch: float, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian glow of -90..130 levels; `stretch` 1 is round, less is longer along one direction."""
    height, width = image.shape[:2]
    y, x = np.ogrid[0:height, 0:width]
    y, x = y.astype(np.float32), x.astype(np.float32)
    centre_y, centre_x = np.float32(rng.uniform(0, height)), np.float32(rng.uniform(0, width))
    angle = rng.uniform(0, np.pi)
    sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    along = (x - centre_x) * cosine + (y - centre_y) * sine
    across = (y - centre_y) * cosine - (x - centre_x) * sine
    spread = np.float32(rng.uniform(0.15, 0.6) * max(height, width))
    glow = np.exp(((np.float32(stretch) * along) ** 2 + across**2) / (-2 * spread**2))
    strength = np.float32(rng.uniform(-90, 130))
    return np.clip(image + (strength * glow)[..., None], 0, 255).astype(np.uint8)
