"""python -m utils.remask data/people/labels data/people/masks --person 15

Any masks as 8-bit grey PNG, 255 for the person: 0/1, 0/255, palette, RGBA (its alpha), one colour channel, 16 bit,
or label numbers of which `--person` names the person's. A soft mask stays soft unless `--hard` is asked for.
Masks that were drawn tight or generous (`python -m utils.doctor` says by how much) are set right by `--grow`.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from utils import cli, edge_offset, maskfile
from utils.files import need_room
from utils.images import ImageError, list_images, mask_to_uint8, mask_values, open_upright, write_image

CHANNELS = {"red": 0, "green": 1, "blue": 2, "alpha": 3}
FAINT = 0.5
LISTED = 5
MOST_MOVED = 50


def remask(
    path: str | Path,
    person: list[int] | None = None,
    channel: str | None = None,
    hard: float | None = None,
    soften: float = 0.0,
    grow: float = 0.0,
) -> np.ndarray:
    """A mask file as float32 [H, W] in 0..1. Raises ImageError.

    `person`: label numbers (grey values or palette indices) that are the person. `channel`: read this one. Values of
    `hard` (0..1) and more become 1, all others 0; then the mask grows by `grow` pixels, which may be parts of one or
    negative, and `soften` blurs by a sigma in pixels.
    """
    picture = open_upright(path)
    if channel is not None:
        if channel == "alpha" and "A" not in picture.getbands() and "transparency" not in picture.info:
            raise ImageError(f"{path}: has no alpha channel")
        mask = _unit(np.asarray(picture.convert("RGBA"))[..., CHANNELS[channel]])
    elif person:
        mask = np.isin(_labels(path, picture), person).astype(np.float32)
    else:
        mask = _meant(path, picture)
    if hard is not None:
        mask = (mask >= hard).astype(np.float32)
    if grow:
        mask = edge_offset.grown(mask, grow)
    return np.clip(cv2.GaussianBlur(mask, (0, 0), soften), 0, 1) if soften else mask


def _meant(path: str | Path, picture: Image.Image) -> np.ndarray:
    """The mask of a picture of any mode that holds a single one."""
    if picture.mode == "P" and "transparency" not in picture.info:
        return _from_palette(path, picture)
    if picture.mode in ("RGB", "RGBA"):
        values = np.asarray(picture)
        if picture.mode == "RGB" or values[..., 3].min() == 255:
            return _from_colours(path, values[..., :3])
    return mask_values(picture)


def _from_colours(path: str | Path, values: np.ndarray) -> np.ndarray:
    """What is drawn in one colour or one channel, or grey."""
    held = maskfile.examine(Image.fromarray(values))
    if held.choices and held.fault == "channel":
        raise ImageError(
            f"{path}: is drawn in several colours: say which channel is the person's (--channel red), "
            "or let python -m utils.doctor find its colour"
        )
    flat = held.fault == "channel" and held.meant is not None
    return held.meant.astype(np.float32) / 255 if flat else _unit(values.max(2))


def _from_palette(path: str | Path, picture: Image.Image) -> np.ndarray:
    indices = np.asarray(picture)
    used = np.unique(indices)
    if used.max() <= 1:
        return mask_values(picture)
    colours = np.asarray(picture.convert("RGB"))
    if len(used) > 2 and np.ptp(colours.astype(int), axis=2).max() > 8:
        labels = ", ".join(map(str, used[:12])) + (", ..." if len(used) > 12 else "")
        raise ImageError(f"{path}: is a map of the labels {labels}: say which are the person, as --person 15")
    if len(used) == 2 and used[0] == 0 and np.ptp(colours.astype(int), axis=2).max() > 8:
        return (indices == used[1]).astype(np.float32)  # one label, whatever colour it is painted in
    return _unit(colours.max(2))


def _labels(path: str | Path, picture: Image.Image) -> np.ndarray:
    values = np.asarray(picture)
    if values.ndim == 3:
        if np.ptp(values[..., :3].astype(int), axis=2).any():
            raise ImageError(f"{path}: is a picture in colours, not of label numbers: --person does not fit")
        values = values[..., 0]
    return values


def _unit(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) / (1 if values.max(initial=0) == 1 else 255)


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("masks", type=Path, metavar="MASKS", help="mask file or folder of masks")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the 8-bit grey PNGs")
    parser.add_argument(
        "--person", type=cli.count, nargs="+", metavar="ID", help="label numbers of the person"
    )
    parser.add_argument("--channel", choices=tuple(CHANNELS), help="read this channel alone")
    parser.add_argument("--hard", type=cli.share, metavar="T", help="make hard: T (0..1) and more is person")
    parser.add_argument("--soften", type=cli.above_zero, metavar="SIGMA", help="blur by so many pixels")
    parser.add_argument(
        "--grow", type=float, default=0.0, metavar="PIXELS", help="move the edge outwards; -0.5 inwards"
    )
    args = parser.parse_args()
    if not abs(args.grow) <= MOST_MOVED:
        raise ValueError(f"--grow {args.grow:g}: give at most {MOST_MOVED} pixels, outwards or inwards")
    if args.soften and args.soften > MOST_MOVED:
        raise ValueError(f"--soften {args.soften:g}: give at most {MOST_MOVED} pixels")
    if args.person and args.channel:
        raise ValueError("--person and --channel: give one of them")
    masks = [args.masks] if args.masks.is_file() else list_images(args.masks)
    if not masks:
        raise ValueError(f"{args.masks}: holds no mask")
    names = [f"{path.stem}.png" for path in masks]
    double = (
        {path.stem for path in masks if names.count(f"{path.stem}.png") > 1}
        if len(set(names)) < len(names)
        else ()
    )
    if double:
        raise ValueError(f"{args.masks}: two masks are called {min(double)}: rename one of them")
    if args.out.resolve() == (args.masks if args.masks.is_dir() else args.masks.parent).resolve():
        raise ValueError(f"{args.out}: would replace the originals: give another folder")
    need_room(args.out, names)

    def one(path: Path) -> float:
        mask = remask(path, args.person, args.channel, args.hard, args.soften or 0.0, args.grow)
        write_image(args.out / f"{path.stem}.png", mask_to_uint8(mask))
        return float(mask.max())

    highest = cli.parallel(one, masks, "masks", "mask")
    _notes(masks, highest)
    print(f"written: {len(masks)} masks to {args.out}")
    return 0


def _notes(masks: list[Path], highest: list[float]) -> None:
    """Masks that hold nobody, or only faint values: label numbers, mostly, that `--person` was not told of."""
    for what, low, high in (("are empty", -1.0, 0.0), ("are faint: label numbers? see --person", 0.0, FAINT)):
        found = [path.name for path, top in zip(masks, highest, strict=True) if low < top <= high]
        if found:
            print(f"note: {len(found)} of {len(masks)} masks {what} ({', '.join(found[:LISTED])})")


if __name__ == "__main__":
    cli.run(main)
