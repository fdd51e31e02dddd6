"""Many sources out over the network, against real servers on loopback, read back by FFmpeg alone."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import av
import numpy as np
import pytest

from tests import videos
from tests.conftest import refused
from tests.servers import PORT, closest, needs_nginx, needs_rtsp, serve_rtmp, ssim, start
from tests.test_live import HEADLESS, person
from utils import gstreamer
from utils.sources import VideoError

pytest_plugins = ["tests.servers"]
pytestmark = pytest.mark.gui
LIVE = f"rtmp://127.0.0.1:{PORT['rtmp']}/live"
SERVED = "rtsp://127.0.0.1:18556/portrait"


class Heard:
    """What a reader of its own got from an address in some seconds: pictures, times, and sound."""

    def __init__(self, address: str, seconds: float, begin: float = 20.0) -> None:
        self.address, self.seconds, self.begin = address, seconds, begin
        self.pictures: list[np.ndarray] = []
        self.times: list[float] = []
        self.keys: list[float] = []
        self.wave: list[np.ndarray] = []
        self.error = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Heard:
        return self

    def __exit__(self, *reason: object) -> None:
        self._thread.join(self.begin + self.seconds + 20)

    def hertz(self) -> float:
        return steady(np.concatenate(self.wave), self.rate)

    def _run(self) -> None:
        deadline = time.monotonic() + self.begin
        while time.monotonic() < deadline and not self.pictures:
            try:
                options = {"rtsp_transport": "tcp"} if self.address.startswith("rtsp") else {}
                with av.open(self.address, options=options, timeout=5) as container:
                    self._take(container)
            except (av.FFmpegError, OSError) as error:
                self.error = str(error)
                time.sleep(0.3)

    def _take(self, container) -> None:
        ends = time.monotonic() + self.seconds
        streams = [container.streams.video[0], *container.streams.audio[:1]]
        for frame in container.decode(*streams):
            if isinstance(frame, av.AudioFrame):
                self.rate = frame.sample_rate
                self.wave.append(frame.to_ndarray()[0])
                continue
            self.pictures.append(frame.to_ndarray(format="rgb24"))
            if frame.time is not None:  # an RTSP server says it only after a while
                self.times.append(frame.time)
                if frame.key_frame:
                    self.keys.append(frame.time)
            if time.monotonic() > ends:
                return


def steady(wave: np.ndarray, rate: int) -> float:
    """The frequency where there is sound, which is most of the time: a machine that is busy leaves gaps."""
    parts = videos.pieces(wave, rate)
    assert len(parts) > 0.5 * len(wave) / (rate // 20) > 20, f"{len(parts)} of {20 * len(wave) / rate:.0f}"
    return float(np.median(parts))


def stop(process: subprocess.Popen) -> tuple[str, str]:
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    return out, errors


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    """Two with sound, of other sizes and rates."""
    return [
        videos.write(tmp_path / "a.mp4", person(20) * 20),
        videos.write(tmp_path / "b.mp4", person(20, (180, 320)) * 12, rate=15),
    ]


@needs_nginx
def test_an_output_stream_each_with_sound_and_a_local_copy(
    nginx: str, films: list[Path], tmp_path: Path
) -> None:
    pushing = start(
        *("multistream.py", *films, "--background", "0,90,0", "--keyframes", "1", "--bitrate", "1500k"),
        *("--per-stream-out", f"{LIVE}/{{n}}", "--per-stream-out", tmp_path / "local_{n}.mkv"),
    )
    with Heard(f"{LIVE}/1", 5) as first, Heard(f"{LIVE}/2", 5) as second:
        pass
    stop(pushing)
    for number, heard in enumerate((first, second), 1):
        local = videos.read(tmp_path / f"local_{number}.mkv")[0]
        assert len(heard.pictures) > 20, heard.error
        likeness = [closest(picture, local) for picture in heard.pictures[::8]]
        assert min(likeness) > 0.9, likeness
        assert heard.hertz() == pytest.approx(videos.TONE, rel=0.05)
        assert 0.5 < np.median(np.diff(heard.keys)) < 1.6  # seconds between whole pictures
    assert videos.loudness(tmp_path / "local_2.mkv")[1] == pytest.approx(videos.TONE, rel=0.05)


@needs_nginx
def test_sound_of_a_live_stream_goes_on(nginx: str, films: list[Path], tmp_path: Path) -> None:
    """From a file to a server, from there through the network to another address, and into a file: with its sound."""
    first = start("webcam.py", "green", "--source", films[0], "--out", f"{LIVE}/in")
    second = start(
        *("multistream.py", f"{LIVE}/in", "--per-stream-out", f"{LIVE}/out"),
        *("--per-stream-out", tmp_path / "o.mp4"),
    )
    with Heard(f"{LIVE}/out", 5, begin=30) as heard:
        pass
    stop(second)
    first.kill()
    first.communicate()
    assert len(heard.pictures) > 20, heard.error
    assert heard.hertz() == pytest.approx(videos.TONE, rel=0.05)
    wave, rate = videos.sound(tmp_path / "o.mp4")
    assert steady(wave, rate) == pytest.approx(videos.TONE, rel=0.05)
    times = videos.read(tmp_path / "o.mp4")[1]
    assert len(wave) / rate == pytest.approx(times[-1], abs=1.0)


@needs_nginx
def test_the_server_and_a_source_are_killed_and_come_back(films: list[Path], tmp_path: Path) -> None:
    """Tiles of a file that goes on and of a stream; meanwhile the stream's tile is dark, the file's plays on."""
    film = videos.write(tmp_path / "long.mp4", person(20) * 60, sound=None)
    server = serve_rtmp(tmp_path)
    camera = start("webcam.py", "255,255,0", "--source", film, "--out", f"{LIVE}/camera")
    tiles = start(
        *("multistream.py", film, f"{LIVE}/camera", "--background", "0,0,255", "--tile", "2x1"),
        *("--cell", "120x160", "--out", tmp_path / "local.mkv", "--out", f"{LIVE}/tiles"),
        *("--stats", tmp_path / "s.json", "--metrics", "0"),
    )
    try:
        figures = next(line.split()[1] for line in tiles.stdout if line.startswith("metrics: "))
        with Heard(f"{LIVE}/tiles", 4, begin=30) as before:
            pass
        server.kill()
        camera.kill()
        camera.communicate()
        server.wait()
        time.sleep(4)
        server = serve_rtmp(tmp_path)
        camera = start("webcam.py", "255,255,0", "--source", film, "--out", f"{LIVE}/camera")
        up = re.compile(r'^portrait_up{source="camera"} 1$', re.M)
        deadline = time.monotonic() + 60
        while not up.search(urllib.request.urlopen(figures, timeout=10).read().decode()):
            assert time.monotonic() < deadline, "the camera did not come back"
            time.sleep(0.2)
        with Heard(f"{LIVE}/tiles", 5, begin=30) as after:
            pass
        errors = stop(tiles)[1]
    finally:
        server.terminate()
        server.wait()
        camera.kill()
        camera.communicate()
    assert "the server went away" in errors
    assert "the server is back" in errors
    assert len(before.pictures) > 20
    assert len(after.pictures) > 20
    pictures, times = videos.read(tmp_path / "local.mkv")
    corner = np.array([picture[20:40, 165:180, 2].mean() for picture in pictures])
    bright = corner > 120
    assert bright[: len(bright) // 2].any()  # before,
    assert (~bright[np.argmax(bright) :]).sum() > 20  # dark in between,
    assert bright[-5:].all()  # and after
    dark = np.flatnonzero(~bright & (np.arange(len(bright)) > np.argmax(bright)))
    still = [np.abs(pictures[i + 3][:, :160].astype(int) - pictures[i][:, :160]).mean() for i in dark[5:-5:5]]
    assert np.median(still) > 0.5  # the file went on
    assert np.median(np.diff(times)) < 0.1
    assert json.loads((tmp_path / "s.json").read_text())["sources"]["camera"]["retries"] > 0
    local = pictures[-120:]
    assert closest(after.pictures[-1], local) > 0.85


@needs_rtsp
def test_pushed_by_rtsp_with_sound(command, rtsp: Path, films: list[Path]) -> None:
    address = f"rtsp://127.0.0.1:{PORT['rtsp']}/both"
    words = (
        "multistream.py",
        films[0],
        "--frames",
        120,
        "--per-stream-out",
        address,
        "--background",
        "green",
    )
    result = command(*words, **HEADLESS)
    assert result.returncode == 0, result.stderr
    time.sleep(1)
    with av.open(f"{rtsp}.mkv") as container:
        kinds = {stream.type: stream.codec_context.name for stream in container.streams}
        frames = list(container.decode(*container.streams))
    assert kinds["video"] == "h264"
    assert kinds["audio"].startswith("aac")
    assert sum(isinstance(frame, av.VideoFrame) for frame in frames) > 60
    wave = np.concatenate([f.to_ndarray()[0] for f in frames if isinstance(f, av.AudioFrame)])
    assert videos.pitch(wave, 48000) == pytest.approx(videos.TONE, rel=0.1)


@needs_rtsp
def test_served_by_a_server_of_our_own(tmp_path: Path) -> None:
    """Two who come at different times see it, with sound; the local copy is alike."""
    film = videos.write(
        tmp_path / "long.mp4", person(20, (120, 160)) * 75
    )  # a minute: nobody waits for its end
    serving = start(
        *("multistream.py", film, film, "--serve", SERVED, "--sound", "1", "--keyframes", "0.5"),
        *("--cell", "120x160", "--background", "90,0,0", "--out", tmp_path / "local.mkv"),
    )
    with Heard(SERVED, 4) as first:
        time.sleep(5)
        with Heard(SERVED, 3) as second:
            pass
    out, _ = stop(serving)
    assert f"serving: {SERVED}" in out
    local = videos.read(tmp_path / "local.mkv")[0]
    for heard in (first, second):
        assert len(heard.pictures) > 20, heard.error
        assert heard.pictures[0].shape == (120, 320, 3)
        assert closest(heard.pictures[-1], local) > 0.85
        assert heard.hertz() == pytest.approx(videos.TONE, rel=0.05)
        assert np.all(np.diff(heard.times) > 0)
    assert np.median(np.diff(first.keys)) < 1.0


@needs_rtsp
def test_gstreamer_pipelines_in_and_out(command, films: list[Path], tmp_path: Path) -> None:
    camera = (
        "gst:videotestsrc is-live=true pattern=red ! video/x-raw,width=101,height=77,framerate=20/1 ! appsink"
    )
    film = f"gst:appsrc ! videoconvert ! jpegenc ! avimux ! filesink location={tmp_path}/o_{{n}}.avi"
    words = ("--frames", 15, "--per-stream-out", film, "--background", "blue", "--stats", tmp_path / "s.json")
    result = command("multistream.py", camera, films[0], *words, **HEADLESS)
    assert result.returncode == 0, result.stderr
    pictures, _ = videos.read(tmp_path / "o_1.avi")
    assert len(pictures) > 3
    assert pictures[0].shape == (78, 102, 3)
    assert len(videos.read(tmp_path / "o_2.avi")[0]) > 3
    assert json.loads((tmp_path / "s.json").read_text())["sources"]["pipeline1"]["frames"] == 15
    wrong = "gst:videotestsrc ! nosuchelement"
    failed = command(
        "multistream.py", wrong, "--reconnect", 1, "--per-stream-out", tmp_path / "x_{n}.mp4", **HEADLESS
    )
    refused(failed, 'no element "nosuchelement"')
    words = ("multistream.py", films[0], "--per-stream-out", "gst:appsrc ! nosuchelement")
    refused(command(*words, **HEADLESS), 'no element "nosuchelement"')


@needs_rtsp
@pytest.mark.parametrize(
    ("pipeline", "why"),
    [
        ("filesrc location=/no/such.mp4 ! decodebin", "Resource not found"),
        ("rtspsrc location=rtsp://127.0.0.1:9/x", "Could not open resource"),
        ("videotestsrc num-buffers=3", "ended"),
    ],
)
def test_a_pipeline_that_cannot_start_says_why_and_hangs_nobody(pipeline: str, why: str) -> None:
    began = time.monotonic()
    with pytest.raises(VideoError, match=why):
        list(gstreamer.frames(f"gst:{pipeline}"))
    assert time.monotonic() - began < 15


@needs_rtsp
def test_warnings_that_nobody_reads_stop_no_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GST_DEBUG", "6")
    assert len(list(itertools.islice(gstreamer.frames("gst:videotestsrc"), 60))) == 60


@needs_rtsp
def test_a_pipeline_that_crashes_is_no_success(tmp_path: Path) -> None:
    sink = gstreamer.PipelineSink(f"gst:jpegenc ! avimux ! filesink location={tmp_path}/o.avi")
    for number in range(5):
        sink.write(np.zeros((48, 64, 3), np.uint8), number / 30)
    sink._process.send_signal(signal.SIGSEGV)
    with pytest.raises(VideoError, match="killed by signal 11"):
        sink.close()


@needs_rtsp
@needs_nginx
@pytest.mark.alone
def test_two_thousand_frames_of_four_sources_in_flat_memory(nginx: str, rtsp: Path, tmp_path: Path) -> None:
    """Two files, a pipeline and a stream; then Ctrl-C ends it at once."""
    film = videos.write(tmp_path / "f30.mp4", person(20, (180, 320)) * 150, rate=30, sound=None)
    slow = videos.write(tmp_path / "f15.mp4", person(20, (360, 640)) * 75, rate=15, sound=None)
    pushing = start("webcam.py", "green", "--source", slow, "--out", f"{LIVE}/in")
    camera = "gst:videotestsrc is-live=true ! video/x-raw,width=322,height=242,framerate=25/1 ! appsink"
    words = [
        "multistream.py",
        str(film),
        str(slow),
        camera,
        f"{LIVE}/in",
        "--stats",
        str(tmp_path / "s.json"),
    ]
    words += ["--metrics", "0", "--out", str(tmp_path / "t.mp4"), "--cell", "180x320", "--show", "both"]
    code = (
        f"import sys; from tests.memory import watch; watch(); sys.argv = {words!r}; "
        "import runpy; runpy.run_path('multistream.py', run_name='__main__')"
    )
    running = start("-c", code)
    try:
        figures = next(line.split()[1] for line in running.stdout if line.startswith("metrics: "))
        deadline, count = time.monotonic() + 300, 0.0
        while count < 2000:
            assert time.monotonic() < deadline, count
            time.sleep(1)
            text = urllib.request.urlopen(figures, timeout=10).read().decode()
            count = sum(float(n) for n in re.findall(r"^portrait_frames_total{.*} (\d+)$", text, re.M))
        began = time.monotonic()
        _, errors = stop(running)
        assert time.monotonic() - began < 20
    finally:
        for process in (pushing, running):
            process.kill()
            process.communicate()
    its = json.loads((tmp_path / "s.json").read_text())
    assert its["frames"] >= 2000
    assert all(source["frames"] > 100 for source in its["sources"].values())
    readings = [float(found) for found in re.findall(r"^memory ([\d.]+)$", errors, re.M)]
    assert len(readings) > 20
    working = readings[len(readings) // 3 :]  # all four are at work
    half = len(working) // 2
    assert np.median(working[half:]) - np.median(working[:half]) < 12, readings
    assert len(videos.read(tmp_path / "t.mp4")[0]) > 300


def test_similarity_is_one_for_the_same_and_falls_with_noise() -> None:
    picture = person(1)[0]
    noise = np.random.default_rng(0).normal(0, 20, picture.shape)
    assert ssim(picture, picture) == pytest.approx(1)
    assert ssim(picture, np.clip(picture + noise, 0, 255).astype(np.uint8)) < 0.7
    assert ssim(picture, 255 - picture) < 0.2
