"""Things that are no person, before and behind the people: pieces of other pictures, moved with the camera.

A network trained on people alone before a wall takes whatever stands in front for a person. Frames and colours are
RGB [H, W, 3] of 0..255, alphas float32 [H, W] of 0..1.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from utils import augment, synthetic
from utils.images import resize

LARGEST = 256  # pixels of a piece's longer side
HIDDEN = 0.5  # of a person, at most, behind things


class Piece(NamedTuple):
    """A thing cut out of a picture: float32 [h, w, 3] and its alpha [h, w]."""

    colours: np.ndarray
    alpha: np.ndarray


class Thing(NamedTuple):
    """A piece and the matrix [2, 3] that places it on a canvas."""

    piece: Piece
    matrix: np.ndarray


def piece_of(picture: np.ndarray, rng: np.random.Generator) -> Piece:
    """A piece of a picture uint8 RGB, or the whole of an RGBA cut-out.

    Half of the pieces follow the picture's own edges (an area of like colour and what it encloses), the others are
    bars, boxes and blobs.
    """
    if picture.shape[2] == 4:
        picture = resize(picture, *_within(picture.shape, LARGEST))
        alpha = picture[..., 3].astype(np.float32) / 255
        return Piece(synthetic.estimate_foreground(picture[..., :3], alpha), alpha)
    side = rng.uniform(0.35, 0.9, 2) * picture.shape[:2]
    height, width = (max(2, int(part)) for part in side)
    top = int(rng.integers(0, picture.shape[0] - height + 1))
    left = int(rng.integers(0, picture.shape[1] - width + 1))
    part = np.ascontiguousarray(picture[top : top + height, left : left + width])
    part = resize(part, *_within(part.shape, LARGEST))
    mask = _region(part, rng) if rng.random() < 0.5 else None
    mask = _shape(part.shape[:2], rng) if mask is None else mask
    alpha = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 1.2)).astype(np.float32) / 255
    # The outermost pixels mix with what was around: a piece has colours of its own up to the edge.
    return Piece(synthetic.estimate_foreground(part, alpha, 6), alpha)


def scatter(pieces: list[Piece], size: tuple[int, int], front: bool, rng: np.random.Generator) -> list[Thing]:
    """Pieces at random places of a canvas (height, width); those in `front` keep to its lower half and sides."""
    things = []
    for piece in pieces:
        height, width = piece.alpha.shape
        zoom = rng.uniform(0.15, 0.55) * max(size) / max(height, width)
        x, y = rng.uniform(0, 1), rng.uniform(0.55, 1.05) if front else rng.uniform(0.1, 1)
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-20, 20), zoom)
        matrix[:, 2] += (x * size[1] - width / 2, y * size[0] - height / 2)
        things.append(Thing(piece, matrix))
    return things


def lay(
    picture: np.ndarray, alpha: np.ndarray, thing: Thing, shift: tuple[float, float] = (0.0, 0.0)
) -> None:
    """Lay a thing over picture and alpha, in place, moved by `shift` (x, y) pixels; the person beneath is hidden."""
    box, colours, cover = _placed(alpha.shape, thing, shift)
    if cover is None:
        return
    picture[box] = colours * cover[..., None] + picture[box] * (1 - cover[..., None])
    alpha[box] *= 1 - cover


def hides_little(alpha: np.ndarray, thing: Thing) -> bool:
    """Whether at most half of the person in `alpha` would be behind the thing."""
    box, _, cover = _placed(alpha.shape, thing, (0.0, 0.0))
    return cover is None or float((alpha[box] * cover).sum()) <= HIDDEN * float(alpha.sum())


def _placed(size: tuple[int, int], thing: Thing, shift: tuple[float, float]) -> tuple:
    """The part of the canvas that the thing reaches, its colours and alpha there; None for a thing outside."""
    matrix = thing.matrix.copy()
    matrix[:, 2] += shift
    height, width = thing.piece.alpha.shape
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ matrix.T
    left, top = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, (size[1], size[0]))
    if right <= left or bottom <= top:
        return (slice(0), slice(0)), None, None
    matrix[:, 2] -= (left, top)
    inner = int(bottom - top), int(right - left)
    colours = augment.warp(thing.piece.colours, matrix, inner, cv2.BORDER_REPLICATE)
    cover = np.clip(augment.warp(thing.piece.alpha, matrix, inner), 0, 1)
    return (slice(top, bottom), slice(left, right)), colours, cover


def _region(part: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """An area of like colour around a random place, holes filled, uint8 0/255; None if too small or too large."""
    height, width = part.shape[:2]
    mask = np.zeros((height + 2, width + 2), np.uint8)
    seed = (
        int(rng.integers(width // 4, width - width // 4)),
        int(rng.integers(height // 4, height - height // 4)),
    )
    tolerance = (int(rng.integers(4, 14)),) * 3
    cv2.floodFill(cv2.medianBlur(part, 5), mask, seed, 0, tolerance, tolerance, 4 | cv2.FLOODFILL_MASK_ONLY)
    filled = cv2.morphologyEx(mask[1:-1, 1:-1], cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    filled[[0, -1]] = filled[:, [0, -1]] = 0  # where the picture ends, the thing does not
    outlines = cv2.findContours(filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    if not outlines:
        return None
    mask = np.zeros((height, width), np.uint8)
    cv2.drawContours(mask, [max(outlines, key=cv2.contourArea)], 0, 255, -1)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    return mask if 0.06 < np.count_nonzero(mask) / mask.size < 0.7 else None


def _shape(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A bar, a box or a blob with its middle on the canvas, uint8 0/255."""
    height, width = size
    mask = np.zeros(size, np.uint8)
    middle = width / 2, height / 2
    kind = int(rng.integers(3))
    if kind == 2:  # a closed curve about the middle whose radius wanders
        turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        waves = sum(np.cos(n * turn + rng.uniform(0, 6.28)) * rng.uniform(0, 0.5 / n) for n in range(2, 6))
        radius = 0.3 * (1 + waves)
        points = np.column_stack([np.cos(turn) * radius * width, np.sin(turn) * radius * height]) + middle
    else:
        long = rng.uniform(0.7, 0.95)
        wide = rng.uniform(0.05, 0.2) if kind == 0 else rng.uniform(0.4, 0.9)
        sides = (long * width, wide * height) if rng.random() < 0.5 else (wide * width, long * height)
        points = cv2.boxPoints((middle, sides, float(rng.uniform(-8, 8))))
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 255)
    return mask


def _within(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(shape[:2]))
    return max(2, round(shape[0] * scale)), max(2, round(shape[1] * scale))
