"""python -m utils.nobody data/people nobody

Cut pictures without people out of photos: of each validation photo the largest rectangle in which its mask has nobody. A
network that finds somebody there is wrong: `eval.py FILE nobody --part all` tells how often (IoU 1 is nobody found) and
how much (MAD). Masks forget bystanders: look at nobody/sheet.png, and name the photos that show somebody to --leave-out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from utils import cli, dataset, sheets
from utils.files import need_room
from utils.images import letterbox, read_image, read_mask, write_image

FAINT = 0.02  # alpha from which somebody is there
MARGIN = 0.005  # of the photo's longer side, kept free around people: masks end early
COLUMNS, CELL = 12, 140


def largest_free(taken: np.ndarray, least: int = 1) -> tuple[slice, slice] | None:
    """Rows and columns of the largest rectangle without a True in `taken`, bool [H, W]; None if there is none.

    It has `least` pixels each way or more. Of each row the heights of the free columns above it, and the largest
    rectangle under such a skyline by a stack of rising heights: O(H W).
    """
    best, found = 0, None
    heights = np.zeros(taken.shape[1] + 1, int)  # the last stays 0 and closes what is open
    for row, line in enumerate(taken):
        heights[:-1] = np.where(line, 0, heights[:-1] + 1)
        stack: list[int] = []
        for column, height in enumerate(heights):
            while stack and heights[stack[-1]] >= height:
                tall = int(heights[stack.pop()])
                left = stack[-1] + 1 if stack else 0
                wide = column - left
                if tall * wide > best and min(tall, wide) >= least:
                    best = tall * wide
                    found = slice(row + 1 - tall, row + 1), slice(left, column)
            stack.append(column)
    return found


def free_of_people(alpha: np.ndarray, least: int) -> tuple[slice, slice] | None:
    """Rows and columns of the largest rectangle of a photo that keeps away from everybody in its alpha [H, W]."""
    reach = 2 * round(MARGIN * max(alpha.shape)) + 1
    near = cv2.dilate((alpha > FAINT).astype(np.uint8), np.ones((reach, reach), np.uint8))
    return largest_free(near > 0, least)


def options() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("dataset", help="folder of photos and masks")
    parser.add_argument("out", type=Path, help="folder for the pictures and their empty masks: a dataset")
    parser.add_argument("--least", type=cli.positive, default=96, help="height and width, pixels at least")
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="NAME", help="photos whose masks forget somebody"
    )
    parser.add_argument(
        "--val-split", type=cli.share, default=0.1, help="share held out where there is no val folder"
    )
    parser.add_argument("--seed", type=int, default=0, help="of that split; give the training's own")
    cli.add_layout(parser)
    return parser.parse_args()


def main() -> int:
    args = options()
    _, pairs = dataset.open_dataset(
        args.dataset, args.val_split, args.skip_unpaired, args.seed, args.layout, args.category
    )
    unknown = set(args.leave_out) - {pair.stem for pair in pairs}
    if unknown:
        raise ValueError(f"--leave-out {min(unknown)}: no validation photo has that name")
    crops = {}
    kept = [pair for pair in pairs if pair.stem not in args.leave_out]
    dataset.check_sizes(kept)
    for pair in cli.progress(kept, "nobody"):
        place = free_of_people(read_mask(pair.mask), args.least)
        if place:
            crops[pair.stem] = read_image(pair.image)[place]
    if not crops:
        raise ValueError(f"{args.dataset}: no photo has {args.least}x{args.least} pixels without people")
    write(args.out, crops)
    print(f"written: {len(crops)} pictures to {args.out}, and sheet.png: look whether somebody is in them")
    return 0


def write(out: Path, crops: dict[str, np.ndarray]) -> None:
    """Pictures, black masks and a sheet of all with their names. Raises ValueError where files of others are."""
    need_room(
        out, ["sheet.png", *(part for name in crops for part in (f"images/{name}.png", f"masks/{name}.png"))]
    )
    cells = []
    for name, crop in crops.items():
        write_image(out / "images" / f"{name}.png", crop)
        write_image(out / "masks" / f"{name}.png", np.zeros(crop.shape[:2], np.uint8))
        cells.append(sheets.label(letterbox(crop, (CELL, CELL))[0], name[-18:]))
    write_image(out / "sheet.png", sheets.grid(cells, COLUMNS, CELL))


if __name__ == "__main__":
    cli.run(main)
