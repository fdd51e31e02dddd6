"""python -m utils.curve data/people data/people_toned --tone both

Photos in warmer or cooler light: a curve lifts red and lowers blue (or the other way round), and colours become
stronger (or paler). Takes a photo, a folder of photos, or a dataset, whose masks are copied along.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from utils import cli
from utils.files import need_room, write_bytes
from utils.images import encode, mask_to_uint8, read_mask, read_rgba, write_image
from utils.photos import find_photos
from utils.texture import LEVELS, curve

# Splines through these points, as in the reference toolkit.
POINTS = np.array([0, 64, 128, 192, 256])
RAISED = np.array([0, 70, 140, 210, 256])
LOWERED = np.array([0, 30, 80, 120, 192])
TONES = ("warm", "cool")


def toned(image: np.ndarray, tone: str, strength: float = 1.0) -> np.ndarray:
    """A picture uint8 RGB [H, W, 3] made "warm" or "cool"; `strength` 0 leaves it, 1 is the whole curve."""
    raised, lowered = (_table(values, strength) for values in (RAISED, LOWERED))
    first, last, colours = (raised, lowered, raised) if tone == "warm" else (lowered, raised, lowered)
    same = LEVELS.astype(np.uint8)
    hsv = cv2.cvtColor(cv2.LUT(image, np.stack([first, same, last], -1)[None]), cv2.COLOR_RGB2HSV)
    result = cv2.cvtColor(cv2.LUT(hsv, np.stack([same, colours, same], -1)[None]), cv2.COLOR_HSV2RGB)
    return result if strength else image.copy()


def _table(values: np.ndarray, strength: float) -> np.ndarray:
    mixed = LEVELS + strength * (curve(POINTS, values).astype(np.float32) - LEVELS)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


def write_toned(source: Path, target: Path, tone: str, strength: float) -> None:
    """A toned copy of a picture file; transparency stays."""
    rgba = read_rgba(source)
    picture = toned(np.ascontiguousarray(rgba[..., :3]), tone, strength)
    opaque = target.suffix == ".jpg" or rgba[..., 3].min() == 255
    write_image(target, picture if opaque else np.dstack([picture, rgba[..., 3]]))


def copy_mask(source: Path, target: Path) -> None:
    """The mask as it is, soft or hard, byte for byte where it is a PNG."""
    is_png = source.suffix.lower() == ".png"
    write_bytes(target, source.read_bytes() if is_png else encode(mask_to_uint8(read_mask(source))))


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("photos", type=Path, metavar="IN", help="photo, folder of photos, or dataset")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the result")
    parser.add_argument(
        "--tone", choices=[*TONES, "both"], default="both", help="both writes two of each photo"
    )
    parser.add_argument("--strength", type=cli.share, default=1.0, help="0..1: share of the curve")
    parser.add_argument("--skip-unpaired", action="store_true", help="leave out photos without a mask")
    args = parser.parse_args()
    tones = TONES if args.tone == "both" else (args.tone,)
    photos = find_photos(args.photos, args.skip_unpaired)
    jobs = [(photo, tone, *photo.places(f"{photo.image.stem}_{tone}")) for photo in photos for tone in tones]
    need_room(args.out, [path for *_, image, mask in jobs for path in (image, mask) if path])

    def one(job: tuple) -> None:
        photo, tone, image, mask = job
        write_toned(photo.image, args.out / image, tone, args.strength)
        if mask:
            copy_mask(photo.mask, args.out / mask)

    cli.parallel(one, jobs, "tones")
    print(f"written: {len(jobs)} photos to {args.out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
