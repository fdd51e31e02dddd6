"""Real servers on loopback, and what reads back from them without our code. Tests take it as a plug-in:

pytest_plugins = ["tests.servers"]
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests import videos
from tests.conftest import ROOT, hears_interrupts
from tests.test_live import HEADLESS, person

PORT = {"rtmp": 19350, "rtsp": 18554}
MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
NGINX = """
load_module {module};
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; }} }} }}
"""
# Plays a film, and takes one: /film and /record; /both takes it with sound, as FILE.mkv
RTSP = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer(); server.set_service(sys.argv[1]); server.set_address("127.0.0.1")
play = GstRtspServer.RTSPMediaFactory(); play.set_shared(True)
play.set_launch(f"( filesrc location={sys.argv[2]} ! qtdemux ! rtph264pay name=pay0 config-interval=1 )")
take = GstRtspServer.RTSPMediaFactory(); take.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
take.set_launch(f"( rtph264depay name=depay0 ! video/x-h264,stream-format=byte-stream ! filesink async=false location={sys.argv[3]} )")
both = GstRtspServer.RTSPMediaFactory(); both.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
both.set_launch(f"( matroskamux name=m ! filesink async=false location={sys.argv[3]}.mkv rtph264depay name=depay0 ! h264parse ! m. rtpmp4gdepay name=depay1 ! aacparse ! m. )")
server.get_mount_points().add_factory("/both", both); server.get_mount_points().add_factory("/film", play); server.get_mount_points().add_factory("/record", take)
server.attach(None); GLib.MainLoop().run()
"""


def has_rtsp_server() -> bool:
    check = "import gi; gi.require_version('GstRtspServer', '1.0')"
    python = "/usr/bin/python3"
    return (
        os.path.exists(python) and not subprocess.run([python, "-c", check], capture_output=True).returncode
    )


needs_nginx = pytest.mark.skipif(
    not (shutil.which("nginx") and MODULE.exists()), reason="needs nginx with its RTMP module: make test-gui"
)
needs_rtsp = pytest.mark.skipif(not has_rtsp_server(), reason="needs gst-rtsp-server: make test-gui")


def wait_for(port: int, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, f"nothing listens on port {port}"
        time.sleep(0.1)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return videos.write(
        tmp_path / "in.mp4", person(20) * 40, sound=None
    )  # half a minute: readers start slowly


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[str]:
    server = serve_rtmp(tmp_path)
    yield f"rtmp://127.0.0.1:{PORT['rtmp']}/live/portrait"
    server.terminate()
    server.wait()


def serve_rtmp(tmp_path: Path) -> subprocess.Popen:
    settings = tmp_path / "nginx.conf"
    settings.write_text(NGINX.format(module=MODULE, folder=tmp_path, port=PORT["rtmp"]))
    server = subprocess.Popen(["nginx", "-c", settings, "-p", tmp_path], stderr=subprocess.DEVNULL)
    wait_for(PORT["rtmp"])
    return server


@pytest.fixture
def rtsp(tmp_path: Path, film: Path) -> Iterator[Path]:
    """The server; gives the file that what is pushed is written to."""
    words = ["/usr/bin/python3", "-c", RTSP, str(PORT["rtsp"]), str(film), str(tmp_path / "got.h264")]
    server = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(PORT["rtsp"])
    yield tmp_path / "got.h264"
    server.terminate()
    server.wait()


def start(*words: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **HEADLESS, "PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=hears_interrupts,
    )


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of two pictures uint8 [H, W, 3], of their grey levels: 1 for the same.

    Source: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment", IEEE Transactions on Image Processing, 2004:
    Gaussian windows of 11 pixels with sigma 1.5, K1 = .01, K2 = .03.
    """
    x, y = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64) for picture in (one, other))

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (11, 11), 1.5)[5:-5, 5:-5]

    a, b = mean(x), mean(y)
    first, second = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    spread = 2 * (mean(x * y) - a * b) + second
    power = mean(x * x) - a * a + mean(y * y) - b * b + second
    return float(np.mean((2 * a * b + first) * spread / ((a * a + b * b + first) * power)))


def closest(picture: np.ndarray, others: list[np.ndarray]) -> float:
    """The similarity to that of the others which is most alike."""
    near = sorted(
        others, key=lambda other: float(np.abs(other[::4, ::4].astype(int) - picture[::4, ::4]).mean())
    )
    return max(ssim(picture, other) for other in near[:3])
