"""python -m utils.clips data/clips --cutouts data/foregrounds --backgrounds data/backgrounds --count 8

Draw clips with exact alpha: a cut-out person moves before a moving background, enters, leaves, is
lit differently, and in the middle the scene is cut. Each clip is a folder: images/0000.jpg,
masks/0000.png and clip.json, which eval.py measures for steadiness. `--crowd 2 --clutter 2 --match 0.8` adds more
people, things behind and before them, and the scene's light, grain and sharpness.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from utils import augment, cli, clutter, matching, stock, synthetic
from utils.files import need_room, write_json
from utils.foregrounds import Person, cut_out
from utils.images import list_images, mask_to_uint8, read_image, read_mask, write_image
from utils.stock import PLAIN, Extras

__all__ = [
    "Moment",
    "Person",
    "clip",
    "cut_out",
    "list_clips",
    "placed",
    "read_clip",
    "scene",
    "view",
    "write_clip",
]

EVENTS = ("enter", "leave", "stay")


class Moment(NamedTuple):
    """One frame uint8 [H, W, 3] and its exact alpha [H, W]."""

    frame: np.ndarray
    alpha: np.ndarray


class Walker(NamedTuple):
    """A person with a way through a scene: places [length, 2] in pixels, a zoom, and the side of entry or exit."""

    person: Person
    event: str
    place: np.ndarray
    zoom: float
    side: int

    def at(self, done: float, number: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Colours and alpha on the canvas when `done` (0..1) of the scene is over, in frame `number`."""
        away = {"enter": 1 - 2 * done, "leave": 2 * done - 1}.get(self.event, 0)
        shift = self.place[number] + np.array([self.side * max(away, 0) * 1.3 * size[1], 0])
        return placed(self.person, size, self.zoom, shift)


