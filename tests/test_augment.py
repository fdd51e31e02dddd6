"""Image and mask never go apart; every change keeps its type and range; same seed, same picture."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import portraits
from tests.conftest import refused
from utils import augment, synthetic, texture
from utils.dataset import Pair, find_pairs
from utils.feed import Batches, Mix, prefetch
from utils.images import letterbox, list_images, read_image, write_image

EVERY = sorted({*texture.ALL, *(change for change, _ in texture.TEXTURES)}, key=lambda c: c.__name__)


def colour_is_mask(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A soft mask of random blobs, and a picture whose colour is that mask."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    for _ in range(4):
        centre, axes = rng.integers(0, (width, height)), rng.integers(3, 8 + min(height, width) // 3, 2)
        cv2.ellipse(mask, centre.tolist(), axes.tolist(), int(rng.integers(180)), 0, 360, 255, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 2))
    return np.repeat(mask[..., None], 3, 2), mask.astype(np.float32) / 255


def apart(image: np.ndarray, alpha: np.ndarray) -> float:
    """How far a picture whose colour is its mask has left the mask, in pixels: 0, 1 or 2 (more than one)."""
    shown = image[..., 0] > 127
    for distance in range(2):
        kernel = np.ones((2 * distance + 1,) * 2, np.uint8)
        # Within rounding of the two precisions, the outline of one lies within that of the other.
        low, high = cv2.erode(alpha, kernel), cv2.dilate(alpha, kernel)
        if not (shown & (high < 0.47)).any() and not (~shown & (low > 0.53)).any():
            return distance
    return 2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(20, 300), st.integers(20, 300))
@pytest.mark.parametrize("change", augment.GEOMETRY, ids=lambda c: c.__name__)
def test_each_geometry_alone_keeps_mask_on_picture(change, seed: int, height: int, width: int) -> None:
    image, mask = colour_is_mask(seed, height, width)
    size = (height, width)
    first = augment.move(image, mask, change(size, np.random.default_rng(seed)), size)
    assert apart(*first) <= 1
    again = augment.move(image, mask, change(size, np.random.default_rng(seed)), size)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(20, 400), st.integers(20, 400), st.sampled_from([(64, 64), (120, 80)])
)
def test_pipeline_keeps_mask_on_picture(seed: int, height: int, width: int, size: tuple[int, int]) -> None:
    """Any geometry the pipeline draws, at any of its sizes, with either border."""
    image, mask = colour_is_mask(seed, height, width)
    rng = np.random.default_rng(seed)
    matrix = augment.random_matrix((height, width), size, rng, smallest=0.25)
    for border in (cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT_101):
        moved = augment.move(image, mask, matrix, size, border)
        assert moved[0].shape == (*size, 3)
        assert moved[1].shape == size
        assert apart(*moved) <= 1


def test_a_mask_left_behind_is_seen() -> None:
    """What the property above would catch: two pixels, a degree or two, a flip of one of the two."""
    image, mask = colour_is_mask(5, 120, 160)
    assert apart(image, mask) == 0
    assert apart(image, np.roll(mask, 2, 1)) == 2
    turn = cv2.getRotationMatrix2D((80, 60), 3, 1)
    assert apart(image, augment.warp(mask, turn, mask.shape)) == 2
    assert apart(image, mask[:, ::-1]) == 2
    with pytest.raises(ValueError, match="different sizes"):
        augment.move(image, mask[:-1], turn, mask.shape)


def test_geometry_does_what_its_name_says() -> None:
    rng, size = np.random.default_rng(0), (90, 120)
    matrices = {change: [change(size, rng) for _ in range(300)] for change in augment.GEOMETRY}
    angles = [np.degrees(np.arctan2(m[0, 1], m[0, 0])) for m in matrices[augment.rotate]]
    assert -45 <= min(angles) < -40
    assert 40 < max(angles) <= 45
    zooms = [m[0, 0] for m in matrices[augment.scale]]
    assert 0.5 <= min(zooms) < 0.55
    assert 1.6 < max(zooms) <= 1.7
    moves = np.array([m[:, 2] for m in matrices[augment.shift]]) / (120, 90)
    assert 0.16 < np.abs(moves).max() <= 0.17
    image = portraits.portrait(1, *size)[0]
    assert np.array_equal(augment.warp(image, matrices[augment.flip][0], size), image[:, ::-1])


def test_changes_go_both_ways() -> None:
    """Brightness, contrast and saturation rise as well as fall."""
    image = portraits.portrait(1)[0]

    def spread(change: texture.Texture, value) -> np.ndarray:
        return np.array([value(change(image, np.random.default_rng(s))) for s in range(40)]) - value(image)

    def colour(picture: np.ndarray) -> float:
        return float(np.ptp(picture.astype(float), axis=2).mean())

    for change, value in (
        (texture.brightness, np.mean),
        (texture.contrast, np.std),
        (texture.saturation, colour),
    ):
        found = spread(change, value)
        assert found.min() < -8, change.__name__
        assert found.max() > 4, change.__name__


def test_pipeline_is_seeded_and_moves_nothing_in_texture() -> None:
    image, mask = colour_is_mask(3, 90, 70)
    first = augment.augmented(image, mask, (64, 64), np.random.default_rng(4))
    again = augment.augmented(image, mask, (64, 64), np.random.default_rng(4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    others = [augment.augmented(image, mask, (64, 64), np.random.default_rng(s)) for s in range(5)]
    assert len({picture.tobytes() for picture, _ in others}) == 5


def test_sheet_from_the_command_line(command, people, tmp_path) -> None:
    words = ("-m", "utils.augment", people, "--photos", 2, "--out")
    result = command(*words, tmp_path / "a.png", "--seed", 3)
    assert result.returncode == 0, result.stderr
    picture = read_image(tmp_path / "a.png")
    assert picture.shape[1] == augment.COLUMNS * augment.CELL
    assert picture.shape[0] % (2 * augment.CELL) == 0
    cells = picture.reshape(-1, augment.CELL, augment.COLUMNS, augment.CELL, 3).swapaxes(1, 2)
    green = (cells == (0, 255, 0)).all(-1).any((2, 3)).sum()
    assert green >= 2 * (1 + len(augment.GEOMETRY) + len(texture.ALL))  # each shows where the mask is
    assert command(*words, tmp_path / "b.png", "--seed", 3).returncode == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    refused(command("-m", "utils.augment", tmp_path / "none", "--out", tmp_path / "c.png"), "no such dataset")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(20, 200), st.integers(20, 200))
def test_geometry_moves_both_by_the_same_matrix(seed: int, height: int, width: int) -> None:
    """The mask painted into the picture stays on the mask, whatever the geometry."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.float32)
    mask[height // 4 : height // 2, width // 3 : width // 2] = 1
    image = np.repeat((mask * 255).astype(np.uint8)[..., None], 3, 2)
    matrix = augment.random_matrix((height, width), (64, 64), rng)
    moved_image, moved_mask = augment.warp(image, matrix, (64, 64)), augment.warp(mask, matrix, (64, 64))
    assert np.abs(moved_image[..., 0] / 255 - moved_mask).max() < 0.03
    assert 0 <= moved_mask.min() <= moved_mask.max() <= 1 + 1e-6


@pytest.mark.parametrize("shape", [(50, 80), (80, 50), (64, 64), (300, 200)])
def test_strength_zero_is_the_letterbox_of_serving(shape: tuple[int, int]) -> None:
    """Train and serve see the same pixels, up to the half pixel that rounding the box costs."""
    image = portraits.portrait(3, *shape)[0]
    matrix = augment.random_matrix(shape, (64, 64), np.random.default_rng(0), strength=0.0)
    moved, boxed = augment.warp(image, matrix, (64, 64)), letterbox(image, (64, 64))[0]
    assert np.abs(moved.astype(int) - boxed).mean() < 6


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
@pytest.mark.parametrize("change", EVERY, ids=lambda c: c.__name__)
def test_texture_is_a_picture_and_repeatable(change: texture.Texture, seed: int) -> None:
    image = portraits.portrait(1)[0]
    before = image.copy()
    first = change(image, np.random.default_rng(seed))
    assert first.dtype == np.uint8
    assert first.shape == image.shape
    assert np.array_equal(image, before)
    assert np.array_equal(first, change(image, np.random.default_rng(seed)))


@pytest.mark.parametrize("change", EVERY, ids=lambda c: c.__name__)
def test_texture_really_changes(change: texture.Texture) -> None:
    image = portraits.portrait(1)[0]
    assert any(
        np.abs(change(image, np.random.default_rng(s)).astype(int) - image).mean() > 1 for s in range(5)
    )


def test_priors_are_blank_often_and_close_otherwise() -> None:
    alpha = portraits.portrait(2)[1]
    priors = [augment.jittered_prior(alpha, np.random.default_rng(seed)) for seed in range(200)]
    blank = sum(not prior.any() for prior in priors)
    assert 50 < blank < 110
    kept = [p for p in priors if p.any()]
    assert all(0 <= p.min() <= p.max() <= 1 + 1e-6 for p in kept)
    assert 0.01 < np.mean([np.abs(p - alpha).mean() for p in kept]) < 0.2
    other = np.full_like(alpha, 0.5)
    mixed = [augment.jittered_prior(alpha, np.random.default_rng(seed), other=other) for seed in range(200)]
    assert 8 < sum(np.array_equal(prior, other) for prior in mixed) < 35
    nobody = [
        augment.jittered_prior(alpha * 0, np.random.default_rng(seed), other=other) for seed in range(200)
    ]
    assert 90 < sum(np.array_equal(prior, other) for prior in nobody) < 150
    assert all(not prior.any() or np.array_equal(prior, other) for prior in nobody)


def test_estimated_foreground_has_no_fringe() -> None:
    """A red person cut from a blue wall at a soft edge: the estimate is red where alpha is a half."""
    alpha = np.clip((np.arange(60, dtype=np.float32) - 25) / 5, 0, 1)[None].repeat(60, 0)
    red, blue = np.array([220, 30, 30.0]), np.array([20, 40, 200.0])
    image = (alpha[..., None] * red + (1 - alpha[..., None]) * blue).astype(np.uint8)
    edge = (alpha > 0.3) & (alpha < 0.9)
    fringe = np.abs(image[edge] - red).mean()
    left = np.abs(synthetic.estimate_foreground(image, alpha)[edge] - red).mean()
    assert left < 0.2 * fringe


def test_composite_ends() -> None:
    image, alpha = portraits.portrait(4)
    background = np.full_like(image, 77)
    assert (synthetic.composite(image, alpha * 0, background) == 77).all()
    assert np.array_equal(synthetic.composite(image, alpha * 0 + 1, background), image)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(3, 400), st.integers(3, 400))
