"""Random geometry and texture changes for training, each a pure function on arrays.

Geometry moves image and alpha by one and the same matrix, so they cannot go apart. Texture changes
touch the image alone. Everything random comes from the generator passed in: same seed, same result.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

Texture = Callable[[np.ndarray, np.random.Generator], np.ndarray]
CURVE_POINTS = np.array([0.0, 85.0, 170.0, 255.0])


def random_matrix(
    shape: tuple[int, int],
    size: tuple[int, int],
    rng: np.random.Generator,
    strength: float = 1.0,
    smallest: float = 0.5,
) -> np.ndarray:
    """Affine matrix [2, 3] from a picture (height, width) to a canvas `size`.

    `strength` 0 is the plain letterbox; 1 adds a flip half the time, scale `smallest`..1.7, rotation up
    to 45 degrees (seldom beyond 15) and shifts up to a sixth of the canvas.
    """
    height, width = shape
    fit = min(size[0] / height, size[1] / width)
    zoom = float(np.exp(rng.uniform(np.log(smallest), np.log(1.7)))) ** strength
    angle = strength * float(np.clip(rng.normal(0, 12), -45, 45))
    shift = strength * rng.uniform(-0.17, 0.17, 2) * (size[1], size[0])
    matrix = cv2.getRotationMatrix2D((0, 0), angle, fit * zoom)
    if strength and rng.random() < 0.5:
        matrix[:, 0] *= -1
    centre = matrix[:, :2] @ ((width - 1) / 2, (height - 1) / 2)
    matrix[:, 2] = np.add(((size[1] - 1) / 2, (size[0] - 1) / 2), shift) - centre
    return matrix


def warp(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int = cv2.BORDER_CONSTANT
) -> np.ndarray:
    """Move a picture or alpha onto a canvas (height, width), averaging when shrinking.

    `border` is OpenCV's name for what is outside: black, or for instance the edge's colour.
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.6:  # bilinear sampling would skip pixels
        height, width = image.shape[:2]
        small = max(1, round(1.5 * scale * width)), max(1, round(1.5 * scale * height))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([width / small[0], height / small[1], 1.0])
    return cv2.warpAffine(image, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR, borderMode=border)


def brightness_contrast(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Contrast 0.6..1.5 about the middle, brightness -50..50."""
    contrast = rng.uniform(0.6, 1.5)
    return cv2.convertScaleAbs(_floor(image, 128 - 128 * contrast + rng.uniform(-50, 50), contrast))


def saturation_hue(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Saturation 0.3..1.7, hue turned by up to 12 degrees."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hue = ((np.arange(256) + int(rng.integers(-6, 7))) % 180).astype(np.uint8)
    saturation = np.clip(np.arange(256) * rng.uniform(0.3, 1.7), 0, 255).astype(np.uint8)
    table = np.stack([hue, saturation, np.arange(256, dtype=np.uint8)], -1)[None]
    return cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2RGB)


def tone_curve(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth curve for each channel: warm, cool, dark and bright casts, lifted or crushed shadows.

    Monotone splines through four moved points (Fritsch and Carlson, SIAM J. Numer. Anal. 1980), so
    tones never change places.
    """
    common = rng.uniform(-25, 25, 4)
    table = np.empty((1, 256, 3), np.uint8)
    for channel in range(3):
        moved = np.sort(np.clip(CURVE_POINTS + common + rng.uniform(-18, 18, 4), 0, 255))
        table[0, :, channel] = np.clip(PchipInterpolator(CURVE_POINTS, moved)(np.arange(256)), 0, 255)
    return cv2.LUT(image, table)


def light_source(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A point or line of light, or a shadow, anywhere in the picture."""
    height, width = image.shape[:2]
    y, x = np.ogrid[0:height, 0:width]
    y, x = y.astype(np.float32), x.astype(np.float32)
    centre_y, centre_x = np.float32(rng.uniform(0, height)), np.float32(rng.uniform(0, width))
    angle = rng.uniform(0, np.pi)
    sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    along = (x - centre_x) * cosine + (y - centre_y) * sine
    across = (y - centre_y) * cosine - (x - centre_x) * sine
    stretch = np.float32(1.0 if rng.random() < 0.5 else 0.1)
    spread = np.float32(rng.uniform(0.15, 0.6) * max(height, width))
    glow = np.exp(((stretch * along) ** 2 + across**2) / (-2 * spread**2))
    strength = np.float32(rng.uniform(-90, 130))
    return np.clip(image + (strength * glow)[..., None], 0, 255).astype(np.uint8)


def low_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A dark room: 15..50 % of the light and the grain that comes with it."""
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(2, 8))
    return np.clip(image * np.float32(rng.uniform(0.15, 0.5)) + grain, 0, 255).astype(np.uint8)


def noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian grain with a deviation of 2..14."""
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(2, 14))
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus (sigma 0.4..1.8) or moved (a line of 3..9 pixels)."""
    if rng.random() < 0.6:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8))
    length = int(rng.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1 / length
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), rng.uniform(0, 180), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1e-3))


def jpeg(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compression artefacts, quality 20..80."""
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
    (light_source, 0.15),
    (low_light, 0.04),
    (blur, 0.15),
    (noise, 0.2),
    (jpeg, 0.2),
    (grey, 0.04),
)


def texture(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All texture changes in order, each with its own probability; uint8 RGB in and out."""
    for change, share in TEXTURES:
        if rng.random() < share:
            image = change(image, rng)
    return image


def jittered_prior(
    alpha: np.ndarray, rng: np.random.Generator, blank: float = 0.4, other: np.ndarray | None = None
) -> np.ndarray:
    """A plausible previous alpha for the fourth channel: often blank, else moved, blurred, resized.

    Imperfect priors keep a network from copying its own mistakes on; so does, one time in ten, the
    alpha of some `other` picture, as after a cut. The movement goes from next to none, as between two frames
    of a video, to that of a jump. Source of blank and moved priors: the HiLens MODNet article.
    """
    draw = rng.random()
    if draw < blank:
        return np.zeros_like(alpha)
    if other is not None and draw > 0.9:
        return other.copy()
    size = alpha.shape
    amount = np.exp(rng.uniform(np.log(0.05), np.log(1.5)))
    matrix = cv2.getRotationMatrix2D(
        (size[1] / 2, size[0] / 2), amount * rng.normal(0, 4), np.exp(amount * rng.normal(0, 0.05))
    )
    matrix[:, 2] += amount * rng.normal(0, 0.03, 2) * (size[1], size[0])
    prior = cv2.warpAffine(alpha, matrix, (size[1], size[0]))
    kernel = np.ones((2 * int(amount * rng.integers(0, 4)) + 1,) * 2, np.uint8)
    prior = (cv2.dilate if rng.random() < 0.5 else cv2.erode)(prior, kernel)
    if rng.random() < 0.3:  # a part lost, as when an arm was missed
        y, x = int(rng.integers(0, size[0])), int(rng.integers(0, size[1]))
        prior[y : y + size[0] // 4, x : x + size[1] // 4] = 0
    return cv2.GaussianBlur(prior, (0, 0), 0.5 + amount * rng.uniform(0, 2))


def _floor(image: np.ndarray, add: float, scale: float) -> np.ndarray:
    """`image * scale + add` kept above zero; convertScaleAbs would mirror negative values."""
    return np.maximum(image.astype(np.float32) * scale + add, 0)
