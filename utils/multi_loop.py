"""The loop of multistream.py: sources into batches, pictures into tiles, files, streams and a window."""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import cv2
import numpy as np

from utils import live, metrics_http, multi_report, segmenter
from utils.backend import keep_memory
from utils.background import Background
from utils.encoding import Sink
from utils.files import write_json
from utils.images import to_uint8, write_image
from utils.multi import Batcher, Reader, Stream, close_all, gather, state
from utils.pipeline import Behind, Stages
from utils.sources import Frame, Source, VideoError, open_source
from utils.tiles import Tiles
from utils.viewer import Viewer

SHOWS = ("composite", "masks", "both")
LISTEN = 0.02  # seconds between two looks at the window
START = 3.0  # seconds after which the tiled picture begins, whether a source gave a frame or none
CORES = os.cpu_count() or 1
WRAP = 0.3  # light of the background on the edge


class Loop:
    """One run. Raises ValueError or OSError for what cannot be opened; use it in a `with`, then `run`."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.show, self.shown = args, args.show, 0
        self.stages = Stages()
        self.sinks: list[Sink] = []  # of the tiled picture
        self._waits: set[str] = set()  # names of sources that were said to be away
        self._zero = 0.0  # when it began, by time.monotonic()
        self._stack = contextlib.ExitStack()
        keep_memory()
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def _open(self) -> None:
        args = self.args
        live.heed_sigterm(self._stack)
        whole = [*args.out, *(["camera"] if args.virtual_camera else [])]
        written = bool(whole or args.per_stream_out or args.serve)
        window = live.wants_window(args, written)
        tiled = bool(window or whole or args.serve or args.tile)
        self.tiles = Tiles(len(args.sources), args.tile, args.cell) if tiled else None
        streams = any("://" in pattern for pattern in args.per_stream_out)
        self.network = segmenter.by_arguments(args)
        print(f"{(self.network.file or Path(args.model)).name}: {self.network}")
        self.network.warm_up()
        # Batches and pictures are made side by side: OpenCV's own threads would only stand in each other's way.
        self._stack.callback(cv2.setNumThreads, cv2.getNumThreads())
        cv2.setNumThreads(1)
        self._open_sources(keep=not tiled and not streams)
        self._open_sinks(whole)
        self.viewer = self._window() if window else None
        if args.metrics:
            host, port = metrics_http.address(args.metrics)
            figures = metrics_http.serve(host, port, lambda: multi_report.families(self.batcher, self.shown))
            print(f"metrics: {self._stack.enter_context(figures)}", flush=True)

    def _open_sources(self, keep: bool) -> None:
        args = self.args
        check_patterns(args.per_stream_out, len(args.sources))
        self.news = threading.Condition()
        self.readers: list[Reader] = []
        self._stack.callback(close_all, self.readers)
        for name, spec in zip(names(args.sources), args.sources, strict=True):
            source = open_source(spec, args.reconnect, args.camera_size)
            source.decoders = 1 if len(args.sources) >= CORES else 0  # more threads only change places
            self.readers.append(Reader(name, source, self.news, keep, args.frames))
        self.backgrounds = [Background(args.background, args.fit) for _ in args.sources]
        if self.backgrounds[0].transparent:
            raise ValueError("--background transparent: webcam.py --transparent writes pictures with alpha")
        self.streams: list[Stream] = []
        taken: list[Sink] = []
        for number, reader in enumerate(self.readers):
            fields = {"name": reader.name, "n": number + 1}
            sinks = [self._sink(p.format(**fields), taken, reader.source) for p in args.per_stream_out]
            matting = live.matting_of(self.network, args, self.stages)
            tile = functools.partial(self.tiles.put, number) if self.tiles else None
            compose = functools.partial(self._compose, self.backgrounds[number])
            self.streams.append(Stream(reader, matting, compose, tile, sinks))
            self._stack.callback(self.streams[-1].close)
        self.batcher = Batcher(self.network, self.streams, self.stages, max(1, CORES // 2))
        self._stack.callback(self.batcher.close)

    def _open_sinks(self, names: list[str]) -> None:
        """Outputs of the tiled picture, on its own clock or that of the source whose sound it has."""
        number = self.args.sound or (1 if len(self.readers) == 1 else 0)
        self._clock = self.readers[number - 1] if number else None
        whole = Source("tiles")
        whole.rate, whole.sound = self.args.rate, self._clock and self._clock.source.sound
        for name in names:
            self._sink(name, self.sinks, whole)
        if self.args.serve:
            from utils.gstreamer import ServeSink

            sink = ServeSink(self.args.serve, whole.rate, self.args.bitrate, whole.sound, self.args.keyframes)
            self.sinks.append(sink)
            print(f"serving: {self.args.serve}", flush=True)
        for sink in self.sinks:
            self._stack.callback(sink.close)
        self._behind = self._stack.enter_context(Behind(self._write)) if self.sinks else None

    def _sink(self, name: str, taken: list[Sink], source: Source) -> Sink:
        read = [*self.args.sources, self.args.background]
        sink = live.open_output(name, self.args, read, [*taken, *self.sinks], source)
        taken.append(sink)
        return sink

    def __enter__(self) -> Loop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is under way is finished, then each file, then the sources are let go.
        self.batcher.close()
        found = multi_report.facts(self.batcher, self.shown)
        self._stack.close()
        if kind in (None, KeyboardInterrupt, VideoError):
            self._report(found)

    def run(self) -> None:
        """Until all sources are over, `q`, a closed window, or Ctrl-C. Raises VideoError for a source that failed."""
        began, tick = time.monotonic(), 0
        most = min(self.args.batch or len(self.readers), len(self.readers))
        while not all(reader.over for reader in self.readers):
            until = began + tick / self.args.rate if self.tiles else time.monotonic() + 1
            if self.viewer is not None:
                until = min(until, time.monotonic() + LISTEN)
            batch = gather(self.readers, self.news, self.args.max_wait / 1000, most, until)
            if batch:
                self.batcher(batch)
            self._note_troubles()
            if self.tiles and time.monotonic() >= began + tick / self.args.rate:
                self._tick()
                tick = max(tick + 1, math.floor((time.monotonic() - began) * self.args.rate) + 1)
            if self.viewer is not None and self._zero:  # before the first picture there is no window
                self.viewer.listen()
                self._keys()
                if self.viewer.closed:
                    return
        self.batcher.settle()
        if self.tiles:
            self._tick(last=True)
        errors = [reader.error for reader in self.readers if reader.error]
        if errors:
            raise VideoError("; ".join(errors))

    def _note_troubles(self) -> None:
        """Where no tile says that a source is waited for, a line does, once until it gave a frame."""
        for reader in () if self.tiles else self.readers:
            trouble = reader.source.trouble
            if trouble and reader.name not in self._waits:
                print(f"note: {reader.name}: {trouble}: trying again", file=sys.stderr, flush=True)
                self._waits.add(reader.name)
            elif not trouble:
                self._waits.discard(reader.name)

    def _tick(self, last: bool = False) -> None:
        """One tiled picture to all its outputs; `tiles` marks whoever gives nothing, but not those who end with the `last`."""
        if not self.batcher.rate.count and time.monotonic() - self.readers[0].opened < START:
            return
        for number, reader in enumerate(self.readers):
            why = state(reader)
            if why and not (last and not reader.error):
                self.tiles.mark(number, why)
        picture = self.tiles.picture()
        now = time.monotonic()
        self._zero = self._zero or now
        if self._behind is not None and not self._behind.full:
            self._behind(picture, max(0.0, now - (self._clock.zero if self._clock else self._zero)))
            self.shown += 1
        if self.viewer is not None:
            with self.stages("window"):
                self.viewer.show(picture)

    def _compose(self, background: Background, frame: Frame, alpha: np.ndarray) -> np.ndarray:
        """A source's picture uint8 RGB by what is shown now."""
        mask = cv2.cvtColor(to_uint8(alpha), cv2.COLOR_GRAY2RGB) if self.show != "composite" else None
        if self.show == "masks":
            return mask
        picture = background.compose_live(frame.image, alpha, frame.time, WRAP, not self.args.fast)
        return picture if mask is None else np.hstack([mask, picture])

    def _write(self, picture: np.ndarray, moment: float) -> None:
        with self.stages("write"):
            for sink in self.sinks:
                sink.write(picture, moment)

    def _window(self) -> Viewer:
        self._actions: dict[str, tuple[str, Callable[[], None]]] = {
            "m": ("masks, composite or both", self._next_show),
            "b": ("next background", lambda: [background.next() for background in self.backgrounds]),
            "s": ("snapshot", self._snapshot),
            "f": ("frame rates", self._panel),
        }
        viewer = Viewer("multistream", {key: what for key, (what, _) in self._actions.items()})
        self._stack.callback(viewer.close)
        return viewer

    def _keys(self) -> None:
        for key in self.viewer.pressed():
            if key in self._actions:
                self._actions[key][1]()
        if self.viewer.lines:
            self.viewer.lines = multi_report.lines(self.batcher)
        if self.viewer.clicked:
            found = self.tiles.at(*self.viewer.clicked)
            if found and self.streams[found[0]].matting.person is not None and self.show != "both":
                self.streams[found[0]].matting.person.choose(*found[1:])
            self.viewer.clicked = None

    def _panel(self) -> None:
        self.viewer.lines = [] if self.viewer.lines else multi_report.lines(self.batcher)

    def _next_show(self) -> None:
        self.show = SHOWS[(SHOWS.index(self.show) + 1) % len(SHOWS)]

    def _snapshot(self) -> None:
        path = live.CAPTURES / f"multistream_{live.stamp()}.png"
        write_image(path, self.tiles.picture())
        print(f"snapshot: {path}")

    def _report(self, found: dict) -> None:
        print(
            f"{found['frames']} frames of {len(self.streams)} sources, {found['frames_per_second']:.1f} frames/s, "
            f"batches {100 * self.batcher.fill:.0f} % full"
        )
        for name, its in found["sources"].items():
            latency = its["latency"]
            times = f", ms p50/p95 {latency['p50']:.0f}/{latency['p95']:.0f}" if latency else ""
            print(
                f"{name}: {its['frames']} frames, {its['frames_per_second']:.1f} frames/s, {its['dropped']} dropped{times}"
            )
        for sink in [*self.sinks, *(sink for stream in self.streams for sink in stream.sinks)]:
            if sink.written:
                print(f"wrote: {sink.name}")
        if self.args.stats:
            write_json(self.args.stats, found)


def names(specs: list[str]) -> list[str]:
    """A short name for each source, fit for a file and an address, different for all."""
    found: list[str] = []
    for number, spec in enumerate(specs, 1):
        path = urlsplit(spec).path if "://" in spec else spec
        stem = f"camera{spec}" if spec.isdigit() else Path(path).stem
        if spec.startswith("gst:"):
            stem = f"pipeline{number}"
        stem = re.sub(r"[^\w.-]+", "_", stem).strip("._") or f"source{number}"
        numbered = itertools.chain([stem], (f"{stem}_{n}" for n in itertools.count(number)))
        found.append(next(name for name in numbered if name not in found))
    return found


def check_patterns(patterns: list[str], count: int) -> None:
    """Raise ValueError for a pattern that does not give each source a name of its own."""
    for pattern in patterns:
        try:
            different = pattern.format(name="a", n=1) != pattern.format(name="b", n=2)
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"--per-stream-out {pattern}: knows {{name}} and {{n}} only") from error
        if count > 1 and not different:
            raise ValueError(
                f"--per-stream-out {pattern}: put {{name}} or {{n}} in it: there are {count} sources"
            )
