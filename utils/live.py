"""The loop that all live scripts share: frames in, pictures to window, files, streams and virtual cameras.

    with Loop(args, "webcam") as loop:
        for frame, alpha in loop.matted(matting):
            picture = compose(frame.image, alpha)
            loop.put(frame, picture, alpha)

It ends at the source's end, `q`, a closed window, --frames, or Ctrl-C; what was written is whole then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from utils import blending, cli, segmenter, temporal
from utils.backend import keep_memory
from utils.encoding import Sink
from utils.files import write_text
from utils.images import ImageError, to_uint8, write_image
from utils.pipeline import Behind, Matting, Rate, Stages, ahead, delayed
from utils.sheets import on_checkerboard
from utils.sinks import VirtualCamera, open_sink
from utils.sources import Frame, Source, VideoError, open_source
from utils.stream_sink import BITRATE, KEYFRAMES, StreamSink
from utils.video_sink import VideoSink
from utils.viewer import Viewer, has_display

SHIPPED = str(Path(__file__).resolve().parent.parent / "checkpoints/live_int8.tflite")
CAPTURES = Path("captures")


def seconds(text: str) -> float:
    """argparse type: 0 or more; inf is for ever."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:  # NaN neither
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0, or inf for ever")
    return value


def add_arguments(parser: argparse.ArgumentParser, source: bool = True) -> None:
    """Options of every live script; without `source` the script takes it by position."""
    add = parser.add_argument_group("source and outputs").add_argument
    if source:
        add(
            "--source",
            default="0",
            help="camera index or device, video, picture, folder, rtsp, rtmp or http address, or gst:PIPELINE",
        )
    add("--camera-size", type=cli.frame, metavar="WxH", help="asked of a camera, which may give another")
    add(
        "--reconnect",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="try a broken camera, stream or server again for so long; inf: for ever",
    )
    add("--frames", type=cli.positive, help="stop after so many")
    add(
        "--out",
        "--save",
        action="append",
        default=[],
        metavar="FILE",
        help="video, picture, folder of PNGs, rtmp or rtsp address, or gst:PIPELINE; repeatable",
    )
    add("--bitrate", type=bits, default=BITRATE, metavar="BITS", help="of a stream, a second; 800k, 2.5M")
    add(
        "--keyframes",
        type=cli.above_zero,
        default=KEYFRAMES,
        metavar="SECONDS",
        help="between whole pictures of a stream",
    )
    add("--virtual-camera", action="store_true", help="be a camera that other programs can choose")
    add("--no-window", action="store_true", help="show nothing; without a display that is so anyway")
    add(
        "--stats",
        type=cli.file(".json"),
        metavar="FILE",
        help="write frame rate and time of each stage as JSON",
    )


def add_network(
    parser: argparse.ArgumentParser, model: str = SHIPPED, ways: Sequence[str] = temporal.WAYS
) -> None:
    """Options of the network and its steadying."""
    add = parser.add_argument_group("network").add_argument
    add("--model", default=model, help="any model file of ours")
    add("--temporal", default="smooth", choices=ways, help="steadying from frame to frame")
    add(
        "--fast",
        action="store_true",
        help="no steadying, no finer edges, a plain alpha blend: for weak machines",
    )
    add("--tidy", action="store_true", help="take out small islands, fill small holes")
    add("--one-person", action="store_true", help="keep the largest person, or the one clicked in the window")
    cli.add_runtime(parser, threads=1)


def open_matting(args: argparse.Namespace, stages: Stages, certain: bool = False) -> Matting:
    """The network and its memory, by the options of `add_network`; prints what runs where. Raises ValueError."""
    network = segmenter.by_arguments(args)
    if getattr(args, "vertical_screen", False):
        network = segmenter.tallest(network)
    print(f"{(network.file or Path(args.model)).name}: {network}")
    network.warm_up()
    return matting_of(network, args, stages, certain)


def matting_of(
    network: segmenter.Segmenter, args: argparse.Namespace, stages: Stages, certain: bool = False
) -> Matting:
    """A stream's own memory for a network that is open already."""
    person = temporal.OnePerson() if args.one_person else None
    way = "off" if args.fast else args.temporal
    return Matting(network, temporal.Temporal(way), stages, person, certain, args.tidy, not args.fast)


