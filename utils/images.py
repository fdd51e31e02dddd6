"""Pictures in and out: upright RGB whatever the file holds, letterboxing, safe writes.

Frames are uint8 RGB [H, W, 3], alphas float32 [H, W] in 0..1.
"""

from __future__ import annotations

import functools
import io
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps, features

from utils.files import write_bytes

EXTENSIONS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
EXTENSIONS |= {".avif"} if features.check("avif") else set()  # Pillow 11.3 and newer
UNREAD = {".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"}
JPEG = {".jpg", ".jpeg", ".jpe", ".jfif"}
REMEDY = "phones' HEIC and cameras' raw files are not read here, export them as JPEG"
MAX_PIXELS = 200_000_000
ORIENTATION = 0x0112  # the EXIF tag
Image.MAX_IMAGE_PIXELS = None  # our own limit below speaks in one line


class ImageError(ValueError):
    """A picture that cannot be used; the message names the file and the reason."""


class Stored(ABC):
    """A photo or mask that is no file of its own: a row of an array, a frame of a video, an annotation.

    `read_image`, `read_mask` and `image_size` take one wherever they take a path; `str()` names it.
    `lossy`: whether it was compressed with loss, so that writing it without would be for nothing.
    `path`: the file that holds it.
    """

    lossy = False
    path: Path

    @abstractmethod
    def read(self) -> np.ndarray:
        """Upright: a photo uint8 RGB [H, W, 3], a mask float32 [H, W] in 0..1. Raises ImageError."""

    @abstractmethod
    def size(self) -> tuple[int, int]:
        """(height, width) of what `read` gives, found without decoding where that is possible."""


class Box(NamedTuple):
    """Where a letterboxed picture lies on its canvas, in pixels."""

    top: int
    left: int
    height: int
    width: int


def list_images(folder: str | Path) -> list[Path]:
    """All pictures directly in `folder`, sorted by name. Raises FileNotFoundError."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    files = [path for path in folder.iterdir() if path.name[0] != "."]
    found = sorted(path for path in files if path.suffix.lower() in EXTENSIONS)
    other = sorted(path for path in files if path.suffix.lower() in UNREAD)
    if other:
        stems = {path.stem for path in found}  # cameras write both kinds of one photo
        _tell_unread(folder, tuple(path.name for path in other if path.stem not in stems))
    return found


@functools.cache  # once for a folder: it may be listed often
def _tell_unread(folder: Path, names: tuple[str, ...]) -> None:
    if names:
        files = "1 file is" if len(names) == 1 else f"{len(names)} files are"
        print(f"note: {folder}: {files} left out ({names[0]}): {REMEDY}", file=sys.stderr)


def image_size(path: str | Path | Stored) -> tuple[int, int]:
    """(height, width) after EXIF rotation, read from the header alone. Raises ImageError."""
    if isinstance(path, Stored):
        return path.size()
    (height, width), orientation = header(path)
    return (width, height) if orientation >= 5 else (height, width)


def header(path: str | Path) -> tuple[tuple[int, int], int]:
    """(height, width) as stored, and the EXIF orientation 1..8 (1: upright). Raises ImageError."""
    with _open(path) as picture:
        try:
            orientation = picture.getexif().get(ORIENTATION, 1)
        except Exception as error:  # a PNG is searched for EXIF to its end, which may be missing
            raise ImageError(f"{path}: damaged or truncated picture") from error
        known = isinstance(orientation, int) and 1 <= orientation <= 8
        # Of a TIFF alone Pillow tells the size upright before it is decoded.
        stored = picture.format == "TIFF" and (picture.tag_v2.get(257), picture.tag_v2.get(256))
        return stored or (picture.height, picture.width), orientation if known else 1


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels as stored brought upright, as EXIF orientation 1..8 says."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def read_image(path: str | Path | Stored, at_least: int | None = None) -> np.ndarray:
    """A picture as upright RGB uint8 [H, W, 3]: any mode, EXIF turned, transparency on white.

    Of an animation, the first frame. With `at_least`, a large JPEG may come back reduced by 2, 4 or
    8 as long as its shorter side stays above that many pixels (much faster). Raises ImageError.
    """
    if isinstance(path, Stored):
        return path.read()
    with _open(path) as picture:
        if at_least:
            scale = min(picture.size) / at_least
            picture.draft("RGB", (int(picture.width / max(scale, 1)), int(picture.height / max(scale, 1))))
        picture = _srgb(_load(path, picture))
        if picture.mode.startswith(("I", "F")):
            return np.repeat(_grey16(picture)[..., None], 3, 2)
        if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
        return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def read_rgba(path: str | Path) -> np.ndarray:
    """A cut-out as upright uint8 [H, W, 4]. Raises ImageError."""
    with _open(path) as picture:
        picture = _srgb(_load(path, picture))
        if picture.mode.startswith(("I", "F")):
            return cv2.cvtColor(_grey16(picture), cv2.COLOR_GRAY2RGBA)
        return np.array(picture.convert("RGBA"))


def read_alpha(path: str | Path) -> np.ndarray:
    """The alpha channel of a cut-out, float32 [H, W] in 0..1. Raises ImageError where there is none."""
    with _open(path) as picture:
        picture = _load(path, picture)
        if "A" not in picture.getbands() and "transparency" not in picture.info:
            raise ImageError(f"{path}: has no alpha channel, so it is no cut-out")
        return np.asarray(picture.convert("RGBA").getchannel("A")).astype(np.float32) / 255


def read_mask(path: str | Path | Stored) -> np.ndarray:
    """A mask or matte as float32 [H, W] in 0..1: 0/255, 0/1, 16 bit, palette, or an alpha channel.

    Soft values stay as they are (divided by the type's maximum, never by the picture's); only a
    mask whose largest value is 1 is taken as 0/1. In a mask of the labels 0, 1 and 255 alone, 255 means
    "ignore" and counts as not person. Raises ImageError.
    """
    if isinstance(path, Stored):
        return path.read()
    return mask_values(open_upright(path))


def open_upright(path: str | Path) -> Image.Image:
    """The decoded file in Pillow's own mode (palette, 16 bit, ...), EXIF turned. Raises ImageError."""
    with _open(path) as picture:
        return _load(path, picture)