def test_random_crop_fills_any_size(seed: int, height: int, width: int) -> None:
    picture = np.full((height, width, 3), 9, np.uint8)
    crop = synthetic.random_crop(picture, (32, 48), np.random.default_rng(seed))
    assert crop.shape == (32, 48, 3)
    assert (crop == 9).all()


@pytest.fixture(scope="module")
def feed(people, tmp_path_factory: pytest.TempPathFactory) -> Batches:
    walls = list_images(portraits.write_backgrounds(tmp_path_factory.mktemp("walls")))
    pairs = find_pairs(people / "train")
    return Batches(pairs, (64, 64), 4, mix=Mix(True, walls, pairs[:3], 0.5), seed=3)


def test_batches_are_right_and_repeatable(feed: Batches) -> None:
    feed.start_epoch(2)
    first = feed[1]
    pixels, alpha, weights = first
    assert pixels.shape == (4, 64, 64, 3)
    assert alpha.shape == (4, 64, 64, 1)
    assert weights.tolist() == [1, 1, 1, 1]
    assert pixels.max() > 100
    assert 0 <= alpha.min() <= alpha.max() <= 1 + 1e-6
    for a, b in zip(first, feed[1], strict=True):
        assert np.array_equal(a, b)
    feed.start_epoch(3)
    assert not np.array_equal(feed[1][0], pixels)


