"""A second look at small people: where they are few pixels of a photo, cut them out of it and look again.

A network sees a photo of any size in a few hundred pixels; of people far away that leaves little. Found by the
first look, they fill the second. For stills: it costs a second run where it is used.
"""

from __future__ import annotations

import numpy as np

from utils.images import Box

MARGIN = 0.12  # around the people, in shares of their longer side: the first look may have missed a hand
LARGE = 0.6  # of the photo: cutting out more than this gains too few pixels
FEWEST = 50  # pixels of people, below which there is nobody to look at


def where(alpha: np.ndarray) -> Box | None:
    """The part of a photo worth a second look, by its alpha [H, W]; None if there is none."""
    found = alpha > 0.5
    if found.sum() < FEWEST:
        return None
    rows, columns = (np.flatnonzero(found.any(axis)) for axis in (1, 0))
    height, width = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    margin = int(MARGIN * max(height, width)) + 4
    top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
    bottom = min(alpha.shape[0], rows[-1] + 1 + margin)
    right = min(alpha.shape[1], columns[-1] + 1 + margin)
    box = Box(int(top), int(left), int(bottom - top), int(right - left))
    return box if box.height * box.width < LARGE * alpha.size else None


def cut(frame: np.ndarray, box: Box) -> np.ndarray:
    """That part of a frame [H, W, 3] or alpha [H, W]."""
    part = frame[box.top : box.top + box.height, box.left : box.left + box.width]
    return np.ascontiguousarray(part)


def put(alpha: np.ndarray, part: np.ndarray, box: Box) -> np.ndarray:
    """`alpha` with the second look in its place."""
    result = alpha.copy()
    result[box.top : box.top + box.height, box.left : box.left + box.width] = part
    return result
