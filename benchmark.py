"""python benchmark.py checkpoints/photo_int8.tflite checkpoints/live_int8.tflite

Parameters, file size and latency of model files of any kind, or of architectures by name (built with
random weights: speed does not depend on them), on this machine and on each number of threads. A name may be followed
by a size and options: pp_humanseg_v2_lite:144x256:form=portrait. `python -m utils.compare_models` makes a table and
a picture of what --json writes.

All networks take turns, run by run, so that a busy moment slows all of them alike; the ratio is to
MediaPipe's selfie segmenter, measured in the same turns where the package mediapipe is installed or
--peer names its .tflite. Only the network is timed: no decoding, no resizing. --feed DATASET times training steps instead, on
real data and on one cached batch. `benchmark.py live` times the whole live loop instead, against a plain one; `benchmark.py multi` many sources at once
(`multi FILE` with another network).
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils import cli

PEER = "modules/selfie_segmentation/selfie_segmentation.tflite"


@dataclass
class Contender:
    """One network to time, and what is known of it."""

    name: str
    path: Path
    size: str = ""
    parameters: int | None = None
    architecture: dict[str, Any] | None = None
    iou: float | None = None
    boundary_iou: float | None = None
    peer: bool = False


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "models", nargs="*", help="model files or architecture names; default: every architecture"
    )
    parser.add_argument(
        "--threads", type=cli.threads, nargs="+", default=[1, 2], help="thread counts to measure"
    )
    parser.add_argument("--runs", type=cli.positive, default=300, help="timed runs of each network")
    parser.add_argument("--warm-up", type=cli.positive, default=50, help="runs before them")
    parser.add_argument("--seconds", type=cli.above_zero, default=60, help="at most this long a thread count")
    parser.add_argument("--peer", metavar="FILE", help="MediaPipe's selfie_segmentation.tflite")
    parser.add_argument(
        "--feed", metavar="DATASET", help="time training steps on it and on a cached batch instead"
    )
    parser.add_argument(
        "--backgrounds", metavar="DIR", help="with --feed: composite on these, as train.py does"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the figures here")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    from utils.files import write_json

    if args.feed:
        return report_feed(args)
    from utils import peers

    peer = find_peer(args.peer)
    if args.models == ["live"]:
        return report_live(args, peer)
    if args.models[:1] == ["multi"]:
        return report_multi(args)
    with tempfile.TemporaryDirectory() as folder:
        contenders = [open_contender(model, Path(folder)) for model in args.models or architectures()]
        if peer:
            contenders.append(Contender(f"{peer.stem} (peer)", peers.prepare(peer, Path(folder)), peer=True))
        else:
            print("note: no ratios: mediapipe is not installed and --peer names no file")
        times = {threads: measure(contenders, threads, args) for threads in args.threads}
        rows = [describe(contender, i, times, bool(peer)) for i, contender in enumerate(contenders)]
    print_table(rows, args.threads)
    if args.json:
        write_json(args.json, rows)
        print(f"written: {args.json}")
    return 0


def report_live(args: argparse.Namespace, peer: Path | None) -> int:
    """webcam.py's loop on a video, against the loop one would write first."""
    from utils import live, live_benchmark, peers
    from utils.files import write_json

    with tempfile.TemporaryDirectory() as folder:
        found = live_benchmark.report(peer and peers.prepare(peer, Path(folder)), live.SHIPPED, args.runs)
    if args.json:
        write_json(args.json, found)
        print(f"written: {args.json}")
    return 0


def report_multi(args: argparse.Namespace) -> int:
    """multistream.py with more and more sources, in one batch, one by one, and as separate processes."""
    from utils import live, multi_benchmark
    from utils.files import write_json

    found = multi_benchmark.report(str(Path((args.models[1:] or [live.SHIPPED])[0]).resolve()), args.runs)
    if args.json:
        write_json(args.json, found)
        print(f"written: {args.json}")
    return 0


def report_feed(args: argparse.Namespace) -> int:
    """What reading and augmenting real photos adds to a training step."""
    from utils import backend

    backend.choose()
    import models
    from utils import dataset, training
    from utils.feed import Batches, Mix
    from utils.images import list_images
    from utils.schedules import Timetable

    name = (args.models or ["mobilenetv2_fpn"])[0]
    network = models.create(name)
    backgrounds = list_images(args.backgrounds) if args.backgrounds else []
    pairs = dataset.open_dataset(args.feed)[0]
    batches = Batches(pairs, network.input_shape[1:3], 16, mix=Mix(backgrounds=backgrounds))
    rounds = training.step_times(training.Trainer(network, Timetable(1e-4)), batches)
    ratios = sorted(real / cached for cached, real in rounds)
    for cached, real in rounds:
        print(f"{name}: cached batch {1000 * cached:.0f} ms a step, real data {1000 * real:.0f} ms")
    print(f"ratio {ratios[len(ratios) // 2]:.2f} (median of {len(ratios)} rounds)")
    return 0


