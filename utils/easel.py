"""The window in which masks are painted: a view of the photo that zooms and pans, and the mouse as it moves.

Of the photo it shows a part on a canvas of fixed size; places on the canvas and in the photo are x, y in pixels.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import cv2
import numpy as np

from utils import sheets, x11
from utils.blending import over
from utils.images import resize, to_uint8
from utils.viewer import Viewer

CANVAS = (720, 1280)
MARGIN = (38, 38, 38)
MODES = ("overlay", "alpha", "cut-out", "photo")
OUTLINE = (0, 255, 0)
CLOSEST = 8.0  # times the size at which the whole photo is seen


class Mouse(NamedTuple):
    """Something the mouse did at x, y of the canvas: an OpenCV event and its flags."""

    event: int
    x: int
    y: int
    flags: int


class Easel(Viewer):
    """A viewer that leaves the mouse to its user. `keys` for the help. Raises ValueError without a display."""

    repeats = True

    def __init__(self, title: str, keys: dict[str, str]) -> None:
        # Wheels of mice that scroll smoothly come as ordinary buttons then, which utils/x11.py can take over.
        os.environ.setdefault("QT_XCB_NO_XI2", "1")
        super().__init__(title)
        self.help = keys
        self.mouse: list[Mouse] = []
        self._grabs: x11.Grabs | None = None

    def rename(self, title: str) -> None:
        """Show another title."""
        if self._seen and not self.closed:
            cv2.setWindowTitle(self.title, title)

    def listen(self) -> None:
        super().listen()
        if self._grabs is None and not self.closed:
            own = f"{self.title} {os.getpid()}"  # for a moment, so that it is found among all windows
            cv2.setWindowTitle(self.title, own)
            cv2.waitKey(50)
            self._grabs = x11.open_grabs(own)
            cv2.setWindowTitle(self.title, self.title)
        for what in self._grabs.pressed() if self._grabs else ():
            if what == "ctrl-z":
                self._press("\x1a")
            else:
                self.turned(what == "wheel up")

    def turned(self, up: bool) -> None:
        """The wheel as a key: brushes grow and shrink by both."""
        self._pressed.append("]" if up else "[")

    def close(self) -> None:
        if self._grabs:
            self._grabs.close()
        super().close()

    def _mouse(self, event: int, x: int, y: int, flags: int, _: object) -> None:
        if event == cv2.EVENT_MOUSEWHEEL:
            self.turned(flags > 0)
        else:
            self.mouse.append(Mouse(event, x, y, flags))


class View:
    """Which part of a photo of (height, width) is seen on the canvas."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.whole = min(canvas / side for canvas, side in zip(CANVAS, size, strict=True))
        self.zoom = 1.0
        self._centre = np.array([size[1] / 2, size[0] / 2])

    @property
    def scale(self) -> float:
        """Pixels of the canvas for one of the photo."""
        return self.whole * self.zoom

    def to_photo(self, x: float, y: float) -> tuple[float, float]:
        """From a place on the canvas to one in the photo, where a pixel's centre is at whole numbers."""
        left, top = self._origin()
        return left + (x + 0.5) / self.scale - 0.5, top + (y + 0.5) / self.scale - 0.5

    def to_canvas(self, x: float, y: float) -> tuple[float, float]:
        """And back."""
        left, top = self._origin()
        return (x + 0.5 - left) * self.scale - 0.5, (y + 0.5 - top) * self.scale - 0.5

    def zoom_at(self, x: float, y: float) -> None:
        """Twice as near at a place of the canvas, which stays where it is; after the nearest the whole photo."""
        held = np.array(self.to_photo(x, y))
        self.zoom = 1.0 if self.zoom >= CLOSEST else 2 * self.zoom
        self._centre += held - self.to_photo(x, y)

    def pan(self, right: float, down: float) -> None:
        """Move the photo on the canvas by so many of its pixels."""
        self._centre -= np.array([right, down]) / self.scale

    def render(self, frame: np.ndarray, matte: np.ndarray, mode: str) -> np.ndarray:
        """The canvas, uint8 RGB: the photo [H, W, 3] with its mask uint8 [H, W] in one of `MODES`."""
        canvas = np.full((*CANVAS, 3), MARGIN, np.uint8)
        left, top = self._origin()
        x0, y0 = max(0, int(left)), max(0, int(top))
        x1 = min(self.size[1], int(np.ceil(left + CANVAS[1] / self.scale)))
        y1 = min(self.size[0], int(np.ceil(top + CANVAS[0] / self.scale)))
        size = max(1, round((y1 - y0) * self.scale)), max(1, round((x1 - x0) * self.scale))
        at = round((x0 - left) * self.scale), round((y0 - top) * self.scale)
        alpha = resize(matte[y0:y1, x0:x1], *size).astype(np.float32) / 255
        shown = draw(resize(frame[y0:y1, x0:x1], *size), alpha, mode)
        _paste(canvas, shown, at)
        return canvas

    def _origin(self) -> np.ndarray:
        """The photo's place (x, y) at the canvas' upper left corner; what is smaller is centred, nothing is lost."""
        seen = np.array([CANVAS[1], CANVAS[0]]) / self.scale
        sides = np.array([self.size[1], self.size[0]])
        half = np.minimum(seen / 2, sides / 2)
        self._centre = np.clip(self._centre, half, sides - half)
        return self._centre - seen / 2


def draw(frame: np.ndarray, alpha: np.ndarray, mode: str) -> np.ndarray:
    """A photo [H, W, 3] with its alpha [H, W] in one of `MODES`, uint8 RGB."""
    if mode == "overlay":
        picture = sheets.overlay(frame, alpha)
        found = (alpha > 0.5).astype(np.uint8)
        outlines = cv2.findContours(found, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
        cv2.drawContours(picture, outlines, -1, OUTLINE, 2)
        return picture
    if mode == "alpha":
        return to_uint8(alpha)[..., None].repeat(3, 2)
    if mode == "cut-out":
        return over(np.ascontiguousarray(frame), alpha, sheets.checkerboard(*alpha.shape))
    return frame


def _paste(canvas: np.ndarray, picture: np.ndarray, at: tuple[int, int]) -> None:
    """Lay a picture on the canvas at x, y, in place; what sticks out is cut."""
    x, y = at
    top, left = max(0, -y), max(0, -x)
    picture = picture[top : canvas.shape[0] - y, left : canvas.shape[1] - x]
    y, x = max(0, y), max(0, x)
    canvas[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
