"""python multistream.py 0 rtsp://door/stream clip.mp4 --background office.jpg

Many cameras, streams and files at once: the newest frame of each goes through the network in one batch, and the results
are tiled in one picture (--out, --serve, the window), or written or pushed one by one (--per-stream-out).

Each source has a clock of its own: a camera or stream gives its newest frame, a file plays at its own speed. The tiled picture
has a common clock (--rate) and shows the newest picture of each source. Files that are only written again one by one lose no frame
and run as fast as they can. A source that stalls or dies has its tile marked and is tried again while the others go on.
Keys in the window: q quit, m masks, composite or both, b next background, s snapshot, f frame rates and latencies, ? all of them.
"""

from __future__ import annotations

import argparse

from utils import cli, live, temporal

SHOWS = ("composite", "masks", "both")


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="camera index or device, video, folder, rtsp, rtmp or http address, or gst:PIPELINE",
    )
    parser.add_argument(
        "--background", default="blur", metavar="SPEC", help="picture, folder, video, colour or blur[:N]"
    )
    parser.add_argument(
        "--fit", default="cover", choices=("cover", "contain", "tile"), help="of a background"
    )
    parser.add_argument("--show", default="composite", choices=SHOWS, help="what the pictures show")
    several = parser.add_argument_group("many sources").add_argument
    several("--tile", type=grid, metavar="COLSxROWS", help="cells of the tiled picture")
    several("--cell", type=cli.size, default=(360, 640), metavar="HxW", help="size of a cell")
    several("--rate", type=cli.above_zero, default=25.0, metavar="FPS", help="of the tiled picture")
    several(
        "--per-stream-out",
        action="append",
        default=[],
        metavar="PATTERN",
        help="an output for each source: out_{name}.mp4 or rtmp://host/live/{n}; repeatable",
    )
    several(
        "--max-wait",
        type=cli.from_zero,
        default=10.0,
        metavar="MS",
        help="that a frame waits for those of others",
    )
    several("--batch", type=cli.positive, metavar="N", help="frames in a batch at most; default: all sources")
    several(
        "--sound", type=cli.positive, metavar="N", help="the tiled picture has the sound of the Nth source"
    )
    several("--serve", metavar="rtsp://HOST:PORT/NAME", help="be an RTSP server for the tiled picture")
    several(
        "--metrics", metavar="[HOST:]PORT", help="figures for Prometheus, on 127.0.0.1 unless HOST is given"
    )
    live.add_arguments(parser, source=False)
    live.add_network(parser, ways=temporal.CAUSAL)
    parser.set_defaults(reconnect=float("inf"))
    args = parser.parse_args()
    if args.sound and args.sound > len(args.sources):
        parser.error(f"--sound {args.sound}: there are {len(args.sources)} sources")
    return args


def grid(text: str) -> tuple[int, int]:
    """argparse type: "3x2" -> (columns, rows)."""
    try:
        columns, rows = cli.size(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a grid: write COLSxROWS, for instance 3x2"
        ) from None
    return columns, rows


def main() -> int:
    args = arguments()
    from utils.multi_loop import Loop

    with Loop(args) as loop:
        loop.run()
    return 0


if __name__ == "__main__":
    cli.run(main)
