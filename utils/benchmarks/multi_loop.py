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
from utils.benchmarks.live_loop import SAMPLES, draw
from utils.sources import VideoFile

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
            rounds.append({count: one_round(film, count, model, frames, folder) for count in COUNTS})
        latency = {count: p95(slow, count, model, folder) for count in COUNTS}
        more = [one_more(film, model, frames, folder, *words) for words in ((), ("--fast",))]
        costs = [*more, network_alone(film, model)]
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
    table["one_more_cpu_ms"], table["one_more_fast_cpu_ms"], table["network_cpu_ms"] = costs
    more, fast, alone = costs
    print(
        f"one source more: {more:.1f} ms of a core a frame, {more / alone:.1f} times the network's {alone:.1f} ms; "
        f"with --fast {fast:.1f} ms, {fast / alone:.1f} times"
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


def one_more(film: Path, model: str, frames: int, folder: str, *words: str) -> float:
    """Milliseconds of processor time that a frame of one more source takes, reading included; a busy machine changes it little."""
    spent = []
    for count in (1, 4):
        process, _ = _run(*[str(film)] * count, *words, model=model, stats=f"{folder}/c.json")
        usage = os.wait4(process.pid, 0)[2]
        spent.append(usage.ru_utime + usage.ru_stime)
    return 1000 * (spent[1] - spent[0]) / (3 * frames)


def network_alone(film: Path, model: str) -> float:
    """Milliseconds of processor time that the network takes for a frame, with its resizing."""
    network = segmenter.open(model, 1)
    frames = [frame.image for frame in VideoFile(film)][:60]
    network.looks(frames[:5], [None] * 5)
    start = time.thread_time()
    for frame in frames:
        network.coarse(frame)
    return 1000 * (time.thread_time() - start) / len(frames)


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
