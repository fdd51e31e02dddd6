"""Generated videos for tests: moving blocks with a tone, in any container, rate and size."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TONE = 880.0


def frames(count: int, size: tuple[int, int] = (96, 128)) -> list[np.ndarray]:
    """A pattern of coarse blocks that moves by four pixels a frame; frame i is told from all others."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (-(-size[0] // 16), -(-size[1] // 16), 3)).astype(np.uint8)
    picture = blocks.repeat(16, 0).repeat(16, 1)[: size[0], : size[1]]
    return [np.roll(picture, 4 * number, 1) for number in range(count)]


def write(
    path: Path,
    pictures: list[np.ndarray],
    times: list[float] | None = None,
    rate: int = 25,
    sound: str | None = "aac",
    codec: str = "libx264",
    shape: Fraction = Fraction(1),
) -> Path:
    """A video of these pictures, at `times` in seconds (default: evenly), with a tone as long.

    `shape` is a pixel's width by its height.
    """
    times = times or [number / rate for number in range(len(pictures))]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = shape
        clock = Fraction(1, 12800)
        stream.codec_context.time_base = clock
        audio = container.add_stream(sound, rate=48000) if sound else None
        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = round(time / clock), clock
            container.mux(stream.encode(frame))
        if audio:
            seconds = times[-1] + 1 / rate
            for frame in _tone(seconds):
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
        container.mux(stream.encode(None))
    return path


def read(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """Pictures and times, by an independent reading of the file."""
    with av.open(str(path)) as container:
        found = [(frame.to_ndarray(format="rgb24"), frame.time) for frame in container.decode(video=0)]
    return [picture for picture, _ in found], [time for _, time in found]


def sound_seconds(path: Path) -> float:
    """How long the sound is, by its samples."""
    with av.open(str(path)) as container:
        return sum(frame.samples / frame.rate for frame in container.decode(audio=0))


def sound(path: Path) -> tuple[np.ndarray, int]:
    """The first channel of the sound, and its rate in hertz."""
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        parts = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(parts).astype(np.float32), rate


def loudness(path: Path) -> tuple[float, float]:
    """Seconds of sound, and its frequency in hertz."""
    wave, rate = sound(path)
    return len(wave) / rate, pitch(wave[len(wave) // 4 : -(len(wave) // 4) or None], rate)


def pitch(wave: np.ndarray, rate: int) -> float:
    """The frequency in hertz by zero crossings."""
    return float(np.sum(np.diff(np.signbit(wave)))) * rate / (2 * len(wave))


def pieces(wave: np.ndarray, rate: int) -> list[float]:
    """The frequency of each twentieth of a second that is not silent."""
    long = rate // 20
    parts = wave[: len(wave) // long * long].reshape(-1, long)
    return [pitch(part, rate) for part in parts if np.abs(part).reshape(5, -1).max(1).min() > 0.05]


def _tone(seconds: float):
    count = int(48000 * seconds)
    wave = 0.4 * np.sin(2 * np.pi * TONE * np.arange(count) / 48000).astype(np.float32)
    for start in range(0, count, 1024):
        part = np.stack([wave[start : start + 1024]] * 2)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), "fltp", "stereo")
        frame.sample_rate, frame.pts = 48000, start
        yield frame


def sound_only(path: Path) -> Path:
    """A second of a tone and no pictures."""
    with av.open(str(path), "w") as container:
        audio = container.add_stream("aac", rate=48000)
        for frame in _tone(1.0):
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return path
