"""Where the time of .tflite networks goes, by type of operator: a table and a bar chart of utils/profile.py's figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from utils import profile
from utils.benchmarks.contenders import Contender
from utils.files import replacing
from utils.profile import Share

SHOWN = 12  # bars of a panel at most; the rest are one bar
NOTE = (
    "each operator cut out of the network and timed alone on LiteRT, whose Python interface has no profiler"
)


def report(contenders: list[Contender], threads: list[int], picture: Path) -> list[dict]:
    """Print, draw and return the times. Raises ValueError for what is not a .tflite file."""
    for contender in contenders:
        if contender.path.suffix != ".tflite":
            raise ValueError(f"{contender.path}: --ops reads .tflite files: give one, or the checkpoint")
    found: list[dict[str, Any]] = []
    panels: dict[str, list[Share]] = {}
    for count in threads:
        label = f"{count} thread{'s' * (count != 1)}"
        for contender in contenders:
            shares = profile.by_operator(contender.path, count)
            whole = profile.whole(contender.path, count)
            panels[f"{contender.name}, {label}"] = shares
            print(f"{contender.name}, {label}; the whole network takes {whole:.2f} ms at best")
            print(profile.table(shares), end="\n\n")
            operators = [share._asdict() for share in shares]
            found.append(
                {"name": contender.name, "threads": count, "whole_ms": whole, "operators": operators}
            )
    draw(picture, panels)
    print(f"measured: {NOTE}\nwritten: {picture}")
    return found


def draw(path: Path, panels: dict[str, list[Share]]) -> None:
    """A panel for each network, a bar for each type, all to one scale; written whole or not at all."""
    from matplotlib.figure import Figure

    rows = max(len(gathered(shares)) for shares in panels.values())
    figure = Figure(figsize=(5.4 * len(panels), 1.1 + 0.34 * rows), layout="constrained", dpi=110)
    plots = figure.subplots(1, len(panels), squeeze=False, sharex=True)[0]
    for axes, (title, shares) in zip(plots, panels.items(), strict=True):
        bars = gathered(shares)[::-1]
        drawn = axes.barh([share.operator for share in bars], [s.milliseconds for s in bars], color="#1f5fa8")
        axes.bar_label(drawn, [f"{s.milliseconds:.2f} ({s.count}x)" for s in bars], padding=3, fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("ms")
        axes.margins(x=0.25)
        axes.tick_params(axis="y", labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(NOTE, fontsize=7, color="0.4")
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:])


def gathered(shares: list[Share]) -> list[Share]:
    """The slowest types, and what is left as one."""
    if len(shares) <= SHOWN:
        return shares
    rest = shares[SHOWN - 1 :]
    last = Share("others", sum(s.count for s in rest), sum(s.milliseconds for s in rest))
    return [*shares[: SHOWN - 1], last]
