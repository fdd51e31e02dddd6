"""python bgsub.py --background data/samples/backgrounds/launch.jpg

Stage 8: no network: the empty scene is learnt first, then whoever comes in stands before a new background.

The camera must stand still. Step out of the picture when asked to; after --warmup frames come back in. With
--plate PICTURE the empty scene is given, and nobody has to step out.
"""

from __future__ import annotations

import argparse
import time

from utils import cli, live

KINDS = ("mean", "mog2", "knn")
LEAVE = 5.0  # seconds to step out of a camera's picture before it is learnt


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--background", default="black", metavar="SPEC", help="colour, picture, folder, video or blur"
    )
    parser.add_argument(
        "--fit", default="cover", choices=("cover", "contain", "tile"), help="of a background"
    )
    parser.add_argument("--scene", default="mean", choices=KINDS, help="how the empty scene is modelled")
    parser.add_argument("--warmup", type=cli.positive, default=100, help="frames of the empty scene to learn")
    parser.add_argument("--plate", metavar="PICTURE", help="the empty scene as a picture")
    live.add_arguments(parser)
    return parser.parse_args()


def main() -> int:
    args = arguments()
    from utils import subtraction
    from utils.background import Background
    from utils.images import read_image

    background = Background(args.background, args.fit)
    scene = subtraction.open_scene(args.scene)
    left = args.warmup
    if args.plate:
        plate = read_image(args.plate)
        left = 0
    with live.Loop(
        args, "bgsub", background.transparent, {"b": ("next background", background.next)}
    ) as loop:
        leave = time.monotonic() + (LEAVE if left and loop.source.live else 0)
        for frame in loop.frames():
            if args.plate and not loop.shown:
                # (KNN wants to see a pixel several times before it believes it.)
                for _ in range(args.warmup if args.scene == "knn" else 1):
                    scene.learn(match(plate, frame.image))
            if left:
                waiting = leave - time.monotonic()
                if waiting <= 0:
                    scene.learn(frame.image)
                    left -= 1
                loop.skipped += 1
                tell(loop, frame, left, waiting)
                continue
            with loop.stages("subtract"):
                alpha = scene(frame.image)
            with loop.stages("composite"):
                picture = background.compose_live(frame.image, alpha, frame.time)
            loop.put(frame, picture, alpha)
        if not loop.shown and not loop.closed:
            raise ValueError(
                f"{loop.source.name}: ended {left} frames before the empty scene was learnt: lower --warmup"
                if left
                else f"{loop.source.name}: ended as soon as the empty scene was learnt: lower --warmup"
            )
    return 0


def match(plate, frame):
    """The plate at the frame's size. Raises ValueError where its shape is another."""
    from utils.images import resize

    ratios = plate.shape[0] / frame.shape[0], plate.shape[1] / frame.shape[1]
    if abs(ratios[0] / ratios[1] - 1) > 0.02:
        sizes = "{1}x{0} and {3}x{2}".format(*plate.shape[:2], *frame.shape[:2])
        raise ValueError(
            f"--plate and the frames differ in shape ({sizes}): take the plate with the same camera"
        )
    return resize(plate, *frame.shape[:2])


def tell(loop: live.Loop, frame, left: int, waiting: float) -> None:
    """Count down in the window, or on the terminal."""
    line = f"step out of the picture: {waiting:.0f} s" if waiting > 0 else f"learning the empty scene: {left}"
    line = line if left else "ready: come back in"
    if loop.viewer is not None:
        loop.viewer.lines = [line] if left else []
        loop.viewer.show(frame.image)
    elif loop.skipped % 25 == 1 or not left:
        print(line, flush=True)


if __name__ == "__main__":
    cli.run(main)