def mask_values(picture: Image.Image) -> np.ndarray:
    """What `read_mask` returns, from a decoded picture."""
    if "transparency" in picture.info:  # a cut-out saved with a palette
        picture = picture.convert("RGBA")
    if picture.mode in ("RGBA", "LA", "PA"):
        alpha = np.asarray(picture.getchannel("A"))
        values = alpha if alpha.min() < 255 else np.asarray(picture.convert("L"))
    elif picture.mode == "P":
        indices = np.asarray(picture)
        labels = indices.max() <= 1 and not _white_first(picture)
        values = indices if labels else np.asarray(picture.convert("L"))
    elif picture.mode.startswith(("I", "F")):
        values = np.asarray(picture)
        if holds_bytes(picture):
            return unit(values.astype(np.uint8))
        top = 1.0 if picture.mode == "F" and values.max() <= 1 else 65535.0 if values.max() > 255 else 255.0
        return np.clip(values.astype(np.float32) / top, 0, 1)
    else:
        values = np.asarray(picture if picture.mode == "L" else picture.convert("L"))
    return unit(values)


def _white_first(picture: Image.Image) -> bool:
    """Whether a palette begins with white, then black: as quantizing writes a mask, which is no 0/1 then."""
    return bytes((picture.getpalette("RGB") or [0])[:6]) in (b"\xff\xff\xff", b"\xff\xff\xff\0\0\0")


def holds_bytes(picture: Image.Image) -> bool:
    """Whether a picture of 16 or 32 bits holds what 8 would: labels, or 0/255."""
    low, high = picture.getextrema()
    return picture.mode.startswith("I") and 0 <= low <= high <= 255


def unit(values: np.ndarray) -> np.ndarray:
    """A mask's uint8 as float32 in 0..1: 0/1, 0/255, soft, or labels 0, 1 and 255 ("ignore": not person)."""
    ones = np.count_nonzero(values == 1)
    if ones:
        tops, others = np.count_nonzero(values == 255), np.count_nonzero(values) - ones
        # A stray 1 in a hard mask is no label, and a soft mask has other values as well.
        if others == tops and 20 * ones > tops:
            return (values == 1).astype(np.float32)
    return np.divide(values, np.float32(255), dtype=np.float32)


def encode(image: np.ndarray, extension: str = ".png", quality: int = 92) -> bytes:
    """RGB, RGBA or grey uint8 as the bytes of a file; PNG compressed lightly, for speed."""
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    extension = ".jpg" if extension in JPEG else extension
    done, data = cv2.imencode(extension, image, _options(extension, quality))
    if not done:
        raise ImageError(f"cannot encode a picture of {image.shape} as {extension}")
    return data.tobytes()


