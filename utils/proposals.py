"""What a network proposes for photos, worked out ahead in a thread of its own."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.images import read_image
from utils.segmenter import Segmenter

KEPT = 3  # photos and proposals in memory: this one, the next and the last


class Opened(NamedTuple):
    """A photo, uint8 RGB [H, W, 3], and the network's alpha of it."""

    frame: np.ndarray
    proposal: np.ndarray


class Proposals:
    """Photos with the network's proposals, worked out beside the window and kept for a while."""

    def __init__(self, network: Segmenter) -> None:
        self._network, self._pool = network, ThreadPoolExecutor(1)
        self._found: OrderedDict[Path, Future[Opened]] = OrderedDict()

    def ask(self, photo: Path) -> Future[Opened]:
        """The photo, as soon as it is there; its errors are those of `read_image`."""
        if photo not in self._found:
            self._found[photo] = self._pool.submit(self._open, photo)
        self._found.move_to_end(photo)
        while len(self._found) > KEPT:
            self._found.popitem(last=False)[1].cancel()
        return self._found[photo]

    def close(self) -> None:
        """Do not wait for what nobody will see."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _open(self, photo: Path) -> Opened:
        frame = read_image(photo)
        return Opened(frame, self._network(frame))
