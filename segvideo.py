"""python segvideo.py data/samples/backgrounds

Stage 7: filters that make the person belong to the new background, tried by hand.

Hold a key in the window: c colour transfer, s seamless clone, m smooth step, h harmonise. The slider BGD chooses among
the BACKGROUNDS. q quits, S takes a snapshot, ? lists all keys. Without a window, or for files:
--filter colour,smooth keeps those filters on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from utils import cli, live

FILTERS = {"c": "colour", "s": "seamless", "m": "smooth", "h": "harmonise"}
SAMPLES = Path(__file__).parent / "data/samples/backgrounds"


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "backgrounds",
        nargs="*",
        metavar="BACKGROUND",
        help="pictures, folders, videos or colours; default: samples",
    )
    parser.add_argument(
        "--filter", default="", metavar="NAMES", help=f"always on: {','.join(FILTERS.values())}"
    )
    parser.add_argument(
        "--fit", default="cover", choices=("cover", "contain", "tile"), help="of a background"
    )
    parser.add_argument(
        "--harmoniser", metavar="ONNX", help="another network for h; default: the one that ships"
    )
    live.add_arguments(parser)
    live.add_network(parser)
    args = parser.parse_args()
    args.filter = {name.strip() for name in args.filter.split(",") if name.strip()}
    if args.filter - set(FILTERS.values()):
        parser.error(f"--filter takes {','.join(FILTERS.values())}")
    return args


def main() -> int:
    args = arguments()
    from utils import harmonise
    from utils.background import Background

    args.backgrounds = find(args.backgrounds)
    backgrounds = [Background(spec, args.fit) for spec in args.backgrounds]
    harmoniser = harmonise.Harmoniser(args.harmoniser, harmonise.STEADY)
    keys = {"b": ("next background", lambda: backgrounds.append(backgrounds.pop(0)))}
    with live.Loop(
        args, "segvideo", keys=keys | {key: (f"hold: {name}", pass_by) for key, name in FILTERS.items()}
    ) as loop:
        fixed = list(backgrounds)
        if loop.viewer is not None:
            loop.viewer.slider(
                "BGD", len(fixed), lambda at: move_to(backgrounds, fixed[min(at, len(fixed) - 1)])
            )
        for frame, alpha in loop.matted(live.open_matting(args, loop.stages)):
            held = {
                name for key, name in FILTERS.items() if loop.viewer is not None and loop.viewer.held(key)
            }
            with loop.stages("composite"):
                scene = backgrounds[0](frame.image, alpha, frame.time)
                picture = compose(frame.image, alpha, scene, args.filter | held, harmoniser, args.fast)
            loop.put(frame, picture, alpha)
    return 0


def compose(frame, alpha, scene, filters: set[str], harmoniser, fast: bool = False):
    """The composite with these filters on; `fast` blends the frame as it is, with the old scene's light at its edges."""
    from utils import blending, refine

    if "smooth" in filters:
        alpha = refine.smooth_step(refine.feather(alpha, 5))
    foreground = frame if fast else blending.foreground_live(frame, alpha)
    if "colour" in filters:
        foreground = blending.colour_transfer(foreground, alpha, scene)
    if "seamless" in filters:
        picture = blending.seamless_clone(foreground, alpha, scene)
    else:
        picture = blending.over(foreground, alpha, scene)
    if "harmonise" not in filters:
        harmoniser.reset()
        return picture
    return harmoniser(picture, blending.dropped(alpha) if "seamless" in filters else alpha)


def find(specs: list[str]) -> list[str]:
    """Backgrounds by name, each picture of a folder as one of its own."""
    from utils.images import list_images

    found: list[str] = []
    for spec in specs or [str(SAMPLES)]:
        found += [str(path) for path in list_images(spec)] if Path(spec).is_dir() else [spec]
    if "transparent" in found:
        raise ValueError("segvideo.py blends into backgrounds: for none at all run webcam.py --transparent")
    if not found:
        raise ValueError(f"{', '.join(specs)}: no pictures there")
    return found


def move_to(backgrounds: list, chosen) -> None:
    """Rotate the list until the chosen one is first."""
    while backgrounds[0] is not chosen:
        backgrounds.append(backgrounds.pop(0))


def pass_by() -> None:
    """Held keys are looked at in each frame; their press alone does nothing."""


if __name__ == "__main__":
    cli.run(main)
