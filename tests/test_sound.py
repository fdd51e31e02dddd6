"""Sound beside pictures that are pushed: from files, and from streams while they play; pipelines without GStreamer."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import videos
from utils import gstreamer, live
from utils.sinks import open_sink
from utils.sound import RATE, LiveSound, Tap
from utils.sources import VideoError, open_source
from utils.stream_sink import StreamSink
from utils.video_sink import VideoSink


class Kept(StreamSink):
    """What would be pushed, in a file instead of a server; a new one after each break."""

    def __init__(self, path: Path, **words) -> None:
        super().__init__(str(path), 25, **words)
        self.paths: list[Path] = []

    def _open(self):
        self.paths.append(Path(self.name).with_stem(f"{Path(self.name).stem}{len(self.paths)}"))
        options = {"max_interleave_delta": "500000"}
        return av.open(str(self.paths[-1]), "w", format="flv", options=options), ("aac", "mp3")


def push(sink: StreamSink, path: Path, breaks: int = -1) -> None:
    with open_source(path) as source, sink:
        for number, frame in enumerate(source):
            if number == breaks:
                sink._drop()
            sink.write(frame.image, frame.time)


@pytest.mark.parametrize("codec", ["aac", "ac3"])  # one that is copied, one that is converted
def test_a_pushed_film_keeps_its_sound(tmp_path: Path, codec: str) -> None:
    film = videos.write(tmp_path / "in.mkv", videos.frames(60), sound=codec)
    sink = Kept(tmp_path / "out.flv", sound=str(film), keyframes=0.5)
    push(sink, film)
    assert len(videos.read(sink.paths[0])[0]) == 60
    seconds, hertz = videos.loudness(sink.paths[0])
    assert seconds == pytest.approx(60 / 25, abs=0.2)
    assert hertz == pytest.approx(videos.TONE, rel=0.03)


def test_after_a_break_sound_goes_on_where_the_pictures_do(tmp_path: Path) -> None:
    film = videos.write(tmp_path / "in.mp4", videos.frames(120))
    sink = Kept(tmp_path / "out.flv", sound=str(film), reconnect=9)
    push(sink, film, breaks=60)
    assert [len(videos.read(path)[0]) for path in sink.paths] == [60, 60]
    for path in sink.paths:
        seconds, hertz = videos.loudness(path)
        assert seconds == pytest.approx(60 / 25, abs=0.2)
        assert hertz == pytest.approx(videos.TONE, rel=0.03)


@pytest.mark.parametrize("seconds", [0.4, 1.0])
def test_whole_pictures_come_as_often_as_asked(tmp_path: Path, seconds: float) -> None:
    """By time: these frames come at a quarter of the rate that was said."""
    sink = Kept(tmp_path / "out.flv", keyframes=seconds)
    with sink:
        for number, picture in enumerate(videos.frames(40)):
            sink.write(picture, number * 0.16)
    with av.open(str(sink.paths[0])) as container:
        keys = [frame.time for frame in container.decode(video=0) if frame.key_frame]
    assert np.diff(keys) == pytest.approx(seconds, abs=0.161)
    assert len(keys) >= 6.4 / (seconds + 0.16)


def test_the_bitrate_is_kept_to(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = {}
    for bits in (200_000, 1_000_000):
        sink = Kept(tmp_path / f"{bits}.flv", bitrate=bits)
        with sink:
            for number in range(75):
                sink.write(rng.integers(0, 256, (96, 128, 3)).astype(np.uint8), number / 25)
        sizes[bits] = 8 * sink.paths[0].stat().st_size / 3
    for bits, found in sizes.items():
        assert found == pytest.approx(bits, rel=0.5)
    assert live.bits("800k") == 800_000
    assert live.bits("2.5M") == 2_500_000
    assert live.bits("64000") == 64_000


class Track:
    """A container that keeps what is muxed, so that sound can be counted."""

    def __init__(self, path: Path) -> None:
        self.container = av.open(str(path), "w")

    def add_stream(self, *words, **named):
        return self.container.add_stream(*words, **named)

    def mux(self, packets) -> None:
        self.container.mux(packets)


def tone(samples: int, rate: int = 44100, layout: str = "mono"):
    wave = 0.4 * np.sin(2 * np.pi * videos.TONE * np.arange(samples) / rate).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], "fltp", layout)
    frame.sample_rate = rate
    return frame


@settings(deadline=None, max_examples=15)
@given(gaps=st.lists(st.floats(0.0, 0.6), min_size=8, max_size=20), jitter=st.floats(0, 0.05))
def test_sound_of_a_stream_stays_on_time_through_gaps(tmp_path_factory, gaps: list, jitter: float) -> None:
    """Wherever packets are missing there is silence, so the last one is heard where it belongs."""
    path = tmp_path_factory.mktemp("t") / "o.mkv"
    track, tap = Track(path), Tap()
    tap.begin(True)
    sound = LiveSound(tap, track, "pcm_s16le", 5.0)
    now = 5.0
    for number, gap in enumerate(gaps):
        now += gap
        tap.clock = lambda now=now, number=number: now + jitter * (number % 2)
        frame = tone(8820)  # a fifth of a second
        frame.pts, frame.time_base = round(44100 * now), Fraction(1, 44100)
        tap.put(frame)
        now += 0.2
    sound.copy_until(now - 5.0 + 1)
    sound.close()
    track.container.close()
    with av.open(str(path)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
        assert container.streams.audio[0].rate == RATE
    assert samples / RATE == pytest.approx(now - 5.0, abs=0.3)


@pytest.mark.parametrize("late", [0.0, 0.4, 1.2])
def test_sound_that_comes_after_pictures_breaks_no_connection(tmp_path: Path, late: float) -> None:
    tap = Tap()
    tap.begin(True)
    sink = Kept(tmp_path / "out.flv", sound=tap, reconnect=9)
    begins = round(25 * late)
    with sink:
        for number, picture in enumerate(videos.frames(60)):
            if number >= begins:
                tap.clock = lambda number=number: number / 25
                frame = tone(1764)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                tap.put(frame)
            sink.write(picture, number / 25)
    assert len(sink.paths) == 1
    assert videos.loudness(sink.paths[0])[0] == pytest.approx(60 / 25, abs=0.1)
    with av.open(str(sink.paths[0])) as container:
        wave = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert np.argmax(np.abs(wave) > 0.1) / RATE == pytest.approx(late, abs=0.1)


def test_a_slow_listener_loses_the_oldest_and_nobody_else_does() -> None:
    tap = Tap()
    assert not tap
    tap.begin(True)
    assert tap
    slow, quick = tap.listen(), tap.listen()
    heard = 0
    for number in range(800):
        frame = tone(441)
        frame.pts, frame.time_base = number, Fraction(1, 100)
        tap.clock = lambda number=number: number / 100
        tap.put(frame)
        heard += len(quick)
        quick.clear()
    assert heard == 800
    assert len(slow) == 500
    assert slow[-1][0] == pytest.approx(7.99, abs=0.02)
    tap.leave(slow)
    tap.put(tone(441))
    assert len(slow) == 500


def test_a_recording_of_a_silent_stream_has_no_sound(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "o.mp4", 25, Tap()) as sink:
        for number, picture in enumerate(videos.frames(3)):
            sink.write(picture, 100 + number / 25)
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    assert videos.read(tmp_path / "o.mp4")[1][0] == 0


def test_without_gstreamer_it_is_one_line(monkeypatch) -> None:
    monkeypatch.setattr(gstreamer, "PYTHONS", ())
    monkeypatch.setattr(gstreamer, "opencv_has_it", lambda: False)
    gstreamer.python_with.cache_clear()
    try:
        with (
            open_source("gst:videotestsrc ! appsink") as source,
            pytest.raises(VideoError, match="apt install"),
        ):
            next(iter(source))
        with pytest.raises(ValueError, match="GStreamer is not there"):
            open_sink("gst:appsrc ! fakesink")
        with pytest.raises(ValueError, match="needs gst-rtsp-server"):
            gstreamer.ServeSink("rtsp://127.0.0.1:18557/x")
    finally:
        gstreamer.python_with.cache_clear()
