"""Quality over latency, one dot a network, with names that do not cover each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# (latency, quality, name, whether it is a peer's)
Dot = tuple[float, float, str, bool]
Box = tuple[float, float, float, float]  # left, bottom, right, top in pixels

OURS, PEERS = ("#1f5fa8", "o", "this project"), ("#c2541b", "D", "others")
# How far from its dot a name may stand, in points, and on which side: beside it first, then farther away
RINGS = (6, 10, 16, 24, 34, 46, 60)
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


def draw(path: Path, dots: dict[str, list[Dot]], across: str) -> None:
    """A panel for each measure of quality in `dots`; `across` says what latency is counted in. Better is up, left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * len(dots), 5.6), layout="constrained", dpi=110)
    panels = figure.subplots(1, len(dots), squeeze=False)[0]
    for axes, (measure, some) in zip(panels, dots.items(), strict=True):
        draw_panel(axes, some)
        axes.set(xlabel=f"latency, {across}", ylabel=measure)
    figure.draw_without_rendering()  # from here on the panels keep their size
    figure.set_layout_engine("none")
    for axes, some in zip(panels, dots.values(), strict=True):
        place_names(axes, some)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def draw_panel(axes: Axes, dots: list[Dot]) -> None:
    """The dots, a doubling of latency as wide as any other."""
    axes.set_xscale("log", base=2)
    for colour, marker, who in (OURS, PEERS):
        some = [dot for dot in dots if dot[3] == (who == PEERS[2])]
        if some:
            axes.scatter([d[0] for d in some], [d[1] for d in some], 34, colour, marker, zorder=3, label=who)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(color="0.92")
    axes.margins(0.2, 0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)


def place_names(axes: Axes, dots: list[Dot]) -> list[Box]:
    """Each name at the nearest place where it covers nothing, with a line to its dot if that is far; their boxes."""
    from matplotlib.text import Text

    bounds = axes.get_window_extent().extents
    centres = axes.transData.transform([dot[:2] for dot in dots])
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in centres]
    taken.append(tuple(axes.get_legend().get_window_extent().extents))
    # Beside another dot a name would pass for its name.
    claims = [(x - 18, y - 12, x + 18, y + 12) for x, y in centres]
    boxes = []
    for index in np.argsort(-centres[:, 1]):
        x, y, name, peer = dots[index]
        text = axes.annotate(
            *(name, (x, y)),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            color=(PEERS if peer else OURS)[0],
            arrowprops={"arrowstyle": "-", "color": "0.6", "lw": 0.7, "shrinkA": 0, "shrinkB": 3},
        )
        extent = Text.get_window_extent(text)
        points = 72 / axes.figure.dpi
        costs = [(bounds, -10.0), *((box, 10.0) for box in taken)]
        costs += [(box, 1.0) for other, box in enumerate(claims) if other != index]
        box, near = free_place(centres[index], (extent.width + 4, extent.height + 2), costs, 1 / points)
        middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2
        text.set_position((middle - centres[index]) * points)
        text.arrow_patch.set_visible(not near)
        taken.append(box)
        boxes.append(box)
    return boxes


def free_place(
    centre: np.ndarray, size: tuple[float, float], costs: list[tuple[Box, float]], point: float
) -> tuple[Box, bool]:
    """Of the boxes of `size` around `centre` the first that costs least; whether it is near.

    An area in common with each box of `costs` costs so much a pixel. All in pixels, of which a point has `point`.
    """
    length = np.array(size)
    found = []
    for ring in RINGS:
        for side in SIDES:
            middle = centre + np.array(side) * (ring * point + length / 2)
            box = (*(middle - length / 2), *(middle + length / 2))
            found.append((sum(weight * shared(box, other) for other, weight in costs), box, ring <= RINGS[1]))
    return min(found, key=lambda item: round(item[0], 3))[1:]


def shared(box: Box, other: Box) -> float:
    """Area that two boxes have in common."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(width, 0.0) * max(height, 0.0)
