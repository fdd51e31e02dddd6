"""What drawn pictures are made of: people, backgrounds and things, chosen at random from folders."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils import cli
from utils.clutter import Piece, piece_of
from utils.foregrounds import Foregrounds, Person, find_cutouts
from utils.images import list_images, read_image, read_rgba


class Extras(NamedTuple):
    """What a plain picture has not: how far people are matched to the scene, and things behind and before them."""

    match: float = 0.0
    behind: tuple[Piece, ...] = ()
    front: tuple[Piece, ...] = ()


PLAIN = Extras()


def options(parser: argparse.ArgumentParser) -> None:
    """What drawn stills and drawn clips have in common on the command line."""
    add = parser.add_argument
    add("--cutouts", required=True, metavar="DIR", help="RGBA pictures of people, or images + masks")
    add("--backgrounds", required=True, metavar="DIR", help="pictures without people")
    add("--cache", type=Path, metavar="DIR", help="keep estimated foregrounds here, for the next time")
    add("--match", type=cli.share, default=0.0, help="0..1: how far light, grain and sharpness are matched")
    add("--clutter", type=cli.count, default=0, metavar="N", help="up to N things before and N behind people")
    add(
        "--objects",
        metavar="DIR",
        help="pictures or RGBA cut-outs of things, instead of pieces of backgrounds",
    )
    add("--seed", type=int, default=0, help="of everything random")


class Stock:
    """The folders of `options`, read when asked. Raises FileNotFoundError, DatasetError, ValueError."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.foregrounds = Foregrounds(find_cutouts(args.cutouts), args.cache)
        self.walls = list_images(args.backgrounds)
        self.objects = list_images(args.objects) if args.objects else self.walls
        if not self.walls or not self.objects:
            raise ValueError("--backgrounds and --objects must hold pictures")
        self.match, self.most = args.match, args.clutter

    def people(self, count: int, rng: np.random.Generator) -> list[Person]:
        sources = self.foregrounds.sources
        return [self.foregrounds(sources[int(number)]) for number in rng.choice(len(sources), count)]

    def background(self, rng: np.random.Generator) -> np.ndarray:
        """Uint8 RGB [H, W, 3]."""
        return read_image(self.walls[int(rng.choice(len(self.walls)))])

    def extras(self, rng: np.random.Generator) -> Extras:
        """Drawn by a generator of their own, so that everything else is the same with and without them."""
        own = rng.spawn(1)[0]
        behind, front = (tuple(self._things(own)) for _ in range(2))
        return Extras(self.match, behind, front)

    def _things(self, rng: np.random.Generator) -> list[Piece]:
        count = int(rng.integers(0, self.most + 1))
        return [self._thing(self.objects[int(rng.integers(len(self.objects)))], rng) for _ in range(count)]

    def _thing(self, path: Path, rng: np.random.Generator) -> Piece:
        picture = read_rgba(path)
        return piece_of(picture if picture[..., 3].min() < 255 else picture[..., :3], rng)
