"""People cut out and kept, things around them, and light, sharpness and grain that are measured and matched."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import portraits
from utils import clutter, foregrounds, matching
from utils.foregrounds import Foregrounds, find_cutouts
from utils.images import ImageError, write_image


def rgba(seed: int) -> np.ndarray:
    image, alpha = portraits.portrait(seed)
    return np.dstack([image, (alpha * 255).astype(np.uint8)])


def scene(blur: float = 0.0, grain: float = 0.0) -> np.ndarray:
    """Flat areas and sharp steps, float32, blurred and with grain on top."""
    picture = np.full((240, 320, 3), 110, np.float32)
    for number in range(6):
        corner = 10 + 50 * number, 20 + 25 * number
        cv2.rectangle(picture, corner, (corner[0] + 60, corner[1] + 80), (40 + 30 * number,) * 3, -1)
    picture = cv2.GaussianBlur(picture, (0, 0), blur) if blur else picture
    noise = np.random.default_rng(0).standard_normal((240, 320, 1)).astype(np.float32)
    return picture + grain * noise


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 12))
def test_grain_is_measured(deviation: float) -> None:
    assert matching.grain(scene(1.0, deviation)) == pytest.approx(deviation, rel=0.15)
    assert matching.grain(scene(1.0)) < 0.1


@settings(max_examples=25, deadline=None)
@given(st.floats(0.8, 2), st.floats(0, 2))
def test_sharpness_is_measured(blur: float, deviation: float) -> None:
    assert matching.blur_width(scene(blur, deviation)) == pytest.approx(blur, rel=0.3)
    assert matching.blur_width(np.full((50, 50, 3), 90, np.uint8)) is None


def test_person_takes_on_light_sharpness_and_grain() -> None:
    """Dark and blue before bright and orange; sharp and clean before soft and grainy: nearer in each respect."""
    alpha = np.zeros((240, 320), np.float32)
    alpha[20:, 60:260] = 1
    person = scene() * np.array([0.5, 0.6, 0.9], np.float32)
    wall = scene(1.4, 3.0) * np.array([1.1, 0.9, 0.6], np.float32)
    rng = np.random.default_rng(0)
    match = matching.measure(person, alpha, wall, 1.0)
    changed, soft = matching.match_person(person, alpha, match, rng)
    own = [picture[alpha > 0.5].mean(0) for picture in (person, changed)]
    goal = wall.mean((0, 1))
    assert (np.abs(own[1] - goal) < np.abs(own[0] - goal)).all()
    assert matching.grain(changed, alpha) == pytest.approx(matching.grain(wall), rel=0.3)
    clean, _ = matching.match_person(person, alpha, match._replace(person_grain=0), rng)
    assert matching.blur_width(clean, alpha) == pytest.approx(matching.blur_width(wall), rel=0.4)
    assert matching.blur_width(person, alpha) < 0.5
    assert ((soft > 0.05) & (soft < 0.95)).sum() > 400  # the edge of a soft person is soft
    half = matching.measure(person, alpha, wall, 0.5)
    assert np.abs(half.gains - 1).sum() < np.abs(match.gains - 1).sum()
    none = matching.measure(person, alpha, wall, 0.0)
    assert np.array_equal(matching.match_person(person, alpha, none, rng)[0], person)
    assert np.array_equal(matching.match_scene(wall, none, rng), wall)
    empty = matching.measure(person, alpha * 0, wall, 1.0)
    assert (empty.gains == 1).all()


def test_scene_takes_on_what_the_person_has() -> None:
    """A soft, grainy person before a sharp, clean scene: the scene changes, the person does not."""
    alpha = np.ones((240, 320), np.float32)
    match = matching.measure(scene(1.5, 5.0), alpha, scene(), 1.0)
    assert match.person_blur == match.person_grain == 0
    changed = matching.match_scene(scene(), match, np.random.default_rng(0))
    assert matching.grain(changed) == pytest.approx(5, rel=0.3)
    clean = matching.match_scene(scene(), match._replace(scene_grain=0), np.random.default_rng(0))
    assert matching.blur_width(clean) > 0.8 > 0.6 > matching.blur_width(scene())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(4, 300), st.integers(4, 300))
@example(1182, 51, 155)
def test_pieces_of_any_picture(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    picture = cv2.resize(portraits.portrait(seed % 9)[0], (width, height))
    piece = clutter.piece_of(picture, rng)
    assert piece.colours.shape == (*piece.alpha.shape, 3)
    assert max(piece.alpha.shape) <= clutter.LARGEST
    assert 0 <= piece.alpha.min() <= piece.alpha.max() <= 1
    thing = clutter.scatter([piece], (60, 80), True, rng)[0]
    canvas, alpha = np.zeros((60, 80, 3), np.float32), np.ones((60, 80), np.float32)
    clutter.lay(canvas, alpha, thing, (5.0, -3.0))
    assert 0 <= alpha.min() <= alpha.max() <= 1
    # Where nothing is hidden, nothing was drawn: a cover that float32 cannot take from 1 leaves a trace at most.
    assert canvas[alpha == 1].max(initial=0) < 1e-4


def test_pieces_have_a_size_and_an_edge() -> None:
    """Most cover a good part of their box and none fills it to the border."""
    shares, borders = [], []
    for seed in range(60):
        alpha = clutter.piece_of(portraits.portrait(seed, 200, 260)[0], np.random.default_rng(seed)).alpha
        shares.append(alpha.mean())
        borders.append(np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]]).mean())
    assert 0.1 < np.median(shares) < 0.8
    assert min(shares) > 0.02
    assert np.mean(borders) < 0.1


def test_cutouts_of_three_kinds_of_folder(tmp_path: Path) -> None:
    write_image(tmp_path / "rgba" / "a.png", rgba(1))
    portraits.write_dataset(tmp_path / "parts", 3, 2)
    portraits.write_dataset(tmp_path / "tmp", 4, 1)
    os.rename(tmp_path / "tmp" / "train", tmp_path / "pairs")
    assert [path.name for path in find_cutouts(tmp_path / "rgba")] == ["a.png"]
    assert len(find_cutouts(tmp_path / "parts")) == 3  # those of val stay unseen
    pairs = find_cutouts(tmp_path / "pairs")
    assert len(pairs) == 4
    person = Foregrounds(pairs)(pairs[0])
    assert person.foreground.shape == (*person.alpha.shape, 3)
    with pytest.raises(FileNotFoundError):
        find_cutouts(tmp_path / "none")


def test_hard_masks_get_an_edge_and_soft_ones_keep_theirs() -> None:
    image, soft = portraits.portrait(2, 200, 160)
    hard = (soft > 0.5).astype(np.float32)
    between = [
        ((alpha > 0.05) & (alpha < 0.95)).sum()
        for alpha in (hard, foregrounds.cut_out_photo(image, hard).alpha)
    ]
    assert between[0] == 0
    assert between[1] > 100
    kept = foregrounds.cut_out_photo(image, soft).alpha
    rows, columns = np.flatnonzero(soft.max(1) > 0.05), np.flatnonzero(soft.max(0) > 0.05)
    top, left = max(0, rows[0] - foregrounds.MARGIN), max(0, columns[0] - foregrounds.MARGIN)
    assert np.array_equal(kept, soft[top:, left:][: kept.shape[0], : kept.shape[1]])


def test_kept_foregrounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimated once; again when the file changes or what was kept is spoiled; alike from either."""
    path, cache = tmp_path / "a.png", tmp_path / "cache"
    write_image(path, rgba(1))
    calls = []
    real = foregrounds.cut_out
    monkeypatch.setattr(foregrounds, "cut_out", lambda picture: calls.append(1) or real(picture))
    first, again = (Foregrounds([path], cache)(path) for _ in range(2))
    assert len(calls) == 1
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    exact = real(rgba(1))
    assert np.abs(first.foreground - exact.foreground).max() <= 0.51
    assert np.abs(first.alpha - exact.alpha).max() < 1e-6
    write_image(path, rgba(2))
    os.utime(path, ns=(1, 1))
    assert not np.array_equal(Foregrounds([path], cache)(path).alpha, first.alpha)
    assert len(calls) == 2
    for kept in cache.iterdir():
        kept.write_bytes(kept.read_bytes()[:100])
    assert np.isfinite(Foregrounds([path], cache)(path).foreground).all()
    assert len(calls) == 3
    assert {kept.suffix for kept in cache.iterdir()} == {".npy"}


def test_many_threads_share_a_cache(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, rgba(1))
    people, found = Foregrounds([path], tmp_path / "cache"), []
    threads = [threading.Thread(target=lambda: found.append(people(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(np.array_equal(person.foreground, found[0].foreground) for person in found)


def test_what_is_no_cutout_is_named(tmp_path: Path) -> None:
    image = portraits.portrait(1)[0]
    write_image(tmp_path / "a.png", image)
    with pytest.raises(ImageError, match=r"a\.png.*transparent"):
        Foregrounds([])(tmp_path / "a.png")
    write_image(tmp_path / "d" / "images" / "b.png", image)
    write_image(tmp_path / "d" / "masks" / "b.png", image[..., 0] * 0)
    pairs = find_cutouts(tmp_path / "d")
    with pytest.raises(ImageError, match=r"b\.png.*empty"):
        Foregrounds(pairs)(pairs[0])
