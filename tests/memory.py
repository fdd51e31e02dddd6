"""This process' memory in MB, printed now and then from a thread, or at its most."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path


def watch(seconds: float = 0.5) -> None:
    """Start the thread; it ends with the process."""

    def run() -> None:
        while True:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            print(f"memory {pages * 4096 / 1e6:.1f}", file=sys.stderr, flush=True)
            time.sleep(seconds)

    threading.Thread(target=run, daemon=True).start()


def most_after(megabytes: int) -> float:
    """What utils/benchmarks says of a process that held so much and let it go."""
    from utils.benchmarks import fresh

    held = bytearray(b"x") * (megabytes * 1_000_000)
    del held
    return fresh.peak_memory()
