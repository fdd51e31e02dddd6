"""Batches for training: NumPy and OpenCV only, so every Keras backend can eat them.

Nothing is kept in memory but the batches being made: a dataset may be larger than memory.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import keras
import numpy as np

from utils import augment, synthetic
from utils.dataset import Pair
from utils.images import letterbox, read_image, read_mask, read_rgba, resize

AHEAD = 4


@dataclass
class Mix:
    """How a training picture comes about."""

    augment: bool = True  # geometry and texture of utils/augment.py
    backgrounds: list[Path] = field(default_factory=list)  # person-free pictures
    cutouts: list[Pair | Path] = field(default_factory=list)  # people only ever shown on backgrounds
    composite: float = 0.3  # share of photos whose background is replaced
    cutout_share: float = 0.12  # share of a batch that comes from `cutouts`
    empty_share: float = 0.08  # share of a batch that is a background without people
    twins: bool = False  # the second half of a batch is the first in other colours


class Batches(keras.utils.PyDataset):
    """Batch i of an epoch: pixels [B, H, W, C] 0..255, alpha [B, H, W, 1] 0..1, loss weights [B].

    Deterministic in (seed, epoch, i), whichever thread asks. Raises ValueError for twins in an odd batch.
    """

    def __init__(
        self,
        pairs: list[Pair],
        size: tuple[int, int],
        batch: int,
        channels: int = 3,
        mix: Mix | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.pairs, self.size, self.batch, self.channels = pairs, tuple(size), batch, channels
        self.mix, self.seed = mix or Mix(augment=False), seed
        if self.mix.twins and batch % 2:
            raise ValueError(f"twins need an even batch, not {batch}")
        self.photos = batch // 2 if self.mix.twins else batch
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Shuffle for this epoch; the same epoch number always gives the same order."""
        self.epoch = epoch
        self._order = np.random.default_rng((self.seed, epoch)).permutation(len(self.pairs))

    def __len__(self) -> int:
        return -(-len(self.pairs) // self.photos)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # The last batch is filled up from the start: one shape only, so nothing is compiled twice.
        first = index * self.photos
        chosen = np.take(self._order, range(first, first + self.photos), mode="wrap")
        pixels = np.zeros((self.batch, *self.size, self.channels), np.float32)
        alphas = np.zeros((self.batch, *self.size, 1), np.float32)
        weights = np.ones(self.batch, np.float32)
        for row, number in enumerate(chosen):
            rng = np.random.default_rng((self.seed, self.epoch, index, row))
            image, alpha, weight = self.sample(self.pairs[number], rng)
            other = alphas[row - 1, ..., 0] if row else None
            for place in range(row, self.batch, self.photos):
                pixels[place, ..., :3] = augment.texture(image, rng) if self.mix.augment else image
                alphas[place, ..., 0], weights[place] = alpha, weight
            if self.channels == 4:
                pixels[row :: self.photos, ..., 3] = 255 * augment.jittered_prior(alpha, rng, other=other)
        return pixels, alphas, weights

    def sample(self, pair: Pair, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
        """One picture uint8 [H, W, 3] in its own colours, its alpha [H, W] and its loss weight."""
        mix = self.mix
        if not mix.augment:
            image, alpha = _read(pair, max(self.size))
            return letterbox(image, self.size)[0], letterbox(alpha, self.size)[0], pair.weight
        draw = rng.random()
        if mix.backgrounds and draw < mix.empty_share:
            background = synthetic.random_crop(self._background(rng), self.size, rng)
            return background, np.zeros(self.size, np.float32), 1.0
        replace = bool(mix.backgrounds) and rng.random() < mix.composite
        source: Pair | Path = pair
        if mix.backgrounds and mix.cutouts and draw > 1 - mix.cutout_share:
            source, replace = mix.cutouts[int(rng.integers(len(mix.cutouts)))], True
        image, alpha = _read(source, max(self.size))
        return *self._place(image, alpha, replace, rng), pair.weight

    def _place(
        self, image: np.ndarray, alpha: np.ndarray, replace: bool, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Move the photo onto the canvas, by geometry and perhaps onto another background."""
        # On a background of its own a person may be far away; a photo made that small is mostly border.
        matrix = augment.random_matrix(image.shape[:2], self.size, rng, smallest=0.25 if replace else 0.8)
        # Mirrored beyond its edge, a photo shows several people; a foreground ends where its photo ends.
        border = cv2.BORDER_REFLECT_101 if not replace and rng.random() < 0.5 else cv2.BORDER_CONSTANT
        image = augment.warp(image, matrix, self.size, border)
        alpha = augment.warp(alpha, matrix, self.size, border)
        if not replace:
            return image, alpha
        # Hand-made masks are hard; real edges are about a pixel wide.
        alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.4, 0.9))
        foreground = synthetic.estimate_foreground(image, alpha)
        background = synthetic.random_crop(self._background(rng), self.size, rng)
        if rng.random() < 0.5:
            background = cv2.GaussianBlur(background, (0, 0), rng.uniform(0.5, 3))
        return synthetic.composite(foreground, alpha, background, rng.uniform(0, 0.7)), alpha

    def _background(self, rng: np.random.Generator) -> np.ndarray:
        path = self.mix.backgrounds[int(rng.integers(len(self.mix.backgrounds)))]
        return read_image(path, at_least=max(self.size))


def prefetch(batches: Batches, workers: int = 2, ahead: int = AHEAD) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches of one epoch in order, made by threads while the network works."""
    cv2.setNumThreads(1)  # the threads here are the parallelism; OpenCV's own would fight training
    pool = ThreadPoolExecutor(workers, initializer=_step_back)
    try:
        indices = iter(range(len(batches)))
        queue = deque(pool.submit(batches.__getitem__, i) for i in itertools.islice(indices, ahead))
        while queue:
            result = queue.popleft().result()
            following = next(indices, None)
            if following is not None:
                queue.append(pool.submit(batches.__getitem__, following))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _step_back() -> None:
    """Let this thread compute when the network waits: PyTorch's threads wait for the slowest of them."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


def _read(source: Pair | Path, at_least: int) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 and alpha 0..1 of a pair, or of an RGBA cut-out."""
    if isinstance(source, Path):
        rgba = read_rgba(source)
        return np.ascontiguousarray(rgba[..., :3]), rgba[..., 3].astype(np.float32) / 255
    image = read_image(source.image, at_least)
    alpha = read_mask(source.mask)
    if alpha.shape != image.shape[:2]:  # a large JPEG came back reduced
        alpha = resize(alpha, *image.shape[:2])
    return image, alpha
