"""python tflite_webcam.py --color green

Stage 6: the LiteRT interpreter alone (no TensorFlow): a camera, video or stream with the mask laid over it in a colour,
frame rate and time of each stage. --profile prints the network's time by type of operator and ends.
Keys in the window: q quit, s snapshot, r record, t steadying, d debug bundle, f times on and off, ? all of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from utils import cli, live


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--color", default="green", metavar="COLOUR", help="of the overlay: a name, #rrggbb or r,g,b"
    )
    parser.add_argument("--strength", type=cli.share, default=0.5, metavar="0..1", help="of the overlay")
    parser.add_argument("--profile", action="store_true", help="print time by type of operator, then end")
    live.add_arguments(parser)
    live.add_network(parser)
    args = parser.parse_args()
    if Path(args.model).suffix != ".tflite" or args.runtime not in ("file", "litert"):
        parser.error(f"--model {args.model}: this script runs .tflite files; webcam.py runs all")
    if not 0 <= args.strength <= 1:
        parser.error(f"--strength {args.strength}: give 0..1")
    return args


def main() -> int:
    args = arguments()
    from utils import blending
    from utils.background import parse_colour

    if args.profile:
        from utils import profile

        print(profile.table(profile.by_operator(args.model, args.threads)))
        return 0
    colour = parse_colour(args.color)
    with live.Loop(args, "tflite_webcam") as loop:
        if loop.viewer is not None:
            loop.viewer.lines = loop.lines()
        for frame, alpha in loop.matted(live.open_matting(args, loop.stages)):
            with loop.stages("overlay"):
                picture = blending.tint(frame.image, alpha, colour, args.strength)
            loop.put(frame, picture, alpha)
    return 0


if __name__ == "__main__":
    cli.run(main)
