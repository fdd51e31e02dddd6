"""A pasted person and the scene made to look like one photo: light, sharpness and grain measured and matched.

Pictures are float32 or uint8 RGB [H, W, 3] of 0..255, alphas float32 [H, W] of 0..1. Nothing here is random but
the grain itself.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from utils.synthetic import box_of

BLOCK = 16
SOFTEST = 1.5  # pixels: a blur beyond this is depth of field, in which the person had no part
PREBLUR, REBLUR = 1.0, 1.5
DIFFERENCE = 1 / 3  # squared pixels: the blur of the difference between a pixel's neighbours
FEWEST_EDGES, FAINTEST_EDGE = 40, 3.0  # pixels, levels a pixel
GAINS = (0.6, 1.4)
BRIGHTEST = 245  # levels: a gain stops where it would burn out the brightest twentieth of the person
LAPLACE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


class Match(NamedTuple):
    """What makes a person and a scene one: the person's gains [3], then blur (sigma) and grain for each."""

    gains: np.ndarray
    person_blur: float
    scene_blur: float
    person_grain: float
    scene_grain: float


def grain(picture: np.ndarray, alpha: np.ndarray | None = None) -> float:
    """Deviation of the noise in levels, found where the picture is flattest; 0 where nothing is flat.

    With `alpha`, within the person only. Source: Immerkaer, "Fast Noise Variance Estimation", CVIU 1996; here in
    blocks, of which the fifth with the least detail counts, so that texture is not taken for noise.
    """
    grey = _grey(picture)
    detail = np.abs(cv2.filter2D(grey, -1, LAPLACE)) * np.float32(np.sqrt(np.pi / 2) / 6)
    height, width = (side // BLOCK for side in grey.shape)
    if not height or not width:
        return 0.0
    blocks = _blocks(detail, height, width)
    level = _blocks(grey, height, width)
    usable = (level > 12) & (level < 243)  # noise is cut off in black and white
    if alpha is not None:
        usable &= _blocks(alpha, height, width) > 0.98
    return float(np.percentile(blocks[usable], 20)) if usable.any() else 0.0


def blur_width(picture: np.ndarray, alpha: np.ndarray | None = None) -> float | None:
    """How soft the sharper edges are: the sigma in pixels of a blur that explains them; None without edges.

    An edge blurred once more by a known amount loses the more of its slope, the sharper it was.
    Source: Zhuo and Sim, "Defocus map estimation from a single image", Pattern Recognition 2011.
    """
    grey = cv2.GaussianBlur(_grey(picture), (0, 0), PREBLUR)  # tames grain; taken off the result again
    slope, slope_again = _slope(grey), _slope(cv2.GaussianBlur(grey, (0, 0), REBLUR))
    edge = (slope > FAINTEST_EDGE + grain(picture, alpha)) & (
        slope >= cv2.dilate(slope, np.ones((3, 3), np.uint8))
    )
    if alpha is not None:
        edge &= cv2.erode(alpha, np.ones((5, 5), np.uint8)) > 0.98
    if np.count_nonzero(edge) < FEWEST_EDGES:
        return None
    edge &= slope >= np.percentile(slope[edge], 70)  # steps between things rather than their texture
    ratio = float(np.percentile(slope[edge] / np.maximum(slope_again[edge], 1e-3), 50))
    variance = REBLUR**2 / max(ratio**2 - 1, 0.02) - PREBLUR**2 - DIFFERENCE
    return float(np.sqrt(max(variance, 0.04)))


def measure(foreground: np.ndarray, alpha: np.ndarray, scene: np.ndarray, strength: float) -> Match:
    """How to match a person to a scene of the same size; `strength` 0 leaves both as they are, 1 goes all the way.

    Light is matched by channel gains of 0.6..1.4. The softer of the two gives its sharpness to the other, as does the
    grainier its grain.
    """
    box = box_of(alpha, 0.02)
    if box is None or strength <= 0:
        return Match(np.ones(3, np.float32), 0.0, 0.0, 0.0, 0.0)
    inside, weight = foreground[box], alpha[box]
    own = (inside * weight[..., None]).sum((0, 1)) / weight.sum()
    around = np.maximum(cv2.mean(scene)[:3], 4.0)
    bright = np.percentile(inside[weight > 0.5][::7], 95, axis=0) if (weight > 0.5).any() else own
    most = np.clip(BRIGHTEST / np.maximum(bright, 4.0), 1.0, GAINS[1])
    gains = np.clip((around / np.maximum(own, 4.0)) ** strength, GAINS[0], most).astype(np.float32)
    softness = blur_width(inside, weight), blur_width(scene)
    missing = 0.0 if None in softness else softness[1] ** 2 - softness[0] ** 2
    person_blur, scene_blur = (
        strength * min(float(np.sqrt(max(part, 0))), SOFTEST) for part in (missing, -missing)
    )
    noise = grain(scene) ** 2 - (grain(inside, weight) * float(gains.mean())) ** 2
    person_grain, scene_grain = (strength * float(np.sqrt(max(part, 0))) for part in (noise, -noise))
    return Match(gains, person_blur, scene_blur, person_grain, scene_grain)


def match_person(
    foreground: np.ndarray, alpha: np.ndarray, match: Match, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The person with the scene's light, sharpness and grain; the alpha is blurred with the colours."""
    foreground = foreground * match.gains
    if match.person_blur > 0.2:
        foreground = cv2.GaussianBlur(foreground, (0, 0), match.person_blur)
        alpha = np.clip(cv2.GaussianBlur(alpha, (0, 0), match.person_blur), 0, 1)
    return _grained(foreground, match.person_grain, rng), alpha


def match_scene(scene: np.ndarray, match: Match, rng: np.random.Generator) -> np.ndarray:
    """The scene with the person's sharpness and grain where those were the softer or the grainier."""
    if match.scene_blur > 0.2:
        scene = cv2.GaussianBlur(scene, (0, 0), match.scene_blur)
    return _grained(scene, match.scene_grain, rng)


def _grained(picture: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Grain that is the same in all channels, as it is in most photos once they are compressed."""
    if deviation < 0.3:
        return picture
    noise = rng.standard_normal(picture.shape[:2], np.float32) * np.float32(deviation)
    return picture + noise[..., None]


def _grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(picture, np.float32), cv2.COLOR_RGB2GRAY)


def _slope(grey: np.ndarray) -> np.ndarray:
    return cv2.magnitude(
        cv2.filter2D(grey, -1, np.array([[-0.5, 0, 0.5]], np.float32)),
        cv2.filter2D(grey, -1, np.array([[-0.5], [0], [0.5]], np.float32)),
    )


def _blocks(values: np.ndarray, height: int, width: int) -> np.ndarray:
    whole = np.ascontiguousarray(values[: height * BLOCK, : width * BLOCK], np.float32)
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
