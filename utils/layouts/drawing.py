"""COCO's polygons and run lengths as masks.

Both as pycocotools (https://github.com/cocodataset/cocoapi, common/maskApi.c) defines them: a pixel covers
x..x+1 and y..y+1, run lengths go down the columns and begin with what is not the object, and the compressed
form writes each as the difference to the last but one, five bits a character.
"""

from __future__ import annotations

import numpy as np


def draw_polygon(canvas: np.ndarray, points: np.ndarray) -> None:
    """Set the pixels of a uint8 canvas [H, W] to 1 whose centre lies in the polygon [N, 2] of (x, y).

    Inside is where a line crosses the outline an odd number of times. What lies beyond the canvas is cut.
    """
    height, width = canvas.shape
    x, y = points.T
    next_x, next_y = np.roll(points, -1, 0).T
    # Each edge crosses the centre lines of the rows first <= row < end.
    first = np.clip(np.ceil(np.minimum(y, next_y) - 0.5), 0, height).astype(np.int64)
    end = np.clip(np.ceil(np.maximum(y, next_y) - 0.5), 0, height).astype(np.int64)
    counts = end - first
    if not counts.any():
        return
    edge = np.repeat(np.arange(len(points)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    slope = (next_x[edge] - x[edge]) / (next_y[edge] - y[edge])
    column = np.ceil(x[edge] + (row + 0.5 - y[edge]) * slope - 0.5)
    column = np.clip(column, 0, width).astype(np.int64)
    top, left = row.min(), column.min()
    rows, columns = row.max() - top + 1, column.max() - left + 1
    crossed = np.bincount((row - top) * columns + column - left, minlength=rows * columns) & 1
    inside = np.bitwise_xor.accumulate(crossed.astype(np.uint8).reshape(rows, columns), axis=1)
    canvas[top : top + rows, left : left + columns] |= inside[:, : width - left]


def decode_runs(counts: np.ndarray, height: int, width: int) -> np.ndarray:
    """Run lengths as a mask uint8 0/1 [H, W]. Raises ValueError where they do not fill it exactly."""
    if counts.ndim != 1 or (counts < 0).any() or counts.sum() != height * width:
        raise ValueError(f"run lengths do not add up to {width}x{height} pixels")
    values = np.arange(len(counts), dtype=np.uint8) & 1
    return np.repeat(values, counts).reshape(width, height).T


def decompress(text: str) -> np.ndarray:
    """COCO's compressed run lengths as numbers int64 [N]. Raises ValueError."""
    signs = np.frombuffer(text.encode("latin-1", "replace"), np.uint8).astype(np.int64) - 48
    if not len(signs) or signs.min() < 0 or signs.max() > 63 or signs[-1] & 32:
        raise ValueError("compressed run lengths are damaged")
    last = (signs & 32) == 0
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    lengths = np.flatnonzero(last) + 1 - starts
    if lengths.max() > 12:
        raise ValueError("compressed run lengths are damaged")
    place = np.arange(len(signs)) - np.repeat(starts, lengths)
    counts = np.add.reduceat((signs & 31) << (5 * place), starts)
    counts -= np.where(signs[last] & 16, np.int64(1) << (5 * lengths), 0)  # two's complement
    for sequence in (counts[1::2], counts[2::2]):
        np.cumsum(sequence, out=sequence)
    return counts
