"""python -m utils.compare runs/first runs/second --out compare.png

Trainings side by side: their curves over each other, the settings in which they differ with their best figures
(printed as well), and the overlays of their last epochs. RUN is a folder that train.py wrote.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from utils import cli
from utils.files import replacing
from utils.images import read_image
from utils.schedules import Rows, kept_epoch
from utils.sheets import CURVES, draw_curves, overlays_of

MEASURED = ("iou", "boundary_iou", "accuracy", "mad")
IGNORED = ("out", "resume", "resumed", "workers")
WIDTH = 15  # inches


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a training")
    parser.add_argument(
        "--out", type=cli.file(".png", ".jpg", ".pdf"), default="compare.png", help="picture to write"
    )
    args = parser.parse_args()
    folders = [Path(name) for name in args.runs]
    if len(folders) < 2:
        raise ValueError("compare at least two runs")
    histories = dict(zip(names(folders), map(read_log, folders), strict=True))
    settings = [_settings(folder) for folder in folders]
    table = [["", *histories], *figures(histories, settings), *differences(settings)]
    for row in table:
        print("  ".join(f"{cell:24}" for cell in row).rstrip())
    draw(Path(args.out), histories, table, [_last_overlays(folder) for folder in folders])
    print(f"-> {args.out}")
    return 0


def names(folders: list[Path]) -> list[str]:
    """Short names that differ: the last parts of the paths, as many as it takes."""
    for parts in range(1, max(len(folder.parts) for folder in folders) + 1):
        found = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(found)) == len(found):
            return found
    raise ValueError(f"{folders[0]}: the same run is named twice")


def read_log(path: Path) -> Rows:
    """The rows of log.csv. Raises ValueError for a folder without one."""
    try:
        with open(path / "log.csv", newline="") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError) as error:
        raise ValueError(f"{path} holds no log.csv that can be read: it is not a run folder") from error
    if not rows:
        raise ValueError(f"{path / 'log.csv'} is empty: the run has finished no epoch")
    return rows


def figures(histories: dict[str, Rows], settings: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of a table: the epoch each run kept, what was measured then, epochs and speed of the whole run."""
    best = [kept_epoch(h, s.get("hold", 0.0)) for h, s in zip(histories.values(), settings, strict=True)]
    rows = [["kept epoch", *(f"{row['epoch']:.0f} of {len(h)}" for row, h in zip(best, histories.values()))]]
    rows += [
        [name, *(f"{row[name]:.4f}" for row in best)] for name in MEASURED if all(name in row for row in best)
    ]
    speeds = [sum(row["images_per_second"] for row in h) / len(h) for h in histories.values()]
    return [*rows, ["images a second", *(f"{speed:.1f}" for speed in speeds)]]


def differences(settings: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of a table: the settings that are not the same in all runs; - where a run has none of the name."""
    known = {name: None for some in settings for name in some if name not in IGNORED}
    rows = [[name, *(_text(some[name]) if name in some else "-" for some in settings)] for name in known]
    return [row for row in rows if len(set(row[1:])) > 1]


def draw(path: Path, histories: dict[str, Rows], table: list[list[str]], strips: list[Any]) -> None:
    """Write curves, table and overlays (None where a run has none) as one picture."""
    from matplotlib.figure import Figure

    shown = [(name, strip) for name, strip in zip(histories, strips, strict=True) if strip is not None]
    heights = [8.0, 0.3 * len(table), *(WIDTH * s.shape[0] / s.shape[1] + 0.3 for _, s in shown)]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    curves, middle, *lower = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    axes = curves.subplots(2, len(CURVES) // 2)
    draw_curves(axes.flat, histories)
    axes[0, 0].legend()
    sheet = middle.subplots()
    sheet.axis("off")
    cells = sheet.table(table, loc="center", cellLoc="left", bbox=(0, 0, 1, 1))
    cells.auto_set_font_size(False)
    cells.set_fontsize(10)
    for part, (name, strip) in zip(lower, shown, strict=True):
        axis = part.subplots()
        axis.imshow(strip)
        axis.set_title(name, loc="left", fontsize=10)
        axis.axis("off")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=90)


def _settings(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "settings.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"{folder} holds no settings.json that can be read: it is not a run folder"
        ) from error


def _last_overlays(folder: Path) -> Any:
    found = overlays_of(folder)
    return read_image(found[-1]) if found else None


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"...{text[-37:]}"


if __name__ == "__main__":
    cli.run(main)
