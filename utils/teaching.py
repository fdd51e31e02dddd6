"""What a network learns from besides the masks: a teacher's alpha, and its own of the frame before."""

from __future__ import annotations

import cv2
import keras
import numpy as np

from utils import backend
from utils.augment import warp

STILL = 0.45  # of the pictures with a prior, those in which nothing moved since the frame before
MOVED = 0.4  # those in which everything did; the others keep the drawn prior of the batch


class Teaching:
    """Makes what `network` is trained on from photos and true alphas.

    A `teacher` (of the same input size) makes `teach` (0..1) of every target: it sees the very picture the
    network sees, augmented as it is (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).
    `hold` (0..1) teaches a network with a prior to keep to it where nothing moved, see `held`. Raises ValueError.
    """

    def __init__(
        self,
        network: keras.Model,
        teacher: keras.Model | None = None,
        teach: float = 0.5,
        hold: float = 0.0,
        precision: str = "auto",
    ) -> None:
        if not 0 <= teach <= 1:
            raise ValueError(f"--teach {teach}: the teacher's share is 0..1")
        if not 0 <= hold < 1 or (hold and network.input_shape[3] != 4):
            raise ValueError(
                f"--hold {hold}: give 0..1 (1 not included), and --channels 4 for the prior that is held"
            )
        self.teach, self.hold = teach, hold
        self.teacher = _compiled(teacher, precision) if teacher else None
        self.earlier = _compiled(network, precision) if hold else None

    def batch(
        self, pixels: np.ndarray, alpha: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [N, H, W, C] and target [N, H, W, 1] of a step, from a batch's pixels and true alphas."""
        target = self.target(pixels, alpha)
        return self.held(pixels, target, rng) if self.hold else (pixels, target)

    def target(self, pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """What is learnt from a batch: the true alpha [N, H, W, 1], mixed with the teacher's if there is one."""
        if self.teacher is None:
            return alpha
        taught = self.teacher.predict_on_batch(pixels[..., : self.teacher.input_shape[3]])
        return (1 - self.teach) * alpha + self.teach * np.asarray(taught, np.float32)

    def held(
        self, pixels: np.ndarray, target: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """In most pictures that have a prior, make it the network's own alpha of the frame before.

        That frame is the picture with a camera's other grain and exposure: where nothing moved, what flickers between
        the two is damped, as `hold` of the target is that alpha. Where the camera or the people moved, the own alpha is
        a prior in the wrong place with the network's own mistakes in it; the target stays the truth, so that these
        do not go round from frame to frame. So it does where nobody is (a ghost must not be its own reason) and where
        the prior is that of another picture, as after a cut. Blank priors and some drawn ones stay as they are.
        """
        draw = rng.random(len(pixels))
        fits = _overlap(pixels[..., 3] / 255, target[..., 0]) > 0.5
        still, moved = fits & (draw < STILL), fits & (draw >= STILL) & (draw < STILL + MOVED)
        ghosts = (target.max((1, 2, 3)) < 0.5) & (draw < STILL + MOVED)
        before = pixels.copy()
        for row in np.flatnonzero(moved):
            before[row] = moved_picture(before[row], rng)
        shape = (len(pixels), 1, 1, 1)
        grain = rng.standard_normal(before[..., :3].shape, np.float32) * rng.uniform(0.5, 4, shape)
        light = rng.normal(1, 0.02, shape)
        before[..., :3] = np.clip(before[..., :3] * light + grain, 0, 255)
        alpha = self.earlier.predict_on_batch(before)
        alpha = np.asarray(alpha[0] if isinstance(alpha, list) else alpha, np.float32)
        pixels, target = pixels.copy(), target.copy()
        own = still | moved | ghosts
        pixels[own, ..., 3] = 255 * alpha[own, ..., 0]
        target[still] = (1 - self.hold) * target[still] + self.hold * alpha[still]
        return pixels, target


def _overlap(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU [N] of each two alphas of [N, H, W]; 0 where neither holds anybody."""
    some, others = some > 0.5, others > 0.5
    return (some & others).sum((1, 2)) / np.maximum((some | others).sum((1, 2)), 1)


def moved_picture(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture [H, W, C] as a camera or person a frame earlier would show it: up to some hundredths off and turned."""
    height, width = picture.shape[:2]
    amount = np.exp(rng.uniform(np.log(0.1), np.log(2)))
    matrix = cv2.getRotationMatrix2D(
        (width / 2, height / 2), amount * rng.normal(0, 1.5), np.exp(amount * rng.normal(0, 0.02))
    )
    matrix[:, 2] += amount * rng.normal(0, 0.015, 2) * (width, height)
    return warp(picture, matrix, (height, width), cv2.BORDER_REFLECT_101)


def _compiled(network: keras.Model, precision: str) -> keras.Model:
    graph = backend.fast(network, precision)
    graph.compile(**backend.compile_flags())
    return graph
