"""Compositing: frame, alpha and background in, picture out. Every filter is a pure function on arrays.

Frames, foregrounds and backgrounds are uint8 RGB [H, W, 3] of one size, alphas float32 [H, W] in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from utils.images import resize
from utils.synthetic import estimate_foreground, mean_near

WORKING_SIZE = 640
LIVE_SIZE = 128  # longer side on which live loops estimate what is smooth
WRAP_WIDTH = 0.02
STRIP = 32  # rows of half a frame that are worked on together
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
    """alpha * foreground + (1 - alpha) * background, uint8 [H, W, 3]; alpha 0..1.

    In 8 bits, right to one level, and exact where alpha is 0 or 1: a fifth of the time of floats.
    """
    weight = cv2.merge([cv2.convertScaleAbs(alpha, alpha=255.0)] * 3)
    # In place: on fresh memory the system spends more time clearing pages than this takes.
    result = cv2.multiply(foreground, weight, scale=1 / 255)
    cv2.bitwise_not(weight, dst=weight)
    cv2.multiply(background, weight, dst=weight, scale=1 / 255)
    return cv2.add(result, weight, dst=result)


def over_live(frame: np.ndarray, alpha: np.ndarray, background: np.ndarray, wrap: float = 0.0) -> np.ndarray:
    """The composite for live loops, uint8 [H, W, 3]: `over`, the old background's colour and `light_wrap` in one.

    A soft pixel I = a F + (1 - a) B mixes the colours nearby that are certainly the person's and certainly not, so a F is
    a I + a (1 - a) (F - B). F - B is smooth and found on a picture of `LIVE_SIZE`, as is the wrapped light of strength
    `wrap` (0..1); both are added at half size.
    """
    box = _around(alpha)
    result = background.copy()
    if box is None:
        return result
    frame, alpha, background = frame[box], alpha[box], background[box]
    seen, thin = _live(frame, alpha)
    light = None
    if wrap:
        behind = _live(background, alpha)[0]
        mixed = over(seen, thin, behind).astype(np.float32)
        light = _wrapped(mixed, thin, behind, wrap, WRAP_WIDTH) - mixed
    ours = over(frame, alpha, background)
    for rows, change in _changes(alpha, _contrast(seen, thin), lambda a: a * (1 - a), light):
        cv2.addWeighted(ours[rows], 1.0, change, 1.0, -128.0, dst=ours[rows])
    result[box] = ours
    return result


def foreground_live(frame: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`clean_foreground` for live loops, uint8 [H, W, 3]: F = I + (1 - a) (F - B), see `over_live`."""
    result = frame.copy()
    for rows, change in _changes(alpha, _contrast(*_live(frame, alpha)), lambda a: 1 - a):
        cv2.addWeighted(result[rows], 1.0, change, 1.0, -128.0, dst=result[rows])
    return result


