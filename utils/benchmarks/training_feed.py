"""What reading a dataset costs beside bare decoding, and what real photos add to a training step."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from utils.dataset import Pair

READ = 300  # pairs that are read


def report(name: str, dataset: str, backgrounds: str | None) -> dict[str, Any]:
    """Print and return the ratios of `reading`, and milliseconds of a step on one cached batch and on real data, by round."""
    from utils import backend

    backend.choose()
    import models
    from utils import dataset as datasets
    from utils import training
    from utils.feed import Batches, Mix
    from utils.images import list_images
    from utils.schedules import Timetable

    network = models.create(name)
    scenes = list_images(backgrounds) if backgrounds else []
    pairs = datasets.open_dataset(dataset)[0]
    found = reading(pairs, max(network.input_shape[1:3]))
    for what, ratio in found.items():
        print(f"reading {what}: {ratio:.2f} times Pillow's bare decoding")
    batches = Batches(pairs, network.input_shape[1:3], 16, mix=Mix(backgrounds=scenes))
    rounds = training.step_times(training.Trainer(network, Timetable(1e-4)), batches)
    ratios = sorted(real / cached for cached, real in rounds)
    for cached, real in rounds:
        print(f"{name}: cached batch {1000 * cached:.0f} ms a step, real data {1000 * real:.0f} ms")
    print(f"ratio {ratios[len(ratios) // 2]:.2f} (median of {len(ratios)} rounds)")
    steps = [{"cached_ms": 1000 * cached, "real_ms": 1000 * real} for cached, real in rounds]
    return {"reading": found, "steps": steps}


def reading(pairs: list[Pair], side: int) -> dict[str, float]:
    """Processor time of reading the photos, and photos with masks, times that of decoding the same files and no more.

    As for training at `side` pixels: of large JPEGs a half, quarter or eighth is decoded. Empty where the pairs are no files.
    """
    from utils.images import read_image, read_mask

    files = [pair for pair in pairs if isinstance(pair.image, Path) and isinstance(pair.mask, Path)][:READ]
    if not files:
        return {}

    def bare(path: Path) -> None:
        with Image.open(path) as picture:
            np.asarray(picture)

    ways = (
        lambda pair: bare(pair.image),
        lambda pair: bare(pair.mask),
        lambda pair: read_image(pair.image, side),
        lambda pair: read_mask(pair.mask),
    )
    spent = np.zeros(len(ways))
    for pair in files[:20]:  # to warm up
        for way in ways:
            way(pair)
    for pair in files:
        for number, way in enumerate(ways):
            start = time.thread_time()
            way(pair)
            spent[number] += time.thread_time() - start
    return {"photos": spent[2] / spent[0], "photos with masks": (spent[2] + spent[3]) / (spent[0] + spent[1])}
