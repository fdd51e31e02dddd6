"""Photos that show the same: resized, recompressed, slightly cropped or mirrored copies, without comparing all pairs.

Each photo is hashed by the signs of its 63 lowest cosine frequencies (the "pHash" of Zauner, "Implementation
and Benchmarking of Perceptual Image Hash Functions", 2010), whole and with up to a tenth cut off on fourteen ways.
In each of 16 tables, 14 of the bits choose a bucket (bit sampling: Indyk and Motwani, "Approximate Nearest
Neighbors", STOC 1998); photos that meet there and differ in few bits are compared as 32x32 greys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

SIDE = 64
SIGNATURE = 32
FREQUENCIES = 8
TABLES, KEY_BITS = 16, 14
MOST_IN_BUCKET = 256
NEAR_BITS = 12
NEAR_DETAIL = 0.85  # copies .86 and more, different people before a like wall .75 and less
NEAR_CORRELATION = 0.95  # slightly cropped copies of real photos: median .985, one in a hundred below .95
HOPELESS, CERTAIN = 0.6, 0.98  # correlations beyond which a better fit would change nothing
FLAT = 6.0  # standard deviation (of 255) below which a picture shows nothing that could be compared

A, B = 0.05, 0.1  # what a slight crop takes away
CROPS = (  # left, top, right, bottom
    (0, 0, 0, 0), (A, A, A, A), (B, B, B, B), (A, A, 0, 0), (0, A, A, 0), (A, 0, 0, A), (0, 0, A, A), (B, 0, 0, 0), (0, B, 0, 0), (0, 0, B, 0), (0, 0, 0, B),
    (B, B, 0, 0), (0, B, B, 0), (B, 0, 0, B), (0, 0, B, B),
)  # fmt: skip


class Look(NamedTuple):
    """`hashes` uint64 [15] of the whole photo and its crops, `grey` uint8 [32, 32]; None for a flat picture."""

    hashes: np.ndarray
    grey: np.ndarray


class Match(NamedTuple):
    """Two photos by their numbers, how well they correlate (0..1), and whether one is mirrored."""

    first: int
    second: int
    likeness: float
    mirrored: bool


def _transform(start: float, stop: float) -> np.ndarray:
    """Matrix [8, 64]: the lowest cosine frequencies of the samples between two shares of the side."""
    samples = np.linspace(start * SIDE, stop * SIDE, SIGNATURE + 1)
    overlap = np.diff(
        np.clip(samples[:, None] - np.arange(SIDE), 0, 1), axis=0
    )  # of each sample with each pixel
    steps = np.pi * (np.arange(SIGNATURE) + 0.5) / SIGNATURE
    return (np.cos(np.outer(np.arange(FREQUENCIES), steps)) @ overlap).astype(np.float32)


_ROWS = [_transform(top, 1 - bottom) for _, top, _, bottom in CROPS]
_COLUMNS = [_transform(left, 1 - right).T for left, _, right, _ in CROPS]
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-3)
_WEIGHTS = np.uint64(1) << np.arange(64, dtype=np.uint64)
_TABLES = [np.random.default_rng(n).choice(np.arange(1, 64), KEY_BITS, replace=False) for n in range(TABLES)]
# Mirrored, the odd horizontal frequencies change their sign; bit 0 is the mean, which says nothing.
_ODD = np.uint64(sum(1 << bit for bit in range(1, 64) if bit % FREQUENCIES % 2))


def look(frame: np.ndarray) -> Look | None:
    """What is kept of a photo, uint8 RGB [H, W, 3]."""
    grey = cv2.cvtColor(cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    if grey.std() < FLAT:
        return None
    plane = grey.astype(np.float32)
    waves = np.stack([rows @ plane @ columns for rows, columns in zip(_ROWS, _COLUMNS, strict=True)])
    bits = waves.reshape(len(CROPS), -1) > 0
    bits[:, 0] = False
    return Look(bits @ _WEIGHTS, cv2.resize(grey, (SIGNATURE, SIGNATURE), interpolation=cv2.INTER_AREA))


def groups(looks: list[Look | None], same: list[tuple[int, int]] | None = None) -> list[list[Match]]:
    """Photos that hang together: for each group the matches that join it, the best first; largest group first.

    Numbers are places in `looks`; `same` are pairs known to be copies. A group of n photos is joined by n - 1 matches. A bucket with more than 256
    photos (a standing camera) is compared with 256 of them: enough to see that they belong together.
    """
    parent = list(range(len(looks)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    joins = [Match(first, second, 1.0, False) for first, second in same or []]
    for match in joins:
        parent[root(match.first)] = root(match.second)
    numbers = [place for place, one in enumerate(looks) if one is not None]
    hashes = np.array([looks[place].hashes for place in numbers], np.uint64).reshape(-1, len(CROPS))
    for first, second, query in _candidates(hashes):
        a, b = numbers[first], numbers[second]
        if root(a) == root(b):
            continue
        crop, mirrored = CROPS[query // 2], bool(query % 2)
        likeness = _likeness(looks[a].grey, looks[b].grey, crop, mirrored)
        if likeness >= NEAR_CORRELATION:
            parent[root(a)] = root(b)
            joins.append(Match(a, b, likeness, mirrored))
    together: dict[int, list[Match]] = {}
    for match in sorted(joins, key=lambda match: -match.likeness):
        together.setdefault(root(match.first), []).append(match)
    return sorted(together.values(), key=len, reverse=True)


def _candidates(hashes: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(photo, photo, query) of near hashes uint64 [N, 15], nearest first; query 2i is crop i, 2i + 1 mirrored."""
    count, best = len(hashes), np.empty((0, 3), np.int64)  # pair, bits, asking photo and query
    for query in range(2 * len(CROPS)):
        asked = hashes[:, query // 2] ^ (_ODD if query % 2 else np.uint64(0))
        asking, answer, bits = _near(asked, hashes[:, 0])
        pair = np.minimum(asking, answer) * count + np.maximum(asking, answer)
        best = np.concatenate([best, np.stack([pair, bits, asking * 64 + query], 1)])
        best = best[np.lexsort((best[:, 1], best[:, 0]))]
        best = best[np.flatnonzero(np.diff(best[:, 0], prepend=-1))]
    for pair, _, who in best[np.argsort(best[:, 1], kind="stable")].tolist():
        asking = who // 64
        yield asking, pair // count + pair % count - asking, who % 64


def _near(asked: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers in `asked` and in `whole` that meet in a bucket, and in how many bits they differ."""
    found = []
    for bits in _TABLES:
        keys, wanted = (_key(hashes, bits) for hashes in (whole, asked))
        order = np.argsort(keys, kind="stable")
        begin = np.searchsorted(keys[order], wanted, "left")
        count = np.minimum(np.searchsorted(keys[order], wanted, "right") - begin, MOST_IN_BUCKET)
        asking = np.repeat(np.arange(len(asked)), count)
        within = np.arange(len(asking)) - np.repeat(np.cumsum(count) - count, count)
        answer = order[np.repeat(begin, count) + within]
        differ = np.bitwise_count(asked[asking] ^ whole[answer]).astype(np.int64)
        keep = (differ <= NEAR_BITS) & (asking != answer)
        found.append((asking[keep], answer[keep], differ[keep]))
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))


def _key(hashes: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The chosen bits of each hash as one small number."""
    key = np.zeros(len(hashes), np.int32)
    for place, bit in enumerate(bits):
        key |= ((hashes >> np.uint64(bit)) & np.uint64(1)).astype(np.int32) << place
    return key


def _likeness(a: np.ndarray, b: np.ndarray, crop: tuple, mirrored: bool) -> float:
    """Correlation of the grey `b` with the cropped (and mirrored) grey `a`, moved to where it fits best.

    Source of the fit: Evangelidis and Psarakis, "Parametric Image Alignment Using Enhanced Correlation
    Coefficient Maximization", PAMI 2008.
    """
    left, top, right, bottom = crop
    across, down = 1 - left - right, 1 - top - bottom
    if mirrored:
        a, left = np.ascontiguousarray(a[:, ::-1]), right
    warp = np.array(
        [
            [across, 0, SIGNATURE * left + (across - 1) / 2],
            [0, down, SIGNATURE * top + (down - 1) / 2],
        ],
        np.float32,
    )
    likeness, detail = _compared(a, b, warp)
    if likeness > HOPELESS and not (likeness > CERTAIN and detail > CERTAIN):
        try:
            _, fitted = cv2.findTransformECC(b, a, warp.copy(), cv2.MOTION_AFFINE, _STEPS)
        except cv2.error:  # it did not converge
            fitted = warp
        turned = max(abs(fitted[0, 1]), abs(fitted[1, 0]))
        scales = sorted((fitted[0, 0], fitted[1, 1]))
        if turned < 0.05 and scales[0] > 0.75 and scales[1] < 1.1:
            likeness, detail = max((likeness, detail), _compared(a, b, fitted))
    return likeness if detail >= NEAR_DETAIL else 0.0


def _compared(a: np.ndarray, b: np.ndarray, warp: np.ndarray) -> tuple[float, float]:
    """Correlation of `b` with the moved `a`, of all and of the detail alone: two people before a plain wall share
    the first only."""
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    part = cv2.warpAffine(a, warp, (SIGNATURE,) * 2, flags=how, borderMode=cv2.BORDER_REPLICATE)
    inner = slice(3, -3)
    planes = [plane[inner, inner].astype(np.float32) for plane in (part, b)]
    fine = [plane - cv2.GaussianBlur(plane, (0, 0), 2) for plane in planes]
    return tuple(float(np.corrcoef(x.ravel(), y.ravel())[0, 1]) for x, y in (planes, fine))
