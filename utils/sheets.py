"""Pictures of results: overlays, checkerboards, contact sheets, training curves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from utils.blending import over
from utils.files import replacing
from utils.images import letterbox, to_uint8

TINT = np.array([255, 0, 90], np.float32)


def overlay(frame: np.ndarray, alpha: np.ndarray, truth: np.ndarray | None = None) -> np.ndarray:
    """The frame with what is not the person tinted, and the true outline in green if given."""
    weight = 0.55 * (1 - alpha[..., None])
    picture = (frame * (1 - weight) + TINT * weight).astype(np.uint8)
    return picture if truth is None else outlined(picture, truth)


def outlined(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """A copy of the picture with the outline of an alpha 0..1 in green."""
    picture = picture.copy()
    outlines = cv2.findContours((alpha > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
    cv2.drawContours(picture, outlines, -1, (0, 255, 0), 1)
    return picture


def checkerboard(height: int, width: int, square: int = 16) -> np.ndarray:
    """Light and dark grey squares, uint8 [H, W, 3], as image editors show transparency."""
    rows, columns = np.ogrid[0:height, 0:width]
    light = ((rows // square + columns // square) % 2).astype(bool)
    return np.where(light[..., None], np.uint8(204), np.uint8(153)).repeat(3, 2)


def label(picture: np.ndarray, text: str) -> np.ndarray:
    """Write a line of text into the lower left corner."""
    picture = np.ascontiguousarray(picture)
    place = (4, picture.shape[0] - 6)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def grid(pictures: list[np.ndarray], columns: int, cell: int = 240) -> np.ndarray:
    """Pictures of any size in a grid of square cells."""
    cells = [letterbox(picture, (cell, cell))[0] for picture in pictures]
    cells += [np.zeros((cell, cell, 3), np.uint8)] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])


def side_by_side(pictures: list[np.ndarray], gap: int = 8) -> np.ndarray:
    """Pictures of equal height in a row with white gaps; grey ones become RGB."""
    colour = [cv2.cvtColor(p, cv2.COLOR_GRAY2RGB) if p.ndim == 2 else p for p in pictures]
    space = np.full((colour[0].shape[0], gap, 3), 255, np.uint8)
    row = [part for picture in colour for part in (picture, space)]
    return np.hstack(row[:-1])


def panel(frame: np.ndarray, alpha: np.ndarray, cutout: np.ndarray, composite: np.ndarray) -> np.ndarray:
    """photo | alpha | cut-out on checkerboard | new background. RGBA pictures are shown on the board."""
    pictures = [frame, to_uint8(alpha), on_checkerboard(cutout), on_checkerboard(composite)]
    return side_by_side(pictures, max(4, alpha.shape[0] // 64))


def on_checkerboard(picture: np.ndarray) -> np.ndarray:
    """An RGBA picture over the board, RGB as it is."""
    if picture.shape[2] == 3:
        return picture
    board = checkerboard(*picture.shape[:2], square=max(8, picture.shape[0] // 32))
    weight = picture[..., 3].astype(np.float32) / 255
    return over(np.ascontiguousarray(picture[..., :3]), weight, board)


CURVES = {
    "loss": "training loss",
    "accuracy": "pixel accuracy",
    "iou": "IoU",
    "boundary_iou": "Boundary IoU",
    "rate": "learning rate",
    "images_per_second": "images a second",
}


def plot_curves(path: str | Path, history: list[dict[str, float]]) -> None:
    """The curves of a training over its epochs, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    draw_curves(figure.subplots(2, 3).flat, {"": history})
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def draw_curves(axes: Iterable[Any], histories: dict[str, list[dict[str, float]]]) -> None:
    """One axis a curve, in it one line a training, by name; those without the value are left out."""
    for axis, (key, title) in zip(axes, CURVES.items(), strict=True):
        for name, history in histories.items():
            rows = [row for row in history if key in row]
            axis.plot(
                [row["epoch"] for row in rows],
                [row[key] for row in rows],
                marker="o",
                markersize=3,
                label=name,
            )
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)


def overlays_of(folder: Path) -> list[Path]:
    """A run's overlays, epoch by epoch."""
    found = (folder / "overlays").glob("epoch_*.jpg")
    return sorted(found, key=lambda path: (len(path.name), path.name))
