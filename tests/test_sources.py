"""Frames come in upright, complete and at their own times; live sources give the newest and come back."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests import portraits, videos
from tests.conftest import ROOT
from tests.test_clips import turn
from utils import sources
from utils.images import write_image
from utils.sinks import open_sink
from utils.sources import Live, VideoError, open_source


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
def test_a_file_gives_every_frame_at_its_time(tmp_path, ending: str) -> None:
    pictures = videos.frames(20)
    times = [0.04 * number + (0.3 if number > 9 else 0) for number in range(20)]  # a pause: variable rate
    path = videos.write(tmp_path / f"in.{ending}", pictures, times)
    with open_source(path) as source:
        found = list(source)
    assert not source.live
    assert source.sound == str(path)
    assert [frame.time for frame in found] == pytest.approx(times, abs=0.03)
    spacing = np.diff([frame.time for frame in found])
    assert spacing == pytest.approx(np.diff(times), abs=0.002)
    for frame, picture in zip(found, pictures, strict=True):
        assert frame.image.shape == picture.shape
        assert np.abs(frame.image.astype(int) - picture).mean() < 12


def test_one_frame_and_no_sound(tmp_path) -> None:
    path = videos.write(tmp_path / "one.mp4", videos.frames(1), sound=None)
    source = open_source(path)
    assert len(list(source)) == 1
    assert source.sound is None


def test_folders_and_pictures(tmp_path) -> None:
    for number in range(3):
        write_image(tmp_path / "film" / f"{number}.png", portraits.portrait(number)[0])
    source = open_source(tmp_path / "film")
    found = list(source)
    assert source.frames == 3
    assert [frame.time for frame in found] == [0, 0.04, 0.08]
    assert np.array_equal(found[1].image, portraits.portrait(1)[0])
    assert len(list(open_source(tmp_path / "film" / "2.png"))) == 1


@pytest.mark.parametrize(("turned", "size"), [(False, (96, 192)), (True, (192, 96))])
def test_pixels_that_are_not_square_become_so(tmp_path, turned: bool, size: tuple[int, int]) -> None:
    path = videos.write(tmp_path / "wide.mp4", videos.frames(4), shape=Fraction(3, 2))
    if turned:
        turn(path)
    with open_source(path) as source:
        assert {frame.image.shape[:2] for frame in source} == {size}


def test_a_video_cut_off_gives_what_it_has_and_says_so(tmp_path) -> None:
    path = videos.write(tmp_path / "in.mkv", videos.frames(50))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    seen: list = []
    with contextlib.suppress(VideoError):
        seen.extend(open_source(path))
    assert 5 < len(seen) < 45


def index_first(path: Path) -> Path:
    """A copy whose index lies before its pictures, as on the web."""
    copy = path.with_stem("first")
    with av.open(str(path)) as given, av.open(str(copy), "w", options={"movflags": "faststart"}) as taken:
        tracks = {track.index: taken.add_stream_from_template(track) for track in given.streams}
        for packet in given.demux():
            if packet.dts is not None:
                packet.stream = tracks[packet.stream.index]
                taken.mux(packet)
    return copy


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_film_cut_off_between_two_pictures_is_told_of(tmp_path, capsys, ending: str) -> None:
    """Its index lies in front, so that nothing but its length gives it away."""
    whole, cut = videos.write(tmp_path / f"whole.{ending}", videos.frames(100)), tmp_path / f"cut.{ending}"
    if ending == "mp4":
        whole = index_first(whole)
    assert len(list(open_source(whole))) == 100
    assert "note" not in capsys.readouterr().err
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert 20 < len(list(open_source(cut))) < 80
    assert f"cut.{ending}: its pictures end after" in capsys.readouterr().err


def test_what_is_no_video_is_one_line(tmp_path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    (tmp_path / "folder").mkdir()
    for name, reason in (("empty.mp4", "cannot be read"), ("text.mp4", "cannot be read")):
        with pytest.raises(VideoError, match=reason):
            list(open_source(tmp_path / name))
    with pytest.raises(VideoError, match="holds no pictures"):
        open_source(tmp_path / "folder")
    with pytest.raises(FileNotFoundError, match="no such"):
        open_source(tmp_path / "gone.mp4")


def test_sound_alone_is_no_video(tmp_path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        for frame in videos._tone(0.5):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match="holds no video"):
        open_source(tmp_path / "sound.mp4")


class FakeCamera:
    """Gives numbered pictures at 200 a second; `plan` says after how many it breaks, time after time."""

    def __init__(self, plan: list[int]) -> None:
        self.plan, self.number, self.opened = list(plan), 0, 0

    def __call__(self):
        self.opened += 1
        if not self.plan:
            raise VideoError("camera: cannot be opened")
        for _ in range(self.plan.pop(0)):
            self.number += 1
            time.sleep(0.005)
            yield np.full((4, 4, 3), self.number % 256, np.uint8)
        raise VideoError("camera: stopped giving frames")


def test_a_slow_reader_gets_the_newest_frame() -> None:
    camera = FakeCamera([200])
    with Live("camera", camera) as source:
        seen = []
        for frame in source:
            seen.append((int(frame.image[0, 0, 0]), camera.number))
            time.sleep(0.05)
            if len(seen) == 8:
                break
    assert all(shown - number <= 2 for number, shown in seen)
    assert source.dropped > 20
    assert [number for number, _ in seen] == sorted({number for number, _ in seen})


def test_a_camera_that_dies_comes_back() -> None:
    camera = FakeCamera([10, 10])
    source = Live("camera", camera, reconnect=1.0)
    seen: list = []
    with source, pytest.raises(VideoError, match=r"camera: .*tried again for 1 s"):
        seen.extend(source)
    assert len(seen) > 10
    assert camera.opened > 2


def test_without_reconnect_it_ends_at_once() -> None:
    began = time.monotonic()
    with Live("camera", FakeCamera([3])) as source, pytest.raises(VideoError, match="stopped giving frames"):
        list(source)
    assert time.monotonic() - began < 1


def test_a_camera_that_stalls_is_not_waited_for_for_ever(monkeypatch) -> None:
    monkeypatch.setattr(sources, "STALL", 0.3)
    forever = threading.Event()

    def stall():
        yield np.zeros((4, 4, 3), np.uint8)
        forever.wait(5)

    source = Live("camera", stall)
    with pytest.raises(VideoError, match="no frame for"):
        list(source)
    forever.set()
    source.close()


def test_whoever_waits_for_a_dead_camera_is_heard() -> None:
    asked: list[float] = []

    def idle() -> bool:
        asked.append(time.monotonic())
        return len(asked) == 3

    with Live("camera", FakeCamera([5]), reconnect=20) as source:
        source.idle = idle
        began = time.monotonic()
        assert 1 <= len(list(source)) <= 5
    assert time.monotonic() - began < 3


def test_a_missing_camera_is_one_line_at_once(capfd) -> None:
    began = time.monotonic()
    with open_source("63", reconnect=20) as source, pytest.raises(VideoError, match="plugged in"):
        list(source)
    assert time.monotonic() - began < 5
    assert capfd.readouterr().err == ""


def test_times_that_fall_go_on(tmp_path) -> None:
    """Two recordings joined by their bytes, as MPEG-TS allows: pictures and sound go on where the first ended."""
    part = videos.write(tmp_path / "part.ts", videos.frames(50), sound="aac")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(part.read_bytes() * 2)
    seen = [frame.time for frame in open_source(joined)]
    assert len(seen) == 100
    steps = np.diff(seen)
    assert (steps > 0.01).all()
    assert steps.max() < 0.1
    with open_sink(tmp_path / "out.mp4", 25, str(joined)) as sink:
        for frame in open_source(joined):
            sink.write(frame.image, frame.time)
        sink.whole = True
    pictures, times = videos.read(tmp_path / "out.mp4")
    assert len(pictures) == 100
    assert times[-1] - times[0] == pytest.approx(3.96, abs=0.05)
    assert videos.sound_seconds(tmp_path / "out.mp4") == pytest.approx(4.0, abs=0.15)


def test_an_avi_whose_pictures_are_coded_out_of_order(tmp_path) -> None:
    path = videos.write(tmp_path / "a.avi", videos.frames(30), sound=None)
    times = [frame.time for frame in open_source(path)]
    assert 0 <= times[0] < 0.1
    np.testing.assert_allclose(np.diff(times)[:-1], 1 / 25, atol=1e-3)  # the last one carries the flush


@pytest.mark.parametrize(("height", "matrix"), [(720, "bt709"), (480, "bt601")])
def test_colours_of_a_file_that_does_not_say_are_those_players_guess(
    tmp_path, height: int, matrix: str
) -> None:
    colour = np.full((height, 64, 3), (40, 200, 60), np.uint8)
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(colour, "rgb24")
        space = {"bt709": "itu709", "bt601": "itu601"}[matrix]
        frame = frame.reformat(format="yuv420p", dst_colorspace=space.upper())
        frame.colorspace = 2  # unsaid
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    seen = next(iter(open_source(path))).image
    assert np.abs(seen[height // 2, 32].astype(int) - (40, 200, 60)).max() <= 4


def hdr_signal(curve: str, light: np.ndarray) -> np.ndarray:
    """Signal 0..1 of light in cd/m2 that a screen of 1,000 shows, grey: ITU-R BT.2100."""
    if curve == "pq":
        power = (light / 10000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    scene = (light / 1000) ** (1 / 1.2)
    return np.where(
        scene <= 1 / 12,
        np.sqrt(3 * scene),
        0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
    )


@pytest.mark.parametrize(("curve", "number"), [("hlg", 18), ("pq", 16)])
def test_videos_of_high_dynamic_range_are_as_bright_as_others(tmp_path, curve: str, number: int) -> None:
    """Greys from black to white and a lamp five times as bright, which is white too."""
    seen = np.array([0, 40, 90, 140, 200, 255])
    light = np.append(203 * (seen / 255) ** 2.4, 1000)  # white is 203 cd/m2 (BT.2408), other screens BT.1886
    luma = (64 + 876 * hdr_signal(curve, light)).round().astype(np.uint16).repeat(32)
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "1"})
        stream.height, stream.width, stream.pix_fmt = 64, luma.size, "yuv420p10le"
        coder = stream.codec_context
        coder.color_trc, coder.color_primaries, coder.colorspace, coder.color_range = number, 9, 9, 1
        chroma = np.full((32, luma.size), 512, np.uint16)
        frame = av.VideoFrame.from_ndarray(np.vstack([np.tile(luma, (64, 1)), chroma]), "yuv420p10le")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    image = next(iter(open_source(path))).image
    greys = image[32, 16::32].astype(int)
    assert np.abs(greys - np.append(seen, 255)[:, None]).max() <= 4


def test_frames_that_come_in_pieces_are_spread(monkeypatch) -> None:
    """A segment of HLS comes at once: its frames must not push each other out."""
    monkeypatch.setattr(sources, "EARLY", 0.3)
    frames = [sources.Frame(np.zeros(1), 0.02 * number) for number in range(10)]
    frames += [sources.Frame(np.zeros(1), 90 + 0.02 * number) for number in range(5)]  # another clock
    began, came = time.monotonic(), []
    for _ in sources._paced(iter(frames)):
        came.append(time.monotonic() - began)
    steps = np.diff(came)
    assert np.median(steps) == pytest.approx(0.02, abs=0.01)
    assert came[9] >= 0.17
    assert steps[9] < 0.1, "a jump was waited for"


def test_a_server_that_is_down_is_waited_for_and_one_that_says_no_is_not(tmp_path) -> None:
    import http.server
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/live.ts"
    with pytest.raises(VideoError, match="refused"):
        open_source(address, 0)
    source = open_source(address, 30)
    assert isinstance(source, Live)
    source.close()

    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Nothing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(VideoError, match=r"live\.ts"):
            open_source(address, 30)
        server.shutdown()


def test_a_reader_that_hangs_does_not_bring_the_ending_down() -> None:
    """What it left has been said and the code is the script's own, but nothing waits for the thread or ends under it."""
    program = (
        "import atexit, threading, time\n"
        "from utils import cli\n"
        "def main():\n"
        "    print('done')\n"
        "    hangs = threading.Thread(target=time.sleep, args=(60,), daemon=True)\n"
        "    hangs.start()\n"
        "    cli.abandon(hangs)\n"
        "    raise KeyboardInterrupt\n"
        "atexit.register(print, 'the interpreter ended')\n"
        "cli.run(main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "done\n", "stopped\n")
