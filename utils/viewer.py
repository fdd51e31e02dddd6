"""The one window of all live scripts: keys, held keys, a slider, a panel of times, before and after by dragging.

    viewer = Viewer("webcam", {"b": "next background"})
    viewer.show(picture, frame)
    for key in viewer.pressed(): ...

Pictures are uint8 RGB [H, W, 3], or RGBA, which is shown on a chequerboard.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from utils import x11
from utils.sheets import on_checkerboard

QUIT = ("q", "\x1b")
FIRST_HOLD = 0.75  # seconds a key counts as held after it went down: keyboards repeat only after a while
NEXT_HOLD = 0.25  # and after each repeat
LARGEST = (720, 1280)
SLIDER = 24  # pixels that a slider takes from the picture


def has_display() -> bool:
    """Whether a window can be opened here; asking OpenCV would end the program. Its wheels speak X11 alone."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY")) and x11.reachable()


class Viewer:
    """A window. `keys` names the keys that its user handles, for the help (`?`). Raises ValueError without a display."""

    repeats = False  # whether a key that is held, or pressed again soon, is pressed each time

    def __init__(self, title: str, keys: dict[str, str] | None = None) -> None:
        if not has_display():
            raise ValueError("no display to open a window on: pass --no-window and --out FILE")
        fonts = Path("/usr/share/fonts/truetype/dejavu")
        if fonts.is_dir():
            os.environ["QT_QPA_FONTDIR"] = str(fonts)
        self.title = title
        self.help = {"q, Esc": "quit", "?": "this help", **(keys or {}), "drag": "before | after"}
        self.split: float | None = None  # share of the width that shows the frame as it came
        self.clicked: tuple[float, float] | None = None  # x, y as shares of the picture
        self.lines: list[str] = []
        self.showing_help = self.closed = False
        self._size: tuple[int, int] | None = None
        self._pressed: list[str] = []
        self._held: dict[str, float] = {}
        self._down: tuple[int, int] | None = None
        self._seen = False
        self._sliders = 0

    def slider(self, name: str, count: int, call: Callable[[int], None]) -> None:
        """A slider 0..count-1 that calls with its new position."""
        self._open()
        self._sliders += 1
        cv2.createTrackbar(name, self.title, 0, max(1, count - 1), call)

    def show(self, picture: np.ndarray, before: np.ndarray | None = None) -> None:
        """Draw the picture, `before` left of the split, `lines` and the help; then listen to keys and mouse."""
        self._open()
        if self._size is None:
            scale = min(1.0, LARGEST[0] / picture.shape[0], LARGEST[1] / picture.shape[1])
            height = round(picture.shape[0] * scale) + self._sliders * SLIDER
            cv2.resizeWindow(self.title, round(picture.shape[1] * scale), height)
        self._size = picture.shape[:2]
        shown = on_checkerboard(picture)
        shown = cv2.cvtColor(shown, cv2.COLOR_RGB2BGR)
        if self.split is not None and before is not None:
            at = int(np.clip(self.split, 0, 1) * shown.shape[1])
            shown[:, :at] = before[:, :at, ::-1]
            shown[:, max(0, at - 1) : at + 1] = 255
        if self.lines:
            write(shown, self.lines)
        if self.showing_help:
            write(shown, [f"{key}\t{what}" for key, what in self.help.items()], bottom=True)
        cv2.imshow(self.title, shown)
        self.listen()

    def pressed(self) -> list[str]:
        """Keys pressed since the last call, each once: none is lost, however slow the loop is."""
        pressed, self._pressed = self._pressed, []
        return pressed

    def held(self, key: str) -> bool:
        """Whether the key is held down now."""
        return self._held.get(key, 0.0) > time.monotonic()

    def close(self) -> None:
        """Close the window."""
        if self._seen and self._visible():
            cv2.destroyWindow(self.title)
            cv2.waitKey(1)
        self.closed = True

    def _open(self) -> None:
        if not self._seen:
            cv2.namedWindow(self.title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            cv2.setMouseCallback(self.title, self._mouse)
            self._seen = True

    def listen(self) -> None:
        """Take in keys, the mouse and a closed window; `show` does so, too."""
        code = cv2.waitKey(1)
        while code >= 0:
            key = chr(code & 0xFF)
            now = time.monotonic()
            again = self._held.get(key, 0.0) > now
            self._held[key] = max(self._held.get(key, 0.0), now + (NEXT_HOLD if again else FIRST_HOLD))
            if self.repeats or not again:
                self._press(key)
            code = cv2.pollKey()
        if self._seen and not self._visible():
            self.closed = True

    def _press(self, key: str) -> None:
        if key in QUIT:
            self.closed = True
        elif key == "?":
            self.showing_help = not self.showing_help
        else:
            self._pressed.append(key)

    def _visible(self) -> bool:
        try:
            return cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:
            return False

    def _mouse(self, event: int, x: int, y: int, flags: int, _: object) -> None:
        if self._size is None:
            return
        height, width = self._size
        if event == cv2.EVENT_LBUTTONDOWN:
            self._down = (x, y)
        elif event == cv2.EVENT_MOUSEMOVE and self._down and flags & cv2.EVENT_FLAG_LBUTTON:
            if abs(x - self._down[0]) > 5 or self.split is not None:
                self.split = x / width
        elif event == cv2.EVENT_LBUTTONUP and self._down:
            if abs(x - self._down[0]) <= 5 and abs(y - self._down[1]) <= 5:
                self.clicked = (x / width, y / height)
            elif not 0.02 < x / width < 0.98:
                self.split = None  # dragged off the picture: the whole composite again
            self._down = None


def write(picture: np.ndarray, lines: list[str], bottom: bool = False, scale: float | None = None) -> None:
    """Lines of text, columns parted by tabs, in white on a darkened corner of the picture, in place."""
    height, width = picture.shape[:2]
    scale = scale or float(np.clip(height / 1000, 0.35, 1.0))
    step = round(32 * scale)
    tall = step * len(lines) + step // 2
    columns = [max(measure(text, scale) for text in part) + step for part in _columns(lines)]
    top = max(0, height - tall) if bottom else 0
    picture[top : top + tall, : min(width, sum(columns) + step // 2)] //= 3
    for number, line in enumerate(lines):
        left = step // 2
        for text, wide in zip(line.split("\t"), columns, strict=False):
            at = (left, top + step * (number + 1))
            cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
            left += wide


def measure(text: str, scale: float) -> int:
    """The width of a text in pixels."""
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]


def _columns(lines: list[str]) -> list[list[str]]:
    rows = [line.split("\t") for line in lines]
    return [[row[i] for row in rows if len(row) > i] for i in range(max(map(len, rows)))]
