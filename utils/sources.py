"""Frames in: pictures, folders, videos, cameras and streams behind one interface.

    with open_source("clip.mp4") as source:
        for frame in source:            # frame.image uint8 RGB [H, W, 3], upright; frame.time in seconds
            ...

A file gives every frame at its own time. A camera or stream is read on a thread of its own and gives
the newest frame there is: late frames are dropped, never queued.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils import cli, hdr
from utils.files import for_ffmpeg
from utils.images import EXTENSIONS, list_images, read_image
from utils.sound import JUMP, STALL, Tap, decodable

VIDEOS = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif"}
FOLDER_RATE = 25.0
LATE, EARLY = 0.5, 2.0  # seconds: a frame of a stream in pieces that is later or earlier sets its clock anew
UNSAID, BT709 = 2, 1  # FFmpeg's numbers of colour matrices
HD = 720  # rows from which on players take colours that are unsaid for BT.709
REORDERED = 8  # pictures that a codec puts off at most
SHORT = 1.0  # seconds that a film's pictures may end before their track does
TRIES = 3  # of a camera that was never there
LISTEN = 0.1  # seconds between two looks at the window while no frame comes


class VideoError(ValueError):
    """A source that cannot be read (further); the message names it and the reason."""


_converters = threading.local()  # by pixel format


class Frame(NamedTuple):
    """`image` uint8 RGB [H, W, 3], upright; `time` in seconds on the source's own clock."""

    image: np.ndarray
    time: float


class Source:
    """What all sources share. Iterate over it once, and close it (or use it in a `with`).

    Attributes: `name`, `live` (frames may be dropped), `rate` in frames a second where known, `frames`, how
    many there are where known, `sound`, the file or Tap that has the sound, or None, `dropped`, `trouble`: why a
    live source gives nothing now, else "", and `retries`, how often it was opened again. Before iterating one may set
    `decoders`, the threads that decode a file (0: what FFmpeg thinks best).
    """

    live = False
    rate: float | None = None
    frames: int | None = None
    sound: str | Tap | None = None
    dropped = 0
    trouble = ""
    retries = 0
    decoders = 0

    def __init__(self, name: str) -> None:
        self.name = name

    def __iter__(self) -> Iterator[Frame]:
        raise TypeError(f"{type(self).__name__} does not say how to read frames")

    def close(self) -> None:
        """Let go of files, cameras and threads."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


class Pictures(Source):
    """A picture, or the pictures of a folder as the frames of a film. Raises ImageError."""

    rate = FOLDER_RATE

    def __init__(self, name: str, paths: list[Path]) -> None:
        super().__init__(name)
        self.paths, self.frames = paths, len(paths)

    def __iter__(self) -> Iterator[Frame]:
        for number, path in enumerate(self.paths):
            yield Frame(read_image(path), number / FOLDER_RATE)


class VideoFile(Source):
    """Every frame of a video at its own time, variable rates included, turned as the container says."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(str(path))
        with reading(self.name), opened(self.name) as (container, stream):
            self.rate = float(stream.average_rate) if stream.average_rate else None
            self.frames = stream.frames or None
            self.sound = self.name if decodable(container) else None
            if container.streams.audio and not self.sound:
                print(f"note: {self.name}: its sound has no decoder here and is left out", file=sys.stderr)

    def __iter__(self) -> Iterator[Frame]:
        count = 0
        try:
            with reading(self.name), opened(self.name) as (container, stream):
                stream.thread_type, stream.thread_count = "AUTO", self.decoders
                length, moment = _length(stream), 0.0
                for frame in _decoded(container, stream, self.rate):
                    yield frame
                    count, moment = count + 1, frame.time
        except VideoError as error:
            if count:
                raise VideoError(f"{self.name}: damaged or cut off after {count} frames") from error
            raise
        if not count:
            raise VideoError(f"{self.name}: holds no frame that can be read")
        if moment + max(SHORT, length / 50) < length:
            print(
                f"note: {self.name}: its pictures end after {moment:.1f} of {length:.1f} seconds: is it whole?",
                file=sys.stderr,
            )


