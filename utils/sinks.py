"""Frames out: pictures, folders, videos with sound, transparent videos, streams, virtual cameras.

    with open_sink("out.mp4", source.rate, source.sound) as sink:
        sink.write(picture, frame.time)     # uint8 RGB [H, W, 3], or RGBA where the sink is transparent

What was written is a whole, playable file also when the loop ends early (Ctrl-C, an error). A file appears
under its name when it is finished.
"""

from __future__ import annotations

import contextlib
import re
import sys
from fractions import Fraction
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

import numpy as np

from utils import servers
from utils.files import replacing, write_text
from utils.images import EXTENSIONS, letterbox, write_image
from utils.sound import Tap, open_sound
from utils.sources import VideoError

CLOCK = Fraction(1, 90000)  # the time base of MPEG: fine enough for every frame rate
DEFAULT_RATE = 25.0
BT709 = 1  # FFmpeg's number for the colours of HD video

# Ending -> container, codec for pictures, codec for sound, sound that may be copied as it is
CONTAINERS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    ".mp4": ("mp4", "libx264", "aac", ("aac", "mp3", "ac3")),
    ".m4v": ("mp4", "libx264", "aac", ("aac", "mp3", "ac3")),
    ".mov": ("mov", "libx264", "aac", ("aac", "mp3", "pcm_s16le")),
    ".mkv": ("matroska", "libx264", "aac", ("aac", "mp3", "ac3", "opus", "vorbis", "flac", "pcm_s16le")),
    ".webm": ("webm", "libvpx-vp9", "libopus", ("opus", "vorbis")),
}
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "libx264": ("yuv420p", {"preset": "veryfast", "crf": "20"}),
    "libvpx-vp9": ("yuv420p", {"deadline": "realtime", "cpu-used": "8", "crf": "32", "b": "0"}),
}
# Codecs that keep alpha, by the ending of the file
TRANSPARENT: dict[str, tuple[str, str, dict[str, str]]] = {
    ".webm": (
        "libvpx-vp9",
        "yuva420p",
        {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "0", "auto-alt-ref": "0"},
    ),
    ".mov": ("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "8"}),
}
ALPHA_TOLERANCE = 6.0  # of 255, mean over the pixels of the frames looked at
SAMPLES = 8
BITRATE = 2_500_000  # of a stream, bits a second
KEYFRAMES = 2.0  # seconds between whole pictures of a stream
RETRY = 1.0  # seconds between two looks for a server that went away


WITH_ALPHA = (".png", ".webp", ".tif", ".tiff")


class Sink:
    """What all sinks share: `write` for each frame, `close` at the end (or use it in a `with`)."""

    transparent = False
    whole = False  # set when the source came to its own end: sound that is longer is kept then

    def __init__(self, name: str) -> None:
        self.name, self.written = name, 0

    def write(self, picture: np.ndarray, time: float) -> None:
        """One picture uint8, RGB [H, W, 3] or RGBA [H, W, 4], of that time in seconds."""
        raise TypeError(f"{type(self).__name__} does not say how to write frames")

    def close(self) -> None:
        """Finish what was written."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PictureSink(Sink):
    """A single picture: the last frame written; with alpha where its format has that."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.transparent = Path(name).suffix.lower() in WITH_ALPHA

    def write(self, picture: np.ndarray, time: float) -> None:
        write_image(self.name, picture)
        self.written += 1


class FolderSink(Sink):
    """Numbered PNGs, lossless with alpha: what every editor imports. Raises ValueError where others lie there."""

    transparent = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._mark = Path(name) / ".frames"  # says that the numbered pictures here are ours to write over
        if not self._mark.exists() and self._numbered():
            raise ValueError(f"{name}: holds numbered pictures that may be yours: give another folder")

    def _numbered(self) -> list[Path]:
        return [path for path in Path(self.name).glob("*.png") if re.fullmatch(r"\d{6}", path.stem)]

    def write(self, picture: np.ndarray, time: float) -> None:
        if not self.written:
            write_text(
                self._mark, "numbered pictures of portrait-segmentation, written over by the next run\n"
            )
        write_image(Path(self.name) / f"{self.written:06}.png", picture)
        self.written += 1

    def close(self) -> None:
        if not self.written:
            return
        # A longer film written here before would go on behind this one.
        for path in self._numbered():
            if int(path.stem) >= self.written:
                path.unlink()


class VideoSink(Sink):
    """A video file, with the sound of another copied (or converted, where the container asks for it)."""

    def __init__(
        self,
        path: str | Path,
        rate: float | None = None,
        sound: str | Tap | None = None,
        transparent: bool = False,
    ) -> None:
        super().__init__(str(path))
        self.transparent, self._rate, self._sound_from = transparent, rate or DEFAULT_RATE, sound
        self._ending = Path(path).suffix.lower()
        known = TRANSPARENT if transparent else CONTAINERS
        if self._ending not in known:
            kind = "transparent videos" if transparent else "videos"
            raise ValueError(
                f"{path}: {kind} are written as {', '.join(known)}; or give a folder for PNG pictures"
            )
        self._stack = contextlib.ExitStack()
        self._container: Any = None
        self._last = -1
        self._zero: float | None = None  # of the source's clock, when this file begins
        self._size: tuple[int, int] | None = None
        self._failed = False
        self._kept: dict[int, np.ndarray] = {}

    def write(self, picture: np.ndarray, time: float) -> None:

        with self._writing():
            if self._container is None:
                self._start(picture, time)
            picture = _as_first(picture, self._size, self.transparent)
            frame = _frame(picture, "rgba" if self.transparent else "rgb24", self._stream.pix_fmt)
            # Two frames may not share a tick, whatever the source says.
            self._last = max(self._last + 1, round((time - self._zero) / CLOCK))
            frame.pts, frame.time_base = self._last, CLOCK
            if self.transparent and self.written % 10 == 0 and len(self._kept) < SAMPLES:
                self._kept[self.written] = picture[..., 3].copy()
            if self._sound:
                self._sound.copy_until(time - self._zero)
            self._container.mux(self._stream.encode(frame))
            self.written += 1

    def close(self) -> None:
        if self._container is None:
            return
        try:
            if not self._failed:
                self._finish()
        finally:
            # Only a file that went well appears under its name.
            failed = (VideoError, VideoError(self.name), None) if self._failed else (None, None, None)
            self._stack.__exit__(*failed)
            self._container = None

    def _finish(self) -> None:
        with self._writing():
            # The last frames wait inside the encoder until it is told that no more will come.
            self._container.mux(self._stream.encode(None))
            if self._sound:
                ends = float(self._last * CLOCK) + 1 / self._rate
                self._sound.copy_until(float("inf") if self.whole else ends)
                self._sound.close()
            self._container.close()
            if self._kept:
                check_alpha(self._temporary, self._kept)

    @contextlib.contextmanager
    def _writing(self):
        try:
            with _writing(self.name):
                yield
        except BaseException as error:
            # Ctrl-C may come between two frames of a file that is fine.
            self._failed = self._failed or not isinstance(error, KeyboardInterrupt)
            raise

    def _start(self, picture: np.ndarray, time: float) -> None:
        import av

        # A recording begins with its first picture; a film whose sound begins a moment before keeps that moment.
        self._zero = 0.0 if isinstance(self._sound_from, str) and time < 1 else time
        self._size = picture.shape[:2]

        format, codec, sound_codec, copied = CONTAINERS[self._ending]
        layout, options = CODECS[codec]
        if self.transparent:
            codec, layout, options = TRANSPARENT[self._ending]
        self._temporary = str(self._stack.enter_context(replacing(self.name)))
        self._container = av.open(self._temporary, "w", format=format)
        self._stack.callback(self._container.close)
        self._stream = _add_stream(self._container, codec, layout, options, self._rate, picture)
        self._sound = None
        if self._sound_from:
            self._sound = open_sound(self._sound_from, self._container, sound_codec, copied, self._zero)


class StreamSink(Sink):
    """H.264 and sound pushed to an RTMP or RTSP server, at `bitrate` bits a second, a whole picture each `keyframes` seconds.

    A server that goes away is tried again for `reconnect` seconds, and what was shown meanwhile is lost; one that
    was never there is an error at once.
    """

    def __init__(
        self,
        address: str,
        rate: float | None = None,
        bitrate: int = BITRATE,
        reconnect: float = 0.0,
        sound: str | Tap | None = None,
        keyframes: float = KEYFRAMES,
    ) -> None:
        super().__init__(address)
        self._rate, self._bitrate, self._reconnect = rate or DEFAULT_RATE, bitrate, reconnect
        self._sound_from, self._keyframes = sound, keyframes
        self._container: Any = None
        self._sound: Any = None
        self._last, self._zero, self._key = -1, 0.0, 0.0
        self._size: tuple[int, int] | None = None
        self._broken = self._tried = 0.0  # when the server went away, and when it was last looked for

    def write(self, picture: np.ndarray, time: float) -> None:
        if self._broken and monotonic() - self._tried < RETRY:
            return
        try:
            with _writing(self.name):
                self._push(picture, time)
        except VideoError:
            self._tried = monotonic()
            if not self._broken:
                print(f"note: {self.name}: the server went away: trying again", file=sys.stderr)
                self._broken = self._tried
            if not self.written or self._tried - self._broken >= self._reconnect:
                raise
            self._drop()
            return
        if self._broken:
            print(f"note: {self.name}: the server is back", file=sys.stderr)
        self._broken = 0.0

    def close(self) -> None:
        if self._container is None:
            return
        container, self._container = self._container, None
        with _writing(self.name):
            if self._sound:
                self._sound.close()
            container.mux(self._stream.encode(None))
            container.close()

    def _push(self, picture: np.ndarray, time: float) -> None:
        from av.video.frame import PictureType

        if self._container is None:
            self._connect(picture, time)
        frame = _frame(_as_first(picture, self._size, False), "rgb24", "yuv420p")
        self._last = max(self._last + 1, round((time - self._zero) / CLOCK))
        frame.pts, frame.time_base = self._last, CLOCK
        if self._last * CLOCK - self._key >= self._keyframes - 0.5 / self._rate:  # by time: rates may vary
            self._key = self._last * CLOCK
            frame.pict_type = PictureType.I
        if self._sound:
            self._sound.copy_until(time - self._zero)
        self._container.mux(self._stream.encode(frame))
        self.written += 1

    def _open(self) -> tuple[Any, tuple[str, ...]]:
        """The connection, and the sound that may be copied into it as it is."""
        import av

        servers.greet(self.name)
        kind = "rtsp" if self.name.startswith("rtsp") else "flv"
        options = {"rtsp_transport": "tcp"} if kind == "rtsp" else {"rw_timeout": "8000000"}
        # Sound that ends or pauses does not hold the pictures up.
        options["max_interleave_delta"] = "500000"
        container = av.open(self.name, "w", format=kind, options=options)
        return container, ("aac",) if kind == "rtsp" else ("aac", "mp3")

    def _connect(self, picture: np.ndarray, time: float) -> None:
        self._container, copied = self._open()
        how = {
            "preset": "veryfast",
            "tune": "zerolatency",
            "g": str(max(1, round(2 * self._keyframes * self._rate))),
            "forced-idr": "1",
            "maxrate": str(self._bitrate),
            "bufsize": str(self._bitrate),
        }
        self._stream = _add_stream(self._container, "libx264", "yuv420p", how, self._rate, picture)
        self._stream.bit_rate = self._bitrate
        self._last, self._zero, self._key = -1, time, 0.0
        self._size = self._size or picture.shape[:2]
        self._sound = None
        if self._sound_from:
            self._sound = open_sound(self._sound_from, self._container, "aac", copied, time)

    def _drop(self) -> None:
        """Let go of a connection that is broken; what FFmpeg says at that is known already."""
        for thing in (self._sound, self._container):
            if thing is not None:
                with contextlib.suppress(VideoError), _writing(self.name):
                    thing.close()
        self._container = self._sound = None


class VirtualCamera(Sink):
    """A camera that other programs can choose (v4l2loopback, OBS). Raises ValueError without one."""

    def __init__(self, rate: float | None = None) -> None:
        super().__init__("virtual camera")
        self._rate, self._camera = rate or DEFAULT_RATE, None

    def write(self, picture: np.ndarray, time: float) -> None:
        if self._camera is None:
            try:
                import pyvirtualcam

                self._camera = pyvirtualcam.Camera(picture.shape[1], picture.shape[0], self._rate)
            except ModuleNotFoundError as error:
                raise ValueError("a virtual camera needs: pip install pyvirtualcam") from error
            except RuntimeError as error:
                raise ValueError(
                    "no virtual camera is set up: on Linux run modprobe v4l2loopback, elsewhere install OBS"
                ) from error
            self.name, self._size = self._camera.device, picture.shape[:2]
        self._camera.send(_as_first(picture, self._size, False))
        self.written += 1

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()


def open_sink(
    spec: str | Path,
    rate: float | None = None,
    sound: str | Tap | None = None,
    transparent: bool = False,
    reconnect: float = 0.0,
    bitrate: int = BITRATE,
    keyframes: float = KEYFRAMES,
) -> Sink:
    """By its name: a video, a picture, a folder of PNGs, an rtmp or rtsp address, "camera", or "gst:PIPELINE".

    `reconnect`, `bitrate` and `keyframes` are a StreamSink's. Raises ValueError where that kind cannot be written
    (transparent, or for want of GStreamer).
    """
    text = str(spec)
    if text == "camera":
        return VirtualCamera(rate)
    if text.startswith("gst:"):
        from utils.gstreamer import PipelineSink

        return PipelineSink(text, rate)
    if "://" in text:
        return StreamSink(text, rate, bitrate, reconnect, sound, keyframes)
    ending = Path(text).suffix.lower()
    if text.endswith("/") or Path(text).is_dir():
        return FolderSink(text)
    if ending == ".gif":
        raise ValueError(
            f"{text}: films are written as {', '.join(CONTAINERS)}; or give a folder for PNG pictures"
        )
    if ending in EXTENSIONS:
        if transparent and ending not in WITH_ALPHA:
            raise ValueError(f"{text}: transparent pictures are written as {', '.join(WITH_ALPHA)}")
        return PictureSink(text)
    return VideoSink(text, rate, sound, transparent) if ending else FolderSink(text)


def check_alpha(path: str, kept: dict[int, np.ndarray]) -> None:
    """Decode a transparent video and compare its alpha with what went in, by frame. Raises VideoError."""
    seen = 0
    for number, alpha in enumerate(read_alpha(path)):
        if number not in kept:
            continue
        seen += 1
        true = kept[number]
        same = alpha[: true.shape[0], : true.shape[1]].astype(np.float32)  # odd sides were made even
        difference = float(np.abs(same - true).mean())
        if difference > ALPHA_TOLERANCE:
            raise VideoError(f"{path}: alpha came back {difference:.1f}/255 off in frame {number}")
    if seen < len(kept):
        raise VideoError(f"{path}: {len(kept) - seen} of the frames written cannot be read back")


def read_alpha(path: str):
    """The alphas uint8 [H, W] of a transparent video. VP9's own decoder drops them, libvpx's does not."""
    import av

    with av.open(path, metadata_errors="replace") as container:
        stream = container.streams.video[0]
        decoder: Any = stream.codec_context
        if decoder.name == "vp9":
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        for packet in container.demux(stream):
            frames = decoder.decode(packet) if packet.dts is not None else decoder.decode(None)
            for frame in frames:
                yield frame.to_ndarray(format="rgba")[..., 3]
            if packet.dts is None:
                return


def _add_stream(
    container: Any, codec: str, layout: str, options: dict[str, str], rate: float, picture: np.ndarray
) -> Any:
    stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001), options=options)
    height, width = picture.shape[:2]
    stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, layout
    stream.codec_context.time_base = CLOCK
    # Said in the file, or each player guesses by the size and skin changes its colour.
    stream.codec_context.colorspace = stream.codec_context.color_primaries = BT709
    stream.codec_context.color_trc, stream.codec_context.color_range = BT709, 1
    return stream


def _frame(picture: np.ndarray, format: str, layout: str) -> Any:
    """A picture as a frame in the stream's layout and colours."""
    import av

    frame = av.VideoFrame.from_ndarray(_even(picture), format)
    return frame.reformat(format=layout, dst_colorspace=BT709, dst_color_range=1)


def _as_first(picture: np.ndarray, size: tuple[int, int] | None, transparent: bool) -> np.ndarray:
    """A picture as a stream began: of that size (letterboxed, never squashed), with alpha or without."""
    if size is not None and picture.shape[:2] != size:
        picture = letterbox(picture, size)[0]
    if transparent and picture.shape[2] == 3:
        picture = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    return picture


def _even(picture: np.ndarray) -> np.ndarray:
    """Odd sides get their last line twice: 4:2:0 video knows even sizes only."""
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return np.ascontiguousarray(picture)


@contextlib.contextmanager
def _writing(name: str):
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise VideoError(f"{name}: cannot be written: {error.strerror or error}") from error
