"""The live scripts as users run them, on real files without a display."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import pytest

from tests import portraits, videos
from tests.conftest import ROOT, hears_interrupts, refused
from tests.test_clips import turn
from utils.images import list_images, read_image, read_rgba, write_image
from utils.video_sink import read_alpha

ASTRONAUT = read_image(ROOT / "data/samples/astronaut.jpg")
HEADLESS = {"DISPLAY": "", "WAYLAND_DISPLAY": ""}


def person(count: int, size: tuple[int, int] = (240, 320)) -> list[np.ndarray]:
    """The astronaut before her flag, drifting sideways."""
    height, width = size
    tall = max(1, round(512 * height / width))
    top = min(512 - tall, 10) if tall < 512 else 0
    pictures = []
    for number in range(count):
        wide = np.pad(ASTRONAUT, ((0, 0), (40, 40), (0, 0)), "edge")[
            top : top + tall, 2 * number : 2 * number + 512
        ]
        pictures.append(cv2.resize(wide, (width, height), interpolation=cv2.INTER_AREA))
    return pictures


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames with sound, the second half at half the rate."""
    times = [number / 25 if number < 12 else 12 / 25 + (number - 12) * 2 / 25 for number in range(24)]
    return videos.write(tmp_path_factory.mktemp("film") / "in.mp4", person(24), times)


@pytest.mark.parametrize(
    "words",
    [
        ("webcam.py", "0,255,0", "--source"),
        ("tflite_webcam.py", "--source"),
        ("portrait_video.py",),
        ("segvideo.py", "blue", "--source"),
        ("bgsub.py", "--warmup", "1", "--source"),
    ],
    ids=lambda words: words[0],
)
def test_from_file_to_file_nothing_is_lost(command, film: Path, tmp_path: Path, words: tuple) -> None:
    result = command(*words, film, "--out", tmp_path / "out.mp4", "--stats", tmp_path / "s.json", **HEADLESS)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    pictures, times = videos.read(tmp_path / "out.mp4")
    _, true = videos.read(film)
    if words[0] == "bgsub.py":  # the frame of the empty scene is not shown
        true = true[1:]
    assert len(pictures) == len(true)
    assert np.diff(times) == pytest.approx(np.diff(true), abs=0.003)
    assert videos.loudness(tmp_path / "out.mp4")[0] == pytest.approx(36 / 25, abs=0.15)
    assert re.search(r"\d+ frames, [\d.]+ frames/s; ms p50/p95: ", result.stdout)
    facts = json.loads((tmp_path / "s.json").read_text())
    assert facts["frames"] == len(true)
    assert facts["milliseconds"]


def test_a_new_background_and_the_same_person(command, film: Path, tmp_path: Path) -> None:
    assert (
        command("webcam.py", "0,255,0", "--source", film, "--out", tmp_path / "o", **HEADLESS).returncode == 0
    )
    pictures = [read_image(path) for path in list_images(tmp_path / "o")]
    assert len(pictures) == 24
    first = pictures[0].astype(int)
    assert np.abs(first[:60, :60] - (0, 255, 0)).mean() < 12
    middle = slice(70, 105), slice(140, 160)  # her face
    assert np.abs(first[middle] - person(1)[0][middle]).mean() < 12


def test_transparent_videos_keep_their_alpha(command, film: Path, tmp_path: Path) -> None:
    words = ("webcam.py", "--transparent", "--source", film, "--frames", "6")
    result = command(*words, "--out", tmp_path / "pictures", "--out", tmp_path / "out.webm", **HEADLESS)
    assert result.returncode == 0, result.stderr
    exact = [read_rgba(path)[..., 3] for path in list_images(tmp_path / "pictures")]
    video = list(read_alpha(str(tmp_path / "out.webm")))
    assert len(exact) == len(video) == 6
    assert 0.2 < (exact[0] > 127).mean() < 0.9
    for one, other in zip(exact, video, strict=True):
        assert np.abs(one.astype(int) - other).mean() < 6
    plain = command(*words, "--out", tmp_path / "out.mp4", **HEADLESS)
    refused(plain, "out.mp4", ".webm, .mov")


@pytest.mark.parametrize("seconds", ["nan", "-1", "soon"])
def test_what_is_no_time_to_wait_is_refused(command, film: Path, seconds: str) -> None:
    result = command("webcam.py", "--source", film, f"--reconnect={seconds}")
    assert result.returncode == 2
    assert f"'{seconds}' is not a number of seconds from 0" in result.stderr


