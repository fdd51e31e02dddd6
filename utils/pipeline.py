"""From frames to finished pictures, with reading, network and writing at work at the same time.

stages = Stages()
matting = Matting(segmenter.open("checkpoints/live_int8.tflite"), Temporal("smooth"), stages)
for frame in ahead(source):
    alpha = matting(frame.image)
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from utils import refine
from utils.images import resize
from utils.segmenter import Look, Segmenter
from utils.temporal import OnePerson, Temporal, mended

KEPT = 300  # frames over which times are summed up
WARM = 3  # frames left out of a frame rate: caches and encoders are being set up


class Stages:
    """How long each stage took over the last frames."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT))

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._times[name].append(1000 * (time.perf_counter() - start))

    def add(self, name: str, milliseconds: float) -> None:
        """A time measured elsewhere."""
        self._times[name].append(milliseconds)

    def summary(self) -> dict[str, tuple[float, float]]:
        """Median and 95th percentile of each stage in milliseconds, in the order they first ran."""
        return {
            name: (float(np.percentile(list(times), 50)), float(np.percentile(list(times), 95)))
            for name, times in list(self._times.items())  # other threads add to them meanwhile
        }


class Rate:
    """Frames a second: `recent` over the last hundred, `mean` over all but the first `warm` ones."""

    def __init__(self, warm: int = WARM) -> None:
        self.count, self._warm, self._began = 0, warm, 0.0
        self._recent: deque[float] = deque(maxlen=100)

    def add(self) -> None:
        """One frame more, now."""
        self.count += 1
        self._recent.append(time.perf_counter())
        if self.count == self._warm:
            self._began = self.last

    @property
    def last(self) -> float:
        """When the last frame came, by time.perf_counter(); 0 before the first."""
        return self._recent[-1] if self._recent else 0.0

    @property
    def recent(self) -> float:
        times = list(self._recent)
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0

    @property
    def mean(self) -> float:
        if self.count <= 2 * self._warm:
            return self.recent
        return (self.count - self._warm) / (self.last - self._began)


class Matting:
    """A stream's network and memory: frame uint8 RGB [H, W, 3] in, alpha float32 [H, W] out.

    `person` keeps one person alone; `certain` cleans alpha as PP-HumanSeg does, `tidy` takes out islands and fills holes; `edges` draws its edges to those of the
    frame. `raw` is the last alpha as the network gave it and `prior` its fourth channel, both at its own size.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        temporal: Temporal,
        stages: Stages,
        person: OnePerson | None = None,
        certain: bool = False,
        tidy: bool = False,
        edges: bool = True,
    ) -> None:
        self.segmenter, self.temporal, self.stages = segmenter, temporal, stages
        self.person, self.certain, self.tidy, self.edges = person, certain, tidy, edges
        self.raw: np.ndarray | None = None
        self.prior: np.ndarray | None = None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        look = self.segmenter.coarse(frame, self.watch(frame))
        for name, milliseconds in self.segmenter.milliseconds.items():
            self.stages.add(name, milliseconds)
        return self.finish(frame, look)

    def watch(self, frame: np.ndarray) -> np.ndarray | None:
        """The prior that the network is given with this frame; forgets at a cut."""
        if self.temporal.watch(frame) and self.person is not None:
            self.person.reset()
        self.prior = self.temporal.alpha if self.segmenter.channels == 4 else None
        return self.prior

    def finish(self, frame: np.ndarray, look: Look) -> np.ndarray:
        """The frame's alpha from what the network saw of it."""
        self.raw = look.alpha
        with self.stages("temporal"):
            alpha = self.temporal(look.picture, look.alpha)
        with self.stages("refine"):
            if self.certain:
                alpha = refine.certain_regions(alpha)
            if self.tidy:
                alpha = refine.without_holes(refine.without_islands(alpha))
            if self.person is not None:
                alpha = self.person(alpha)
            if self.edges:
                return refine.guided(frame, alpha, levels=refine.LEVELS)
            return resize(alpha, *frame.shape[:2])


def ahead(items: Iterable[Any], count: int = 2) -> Iterator[Any]:
    """The items in order, the next `count` made on a thread of their own meanwhile."""
    iterator = iter(items)
    done = object()
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, iterator, done) for _ in range(count))
        while True:
            item = waiting.popleft().result()
            if item is done:
                return
            waiting.append(pool.submit(next, iterator, done))
            yield item


class Behind:
    """Runs calls in order on a thread of its own, at most `count` of them waiting; the first error is raised."""

    def __init__(self, call: Callable[..., Any], count: int = 2) -> None:
        self._call, self._count = call, count
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque = deque()

    def __call__(self, *arguments: Any) -> None:
        while len(self._waiting) >= self._count:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._call, *arguments))

    @property
    def full(self) -> bool:
        """Whether the next call would have to wait."""
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft().result()
        return len(self._waiting) >= self._count

    def wait(self) -> None:
        """Until all calls are done."""
        while self._waiting:
            self._waiting.popleft().result()

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, *reason: object) -> None:
        try:
            self.wait()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)


def delayed(alphas: Iterable[tuple[Any, np.ndarray]]) -> Iterator[tuple[Any, np.ndarray]]:
    """(frame, alpha) one frame late, an alpha that differs from both its neighbours mended by them."""
    recent: deque = deque(maxlen=3)
    try:
        for item in alphas:
            recent.append(item)
            if len(recent) == 1:
                continue
            if len(recent) == 2:
                yield recent[0]
                continue
            before, middle, after = recent
            same = before[1].shape == middle[1].shape == after[1].shape
            yield middle[0], mended(before[1], middle[1], after[1]) if same else middle[1]
    except ValueError:  # a damaged source: its last good frame first
        if recent:
            yield recent[-1]
        raise
    if recent:
        yield recent[-1]
