"""python benchmark.py checkpoints/live_int8.tflite checkpoints/photo_int8.tflite

Parameters, multiply-adds, file size, loading, memory and latency of model files of any kind, or of architectures by name
(built with random weights: speed does not depend on them). A name may be followed by a size and options:
pp_humanseg_v2_lite:144x256:form=portrait. `python -m utils.compare_models` makes a table and a picture of what --json
writes.

Loading and memory are measured in a new process for each network. Latency: all networks take turns, run by run,
so that a busy moment slows all of them alike; ratios are to the first peer, else to the first network. --peer adds
the networks of the package mediapipe, or any published .tflite. --runtimes litert,onnx,openvino,saved_model,keras
(or all) runs a checkpoint or a name, exported in float32, on each of them; an exported file runs on its own one.

--ops shows the time by type of operator instead, as a table and a picture; --feed DATASET times reading it, and training
steps on it and on one cached batch. `benchmark.py live` times the whole live loop against a plain one, `benchmark.py multi`
many sources at once (`multi FILE` with another network), `benchmark.py gpucom` seven toy networks: packed
masks, channels and reshapes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from utils import cli


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "models", nargs="*", help="model files or architecture names; default: every architecture"
    )
    parser.add_argument("--runtimes", metavar="NAMES", help="run checkpoints and names on these; see above")
    parser.add_argument(
        "--threads", type=cli.several(cli.threads), default=[1, 2], metavar="1,2", help="thread counts"
    )
    parser.add_argument(
        "--size",
        type=cli.frame,
        default=(720, 1280),
        metavar="WxH",
        help="of the camera's frame that is timed from end to end",
    )
    parser.add_argument("--runs", type=cli.positive, default=300, help="timed runs of each network")
    parser.add_argument("--warm-up", type=cli.positive, default=50, help="runs before them")
    parser.add_argument("--seconds", type=cli.above_zero, default=60, help="at most this long a measure")
    parser.add_argument(
        "--peer", metavar="FILE", help="mediapipe for that package's networks, or a published .tflite"
    )
    parser.add_argument(
        "--ops",
        type=cli.file(".png", ".svg", ".pdf"),
        nargs="?",
        const="operators.png",
        metavar="PICTURE",
        help="time by type of operator instead, drawn to PICTURE, else operators.png",
    )
    parser.add_argument(
        "--feed",
        metavar="DATASET",
        help="time reading it, and training steps on it and on a cached batch, instead",
    )
    parser.add_argument(
        "--backgrounds", metavar="DIR", help="with --feed: composite on these, as train.py does"
    )
    parser.add_argument(
        "--json",
        type=cli.file(".json"),
        nargs="?",
        const="benchmark.json",
        metavar="FILE",
        help="also write the figures, to FILE, else benchmark.json",
    )
    return parser.parse_args()


def main() -> int:
    args = arguments()
    from utils.files import write_json

    with tempfile.TemporaryDirectory() as folder:
        found = measured(args, Path(folder))
    if args.json:
        write_json(args.json, found)
        print(f"written: {args.json}")
    return 0


def measured(args: argparse.Namespace, folder: Path) -> Any:
    """Print what was asked for and return its figures."""
    from utils.benchmarks import contenders

    what = "feed" if args.feed else (args.models or [""])[0]
    if what == "feed":
        from utils.benchmarks import training_feed

        return training_feed.report((args.models or ["mobilenetv2_fpn"])[0], args.feed, args.backgrounds)
    if what == "multi":
        from utils import live
        from utils.benchmarks import multi_loop

        return multi_loop.report(str(Path((args.models[1:] or [live.SHIPPED])[0]).resolve()), args.runs)
    if what == "gpucom":
        from utils.benchmarks import gpucom

        return gpucom.report(args.threads, settings(args))
    peers = contenders.peers(args.peer, folder)
    if what == "live":
        from utils import live
        from utils.benchmarks import live_loop

        return live_loop.report(peers[0].path if peers else None, live.SHIPPED, args.runs)
    import models

    runtimes = contenders.runtimes(args.runtimes) if args.runtimes else []
    if args.ops:
        from utils.benchmarks import operators

        opened = contenders.open_all(args.models or models.names(), ["litert"], folder)
        return operators.report([*opened, *peers], args.threads, Path(args.ops))
    from utils.benchmarks import networks

    opened = contenders.open_all(args.models or models.names(), runtimes, folder)
    return networks.report([*opened, *peers], args.threads, settings(args))


def settings(args: argparse.Namespace) -> Any:
    from utils.benchmarks.turns import Settings

    return Settings(args.runs, args.warm_up, args.seconds, args.size)


if __name__ == "__main__":
    cli.run(main)
