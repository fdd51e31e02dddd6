"""What can be measured only in a process of its own: the time until a network is ready, its first answer, its memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

MORE = 5  # runs after the first, for what a runtime allots later


def apart(work: Callable[..., Any], *args: Any) -> Any:
    """`work(*args)` in a new process, which shares no memory, package or thread with this one; its errors rise here."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


def start(path: Path, threads: int) -> dict[str, Any]:
    """Milliseconds of opening and of the first run, and megabytes at most; to be called in a new process.

    load_ms: from a Python that has NumPy and OpenCV to a network that is ready, the runtime's import included;
    open_ms: opening the file again, now that the runtime is there; of a network in several `shapes` all files. peak_mb: the process at its largest while
    the network ran; added_mb: beyond what it had before.
    """
    from utils import segmenter

    if path.is_file():
        path.read_bytes()  # the disk's speed is no part of it
    before, began = peak_memory(), time.perf_counter()
    network = segmenter.open(path, threads)
    loaded = time.perf_counter()
    network.warm_up()
    first = time.perf_counter()
    for _ in range(MORE):
        network.warm_up()
    peak = peak_memory()
    again = time.perf_counter()
    segmenter.open(path, threads)
    return {
        "runtime": network.runtime,
        "size": "x".join(map(str, network.size)),
        "shapes": len(getattr(network, "members", [network])),
        "load_ms": 1000 * (loaded - began),
        "open_ms": 1000 * (time.perf_counter() - again),
        "first_ms": 1000 * (first - loaded),
        "peak_mb": peak,
        "added_mb": None if peak is None or before is None else peak - before,
    }


def peak_memory() -> float | None:
    """The most memory in MB that this process has held; None where the system does not say.

    Linux's ru_maxrss would start at what the parent held.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM")), None)
        return int(line.split()[1]) * 1024 / 1e6 if line else None
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return None