def test_a_phone_video_is_upright(command, tmp_path: Path) -> None:
    path = videos.write(tmp_path / "phone.mp4", [np.rot90(p).copy() for p in person(4)])
    turn(path)
    result = command(
        "tflite_webcam.py", "--source", path, "--out", tmp_path / "o.png", "--color", "red", **HEADLESS
    )
    assert result.returncode == 0, result.stderr
    picture = read_image(tmp_path / "o.png")
    assert picture.shape[:2] == (240, 320)
    assert picture[70:110, 140:165, 0].mean() > picture[70:110, 140:165, 1].mean() + 60  # her face is red


@pytest.mark.parametrize("size", [(97, 131), (240, 135), (64, 400)])
def test_any_size_and_shape(command, tmp_path: Path, size: tuple[int, int]) -> None:
    write_image(tmp_path / "p" / "a.png", portraits.portrait(0, *size)[0])
    result = command("portrait_video.py", tmp_path / "p", "--out", tmp_path / "o.mp4", **HEADLESS)
    assert result.returncode == 0, result.stderr
    shape = videos.read(tmp_path / "o.mp4")[0][0].shape
    assert shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)


def test_everything_of_the_other_demonstration(command, film: Path, tmp_path: Path) -> None:
    back = videos.write(tmp_path / "back.mp4", videos.frames(10))
    result = command(
        *("portrait_video.py", film, "--background", back, "--post-process", "--optic-flow"),
        *("--vertical-screen", "--one-person", "--frames", "8", "--out", tmp_path / "out.mkv"),
        **HEADLESS,
    )
    assert result.returncode == 0, result.stderr
    pictures, _ = videos.read(tmp_path / "out.mkv")
    assert len(pictures) == 8
    assert (
        np.abs(pictures[0][:40, :40].astype(int) - pictures[7][:40, :40]).mean() > 5
    )  # the background plays


@pytest.mark.parametrize("way", ["off", "smooth", "flow", "delay"])
def test_all_ways_of_steadying_give_every_frame(command, film: Path, tmp_path: Path, way: str) -> None:
    words = ("portrait_video.py", film, "--temporal", way, "--frames", "5", "--out", tmp_path / "o")
    assert command(*words, **HEADLESS).returncode == 0
    assert len(list_images(tmp_path / "o")) == 5


def test_a_plate_instead_of_an_empty_scene(command, tmp_path: Path) -> None:
    wall = portraits.write_backgrounds(tmp_path / "w", 1) / "0.jpg"
    empty = read_image(wall)
    film = []
    for number in range(6):
        frame = empty.copy()
        frame[40:, 40 + number : 90 + number] = (250, 30, 130)
        film.append(frame)
    path = videos.write(tmp_path / "in.mp4", film)
    result = command("bgsub.py", "--source", path, "--plate", wall, "--out", tmp_path / "o", **HEADLESS)
    assert result.returncode == 0, result.stderr
    pictures = [read_image(found) for found in list_images(tmp_path / "o")]
    assert len(pictures) == 6
    assert pictures[-1][10, 10].max() < 10
    assert pictures[-1][90, 65].tolist() == pytest.approx([250, 30, 130], abs=30)
    write_image(tmp_path / "square.png", np.zeros((50, 50, 3), np.uint8))
    wrong = command(
        "bgsub.py", "--source", path, "--plate", tmp_path / "square.png", "--out", tmp_path / "x", **HEADLESS
    )
    refused(wrong, "differ in shape")


def test_too_short_a_film_for_the_warm_up(command, film: Path, tmp_path: Path) -> None:
    refused(command("bgsub.py", "--source", film, "--out", tmp_path / "o.mp4", **HEADLESS), "lower --warmup")


def broken(folder: Path, film: Path, kind: str) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not a video")
    elif kind == "sound":
        videos.sound_only(path)
    return path


@pytest.mark.parametrize(
    ("kind", "words"), [("empty", "cannot be read"), ("text", "cannot be read"), ("sound", "no video")]
)
def test_files_without_pictures_are_one_line(
    command, film: Path, tmp_path: Path, kind: str, words: str
) -> None:
    path = broken(tmp_path, film, kind)
    refused(command("webcam.py", "--source", path, "--out", tmp_path / "o.mp4", **HEADLESS), path.name, words)
    assert not (tmp_path / "o.mp4").exists()


def test_a_film_cut_off_in_the_middle(command, tmp_path: Path) -> None:
    """What could be read is kept in a playable file, and said."""
    path = videos.write(tmp_path / "whole.mkv", person(60))
    data = path.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    result = command("webcam.py", "--source", tmp_path / "cut.mkv", "--out", tmp_path / "o.mp4", **HEADLESS)
    pictures, _ = videos.read(tmp_path / "o.mp4")
    assert 5 < len(pictures) < 60
    assert result.returncode in (0, 2)
    assert "Traceback" not in result.stderr


