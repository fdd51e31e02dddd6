"""Video files with their sound, transparent ones decoded back and checked."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from utils.encoding import CLOCK, DEFAULT_RATE, Sink, add_stream, as_first, video_frame, writing
from utils.files import for_ffmpeg, replacing
from utils.sound import Tap, open_sound
from utils.sources import VideoError, converted

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
            picture = as_first(picture, self._size, self.transparent)
            frame = video_frame(picture, "rgba" if self.transparent else "rgb24", self._stream.pix_fmt)
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
            if self._failed:
                self.written = 0

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
            with writing(self.name):
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
        self._container = av.open(for_ffmpeg(self._temporary), "w", format=format)
        self._stack.callback(self._container.close)
        self._stream = add_stream(self._container, codec, layout, options, self._rate, picture)
        self._sound = None
        if self._sound_from:
            self._sound = open_sound(self._sound_from, self._container, sound_codec, copied, self._zero)


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

    with av.open(for_ffmpeg(path), metadata_errors="replace") as container:
        stream = container.streams.video[0]
        decoder: Any = stream.codec_context
        if decoder.name == "vp9":
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        for packet in container.demux(stream):
            frames = decoder.decode(packet) if packet.dts is not None else decoder.decode(None)
            for frame in frames:
                yield converted(frame, "rgba").to_ndarray()[..., 3]
            if packet.dts is None:
                return
