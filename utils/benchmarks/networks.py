"""Networks side by side: what they are, what starting them costs, how fast they are; tables and rows for --json."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from utils import compare_models
from utils.benchmarks import fresh, turns
from utils.benchmarks.contenders import Contender
from utils.benchmarks.turns import Settings, Times

Row = dict[str, Any]


def report(contenders: list[Contender], threads: list[int], settings: Settings) -> list[Row]:
    """Measure and print; a row each. Ratios are to the first peer, or to the first network where there is none."""
    rows = [describe(contender, threads[0]) for contender in contenders]
    count_all(rows)
    base = next((i for i, contender in enumerate(contenders) if contender.peer), 0)
    frame = "x".join(map(str, reversed(settings.frame)))
    print(start_table(rows))
    print(
        "load: until the network is ready, the runtime's import included; open: the file again; +N: files of other "
        "shapes, opened too; peak: of the process, and what the network added"
    )
    for count in threads:
        times = fresh.apart(turns.measure, [contender.path for contender in contenders], count, settings)
        for row, its in zip(rows, times, strict=True):
            row |= {f"{key}_{count}": value for key, value in summary(its, times[base]).items()}
            row |= {"batch": its.batch, "frame": frame}
        print(f"\n{speed_table(rows, count)}")
    batch = f"x{turns.BATCH} in batches, else " if any(row["batch"] > 1 for row in rows) else ""
    print(
        f"ratios: to {rows[base]['name']}, measured in the same turns; frame: a {frame} frame fitted, run and its "
        f"alpha brought back to its size; frames/s: of the network alone, {batch}one picture at a time, as exports take them"
    )
    return rows


def describe(contender: Contender, threads: int) -> Row:
    """What the file and its card say, and what a new process measures."""
    from utils.exporting import megabytes

    return {
        "name": contender.name,
        "parameters": contender.parameters,
        "megabytes": megabytes(contender.path),
        "architecture": contender.architecture,
        "iou": contender.iou,
        "boundary_iou": contender.boundary_iou,
        "peer": contender.peer,
        **fresh.apart(fresh.start, contender.path, threads),
    }


def count_all(rows: list[Row]) -> None:
    """Multiply-adds into every row; without Keras, which counts them, and for networks of others None."""
    known: dict[str, int | None] = {}
    for row in rows:
        key = f"{row['architecture']} {row['size']}"
        if key not in known:
            known[key] = compare_models.count(row) if importlib.util.find_spec("keras") else None
        row["multiply_adds"] = known[key]


def summary(times: Times, base: Times) -> dict[str, float]:
    """Medians, 95th percentiles, ratios to the base's medians, and frames a second."""
    median, frame = float(np.median(times.network)), float(np.median(times.frame))
    each = float(np.median(times.batched)) / times.batch if times.batched else median
    return {
        "p50_ms": median,
        "p95_ms": float(np.percentile(times.network, 95)),
        "runs": len(times.network),
        "ratio": median / float(np.median(base.network)),
        "frames_per_second": 1000 / each,
        "frame_p50_ms": frame,
        "frame_p95_ms": float(np.percentile(times.frame, 95)),
        "frame_ratio": frame / float(np.median(base.frame)),
    }


def start_table(rows: list[Row]) -> str:
    """Size of each network and what starting it costs."""
    heads = "runtime", "input", "parameters", "mult-adds", "MB", "load ms", "open", "first", "peak MB"
    widths = 34, 10, 12, 11, 8, 9, 8, 8, 14
    lines = [("network", *heads)]
    for row in rows:
        peak = f"{row['peak_mb']:.0f} (+{row['added_mb']:.0f})" if row["peak_mb"] else "-"
        lines.append(
            (
                row["name"],
                row["runtime"],
                row["size"] + (f" +{row['shapes'] - 1}" if row["shapes"] > 1 else ""),
                f"{row['parameters']:,}" if row["parameters"] else "-",
                compare_models.short(row["multiply_adds"]) or "-",
                f"{row['megabytes']:.2f}",
                *(f"{row[key]:.0f}" for key in ("load_ms", "open_ms")),
                f"{row['first_ms']:.1f}",
                peak,
            )
        )
    return aligned(lines, widths)


def speed_table(rows: list[Row], threads: int) -> str:
    """Latency of the network alone and from frame to alpha, on so many threads."""
    heads = "p50 / p95 ms", "ratio", "frames/s", "frame p50 / p95 ms", "ratio", "IoU"
    lines = [(f"{threads} thread{'s' * (threads != 1)}", *heads)]
    for row in rows:
        its = {key.removesuffix(f"_{threads}"): row[key] for key in row if key.endswith(f"_{threads}")}
        batch = f" x{row['batch']}" if row["batch"] > 1 else ""
        lines.append(
            (
                row["name"],
                f"{its['p50_ms']:.2f} / {its['p95_ms']:.2f}",
                f"{its['ratio']:.2f}",
                f"{its['frames_per_second']:.0f}{batch}",
                f"{its['frame_p50_ms']:.2f} / {its['frame_p95_ms']:.2f}",
                f"{its['frame_ratio']:.2f}",
                f"{row['iou']:.3f}" if row["iou"] else "-",
            )
        )
    return aligned(lines, (18, 8, 12, 20, 8, 8))


def aligned(lines: list[tuple[str, ...]], widths: tuple[int, ...]) -> str:
    """Lines whose first column is as wide as it must be, the others at least `widths`, to the right."""
    first = max(len(line[0]) for line in lines)
    return "\n".join(
        f"{line[0]:<{first}}" + "".join(f" {cell:>{width}}" for cell, width in zip(line[1:], widths))
        for line in lines
    )