class Live(Source):
    """A camera or stream read by a thread of its own; the newest frame is always the next.

    `connect` opens it and yields frames until it breaks. A broken source is tried again for `reconnect`
    seconds, then iteration ends with VideoError; one `hopeless` without a first frame is not. Whoever iterates may set `idle`: it is called now and then while
    no frame comes, and ends the iteration by True.
    """

    live = True
    idle: Callable[[], bool] | None = None

    def __init__(
        self,
        name: str,
        connect: Callable[[], Iterator[np.ndarray]],
        reconnect: float = 0.0,
        sound: Tap | None = None,
        hopeless: bool = False,
    ) -> None:
        super().__init__(name)
        self.sound = sound
        self._connect, self._reconnect, self._hopeless = connect, reconnect, hopeless
        self._newest: Frame | None = None
        self._number, self._error = 0, ""
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name=f"read {name}", daemon=True)
        self._began = time.monotonic()
        if sound is not None:
            sound.clock = lambda: time.monotonic() - self._began
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        seen = 0
        while self._wait(seen):
            with cli.unbroken(), self._news:
                if self._number == seen:
                    raise VideoError(self._error)
                self.dropped += self._number - seen - 1
                seen, frame = self._number, self._newest
            yield frame

    def _wait(self, seen: int) -> bool:
        """Until there is a newer frame or an error; False where `idle` ends it. Raises VideoError."""
        patience = self._reconnect + 2 * STALL + 1  # longer than the reader's own
        ends = time.monotonic() + patience
        while time.monotonic() < ends:
            with cli.unbroken(), self._news:
                if self._news.wait_for(lambda: self._number > seen or self._error, LISTEN):
                    return True
            if self.idle is not None and self.idle():
                return False
        raise VideoError(f"{self.name}: no frame for {patience:.0f} seconds")

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2)
        cli.abandon(self._thread)

    def _read(self) -> None:
        last = time.monotonic()
        reason = "gives no frames"
        while not self._stop.is_set():
            try:
                for image in self._connect():
                    last = time.monotonic()
                    self._show(Frame(image, last - self._began))
                    if self._stop.is_set():
                        return
                reason = "ended"
            except Exception as error:  # whatever a driver or a decoder raises, this thread must tell of it
                reason = " ".join(str(error).removeprefix(f"{self.name}: ").split()) or type(error).__name__
            self.trouble = reason
            if self._hopeless and not self._number and self.retries + 1 >= TRIES:
                self._reconnect = 0.0
            if time.monotonic() - last >= self._reconnect:
                break
            self._stop.wait(0.3)
            self.retries += 1
        with self._news:
            waited = f" (tried again for {self._reconnect:.0f} s)" if self._reconnect else ""
            self._error = f"{self.name}: {reason}{waited}"
            self._news.notify_all()

    def _show(self, frame: Frame) -> None:
        with self._news:
            self._newest, self._number, self.trouble = frame, self._number + 1, ""
            self._news.notify_all()


def open_source(spec: str | Path, reconnect: float = 0.0, size: tuple[int, int] | None = None) -> Source:
    """A camera's index or device, a picture, a folder of pictures, a video, an rtsp, rtmp or http address, or
    "gst:PIPELINE".

    `size` (height, width) is asked of a camera, which may give another. Raises FileNotFoundError, ValueError, VideoError.
    """
    text = str(spec)
    if not text:
        raise ValueError("the source is empty: give a camera, a video, a picture, a folder or an address")
    if text.isdigit() or text.startswith("/dev/video"):
        # A camera that was never there will not come, but among many sources it may be plugged in later, and macOS
        # gives none before its question was answered.
        hopeless = reconnect < math.inf and sys.platform != "darwin"
        return Live(f"camera {text}", lambda: _camera(text, size), reconnect, hopeless=hopeless)
    if text.startswith("gst:"):
        from utils.gstreamer import frames

        return Live(text, lambda: frames(text), reconnect)
    if text.startswith(("http://", "https://")) and _is_file(text, reconnect):
        return VideoFile(text)
    if "://" in text:
        tap = Tap()
        return Live(text, lambda: _stream(text, tap), reconnect, tap)
    path = Path(text)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such video, picture or folder")
    if path.is_dir():
        pictures = list_images(path)
        if not pictures:
            raise VideoError(f"{path}: holds no pictures")
        return Pictures(text, pictures)
    if path.suffix.lower() in EXTENSIONS - {".gif"}:
        return Pictures(text, [path])
    return VideoFile(path)


