"""Steadying alpha from frame to frame, at the network's own size.

    memory = Temporal("smooth")
    alpha = memory(picture, alpha)      # uint8 RGB [h, w, 3] and alpha 0..1 [h, w], both as the network saw them

Ways: "off"; "smooth" holds pixels where the picture stands still and follows it where it moves; "flow" moves the last
alpha along the optic flow and mixes it in, as PP-HumanSeg does; "delay" is one frame late and mends a frame
that differs from both its neighbours (MODNet's one-frame delay). A cut, or nobody left, empties the memory.
"""

from __future__ import annotations

import cv2
import numpy as np

from utils import refine

CAUSAL = ("off", "smooth", "flow")  # these wait for no later frame
WAYS = (*CAUSAL, "delay")
HOLD = 0.85  # share of the old alpha kept where nothing moves
NOISE = 3.0  # grey levels that a camera's noise changes even so
NOISIEST = 3.0  # median change that can still be noise
CUT = 0.5  # correlation of two frames' thumbnails below which they show different scenes
GONE = 0.3  # highest alpha below which nobody is there
SMALLEST_FLOW = 32  # pixels; DIS ends the program on less
FADE = 0.25  # of the way a frame


class Temporal:
    """The memory of one stream: `alpha` is the last one given out, None at the start and after a reset."""

    def __init__(self, way: str = "smooth") -> None:
        if way not in WAYS:
            raise ValueError(f"--temporal {way}: choose one of {', '.join(WAYS)}")
        self.way = way
        self.resets = 0
        self._thumbnail: np.ndarray | None = None
        self.reset()

    def reset(self) -> None:
        """Forget what was."""
        self._grey: np.ndarray | None = None
        self.alpha: np.ndarray | None = None

    def watch(self, frame: np.ndarray) -> bool:
        """Whether a frame uint8 RGB [H, W, 3] of any size begins another scene; forgets, before a network is given
        the last alpha."""
        before, self._thumbnail = self._thumbnail, thumbnail(frame)
        if before is not None and self.alpha is not None and is_cut(before, self._thumbnail):
            self.reset()
            self.resets += 1
            return True
        return False

    def __call__(self, picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """The steadied alpha of this frame; both at the network's size."""
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        if float(alpha.max()) < GONE:
            self.reset()
            return alpha
        known = self._grey is not None and self._grey.shape == grey.shape
        if known and self.way in STEPS:
            alpha = STEPS[self.way](self._grey, grey, self.alpha, alpha)
        self._grey, self.alpha = grey, alpha
        return alpha


class OnePerson:
    """Keeps one person and lets the others fade: the largest, or the one chosen, followed from frame to frame."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin again with the largest person."""
        self._mask: np.ndarray | None = None
        self._weight: np.ndarray | None = None
        self._at: tuple[float, float] | None = None

    def choose(self, x: float, y: float) -> None:
        """Follow the person at this place from now on, in shares (0..1) of the picture's width and height."""
        self._at = (x, y)

    def __call__(self, alpha: np.ndarray) -> np.ndarray:
        """Alpha [h, w] of that person; a bystander fades in and out over some frames rather than blinking."""
        at = self._at or self._middle(alpha)
        self._at = None
        pixel = None if at is None else (int(at[0] * alpha.shape[1]), int(at[1] * alpha.shape[0]))
        kept = refine.one_person(alpha, pixel)
        self._mask = (kept > 0.5).astype(np.uint8)
        weight = np.where(alpha > kept + 1e-3, 0.0, 1.0).astype(np.float32)
        if self._weight is None or self._weight.shape != alpha.shape:
            self._weight = weight
        self._weight += FADE * (weight - self._weight)
        return np.where(self._mask > 0, kept, alpha * self._weight)

    def _middle(self, alpha: np.ndarray) -> tuple[float, float] | None:
        """A point of the person now found that was also theirs in the last frame, farthest from any edge."""
        if self._mask is None or self._mask.shape != alpha.shape:
            return None
        both = self._mask & (alpha > 0.5).astype(np.uint8)
        if not both.any():
            return None
        depth = cv2.distanceTransform(both, cv2.DIST_L2, 3)
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        return (x + 0.5) / alpha.shape[1], (y + 0.5) / alpha.shape[0]


def thumbnail(frame: np.ndarray) -> np.ndarray:
    """A frame in a few grey pixels, float32."""
    steps = (
        max(1, frame.shape[0] // 64),
        max(1, frame.shape[1] // 96),
    )  # skipped first: averaging all costs more
    few = np.ascontiguousarray(frame[:: steps[0], :: steps[1]])
    grey = cv2.cvtColor(few, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return cv2.resize(grey, (24, 16), interpolation=cv2.INTER_AREA)


def is_cut(before: np.ndarray, now: np.ndarray) -> bool:
    """Whether two thumbnails show different scenes; a change of light alone is none."""
    a, b = (picture - picture.mean() for picture in (before, now))
    power = float(np.sqrt((a * a).sum() * (b * b).sum()))
    flat = power < 100.0 * a.size / 384  # two nearly even pictures correlate by chance
    return not flat and float((a * b).sum()) / power < CUT


def stillness(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """1 where nothing moved between two grey frames [h, w], towards 0 where it did.

    The change is measured against the frame's own noise, the median change; a picture that moves as a whole is no noise.
    """
    change = cv2.blur(cv2.absdiff(before, now), (5, 5))
    allowed = NOISE + 2.0 * min(_median(change), NOISIEST)
    by_level = np.exp(-((np.arange(256, dtype=np.float32) / np.float32(allowed)) ** 2))
    return cv2.LUT(change, by_level)


def _median(levels: np.ndarray) -> float:
    """The median of uint8, from their histogram: a tenth of NumPy's time."""
    below = np.cumsum(cv2.calcHist([levels], [0], None, [256], [0, 256]))
    middle = np.searchsorted(below, ((levels.size - 1) // 2, levels.size // 2), side="right")
    return float(middle.mean())


def held(before: np.ndarray, now: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """`new` alpha, with the `old` one held where the picture stands still."""
    weight = HOLD * stillness(before, now)
    return old * weight + new * (1 - weight)


def flowed(before: np.ndarray, now: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """`new` alpha mixed with the `old` one moved along the optic flow, where flow there and back agree.

    Source: the demonstration of PP-HumanSeg: DIS flow; of the mixture .3 are new, .05 where nothing moves.
    """
    if min(now.shape) < SMALLEST_FLOW:
        return new
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    back, forth = flow.calc(now, before, None), flow.calc(before, now, None)
    y, x = np.mgrid[0 : now.shape[0], 0 : now.shape[1]].astype(np.float32)
    map_x, map_y = x + back[..., 0], y + back[..., 1]
    there = cv2.remap(forth, map_x, map_y, cv2.INTER_LINEAR)
    agrees = np.linalg.norm(there + back, axis=-1) < 1.0
    moved = cv2.remap(old, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # Flow may say "nothing moved" of an even wall before which a person appears: only what looks the same is kept.
    still = (np.linalg.norm(back, axis=-1) < 0.5) & (stillness(before, now) > 0.5)
    share = np.where(still, 0.05, 0.3)
    return np.where(agrees, moved * (1 - share) + new * share, new).astype(np.float32)


def mended(before: np.ndarray, middle: np.ndarray, after: np.ndarray, tolerance: float = 0.1) -> np.ndarray:
    """`middle` with the mean of its neighbours where these agree with each other and not with it.

    Source: the one-frame delay of MODNet, AAAI 2022.
    """
    agree = np.abs(before - after) < tolerance
    odd = (np.abs(middle - before) > tolerance) & (np.abs(middle - after) > tolerance)
    return np.where(agree & odd, (before + after) / 2, middle)


STEPS = {"smooth": held, "flow": flowed}
