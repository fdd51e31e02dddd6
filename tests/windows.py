"""Windows of scripts on a virtual display, driven by xdotool: for the tests marked `gui`."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageGrab

ROOT = Path(__file__).parent.parent
MARKS = [
    pytest.mark.gui,
    pytest.mark.skipif(
        not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool: make test-gui"
    ),
]


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    # Without -noreset it starts anew whenever its last client leaves, and refuses who comes meanwhile.
    words = ["Xvfb", "-displayfd", "1", "-noreset", "-screen", "0", "1400x900x24"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    name = f":{server.stdout.readline().strip()}"  # one that nobody else has
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", name)
        yield name
    server.terminate()
    server.wait()


def wait(ready: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


class Window:
    """A script with its window, its working folder and what the screen shows.

    `title`: how the window's begins; `first`: code that runs before the script.
    """

    def __init__(
        self, folder: Path, name: str, *words: object, title: str | None = None, first: str = ""
    ) -> None:
        self.folder = folder
        code = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r})\n{first}\nrunpy.run_path({str(ROOT / name)!r}, run_name='__main__')"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, words)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.title = f"^{title}" if title else f"^{Path(name).stem}$"
        wait(self._opened, 60)
        self.window = self.do("search", "--name", self.title).split()[0]
        self._painted()
        time.sleep(0.5)
        self.measure()  # it took the picture's size meanwhile

    def _opened(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()
        return bool(self.do("search", "--name", self.title).strip())

    def _painted(self) -> None:
        """Without a window manager Qt misses its own mapping now and then, on a machine that is busy, and stays black."""
        for _ in range(10):
            self.do("windowfocus", self.window)
            self.measure()
            with contextlib.suppress(AssertionError):
                wait(lambda: self.look().max() > 0, 4)
                return
            self.do("windowunmap", "--sync", self.window)
            self.do("windowmap", "--sync", self.window)
        raise AssertionError(f"black for 40 s: {self.process.poll()}")

    def measure(self) -> None:
        geometry = self.do("getwindowgeometry", "--shell", self.window)
        facts = dict(line.split("=") for line in geometry.split())
        self.left, self.top, self.width, self.height = (int(facts[k]) for k in ("X", "Y", "WIDTH", "HEIGHT"))

    def do(self, *words: object) -> str:
        return subprocess.run(
            ["xdotool", *map(str, words)],
            capture_output=True,
            text=True,
        ).stdout

    def key(self, name: str) -> None:
        self.do("key", name)
        time.sleep(0.4)

    def look(self) -> np.ndarray:
        """What is in the window, int [H, W, 3]."""
        picture = np.asarray(ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).convert("RGB")).astype(int)
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]

    def corner(self) -> np.ndarray:
        """The mean colour of the upper right corner of the picture, where the background is."""
        return self.look()[:, -40:].reshape(-1, 40, 3)[self.height // 4 : self.height // 4 + 20].mean((0, 1))

    def end(self) -> tuple[int, str]:
        out, errors = self.process.communicate(timeout=30)
        assert "Traceback" not in errors, errors
        return self.process.returncode, out


def ask_to_close(window: int) -> None:
    """What a window manager sends when the cross is clicked."""
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    display = ctypes.c_void_p(x11.XOpenDisplay(None))
    names = [x11.XInternAtom(display, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")]
    message = ClientMessage(33, 0, 1, display, window, names[0], 32, (ctypes.c_long * 5)(names[1]))
    x11.XSendEvent(display, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(message))
    x11.XCloseDisplay(display)


class ClientMessage(ctypes.Structure):
    """Xlib's XClientMessageEvent, as long as its union of events."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("rest", ctypes.c_long * 24),
    ]


@pytest.fixture
def window(screen: str, tmp_path: Path) -> Iterator[Callable[..., Window]]:
    opened: list[Window] = []

    def make(name: str, *words: object, title: str | None = None, first: str = "") -> Window:
        opened.append(Window(tmp_path, name, *words, title=title, first=first))
        return opened[-1]

    yield make
    for one in opened:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGKILL)
            one.process.wait()