def list_videos(path: str | Path) -> list[Path]:
    """The video itself, or all videos directly in a folder, sorted by name."""
    path = Path(path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in files if file.suffix.lower() in VIDEOS - {".gif"} and file.name[0] != "."]


def _is_file(address: str, reconnect: float) -> bool:
    """Whether a video that a server gives has an end. Raises VideoError where it is not there.

    A server that does not answer yet is taken for a camera's, if there are seconds to `reconnect` in.
    """
    try:
        with reading(address), opened(address) as (container, _):
            # A browser's recording has no duration; the size of pieces is that of their list.
            return bool(container.duration) or (not _in_pieces(container) and (container.size or 0) > 0)
    except VideoError as error:
        if reconnect > 0 and isinstance(error.__cause__, OSError):  # no answer, not one that says no
            return False
        raise


def _camera(device: str, size: tuple[int, int] | None) -> Iterator[np.ndarray]:
    import cv2

    cv2.utils.logging.setLogLevel(0)  # each attempt in vain would print a dozen lines
    camera = cv2.VideoCapture(int(device) if device.isdigit() else device)
    try:
        if not camera.isOpened():
            raise VideoError(f"camera {device}: cannot be opened: is it plugged in and free?")
        if size:
            camera.set(cv2.CAP_PROP_FRAME_HEIGHT, size[0])
            camera.set(cv2.CAP_PROP_FRAME_WIDTH, size[1])
        while True:
            good, picture = camera.read()
            if not good:
                raise VideoError(f"camera {device}: stopped giving frames")
            yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    finally:
        camera.release()


def _stream(address: str, tap: Tap) -> Iterator[np.ndarray]:
    with reading(address), opened(address) as (container, stream):
        frames = _decoded(container, stream, None, tap)
        for frame in _paced(frames) if _in_pieces(container) else frames:
            yield frame.image


def _in_pieces(container) -> bool:
    return container.format.name.startswith(("hls", "dash"))


def _paced(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Frames of a stream that comes in pieces of seconds, each at its own time: at once all but one would be dropped."""
    began = None
    for frame in frames:
        now = time.monotonic()
        if began is None or not -LATE < began + frame.time - now < EARLY:
            began = now - frame.time
        time.sleep(max(0.0, began + frame.time - now))
        yield frame


@contextlib.contextmanager
def opened(name: str):
    """A container and its first video stream, of a file or address. Raises VideoError, OSError."""
    import av

    # A dead server must not hang us; over TCP no packet of an RTSP stream is lost.
    # (FFmpeg's "nobuffer" would drop the first key frame: seconds without a picture.)
    options = {"rtsp_transport": "tcp"} if name.startswith("rtsp") else {}
    timeout = (STALL, STALL) if "://" in name else None
    with av.open(for_ffmpeg(name), options=options, timeout=timeout, metadata_errors="replace") as container:
        if not container.streams.video:
            raise VideoError(f"{name}: holds no video")
        yield container, container.streams.video[0]


def _length(stream) -> float:
    """Seconds that a track says it lasts; 0 where it does not say."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")  # Matroska's
    minutes, _, last = rest.partition(":")
    try:
        return 3600 * float(hours) + 60 * float(minutes) + float(last)
    except ValueError:
        return 0.0


