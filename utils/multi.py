"""Many sources at once: a reader thread each, and the newest frames of all through one call of the network.

    readers = [Reader(name, source, news, keep=False) for ...]
    batch = gather(readers, news, max_wait=0.01, most=8, until=time.monotonic() + 1)     # [Taken(...), ...]

A reader gives the newest frame there is and counts those that nobody took; where it shall `keep` all, as for a file that is only
written again, it waits until each is taken.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from utils import cli
from utils.encoding import Sink
from utils.pipeline import Behind, Matting, Rate, Stages
from utils.segmenter import Look, Segmenter
from utils.sources import Frame, Source

STALL = 1.0  # seconds without a picture after which a source is marked and no longer waited for
APART = 0.25  # seconds between two clocks that are no jitter
AHEAD = 2  # frames that a reader keeps where it keeps all


class Taken(NamedTuple):
    """A frame, its reader's number, and when it came, by time.monotonic()."""

    number: int
    frame: Frame
    came: float


class Reader:
    """A source on a thread of its own. `news` is told of each frame; `most` ends it after so many.

    Attributes: `ended`, `error` (why, in one line, or ""), `dropped` frames, and `came`, when the last one did.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        news: threading.Condition,
        keep: bool = False,
        most: int | None = None,
    ) -> None:
        self.name, self.source, self.keep = name, source, keep and not source.live
        self.ended, self.error, self.came = False, "", 0.0
        self.whole = True  # unless `most` cut it short
        self.opened = self.zero = time.monotonic()  # `zero`: when the source's own clock was at 0
        self._news, self._most, self._taken, self._missed = news, most, 0, 0
        self._since = 0.0
        self._waiting: deque[tuple[Frame, float]] = deque()
        self._stop = threading.Event()
        if source.live:
            source.idle = self._stop.is_set
        self._thread = threading.Thread(target=self._read, name=f"frames of {name}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        return self._missed + self.source.dropped

    @property
    def ready(self) -> float:
        """Since when there is a frame that was not taken, 0 where there is none; a newer one in its place changes nothing."""
        return self._since if self._waiting else 0.0

    def due(self, now: float) -> bool:
        """Whether it is worth waiting for its next frame."""
        return not self.ended and self.came > 0 and (self.keep or now - self.came < STALL)

    def take(self) -> tuple[Frame, float]:
        """The frame and when it came; call it with `news` held."""
        frame = self._waiting.popleft()
        self._since = self._waiting[0][1] if self._waiting else 0.0
        self._taken += 1
        if self._taken == self._most:
            self.whole = False
            self.stop()
            self._waiting.clear()
        self._news.notify_all()
        return frame

    @property
    def over(self) -> bool:
        """Whether nothing more will come and all that came was taken."""
        return self.ended and not self._waiting

    def stop(self) -> None:
        """No more frames; returns at once."""
        self._stop.set()
        with cli.unbroken(), self._news:
            self._news.notify_all()

    def close(self) -> None:
        """Stop, and let go of the source."""
        self.stop()
        self.source.close()
        self._thread.join(timeout=2)
        cli.abandon(self._thread)

    def _read(self) -> None:
        try:
            began = time.monotonic()
            for frame in self.source:
                if not (self.source.live or self.keep):
                    began = self._in_time(began, frame.time)
                if not self._put(frame):
                    break
        except Exception as error:  # whatever a driver or a decoder raises, the others go on
            self.error = " ".join(str(error).split()) or type(error).__name__
        with self._news:
            self.ended = True
            self._news.notify_all()

    def _in_time(self, began: float, moment: float) -> float:
        """A file plays at its own speed; one that is far behind goes on from where it is."""
        late = time.monotonic() - began - moment
        if late < 0:
            self._stop.wait(-late)
        return began + late if late > 0.5 else began

    def _put(self, frame: Frame) -> bool:
        with self._news:
            if self.keep:
                self._news.wait_for(lambda: len(self._waiting) < AHEAD or self._stop.is_set())
            elif self._waiting:
                self._waiting.clear()
                self._missed += 1
            if self._stop.is_set():
                return False
            self.came = time.monotonic()
            if abs(self.came - frame.time - self.zero) > APART:
                self.zero = self.came - frame.time
            self._waiting.append((frame, self.came))
            self._since = self._since or self.came
            self._news.notify_all()
        return True


def gather(
    readers: Sequence[Reader], news: threading.Condition, max_wait: float, most: int, until: float
) -> list[Taken]:
    """The waiting frame of each source, at most `most`; nothing when it is `until` (time.monotonic()) before that.

    With the first frame there, the others that are due are waited for, no longer than `max_wait` seconds from when it came.
    """
    with cli.unbroken(), news:
        while True:
            now = time.monotonic()
            waiting = sorted((r.ready, number) for number, r in enumerate(readers) if r.ready)
            late = waiting and now >= waiting[0][0] + max_wait
            if waiting and (late or len(waiting) >= most or not _missing(readers, now)):
                chosen = sorted(number for _, number in waiting[:most])  # who waited longest goes first
                return [Taken(number, *readers[number].take()) for number in chosen]
            if now >= until or all(reader.over for reader in readers):
                return []
            news.wait(min(until, waiting[0][0] + max_wait if waiting else until) - now)


def _missing(readers: Sequence[Reader], now: float) -> bool:
    return any(reader.due(now) and not reader.ready for reader in readers)


class Stream:
    """What one source has of its own: memory, background, outputs and counts.

    `compose` makes a picture of (frame, alpha); `show` is given each picture.
    """

    def __init__(
        self,
        reader: Reader,
        matting: Matting,
        compose: Callable[[Frame, np.ndarray], np.ndarray],
        show: Callable[[np.ndarray], None] | None = None,
        sinks: Sequence[Sink] = (),
    ) -> None:
        self.reader, self.matting, self.name = reader, matting, reader.name
        self.rate, self.unwritten = Rate(), 0
        self._compose, self._show, self.sinks = compose, show, list(sinks)
        self._behind = Behind(self._write) if sinks else None

    def finish(self, taken: Taken, look: Look, watched: bool) -> float:
        """From what the network saw to a picture in all places; returns the seconds since the frame came."""
        if not watched:
            self.matting.watch(taken.frame.image)
        alpha = self.matting.finish(taken.frame.image, look)
        with self.matting.stages("composite"):
            picture = self._compose(taken.frame, alpha)
        if self._show is not None:
            self._show(picture)
        delay = time.monotonic() - taken.came
        self.rate.add()
        if self._behind is not None:
            if self.reader.keep or not self._behind.full:
                self._behind(picture, taken.frame.time)
            else:
                self.unwritten += 1  # an output that is slow, or a server that is away, holds nobody up
        return delay

    def close(self) -> None:
        """Finish its outputs."""
        with contextlib.ExitStack() as stack:  # one that fails leaves none of the others open
            for sink in self.sinks:
                sink.whole = (
                    self.reader.keep and self.reader.over and self.reader.whole and not self.reader.error
                )
                stack.callback(sink.close)
            if self._behind is not None:
                self._behind.__exit__(None, None, None)

    def _write(self, picture: np.ndarray, moment: float) -> None:
        with self.matting.stages("write"):
            for sink in self.sinks:
                sink.write(picture, moment)


class Batcher:
    """Runs batches through the network while the pictures of the batch before are finished beside it.

    `latency` has the milliseconds from a frame's coming to its picture, by the stream's name; `sizes` how many batches had
    1, 2, ... frames. `workers` threads finish pictures: half the cores, as threads above that wait for each other more than
    they get done.
    """

    def __init__(
        self, network: Segmenter, streams: Sequence[Stream], stages: Stages, workers: int = 2
    ) -> None:
        self.network, self.streams, self.stages = network, streams, stages
        self.latency, self.rate = Stages(), Rate()
        self.delays = dict.fromkeys((stream.name for stream in streams), 0.0)  # summed up, in seconds
        self.sizes: dict[int, int] = {}
        self.offered = 0  # frames that batches could have had: sources that were due, summed up
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="finish")
        self._unfinished: list[Future] = []

    def __call__(self, batch: list[Taken]) -> None:
        now = time.monotonic()
        due = sum(reader.due(now) for reader in (stream.reader for stream in self.streams))
        self.sizes[len(batch)] = self.sizes.get(len(batch), 0) + 1
        self.offered += max(due, len(batch))
        frames = [taken.frame.image for taken in batch]
        watched = self.network.channels == 4
        if watched:  # the prior is what the frame before came to
            self.settle()
        priors = [self.streams[t.number].matting.watch(t.frame.image) if watched else None for t in batch]
        looks = self.network.looks(frames, priors)
        for name, milliseconds in self.network.milliseconds.items():
            self.stages.add(name, milliseconds)
        self.settle()
        self._unfinished = [
            self._pool.submit(self._finish, taken, look, watched)
            for taken, look in zip(batch, looks, strict=True)
        ]

    def settle(self) -> None:
        """Until the pictures of the last batch are finished; raises what went wrong there."""
        while self._unfinished:
            self._unfinished.pop().result()

    def close(self) -> None:
        """Finish what is under way."""
        self._pool.shutdown(wait=True)

    def _finish(self, taken: Taken, look: Look, watched: bool) -> None:
        stream = self.streams[taken.number]
        delay = stream.finish(taken, look, watched)
        self.latency.add(stream.name, 1000 * delay)
        self.delays[stream.name] += delay
        self.rate.add()

    @property
    def fill(self) -> float:
        """Frames in a batch as a share of the sources that gave any at that time."""
        return sum(size * count for size, count in self.sizes.items()) / max(1, self.offered)


def state(reader: Reader) -> list[str]:
    """Why a source gives nothing now, as lines for its tile; none where it does."""
    if reader.ended:
        return [reader.name, _short(reader.error) or "ended"]
    now = time.monotonic()
    if reader.came and now - reader.came < STALL:
        return []
    waits = f"no picture for {now - (reader.came or reader.opened):.0f} s"
    trouble = _short(reader.source.trouble)
    return [reader.name, trouble, f"{waits}: trying again"] if trouble else [reader.name, waits]


def close_all(readers: Sequence[Reader]) -> None:
    """Stop all, then let go of their sources side by side: one that hangs takes some seconds."""
    for reader in readers:
        reader.stop()
    with ThreadPoolExecutor(max(1, len(readers))) as pool:
        for done in [pool.submit(reader.close) for reader in readers]:
            try:
                done.result()
            except Exception as error:
                print(f"note: {error}", file=sys.stderr)


def _short(reason: str) -> str:
    return reason if len(reason) <= 60 else f"{reason[:57]}..."
