"""python -m utils.composites data/composites --cutouts data/foregrounds --backgrounds data/backgrounds --count 200

Draw photos with exact soft alpha: one to three cut-out people before a background they were not photographed
at. The folder is a dataset (images, masks); eval.py reports MAD, MSE, Grad and Conn on it with --part all.
For training, `--match 0.8 --clutter 2 --cache DIR` gives people the light, grain and sharpness of the scene, puts
things before and behind them, and keeps the estimated foregrounds for the next time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from utils import cli, clips, clutter, matching, stock, synthetic
from utils.clips import Moment
from utils.files import need_room
from utils.foregrounds import Person
from utils.images import mask_to_uint8, write_image
from utils.stock import PLAIN, Extras

CROWD = (0.7, 0.2, 0.1)  # how often one, two and three people are shown


def draw(
    people: list[Person],
    background: np.ndarray,
    size: tuple[int, int],
    rng: np.random.Generator,
    extras: Extras = PLAIN,
) -> Moment:
    """A frame uint8 of (height, width) with all `people` before `background`, and its exact alpha.

    What is hidden behind a thing in front is not in the alpha. Extras draw from a generator of their own: people
    stand where they stand without them.
    """
    own = rng.spawn(1)[0]
    picture = clips.view(background, size, rng.uniform(-0.1, 0.1, 2))
    alpha = np.zeros(size, np.float32)
    for thing in clutter.scatter(extras.behind, size, False, own):
        clutter.lay(picture, alpha, thing)
    for person in people:
        zoom = rng.uniform(0.5, 2.0) * size[0] / person.alpha.shape[0]
        shift = rng.uniform((-0.35, 0.0), (0.35, 0.1)) * (size[1], size[0])
        foreground, added = clips.placed(person, size, zoom, shift)
        if extras.match:
            match = matching.measure(foreground, added, picture, extras.match * own.uniform(0.4, 1))
            foreground, added = matching.match_person(foreground, added, match, own)
            if len(people) == 1:  # blurred for one, the scene would blur the others with it
                picture = matching.match_scene(picture, match, own)
        synthetic.lay_over(picture, alpha, foreground, added)
    for thing in clutter.scatter(extras.front, size, True, own):
        if clutter.hides_little(alpha, thing):
            clutter.lay(picture, alpha, thing)
    grain = rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(0, 5))
    return Moment(np.clip(picture + grain, 0, 255).astype(np.uint8), alpha)


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("out", type=Path, help="folder for the photos and their alphas")
    stock.options(parser)
    parser.add_argument("--count", type=cli.positive, default=200, help="photos to draw")
    parser.add_argument("--size", type=cli.size, default=(480, 480), metavar="HxW", help="of the photos")
    args = parser.parse_args()
    found = stock.Stock(args)
    names = [f"{number:04}" for number in range(args.count)]
    need_room(args.out, [part for name in names for part in (f"images/{name}.jpg", f"masks/{name}.png")])

    def one(number: int) -> None:
        rng = np.random.default_rng((args.seed, number))
        people = found.people(1 + int(rng.choice(len(CROWD), p=CROWD)), rng)
        photo = draw(people, found.background(rng), args.size, rng, found.extras(rng))
        write_image(args.out / "images" / f"{names[number]}.jpg", photo.frame)
        write_image(args.out / "masks" / f"{names[number]}.png", mask_to_uint8(photo.alpha))

    cli.parallel(one, range(args.count), "composites")
    print(f"written: {args.count} photos to {args.out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