def _decoded(container, stream, rate: float | None, tap: Tap | None = None) -> Iterator[Frame]:
    start = float(container.start_time or 0) / 1e6
    if tap is not None:
        frames = ((frame, frame.time) for frame in _tapped(container, stream, tap))
    elif container.format.name == "avi":
        frames = _in_order(container.decode(stream))
    else:
        frames = ((frame, frame.time) for frame in container.decode(stream))
    step, last = 1 / (rate or FOLDER_RATE), 0.0
    for number, (frame, stamp) in enumerate(frames):
        moment = number * step if stamp is None else stamp - start
        if moment < last - JUMP:  # joined recordings: the next goes on where the last ended
            start -= last + step - moment
            moment = last + step
        last = moment
        yield Frame(upright(frame, stream), moment)


def _in_order(frames: Iterator[Any]) -> Iterator[tuple[Any, float | None]]:
    """Frames with their times, for a container that counts pictures as they are coded, which may be in another order.

    The pictures come as they are shown; their times, sorted, are theirs. Codecs put few pictures off.
    """
    waiting: deque[Any] = deque()
    times: list[float] = []
    for frame in frames:
        waiting.append(frame)
        if frame.time is not None:
            heapq.heappush(times, frame.time)
        if len(waiting) > REORDERED:
            yield waiting.popleft(), heapq.heappop(times) if times else None
    while waiting:
        yield waiting.popleft(), heapq.heappop(times) if times else None


def upright(frame, stream) -> np.ndarray:
    """A decoded frame as uint8 RGB [H, W, 3], turned as its container says, with square pixels."""
    if frame.colorspace == UNSAID and frame.height >= HD:
        frame.colorspace = BT709  # as players guess
    width = _square(stream, frame)
    if hdr.is_hdr(frame):
        image = hdr.pixels(frame, width)
    else:
        image = converted(frame, format="rgb24", width=width).to_ndarray()
    # Quarter turns counted against the clock, as NumPy counts them
    turns = round((getattr(frame, "rotation", 0) or 0) / 90) % 4
    if _mirrored(frame):  # FFmpeg's angle is of the picture's left edge, which a mirror turns the other way
        image, turns = image[:, ::-1], (turns + 2) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns or image.strides[1] < 0 else image


def converted(frame, format: str, **how):
    """A video frame in another pixel format or size, as its own `reformat` makes it in three times the time.

    That one sets up tables and threads for each frame; here each thread of ours keeps a converter for each format.
    """
    from av.video.reformatter import VideoReformatter

    own = _converters.__dict__
    if format not in own:
        own[format] = VideoReformatter()
    return own[format].reformat(frame, format=format, threads=1, **how)


def _mirrored(frame) -> bool:
    """Whether the container's display matrix, nine numbers by rows, turns the picture's inside out."""
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return False
    (a, b, _), (c, d, _) = np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2].tolist()
    return a * d < b * c


def _tapped(container, stream, tap: Tap) -> Iterator:
    """The pictures; sound goes to the tap, and sound that cannot be decoded costs no picture."""
    import av

    sound_track = decodable(container)
    tap.begin(sound_track is not None)
    for packet in container.demux(*filter(None, (stream, sound_track))):
        if packet.stream.index == stream.index:
            yield from packet.decode()
            continue
        with contextlib.suppress(av.FFmpegError):
            for sound in packet.decode():
                tap.put(sound)


def _square(stream, frame) -> int:
    """The width at which a frame's pixels are square: DV tapes and some broadcasts store them narrow or wide."""
    shape = stream.sample_aspect_ratio
    return max(1, round(frame.width * shape)) if shape else frame.width


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """PyAV's many errors as one line about this source."""
    import av

    try:
        yield
    except (av.FFmpegError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        reason = getattr(error, "strerror", None) or "not a video that can be read"
        raise VideoError(f"{name}: cannot be read: {reason}") from error