def alone(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3], black in place where nobody is near: who leaves alpha out must not see the room.

    Near is 8 pixels, so that a lossy codec does not draw the black into a person's edge.
    """
    near = cv2.dilate((alpha > 0.002).astype(np.uint8), np.ones((17, 17), np.uint8))
    return cv2.copyTo(picture, near)


def _around(alpha: np.ndarray) -> tuple[slice, slice] | None:
    """The part of the frame in which there is anybody, found on every eighth pixel."""
    found = alpha[::8, ::8] > 0.002
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    if not len(rows):
        return None
    return tuple(slice(max(0, 8 * int(at[0]) - 8), 8 * int(at[-1]) + 16) for at in (rows, columns))


def _live(picture: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both at the size on which live loops find what is smooth: every n-th pixel, as averaging takes ten times as long."""
    step = max(1, -(-max(alpha.shape) // LIVE_SIZE))
    return np.ascontiguousarray(picture[::step, ::step]), np.ascontiguousarray(alpha[::step, ::step])


def _contrast(seen: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Nearby person's less nearby background's colour, float32 [h, w, 3]."""
    side = 2 * max(5, max(alpha.shape) // 20) + 1
    colours, rest = seen.astype(np.float32), 1 - alpha
    return mean_near(colours, alpha * alpha * alpha, side) - mean_near(colours, rest * rest * rest, side)


def _changes(
    alpha: np.ndarray,
    contrast: np.ndarray,
    weight: Callable[[np.ndarray], np.ndarray],
    light: np.ndarray | None = None,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Strips of rows, and what is added to each: the contrast by a function of alpha, and the light, as uint8 about 128.

    At half size in 8 bits, which are fast to enlarge; strip by strip, so that all of it stays in the processor's cache,
    with a row more on each side, so that strips have no seams.
    """
    height, width = (-(-side // 2) for side in alpha.shape)
    share = weight(resize(alpha, height, width))
    contrast = cv2.resize(contrast, (width, height))
    light = None if light is None else cv2.resize(light, (width, height))
    for top in range(0, height, STRIP):
        first = max(0, top - 1)
        near = slice(first, top + STRIP + 1)
        change = cv2.multiply(contrast[near], cv2.merge([share[near]] * 3))
        if light is not None:
            cv2.add(change, light[near], dst=change)
        change = cv2.add(change, (128.0,) * 3, dtype=cv2.CV_8U)
        change = cv2.resize(change, None, fx=2, fy=2)[2 * (top - first) :, : alpha.shape[1]]
        rows = slice(2 * top, min(2 * (top + STRIP), len(alpha)))
        yield rows, change[: rows.stop - rows.start]


def tint(
    frame: np.ndarray, alpha: np.ndarray, colour: tuple[int, int, int], strength: float = 0.5
) -> np.ndarray:
    """The frame with a colour (0..255 each) laid over the person; `strength` 0..1."""
    return over(np.full_like(frame, colour), alpha * strength, frame)


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


def colour_transfer(frame: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The frame with the person's tones moved to the background's: mean and spread in Lab.

    Source: Reinhard et al., "Color Transfer between Images", 2001. Without a person, the frame itself.
    """
    weight = alpha.astype(np.float32)
    total = float(weight.sum())
    if total < 1:
        return frame
    lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    goal = cv2.cvtColor(background.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    mean = (lab * weight[..., None]).sum((0, 1)) / total
    spread = np.sqrt((((lab - mean) ** 2) * weight[..., None]).sum((0, 1)) / total)
    # Before an even wall the person would become as even: half of the contrast stays in any case.
    gain = np.clip(goal.std((0, 1)) / np.maximum(spread, 1e-3), 0.5, 2.0)
    moved = (lab - mean) * gain + goal.mean((0, 1))
    return np.rint(np.clip(cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_Lab2RGB), 0, 1) * 255).astype(
        np.uint8
    )


def seamless_clone(frame: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The person cloned into the background of the same size by Poisson blending; needs some person.

    As in the reference toolkit, the mask is grown by 7x7 so that the gradients at the edge are the wall's, and the
    person stands on the lower edge.
    Source: Perez et al., "Poisson Image Editing", 2003. Without a person, the background itself.
    """
    mask, (left, _, width, height), _ = _clone(alpha)
    if min(width, height) < 4:
        return over(frame, alpha, background)
    centre = (left + width // 2, len(alpha) - 1 - height + height // 2)
    return cv2.seamlessClone(frame, background, mask, centre, cv2.NORMAL_CLONE)


def dropped(alpha: np.ndarray) -> np.ndarray:
    """Alpha where `seamless_clone` puts the person: moved down to the lower edge."""
    _, box, rows = _clone(alpha)
    if min(box[2:]) < 4:
        return alpha
    moved = np.zeros_like(alpha)
    moved[rows:] = alpha[: len(alpha) - rows]
    return moved


def _clone(alpha: np.ndarray) -> tuple[np.ndarray, tuple[int, ...], int]:
    """What is cloned, uint8 0 or 255 [H, W], its box (left, top, width, height) and the rows it moves down."""
    mask = cv2.dilate((alpha > 0.5).astype(np.uint8) * 255, np.ones((7, 7), np.uint8))
    # Pixels on the frame's own edge have no outer neighbour to be blended with.
    mask[[0, -1]] = 0
    mask[:, [0, -1]] = 0
    box = tuple(cv2.boundingRect(mask))
    return mask, box, len(alpha) - 1 - box[3] - box[1]


def light_wrap(
    composite: np.ndarray,
    alpha: np.ndarray,
    background: np.ndarray,
    strength: float = 0.4,
    width: float = WRAP_WIDTH,
) -> np.ndarray:
    """The background's light on the rim of the person: its blur, screened over the inner edge.

    `strength` 0..1; `width` of the rim as a share of the longer side.
    """
    wrapped = _wrapped(composite.astype(np.float32), alpha, background, strength, width)
    return np.rint(wrapped).astype(np.uint8)


def _wrapped(
    picture: np.ndarray, alpha: np.ndarray, background: np.ndarray, strength: float, width: float
) -> np.ndarray:
    sigma = max(1.0, width * max(alpha.shape))
    rim = np.clip(alpha * (1 - _wide_blur(alpha, sigma)) * 2, 0, 1) * strength
    glow = _wide_blur(background.astype(np.float32), 2 * sigma)
    # Screened, 255 - (255 - picture) (255 - glow) / 255 is this much lighter than the picture
    return picture + glow * (1 - picture / 255) * rim[..., None]


def _working_size(height: int, width: int) -> tuple[int, int]:
    """Half the size, at most `WORKING_SIZE`: enough for colours that are smooth or about to be blurred."""
    scale = min(0.5, WORKING_SIZE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _strips(height: int) -> list[slice]:
    """Rows in portions: a 100-megapixel photo in floats would not fit into memory at once."""
    return [slice(top, top + ROWS) for top in range(0, height, ROWS)]
