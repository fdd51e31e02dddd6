"""Making and mending one mask, without any window: strokes that grow to the region that is meant, undo, redo.

    editor = MaskEditor(frame, proposal)
    editor.stroke([(120, 80)], person=True, radius=9)
    editor.undo()
    mask = editor.alpha

A stroke is certain under the brush, grows to like colours around it (utils/geodesic.py) and leaves the soft edges
everywhere else as they are. What was painted earlier is never overgrown, only painted over.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import cv2
import numpy as np

from utils import geodesic, refine
from utils.images import Box, resize, to_uint8

CLICK_REACH = 8.0  # radii of the brush that a click grows at most
DRAG_REACH = 1.5  # and a stroke on either side: it shows its length by itself
HISTORY = 64 << 20  # bytes of packed steps to go back
EDGE = 0.02  # of the diagonal: half width of the band in which `refine_edge` works
EDGE_SIDE = 1024  # longer side on which edges are refined
NOBODY, PERSON, BACKGROUND = 0, 1, 2  # what was painted


class Step(NamedTuple):
    """A change: where, and the packed [2, h, w] bytes of matte and marks before and after."""

    box: Box
    before: bytes
    after: bytes


class MaskEditor:
    """One photo's mask under work. Raises ValueError where sizes differ.

    frame: uint8 RGB [H, W, 3]. proposal: alpha [H, W] in 0..1 that `reset` goes back to. mask: the alpha to
    start from, if not the proposal. history: bytes that undo may take; the oldest steps are given up first.
    """

    def __init__(
        self, frame: np.ndarray, proposal: np.ndarray, mask: np.ndarray | None = None, history: int = HISTORY
    ) -> None:
        start = proposal if mask is None else mask
        for alpha in (proposal, start):
            if alpha.shape != frame.shape[:2]:
                raise ValueError(
                    f"a mask of {_size(alpha)} does not fit a photo of {_size(frame)}: give one of its size"
                )
        self.frame, self._proposal, self._limit = frame, to_uint8(proposal), history
        # Matte and marks, as they are saved: bytes, so that undo and a saved file are exact.
        self._state = np.stack([to_uint8(start), np.zeros(frame.shape[:2], np.uint8)])
        self._done: list[Step] = []
        self._undone: list[Step] = []

    @property
    def alpha(self) -> np.ndarray:
        """The mask, float32 [H, W] in 0..1."""
        return self.matte.astype(np.float32) / 255

    @property
    def matte(self) -> np.ndarray:
        """The same as it is saved, uint8 [H, W]; a view, not to be written to."""
        view = self._state[0]
        view.flags.writeable = False
        return view

    def stroke(
        self, points: list[tuple[float, float]] | np.ndarray, person: bool, radius: float, grow: bool = True
    ) -> bool:
        """Paint along points (x, y) in pixels with a round brush; returns whether anything changed.

        One point is a click, which grows to at most `CLICK_REACH` radii. Raises ValueError for a radius that is not above zero, for no points and for
        points that are no numbers.
        """
        path = np.asarray(points, np.float64).reshape(-1, 2)
        if not len(path) or not np.isfinite(path).all() or not 0 < radius < np.inf:
            raise ValueError("a stroke needs points that are numbers and a radius above zero")
        reach = radius * (CLICK_REACH if len(path) == 1 else DRAG_REACH) if grow else 0.0
        box = geodesic.around(path, radius + reach + 2, self.frame.shape[:2])
        if box is None:
            return False
        part = _slices(box)
        brush = geodesic.path_mask((box.height, box.width), path - (box.left, box.top), radius)
        if not brush.any():
            return False
        kind, other = (PERSON, BACKGROUND) if person else (BACKGROUND, PERSON)
        matte, marks = self._state[(slice(None), *part)]
        added = brush
        if grow:
            region = geodesic.grown(self.frame[part], brush, reach, marks == other)
            added = np.maximum(brush, region)
        old = matte.astype(np.float32) / 255
        new = _joined(old, added) if person else 1 - _joined(1 - old, added)
        new = np.where((marks == other) & (brush <= 0.5), old, new)
        return self._change(box, np.stack([to_uint8(new), np.where(brush > 0.5, kind, marks)]))

    def refine_edge(self) -> bool:
        """Draw the edge to that of the photo by a guided filter (utils/refine.py), painted pixels aside."""
        scale = min(1.0, EDGE_SIDE / max(self.frame.shape[:2]))
        small = resize(self.alpha, *(max(1, round(side * scale)) for side in self.frame.shape[:2]))
        fine = refine.guided(self.frame, small, radius=6, epsilon=1e-4, levels=(0.1, 0.9))
        weight = self._band(small.shape) * (self._state[1] == NOBODY)
        return self._replace(to_uint8(self.alpha + weight * (fine - self.alpha)), self._state[1])

    def reset(self) -> bool:
        """Back to the network's proposal, as a step that can be undone."""
        return self._replace(self._proposal, np.zeros_like(self._proposal))

    def clear(self) -> bool:
        """Nobody at all, as a step that can be undone."""
        return self._replace(np.zeros_like(self._proposal), np.zeros_like(self._proposal))

    def undo(self) -> bool:
        """Take the last step back; False where there is none."""
        return self._move(self._done, self._undone, "before")

    def redo(self) -> bool:
        """Do the step again that was last taken back; False where there is none."""
        return self._move(self._undone, self._done, "after")

    @property
    def history_bytes(self) -> int:
        """What the steps to go back and forth take."""
        return sum(len(step.before) + len(step.after) for step in (*self._done, *self._undone))

    def _band(self, size: tuple[int, int]) -> np.ndarray:
        """1 near the mask's edge, falling to 0, float32 at the photo's size; worked out at `size`."""
        found = (resize(self.alpha, *size) > 0.5).astype(np.uint8)
        half = max(2.0, EDGE * float(np.hypot(*size)))
        away = [cv2.distanceTransform(side, cv2.DIST_L2, 5) for side in (found, 1 - found)]
        return resize(np.clip(2 - 2 * np.maximum(*away) / half, 0, 1), *self.frame.shape[:2])

    def _replace(self, matte: np.ndarray, marks: np.ndarray) -> bool:
        return self._change(Box(0, 0, *self.frame.shape[:2]), np.stack([matte, marks]))

    def _change(self, box: Box, new: np.ndarray) -> bool:
        """Put `new` [2, h, w] into `box`, remembering the smallest part that differs."""
        old = self._state[(slice(None), *_slices(box))]
        rows, columns = (np.flatnonzero((old != new).any((0, axis))) for axis in (2, 1))
        if not rows.size:
            return False
        inner = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        before, after = (_pack(state[(slice(None), *inner)]) for state in (old, new))
        height, width = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
        place = Box(box.top + int(rows[0]), box.left + int(columns[0]), int(height), int(width))
        old[...] = new
        self._undone.clear()
        self._done.append(Step(place, before, after))
        while self.history_bytes > self._limit and len(self._done) > 1:
            self._done.pop(0)
        return True

    def _move(self, source: list[Step], target: list[Step], side: str) -> bool:
        if not source:
            return False
        step = source.pop()
        target.append(step)
        packed = np.frombuffer(zlib.decompress(getattr(step, side)), np.uint8)
        self._state[(slice(None), *_slices(step.box))] = packed.reshape(2, step.box.height, step.box.width)
        return True


def _joined(old: np.ndarray, added: np.ndarray) -> np.ndarray:
    """The larger of both, without the thin seam of soft edge that would stay where they meet."""
    both = np.maximum(old, added)
    side = 2 * max(1, round(max(old.shape) / 150)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * side - 1,) * 2)
    closed = cv2.morphologyEx(both, cv2.MORPH_CLOSE, kernel, borderType=cv2.BORDER_REPLICATE)
    near = [cv2.dilate((alpha > 0.5).astype(np.uint8), kernel).astype(bool) for alpha in (old, added)]
    return np.where(near[0] & near[1], closed, both)


def _pack(state: np.ndarray) -> bytes:
    return zlib.compress(np.ascontiguousarray(state).tobytes(), 1)


def _slices(box: Box) -> tuple[slice, slice]:
    return slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