def test_no_camera_no_display_no_output(command, film: Path, tmp_path: Path) -> None:
    no_camera = command(
        "webcam.py", "--source", "77", "--reconnect", "0", "--out", tmp_path / "o.mp4", **HEADLESS
    )
    refused(no_camera, "camera 77", "plugged in")
    refused(command("webcam.py", "--source", film, **HEADLESS), "no display", "--out")
    refused(command("webcam.py", "--source", tmp_path / "none.mp4", "--out", "o.mp4", **HEADLESS), "none.mp4")
    noted = command("webcam.py", "--source", film, "--out", tmp_path / "o.mp4", "--frames", "2", **HEADLESS)
    assert "no display" in noted.stderr
    away = command(
        "webcam.py", "--source", film, "--out", tmp_path / "p.mp4", "--frames", "2", DISPLAY=":7777"
    )
    assert (away.returncode, "no display" in away.stderr) == (
        0,
        True,
    )  # named, and not there: as in ssh or sudo
    assert len(videos.read(tmp_path / "o.mp4")[0]) == 2


def test_no_output_takes_the_place_of_another_file(command, film: Path, tmp_path: Path) -> None:
    words = ("webcam.py", "--source", film, "--frames", "2")
    out = tmp_path / "o.mp4"
    stats = command(*words, "--stats", film, **HEADLESS)
    assert (stats.returncode, "does not end in .json" in stats.stderr) == (2, True), stats.stderr
    again = tmp_path / ".." / tmp_path.name / "o.mp4"
    refused(command(*words, "--out", out, "--out", again, **HEADLESS), "given twice")
    assert len(videos.read(film)[0]) > 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_a_playable_file(tmp_path: Path, how: signal.Signals) -> None:
    path = videos.write(tmp_path / "long.mp4", person(20) * 60)
    process = subprocess.Popen(
        [sys.executable, "webcam.py", "--source", path, "--out", tmp_path / "o.mp4"],
        cwd=ROOT,
        env={**os.environ, **HEADLESS},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_interrupts,
    )
    written = tmp_path / f".o.{process.pid}.mp4"
    deadline = time.monotonic() + 60
    while not written.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert 3 < len(videos.read(tmp_path / "o.mp4")[0]) < 1200


