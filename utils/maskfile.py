"""How a mask file holds its mask, what is wrong with that, and the mask that was meant.

A mask is found as grey 0/255, as 0/1, as class labels, as a palette, in one colour channel, in the alpha
channel, or with label 255 for "ignore" along the outline (Pascal VOC's convention).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from utils.images import holds_bytes, mask_values, to_uint8

IGNORE = 255
MOST_LABELS = 8
MISREAD = {  # what training would make nothing sensible of, in words
    "ignore": "labels with 255 for pixels to be ignored",
    "channel": "in colour or in one channel",
    "labels": "class numbers",
    "palette": "colours of a palette",
}
VOC_PERSON = (192, 128, 128)  # of the palette of Pascal VOC's class PNGs, label 15


class Held(NamedTuple):
    """`fault`: "zero_one", "ignore", "palette", "channel", "alpha", "labels" or None.

    `meant`: uint8 [H, W] 0..255, None where the file alone does not tell; then `choices` holds a mask
    uint8 [H, W] for each label or colour that may be the person (none: this is not a mask).
    `misread`: training would not see what was meant.
    """

    fault: str | None
    meant: np.ndarray | None
    choices: dict[str, np.ndarray]
    misread: bool


def examine(picture: Image.Image) -> Held:
    """Look at a decoded mask file of any mode (`images.open_upright`)."""
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if picture.mode in ("RGBA", "LA", "PA"):
        return _with_alpha(picture)
    if picture.mode == "P":
        return _palette(picture)
    if picture.mode.startswith(("I", "F")):
        if holds_bytes(picture):
            return _grey(np.asarray(picture).astype(np.uint8))
        return Held(None, to_uint8(mask_values(picture)), {}, False)
    if picture.mode in ("1", "L"):
        return _grey(np.asarray(picture.convert("L")))
    return _colour(picture.convert("RGB"))


def labels_in(values: np.ndarray) -> list[int]:
    """The values of uint8 [H, W] that occur."""
    return np.flatnonzero(cv2.calcHist([values], [0], None, [256], [0, 256]).ravel()).tolist()


def thin(region: np.ndarray) -> bool:
    """Whether a region uint8 [H, W] is an outline or a frame: nowhere thicker than 4 % of the diagonal."""
    inside = cv2.distanceTransform(region, cv2.DIST_L2, cv2.DIST_MASK_3)
    return bool(0 < inside.max() <= max(2.5, 0.02 * np.hypot(*region.shape)))


def settled(labels: np.ndarray, person: int) -> np.ndarray:
    """Label PNG to 0/255: each pixel of label 255 goes to the nearer side, so that the edge runs in its middle."""
    mask = np.where(labels == person, np.uint8(255), np.uint8(0))
    unknown = labels == IGNORE
    if unknown.any():
        to_person, to_rest = (
            cv2.distanceTransform((~side).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            for side in (mask > 0, ~unknown & (mask == 0))
        )
        mask[unknown & (to_person < to_rest)] = 255
    return mask


def _grey(values: np.ndarray) -> Held:
    used = labels_in(values)
    if used in ([0, 1], [1]):
        return Held("zero_one", values * np.uint8(255), {}, False)
    if used in ([0, 1, IGNORE], [1, IGNORE]) and thin((values == IGNORE).astype(np.uint8)):
        return Held("ignore", settled(values, 1), {}, True)
    outlined = used[-1] == IGNORE and thin((values == IGNORE).astype(np.uint8))
    classes = used[:-1] if outlined and len(used) > 2 else used
    # 2 and 127 are no person by any reading: the numbers are names of classes.
    if 1 < classes[-1] < 128 and len(used) <= MOST_LABELS:
        return Held("labels", None, _choices(values, [u for u in classes if u]), True)
    return Held(None, values, {}, False)


def _choices(labels: np.ndarray, candidates: list[int]) -> dict[str, np.ndarray]:
    return {f"label {value}": settled(labels, value) for value in candidates[:MOST_LABELS]}


def _palette(picture: Image.Image) -> Held:
    indices = np.asarray(picture)
    used = labels_in(indices)
    table = np.array(picture.getpalette("RGB") or [0], np.uint8)
    table = np.pad(table, (0, 768 - len(table))).reshape(256, 3)
    if used[-1] <= 1:
        return Held("palette", to_uint8(mask_values(picture)), {}, False)
    if used in ([0, 1, IGNORE], [1, IGNORE]) and thin((indices == IGNORE).astype(np.uint8)):
        return Held("ignore", settled(indices, 1), {}, True)
    colours = table[used].astype(int)
    if np.ptp(colours, axis=1).max() <= 8:  # greys: a picture that was merely saved with a palette
        grey = _grey(cv2.LUT(indices, table[:, 1]))
        return grey._replace(fault=grey.fault or "palette")
    outlined = used[-1] == IGNORE and thin((indices == IGNORE).astype(np.uint8))
    classes = [value for value in used if value and not (outlined and value == IGNORE)]
    if 15 in classes and tuple(table[15]) == VOC_PERSON:
        return Held("palette", settled(indices, 15), {}, True)
    return Held("palette", None, _choices(indices, classes), True)


def _with_alpha(picture: Image.Image) -> Held:
    alpha = np.asarray(picture.getchannel("A"))
    rest = picture.convert("RGBA").convert("RGB")
    low, high = int(alpha.min()), int(alpha.max())
    if low == high:
        colour = _colour(rest)
        return colour if high == 255 else colour._replace(fault="channel", misread=True)
    # The same mask twice is no fault.
    same = np.abs(np.asarray(rest.convert("L")).astype(np.int16) - alpha).mean() < 2
    return Held(None if same else "alpha", _grey(alpha).meant if high == 1 else alpha, {}, False)


def _colour(picture: Image.Image) -> Held:
    values = np.asarray(picture)
    if values.max() == 1:
        differ = bool(np.ptp(values, axis=2).any())
        return Held("channel" if differ else "zero_one", values.max(2) * np.uint8(255), {}, differ)
    low, high = (cv2.reduce(values.reshape(-1, 3), 0, how)[0] for how in (cv2.REDUCE_MIN, cv2.REDUCE_MAX))
    channels = cv2.split(values)
    spread = cv2.subtract(
        cv2.max(cv2.max(*channels[:2]), channels[2]), cv2.min(cv2.min(*channels[:2]), channels[2])
    )
    if np.count_nonzero(spread > 32) <= 0.001 * spread.size:
        return _grey(np.asarray(picture.convert("L")))
    ranges = (high.astype(int) - low).tolist()
    if sorted(ranges)[1] <= 16:
        return Held("channel", _bright(channels[int(np.argmax(ranges))]), {}, True)
    return _coloured_labels(values)


def _bright(channel: np.ndarray) -> np.ndarray:
    """A channel uint8 [H, W]; of a dark colour alone, (128, 0, 0), the 128 is 255."""
    used = labels_in(channel)
    alone = len(used) == 2 and used[0] == 0
    return np.where(channel > 0, np.uint8(255), np.uint8(0)) if alone else channel


def _coloured_labels(values: np.ndarray) -> Held:
    """A mask drawn in colours: black and one other are told apart, more need a witness."""
    step = max(1, int(np.sqrt(values.shape[0] * values.shape[1] / 65536)))
    colours = np.unique(values[::step, ::step].reshape(-1, 3), axis=0)
    if len(colours) > MOST_LABELS:
        return Held("channel", None, {}, True)
    masks = {
        "colour " + ",".join(map(str, colour)): cv2.inRange(values, colour, colour)
        for colour in colours
        if colour.any()
    }
    if len(masks) == 1 and len(colours) == 2:
        return Held("channel", next(iter(masks.values())), {}, True)
    return Held("channel", None, masks, True)