def architectures() -> list[str]:
    import models

    return models.names()


def find_peer(path: str | None) -> Path | None:
    """MediaPipe's file, from the option or the installed package (which is not imported)."""
    if path:
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such file")
        return Path(path)
    package = importlib.util.find_spec("mediapipe")
    found = Path(package.origin).parent / PEER if package and package.origin else None
    return found if found and found.is_file() else None


def open_contender(model: str, folder: Path) -> Contender:
    """A file as it is; a name is built, folded and exported first. Raises ValueError."""
    import models

    path = Path(model)
    if path.suffix:
        return open_file(path)
    name, *details = model.split(":")
    if name not in models.names():
        raise ValueError(f"{model}: give a model file or one of {', '.join(models.names())}")
    from utils import backend, exporting, fold, recipe
    from utils.formats import Job

    backend.choose()
    sizes = [cli.size(text) for text in details if "=" not in text]
    options = recipe.options(argparse.Namespace(option=[text for text in details if "=" in text]))
    architecture = models.describe(name, sizes[0] if sizes else None, **options)
    network = models.create(name, tuple(architecture["input_size"]), **options)
    target = folder / f"{model.replace('/', '_')}.tflite"
    print(f"building {model}", flush=True)
    with exporting.saved_model(fold.fold(network, "own")) as saved:
        exporting.convert("tflite", Job(saved, lambda: iter(())), target)
    models.cards.attach(target, {"name": name})
    return Contender(model, target, parameters=network.count_params(), architecture=architecture)


def open_file(path: Path) -> Contender:
    """A model file, with what its card knows."""
    import models

    card = models.cards.read(path)
    metrics = card.get("metrics", {})
    found = Contender(path.name, path, parameters=card.get("parameters"), peer=bool(card.get("peer")))
    found.iou, found.boundary_iou = metrics.get("iou"), metrics.get("boundary_iou")
    found.architecture = card.get("architecture")
    return found


def measure(contenders: list[Contender], threads: int, args: argparse.Namespace) -> list[list[float]]:
    """Milliseconds of each run of each network, taken in turns."""
    import numpy as np

    from utils import segmenter

    networks = [segmenter.open(contender.path, threads) for contender in contenders]
    for contender, network in zip(contenders, networks, strict=True):
        contender.size = "x".join(map(str, network.size))
    noise = [np.random.default_rng(0).random((1, *n.size, n.channels), np.float32) * 255 for n in networks]
    times: list[list[float]] = [[] for _ in contenders]
    began = time.perf_counter()
    for turn in cli.progress(range(args.warm_up + args.runs), f"{threads} threads", unit="turn"):
        for network, pixels, record in zip(networks, noise, times, strict=True):
            start = time.perf_counter()
            network.infer(pixels)
            record.append(1000 * (time.perf_counter() - start))
        if time.perf_counter() - began > args.seconds and turn > 10:
            break
    warm = min(args.warm_up, len(times[0]) // 4)
    return [record[warm:] for record in times]


def describe(contender: Contender, index: int, times: dict[int, list[list[float]]], peer: bool) -> dict:
    """One network's row: medians, 95th percentiles and ratios to the last contender, the peer."""
    import numpy as np

    row = {
        "name": contender.name,
        "size": contender.size,
        "parameters": contender.parameters,
        "megabytes": contender.path.stat().st_size / 1e6,
        "architecture": contender.architecture,
        "iou": contender.iou,
        "boundary_iou": contender.boundary_iou,
        "peer": contender.peer,
    }
    for threads, records in times.items():
        row[f"p50_ms_{threads}"] = float(np.median(records[index]))
        row[f"p95_ms_{threads}"] = float(np.percentile(records[index], 95))
        row[f"runs_{threads}"] = len(records[index])
        row[f"ratio_{threads}"] = row[f"p50_ms_{threads}"] / float(np.median(records[-1])) if peer else None
    return row


def print_table(rows: list[dict], threads: list[int]) -> None:
    head = f"{'network':<32}{'input':>10}{'parameters':>12}{'MB':>8}{'IoU':>7}"
    print(head + "".join(f"{f'{n} thread p50/p95 ms':>26}{'ratio':>8}" for n in threads))
    for row in rows:
        parameters = f"{row['parameters']:,}" if row["parameters"] else "-"
        iou = f"{row['iou']:.3f}" if row["iou"] else "-"
        line = f"{row['name']:<32}{row['size']:>10}{parameters:>12}{row['megabytes']:>8.2f}{iou:>7}"
        for n in threads:
            ratio = f"{row[f'ratio_{n}']:.2f}" if row[f"ratio_{n}"] else "-"
            line += f"{row[f'p50_ms_{n}']:>17.2f} / {row[f'p95_ms_{n}']:>6.2f}{ratio:>8}"
        print(line)


if __name__ == "__main__":
    cli.run(main)
