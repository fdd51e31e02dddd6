"""Which of the files of one network runs fastest on this machine: a short trial, remembered.

    path = choose("exports/live_int8.tflite", "auto", threads=2)      # -> perhaps exports/live_int8.xml

Files of the same weights lie beside each other after `export.py --formats all`; their cards say so.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from models import card as cards
from utils.files import write_json

RUNTIMES = {
    "keras": (".keras", ".h5"),
    "litert": (".tflite",),
    "onnx": (".onnx",),
    "openvino": (".xml",),
    "saved_model": ("",),
    "tensorrt": (".engine",),
}
CHOICES = ("file", "auto", *RUNTIMES)
RUNS, WARM_UP = 15, 3


def choose(path: str | Path, runtime: str, threads: int, device: str = "auto") -> Path:
    """The file to open for a `--runtime`: "file" is `path` itself, "auto" the fastest of its siblings.

    Raises ValueError where there is no sibling for the runtime, FileNotFoundError.
    """
    path = Path(path)
    if runtime == "file":
        return path
    found = siblings(path, runtime == "keras")
    if runtime != "auto":
        found = [file for file in found if file.suffix in RUNTIMES[runtime]]
        if not found:
            raise ValueError(
                f"--runtime {runtime}: no file of the weights of {path.name} for it lies in {path.parent}: "
                "write one with export.py --formats"
            )
        if path in found:
            return path
    return fastest(found, threads, device) if len(found) > 1 else (found or [path])[0]


def siblings(path: Path, checkpoints: bool = False) -> list[Path]:
    """Model files beside `path` of the same weights, input size and output, itself among them.

    Checkpoints, which must be loaded to know their weights, only where asked for.
    """
    card = card_of(path)
    found = []
    for file in sorted(path.parent.iterdir()):
        if file == path:
            found.append(file)
        elif (file / "model.json").is_file() or (
            file.suffix in RUNTIMES["keras"] and not checkpoints
        ):  # TensorFlow.js is for browsers
            continue
        elif any(file.suffix in endings for endings in RUNTIMES.values()) and card.get("weights"):
            with contextlib.suppress(ValueError, OSError, ImportError):
                if _facts(card_of(file)) == _facts(card):
                    found.append(file)
    return found


def card_of(file: Path) -> dict[str, Any]:
    """A file's card; a checkpoint's with the fingerprint of its weights, as its exports have it."""
    if file.suffix in RUNTIMES["keras"]:
        from utils import exporting

        return exporting.load(file)[1]
    return cards.read(file)


def fastest(files: list[Path], threads: int, device: str) -> Path:
    """The file whose network answers soonest, by the cache or a trial. Raises ValueError if none can be opened."""
    key = "|".join([platform.processor() or platform.machine(), str(os.cpu_count()), str(threads), device])
    key += "".join(f"|{file.resolve()}:{file.stat().st_mtime_ns}" for file in files)
    cache = _read_cache()
    if key in cache and Path(cache[key]) in files:
        return Path(cache[key])
    times = trial(files, threads, device)
    if not times:
        where = "" if device == "auto" else f" on {device}"
        raise ValueError(f"{files[0]}: neither it nor another file of its weights can be run here{where}")
    best = min(times, key=times.get)
    listed = ", ".join(f"{file.name} {spent:.1f} ms" for file, spent in times.items())
    print(f"fastest here: {best.name} (of {listed})")
    _remember(key, best, cache)
    return best


def trial(files: list[Path], threads: int, device: str) -> dict[Path, float]:
    """Median milliseconds of one picture on each file that can be run on this machine and device.

    They take turns, so that a busy moment slows all of them alike.
    """
    networks = {file: network for file in files if (network := _opened(file, threads, device))}
    pictures = {
        file: np.random.default_rng(0).uniform(0, 255, (1, *n.size, n.channels)).astype(np.float32)
        for file, n in networks.items()
    }
    times: dict[Path, list[float]] = {file: [] for file in networks}
    for _ in range(RUNS + WARM_UP):
        for file, network in networks.items():
            began = time.perf_counter()
            network.infer(pictures[file])
            times[file].append(1000 * (time.perf_counter() - began))
    return {file: float(np.median(found[WARM_UP:])) for file, found in times.items()}


def _opened(file: Path, threads: int, device: str):
    from utils import segmenter

    try:
        return segmenter.open(file, threads, device, strict=device != "auto")
    except (ValueError, OSError, RuntimeError):  # not for this machine
        return None


def cache_file() -> Path:
    """Where the outcome of trials is kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "portrait-segmentation" / "fastest.json"


def _read_cache() -> dict[str, str]:
    try:
        found = json.loads(cache_file().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(key: str, best: Path, cache: dict[str, str]) -> None:
    try:
        write_json(cache_file(), {**cache, key: str(best)})
    except OSError as error:  # a trial more the next time
        print(f"note: {cache_file()}: {error.strerror}")


def _facts(card: dict[str, Any]) -> tuple:
    """What files that may stand for each other have in common."""
    size = (card.get("architecture") or {}).get("input_size")
    looks = [bool(card.get(name)) for name in ("closer", "mirror", "edges")]
    return (
        card.get("weights"),
        *looks,
        card.get("scales") or 1,
        card.get("output_kind") or "alpha",
        tuple(size or ()),
    )
