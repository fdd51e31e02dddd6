"""python -m utils.compare_models times.json --quality results/live_int8_tflite_eval.json --out networks

Networks beside each other: parameters, multiply-adds, latency and quality, as networks.md and networks.json, and
networks.png: quality over latency, one dot a network. times.json is what `benchmark.py ... --json times.json` wrote;
of several such files the ratios to the same peer are laid side by side. Quality is what each file's card says, or
--quality: files that eval.py wrote, or checkpoints, whose cards name the architecture and size they are of.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from utils import cli
from utils.comparison_chart import Dot, draw

Row = dict[str, Any]
KEYS = {"name", "size", "parameters", "iou", "peer"}


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("times", nargs="+", type=Path, help="what benchmark.py --json wrote")
    parser.add_argument("--quality", nargs="+", type=Path, default=[], metavar="FILE", help="see above")
    parser.add_argument(
        "--out", type=Path, default="networks", metavar="STEM", help="what is written begins so"
    )
    args = parser.parse_args()
    rows = read_times(args.times)
    for path in args.quality:
        add_quality(rows, path)
    for row in rows:
        row.setdefault("multiply_adds", None)
        if row["multiply_adds"] is None:  # an older file, or one written without Keras
            row["multiply_adds"] = count(row)
    from utils.files import write_json, write_text

    args.out.parent.mkdir(parents=True, exist_ok=True)
    text = markdown(rows)
    write_text(f"{args.out}.md", text)
    write_json(f"{args.out}.json", rows)
    print(text, end="")
    across, found = dots(rows)
    if found:
        draw(Path(f"{args.out}.png"), found, across)
    print(f"written: {args.out}.md, .json" + (", .png" if found else ""))
    left_out = ", ".join(row["name"] for row in rows if row["iou"] is None)
    if left_out:
        print(f"note: without a quality, so not in the picture: {left_out}")
    return 0


def read_times(paths: list[Path]) -> list[Row]:
    """The rows of all files, each network once, the peer that ratios are to last. Raises ValueError, OSError."""
    rows: dict[tuple[str, str], Row] = {}
    for path in paths:
        try:
            found = json.loads(path.read_text())
            good = isinstance(found, list) and all(row.keys() >= KEYS for row in found)
        except (ValueError, AttributeError):
            good = False
        if not good or not found:
            raise ValueError(f"{path}: not what benchmark.py --json of this version writes")
        if not any(row["peer"] for row in found):  # ratios to whatever came first say nothing beside others
            found = [{key: row[key] for key in row if not key.startswith("ratio_")} for row in found]
        rows |= {(row["name"], row["size"]): row for row in found}
    return sorted(rows.values(), key=lambda row: row["peer"])


def add_quality(rows: list[Row], path: Path) -> None:
    """IoU and Boundary IoU of one file, into the row it belongs to. Raises ValueError where there is none."""
    if path.suffix == ".json":
        found = _read_evaluation(path)
        name = Path(found["model"]).stem
        mine = [row for row in rows if Path(row["name"].removesuffix(" (peer)")).stem == name]
    else:
        from models import card as cards

        card = cards.read(path)
        found, name = card.get("metrics", {}), label(card.get("architecture") or {})
        mine = [row for row in rows if row.get("architecture") and label(row["architecture"]) == name]
    if not mine or found.get("iou") is None:
        raise ValueError(f"{path}: no row of {name} in the times: measure it by benchmark.py first")
    for row in mine:
        row["iou"], row["boundary_iou"] = found["iou"], found.get("boundary_iou")


def label(architecture: dict[str, Any]) -> str:
    """An architecture as benchmark.py takes it: name:HxW:option=value."""
    size = "x".join(map(str, architecture.get("input_size", [])))
    options = (f"{key}={value}" for key, value in sorted((architecture.get("options") or {}).items()))
    return ":".join([str(architecture.get("name")), size, *options])


def count(row: Row) -> int | None:
    """Multiply-adds at the size that was timed; None for networks that are not ours."""
    if not row.get("architecture"):
        return None
    import models
    from utils import backend, flops

    backend.choose()
    known = row["architecture"]
    network = models.create(
        known["name"], cli.size(row["size"]), known.get("channels", 3), **(known.get("options") or {})
    )
    return flops.multiply_adds(network)


def ratios(row: Row) -> dict[str, float]:
    """Column of the table -> latency as a multiple of the peer's, or in milliseconds where no peer was timed."""
    found = {}
    for key, median in row.items():
        if key.startswith("p50_ms_"):
            threads = key.removeprefix("p50_ms_")
            ratio = row.get(f"ratio_{threads}")
            head = f"{threads} thread{'s' if threads != '1' else ''}"
            found[f"{head}, times the peer" if ratio else f"{head}, ms"] = ratio or median
    return found


def dots(rows: list[Row]) -> tuple[str, dict[str, list[Dot]]]:
    """What latency is counted in (the first column that some row has), and the dots for IoU and Boundary IoU."""
    across = next((head for row in rows for head in ratios(row)), "")
    found: dict[str, list[Dot]] = {}
    for key, title in (("iou", "IoU"), ("boundary_iou", "Boundary IoU")):
        some = [row for row in rows if row.get(key) is not None and across in ratios(row)]
        if some:
            found[title] = [
                (ratios(row)[across], row[key], row["name"].removesuffix(" (peer)"), row["peer"])
                for row in some
            ]
    return across, found


def markdown(rows: list[Row]) -> str:
    """The table, a line a network."""
    times = list(dict.fromkeys(head for row in rows for head in ratios(row)))
    heads = ["network", "input", "parameters", "multiply-adds", *times, "IoU", "Boundary IoU"]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        spent = ratios(row)
        lines.append(
            [
                f"`{row['name']}`",
                row["size"],
                f"{row['parameters']:,}" if row["parameters"] else "",
                short(row["multiply_adds"]),
                *(f"{spent[head]:.2f}" if head in spent else "" for head in times),
                *(f"{row[key]:.3f}" if row.get(key) is not None else "" for key in ("iou", "boundary_iou")),
            ]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def short(number: int | None) -> str:
    """104 M, 15.5 G."""
    if number is None:
        return ""
    return f"{number / 1e9:.3g} G" if number >= 1e9 else f"{number / 1e6:.3g} M"


def _read_evaluation(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        return {
            "model": found["model"],
            "iou": float(found["iou"]),
            "boundary_iou": float(found["boundary_iou"]),
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not what eval.py writes: give a NAME_eval.json or a checkpoint") from error


if __name__ == "__main__":
    cli.run(main)
