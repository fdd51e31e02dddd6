"""Streams in and out over real servers on loopback: nginx for RTMP, gst-rtsp-server for RTSP."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import av
import numpy as np
import pytest

from tests import videos
from tests.conftest import refused
from tests.servers import PORT, needs_nginx, needs_rtsp, serve_rtmp, start
from tests.test_live import HEADLESS

pytest_plugins = ["tests.servers"]
pytestmark = pytest.mark.gui


@needs_nginx
def test_pushed_to_and_read_from_an_rtmp_server(nginx: str, film: Path, tmp_path: Path) -> None:
    pushing = start("webcam.py", "0,255,0", "--source", film, "--out", nginx)
    reading = start(
        "tflite_webcam.py", "--source", nginx, "--frames", 40, "--color", "red", "--out", tmp_path / "o.mp4"
    )
    errors = reading.communicate(timeout=60)[1]
    assert reading.returncode == 0, errors
    pushing.send_signal(signal.SIGINT)
    pushing.communicate(timeout=30)
    pictures, times = videos.read(tmp_path / "o.mp4")
    assert len(pictures) == 40
    assert np.all(np.diff(times) > 0)
    last = pictures[-1].astype(int)
    assert np.abs(last[:50, :50] - (0, 255, 0)).mean() < 25  # the pushed background
    face = last[70:110, 140:165].mean((0, 1))
    assert face[0] > face[1] + 40  # the overlay of the reader


@needs_nginx
def test_a_stream_that_ends_is_waited_for_and_then_said(nginx: str, film: Path, tmp_path: Path) -> None:
    pushing = start("webcam.py", "blue", "--source", film, "--frames", 200, "--out", nginx)
    reading = start("webcam.py", "green", "--source", nginx, "--reconnect", 12, "--out", tmp_path / "o.mp4")
    pushing.communicate(timeout=60)
    again = start("webcam.py", "blue", "--source", film, "--frames", 200, "--out", nginx)
    again.communicate(timeout=60)
    errors = reading.communicate(timeout=90)[1]
    assert reading.returncode == 2
    assert "Traceback" not in errors
    assert errors.strip().splitlines()[-1].startswith(f"error: {nginx}: ")
    pictures, times = videos.read(tmp_path / "o.mp4")
    gap = int(np.argmax(np.diff(times)))
    assert np.diff(times)[gap] > 0.5  # while nobody pushed
    assert min(gap, len(pictures) - gap) > 20  # pictures of both parts


@needs_nginx
def test_a_server_that_restarts_gets_the_rest(film: Path, tmp_path: Path) -> None:
    address = f"rtmp://127.0.0.1:{PORT['rtmp']}/live/portrait"
    first = serve_rtmp(tmp_path)
    pushing = start("webcam.py", "0,255,0", "--source", film, "--out", address, "--reconnect", 30)
    time.sleep(6)
    first.kill()
    first.wait()
    second = serve_rtmp(tmp_path)
    try:
        reading = start("webcam.py", "blur", "--source", address, "--frames", 30, "--out", tmp_path / "o.mp4")
        errors = reading.communicate(timeout=60)[1]
        assert reading.returncode == 0, errors
        pushing.send_signal(signal.SIGINT)
        said = pushing.communicate(timeout=30)[1]
    finally:
        second.terminate()
        second.wait()
    assert "the server went away" in said
    assert "the server is back" in said
    assert len(videos.read(tmp_path / "o.mp4")[0]) == 30


@needs_rtsp
def test_read_from_an_rtsp_server(command, rtsp: Path, tmp_path: Path) -> None:
    address = f"rtsp://127.0.0.1:{PORT['rtsp']}/film"
    result = command(
        "webcam.py", "0,0,255", "--source", address, "--frames", 30, "--out", tmp_path / "o.mp4", **HEADLESS
    )
    assert result.returncode == 0, result.stderr
    pictures, _ = videos.read(tmp_path / "o.mp4")
    assert len(pictures) == 30
    assert np.abs(pictures[-1][:40, :40].astype(int) - (0, 0, 255)).mean() < 25


@needs_rtsp
def test_pushed_to_an_rtsp_server(command, rtsp: Path, film: Path) -> None:
    address = f"rtsp://127.0.0.1:{PORT['rtsp']}/record"
    result = command("webcam.py", "0,255,0", "--source", film, "--frames", 50, "--out", address, **HEADLESS)
    assert result.returncode == 0, result.stderr
    with av.open(str(rtsp)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) >= 45  # the server may close its file before the last
    assert np.abs(pictures[20][:50, :50].astype(int) - (0, 255, 0)).mean() < 25


def test_no_server_is_one_line(command, film: Path, tmp_path: Path) -> None:
    nobody = "rtmp://127.0.0.1:19999/live/x"
    refused(
        command("webcam.py", "--source", nobody, "--reconnect", "0", "--out", tmp_path / "o.mp4", **HEADLESS),
        nobody,
    )
    refused(command("webcam.py", "--source", film, "--out", nobody, **HEADLESS), nobody)
