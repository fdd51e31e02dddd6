"""What reading and augmenting real photos adds to a training step."""

from __future__ import annotations

from typing import Any


def report(name: str, dataset: str, backgrounds: str | None) -> list[dict[str, Any]]:
    """Print and return milliseconds of a step on one cached batch and on real data, by round."""
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
    batches = Batches(pairs, network.input_shape[1:3], 16, mix=Mix(backgrounds=scenes))
    rounds = training.step_times(training.Trainer(network, Timetable(1e-4)), batches)
    ratios = sorted(real / cached for cached, real in rounds)
    for cached, real in rounds:
        print(f"{name}: cached batch {1000 * cached:.0f} ms a step, real data {1000 * real:.0f} ms")
    print(f"ratio {ratios[len(ratios) // 2]:.2f} (median of {len(ratios)} rounds)")
    return [{"cached_ms": 1000 * cached, "real_ms": 1000 * real} for cached, real in rounds]
