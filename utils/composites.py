"""python -m utils.composites data/composites --cutouts data/foregrounds --backgrounds data/backgrounds --count 200

Draw photos with exact soft alpha: one to three cut-out people before a background they were not photographed
at. The folder is a dataset (images, masks); eval.py reports MAD, MSE, Grad and Conn on it with --part all.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from utils import cli, clips
from utils.clips import Moment, Person
from utils.images import list_images, read_image, read_rgba, to_uint8, write_image

CROWD = (0.7, 0.2, 0.1)  # how often one, two and three people are shown


def draw(
    people: list[Person], background: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> Moment:
    """A frame uint8 of (height, width) with all `people` before `background`, and its exact alpha."""
    picture = clips.view(background, size, rng.uniform(-0.1, 0.1, 2))
    alpha = np.zeros(size, np.float32)
    for person in people:
        zoom = rng.uniform(0.5, 2.0) * size[0] / person.alpha.shape[0]
        shift = rng.uniform((-0.35, 0.0), (0.35, 0.1)) * (size[1], size[0])
        foreground, added = clips.placed(person, size, zoom, shift)
        picture = foreground * added[..., None] + picture * (1 - added[..., None])
        alpha = added + alpha * (1 - added)
    grain = rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(0, 5))
    return Moment(np.clip(picture + grain, 0, 255).astype(np.uint8), alpha)


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("out", type=Path, help="folder for the photos and their alphas")
    parser.add_argument("--cutouts", required=True, metavar="DIR", help="RGBA pictures of people")
    parser.add_argument("--backgrounds", required=True, metavar="DIR", help="pictures without people")
    parser.add_argument("--count", type=cli.positive, default=200, help="photos to draw")
    parser.add_argument("--size", type=cli.size, default=(480, 480), metavar="HxW", help="of the photos")
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    args = parser.parse_args()
    cutouts, walls = list_images(args.cutouts), list_images(args.backgrounds)
    if not cutouts or not walls:
        raise ValueError("--cutouts and --backgrounds must hold pictures")
    for number in cli.progress(range(args.count), "composites"):
        rng = np.random.default_rng((args.seed, number))
        chosen = rng.choice(cutouts, 1 + int(rng.choice(len(CROWD), p=CROWD)))
        background = read_image(rng.choice(walls))
        photo = draw([clips.cut_out(read_rgba(path)) for path in chosen], background, args.size, rng)
        write_image(args.out / "images" / f"{number:04}.jpg", photo.frame)
        write_image(args.out / "masks" / f"{number:04}.png", to_uint8(photo.alpha))
    print(f"written: {args.count} photos to {args.out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
