"""Who stands before a scene that is known empty: background subtraction without a network.

    scene = MeanScene(); [scene.learn(frame) for frame in empty]; alpha = scene(frame)

Frames are uint8 RGB [H, W, 3] from a camera that stands still; alphas float32 [H, W] in 0..1.
"""

from __future__ import annotations

import cv2
import numpy as np

from utils.images import resize
from utils.refine import feather, one_person

DIFFERENCE = 25.0  # grey levels that count as changed, as in the reference toolkit
ADAPT = 0.02  # share of a frame that goes into the scene where nobody is
SHADOW = (0.4, 0.97)  # a shadow keeps the colour and loses this much light
WORKING = 360  # rows on which the person is looked for


class MeanScene:
    """The mean of the empty frames. Slow changes of light, and sudden ones of the whole picture, are followed."""

    def __init__(self) -> None:
        self._sum: np.ndarray | None = None
        self._count = 0

    @property
    def picture(self) -> np.ndarray:
        """The empty scene, uint8 RGB. Raises ValueError before any frame was learnt."""
        if self._sum is None:
            raise ValueError("no empty scene was seen yet: learn some frames first")
        return np.clip(self._sum / self._count, 0, 255).astype(np.uint8)

    def learn(self, frame: np.ndarray) -> None:
        """One more frame of the empty scene; all of one size."""
        frame = self._fitted(frame).astype(np.float32)
        self._sum = frame if self._sum is None else self._sum + frame
        self._count += 1

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Alpha of the largest body before the scene."""
        if self._sum is None:
            raise ValueError("no empty scene was seen yet: learn some frames first")
        fitted = self._fitted(frame)
        seen = cv2.blur(fitted, (5, 5)).astype(np.float32)
        scene = cv2.blur(self._sum / self._count, (5, 5))
        scene = scene * _gain(seen, scene)
        changed = (np.abs(seen - scene).max(2) > DIFFERENCE) & ~_shadow(seen, scene)
        body = _body(changed.astype(np.uint8))
        self._adapt(fitted.astype(np.float32), body)
        return _finish(body, frame.shape[:2])

    def _fitted(self, frame: np.ndarray) -> np.ndarray:
        """A frame at the size of the scene: a camera that came back may have another."""
        return small(frame) if self._sum is None else resize(frame, *self._sum.shape[:2])

    def _adapt(self, frame: np.ndarray, body: np.ndarray) -> None:
        # Near the person nothing is learnt either, or a slow hand would become part of the wall.
        near = cv2.dilate(body, np.ones((25, 25), np.uint8))
        mean = self._sum / self._count
        mean += ADAPT * (frame - mean) * (near == 0)[..., None]
        self._sum, self._count = mean, 1


class MixtureScene:
    """OpenCV's adaptive models of each pixel: "mog2" (Zivkovic, 2004) or "knn" (Zivkovic and van der Heijden, 2006)."""

    def __init__(self, kind: str) -> None:
        makers = {"mog2": cv2.createBackgroundSubtractorMOG2, "knn": cv2.createBackgroundSubtractorKNN}
        if kind not in makers:
            raise ValueError(f"--scene {kind}: choose one of mean, {', '.join(makers)}")
        self._model = makers[kind](detectShadows=True)
        self._learnt = 0
        self._size: tuple[int, int] | None = None  # at another one OpenCV would begin anew

    def learn(self, frame: np.ndarray) -> None:
        """One more frame of the empty scene."""
        self._learnt += 1
        self._model.apply(self._fitted(frame), learningRate=max(0.01, 1 / self._learnt))

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Alpha of the largest body before the scene."""
        if not self._learnt:
            raise ValueError("no empty scene was seen yet: learn some frames first")
        seen = self._fitted(frame)
        found = self._model.apply(seen, learningRate=0.0)
        body = _body((found == 255).astype(np.uint8))  # 127 is what they take for shadow
        # A person who stands still would fade into the scene: only the scene beside them is learnt.
        near = cv2.dilate(body, np.ones((25, 25), np.uint8))
        scene = self._model.getBackgroundImage()
        self._model.apply(np.where(near[..., None] > 0, scene, seen), learningRate=0.005)
        return _finish(body, frame.shape[:2])

    def _fitted(self, frame: np.ndarray) -> np.ndarray:
        seen = small(frame)
        self._size = self._size or seen.shape[:2]
        return resize(seen, *self._size) if seen.shape[:2] != self._size else seen


def open_scene(kind: str) -> MeanScene | MixtureScene:
    """By name: mean, mog2 or knn. Raises ValueError."""
    return MeanScene() if kind == "mean" else MixtureScene(kind)


def small(frame: np.ndarray) -> np.ndarray:
    """The frame at the size it is worked on."""
    scale = min(1.0, WORKING / frame.shape[0])
    return resize(frame, max(1, round(frame.shape[0] * scale)), max(1, round(frame.shape[1] * scale)))


def _gain(seen: np.ndarray, scene: np.ndarray) -> np.ndarray:
    """How the whole picture's light changed, by colour: the camera's own exposure, or a lamp."""
    ratio = seen[::4, ::4].reshape(-1, 3) / np.maximum(scene[::4, ::4].reshape(-1, 3), 8)
    return np.clip(np.median(ratio, 0), 0.5, 2.0).astype(np.float32)


def _shadow(seen: np.ndarray, scene: np.ndarray) -> np.ndarray:
    """Where the scene is only darker, its colours in the same proportion."""
    ratio = (seen + 1) / (scene + 1)
    light = ratio.mean(2)
    spread = ratio.max(2) - ratio.min(2)
    return (light > SHADOW[0]) & (light < SHADOW[1]) & (spread < 0.12)


def _body(changed: np.ndarray) -> np.ndarray:
    """The largest changed part, closed and filled, 0 or 1; nothing where all is tiny."""
    changed = cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    side = max(3, round(53 * changed.shape[0] / 720) | 1)  # 53 pixels of 720 rows, as in the reference
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    padded = cv2.copyMakeBorder(changed, side, side, side, side, cv2.BORDER_CONSTANT)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[side:-side, side:-side]
    largest = (one_person(closed.astype(np.float32)) > 0.5).astype(np.uint8)
    if largest.sum() < 0.002 * largest.size:
        return np.zeros_like(changed)
    contours, _ = cv2.findContours(largest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(changed)
    cv2.drawContours(filled, contours, -1, 1, cv2.FILLED)
    return filled


def _finish(body: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """At the frame's size, with an edge as soft as the reference's 25 pixels of 720 rows."""
    alpha = feather(body.astype(np.float32), 12 * body.shape[0] / 720)
    return np.clip(resize(alpha, *size), 0, 1)
