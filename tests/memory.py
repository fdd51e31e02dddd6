"""Print this process' memory in MB now and then, from a thread."""

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
