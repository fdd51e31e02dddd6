"""The window of `utils.annotate` for real: clicks, strokes, the wheel and every key, driven by xdotool."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from tests import portraits
from tests.windows import MARKS, Window, ask_to_close, wait
from utils.images import read_mask, write_image
from utils.metrics import iou

pytestmark = MARKS
HEIGHT, WIDTH = 720, 540  # shown pixel by pixel, in the middle of a canvas of 1280x720
LEFT = (1280 - WIDTH) // 2


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed in (3, 4, 5):
        write_image(tmp_path / "images" / f"{seed}.png", portraits.portrait(seed, HEIGHT, WIDTH)[0])
    return tmp_path / "images"


def mask(photos: Path, name: str = "3") -> np.ndarray:
    return read_mask(photos.parent / "masks" / f"{name}.png")


def click(seen: Window, x: int, y: int, button: int = 1) -> None:
    """At a place of the photo."""
    seen.do("mousemove", seen.left + LEFT + x, seen.top + y, "click", button)
    time.sleep(0.5)


def colour(seen: Window, x: int, y: int) -> np.ndarray:
    return seen.look()[y - 2 : y + 3, LEFT + x - 2 : LEFT + x + 3].mean((0, 1))


def test_a_mask_is_made_with_the_mouse_and_kept(window, photos: Path) -> None:
    frame, truth = portraits.portrait(3, HEIGHT, WIDTH)
    seen = window("utils/annotate.py", photos, title="annotate 1/3 3.png")
    assert (seen.width, seen.height) == (1280, 720)
    seen.key("c")  # start from nobody
    assert mask(photos).max() == 0
    for _ in range(3):
        seen.key("bracketright")
    for x, y in ((250, 330), (250, 178), (150, 600), (370, 600), (250, 500)):  # face, hair, shirt
        click(seen, x, y)
    found = mask(photos)
    assert iou(found, truth) > 0.98
    y, x = 640, 300
    np.testing.assert_allclose(colour(seen, x, y), frame[y - 2 : y + 3, x - 2 : x + 3].mean((0, 1)), atol=12)
    assert colour(seen, 30, 40)[0] > frame[40, 30, 0] * 0.45 + 100  # what is not the person is tinted red
    click(seen, 300, 640, button=3)
    assert mask(photos)[640, 300] == 0
    seen.key("ctrl+z")
    np.testing.assert_array_equal(mask(photos), found)
    seen.key("y")
    assert mask(photos)[640, 300] == 0
    seen.key("u")
    seen.do("keydown", "shift")
    click(seen, 300, 640)
    seen.do("keyup", "shift")
    assert mask(photos)[640, 300] == 0
    seen.key("q")
    assert seen.end()[0] == 0


def test_strokes_the_wheel_and_zoom(window, photos: Path) -> None:
    seen = window("utils/annotate.py", photos, title="annotate 1/3 3.png")
    seen.key("c")
    seen.key("g")  # the brush alone
    click(seen, 100, 100)
    small = mask(photos).sum()
    assert abs(small / (np.pi * 14**2) - 1) < 0.1
    seen.key("u")
    for _ in range(4):
        seen.do("click", 4)
    time.sleep(0.4)
    click(seen, 100, 100)  # at the same place: the wheel has not zoomed
    found = mask(photos)
    assert found.sum() / small == pytest.approx(1.2**8, rel=0.1)
    rows, columns = np.nonzero(found > 0.5)
    assert np.allclose((columns.mean(), rows.mean()), (100, 100), atol=1)
    seen.key("c")
    seen.do("mousemove", seen.left + LEFT + 100, seen.top + 300, "mousedown", 1)
    for x in range(120, 301, 20):
        seen.do("mousemove", seen.left + LEFT + x, seen.top + 300)
    seen.do("mouseup", 1)
    time.sleep(0.5)
    assert (mask(photos)[300, 100:300] == 1).all()
    assert mask(photos)[300, 340] == 0
    seen.key("c")
    seen.key("z")  # twice as near; the photo, still narrower than the canvas, stays in the middle of it
    click(seen, 300, 300)
    rows, columns = np.nonzero(mask(photos) > 0.5)
    assert np.allclose((columns.mean(), rows.mean()), (285, 300), atol=1)
    assert len(rows) == pytest.approx(found.sum() / 4, rel=0.1)


def test_going_on_rejecting_and_the_ways_to_look(window, photos: Path) -> None:
    seen = window("utils/annotate.py", photos, title="annotate 1/3 3.png")
    plain = seen.look()
    seen.key("question")
    assert np.abs(seen.look() - plain)[-200:, :200].mean() > 10
    seen.key("question")
    assert np.abs(seen.look() - plain)[-200:, :200].mean() < 1
    seen.key("v")
    assert colour(seen, 20, 20).max() < 60  # alpha
    seen.key("v")
    assert 140 < colour(seen, 20, 20).mean() < 210  # the board
    seen.key("n")
    wait(lambda: seen.do("search", "--name", "^annotate 2/3 4.png$").strip())
    assert mask(photos).shape == (HEIGHT, WIDTH)  # next keeps the proposal
    seen.key("x")
    assert (photos.parent / "rejected.txt").read_text() == "4.png\n"
    seen.key("n")
    wait(lambda: seen.do("search", "--name", "^annotate 3/3 5.png$").strip())
    ask_to_close(int(seen.window))
    code, out = seen.end()
    assert code == 0
    assert "2 of 3 photos" in out
    again = window("utils/annotate.py", photos, title="annotate 3/3 5.png")
    again.key("p")
    wait(lambda: again.do("search", "--name", "^annotate 2/3 4.png$").strip())
    again.key("q")
    assert again.end()[0] == 0
