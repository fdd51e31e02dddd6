"""python -m utils.gallery docs/gallery.jpg

Every background mode and every filter on the sample portrait, in one labelled picture.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from utils import blending, cli, harmonise, refine, segmenter
from utils.background import Background
from utils.images import read_image, resize, write_image
from utils.pipeline import Matting, Stages
from utils.sheets import grid, label, on_checkerboard
from utils.temporal import Temporal

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "data/samples"
SIZE = 320


def pictures(frame: np.ndarray, alpha: np.ndarray, wall: np.ndarray) -> dict[str, np.ndarray]:
    """Each by its name, uint8 RGB [H, W, 3]."""
    launch = Background(str(SAMPLES / "backgrounds/launch.jpg"))
    plain = blending.over(frame, alpha, wall)
    clean = blending.foreground_live(frame, alpha)

    def grey(values: np.ndarray) -> np.ndarray:
        return np.dstack([np.rint(values * 255).astype(np.uint8)] * 3)

    def on_wall(changed: np.ndarray) -> np.ndarray:
        return blending.over(clean, changed, wall)

    found = {
        "frame": frame,
        "alpha": grey(alpha),
        "alpha blend": plain,
        "edge colours cleaned": blending.over_live(frame, alpha, wall),
        "and light wrap 0.6": blending.over_live(frame, alpha, wall, 0.6),
        "light wrap alone": blending.light_wrap(plain, alpha, wall, 0.8),
        "smooth step": on_wall(refine.smooth_step(refine.feather(alpha, 5))),
        "feather 12": on_wall(refine.feather(alpha, 12)),
        "grow 8": on_wall(refine.grow(alpha, 8)),
        "shrink 8": on_wall(refine.grow(alpha, -8)),
        "certain regions": on_wall(refine.certain_regions(alpha)),
        "no islands, no holes": on_wall(refine.without_holes(refine.without_islands(alpha))),
        "one person": on_wall(refine.one_person(alpha)),
        "colour transfer": blending.over(blending.colour_transfer(clean, alpha, wall), alpha, wall),
        "seamless clone": blending.seamless_clone(clean, alpha, wall),
        "mode: background": launch.compose_live(frame, alpha, 0, 0.3),
        "mode: blur": Background("blur").compose_live(frame, alpha),
        "mode: blur:8": Background("blur:8").compose_live(frame, alpha),
        "mode: color": Background("green").compose_live(frame, alpha),
        "mode: transparent": on_checkerboard(Background("transparent").compose_live(frame, alpha)),
        "overlay": blending.tint(frame, alpha, (0, 200, 60)),
    }
    if harmonise.SHIPPED.is_file():
        found["harmonise"] = harmonise.Harmoniser()(blending.over_live(frame, alpha, wall), alpha)
    return found


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("out", nargs="?", default="docs/gallery.jpg", help="picture to write")
    args = parser.parse_args()
    frame = read_image(SAMPLES / "astronaut.jpg")
    wall = blending.fit_background(read_image(SAMPLES / "backgrounds/launch.jpg"), frame.shape[:2])
    network = segmenter.open(ROOT / "checkpoints/live_int8.tflite")
    alpha = Matting(network, Temporal("off"), Stages())(frame)
    tiles = []
    for name, picture in pictures(frame, alpha, wall).items():
        tile = cv2.copyMakeBorder(resize(picture, SIZE, SIZE), 2, 2, 2, 2, cv2.BORDER_CONSTANT)
        tiles.append(label(tile, name))
    write_image(args.out, grid(tiles, 5))
    print(f"written: {len(tiles)} pictures to {args.out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
