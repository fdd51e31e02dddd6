"""Writes the same generated people in every layout that utils/layouts reads."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tests import portraits, videos
from utils.images import write_image

COUNT = 6
HARD = {"lists", "supervisely", "coco", "voc"}  # layouts that hold no soft mask, as written here


def person(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Photo uint8 [96, 72, 3] and soft mask uint8 [96, 72]; sides differ, so turns are noticed."""
    image, alpha = portraits.portrait(seed)
    return image, np.rint(alpha * 255).astype(np.uint8)


def hard(seed: int) -> np.ndarray:
    return (person(seed)[1] > 127).astype(np.uint8)


def write_folders(folder: Path) -> None:
    for seed in range(COUNT):
        image, mask = person(seed)
        write_image(folder / "images" / f"p_{seed}.png", image)
        write_image(folder / "masks" / f"p_{seed}.png", mask)


def write_lists(folder: Path) -> None:
    """Paths with spaces, a tab in one list and a space in the other; masks of the labels 0 and 1."""
    lines = []
    for seed in range(COUNT):
        write_image(folder / "my photos" / f"p_{seed}.png", person(seed)[0])
        write_image(folder / "labels" / "of me" / f"m {seed}.png", hard(seed))
        lines.append((f"my photos/p_{seed}.png", f"labels/of me/m {seed}.png"))
    (folder / "train.txt").write_text("".join(f"{a}\t{b}\n" for a, b in lines[:-2]))
    (folder / "val.txt").write_text("".join(f"{a} {b}\n" for a, b in lines[-2:]))


def write_cutouts(folder: Path) -> None:
    """AISegment's two trees."""
    for seed in range(COUNT):
        image, mask = person(seed)
        write_image(folder / "clip_img" / "18" / f"clip_{seed // 3:08}" / f"p_{seed}.png", image)
        cutout = np.dstack([image * (mask[..., None] > 0), mask])
        write_image(folder / "matting" / "18" / f"matting_{seed // 3:08}" / f"p_{seed}.png", cutout)


def encode_bitmap(mask: np.ndarray) -> str:
    """A mask uint8 [H, W] as the text of a Supervisely bitmap: PNG, deflated, in base64."""
    return base64.b64encode(zlib.compress(cv2.imencode(".png", mask)[1].tobytes())).decode()


def write_supervisely(folder: Path) -> None:
    """Half of the people as bitmaps, half as the polygons of their outlines."""
    (folder / "ds" / "ann").mkdir(parents=True)
    classes = [{"title": "person_bmp", "shape": "bitmap"}, {"title": "cat", "shape": "polygon"}]
    (folder / "meta.json").write_text(json.dumps({"classes": classes, "tags": []}))
    for seed in range(COUNT):
        image, mask = person(seed)[0], hard(seed)
        write_image(folder / "ds" / "img" / f"p_{seed}.png", image)
        top, left = (int(axis.min()) for axis in np.nonzero(mask))
        part = np.ascontiguousarray(mask[top:, left:])
        data = {"data": encode_bitmap(part), "origin": [left, top]}
        shape = {"geometryType": "bitmap", "bitmap": data}
        if seed % 2:
            outline = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0][:, 0]
            points = {"exterior": outline.tolist(), "interior": []}
            shape = {"geometryType": "polygon", "points": points}
        cat = {"geometryType": "polygon", "points": {"exterior": [[0, 0], [9, 0], [9, 9]], "interior": []}}
        objects = [{"classTitle": "person_bmp", **shape}, {"classTitle": "cat", **cat}]
        size = {"height": mask.shape[0], "width": mask.shape[1]}
        note = {"description": "", "tags": [], "size": size, "objects": objects}
        (folder / "ds" / "ann" / f"p_{seed}.png.json").write_text(json.dumps(note))


