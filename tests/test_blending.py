"""Compositing: exact ends, no fringe, no glow, nothing squashed."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import portraits
from utils import blending


def test_over_at_the_ends() -> None:
    image, alpha = portraits.portrait(0)
    back = np.full_like(image, 31)
    assert np.array_equal(blending.over(image, alpha * 0 + 1, back), image)
    assert np.array_equal(blending.over(image, alpha * 0, back), back)


def test_over_is_right_to_one_level() -> None:
    rng = np.random.default_rng(0)
    front, back = (rng.integers(0, 256, (64, 80, 3)).astype(np.uint8) for _ in range(2))
    alpha = rng.random((64, 80)).astype(np.float32)
    true = front * alpha[..., None] + back * (1 - alpha[..., None])
    assert np.abs(blending.over(front, alpha, back) - true).max() <= 1.6  # alpha in 8 bits, and two roundings


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    image, alpha = portraits.portrait(0)
    whole = blending.clean_foreground(image, alpha)
    monkeypatch.setattr(blending, "ROWS", 7)
    assert np.array_equal(whole, blending.clean_foreground(image, alpha))


def test_cutout_keeps_certain_pixels_and_cleans_the_edge() -> None:
    alpha = np.clip((np.arange(90, dtype=np.float32) - 40) / 5, 0, 1)[None].repeat(60, 0)
    red, blue = np.array([220, 30, 30.0]), np.array([20, 40, 200.0])
    image = (alpha[..., None] * red + (1 - alpha[..., None]) * blue).astype(np.uint8)
    cut = blending.cutout(image, alpha)
    assert cut.shape == (60, 90, 4)
    certain = alpha == 1
    assert np.array_equal(cut[certain][:, :3], image[certain])
    assert np.array_equal(cut[..., 3], np.rint(alpha * 255).astype(np.uint8))
    edge = (alpha > 0.2) & (alpha < 0.9)
    assert np.abs(cut[edge][:, :3] - red).mean() < 0.25 * np.abs(image[edge] - red).mean()


def test_blur_has_no_glow_of_the_person() -> None:
    """A white person before a dark wall: the blurred wall beside the person stays dark."""
    alpha = np.zeros((120, 160), np.float32)
    alpha[30:, 60:100] = 1
    image = np.where(alpha[..., None] > 0, 255, 20).astype(np.uint8).repeat(3, 2)
    assert blending.blurred_background(image, alpha).max() < 40


def test_blur_really_blurs() -> None:
    image = portraits.portrait(5)[0]
    noisy = np.random.default_rng(0).integers(0, 255, image.shape, np.uint8)
    assert blending.blurred_background(noisy, np.zeros(image.shape[:2], np.float32)).std() < 0.5 * noisy.std()


def test_everything_person_has_a_blur_too() -> None:
    image, alpha = portraits.portrait(0)
    assert np.isfinite(blending.blurred_background(image, np.ones_like(alpha))).all()


@settings(max_examples=60, deadline=None)
@given(*[st.integers(1, 90)] * 4, st.sampled_from(["cover", "contain", "tile"]))
def test_fit_gives_the_size_and_keeps_circles_round(
    h: int, w: int, height: int, width: int, how: str
) -> None:
    picture = np.full((h, w, 3), 200, np.uint8)
    fitted = blending.fit_background(picture, (height, width), how)
    assert fitted.shape == (height, width, 3)
    if how != "contain":
        assert (fitted == 200).all()
    else:
        rows, columns = (fitted[..., 0] > 0).any(1).sum(), (fitted[..., 0] > 0).any(0).sum()
        scale = min(height / h, width / w)
        assert abs(rows - max(1, h * scale)) <= 1
        assert abs(columns - max(1, w * scale)) <= 1


@pytest.mark.parametrize("how", ["cover", "contain"])
@pytest.mark.parametrize("size", [(40, 40), (40, 20), (20, 80)])
def test_fit_keeps_the_middle_in_the_middle(size: tuple, how: str) -> None:
    """A symmetric picture stays symmetric, and a disc round, whatever is cut off or added."""
    y, x = np.indices((60, 120)) + 0.5
    disc = ((y - 30) ** 2 + (x - 60) ** 2 < 15**2).astype(np.uint8) * 255
    fitted = blending.fit_background(np.dstack([disc] * 3), size, how)[..., 0].astype(int)
    assert np.abs(fitted - fitted[::-1]).max() <= 40
    assert np.abs(fitted - fitted[:, ::-1]).max() <= 40
    rows, columns = (fitted > 127).any(1).sum(), (fitted > 127).any(0).sum()
    assert abs(rows - columns) <= 1


def red_before_blue(size: tuple[int, int] = (180, 320)) -> tuple[np.ndarray, np.ndarray]:
    """A red person with a soft edge before a blue wall: the frame, and alpha."""
    y, x = np.indices(size)
    distance = np.hypot(y - size[0], (x - size[1] / 2) * 1.3) - 0.7 * size[0]
    alpha = np.clip(0.5 - distance / 8, 0, 1).astype(np.float32)
    red, blue = np.array([210, 40, 40.0]), np.array([30, 50, 190.0])
    return (alpha[..., None] * red + (1 - alpha[..., None]) * blue).astype(np.uint8), alpha


@pytest.mark.parametrize("size", [(180, 320), (181, 323), (90, 61), (720, 1280)])
def test_live_composites_have_no_fringe(size: tuple[int, int]) -> None:
    """Before a green wall a pixel of the edge is red and green: what was blue in it goes."""
    frame, alpha = red_before_blue(size)
    wall = np.full_like(frame, (40, 200, 40))
    true = alpha[..., None] * (210, 40, 40) + (1 - alpha[..., None]) * (40, 200, 40)
    edge = (alpha > 0.1) & (alpha < 0.9)
    plain = np.abs(blending.over(frame, alpha, wall)[edge] - true[edge]).mean()
    live = blending.over_live(frame, alpha, wall)
    assert np.abs(live[edge] - true[edge]).mean() < 0.35 * plain
    # What is added at half size reaches a pixel or two farther.
    assert np.abs(live[alpha == 0].astype(int) - wall[alpha == 0]).max() <= 12
    assert np.abs(live[alpha == 1].astype(int) - frame[alpha == 1]).max() <= 12
    far = cv2.dilate(alpha, np.ones((9, 9), np.uint8)) == 0
    assert np.array_equal(live[far], wall[far])


def test_live_foreground_has_no_fringe() -> None:
    frame, alpha = red_before_blue()
    edge = (alpha > 0.2) & (alpha < 0.9)
    cleaned = blending.foreground_live(frame, alpha)
    assert np.abs(cleaned[edge] - (210, 40, 40)).mean() < 0.3 * np.abs(frame[edge] - (210.0, 40, 40)).mean()


def test_strips_have_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, alpha = red_before_blue((181, 323))
    wall = np.random.default_rng(0).integers(0, 256, frame.shape).astype(np.uint8)
    strips = blending.over_live(frame, alpha, wall, 0.5)
    monkeypatch.setattr(blending, "STRIP", 10_000)
    assert np.abs(strips.astype(int) - blending.over_live(frame, alpha, wall, 0.5)).max() <= 1


@pytest.mark.parametrize("wrap", [0.0, 0.6])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_live_composites_at_the_ends(level: float, wrap: float) -> None:
    frame, alpha = red_before_blue()
    wall = np.full_like(frame, 77)
    result = blending.over_live(frame, np.full_like(alpha, level), wall, wrap)
    assert np.abs(result.astype(int) - (frame if level else wall)).max() <= 1


def test_wrapped_light_is_added_at_the_rim_alone() -> None:
    dark = np.full((180, 320, 3), 30, np.uint8)
    bright = np.full_like(dark, 250)
    alpha = np.zeros((180, 320), np.float32)
    alpha[40:, 100:220] = 1
    gained = blending.over_live(dark, alpha, bright, 0.8).astype(int) - blending.over_live(
        dark, alpha, bright
    )
    assert gained[100, 102].mean() > 20
    assert np.abs(gained[120, 160]).max() <= 3
    assert np.abs(gained[:30]).max() == 0


FRAME, ALPHA = portraits.portrait(5, 96, 80)
WALL = np.random.default_rng(0).integers(0, 256, FRAME.shape).astype(np.uint8)
PICTURE_FILTERS = [
    blending.colour_transfer,
    blending.seamless_clone,
    blending.light_wrap,
    blending.over_live,
    lambda frame, alpha, _: blending.foreground_live(frame, alpha),
    lambda frame, alpha, _: blending.tint(frame, alpha, (255, 0, 0)),
]


@pytest.mark.parametrize("number", range(len(PICTURE_FILTERS)))
@pytest.mark.parametrize("alpha", [ALPHA, ALPHA * 0, ALPHA * 0 + 1], ids=["somebody", "nobody", "all"])
def test_pictures_stay_pictures_and_the_input_untouched(number: int, alpha: np.ndarray) -> None:
    frame, wall, before = FRAME.copy(), WALL.copy(), alpha.copy()
    result = PICTURE_FILTERS[number](frame, alpha, wall)
    assert result.shape == FRAME.shape
    assert result.dtype == np.uint8
    assert np.array_equal(frame, FRAME)
    assert np.array_equal(wall, WALL)
    assert np.array_equal(alpha, before)


def test_tint_colours_the_person_alone() -> None:
    grey = np.full_like(FRAME, 100)
    tinted = blending.tint(grey, ALPHA, (255, 0, 0), 0.5)
    assert np.array_equal(tinted[ALPHA == 0], grey[ALPHA == 0])
    assert tinted[ALPHA == 1][:, 0].min() > 170
    assert tinted[ALPHA == 1][:, 1].max() < 60


def test_colour_transfer_moves_the_person_to_the_tones_of_the_wall() -> None:
    blue = np.clip(np.random.default_rng(0).normal((30, 60, 180), 12, FRAME.shape), 0, 255).astype(np.uint8)
    result = blending.colour_transfer(FRAME, ALPHA, blue)
    weight = ALPHA[..., None] / ALPHA.sum()
    before = np.abs((FRAME * weight).sum((0, 1)) - blue.mean((0, 1))).mean()
    after = np.abs((result * weight).sum((0, 1)) - blue.mean((0, 1))).mean()
    assert after < 0.25 * before


def test_colour_transfer_before_an_even_wall_keeps_the_face() -> None:
    result = blending.colour_transfer(FRAME, ALPHA, np.full_like(FRAME, (60, 90, 160)))
    inside = ALPHA == 1
    assert result[inside].astype(float).std(0).mean() > 0.3 * FRAME[inside].astype(float).std(0).mean()


def test_seamless_clone_keeps_the_wall_around_the_person() -> None:
    """OpenCV solves for the rectangle around the mask: outside of it nothing may change."""
    smooth = cv2.GaussianBlur(WALL, (0, 0), 9)
    alpha = np.zeros_like(ALPHA)
    alpha[30:70, 25:55] = 1
    result = blending.seamless_clone(FRAME, alpha, smooth)
    outside = np.ones(alpha.shape, bool)
    outside[46:, 20:60] = False  # as in the reference, the person stands on the lower edge
    assert np.array_equal(result[outside], smooth[outside])
    assert np.abs(result[58:88, 30:50].astype(int) - smooth[58:88, 30:50]).mean() > 3


def test_alpha_follows_whom_seamless_clone_moves_down() -> None:
    alpha = np.zeros_like(ALPHA)
    alpha[30:70, 25:55] = 1
    smooth = cv2.GaussianBlur(WALL, (0, 0), 9)
    red = np.where(alpha[..., None] > 0, np.uint8([250, 20, 20]), FRAME)
    result = blending.seamless_clone(red, alpha, smooth)
    changed = np.abs(result.astype(int) - smooth).max(2) > 25
    moved = blending.dropped(alpha) > 0.5
    assert moved.sum() == (alpha > 0).sum()
    assert (
        changed & cv2.dilate(moved.astype(np.uint8), np.ones((9, 9))).astype(bool)
    ).sum() > 0.98 * changed.sum()
    np.testing.assert_array_equal(blending.dropped(alpha * 0), alpha * 0)


def test_light_wrap_lights_the_rim_alone() -> None:
    dark, bright = np.full_like(FRAME, 40), np.full_like(FRAME, 250)
    alpha = np.zeros((96, 80), np.float32)
    alpha[20:76, 20:60] = 1
    result = blending.light_wrap(dark, alpha, bright, width=0.03).astype(int)
    assert result[21, 40].mean() > 60
    assert np.abs(result[48, 40] - 40).max() <= 6
    assert np.array_equal(result[5, 5], [40, 40, 40])
    assert np.array_equal(blending.light_wrap(dark, alpha, bright, 0), dark)
