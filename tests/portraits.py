"""Generated people for tests: a head, hair and shoulders on a patterned wall, with exact soft masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from utils.images import write_image


def portrait(seed: int, height: int = 96, width: int = 72) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 [H, W, 3] and alpha float32 [H, W]; drawn at 4x and averaged, so edges are soft."""
    rng = np.random.default_rng(seed)
    tall, wide = 4 * height, 4 * width
    image = _wall(rng, tall, wide)
    mask = np.zeros((tall, wide), np.uint8)
    centre = int(wide * rng.uniform(0.4, 0.6)), int(tall * rng.uniform(0.33, 0.45))
    head = int(wide * rng.uniform(0.15, 0.22)), int(tall * rng.uniform(0.15, 0.2))
    shirt, skin, hair = (rng.integers(0, 256, 3).tolist(), (224, 172, 105), rng.integers(10, 90, 3).tolist())
    body = (centre[0], tall), (int(wide * rng.uniform(0.32, 0.45)), int(tall * 0.45))
    neck = (centre[0] - head[0] // 2, centre[1]), (centre[0] + head[0] // 2, tall - body[1][1] // 2)
    for canvas, colours in ((image, (shirt, skin, hair, skin)), (mask, (255,) * 4)):
        cv2.ellipse(canvas, body[0], body[1], 0, 0, 360, colours[0], -1)
        cv2.rectangle(canvas, *neck, colours[1], -1)
        crown = (centre[0], centre[1] - head[1] // 4)
        cv2.ellipse(canvas, crown, (int(head[0] * 1.2), int(head[1] * 1.1)), 0, 0, 360, colours[2], -1)
        cv2.ellipse(canvas, (centre[0], centre[1] + head[1] // 6), head, 0, 0, 360, colours[3], -1)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
    grain = rng.normal(0, 3, image.shape)
    return np.clip(image + grain, 0, 255).astype(np.uint8), mask.astype(np.float32) / 255


def write_dataset(folder: Path, train: int = 12, val: int = 4, **size: int) -> Path:
    """A dataset folder with train and val parts; returns it."""
    for part, seeds in (("train", range(train)), ("val", range(1000, 1000 + val))):
        for seed in seeds:
            image, alpha = portrait(seed, **size)
            stem = f"{'ab'[seed % 2]}_{seed}"
            write_image(folder / part / "images" / f"{stem}.jpg", image)
            write_image(folder / part / "masks" / f"{stem}.png", (alpha * 255).astype(np.uint8))
    return folder


def write_backgrounds(folder: Path, count: int = 3) -> Path:
    """Walls without people; returns the folder."""
    for seed in range(count):
        write_image(folder / f"{seed}.jpg", _wall(np.random.default_rng(seed), 120, 160))
    return folder


def _wall(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    image = np.full((height, width, 3), rng.integers(60, 200, 3), np.uint8)
    for _ in range(6):
        corner = rng.integers(0, (width, height), 2)
        size = rng.integers(10, width // 2, 2)
        cv2.rectangle(image, corner.tolist(), (corner + size).tolist(), rng.integers(0, 256, 3).tolist(), -1)
    return image
