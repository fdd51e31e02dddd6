"""Pushing pictures and sound to an RTMP or RTSP server, which may go away and come back."""

from __future__ import annotations

import contextlib
import socket
import sys
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from utils.encoding import CLOCK, DEFAULT_RATE, Sink, add_stream, as_first, video_frame, writing
from utils.sound import Tap, open_sound
from utils.sources import VideoError

BITRATE = 2_500_000  # of a stream, bits a second
KEYFRAMES = 2.0  # seconds between whole pictures of a stream
RETRY = 1.0  # seconds between two looks for a server that went away
PATIENCE = 5.0  # seconds that a server has to answer
HERE = ("localhost", "127.0.0.1", "::1")


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
            with writing(self.name):
                self._push(picture, time)
        except VideoError as error:
            self._tried = monotonic()
            if self.written and not self._broken:
                reason = str(error).rpartition(": ")[2]
                print(f"note: {self.name}: the server went away: {reason}: trying again", file=sys.stderr)
            self._broken = self._broken or self._tried
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
        with writing(self.name):
            if self._sound:
                self._sound.close()
            container.mux(self._stream.encode(None))
            container.close()

    def _push(self, picture: np.ndarray, time: float) -> None:
        from av.video.frame import PictureType

        if self._container is None:
            self._connect(picture, time)
        frame = video_frame(as_first(picture, self._size, False), "rgb24", "yuv420p")
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

        greet(self.name)
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
        self._stream = add_stream(self._container, "libx264", "yuv420p", how, self._rate, picture)
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
                with contextlib.suppress(VideoError), writing(self.name):
                    thing.close()
        self._container = self._sound = None


def greet(address: str) -> None:
    """Begin a conversation with an RTMP or RTSP server and leave. Raises VideoError where nothing comes back in time.

    PyAV opens a connection with Python's lock held and no limit: a server that accepts and is silent would
    stop every thread for good. One on this machine is not asked: `ffmpeg -listen 1` takes one connection only. Source: Adobe's RTMP specification 1.0, 5.2; RFC 2326, 10.1.
    """
    parts = urlsplit(address)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # a password is for whoever asks
    words = {
        "rtmp": (1935, b"\x03" + bytes(1536)),
        "rtsp": (554, f"OPTIONS {plain} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode()),
    }
    if parts.scheme not in words or not parts.hostname or parts.hostname in HERE:
        return
    usual, hello = words[parts.scheme]
    try:
        with socket.create_connection((parts.hostname, parts.port or usual), PATIENCE) as connection:
            connection.sendall(hello)
            if connection.recv(1):
                return
        reason = "the server closed the connection"
    except TimeoutError:
        reason = f"the server says nothing for {PATIENCE:.0f} s"
    except OSError as error:
        reason = error.strerror or str(error)
    raise VideoError(f"{address}: cannot be written: {reason}")
