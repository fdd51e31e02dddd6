"""Sound beside pictures: copied from a file, or taken from a stream while it plays.

sound = open_sound(source.sound, container, "aac", ("aac",))
sound.copy_until(frame.time)        # before each picture
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from utils.files import for_ffmpeg

STALL = 5.0  # seconds without data after which a server or live source counts as broken
RATE = 48000
LAYOUT = "stereo"
APART = 0.15  # seconds that sound may be off its time before a gap is filled, or sound left out
JUMP = (
    1.0  # seconds that times may fall by for the order of their frames; more is another recording joined on
)
ROUNDED = (
    0.0005  # seconds: a container's start is told in microseconds, so its first packet may lie before it
)
EARLY = 1024  # samples that AAC begins before time 0, where FLV ends: sound begins as much later
HEARD = 500  # packets of sound kept for a sink that is slow: some ten seconds


class Tap:
    """The sound of a stream while it plays. False until a stream with sound began.

    `clock` gives the seconds of the source's own clock, on which its pictures are, too.
    """

    clock: Callable[[], float] = time.monotonic

    def __init__(self) -> None:
        self._there = False
        self._offset: float | None = None
        self._listeners: list[deque] = []
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return self._there

    def begin(self, there: bool) -> None:
        """A stream was opened, with sound or without."""
        self._there, self._offset = there, None

    def put(self, frame: Any) -> None:
        """A decoded av.AudioFrame, as it came."""
        now = self.clock()
        moment = now if frame.time is None else frame.time
        if self._offset is None or abs(moment + self._offset - now) > 1:
            self._offset = now - moment
        with self._lock:
            for listener in self._listeners:
                listener.append((moment + self._offset, frame))

    def listen(self) -> deque:
        """Pairs (seconds, av.AudioFrame) from now on; whoever is slow loses the oldest."""
        listener: deque = deque(maxlen=HEARD)
        with self._lock:
            self._listeners.append(listener)
        return listener

    def leave(self, listener: deque) -> None:
        """No more for this one."""
        with self._lock:
            self._listeners = [other for other in self._listeners if other is not listener]


class Sound:
    """The sound of a video, copied beside the pictures up to where they are."""

    def __init__(
        self, source: str, target: Any, codec: str, copied: tuple[str, ...], skip: float = 0.0
    ) -> None:
        import av

        # A server that falls silent must not hang us here either.
        timeout = (STALL, STALL) if "://" in source else None
        self._container = av.open(for_ffmpeg(source), timeout=timeout, metadata_errors="replace")
        if skip > 1:  # far into a film: its index is quicker than all its packets
            with contextlib.suppress(av.FFmpegError):
                self._container.seek(int(1e6 * skip))
        self._from = decodable(self._container)
        self._start = float(self._container.start_time or 0) / 1e6 + skip
        self._target = target
        # Decoders have names of their own, such as mp3float.
        self._copies = self._from.codec_context.codec.canonical_name in copied
        if self._copies:
            self._to = target.add_stream_from_template(self._from)
        else:
            self._to = target.add_stream(codec, rate=48000)
            self._resampler = av.AudioResampler(self._to.format, self._to.layout, self._to.rate)
        self._packets = self._container.demux(self._from)
        self._waiting: Any = None
        self._done = False
        self._shift, self._last = 0, -math.inf  # in the stream's time base

    def copy_until(self, time: float) -> None:
        """All sound that begins before `time` in seconds."""
        while not self._done:
            packet = self._waiting or self._next()
            if packet is None or packet.dts is None:
                self._waiting, self._done = None, packet is None
                if packet is not None and not self._copies:
                    self._convert(packet)
                continue
            if float(packet.pts * packet.time_base) - self._start > time:
                self._waiting = packet
                return
            self._waiting = None
            if float(packet.pts * packet.time_base) < self._start - ROUNDED:
                continue
            if self._copies:
                offset = min(round(self._start / packet.time_base), packet.dts)
                packet.pts, packet.dts, packet.stream = packet.pts - offset, packet.dts - offset, self._to
                self._mux(packet)
            else:
                self._convert(packet)

    def close(self) -> None:
        """Flush the encoder and let go of the file."""
        try:
            if not self._copies:
                for frame in self._resampler.resample(None):
                    self._mux(self._to.encode(frame))
                self._mux(self._to.encode(None))
        finally:
            self._container.close()

    def _next(self) -> Any:
        """The next packet; a source damaged here has no more sound, and its pictures are kept."""
        import av

        try:
            return self._in_order(next(self._packets, None))
        except av.FFmpegError:
            return None

    def _in_order(self, packet: Any) -> Any:
        """Of joined recordings, whose times fall, each goes on where the last ended, as their pictures do."""
        if packet is None or packet.pts is None:
            return packet
        if packet.pts + self._shift < self._last - JUMP / packet.time_base:
            self._shift = self._last + (packet.duration or 0) - packet.pts
        packet.pts += self._shift
        if packet.dts is not None:
            packet.dts += self._shift
        self._last = packet.pts
        return packet

    def _convert(self, packet: Any) -> None:
        import av

        try:
            sounds = packet.decode()
        except av.FFmpegError:  # a damaged packet is a gap
            return
        for sound in sounds:
            if sound.pts is not None:
                sound.pts -= round(self._start / sound.time_base)
            for frame in self._resampler.resample(sound):
                self._mux(self._to.encode(frame))

    def _mux(self, packets: Any) -> None:
        """Sound that the container refuses, damaged or with times that fall, is a gap too; a full disk is an error."""
        import av

        with contextlib.suppress(av.error.ArgumentError, av.error.InvalidDataError):
            self._target.mux(packets)


def decodable(container: Any) -> Any:
    """The first track of sound of an open container that has a decoder here, or None."""
    return next((track for track in container.streams.audio if track.codec_context is not None), None)


class LiveSound:
    """The sound of a stream encoded beside its pictures; where it breaks off there is silence."""

    def __init__(self, tap: Tap, target: Any, codec: str, skip: float = 0.0) -> None:
        self._tap, self._frames, self._target, self._start = tap, tap.listen(), target, skip
        self._to = target.add_stream(codec, rate=RATE, layout=LAYOUT)
        self._resampler: Any = None
        self._kind: tuple = ()
        self._samples = EARLY  # where the encoder is

    def copy_until(self, time: float) -> None:
        """All sound that came and begins before `time` in seconds."""
        while self._frames and self._frames[0][0] - self._start <= time:
            moment, frame = self._frames.popleft()
            self._at(moment - self._start)
            if self._samples / RATE - (moment - self._start) < APART:
                self._encode(frame)

    def close(self) -> None:
        """Flush the encoder."""
        self._tap.leave(self._frames)
        self._target.mux(self._to.encode(None))

    def _at(self, moment: float) -> None:
        """Silence up to there, if much is missing."""
        import av
        import numpy as np

        missing = round((moment - self._samples / RATE) * RATE)
        while missing > APART * RATE:
            quiet = av.AudioFrame.from_ndarray(np.zeros((2, min(missing, RATE)), np.float32), "fltp", LAYOUT)
            missing -= quiet.samples
            self._send(quiet)

    def _encode(self, frame: Any) -> None:
        import av

        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind:  # a server that came back may send another
            self._kind, self._resampler = kind, av.AudioResampler("fltp", LAYOUT, RATE)
        frame.pts = None
        for part in self._resampler.resample(frame):
            self._send(part)

    def _send(self, frame: Any) -> None:
        frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), self._samples
        self._samples += frame.samples
        self._target.mux(self._to.encode(frame))


def open_sound(
    source: str | Tap, target: Any, codec: str, copied: tuple[str, ...], skip: float = 0.0
) -> Sound | LiveSound:
    """The sound of a file or of a stream for the open container `target`, from `skip` seconds on."""
    if isinstance(source, Tap):
        return LiveSound(source, target, codec, skip)
    return Sound(source, target, codec, copied, skip)