def clip(
    people: list[Person],
    backgrounds: list[np.ndarray],
    size: tuple[int, int],
    length: int,
    rng: np.random.Generator,
    extras: Extras = PLAIN,
    crowd: int = 0,
) -> tuple[list[Moment], dict]:
    """A clip of `length` frames of (height, width) with one cut, and what happens in it.

    The facts: `cut`, the first frame of the second scene, and the `events` of both scenes. With `crowd` up to that
    many others of `people` come, stay or go behind the first; then `others` are their events in both scenes.
    """
    own = rng.spawn(1)[0]
    cut = int(rng.integers(length // 3, 2 * length // 3))
    events = [str(event) for event in rng.choice(EVENTS, 2)]
    facts = {"frames": length, "cut": cut, "events": events}
    moments: list[Moment] = []
    others = [[str(event) for event in own.choice(EVENTS, own.integers(crowd + 1))] for _ in range(2)]
    for event, count, more in zip(events, (cut, length - cut), others, strict=True):
        person = people[int(rng.integers(len(people)))]
        background = backgrounds[int(rng.integers(len(backgrounds)))]
        rest = [other for other in people if other is not person] or people
        behind = [(rest[int(own.integers(len(rest)))], event) for event in more]
        moments += scene(person, background, size, count, event, rng, extras, behind)
    return moments, {**facts, "others": others} if crowd else facts


def scene(
    person: Person,
    background: np.ndarray,
    size: tuple[int, int],
    length: int,
    event: str,
    rng: np.random.Generator,
    extras: Extras = PLAIN,
    others: Sequence[tuple[Person, str]] = (),
) -> Iterator[Moment]:
    """One shot: the person sways about a place (and walks in or out), the camera drifts, light changes.

    `others`, each with an event, are behind the person; `extras` are matched and placed once for the whole shot.
    """
    own = rng.spawn(1)[0]
    place, still = _sway(size, length, rng), rng.random() < 0.5
    zoom = rng.uniform(0.75, 2.0) * size[0] / person.alpha.shape[0]
    drift = np.zeros((length, 2)) if still else _walk(length, 0.04, rng)
    light = 1 + (_walk(length, 0.25, rng)[:, 0] if rng.random() < 0.5 else np.zeros(length))
    walkers = [Walker(person, event, place, zoom, rng.choice([-1, 1]))]
    grain = rng.uniform(0.5, 4)
    walkers = [_walker(*other, size, length, own) for other in others] + walkers
    wall = view(background, size, drift[0])
    matches = [_match(walker, wall, extras.match * own.uniform(0.4, 1)) for walker in walkers]
    behind = clutter.scatter(extras.behind, size, False, own)
    middle = placed(person, size, zoom, place[length // 2])[1] if extras.front else None
    things = clutter.scatter(extras.front, size, True, own)
    front = [thing for thing in things if clutter.hides_little(middle, thing)]
    for number in range(length):
        done = number / max(length - 1, 1)
        move = _move(size, drift[number])
        picture, alpha = view(background, size, drift[number]), np.zeros(size, np.float32)
        for thing in behind:
            clutter.lay(picture, alpha, thing, move)
        if len(walkers) == 1:  # blurred for one, the scene would blur the others with it
            picture = matching.match_scene(picture, matches[0], own)
        for walker, match in zip(walkers, matches, strict=True):
            seen = matching.match_person(*walker.at(done, number, size), match, own)
            synthetic.lay_over(picture, alpha, *seen)
        for thing in front:  # nearer than the wall, so it moves by more
            clutter.lay(picture, alpha, thing, 1.5 * move)
        noise = rng.standard_normal(picture.shape, np.float32) * np.float32(grain)
        yield Moment(np.clip(picture * light[number] + noise, 0, 255).astype(np.uint8), alpha)


def write_clip(folder: Path, moments: list[Moment], facts: dict) -> None:
    """Frames, alphas and, last, the facts: a folder without clip.json is not finished."""
    (folder / "clip.json").unlink(missing_ok=True)
    for number, moment in enumerate(moments):
        write_image(folder / "images" / f"{number:04}.jpg", moment.frame)
        write_image(folder / "masks" / f"{number:04}.png", mask_to_uint8(moment.alpha))
    write_json(folder / "clip.json", facts)


def read_clip(folder: Path) -> tuple[Iterator[Moment], dict]:
    """What `write_clip` wrote. Raises FileNotFoundError, ImageError."""
    facts = json.loads((folder / "clip.json").read_text())
    moments = (
        Moment(read_image(path), read_mask(folder / "masks" / f"{path.stem}.png"))
        for path in list_images(folder / "images")
    )
    return moments, facts


def list_clips(folder: Path) -> list[Path]:
    """The clip folder itself, or the clip folders in it."""
    if (folder / "clip.json").is_file():
        return [folder]
    return sorted(path.parent for path in folder.glob("*/clip.json"))


def placed(
    person: Person, size: tuple[int, int], zoom: float, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The person standing on the canvas's lower edge, head inside, moved by `shift` (x, y) pixels."""
    height, width = person.alpha.shape
    top = max(size[0] - zoom * height, 0.06 * size[0])
    x, y = size[1] / 2 - zoom * width / 2 + shift[0], top + shift[1]
    matrix = np.array([[zoom, 0, x], [0, zoom, y]])
    inside = augment.warp(person.foreground, matrix, size, cv2.BORDER_REPLICATE)
    return inside, np.clip(augment.warp(person.alpha, matrix, size), 0, 1)


def _walker(
    person: Person, event: str, size: tuple[int, int], length: int, rng: np.random.Generator
) -> Walker:
    """Somebody farther away, on either side of the middle."""
    zoom = rng.uniform(0.5, 1.1) * size[0] / person.alpha.shape[0]
    aside = rng.choice([-1, 1]) * rng.uniform(0.15, 0.35) * size[1]
    place = _sway(size, length, rng) + np.array([aside, 0])
    return Walker(person, event, place, zoom, rng.choice([-1, 1]))


def _match(walker: Walker, wall: np.ndarray, strength: float) -> matching.Match:
    """Measured where the person stands in the middle of the shot, so that nothing flickers."""
    middle = placed(walker.person, wall.shape[:2], walker.zoom, walker.place[len(walker.place) // 2])
    return matching.measure(*middle, wall, strength)


def view(background: np.ndarray, size: tuple[int, int], drift: np.ndarray) -> np.ndarray:
    """The part of a background the camera sees; `drift` in shares of the picture, at most 0.1 used."""
    height, width = background.shape[:2]
    scale = 1.25 * max(size[0] / height, size[1] / width)
    middle = np.array([size[1] - scale * width, size[0] - scale * height]) / 2
    move = _move(size, drift)
    matrix = np.array([[scale, 0, middle[0] + move[0]], [0, scale, middle[1] + move[1]]])
    seen = cv2.warpAffine(background, matrix, (size[1], size[0]), borderMode=cv2.BORDER_REFLECT_101)
    return seen.astype(np.float32)


def _move(size: tuple[int, int], drift: np.ndarray) -> np.ndarray:
    return np.clip(drift, -0.1, 0.1) * (size[1], size[0])


def _sway(size: tuple[int, int], length: int, rng: np.random.Generator) -> np.ndarray:
    """Places [length, 2] of a person who stands, leans and now and then holds still."""
    base = rng.uniform(-0.15, 0.15) * size[1]
    path = _walk(length, 0.08, rng) * (size[1], 0.3 * size[0])
    moving = np.repeat(rng.random(-(-length // 12)) < 0.6, 12)[:length]
    steps = np.diff(path, axis=0, prepend=path[:1]) * moving[:, None]
    return np.cumsum(steps, 0) + np.array([base, 0.04 * size[0]])


def _walk(length: int, reach: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random path [length, 2] starting at 0: three slow waves, `reach` at most."""
    time = np.arange(length)[:, None]
    waves = [
        np.sin(time * rng.uniform(0.05, 0.25, 2) + phase) - np.sin(phase)
        for phase in rng.uniform(0, 6.28, (3, 2))
    ]
    return reach * np.sum(waves, 0) / 6


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("out", type=Path, help="folder for the clips")
    stock.options(parser)
    parser.add_argument("--crowd", type=cli.count, default=0, metavar="N", help="up to N more people a scene")
    parser.add_argument("--count", type=cli.positive, default=8, help="clips to draw")
    parser.add_argument("--frames", type=cli.positive, default=72, help="frames a clip")
    parser.add_argument("--size", type=cli.size, default=(360, 480), metavar="HxW", help="of the frames")
    args = parser.parse_args()
    if args.frames < 6:
        raise ValueError("--frames: a clip with a cut needs 6 frames or more")
    found = stock.Stock(args)
    need_room(args.out, _files(args.count, args.frames))

    def one(number: int) -> None:
        rng = np.random.default_rng((args.seed, number))
        people = found.people(2, rng)
        backgrounds = [found.background(rng) for _ in range(2)]
        if args.crowd:
            people += found.people(args.crowd, rng.spawn(1)[0])
        drawn = clip(people, backgrounds, args.size, args.frames, rng, found.extras(rng), args.crowd)
        write_clip(args.out / f"clip_{number:03}", *drawn)

    cli.parallel(one, range(args.count), "clips", "clip")
    print(f"written: {args.count} clips to {args.out}")
    return 0


def _files(count: int, frames: int) -> list[str]:
    inside = [name for n in range(frames) for name in (f"images/{n:04}.jpg", f"masks/{n:04}.png")]
    return [f"clip_{clip:03}/{name}" for clip in range(count) for name in ("clip.json", *inside)]


if __name__ == "__main__":
    cli.run(main)
