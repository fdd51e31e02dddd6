"""What a network learns from besides the masks: a teacher's alpha, and its own of the frame before."""

from __future__ import annotations

import keras
import numpy as np

from utils import backend

STILL = 0.7  # of the pictures with a prior, those in which nothing moved


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
        """In most pictures that have a prior, make it the network's own alpha of the frame before in a still scene.

        That frame is the picture with a camera's other grain and exposure. What flickers between the two is
        damped, as `hold` of the target is that alpha; priors that moved or are blank keep the truth as their target.
        """
        rows = np.flatnonzero((pixels[..., 3].max((1, 2)) > 0) & (rng.random(len(pixels)) < STILL))
        before = pixels.copy()
        shape = (len(pixels), 1, 1, 1)
        grain = rng.standard_normal(before[..., :3].shape, np.float32) * rng.uniform(0.5, 4, shape)
        light = rng.normal(1, 0.02, shape)
        before[..., :3] = np.clip(before[..., :3] * light + grain, 0, 255)
        alpha = self.earlier.predict_on_batch(before)
        alpha = np.asarray(alpha[0] if isinstance(alpha, list) else alpha, np.float32)
        pixels, target = pixels.copy(), target.copy()
        pixels[rows, ..., 3] = 255 * alpha[rows, ..., 0]
        target[rows] = (1 - self.hold) * target[rows] + self.hold * alpha[rows]
        return pixels, target


def _compiled(network: keras.Model, precision: str) -> keras.Model:
    graph = backend.fast(network, precision)
    graph.compile(**backend.compile_flags())
    return graph