def heed_sigterm(stack: contextlib.ExitStack) -> None:
    """A service manager says SIGTERM, a closed terminal SIGHUP where a person presses Ctrl-C: files are finished for all."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is None or signal.getsignal(number) is signal.SIG_IGN:  # nohup
            continue
        previous = signal.signal(number, signal.default_int_handler)
        stack.callback(signal.signal, number, previous)


def wants_window(args: argparse.Namespace, written: bool) -> bool:
    """Whether a window is opened; `written` says that there are other outputs. Raises ValueError where there is nothing."""
    if args.no_window:
        if not (written or args.frames or args.stats):
            raise ValueError("--no-window and no output: give --out FILE, or --frames N to time it")
        return False
    if not has_display():
        if not (written or args.frames or args.stats):
            raise ValueError("no display to open a window on: give --out FILE")
        print("note: no display, so no window is opened", file=sys.stderr)
        return False
    return True


def _holds(read: Path, written: Path) -> bool:
    """Whether what is written is what is read, or a file in the folder that is read."""
    if not (read.exists() and written.exists()):
        return False
    return read.samefile(written) or (written.is_file() and read.samefile(written.parent))


def open_output(
    name: str,
    args: argparse.Namespace,
    read: Iterable[str | None],
    sinks: list[Sink],
    source: Source,
    transparent: bool = False,
) -> Sink:
    """A sink for pictures of this rate and sound, which overwrites nothing that is `read` and is none of `sinks`. Raises ValueError."""
    is_path = not (name.startswith("gst:") or "://" in name)
    for path in filter(None, read if is_path else ()):
        if _holds(Path(path), Path(name)):
            raise ValueError(f"{name}: would overwrite what is read: give another name")
    if any(
        sink.name == name or (is_path and Path(sink.name).resolve() == Path(name).resolve()) for sink in sinks
    ):
        raise ValueError(f"{name}: was given twice as an output")
    return open_sink(
        name, source.rate, source.sound, transparent, args.reconnect, args.bitrate, args.keyframes
    )


def bits(text: str) -> int:
    """argparse type: "800k", "2.5M" or a plain number of bits a second."""
    factor = {"k": 1e3, "m": 1e6}.get(text[-1:].lower(), 1)
    return round(factor * cli.above_zero(text if factor == 1 else text[:-1]))


class Loop:
    """One run of a live script. `transparent` says that pictures carry alpha.

    `keys` maps keys to (what they do, the function called), for the window.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        title: str,
        transparent: bool = False,
        keys: dict[str, tuple[str, Callable[[], None]]] | None = None,
    ) -> None:
        self.args, self.title, self.transparent = args, title, transparent
        keep_memory()
        self.stages = Stages()
        self._record: VideoSink | None = None
        self._stack = contextlib.ExitStack()
        self._actions: dict[str, Callable[[], None]] = {}
        self.viewer: Viewer | None = None
        self.sinks: list[Sink] = []
        try:
            self._open(keys or {})
        except BaseException:
            self._stack.close()  # a camera's thread runs already
            raise
        self._behind: Behind | None = None
        self.matting: Matting | None = None
        self.shown = self.skipped = 0  # frames put, and frames looked at for something else
        self._rate = Rate()
        self._began = time.monotonic()
        self._latest: tuple[Frame, np.ndarray, np.ndarray | None] | None = None
        self.settings: dict = {key: value for key, value in vars(args).items() if not callable(value)}

    def _open(self, keys: dict[str, tuple[str, Callable[[], None]]]) -> None:
        heed_sigterm(self._stack)
        self.source = open_source(self.args.source, self.args.reconnect, self.args.camera_size)
        self._stack.callback(self.source.close)
        self._stack.callback(self._stop_record)
        self.viewer = self._window(keys)
        names = [*self.args.out, *(["camera"] if self.args.virtual_camera else [])]
        for name in names:
            self.sinks.append(self._sink(name))

    def __enter__(self) -> Loop:
        self._behind = self._stack.enter_context(Behind(self._write))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The writer's thread ends first, then each file is finished, then the source is let go.
        self._stack.close()
        if kind in (None, KeyboardInterrupt, VideoError, ImageError):  # a camera or stream has no other end
            self._report()

    def frames(self) -> Iterator[Frame]:
        """The source's frames; those of a file are read ahead."""
        if self.source.live and self.viewer is not None:
            self.source.idle = self._idle
        frames = iter(self.source) if self.source.live else ahead(self.source)
        total = min(filter(None, (self.args.frames, self.source.frames)), default=None)
        quiet = self.viewer is not None or self.source.live
        for count, frame in enumerate(frames if quiet else cli.progress(frames, self.title, total), 1):
            yield frame
            if count - self.skipped == self.args.frames or self.closed:
                return
        for sink in self.sinks:
            sink.whole = True
        while self.viewer is not None and self.source.frames == 1 and not self.closed:
            time.sleep(0.05)  # a single picture stays until it was looked at
            self.viewer.listen()
            self._keys()

    def _idle(self) -> bool:
        """Keys are heard, too, while a camera gives nothing; whether one of them ended the run."""
        if self._latest is None:  # there is no window yet
            return False
        if time.perf_counter() - self._rate.last < 1.0:
            self.viewer.listen()
        else:
            lines, self.viewer.lines = self.viewer.lines, [f"{self.source.name} gives no picture: waiting"]
            self.viewer.show(self._latest[1], self._latest[0].image)
            self.viewer.lines = lines
        self._keys()
        return self.closed

    @property
    def closed(self) -> bool:
        """Whether the window was closed, or `q` pressed."""
        return self.viewer is not None and self.viewer.closed

    def matted(self, matting: Matting) -> Iterator[tuple[Frame, np.ndarray]]:
        """Frames with their alphas float32 [H, W]; for files the network works ahead of the compositing."""
        self.matting = matting
        if not (self.source.live or self.viewer):
            # The stages run side by side: OpenCV's own threads would only stand in each other's way.
            self._stack.callback(cv2.setNumThreads, cv2.getNumThreads())
            cv2.setNumThreads(1)
        pairs = ((frame, matting(frame.image)) for frame in self.frames())
        if matting.temporal.way == "delay" and self.source.frames != 1:  # which has no neighbours
            pairs = delayed(pairs)
        return pairs if self.source.live or self.viewer else ahead(pairs)

    def put(self, frame: Frame, picture: np.ndarray, alpha: np.ndarray | None = None) -> None:
        """Give a finished picture, RGB or RGBA uint8 [H, W, 3 or 4], to all outputs."""
        self.shown += 1
        self._rate.add()
        self._latest = (frame, picture, alpha)
        if self.sinks or self._record:
            self._behind(picture, frame.time)
        self._pace(frame)
        if self.viewer is not None:
            with self.stages("window"):
                self.viewer.show(picture, frame.image)
            self._keys()

    def _pace(self, frame: Frame) -> None:
        """A file in a window or to a server plays at its own speed; one that is written runs as fast as it can."""
        watched = any(isinstance(sink, (StreamSink, VirtualCamera)) for sink in self.sinks)
        if self.source.live or not (watched or (self.viewer and not self.sinks)):
            return
        late = time.monotonic() - self._began - frame.time
        if late > 0.5:
            self._began += late
        while late < 0 and not self.closed:
            time.sleep(min(-late, 0.05))
            if self.viewer is not None:
                self.viewer.listen()
            late = time.monotonic() - self._began - frame.time

    @property
    def rate(self) -> float:
        """Frames a second over the last hundred."""
        return self._rate.recent

    def lines(self) -> list[str]:
        """The panel of times."""
        rows = [f"{self.rate:.0f} frames/s", f"{self.source.dropped} dropped", "ms\tp50\tp95"]
        return rows + [f"{name}\t{p50:.1f}\t{p95:.1f}" for name, (p50, p95) in self.stages.summary().items()]

    def _window(self, keys: dict[str, tuple[str, Callable[[], None]]]) -> Viewer | None:
        if not wants_window(self.args, bool(self.args.out or self.args.virtual_camera)):
            return None
        self._actions |= {
            "s": self._snapshot,
            "S": self._snapshot,
            "r": self._toggle_record,
            "d": self._debug,
            "f": self._panel,
            "t": self._next_temporal,
            **{key: call for key, (_, call) in keys.items()},
        }
        help_lines = {key: what for key, (what, _) in keys.items()}
        viewer = Viewer(
            self.title,
            {
                **help_lines,
                ("S" if "s" in keys else "s"): "snapshot",
                "r": "record, or stop",
                "t": "steadying",
                "d": "debug bundle",
                "f": "times",
            },
        )
        self._stack.callback(viewer.close)
        return viewer

    def _sink(self, name: str) -> Sink:
        named = [getattr(self.args, name, None) for name in ("background", "plate")]
        read = [self.source.name, *named, *getattr(self.args, "backgrounds", [])]
        sink = open_output(name, self.args, read, self.sinks, self.source, self.transparent)
        self._stack.callback(sink.close)
        return sink

    def _write(self, picture: np.ndarray, moment: float) -> None:
        with self.stages("write"):
            for sink in [*self.sinks, *filter(None, [self._record])]:
                plain = picture if sink.transparent or picture.shape[2] == 3 else on_checkerboard(picture)
                sink.write(plain, moment)

    def _keys(self) -> None:
        for key in self.viewer.pressed():
            action = self._actions.get(key)
            if action is not None:
                action()
        if self.viewer.lines:
            self.viewer.lines = self.lines()
        if self.viewer.clicked and self.matting is not None and self.matting.person is not None:
            self.matting.person.choose(*self.viewer.clicked)
        self.viewer.clicked = None

    def _panel(self) -> None:
        self.viewer.lines = [] if self.viewer.lines else self.lines()

    def _next_temporal(self) -> None:
        if self.matting is None:
            return
        ways, way = temporal.CAUSAL, self.matting.temporal.way
        way = ways[(ways.index(way) + 1) % len(ways)] if way in ways else ways[0]
        self.matting.temporal = temporal.Temporal(way)
        print(f"temporal: {way}")

    def _snapshot(self) -> None:
        frame, picture, alpha = self._latest
        stem = f"snapshot_{stamp()}"
        write_image(CAPTURES / f"{stem}_composite.png", picture)
        if alpha is not None:
            write_image(CAPTURES / f"{stem}_cutout.png", blending.cutout(frame.image, alpha))
        print(f"snapshot: {CAPTURES / stem}_*.png")

    def _toggle_record(self) -> None:
        if self._record is not None:
            self._behind.wait()
            self._stop_record()
            return
        self._record = VideoSink(CAPTURES / f"record_{stamp()}.mp4", self.source.rate)
        print(f"recording to {self._record.name}")

    def _stop_record(self) -> None:
        record, self._record = self._record, None
        if record is not None:
            record.close()
            print(f"recorded {record.written} frames: {record.name}")

    def _debug(self) -> None:
        frame, picture, alpha = self._latest
        folder = CAPTURES / f"debug_{stamp()}"
        pictures = {"frame": frame.image, "composite": picture}
        if alpha is not None:
            pictures["alpha"] = to_uint8(alpha)
        if self.matting is not None:
            pictures["raw_alpha"] = to_uint8(self.matting.raw)
            if self.matting.prior is not None:
                pictures["prior"] = to_uint8(self.matting.prior)
        for name, image in pictures.items():
            write_image(folder / f"{name}.png", image)
        facts = {"time": frame.time, **self.settings, "stages": self.stages.summary()}
        if self.matting is not None:
            facts |= {"network": str(self.matting.segmenter), "temporal": self.matting.temporal.way}
        write_text(folder / "settings.json", json.dumps(facts, indent=1, default=str))
        print(f"debug bundle: {folder}")

    @property
    def mean_rate(self) -> float:
        """Frames a second of the whole run, without its first frames."""
        return self._rate.mean

    def _report(self) -> None:
        rate, summary = self.mean_rate, self.stages.summary()
        stages = ", ".join(f"{name} {middle:.1f}/{most:.1f}" for name, (middle, most) in summary.items())
        dropped = f", {self.source.dropped} dropped" if self.source.live else ""
        print(f"{self.shown} frames, {rate:.1f} frames/s{dropped}; ms p50/p95: {stages}")
        for sink in self.sinks:
            if sink.written:
                print(f"wrote: {sink.name}")
        if self.args.stats:
            facts = {"frames": self.shown, "frames_per_second": rate, "dropped": self.source.dropped}
            facts["milliseconds"] = {name: {"p50": p50, "p95": p95} for name, (p50, p95) in summary.items()}
            write_text(Path(self.args.stats), json.dumps(facts, indent=1))


def stamp() -> str:
    """The time as part of a file's name, different for every picture."""
    return time.strftime("%Y%m%d_%H%M%S") + f"_{time.time_ns() // 1_000_000 % 1000:03}"