def _options(extension: str, quality: int) -> list[int]:
    if extension == ".png":
        return [cv2.IMWRITE_PNG_COMPRESSION, 2]
    return [cv2.IMWRITE_JPEG_QUALITY, quality] if extension == ".jpg" else []


def write_image(path: str | Path, image: np.ndarray, quality: int = 92) -> None:
    """Write a picture whole or not at all; the ending says the format, `quality` is a JPEG's."""
    write_bytes(path, encode(image, Path(path).suffix.lower() or ".png", quality))


def mask_to_uint8(alpha: np.ndarray) -> np.ndarray:
    """Alpha 0..1 as the 0..255 from which `read_mask` gives it back: soft stays soft."""
    grey = to_uint8(alpha)
    if ((grey > 1) & (grey < 255)).any():
        return grey
    return np.where(grey == 255, np.uint8(255), np.uint8(0))  # a trace of 1 would be read as the label 1


def to_uint8(alpha: np.ndarray) -> np.ndarray:
    """Alpha 0..1 as 0..255, rounded."""
    return cv2.convertScaleAbs(alpha, alpha=255.0)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize averaging when shrinking, bilinear when enlarging."""
    while _is_halved_first(
        image.shape, height, width
    ):  # a third of the time, and the same to one level in 255
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    if image.shape[:2] == (height, width):
        return image
    shrinking = height * width < image.shape[0] * image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)


def _is_halved_first(shape: tuple[int, ...], height: int, width: int) -> bool:
    """Whether a picture can be halved on the way to a size at which each pixel is the mean of 4 x 4 or more."""
    return not (shape[0] % 2 or shape[1] % 2) and 4 * height <= shape[0] and 4 * width <= shape[1]


def letterbox(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Box]:
    """Fit a picture or alpha into (height, width) keeping its aspect, centred, black around it."""
    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    box = Box((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2, *inner)
    canvas = np.zeros((*size, *image.shape[2:]), image.dtype)
    canvas[box.top : box.top + box.height, box.left : box.left + box.width] = resize(image, *inner)
    return canvas, box


def squash(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Box]:
    """Stretch a picture to (height, width) whatever its aspect: only for peers that were trained so."""
    return resize(image, *size), Box(0, 0, *size)


def unletterbox(alpha: np.ndarray, box: Box, size: tuple[int, int]) -> np.ndarray:
    """Cut the picture's part out of a letterboxed (or squashed) alpha and bring it to (height, width)."""
    inner = alpha[box.top : box.top + box.height, box.left : box.left + box.width]
    return resize(np.ascontiguousarray(inner), *size)


def _open(path: str | Path) -> Image.Image:
    try:
        picture = Image.open(path)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except Exception as error:  # Pillow's decoders raise many kinds on damaged headers
        remedy = f": {REMEDY}" if Path(str(path)).suffix.lower() in UNREAD else ""
        raise ImageError(f"{path}: not a picture that can be read{remedy}") from error
    if picture.width * picture.height > MAX_PIXELS:
        raise ImageError(
            f"{path}: {picture.width}x{picture.height} is above the limit of "
            f"{MAX_PIXELS // 1_000_000} megapixels: make it smaller first"
        )
    return picture


def _load(path: str | Path, picture: Image.Image) -> Image.Image:
    try:
        picture.load()
        if picture.getexif().get(ORIENTATION, 1) == 1:  # Pillow would copy it
            return picture
        return ImageOps.exif_transpose(picture)
    except Exception as error:  # truncated data surfaces as OSError, SyntaxError, struct.error ...
        raise ImageError(f"{path}: damaged or truncated picture") from error


def _srgb(picture: Image.Image) -> Image.Image:
    """A picture with a profile of other primaries (Display P3, Adobe RGB) in sRGB's, as it is meant to look."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "RGBA"):
        return picture
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(own).lower():
            return picture
        return ImageCms.profileToProfile(picture, own, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError):  # a profile that is damaged, or of grey
        return picture


def _grey16(picture: Image.Image) -> np.ndarray:
    values = np.asarray(picture).astype(np.float32)
    top = 65535.0 if values.max() > 255 else 255.0 if values.max() > 1 or picture.mode != "F" else 1.0
    return np.clip(values * (255.0 / top), 0, 255).astype(np.uint8)
