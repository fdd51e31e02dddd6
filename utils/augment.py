"""python -m utils.augment data/people --out sheet.jpg --photos 4

Random geometry for training, and a sheet that shows every change of it and of utils/texture.py by name, then
the whole pipeline several times, with the mask's outline drawn. Look at it before a long training.

Image and alpha are moved by one and the same matrix, so they cannot go apart. Everything random comes from the
generator passed in: same seed, same result.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from utils import cli
from utils.texture import ALL, texture

__all__ = ["GEOMETRY", "augmented", "jittered_prior", "move", "random_matrix", "texture", "warp"]

Geometry = Callable[[tuple[int, int], np.random.Generator], np.ndarray]
COLUMNS, PIPELINE_LOOKS, CELL = 8, 6, 180


def flip(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Matrix [2, 3] that mirrors left and right on a canvas (height, width)."""
    return np.array([[-1.0, 0, size[1] - 1], [0, 1, 0]])


def rotate(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Matrix that turns about the middle by up to 45 degrees either way."""
    return _about_middle(size, angle=rng.uniform(-45, 45))


def scale(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Matrix that shrinks or enlarges about the middle, 0.5..1.7."""
    return _about_middle(size, zoom=float(np.exp(rng.uniform(np.log(0.5), np.log(1.7)))))


def shift(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Matrix that moves by up to a sixth of the canvas each way."""
    return np.column_stack([np.eye(2), rng.uniform(-0.17, 0.17, 2) * (size[1], size[0])])


GEOMETRY: tuple[Geometry, ...] = (flip, rotate, scale, shift)


def random_matrix(
    shape: tuple[int, int],
    size: tuple[int, int],
    rng: np.random.Generator,
    strength: float = 1.0,
    smallest: float = 0.5,
) -> np.ndarray:
    """Affine matrix [2, 3] from a picture (height, width) to a canvas `size`.

    `strength` 0 is the plain letterbox; 1 adds a flip half the time, scale `smallest`..1.7, rotation up
    to 45 degrees (seldom beyond 15) and shifts up to a sixth of the canvas.
    """
    height, width = shape
    fit = min(size[0] / height, size[1] / width)
    zoom = float(np.exp(rng.uniform(np.log(smallest), np.log(1.7)))) ** strength
    angle = strength * float(np.clip(rng.normal(0, 12), -45, 45))
    shift = strength * rng.uniform(-0.17, 0.17, 2) * (size[1], size[0])
    matrix = cv2.getRotationMatrix2D((0, 0), angle, fit * zoom)
    if strength and rng.random() < 0.5:
        matrix[:, 0] *= -1
    centre = matrix[:, :2] @ ((width - 1) / 2, (height - 1) / 2)
    matrix[:, 2] = np.add(((size[1] - 1) / 2, (size[0] - 1) / 2), shift) - centre
    return matrix


def warp(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int = cv2.BORDER_CONSTANT
) -> np.ndarray:
    """Move a picture or alpha onto a canvas (height, width), averaging when shrinking.

    `border` is OpenCV's name for what is outside: black, or for instance the edge's colour.
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.6:  # bilinear sampling would skip pixels
        height, width = image.shape[:2]
        small = max(1, round(1.5 * scale * width)), max(1, round(1.5 * scale * height))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([width / small[0], height / small[1], 1.0])
    return cv2.warpAffine(image, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR, borderMode=border)


def move(
    image: np.ndarray,
    alpha: np.ndarray,
    matrix: np.ndarray,
    size: tuple[int, int],
    border: int = cv2.BORDER_CONSTANT,
) -> tuple[np.ndarray, np.ndarray]:
    """Image and alpha by the same matrix onto a canvas (height, width). Raises ValueError where sizes differ."""
    if image.shape[:2] != alpha.shape[:2]:
        raise ValueError(f"picture {image.shape[:2]} and mask {alpha.shape[:2]} have different sizes")
    return warp(image, matrix, size, border), warp(alpha, matrix, size, border)


def augmented(
    image: np.ndarray, alpha: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The whole pipeline, geometry then texture: uint8 [H, W, 3] and alpha [H, W] of (height, width).

    As training shows a photo on its own background: not much smaller, and half the time mirrored beyond its edge.
    """
    matrix = random_matrix(image.shape[:2], size, rng, smallest=0.8)
    border = cv2.BORDER_REFLECT_101 if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    image, alpha = move(image, alpha, matrix, size, border)
    return texture(image, rng), alpha


def jittered_prior(
    alpha: np.ndarray, rng: np.random.Generator, blank: float = 0.4, other: np.ndarray | None = None
) -> np.ndarray:
    """A plausible previous alpha for the fourth channel: often blank, else moved, blurred, resized.

    Imperfect priors keep a network from copying its own mistakes on; so does, one time in ten, the
    alpha of some `other` picture, as after a cut; where nobody is, every prior that is not blank is such a one.
    The movement goes from next to none, as between two frames of a video, to that of a jump.
    Source of blank and moved priors: the HiLens MODNet article.
    """
    draw = rng.random()
    if draw < blank:
        return np.zeros_like(alpha)
    if other is not None and draw > (0.9 if alpha.any() else blank):
        return other.copy()
    size = alpha.shape
    amount = np.exp(rng.uniform(np.log(0.05), np.log(1.5)))
    matrix = cv2.getRotationMatrix2D(
        (size[1] / 2, size[0] / 2), amount * rng.normal(0, 4), np.exp(amount * rng.normal(0, 0.05))
    )
    matrix[:, 2] += amount * rng.normal(0, 0.03, 2) * (size[1], size[0])
    prior = cv2.warpAffine(alpha, matrix, (size[1], size[0]))
    kernel = np.ones((2 * int(amount * rng.integers(0, 4)) + 1,) * 2, np.uint8)
    prior = (cv2.dilate if rng.random() < 0.5 else cv2.erode)(prior, kernel)
    if rng.random() < 0.3:  # a part lost, as when an arm was missed
        y, x = int(rng.integers(0, size[0])), int(rng.integers(0, size[1]))
        prior[y : y + size[0] // 4, x : x + size[1] // 4] = 0
    return cv2.GaussianBlur(prior, (0, 0), 0.5 + amount * rng.uniform(0, 2))


def sheet(pairs: list, seed: int = 0) -> np.ndarray:
    """Of each photo: itself, each change alone by name, and the pipeline several times; uint8 RGB."""
    from utils import sheets
    from utils.images import letterbox, read_image, read_mask

    cells: list[np.ndarray] = []
    for number, pair in enumerate(pairs):
        image, alpha = letterbox(read_image(pair.image), (CELL, CELL))[0], read_mask(pair.mask)
        alpha = letterbox(alpha, (CELL, CELL))[0]
        looks = [(pair.stem[:24], image, alpha)]
        for place, change in enumerate(GEOMETRY):
            rng = np.random.default_rng((seed, number, place))
            looks.append((change.__name__, *move(image, alpha, change(alpha.shape, rng), alpha.shape)))
        for place, change in enumerate(ALL, start=len(GEOMETRY)):
            looks.append(
                (change.__name__, change(image, np.random.default_rng((seed, number, place))), alpha)
            )
        for look in range(PIPELINE_LOOKS):
            rng = np.random.default_rng((seed, number, 100 + look))
            looks.append((f"pipeline {look + 1}", *augmented(image, alpha, alpha.shape, rng)))
        looks += [("", np.zeros_like(image), np.zeros_like(alpha))] * (-len(looks) % COLUMNS)
        cells += [sheets.label(sheets.outlined(picture, mask), name) for name, picture, mask in looks]
    return sheets.grid(cells, COLUMNS, CELL)


def _about_middle(size: tuple[int, int], angle: float = 0.0, zoom: float = 1.0) -> np.ndarray:
    return cv2.getRotationMatrix2D(((size[1] - 1) / 2, (size[0] - 1) / 2), angle, zoom)


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("dataset", help="folder with images and masks, or train/ and val/")
    parser.add_argument("--out", type=cli.file(".jpg", ".png"), default="augment.jpg", help="the sheet")
    parser.add_argument("--photos", type=cli.positive, default=4, help="photos to show, spread over the set")
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    cli.add_layout(parser)
    args = parser.parse_args()
    from utils import dataset
    from utils.images import write_image

    pairs = dataset.training_pairs(args.dataset, True, 1.0, args.layout, args.category)
    chosen = [pairs[int(place)] for place in np.linspace(0, len(pairs) - 1, min(args.photos, len(pairs)))]
    write_image(args.out, sheet(chosen, args.seed))
    print(f"written: {args.out} ({len(chosen)} photos)")
    return 0


if __name__ == "__main__":
    cli.run(main)
