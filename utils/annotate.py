"""python -m utils.annotate PHOTOS --out MASKS

Make and mend masks of your own photos: the network proposes, a few clicks correct it.

The left button paints the person, the right one the background. A click grows to what has the same colours around
it, up to the next edge; a drag paints along its way. `?` in the window lists the keys. Each step is saved, so
nothing is lost; started again it goes on at the first photo without a mask. Masks are 8-bit grey PNGs in
MASKS/masks, or in `masks` beside the photos (beside the folder, if it is called `images`).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from utils import cli, segmenter
from utils.album import Album
from utils.easel import CANVAS, MARGIN, MODES, Easel, Mouse, View
from utils.images import ImageError
from utils.mask_editor import MaskEditor
from utils.proposals import Proposals
from utils.viewer import has_display

DEFAULT_MODEL = Path(__file__).parent.parent / "checkpoints" / "photo_int8.tflite"
FINEST, COARSEST, STEP = 1.5, 200.0, 1.2  # radius of the brush in pixels of the screen
STILL = 3  # pixels of the screen that the mouse may move in a click
PANNED = 80
PANS = {"a": (PANNED, 0), "d": (-PANNED, 0), "w": (0, PANNED), "s": (0, -PANNED)}
GREEN, RED = (0, 230, 0), (255, 60, 60)
KEYS = {
    "left, right": "paint person, background (click: grow, drag: brush)",
    "Shift, b": "left paints background: while held, until pressed again",
    "wheel, [ ]": "size of the brush",
    "g": "grow to like colours, or paint the brush alone",
    "e": "draw the edge to the photo's",
    "u, Ctrl-Z | y": "undo | redo",
    "0 | c": "the network's proposal | nobody",
    "n | p": "keep and next | previous photo",
    "v": "overlay, alpha, cut-out, photo",
    "z": "nearer at the mouse; then the whole photo",
    "w a s d": "move the photo (or drag with the middle button)",
    "x": "reject the photo, or take it back",
    "q, Esc | ?": "quit | this help",
}


class Annotator:
    """The window at work: keys and the mouse to the editor of one photo after the other."""

    def __init__(self, album: Album, proposals: Proposals, easel: Easel) -> None:
        self.album, self.proposals, self.easel = album, proposals, easel
        self.number, self.way = album.first_open(), 1
        self.editor: MaskEditor | None = None
        self.view = View((1, 1))
        self.mode, self.brush, self.grow, self.swapped = MODES[0], 14.0, True, False
        self.path: list[tuple[float, float]] = []  # on the canvas, while a button is down
        self.person = True
        self.mouse = Mouse(0, CANVAS[1] // 2, CANVAS[0] // 2, 0)
        self.saved, self.note = True, ""
        self._canvas: np.ndarray | None = None
        self._helped, self._failed = False, 0

    @property
    def photo(self) -> Path:
        return self.album.photos[self.number]

    def run(self) -> None:
        """Until the window is closed. Raises ValueError if no photo can be read, OSError if the last step cannot be saved."""
        self._blank()
        while not self.easel.closed:
            if self.editor is None:
                self._open()
            events, self.easel.mouse = self.easel.mouse, []
            keys, helped = self.easel.pressed(), self._helped
            self._helped = self.easel.showing_help
            for event in events:
                self._moved(event)
            for key in keys:
                self._key(key)
            if events or keys or self._canvas is None or helped != self._helped:
                self._show()
            else:
                self.easel.listen()
                time.sleep(0.01)
        if not self.saved and self.editor:
            self.album.save(self.photo, self.editor.matte)

    def _blank(self) -> None:
        self.easel.lines = ["looking at the photo ..."]
        self.easel.show(np.full((*CANVAS, 3), MARGIN, np.uint8))

    def _open(self) -> None:
        """The photo of the present number as soon as it is there; those that cannot be used are passed by."""
        photo = self.photo
        coming = self.proposals.ask(photo)
        if not coming.done():
            self.easel.listen()
            time.sleep(0.01)
            return
        try:
            opened = coming.result()
            kept = self.album.mask(photo, opened.frame.shape[:2])
        except ImageError as error:
            self._skip(error)
            return
        self._failed = 0
        self.editor = MaskEditor(opened.frame, opened.proposal, kept)
        self.view, self.path, self.saved, self._canvas = View(opened.frame.shape[:2]), [], True, None
        self.easel.rename(f"annotate {self.number + 1}/{len(self.album.photos)} {photo.name}")
        if self.number + 1 < len(self.album.photos):
            self.proposals.ask(self.album.photos[self.number + 1])
            self.proposals.ask(photo)

    def _skip(self, error: ImageError) -> None:
        print(f"skipped: {error}", file=sys.stderr)
        self._failed += 1
        if self._failed > len(self.album.photos):
            raise ValueError(f"none of the photos can be used: {error}")
        self.note = f"skipped {self.photo.name}"
        ahead = self.number + self.way
        self.way = self.way if 0 <= ahead < len(self.album.photos) else -self.way
        self.number = int(np.clip(self.number + self.way, 0, len(self.album.photos) - 1))

    def _go(self, way: int) -> None:
        """To the next or previous photo, if there is one."""
        if not 0 <= self.number + way < len(self.album.photos):
            self.note = "this is the last photo: q quits" if way > 0 else "this is the first photo"
            return
        self.number, self.way, self.editor, self.note = self.number + way, way, None, ""

    def _save(self) -> bool:
        """Keep the mask as it is now; where that fails say so and try again with the next step."""
        try:
            self.album.save(self.photo, self.editor.matte)
        except OSError as error:
            self.saved, self.note = False, f"NOT SAVED: {cli.one_line(error)}"
        else:
            self.saved = True
            self.note = "" if self.note.startswith("NOT SAVED") else self.note
        return self.saved

    def _key(self, key: str) -> None:
        editor = self.editor
        if editor is None:
            return
        actions = {
            "e": editor.refine_edge, "u": editor.undo, "\x1a": editor.undo, "y": editor.redo,
            "0": editor.reset, "c": editor.clear,
        }  # fmt: skip
        self.note = self.note if not self.saved else ""
        if key in actions:
            self.path = []
            if actions[key]() or not self.album.done(self.photo):
                self._save()
            self._canvas = None
        elif key == "n":
            if (self.saved and self.album.done(self.photo)) or self._save():
                self._go(1)
        elif key == "p" and self.saved:
            self._go(-1)
        elif key == "x":
            self.note = "" if self.album.reject(self.photo) else "no longer rejected"
        else:
            self._look(key)

    def _look(self, key: str) -> None:
        """Keys that change what is seen or the brush, not the mask."""
        if key in "[]":
            self.brush = float(np.clip(self.brush * STEP ** (1 if key == "]" else -1), FINEST, COARSEST))
        elif key == "v":
            self.mode = MODES[(MODES.index(self.mode) + 1) % len(MODES)]
        elif key == "z":
            self.view.zoom_at(self.mouse.x, self.mouse.y)
        elif key in PANS:
            self.view.pan(*PANS[key])
        elif key == "g":
            self.grow = not self.grow
        elif key == "b":
            self.swapped = not self.swapped
        self._canvas = None

    def _moved(self, mouse: Mouse) -> None:
        before, self.mouse = self.mouse, mouse
        buttons = {cv2.EVENT_LBUTTONDOWN: True, cv2.EVENT_RBUTTONDOWN: False}
        if self.editor is None:
            return
        if mouse.event in buttons or mouse.event in (cv2.EVENT_LBUTTONDBLCLK, cv2.EVENT_RBUTTONDBLCLK):
            left = buttons.get(mouse.event, mouse.event == cv2.EVENT_LBUTTONDBLCLK)
            shift = bool(mouse.flags & cv2.EVENT_FLAG_SHIFTKEY)
            self.person = left != (self.swapped != shift)
            self.path = [(mouse.x, mouse.y)]
        elif mouse.event == cv2.EVENT_MOUSEMOVE:
            if self.path:
                self.path.append((mouse.x, mouse.y))
            elif mouse.flags & cv2.EVENT_FLAG_MBUTTON:
                self.view.pan(mouse.x - before.x, mouse.y - before.y)
                self._canvas = None
        elif mouse.event in (cv2.EVENT_LBUTTONUP, cv2.EVENT_RBUTTONUP) and self.path:
            self._stroke()

    def _stroke(self) -> None:
        """Give the painted way to the editor, and save."""
        path, self.path = np.array(self.path, float), []
        if np.ptp(path, axis=0).max() <= STILL:
            path = path[:1]
        places = [self.view.to_photo(x, y) for x, y in path]
        if self.editor.stroke(places, self.person, self.brush / self.view.scale, self.grow):
            self._save()
        self._canvas = None

    def _show(self) -> None:
        if self.editor is None:
            self._blank()
            return
        if self._canvas is None:
            self._canvas = self.view.render(self.editor.frame, self.editor.matte, self.mode)
        shown = self._canvas.copy()
        radius = max(1, round(self.brush))
        if self.path:
            way = np.array(self.path, np.int32)
            cv2.polylines(shown, [way], False, GREEN if self.person else RED, 2 * radius)
        ring = RED if self.swapped else GREEN
        for colour, thick in (((0, 0, 0), 3), (ring, 1)):
            cv2.circle(shown, (self.mouse.x, self.mouse.y), radius, colour, thick, cv2.LINE_AA)
        self.easel.lines = self._lines()
        self.easel.show(shown)

    def _lines(self) -> list[str]:
        lines = [f"{self.number + 1}/{len(self.album.photos)} {self.photo.name}", f"{self.mode}   ? help"]
        lines += ["left: background"] * self.swapped + ["brush alone"] * (not self.grow)
        lines += ["REJECTED"] * (self.photo.name in self.album.rejected)
        return lines + [self.note] * bool(self.note)


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("photos", help="folder of photos")
    parser.add_argument("--out", metavar="MASKS", help="folder for masks (default: beside the photos)")
    parser.add_argument("--model", default=str(DEFAULT_MODEL), help="network that proposes")
    parser.add_argument("--threads", type=cli.threads, default=os.cpu_count(), help="threads of the network")
    args = parser.parse_args()
    album = Album(args.photos, args.out)
    if not has_display():
        raise ValueError("no display to open a window on: log in to a desktop, or use ssh -X")
    proposals = Proposals(segmenter.open(args.model, args.threads))
    easel = Easel("annotate", KEYS)
    try:
        Annotator(album, proposals, easel).run()
    finally:
        proposals.close()
        easel.close()
    done = sum(map(album.done, album.photos))
    print(f"{done} of {len(album.photos)} photos have a mask or are rejected: {album.root / 'masks'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