def write_coco(folder: Path) -> None:
    """Each person in two annotations: the left half as plain, the right half as compressed run lengths."""
    images, annotations = [], []
    for seed in range(COUNT):
        image, mask = person(seed)[0], hard(seed)
        write_image(folder / "photos" / f"p_{seed}.png", image)
        height, width = mask.shape
        images.append({"id": 10 + seed, "file_name": f"p_{seed}.png", "height": height, "width": width})
        left, right = mask.copy(), mask.copy()
        left[:, width // 2 :], right[:, : width // 2] = 0, 0
        for half, code in ((left, list), (right, compress)):
            runs = {"size": [height, width], "counts": code(run_lengths(half))}
            annotations.append(note(len(annotations), 10 + seed, runs))
        cat = note(len(annotations), 10 + seed, [[0, 0, 9, 0, 9, 9]])
        annotations.append({**cat, "category_id": 17})
    write_coco_json(folder / "annotations.json", images, annotations)


def note(number: int, image: int, segmentation: object) -> dict:
    shape = {"segmentation": segmentation, "iscrowd": int(isinstance(segmentation, dict)), "area": 1}
    return {"id": number, "image_id": image, "category_id": 1, "bbox": [0, 0, 1, 1], **shape}


def write_coco_json(path: Path, images: list[dict], annotations: list[dict]) -> None:
    categories = [{"id": 1, "name": "person"}, {"id": 17, "name": "cat"}]
    content = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def run_lengths(mask: np.ndarray) -> list[int]:
    """Down the columns, beginning with 0, pixel by pixel: slow and plain, to check the fast way by."""
    counts, value = [0], 0
    for pixel in mask.T.ravel():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def compress(counts: list[int]) -> str:
    """Run lengths in COCO's characters, number by number."""
    text = ""
    for place, count in enumerate(counts):
        left = count - counts[place - 2] if place > 2 else count
        while True:
            bits, left = left & 31, left >> 5
            more = left != (-1 if bits & 16 else 0)
            text += chr(48 + bits + 32 * more)
            if not more:
                break
    return text


def write_voc(folder: Path) -> None:
    """Class PNGs with a palette: person 15, a ring of 255 around it, a cat in a corner."""
    (folder / "SegmentationClass").mkdir(parents=True)
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    for seed in range(COUNT):
        image, mask = person(seed)[0], hard(seed)
        (folder / "JPEGImages").mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / "JPEGImages" / f"p_{seed}.png")
        labels = np.where(cv2.dilate(mask, np.ones((5, 5))) > 0, np.uint8(255), np.uint8(0))
        labels[:6, :6], labels[mask > 0] = 8, 15
        picture = Image.fromarray(labels, "P")
        picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
        picture.save(folder / "SegmentationClass" / f"p_{seed}.png")
    for part, seeds in (("train", range(COUNT - 2)), ("val", range(COUNT - 2, COUNT))):
        names = "".join(f"p_{seed}\n" for seed in seeds)
        (folder / "ImageSets" / "Segmentation" / f"{part}.txt").write_text(names)


def write_npy(folder: Path) -> None:
    people = [person(seed) for seed in range(COUNT)]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "img_uint8.npy", np.stack([image for image, _ in people]))
    np.save(folder / "msk_uint8.npy", np.stack([mask for _, mask in people])[..., None])


def write_videos(folder: Path, lengths: tuple[int, ...] = (COUNT,), suffix: str = ".mkv") -> None:
    """Lossless: FFV1 keeps grey mattes exactly, RGB nearly (YUV 4:2:0)."""
    for kind in ("fgr", "pha"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number, length in enumerate(lengths):
        people = [person(seed) for seed in range(length)]
        for kind, frames in (("fgr", [p[0] for p in people]), ("pha", [grey(p[1]) for p in people])):
            videos.write(folder / kind / f"v{number}{suffix}", frames, sound=None, codec="ffv1")


def grey(mask: np.ndarray) -> np.ndarray:
    return np.repeat(mask[..., None], 3, 2)


WRITERS: dict[str, Callable[[Path], None]] = {
    "folders": write_folders,
    "lists": write_lists,
    "cutouts": write_cutouts,
    "supervisely": write_supervisely,
    "coco": write_coco,
    "voc": write_voc,
    "npy": write_npy,
    "videos": write_videos,
}
