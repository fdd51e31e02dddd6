"""Compositing: exact ends, no fringe, no glow, nothing squashed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import portraits
from utils import blending
from utils.images import write_image


def test_over_at_the_ends() -> None:
    image, alpha = portraits.portrait(0)
    back = np.full_like(image, 31)
    assert np.array_equal(blending.over(image, alpha * 0 + 1, back), image)
    assert np.array_equal(blending.over(image, alpha * 0, back), back)


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    image, alpha = portraits.portrait(0)
    back = np.full_like(image, 31)
    whole = blending.over(image, alpha, back), blending.clean_foreground(image, alpha)
    monkeypatch.setattr(blending, "ROWS", 7)
    assert np.array_equal(whole[0], blending.over(image, alpha, back))
    assert np.array_equal(whole[1], blending.clean_foreground(image, alpha))


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


@pytest.mark.parametrize(
    ("spec", "rgb"), [("green", (0, 128, 0)), ("#00ff00", (0, 255, 0)), ("1,2,3", (1, 2, 3))]
)
def test_colours(spec: str, rgb: tuple) -> None:
    frame, alpha = portraits.portrait(0)
    assert blending.Background(spec)(frame, alpha)[0, 0].tolist() == list(rgb)


def test_background_specs(tmp_path) -> None:
    frame, alpha = portraits.portrait(0)
    write_image(tmp_path / "b.png", np.full((10, 10, 3), 50, np.uint8))
    composed = blending.Background(str(tmp_path / "b.png")).compose(frame, alpha)
    assert (composed[alpha == 0] == 50).all()
    assert blending.Background("transparent").compose(frame, alpha).shape == (96, 72, 4)
    with pytest.raises(ValueError, match="no colour and no picture"):
        blending.Background("nowhere.png")
