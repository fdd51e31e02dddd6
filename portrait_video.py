"""python portrait_video.py clip.mp4 --background data/samples/backgrounds/launch.jpg --out result.mp4

Stage 9: a video (or camera, or stream) with another background, steadied from frame to frame; a --model with a fourth
channel is given its last alpha, which is forgotten at cuts and when nobody is there.

Sound and times stay as they are. SPEC of --background: a colour, a picture, a folder, a video with its own clock, blur,
blur:N or transparent (then --out is a .webm, a .mov or a folder of PNGs). What PP-HumanSeg's demonstration offers is
here: --post-process, --optic-flow, background videos, and upright pictures, which are noticed by themselves.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from utils import cli, live


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("source", metavar="IN", help="video, folder of pictures, camera or address")
    parser.add_argument("--background", default="white", metavar="SPEC", help="what goes behind")
    parser.add_argument(
        "--fit", default="cover", choices=("cover", "contain", "tile"), help="of a background"
    )
    parser.add_argument(
        "--wrap", type=cli.share, default=0.3, metavar="0..1", help="light of the background on the edge"
    )
    parser.add_argument(
        "--vertical-screen", action="store_true", help="use the network's tall shape, whatever the video's"
    )
    parser.add_argument("--post-process", action="store_true", help="keep alpha only around what is certain")
    parser.add_argument("--optic-flow", action="store_true", help="the same as --temporal flow")
    live.add_arguments(parser, source=False)
    live.add_network(parser)
    args = parser.parse_args()
    if args.optic_flow:
        args.temporal = "flow"
    if not args.out and not live.has_display():
        ending = ".webm" if args.background == "transparent" else ".mp4"
        args.out = [str(Path("results") / f"{Path(args.source).stem}_portrait{ending}")]
    return args


def main() -> int:
    args = arguments()
    from utils.background import Background

    background = Background(args.background, args.fit)
    with live.Loop(
        args, "portrait_video", background.transparent, {"b": ("next background", background.next)}
    ) as loop:
        for frame, alpha in loop.matted(live.open_matting(args, loop.stages, args.post_process)):
            with loop.stages("composite"):
                picture = background.compose_live(frame.image, alpha, frame.time, args.wrap, not args.fast)
            loop.put(frame, picture, alpha)
    return 0


if __name__ == "__main__":
    cli.run(main)