def test_prefetch_gives_every_batch_in_order(feed: Batches) -> None:
    feed.start_epoch(0)
    together = list(prefetch(feed, workers=3, ahead=2))
    assert len(together) == len(feed) == 3
    for i, batch in enumerate(together):
        assert np.array_equal(batch[0], feed[i][0])


def test_without_augmentation_it_is_what_the_segmenter_feeds(people) -> None:
    from utils.segmenter import Segmenter

    pairs = find_pairs(people / "train")
    pixels, _, _ = Batches(pairs[:1], (64, 64), 1)[0]
    served, _ = Segmenter({}, (64, 64), 3, 1).prepare([read_image(pairs[0].image)], [None])
    assert np.array_equal(pixels, served)


def test_fourth_channel_holds_the_prior(people) -> None:
    pixels, alpha, _ = Batches(find_pairs(people / "train"), (64, 64), 12, 4, Mix(True), 0)[0]
    priors = pixels[..., 3]
    assert priors.max() > 200
    assert (priors.max((1, 2)) == 0).any()
    shown = priors.max((1, 2)) > 0
    assert np.abs(priors[shown] / 255 - alpha[shown, ..., 0]).mean() < 0.25


def test_a_share_of_pictures_is_empty(feed: Batches) -> None:
    """About 8 in 100 show a background and nobody."""
    rng = np.random.default_rng(0)
    pair = feed.pairs[0]
    empty = sum(not feed.sample(pair, rng)[1].any() for _ in range(400))
    assert 12 < empty < 60
    never = Batches(feed.pairs, (64, 64), 4, mix=Mix(True, feed.mix.backgrounds, empty_share=0.0))
    assert all(never.sample(pair, rng)[1].any() for _ in range(100))


