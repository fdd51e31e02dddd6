"""python -m utils.clips data/clips --cutouts data/foregrounds --backgrounds data/backgrounds --count 8

Draw clips with exact alpha: a cut-out person moves before a moving background, enters, leaves, is
lit differently, and in the middle the scene is cut. Each clip is a folder: images/0000.jpg,
masks/0000.png and clip.json, which eval.py measures for steadiness.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from utils import augment, cli, synthetic
from utils.files import write_json
from utils.images import list_images, read_image, read_mask, read_rgba, to_uint8, write_image

EVENTS = ("enter", "leave", "stay")


class Moment(NamedTuple):
    """One frame uint8 [H, W, 3] and its exact alpha [H, W]."""

    frame: np.ndarray
    alpha: np.ndarray


class Person(NamedTuple):
    """A cut-out with its colours estimated beyond the edge: float32 [H, W, 3] and alpha [H, W]."""

    foreground: np.ndarray
    alpha: np.ndarray


def cut_out(rgba: np.ndarray) -> Person:
    """A person from an RGBA picture."""
    alpha = rgba[..., 3].astype(np.float32) / 255
    return Person(synthetic.estimate_foreground(np.ascontiguousarray(rgba[..., :3]), alpha), alpha)


def clip(
    people: list[Person],
    backgrounds: list[np.ndarray],
    size: tuple[int, int],
    length: int,
    rng: np.random.Generator,
) -> tuple[list[Moment], dict]:
    """A clip of `length` frames of (height, width) with one cut, and what happens in it.

    The facts: `cut`, the first frame of the second scene, and the `events` of both scenes.
    """
    cut = int(rng.integers(length // 3, 2 * length // 3))
    events = [str(event) for event in rng.choice(EVENTS, 2)]
    moments: list[Moment] = []
    for event, count in zip(events, (cut, length - cut), strict=True):
        person = people[int(rng.integers(len(people)))]
        background = backgrounds[int(rng.integers(len(backgrounds)))]
        moments += scene(person, background, size, count, event, rng)
    return moments, {"frames": length, "cut": cut, "events": events}


def scene(
    person: Person,
    background: np.ndarray,
    size: tuple[int, int],
    length: int,
    event: str,
    rng: np.random.Generator,
) -> Iterator[Moment]:
    """One shot: the person sways about a place (and walks in or out), the camera drifts, light changes."""
    place, still = _sway(size, length, rng), rng.random() < 0.5
    zoom = rng.uniform(0.75, 2.0) * size[0] / person.alpha.shape[0]
    drift = np.zeros((length, 2)) if still else _walk(length, 0.04, rng)
    light = 1 + (_walk(length, 0.25, rng)[:, 0] if rng.random() < 0.5 else np.zeros(length))
    side = rng.choice([-1, 1])
    grain = rng.uniform(0.5, 4)
    for number in range(length):
        done = number / max(length - 1, 1)
        away = {"enter": 1 - 2 * done, "leave": 2 * done - 1}.get(event, 0)
        shift = place[number] + np.array([side * max(away, 0) * 1.3 * size[1], 0])
        foreground, alpha = placed(person, size, zoom, shift)
        wall = view(background, size, drift[number])
        mixed = foreground * alpha[..., None] + wall * (1 - alpha[..., None])
        noise = rng.standard_normal(mixed.shape, np.float32) * np.float32(grain)
        yield Moment(np.clip(mixed * light[number] + noise, 0, 255).astype(np.uint8), alpha)


def write_clip(folder: Path, moments: list[Moment], facts: dict) -> None:
    """Frames, alphas and, last, the facts: a folder without clip.json is not finished."""
    for number, moment in enumerate(moments):
        write_image(folder / "images" / f"{number:04}.jpg", moment.frame)
        write_image(folder / "masks" / f"{number:04}.png", to_uint8(moment.alpha))
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


def view(background: np.ndarray, size: tuple[int, int], drift: np.ndarray) -> np.ndarray:
    """The part of a background the camera sees; `drift` in shares of the picture, at most 0.1 used."""
    height, width = background.shape[:2]
    scale = 1.25 * max(size[0] / height, size[1] / width)
    middle = np.array([size[1] - scale * width, size[0] - scale * height]) / 2
    move = np.clip(drift, -0.1, 0.1) * (size[1], size[0])
    matrix = np.array([[scale, 0, middle[0] + move[0]], [0, scale, middle[1] + move[1]]])
    seen = cv2.warpAffine(background, matrix, (size[1], size[0]), borderMode=cv2.BORDER_REFLECT_101)
    return seen.astype(np.float32)


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
    parser.add_argument("--cutouts", required=True, metavar="DIR", help="RGBA pictures of people")
    parser.add_argument("--backgrounds", required=True, metavar="DIR", help="pictures without people")
    parser.add_argument("--count", type=cli.positive, default=8, help="clips to draw")
    parser.add_argument("--frames", type=cli.positive, default=72, help="frames a clip")
    parser.add_argument("--size", type=cli.size, default=(360, 480), metavar="HxW", help="of the frames")
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    args = parser.parse_args()
    if args.frames < 6:
        raise ValueError("--frames: a clip with a cut needs 6 frames or more")
    cutouts, walls = list_images(args.cutouts), list_images(args.backgrounds)
    if not cutouts or not walls:
        raise ValueError("--cutouts and --backgrounds must hold pictures")
    for number in cli.progress(range(args.count), "clips"):
        rng = np.random.default_rng((args.seed, number))
        people = [cut_out(read_rgba(path)) for path in rng.choice(cutouts, 2)]
        backgrounds = [read_image(path) for path in rng.choice(walls, 2)]
        moments, facts = clip(people, backgrounds, args.size, args.frames, rng)
        write_clip(args.out / f"clip_{number:03}", moments, facts)
    print(f"written: {args.count} clips to {args.out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
