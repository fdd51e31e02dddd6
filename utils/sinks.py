"""Frames out: pictures, folders, videos with sound, transparent videos, streams, virtual cameras.

    with open_sink("out.mp4", source.rate, source.sound) as sink:
        sink.write(picture, frame.time)     # uint8 RGB [H, W, 3], or RGBA where the sink is transparent

What was written is a whole, playable file also when the loop ends early (Ctrl-C, an error). A file appears
under its name when it is finished.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from utils.encoding import DEFAULT_RATE, Sink, as_first
from utils.files import write_text
from utils.images import EXTENSIONS, write_image
from utils.sound import Tap
from utils.stream_sink import BITRATE, KEYFRAMES, StreamSink
from utils.video_sink import CONTAINERS, VideoSink

WITH_ALPHA = (".png", ".webp", ".tif", ".tiff")


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
        self._camera.send(as_first(picture, self._size, False))
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
    if not text:
        raise ValueError("--out is empty: give a video, a picture, a folder, an address or camera")
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
