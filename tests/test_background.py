"""Backgrounds: colours, pictures, folders, videos with their own clock."""

from __future__ import annotations

import numpy as np
import pytest

from tests import portraits, videos
from utils.background import Background, Film
from utils.images import write_image

FRAME, ALPHA = portraits.portrait(0)


@pytest.mark.parametrize(
    ("spec", "rgb"), [("green", (0, 128, 0)), ("#00ff00", (0, 255, 0)), ("1,2,3", (1, 2, 3))]
)
def test_colours(spec: str, rgb: tuple) -> None:
    assert Background(spec)(FRAME, ALPHA)[0, 0].tolist() == list(rgb)


def test_specs(tmp_path) -> None:
    write_image(tmp_path / "b.png", np.full((10, 10, 3), 50, np.uint8))
    composed = Background(str(tmp_path / "b.png")).compose(FRAME, ALPHA)
    assert (composed[ALPHA == 0] == 50).all()
    assert Background("transparent").compose(FRAME, ALPHA).shape == (96, 72, 4)
    assert Background("transparent").compose_live(FRAME, ALPHA).shape == (96, 72, 4)
    with pytest.raises(ValueError, match="no colour and no picture"):
        Background("nowhere.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures"):
        Background(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="no colour"):
        Background("300,0,0")
    with pytest.raises(ValueError, match="background is empty"):
        Background("")


def test_a_live_cut_out_holds_nothing_of_the_room() -> None:
    alpha = np.zeros((90, 120), np.float32)
    alpha[30:60, 40:80] = 1
    frame = np.random.default_rng(0).integers(1, 255, (90, 120, 3), np.uint8)
    cut = Background("transparent").compose_live(frame, alpha)
    assert not cut[:21].any()
    assert not cut[:, 89:].any()
    assert cut[22:68, 32:88, :3].any(2).mean() > 0.95  # colours go on beyond the edge, for what is lossy
    assert np.array_equal(cut[35:55, 45:75, :3], frame[35:55, 45:75])


@pytest.mark.parametrize("text", ["blur:0", "blur:99", "blur:x"])
def test_blur_has_a_range(text: str) -> None:
    with pytest.raises(ValueError, match="blur:N"):
        Background(text)


def test_blur_by_strength() -> None:
    noisy = np.random.default_rng(0).integers(0, 255, FRAME.shape, np.uint8)
    nobody = np.zeros_like(ALPHA)
    weak, strong = (Background(f"blur:{percent}")(noisy, nobody).std() for percent in (1, 10))
    assert strong < 0.7 * weak


def test_a_folder_is_stepped_through(tmp_path) -> None:
    for level in (10, 20):
        write_image(tmp_path / f"{level}.png", np.full((8, 8, 3), level, np.uint8))
    background = Background(str(tmp_path))
    seen = []
    for _ in range(3):
        seen.append(int(background(FRAME, ALPHA)[0, 0, 0]))
        background.next()
    assert seen == [10, 20, 10]


def grey_film(path, levels: list[int], rate: int = 10):
    return videos.write(
        path, [np.full((32, 48, 3), level, np.uint8) for level in levels], rate=rate, sound=None
    )


def test_a_film_has_its_own_clock_and_starts_again(tmp_path) -> None:
    film = Film(grey_film(tmp_path / "a.mp4", [40, 90, 140, 190]))
    shown = [round(float(film.at(time).mean()), -1) for time in (0, 0.05, 0.1, 0.25, 0.35, 0.41, 0.55, 1.21)]
    assert shown == [40, 40, 90, 140, 190, 40, 90, 40]


def test_a_film_of_one_frame(tmp_path) -> None:
    film = Film(grey_film(tmp_path / "a.mp4", [90]))
    assert round(float(film.at(100.0).mean()), -1) == 90


def test_a_damaged_film_plays_what_it_has(tmp_path) -> None:
    path = grey_film(tmp_path / "a.mkv", list(range(20, 220, 5)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    film = Film(path)
    shown = [float(film.at(0.1 * number).mean()) for number in range(100)]
    assert max(shown) > 60
    assert sum(abs(level - 20) < 4 for level in shown) > 1  # it began again


def test_a_damaged_picture_is_passed_over(tmp_path, capsys) -> None:
    for name, level in (("a", 40), ("c", 200)):
        write_image(tmp_path / f"{name}.png", np.full((8, 8, 3), level, np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    background = Background(str(tmp_path))
    levels = []
    for _ in range(3):
        levels.append(int(background(FRAME, ALPHA)[0, 0, 0]))
        background.next()
    assert levels == [40, 200, 40]
    assert "b.png" in capsys.readouterr().err


def test_a_film_behind_a_person(tmp_path) -> None:
    background = Background(str(grey_film(tmp_path / "a.mp4", [40, 200])))
    first, second = (background.compose_live(FRAME, ALPHA, time) for time in (0.0, 0.1))
    assert abs(int(first[0, 0, 0]) - 40) < 8
    assert abs(int(second[0, 0, 0]) - 200) < 8


def test_a_film_plays_behind_a_slow_source(tmp_path) -> None:
    film = Film(grey_film(tmp_path / "film.mp4", [0, 100, 200] * 20))
    shown = [int(film.at(2.0 * number).mean()) for number in range(8)]
    assert len(set(shown[2:])) > 1


def test_a_film_that_was_not_shown_did_not_play(tmp_path) -> None:
    film = Film(grey_film(tmp_path / "a.mp4", [40, 90, 140, 190]))
    film.at(0.1)
    assert round(float(film.at(1000.0).mean()), -1) == 90
    assert round(float(film.at(1000.1).mean()), -1) == 140
