"""GStreamer pipelines as sources and sinks, and an RTSP server of our own.

    gst:v4l2src ! videorate ! video/x-raw,framerate=15/1 ! appsink       a source; "! appsink" may be left out
    gst:appsrc ! videoconvert ! jpegenc ! avimux ! filesink location=o.avi   a sink; "appsrc !" may be left out

They run in a process of a Python with PyGObject (Debian: python3-gi), or in OpenCV where that was built with GStreamer.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from utils.encoding import DEFAULT_RATE, Sink, as_first, even
from utils.sound import Tap
from utils.sources import VideoError
from utils.stream_sink import BITRATE, KEYFRAMES, StreamSink

PROCESS = Path(__file__).with_name("gst_process.py")
PYTHONS = (sys.executable, "/usr/bin/python3")
HEADER = struct.Struct("<IIId")  # before each picture: height, width, bytes a row, seconds
NO_GSTREAMER = (
    "GStreamer is not there: apt install python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-good, "
    "or use an OpenCV built with it"
)
NO_SERVER = (
    "needs gst-rtsp-server: apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-bad"
)
ENDS = 20.0  # seconds a pipeline may take to finish its file


def frames(spec: str) -> Iterator[np.ndarray]:
    """The pictures uint8 RGB [H, W, 3] of "gst:PIPELINE". Raises VideoError when it fails or ends, or without GStreamer."""
    pipeline = re.sub(r"!\s*appsink\b[^!]*$", "", spec.removeprefix("gst:")).strip()
    python = python_with("Gst")
    if python is None:
        yield from _by_opencv(pipeline, spec)
        return
    process = Child(python, "source", pipeline, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        while len(head := process.stdout.read(HEADER.size)) == HEADER.size:
            height, width, row, _ = HEADER.unpack(head)
            data = process.stdout.read(height * row)
            if len(data) < height * row:
                break
            rows = np.frombuffer(data, np.uint8).reshape(height, row)
            yield np.ascontiguousarray(rows[:, : 3 * width]).reshape(height, width, 3)
        raise VideoError(f"{spec}: {process.last_words() or 'ended'}")
    finally:
        process.kill()
        process.ended()


class PipelineSink(Sink):
    """Pictures into "gst:PIPELINE"; the pipeline finishes its file at the end. Raises ValueError without GStreamer."""

    def __init__(self, spec: str, rate: float | None = None) -> None:
        super().__init__(spec)
        self._rate = Fraction(rate or DEFAULT_RATE).limit_denominator(1001)
        self._pipeline = re.sub(r"^appsrc\b[^!]*!", "", spec.removeprefix("gst:")).strip()
        self._size: tuple[int, int] | None = None
        self._failed = ""
        self._process: Any = None
        self._writer: Any = None  # OpenCV's
        self._python = python_with("Gst")
        if self._python is None and not opencv_has_it():
            raise ValueError(f"{spec}: {NO_GSTREAMER}")

    def write(self, picture: np.ndarray, time: float) -> None:
        if self._failed:
            raise VideoError(self._failed)
        if self._size is None:
            self._size = picture.shape[:2]
            self._start(even(picture))
        picture = even(as_first(picture, self._size, False))
        if self._writer is not None:
            self._writer.write(picture[..., ::-1])
        else:
            row = -(-3 * picture.shape[1] // 4) * 4  # GStreamer's rows end on whole words
            rows = np.zeros((picture.shape[0], row), np.uint8)
            rows[:, : 3 * picture.shape[1]] = picture.reshape(picture.shape[0], -1)
            try:
                self._process.stdin.write(HEADER.pack(*picture.shape[:2], row, time) + rows.tobytes())
            except OSError as error:
                process, self._process = self._process, None  # nothing is left to be finished
                self._failed = f"{self.name}: {process.ended()}"
                raise VideoError(self._failed) from error
        self.written += 1

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()
        process, self._process = self._process, None
        if process is not None:
            process.finish(self.name)

    def _start(self, picture: np.ndarray) -> None:
        if self._python is not None:
            rate = f"{self._rate.numerator}/{self._rate.denominator}"
            self._process = Child(self._python, "sink", self._pipeline, rate, stdin=subprocess.PIPE)
            return
        import cv2

        pipeline = f"appsrc ! videoconvert ! {self._pipeline}"
        size = picture.shape[1], picture.shape[0]
        self._writer = cv2.VideoWriter(pipeline, cv2.CAP_GSTREAMER, 0, float(self._rate), size)
        if not self._writer.isOpened():
            raise VideoError(f"{self.name}: this pipeline cannot be started")


class ServeSink(StreamSink):
    """H.264 and sound served by an RTSP server of our own, to any number of clients. Raises ValueError without one."""

    def __init__(
        self,
        address: str,
        rate: float | None = None,
        bitrate: int = BITRATE,
        sound: str | Tap | None = None,
        keyframes: float = KEYFRAMES,
    ) -> None:
        super().__init__(address, rate, bitrate, 0.0, sound, keyframes)
        self._python = python_with("GstRtspServer")
        parts = urlsplit(address)
        if parts.scheme != "rtsp" or not parts.hostname or len(parts.path) < 2:
            raise ValueError(
                f"--serve {address}: give rtsp://HOST:PORT/NAME, for instance rtsp://127.0.0.1:8554/portrait"
            )
        if self._python is None:
            raise ValueError(f"--serve {address}: {NO_SERVER}")
        words = "serve", parts.hostname, str(parts.port or 554), parts.path
        self._process = Child(self._python, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if not self._process.stdout.readline():
            raise ValueError(f"--serve {address}: {self._process.ended()}")

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._process.finish(self.name)

    def _open(self) -> tuple[Any, tuple[str, ...]]:
        import av

        options = {"flush_packets": "1", "max_interleave_delta": "500000"}
        address = f"pipe:{self._process.stdin.fileno()}"
        return av.open(address, "w", format="mpegts", options=options), ("aac",)


@functools.cache
def python_with(namespace: str) -> str | None:
    """A Python whose PyGObject knows this namespace of GStreamer, or None."""
    check = f"import gi; gi.require_version('Gst', '1.0'); gi.require_version({namespace!r}, '1.0')"
    for python in PYTHONS:
        if os.path.exists(python):
            result = subprocess.run([python, "-I", "-c", check], capture_output=True)
            if result.returncode == 0:
                return python
    return None


@functools.cache
def opencv_has_it() -> bool:
    """Whether OpenCV was built with GStreamer."""
    import cv2

    return bool(re.search(r"GStreamer:\s*YES", cv2.getBuildInformation()))


def _by_opencv(pipeline: str, spec: str) -> Iterator[np.ndarray]:
    import cv2

    if not opencv_has_it():
        raise VideoError(f"{spec}: {NO_GSTREAMER}")
    pipeline = (
        f"{pipeline} ! videoconvert ! video/x-raw,format=BGR ! appsink max-buffers=2 drop=true sync=false"
    )
    capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
    try:
        if not capture.isOpened():
            raise VideoError(f"{spec}: this pipeline cannot be started")
        while (answer := capture.read())[0]:
            yield cv2.cvtColor(answer[1], cv2.COLOR_BGR2RGB)
        raise VideoError(f"{spec}: ended")
    finally:
        capture.release()


class Child(subprocess.Popen):
    """gst_process.py, deaf to Ctrl-C: it ends when its pipe is closed, after what was written is whole.

    What it says goes to a file: through a pipe that nobody reads GStreamer's warnings would stop it.
    """

    def __init__(self, python: str, *words: str, **pipes: Any) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        command = [python, "-I", str(PROCESS), HEADER.format, *words]
        super().__init__(command, stderr=self._said, start_new_session=True, **pipes)

    def last_words(self) -> str:
        """The last line that it said before it ended; "" if it does not end."""
        try:
            self.wait(ENDS)
        except subprocess.TimeoutExpired:
            return ""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def ended(self) -> str:
        """Why it ended, after which it is let go."""
        said = self.last_words()
        self.kill()
        code = self.wait()
        for pipe in (self.stdin, self.stdout, self._said):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return said or (f"killed by signal {-code}" if code < 0 else "ended")

    def finish(self, name: str) -> None:
        """Close its pipe and wait until it is done. Raises VideoError if it failed, or is not done in time."""
        with contextlib.suppress(OSError):
            self.stdin.close()
        try:
            code = self.wait(ENDS)
        except subprocess.TimeoutExpired:
            self.ended()
            raise VideoError(f"{name}: did not finish within {ENDS:.0f} seconds") from None
        reason = self.ended()
        if code:
            raise VideoError(f"{name}: {reason}")
