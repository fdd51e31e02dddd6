"""python webcam.py data/samples/backgrounds/launch.jpg

Stage 5: a camera, a video or a stream with another background, live.

BACKGROUND is a picture, a folder of pictures to step through, a video with its own clock, or a colour; without it the
scene itself is blurred. Keys in the window: q quit, b next background, m next mode, s snapshot, r record, t steadying,
d debug bundle, f times, ? all of them. Drag for before | after; with --one-person click on whom to keep.
"""

from __future__ import annotations

import argparse

from utils import cli, live


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("background", nargs="?", help="picture, folder, video or colour; default: blur")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--blur",
        type=float,
        metavar="N",
        help="blur the scene, N percent of the longer side (above 0, to 20)",
    )
    mode.add_argument("--color", metavar="COLOUR", help="a colour behind: green, #00ff00 or 0,255,0")
    mode.add_argument("--transparent", action="store_true", help="nothing behind: pictures with alpha")
    parser.add_argument(
        "--fit", default="cover", choices=("cover", "contain", "tile"), help="of a background"
    )
    parser.add_argument(
        "--wrap", type=cli.share, default=0.3, metavar="0..1", help="light of the background on the edge"
    )
    live.add_arguments(parser)
    live.add_network(parser)
    return parser.parse_args()


def main() -> int:
    args = arguments()
    from utils.background import Background

    modes = choices(args, Background)
    keys = {
        "b": ("next background", lambda: modes[0].next()),
        "m": ("next mode", lambda: modes.append(modes.pop(0))),
    }
    with live.Loop(args, "webcam", modes[0].transparent, keys) as loop:
        for frame, alpha in loop.matted(live.open_matting(args, loop.stages)):
            with loop.stages("composite"):
                picture = modes[0].compose_live(frame.image, alpha, frame.time, args.wrap, not args.fast)
            loop.put(frame, picture, alpha)
    return 0


def choices(args: argparse.Namespace, make) -> list:
    """The backgrounds that `m` steps through, the one asked for first."""
    blur = f"blur:{args.blur}" if args.blur is not None else "blur"
    asked = (
        "transparent"
        if args.transparent
        else args.color or (blur if args.blur is not None else args.background)
    )
    specs = [asked or blur, args.background, blur, args.color or "green", "transparent"]
    return [make(spec, args.fit) for spec in dict.fromkeys(filter(None, specs))]


if __name__ == "__main__":
    cli.run(main)
