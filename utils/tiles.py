"""Pictures of many sources side by side in one, each letterboxed into a cell of its own.

tiles = Tiles(len(streams), grid=(2, 2), cell=(360, 640))
tiles.put(0, picture)
tiles.mark(1, ["door", "no picture for 3 s"])
whole = tiles.picture()
"""

from __future__ import annotations

import math
import threading

import numpy as np

from utils.images import letterbox
from utils.viewer import write

CELL = (360, 640)


class Tiles:
    """`grid` is (columns, rows), as square as fits by default; cells are filled row by row. Raises ValueError.

    Threads may put their pictures at the same time.
    """

    def __init__(self, count: int, grid: tuple[int, int] | None = None, cell: tuple[int, int] = CELL) -> None:
        columns = math.ceil(math.sqrt(count))
        self.columns, self.rows = grid or (columns, -(-count // columns))
        if self.columns * self.rows < count:
            raise ValueError(
                f"--tile {self.columns}x{self.rows}: has {self.columns * self.rows} cells for {count} sources"
            )
        self.cell = cell
        self._canvas = np.zeros((self.rows * cell[0], self.columns * cell[1], 3), np.uint8)
        self._last: list[np.ndarray | None] = [None] * count  # what was put, while the cell shows a mark
        self._marks: list[list[str]] = [[] for _ in range(count)]
        self._boxes: list = [None] * count
        self._lock = threading.Lock()

    def put(self, number: int, picture: np.ndarray) -> None:
        """A picture uint8 RGB [H, W, 3] of any size into its cell; a mark goes."""
        fitted, box = letterbox(picture, self.cell)
        with self._lock:
            self._boxes[number], self._marks[number], self._last[number] = box, [], None
            self._canvas[self.where(number)] = fitted

    def mark(self, number: int, lines: list[str]) -> None:
        """The cell's last picture darkened, with lines of text, until there is a new one."""
        if lines == self._marks[number]:
            return
        with self._lock:
            view = self._canvas[self.where(number)]
            if self._last[number] is None:
                self._last[number] = view.copy()
            dark = self._last[number] // 3
            write(dark, lines, scale=max(0.35, self.cell[1] / 1200))
            view[:] = dark
            self._marks[number] = lines

    def picture(self) -> np.ndarray:
        """All cells, uint8 RGB [rows * cell height, columns * cell width, 3], as they are now."""
        with self._lock:
            return self._canvas.copy()

    def where(self, number: int) -> tuple[slice, slice]:
        """The rows and columns of the picture that a cell takes."""
        row, column = divmod(number, self.columns)
        height, width = self.cell
        return slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width)

    def at(self, x: float, y: float) -> tuple[int, float, float] | None:
        """Whose picture lies at (x, y), shares (0..1) of the whole, and where in that picture; None beside all."""
        column, row = min(int(x * self.columns), self.columns - 1), min(int(y * self.rows), self.rows - 1)
        number = row * self.columns + column
        if number >= len(self._boxes) or self._boxes[number] is None:
            return None
        box = self._boxes[number]
        left = ((x * self.columns - column) * self.cell[1] - box.left) / box.width
        top = ((y * self.rows - row) * self.cell[0] - box.top) / box.height
        return (number, left, top) if 0 <= left < 1 and 0 <= top < 1 else None
