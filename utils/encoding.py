"""What all sinks share, and how pictures become a video's frames."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from types import TracebackType
from typing import Any

import numpy as np

from utils.images import letterbox
from utils.sources import BT709, VideoError, converted

CLOCK = Fraction(1, 90000)  # the time base of MPEG: fine enough for every frame rate
DEFAULT_RATE = 25.0


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


def add_stream(
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


def video_frame(picture: np.ndarray, format: str, layout: str) -> Any:
    """A picture as a frame in the stream's layout and colours."""
    import av

    frame = av.VideoFrame.from_ndarray(even(picture), format)
    return converted(frame, layout, dst_colorspace=BT709, dst_color_range=1)


def as_first(picture: np.ndarray, size: tuple[int, int] | None, transparent: bool) -> np.ndarray:
    """A picture as a stream began: of that size (letterboxed, never squashed), with alpha or without."""
    if size is not None and picture.shape[:2] != size:
        picture = letterbox(picture, size)[0]
    if transparent and picture.shape[2] == 3:
        picture = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    return picture


def even(picture: np.ndarray) -> np.ndarray:
    """Odd sides get their last line twice: 4:2:0 video knows even sizes only."""
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return np.ascontiguousarray(picture)


@contextlib.contextmanager
def writing(name: str):
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise VideoError(f"{name}: cannot be written: {error.strerror or error}") from error
