"""Windows for real: keys, held keys, the mouse and the slider, on a virtual display driven by xdotool."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from tests import videos
from tests.test_live import person
from tests.windows import MARKS, ask_to_close, wait
from utils.images import list_images, read_image, write_image

pytestmark = MARKS


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute: no test waits for its end."""
    return videos.write(tmp_path_factory.mktemp("film") / "in.mp4", person(20, (240, 320)) * 75, sound=None)


@pytest.fixture(scope="module")
def walls(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("walls")
    for name, colour in (("a", (250, 0, 0)), ("b", (0, 0, 250))):
        write_image(folder / f"{name}.png", np.full((60, 80, 3), colour, np.uint8))
    return list_images(folder)


def red(colour: np.ndarray) -> bool:
    return colour[0] > 180 and colour[2] < 80


def blue(colour: np.ndarray) -> bool:
    return colour[2] > 180 and colour[0] < 80


def test_every_key_of_the_viewer(window, film: Path, walls: list[Path], tmp_path: Path) -> None:
    seen = window("webcam.py", walls[0].parent, "--source", film)
    wait(lambda: red(seen.corner()))
    seen.key("b")
    assert blue(seen.corner())
    seen.key("m")  # the blurred scene
    assert not blue(seen.corner())
    plain = seen.look()
    seen.key("question")
    assert np.abs(seen.look() - plain)[-60:, :60].mean() > 10
    seen.key("question")
    seen.key("f")
    assert np.abs(seen.look() - plain)[:40, :60].mean() > 10
    seen.key("s")
    seen.key("d")
    seen.key("t")
    seen.key("r")
    time.sleep(1)
    seen.key("r")
    seen.key("q")
    code, out = seen.end()
    assert code == 0
    assert "temporal: flow" in out
    captures = tmp_path / "captures"
    assert len(list(captures.glob("snapshot_*_composite.png"))) == 1
    assert read_image(next(captures.glob("snapshot_*_cutout.png"))).shape == (240, 320, 3)
    bundle = next(captures.glob("debug_*"))
    assert {path.name for path in bundle.iterdir()} == {
        "frame.png", "composite.png", "alpha.png", "raw_alpha.png", "settings.json"
    }  # fmt: skip
    assert json.loads((bundle / "settings.json").read_text())["temporal"] == "smooth"
    assert len(videos.read(next(captures.glob("record_*.mp4")))[0]) > 5


def test_escape_ends_and_leaves_a_playable_file(window, film: Path, tmp_path: Path) -> None:
    seen = window("webcam.py", "green", "--source", film, "--out", tmp_path / "o.mp4")
    time.sleep(1)
    seen.key("Escape")
    assert seen.end()[0] == 0
    assert len(videos.read(tmp_path / "o.mp4")[0]) > 5


@pytest.mark.parametrize("temporal", ["smooth", "delay"])
def test_a_single_picture_stays_until_it_was_looked_at(
    window, walls: list[Path], tmp_path: Path, temporal: str
) -> None:
    write_image(tmp_path / "a.png", person(1)[0])
    seen = window("webcam.py", walls[0], "--source", tmp_path / "a.png", "--temporal", temporal)
    time.sleep(1)
    assert seen.process.poll() is None
    assert red(seen.corner())
    seen.key("s")
    seen.key("q")
    assert seen.end()[0] == 0
    assert list((tmp_path / "captures").glob("snapshot_*_cutout.png"))


DYING = """
import numpy as np
from utils import sources
def camera(device, size, frames=[40]):
    while frames[0]:
        frames[0] -= 1
        sources.time.sleep(0.03)
        yield np.full((240, 320, 3), 120, np.uint8)
    raise sources.VideoError("unplugged")
sources._camera = camera
"""


def test_keys_are_heard_while_a_dead_camera_is_waited_for(window, walls: list[Path], tmp_path: Path) -> None:
    seen = window("webcam.py", walls[0], "--source", "0", "--reconnect", "60", first=DYING)
    time.sleep(3)
    assert seen.look()[:30, :200].max() > 200  # it says what it waits for, in white
    seen.key("s")
    seen.key("q")
    assert seen.end()[0] == 0
    assert list((tmp_path / "captures").glob("snapshot_*_composite.png"))


def test_a_closed_window_ends(window, film: Path) -> None:
    seen = window("tflite_webcam.py", "--source", film)
    ask_to_close(int(seen.window))
    assert seen.end()[0] == 0


def test_dragging_shows_before_and_after(window, film: Path, walls: list[Path]) -> None:
    seen = window("webcam.py", walls[0], "--source", film)
    wait(lambda: red(seen.corner()))
    y = seen.top + seen.height // 2
    seen.do("mousemove", seen.left + 20, y, "mousedown", 1)
    for share in (0.3, 0.6, 0.8):
        seen.do("mousemove", seen.left + round(share * seen.width), y)
    seen.do("mouseup", 1)
    time.sleep(0.5)
    look = seen.look()
    assert not red(look[20:60, 20:60].mean((0, 1)))  # the frame as it came
    assert red(look[20:60, -30:].mean((0, 1)))  # still the composite


def test_held_keys_and_the_slider(window, film: Path, walls: list[Path]) -> None:
    seen = window("segvideo.py", *walls, "--source", film)
    wait(lambda: red(seen.corner()))
    face = (slice(seen.height // 3, seen.height // 2), slice(seen.width * 2 // 5, seen.width * 3 // 5))
    before = seen.look()[face].mean((0, 1))

    def change() -> float:
        return float(np.abs(seen.look()[face].mean((0, 1)) - before).max())

    seen.do("keydown", "c")
    wait(lambda: change() > 40)  # her colours go to those of the wall
    seen.do("keyup", "c")
    wait(lambda: change() < 25)  # and come back
    # The slider lies below the picture, its handle behind its name and value.
    y = seen.top + seen.height - 12
    seen.do("mousemove", seen.left + 112, y, "mousedown", 1)
    for x in range(120, seen.width, 20):
        seen.do("mousemove", seen.left + x, y)
    seen.do("mouseup", 1)
    wait(lambda: blue(seen.corner()))
    seen.key("q")
    assert seen.end()[0] == 0


def test_a_click_chooses_the_person(window, tmp_path: Path) -> None:
    """Two astronauts: the larger one is kept, then the one clicked on."""
    import cv2

    big = person(1, (240, 240))[0]
    small = cv2.resize(big, (150, 150), interpolation=cv2.INTER_AREA)
    frame = np.full((240, 480, 3), 90, np.uint8)
    frame[:, :240] = big
    frame[90:, 300:450] = small
    path = videos.write(tmp_path / "two.mp4", [frame] * 600, sound=None)
    seen = window("webcam.py", "green", "--source", path, "--one-person")
    scale = seen.width / 480
    left, right = ((int(x * scale), int(y * scale)) for x, y in ((125, 110), (375, 175)))

    def green_at(at: tuple[int, int]) -> bool:
        colour = seen.look()[at[1] - 4 : at[1] + 4, at[0] - 4 : at[0] + 4].mean((0, 1))
        return colour[1] > 100 and colour[0] < 40 and colour[2] < 40

    wait(lambda: green_at(right) and not green_at(left))
    seen.do("mousemove", seen.left + right[0], seen.top + right[1], "click", 1)
    wait(lambda: green_at(left) and not green_at(right))


def test_the_countdown_of_background_subtraction(window, film: Path) -> None:
    seen = window("bgsub.py", "--source", film, "--warmup", 75)
    first = seen.look()[:40, :160].copy()
    time.sleep(4)
    assert seen.process.poll() is None
    assert np.abs(seen.look()[:40, :160] - first).mean() > 2  # the lines of text have gone
    seen.key("q")
    assert seen.end()[0] == 0


def test_many_sources_in_one_window(window, film: Path, walls: list[Path], tmp_path: Path) -> None:
    seen = window(
        "multistream.py", film, film, "--tile", "2x1", "--cell", "240x320", "--background", walls[0].parent
    )
    wait(lambda: red(seen.corner()))
    assert red(seen.look()[40:60, 5:25].mean((0, 1)))  # the left tile, too
    seen.key("b")
    wait(lambda: blue(seen.corner()))
    plain = seen.look()
    seen.key("f")
    assert np.abs(seen.look() - plain)[:30, :200].mean() > 10
    seen.key("s")
    seen.key("m")  # masks
    wait(lambda: seen.corner().max() < 60)
    seen.key("q")
    assert seen.end()[0] == 0
    assert len(list((tmp_path / "captures").glob("multistream_*.png"))) == 1
