"""A video's frames by number, decoded when asked for."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np

from utils.sources import VideoError, opened, reading, upright

OPEN = 4  # videos a thread keeps open
NEAR = 24  # frames ahead that are decoded rather than looked for
_kept = threading.local()


class Film:
    """Frames uint8 RGB [H, W, 3], upright, by number. Raises VideoError, FileNotFoundError.

    Only the times of the frames are held. Each thread has decoders of its own, so frames asked for in order by one
    thread cost a decoding each; others a search for the key frame before them as well.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(str(path)), opened(str(path)) as (container, stream):
            times = [
                packet.pts if packet.pts is not None else packet.dts for packet in container.demux(stream)
            ]
        # Packets come in the order of decoding; without a time they only mark the end.
        self.times = np.unique(np.array([time for time in times if time is not None], np.int64))
        if not len(self.times):
            raise VideoError(f"{path}: holds no frame that can be read")
        self.size: tuple[int, int] = self.read(0).shape[:2]

    def __len__(self) -> int:
        return len(self.times)

    def read(self, number: int) -> np.ndarray:
        """Frame `number`, 0 .. len - 1. Raises VideoError."""
        with reading(str(self.path)):
            return _decoder(self).read(number)

    def number(self, time: int) -> int:
        """The frame shown at a time of the stream's clock."""
        return max(0, int(np.searchsorted(self.times, time, "right")) - 1)


class _Decoder:
    """An open container that goes on where it stopped."""

    def __init__(self, film: Film) -> None:
        self.film, self._files = film, contextlib.ExitStack()
        self._container, self._stream = self._files.enter_context(opened(str(film.path)))
        self._stream.thread_type = "AUTO"
        self._frames, self._next = self._container.decode(self._stream), 0

    def read(self, number: int) -> np.ndarray:
        near = self._next <= number <= self._next + NEAR
        frame = self._forward(number) if near else None
        # A container without an index may land behind the frame: then from the start.
        for start in (number, 0):
            if frame is None:
                self._seek(start)
                frame = self._forward(number)
        if frame is None:
            raise VideoError(f"{self.film.path}: frame {number} cannot be decoded")
        return upright(frame, self._stream)

    def _forward(self, number: int):
        for frame in self._frames:
            time = frame.pts if frame.pts is not None else frame.dts
            here = self.film.number(time) if time is not None else self._next
            self._next = here + 1
            if here >= number:
                return frame if here == number else None
        return None

    def _seek(self, number: int) -> None:
        self._container.seek(int(self.film.times[number]), stream=self._stream)
        self._frames, self._next = self._container.decode(self._stream), number

    def close(self) -> None:
        self._files.close()


def _decoder(film: Film) -> _Decoder:
    """This thread's decoder of a film; the longest unused is closed."""
    if not hasattr(_kept, "decoders"):
        _kept.decoders = OrderedDict()
    decoders: OrderedDict[str, _Decoder] = _kept.decoders
    name = str(film.path)
    if name not in decoders or decoders[name].film is not film:
        if name in decoders:
            decoders.pop(name).close()
        decoders[name] = _Decoder(film)
    decoders.move_to_end(name)
    while len(decoders) > OPEN:
        decoders.popitem(last=False)[1].close()
    return decoders[name]