def test_the_light_script_runs_without_tensorflow(film: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [
            sys.executable,
            "-X",
            "importtime",
            "tflite_webcam.py",
            "--source",
            film,
            "--out",
            tmp_path / "o.mp4",
        ],
        cwd=ROOT,
        env={**os.environ, **HEADLESS},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert not re.search(r"\|\s+(tensorflow|keras|jax|torch)\b", result.stderr)


@pytest.mark.alone
def test_the_first_frame_comes_within_two_seconds(command, film: Path, tmp_path: Path) -> None:
    began = time.perf_counter()
    result = command(
        "tflite_webcam.py", "--source", film, "--frames", "1", "--out", tmp_path / "o.png", **HEADLESS
    )
    assert result.returncode == 0, result.stderr
    assert time.perf_counter() - began < 2


def test_time_by_operator(command) -> None:
    result = command("tflite_webcam.py", "--profile")
    assert result.returncode == 0, result.stderr
    rows = dict(re.findall(r"^(\w+) +\d+ +([\d.]+) ms", result.stdout, re.M))
    assert float(rows["CONV_2D"]) > float(rows["ADD"]) > 0
    assert float(rows["all"]) == pytest.approx(
        sum(float(ms) for name, ms in rows.items() if name != "all"), rel=0.02
    )
    wrong = command("tflite_webcam.py", "--profile", "--model", __file__)
    assert wrong.returncode == 2
    assert "runs .tflite files" in wrong.stderr


@pytest.mark.alone
def test_memory_stays_flat(tmp_path: Path) -> None:
    """A thousand frames more may not take more memory: what leaks in 10,000 shows in 1,500."""
    path = videos.write(tmp_path / "long.mp4", person(20) * 60)
    code = (
        "import sys; from tests.memory import watch; watch(); sys.argv = ['webcam.py', 'green', '--source', "
        f"{str(path)!r}, '--out', {str(tmp_path / 'o.mp4')!r}]; import runpy; runpy.run_path('webcam.py', run_name='__main__')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **HEADLESS},
        capture_output=True,
        text=True,
        timeout=300,
    )
    readings = [float(found) for found in re.findall(r"^memory ([\d.]+)$", result.stderr, re.M)]
    assert len(readings) > 6, result.stderr
    half = len(readings) // 2
    assert np.median(readings[half:]) - np.median(readings[2:half]) < 12, readings


def test_nothing_that_is_read_is_overwritten(command, film: Path, tmp_path: Path) -> None:
    silent = videos.write(tmp_path / "silent.mp4", person(3), sound=None)
    before = silent.read_bytes()
    refused(command("webcam.py", "--source", silent, "--out", silent, **HEADLESS), "overwrite")
    refused(command("webcam.py", silent, "--source", film, "--out", silent, **HEADLESS), "overwrite")
    refused(command("segvideo.py", silent, "--source", film, "--out", silent, **HEADLESS), "overwrite")
    assert silent.read_bytes() == before
    photo = tmp_path / "photos" / "a.png"
    write_image(photo, person(1)[0])
    before = photo.read_bytes()
    refused(command("portrait_video.py", photo.parent, "--out", photo, **HEADLESS), "overwrite")
    refused(command("webcam.py", photo.parent, "--source", film, "--out", photo, **HEADLESS), "overwrite")
    assert photo.read_bytes() == before
    sample = ROOT / "data/samples/backgrounds/launch.jpg"  # which segvideo.py reads where none is given
    before = sample.read_bytes()
    refused(command("segvideo.py", "--source", film, "--out", sample, **HEADLESS), "overwrite")
    assert sample.read_bytes() == before
    words = ("webcam.py", "--source", film, "--transparent", "--out", tmp_path / "a.jpg")
    refused(command(*words, **HEADLESS), "a.jpg", ".png")
    refused(
        command("segvideo.py", "transparent", "--source", film, "--out", tmp_path / "x.mp4", **HEADLESS),
        "webcam.py",
    )
    (tmp_path / "old.mp4").write_text("what was written before")
    again = command("webcam.py", "--source", film, "--frames", "3", "--out", tmp_path / "old.mp4", **HEADLESS)
    assert again.returncode == 0, again.stderr
    assert len(videos.read(tmp_path / "old.mp4")[0]) == 3
    twice = command(
        "webcam.py", "--source", film, "--out", tmp_path / "a", "--out", tmp_path / "a", **HEADLESS
    )
    refused(twice, "twice")


def test_a_plate_is_believed_by_every_model(command, tmp_path: Path) -> None:
    wall = portraits.write_backgrounds(tmp_path / "w", 1) / "0.jpg"
    frame = read_image(wall)
    path = videos.write(tmp_path / "in.mp4", [frame] * 3)
    for kind in ("mean", "mog2", "knn"):
        out = tmp_path / kind
        words = (
            "bgsub.py",
            "--source",
            path,
            "--plate",
            wall,
            "--scene",
            kind,
            "--background",
            "red",
            "--out",
            out,
        )
        assert command(*words, **HEADLESS).returncode == 0
        assert np.abs(read_image(list_images(out)[-1])[20:40, 20:40].astype(int) - (255, 0, 0)).mean() < 8


def test_a_stream_that_ends_leaves_its_figures(command, film: Path, tmp_path: Path) -> None:
    """A camera or stream has no other end than to break; what was done until then is reported all the same."""
    words = ("--reconnect", "0", "--out", tmp_path / "o.mp4", "--stats", tmp_path / "s.json")
    result = command("webcam.py", "green", "--source", f"file://{film}", *words, **HEADLESS)
    refused(result, "file://")
    assert f"wrote: {tmp_path / 'o.mp4'}" in result.stdout
    facts = json.loads((tmp_path / "s.json").read_text())
    assert facts["frames"] == len(videos.read(tmp_path / "o.mp4")[0]) > 0


class Pipe:
    """Can be written in one go only."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write


def without_duration(film: Path) -> Path:
    """The film as a browser records it, whose beginning knows nothing of its end."""
    import av

    out = film.with_suffix(".mkv")
    with out.open("wb") as file, av.open(str(film)) as given, av.open(Pipe(file), "w", "matroska") as taken:
        tracks = {track.index: taken.add_stream_from_template(track) for track in given.streams}
        for packet in given.demux():
            if packet.dts is not None:
                packet.stream = tracks[packet.stream.index]
                taken.mux(packet)
    with av.open(str(out)) as written:
        assert not written.duration
    return out


@pytest.mark.parametrize("recorded", [False, True])
def test_a_film_on_a_web_server_is_a_file(command, tmp_path: Path, recorded: bool) -> None:
    import functools
    import http.server
    import threading

    # (Matroska, as this server cannot jump to the index at the end of an MP4.)
    film = videos.write(tmp_path / f"in.{'mp4' if recorded else 'mkv'}", person(24))
    film = without_duration(film) if recorded else film
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/{film.name}"
        result = command("webcam.py", "green", "--source", address, "--out", tmp_path / "o.mp4", **HEADLESS)
        server.shutdown()
    assert result.returncode == 0, result.stderr
    assert len(videos.read(tmp_path / "o.mp4")[0]) == 24
    assert videos.loudness(tmp_path / "o.mp4")[0] > 0.8
