"""What goes behind the person: a colour, pictures, a video with its own clock, a blur of the scene, or nothing.

A SPEC is a colour (name, "#rrggbb" or "r,g,b"), a picture, a folder of pictures, a video, "blur", "blur:N" with
N the strength in percent of the longer side, or "transparent".
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ImageColor

from utils import blending
from utils.images import EXTENSIONS, ImageError, list_images, read_image
from utils.sources import Frame, VideoError, VideoFile


class Background:
    """Read once and made for each frame: `background(frame, alpha, time)` -> uint8 [H, W, 3].

    Raises ValueError for a SPEC that is none of the above.
    """

    def __init__(self, spec: str, fit: str = "cover") -> None:
        if not str(spec):
            raise ValueError(
                "the background is empty: give a colour, a picture, a video, blur or transparent"
            )
        self.spec, self.fit = spec, fit
        self.transparent = spec == "transparent"
        self.strength = _strength(spec)
        self.pictures: list[Path] = []
        self.film: Film | None = None
        self.colour: tuple[int, int, int] | None = None
        self._at = 0
        self._fitted: tuple[tuple, np.ndarray] | None = None
        path = Path(spec)
        if self.strength or self.transparent:
            return
        if path.is_dir():
            self.pictures = list_images(path)
            if not self.pictures:
                raise ValueError(f"{path}: holds no pictures")
        elif path.is_file() and path.suffix.lower() not in EXTENSIONS - {".gif"}:
            self.film = Film(path)
        elif path.is_file():
            self.pictures = [path]
        else:
            try:
                self.colour = parse_colour(spec)
            except ValueError as error:
                raise ValueError(
                    f"background {spec!r} is no colour and no picture that exists: give a colour (green, #00ff00, "
                    "0,255,0), a picture, a folder of pictures, a video, blur or transparent"
                ) from error
        if self.pictures:
            read_image(self.pictures[0])  # so that a damaged one is said at the start

    def next(self) -> None:
        """On to the next picture of a folder that can be read."""
        for step in range(1, len(self.pictures) + 1):
            try:
                read_image(self.pictures[(self._at + step) % len(self.pictures)])
                self._at += step  # last: other threads compose meanwhile
                return
            except ImageError as error:
                print(f"note: {error}", file=sys.stderr)

    def __call__(self, frame: np.ndarray, alpha: np.ndarray, time: float = 0.0) -> np.ndarray:
        size = frame.shape[:2]
        if self.strength:
            return blending.blurred_background(frame, alpha, self.strength)
        if self.film:
            return blending.fit_background(self.film.at(time), size, self.fit)
        key = (self._at, size)
        if self._fitted is None or self._fitted[0] != key:
            self._fitted = (key, self._fit(size))
        return self._fitted[1]

    def _fit(self, size: tuple[int, int]) -> np.ndarray:
        if self.pictures:
            picture = read_image(self.pictures[self._at % len(self.pictures)])
            return blending.fit_background(picture, size, self.fit)
        return np.full((*size, 3), self.colour or (0, 0, 0), np.uint8)

    def compose(self, frame: np.ndarray, alpha: np.ndarray, cut: np.ndarray | None = None) -> np.ndarray:
        """The finished still: RGB, or RGBA where the background is transparent."""
        cut = blending.cutout(frame, alpha) if cut is None else cut
        if self.transparent:
            return cut
        return blending.over(np.ascontiguousarray(cut[..., :3]), alpha, self(frame, alpha))

    def compose_live(
        self, frame: np.ndarray, alpha: np.ndarray, time: float = 0.0, wrap: float = 0.0, clean: bool = True
    ) -> np.ndarray:
        """The same in a fraction of the time, `time` seconds into the stream; `wrap` 0..1 is its light wrap.

        Not `clean`, it is a plain alpha blend.
        """
        if self.transparent:
            shown = blending.alone(blending.foreground_live(frame, alpha), alpha)
            return np.dstack([shown, np.rint(alpha * 255).astype(np.uint8)])
        scene = self(frame, alpha, time)
        if self.strength or not clean:  # a blurred scene is the frame's own: its colours fit as they are
            return blending.over(frame, alpha, scene)
        return blending.over_live(frame, alpha, scene, wrap)


PAUSE = 1.0  # seconds without being asked


class Film:
    """A video that plays by its own clock, over and over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._began = self._asked = self._step = 0.0
        self._frames = self._play()
        self._now = next(self._frames)
        self._next: Frame | None = next(self._frames, None)

    def at(self, time: float) -> np.ndarray:
        """The frame uint8 RGB [H, W, 3] shown at `time` seconds; time never runs backwards."""
        step = time - self._asked
        # It was not shown meanwhile, so it did not play; but some sources have seconds between all frames.
        if step > max(PAUSE, 2 * self._step):
            self._began += step
        self._asked, self._step = time, step
        while self._next is not None and self._began + self._next.time <= time:
            self._now, self._next = self._next, next(self._frames, None)
            if self._next is None:
                self._restart()
        return self._now.image

    def _play(self) -> Iterator[Frame]:
        """The frames, up to where the file is damaged."""
        count = 0
        try:
            for frame in VideoFile(self.path):
                yield frame
                count += 1
        except VideoError:
            if not count:
                raise

    def _restart(self) -> None:
        """From the first frame, one frame's time after the last."""
        rate = VideoFile(self.path).rate or 25.0
        self._began += self._now.time + 1 / rate
        self._frames = self._play()
        self._next = next(self._frames)
        if self._now.time == 0:  # a single frame: nothing to play
            self._next = None


def parse_colour(spec: str) -> tuple[int, int, int]:
    """A colour's name, "#rrggbb" or "r,g,b" as 0..255 each. Raises ValueError."""
    text = f"rgb({spec})" if spec.count(",") == 2 else spec
    try:
        colour = ImageColor.getrgb(text)[:3]
    except ValueError:
        colour = (256,)
    if max(colour) > 255:
        raise ValueError(f"{spec!r} is no colour: give one as green, #00ff00 or 0,255,0")
    return colour


def _strength(spec: str) -> float:
    """The blur of "blur" or "blur:N" as a share of the longer side, 0 for any other SPEC."""
    name, _, percent = spec.partition(":")
    if name != "blur":
        return 0.0
    try:
        share = float(percent or 3) / 100
    except ValueError:
        share = 0.0
    if not 0 < share <= 0.2:
        raise ValueError(
            f"background {spec!r}: give blur:N with N from above 0 to 20 percent of the longer side"
        )
    return share