def test_people_are_far_away_on_new_backgrounds_only(feed: Batches) -> None:
    """The smallest a picture gets: a quarter of its fit when composited, 0.8 otherwise; half are mirrored."""
    whole = np.ones((64, 64), np.float32)
    image = np.zeros((64, 64, 3), np.uint8)
    for replace, smallest in ((True, 0.25), (False, 0.8)):
        rng = np.random.default_rng(1)
        shares = [feed._place(image, whole, replace, rng)[1].mean() for _ in range(200)]
        assert smallest**2 * 0.7 < min(shares) < smallest**2 * 1.6
    assert 100 < sum(share == 1 for share in shares) < 180  # a photo seen whole fills the rest with itself


def test_twins_differ_in_colour_alone(people) -> None:
    batches = Batches(find_pairs(people / "train"), (64, 64), 8, 4, Mix(True, twins=True), 0)
    assert len(batches) == 3  # 12 photos, four a batch
    pixels, alpha, _ = batches[0]
    assert np.array_equal(alpha[:4], alpha[4:])
    assert np.array_equal(pixels[:4, ..., 3], pixels[4:, ..., 3])
    assert (
        sum(np.array_equal(a, b) for a, b in zip(pixels[:4, ..., :3], pixels[4:, ..., :3], strict=True)) < 3
    )
    with pytest.raises(ValueError, match="even batch"):
        Batches(find_pairs(people / "train"), (64, 64), 5, mix=Mix(True, twins=True))


def test_priors_may_be_of_another_picture(people) -> None:
    """After a cut the prior is wrong: some priors are the alpha of the row before."""
    batches = Batches(find_pairs(people / "train"), (64, 64), 12, 4, Mix(True), 0)
    borrowed = 0
    for epoch in range(4):
        batches.start_epoch(epoch)
        pixels, alpha, _ = batches[0]
        borrowed += sum(np.allclose(pixels[i, ..., 3], 255 * alpha[i - 1, ..., 0]) for i in range(1, 12))
    assert 1 <= borrowed <= 15


def test_unreadable_photo_stops_with_its_name(people, tmp_path) -> None:
    write_image(tmp_path / "m.png", np.zeros((9, 9), np.uint8))
    (tmp_path / "a.jpg").write_text("no")
    with pytest.raises(ValueError, match=r"a\.jpg"):
        list(prefetch(Batches([Pair("a", tmp_path / "a.jpg", tmp_path / "m.png")], (32, 32), 1)))
