"""multistream.py with 1, 2, 4 and 8 sources of 640x360, drawn here: one batch against one by one and against separate processes.

All finish every frame of every source and write nothing. They take turns, round by round, so that a busy moment slows all alike. Then
the latency, with all sources at their own speed, and what one more source costs beside what the network takes alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from utils import segmenter
from utils.images import read_image
from utils.live_benchmark import SAMPLES, draw

ROOT = SAMPLES.parent.parent
SIZE = (360, 640)
COUNTS = (1, 2, 4, 8)
ROUNDS = 3
LIVE_RATE = 10  # frames a second of each source where latency is measured: what two cores can do for eight


def report(model: str, frames: int) -> dict:
    """Print and return total frames a second by way and number of sources, latency, and the cost of one more source."""
    with tempfile.TemporaryDirectory() as folder:
        film = draw(Path(folder) / "in.mp4", frames, SIZE)
        slow = draw(Path(folder) / "slow.mp4", 12 * LIVE_RATE, SIZE, LIVE_RATE)
        rounds: list[dict] = []
        for _ in range(ROUNDS):
            found = {count: one_round(film, count, model, frames, folder) for count in COUNTS}
            rounds.append({"network_ms": network_alone(model), **found})
        latency = {count: p95(slow, count, model, folder) for count in COUNTS}
    table: dict = {"network": Path(model).name, "frames": frames, "sources": {}}
    print("sources  batched  one by one  processes   batched: times one by one, times processes   p95 ms")
    for count in COUNTS:
        ways = {way: [r[count][way] for r in rounds] for way in rounds[0][count]}
        rates = {way: float(np.median(several)) for way, several in ways.items()}
        ratios = {way: float(np.median(np.divide(ways["batched"], several))) for way, several in ways.items()}
        table["sources"][count] = {"frames_per_second": rates, "ratio": ratios, "p95_ms": latency[count]}
        print(
            f"{count:7} {rates['batched']:8.1f} {rates['one by one']:11.1f} {rates['processes']:10.1f} "
            f"{ratios['one by one']:26.2f} {ratios['processes']:16.2f} {latency[count]:21.0f}"
        )
    # Seconds a frame of all sources take together, by the number of sources: the slope is what one more costs.
    costs = [[count / r[count]["batched"] for count in COUNTS] for r in rounds]
    slopes = [1000 * float(np.polyfit(COUNTS, cost, 1)[0]) for cost in costs]
    table["one_more_ms"] = float(np.median(slopes))
    table["network_ms"] = float(np.median([r["network_ms"] for r in rounds]))
    ratio = float(np.median([slope / r["network_ms"] for slope, r in zip(slopes, rounds, strict=True)]))
    table["one_more_to_network"] = ratio
    print(
        f"one source more: {table['one_more_ms']:.1f} ms a frame, {ratio:.2f} times the network's "
        f"{table['network_ms']:.1f} ms"
    )
    return table


def one_round(film: Path, count: int, model: str, frames: int, folder: str) -> dict[str, float]:
    """Total frames a second of the three ways."""
    many = [str(film)] * count
    return {
        "batched": _rate(_run(*many, model=model, stats=f"{folder}/0.json")),
        "one by one": _rate(_run(*many, "--batch", "1", model=model, stats=f"{folder}/0.json")),
        "processes": sum(
            [
                _rate(run)
                for run in [_run(f, model=model, stats=f"{folder}/{i}.json") for i, f in enumerate(many)]
            ]
        ),
    }


def p95(film: Path, count: int, model: str, folder: str) -> float:
    """Milliseconds from a frame's coming to its picture, the worst source's 95th percentile, at the sources' own speed."""
    run = _run(*[str(film)] * count, "--tile", f"{count}x1", model=model, stats=f"{folder}/l.json")
    return max(its["latency"]["p95"] for its in _facts(run)["sources"].values())


def network_alone(model: str, runs: int = 100) -> float:
    """Median milliseconds that the network takes for one such picture, with its resizing, alone on the machine."""
    network = segmenter.open(model, 1)
    picture = np.resize(read_image(SAMPLES / "astronaut.jpg"), (*SIZE, 3))
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        network.coarse(picture)
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times[runs // 5 :]))


def _run(*words: str, model: str, stats: str) -> tuple[subprocess.Popen, str]:
    command = [
        sys.executable,
        "multistream.py",
        *words,
        "--model",
        model,
        "--background",
        "green",
        "--no-window",
        "--stats",
        stats,
    ]
    environment = {**os.environ, "DISPLAY": ""}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL), stats


def _facts(run: tuple[subprocess.Popen, str]) -> dict:
    process, stats = run
    if process.wait():
        raise ValueError(f"multistream.py ended with {process.returncode}")
    return json.loads(Path(stats).read_text())


def _rate(run: tuple[subprocess.Popen, str]) -> float:
    return _facts(run)["frames_per_second"]
