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
from utils.images import ImageError, letterbox, read_image, read_mask, read_rgba, resize

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

    Deterministic in (seed, epoch, i) and what `start_epoch` is told, whichever thread asks. `hard` (0..1) of each
    batch is drawn from the photos found hardest. Of several processes, number `part[0]` of `part[1]` makes its own
    rows of the common batch only. Raises ValueError for twins in an odd batch, and for a batch that cannot be parted.
    """

    def __init__(
        self,
        pairs: list[Pair],
        size: tuple[int, int],
        batch: int,
        channels: int = 3,
        mix: Mix | None = None,
        seed: int = 0,
        hard: float = 0.0,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        self.pairs, self.size, self.batch, self.channels = pairs, tuple(size), batch, channels
        self.mix, self.seed, self.hard = mix or Mix(augment=False), seed, hard
        if not 0 <= hard < 1:
            raise ValueError(f"--hard {hard:g}: the share of hard photos is 0..1 (1 not included)")
        if self.mix.twins and batch % 2:
            raise ValueError(f"twins need an even batch, not {batch}")
        if batch % part[1] or (self.mix.twins and part[1] > 1):
            raise ValueError(f"a batch of {batch} (twins together) cannot be parted in {part[1]}")
        self.photos = batch // 2 if self.mix.twins else batch
        own = self.photos // part[1]
        self._rows = range(part[0] * own, (part[0] + 1) * own)
        self.start_epoch(0)

    def start_epoch(self, epoch: int, hardest: np.ndarray | None = None) -> None:
        """Shuffle for this epoch; the same epoch number always gives the same order.

        `hardest`: numbers of the photos that `hard` of each batch is drawn from; none means all alike.
        """
        self.epoch = epoch
        self._order = np.random.default_rng((self.seed, epoch)).permutation(len(self.pairs))
        self._hardest = np.zeros(0, int) if hardest is None else hardest

    def __len__(self) -> int:
        return -(-len(self.pairs) // self.photos)

    def chosen(self, index: int) -> np.ndarray:
        """Numbers of the photos in batch `index`, in its order; twins are not counted again."""
        # The last batch is filled up from the start: one shape only, so nothing is compiled twice.
        first = index * self.photos
        numbers = np.take(self._order, range(first, first + self.photos), mode="wrap")
        count = max(1, round(self.hard * self.photos)) if self.hard and len(self._hardest) else 0
        if count:
            rng = np.random.default_rng((self.seed, self.epoch, index, self.batch))  # no row has this number
            numbers[-count:] = rng.choice(self._hardest, count, replace=count > len(self._hardest))
        return numbers

    def shows_photo(self, index: int) -> np.ndarray:
        """Whether each row of batch `index` shows its photo: not a background alone, nor a cut-out instead."""
        draws = [self._rng(index, row).random() for row in range(self.photos)]
        return np.array([self._instead(draw) is None for draw in draws])

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        numbers = self.chosen(index)
        own, size = len(self._rows), len(self._rows) * self.batch // self.photos
        pixels = np.zeros((size, *self.size, self.channels), np.float32)
        alphas = np.zeros((size, *self.size, 1), np.float32)
        weights = np.ones(size, np.float32)
        for row, here in enumerate(self._rows):
            rng = self._rng(index, here)
            image, alpha, weight = self.sample(self.pairs[numbers[here]], rng)
            other = alphas[row - 1, ..., 0] if row else None
            for place in range(row, size, own):
                pixels[place, ..., :3] = augment.texture(image, rng) if self.mix.augment else image
                alphas[place, ..., 0], weights[place] = alpha, weight
            if self.channels == 4:
                pixels[row::own, ..., 3] = 255 * augment.jittered_prior(alpha, rng, other=other)
        return pixels, alphas, weights

    def _rng(self, index: int, row: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.epoch, index, row))

    def _instead(self, draw: float) -> str | None:
        """What a picture shows instead of its photo, by the first number drawn for it."""
        mix = self.mix
        if not mix.augment or not mix.backgrounds:
            return None
        if draw < mix.empty_share:
            return "background"
        return "cutout" if mix.cutouts and draw > 1 - mix.cutout_share else None

    def sample(self, pair: Pair, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
        """One picture uint8 [H, W, 3] in its own colours, its alpha [H, W] and its loss weight."""
        mix = self.mix
        if not mix.augment:
            image, alpha = _read(pair, max(self.size))
            return letterbox(image, self.size)[0], letterbox(alpha, self.size)[0], pair.weight
        instead = self._instead(rng.random())
        if instead == "background":
            background = synthetic.random_crop(self._background(rng), self.size, rng)
            return background, np.zeros(self.size, np.float32), 1.0
        replace = bool(mix.backgrounds) and rng.random() < mix.composite
        source: Pair | Path = pair
        if instead == "cutout":
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


def prefetch(
    batches: Batches, workers: int = 2, ahead: int = AHEAD, first: int = 0
) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches of one epoch in order, from number `first` on, made by threads while the network works."""
    cv2.setNumThreads(1)  # the threads here are the parallelism; OpenCV's own would fight training
    pool = ThreadPoolExecutor(workers, initializer=_step_back)
    try:
        indices = iter(range(first, len(batches)))
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
        if rgba[..., 3].min() == 255:
            raise ImageError(f"{source}: has no transparent part, so it is no cut-out")
        return np.ascontiguousarray(rgba[..., :3]), rgba[..., 3].astype(np.float32) / 255
    image = read_image(source.image, at_least)
    alpha = read_mask(source.mask)
    if alpha.shape != image.shape[:2]:  # a large JPEG came back reduced
        alpha = resize(alpha, *image.shape[:2])
    return image, alpha
