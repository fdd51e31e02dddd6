"""Drawn clips have exact alpha; steadiness is measured on them and on videos."""

import json
import re
from pathlib import Path

import av
import numpy as np
import pytest

from tests import portraits
from tests.conftest import ROOT, refused
from utils import clips, clutter, evaluation, images
from utils.segmenter import Look, Segmenter
from utils.sources import VideoError, VideoFile
from utils.stock import PLAIN, Extras

MODEL = ROOT / "checkpoints" / "photo_int8.tflite"
SIZE = (96, 128)


def cut_out(seed: int) -> clips.Person:
    image, alpha = portraits.portrait(seed, 96, 72)
    return clips.cut_out(np.dstack([image, (alpha * 255).astype(np.uint8)]))


def walls() -> list[np.ndarray]:
    return [np.full((60, 80, 3), value, np.uint8) for value in (20, 230)]


def drawn(seed: int, length: int = 30) -> tuple[list[clips.Moment], dict]:
    return clips.clip([cut_out(seed)], walls(), SIZE, length, np.random.default_rng(seed))


class Oracle(Segmenter):
    """Answers with the truth, or with what `spoil` makes of it; remembers the priors it was given."""

    def __init__(self, moments: list[clips.Moment], spoil=lambda alpha, number: alpha) -> None:
        self.answers = [spoil(moment.alpha, number) for number, moment in enumerate(moments)]
        self.asked, self.priors = 0, []

    def coarse(self, frame: np.ndarray, prior: np.ndarray | None = None) -> Look:
        self.priors.append(prior)
        self.asked += 1
        return Look(frame, self.answers[self.asked - 1])


def test_clip_is_what_it_says() -> None:
    moments, facts = drawn(3)
    assert len(moments) == facts["frames"] == 30
    for moment in moments:
        assert moment.frame.dtype == np.uint8
        assert moment.frame.shape == (*SIZE, 3)
        assert moment.alpha.shape == SIZE
        assert 0 <= moment.alpha.min() <= moment.alpha.max() <= 1
    again, _ = drawn(3)
    assert all(np.array_equal(a.frame, b.frame) for a, b in zip(moments, again, strict=True))


def test_frames_are_the_composite_of_their_alpha() -> None:
    """Before a plain wall without grain or light, the frame itself tells where the person is."""
    rng = np.random.default_rng(0)
    wall = np.full((60, 80, 3), 255, np.uint8)
    person = clips.Person(np.zeros((96, 72, 3), np.float32), cut_out(1).alpha)
    for moment in clips.scene(person, wall, SIZE, 8, "stay", rng):
        light = np.percentile(moment.frame, 99)
        assert np.abs((1 - moment.frame[..., 0] / light) - moment.alpha).max() < 0.1


@pytest.mark.parametrize(("event", "first", "last"), [("enter", 0, 1), ("leave", 1, 0), ("stay", 1, 1)])
def test_events(event: str, first: int, last: int) -> None:
    moments = list(clips.scene(cut_out(2), walls()[0], SIZE, 20, event, np.random.default_rng(4)))
    assert [int(moments[i].alpha.mean() > 0.05) for i in (0, -1)] == [first, last]


def test_several_people_and_things_have_exact_alpha() -> None:
    """White people before black, things in blue: the red of every frame is its alpha, light and grain aside."""
    blue = np.zeros((60, 60, 3), np.uint8)
    blue[..., 2] = 255
    people = [clips.Person(np.full((96, 72, 3), 255, np.float32), cut_out(n).alpha) for n in range(3)]
    covered, fewer = [], 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        pieces = tuple(clutter.piece_of(blue, rng) for _ in range(4))
        wall, others = np.zeros((60, 80, 3), np.uint8), [(people[1], "enter"), (people[2], "leave")]
        runs = [
            list(clips.scene(people[0], wall, SIZE, 16, "stay", np.random.default_rng(seed), extras, more))
            for extras, more in ((PLAIN, ()), (PLAIN, others), (Extras(0.0, pieces[:2], pieces[2:]), others))
        ]
        for moment in [moment for run in runs for moment in run]:
            light = (
                np.percentile(moment.frame[..., 0][moment.alpha > 0.98], 50)
                if moment.alpha.max() > 0.98
                else 255
            )
            assert np.abs(moment.frame[..., 0] / light - moment.alpha).mean() < 0.04
        covered.append([float(np.mean([moment.alpha.mean() for moment in run])) for run in runs])
        fewer += covered[-1][2] < covered[-1][1] - 1e-3
    assert all(one < several for one, several, _ in covered)
    assert fewer >= 3


def test_a_matched_clip_does_not_flicker() -> None:
    """Measured once a shot: the person's mean colour moves no more than in a plain clip."""
    wall = np.full((60, 80, 3), (200, 120, 40), np.uint8)

    def colour(extras: Extras) -> np.ndarray:
        shot = clips.scene(cut_out(1), wall, SIZE, 12, "stay", np.random.default_rng(3), extras)
        return np.array([moment.frame[moment.alpha > 0.95].mean(0) for moment in shot])

    plain, matched = colour(PLAIN), colour(Extras(1.0))
    assert (matched[:, 0] - matched[:, 2]).mean() > (plain[:, 0] - plain[:, 2]).mean() + 10
    assert np.abs(np.diff(matched, axis=0)).mean() < 1.5 * np.abs(np.diff(plain, axis=0)).mean() + 0.5


def test_truth_is_steady_and_noise_is_not() -> None:
    moments, facts = drawn(5)
    rng = np.random.default_rng(0)
    right = evaluation.steadiness(Oracle(moments), moments, facts["cut"])
    assert right["dtssd"] == 0
    assert right["mad"] == 0
    assert right["iou"] == right["iou_after_cut"] == 1
    shaky = Oracle(moments, lambda alpha, n: np.clip(alpha + rng.normal(0, 0.1, alpha.shape), 0, 1))
    wrong = evaluation.steadiness(shaky, moments, facts["cut"])
    assert wrong["dtssd"] > 5
    assert wrong["flicker"] > right["flicker"] + 30
    assert wrong["tc"] <= right["tc"]


def test_a_mask_held_over_the_cut_is_seen() -> None:
    moments, _ = drawn(5)
    cut = 15
    stale = Oracle(moments, lambda alpha, n: moments[cut - 1].alpha if cut <= n < cut + 8 else alpha)
    changed = [*moments[:cut], *(clips.Moment(m.frame, np.roll(m.alpha, 60, 1)) for m in moments[cut:])]
    assert evaluation.steadiness(stale, changed, cut)["iou_after_cut"] < 0.5


def test_the_cut_itself_is_not_unsteady_and_recovery_is_frames_3_to_7() -> None:
    cut = 10
    still = np.full((*SIZE, 3), 90, np.uint8)
    moments = [clips.Moment(still, np.zeros(SIZE, np.float32))] * 24
    jump = evaluation.steadiness(Oracle(moments, lambda a, n: a + (n >= cut)), moments, cut)
    assert jump["dtssd"] == jump["flicker"] == 0
    assert evaluation.steadiness(Oracle(moments, lambda a, n: a + (n >= cut)), moments)["dtssd"] > 1
    late = Oracle(moments, lambda a, n: a + (not cut + 3 <= n < cut + 8))
    assert evaluation.steadiness(late, moments, cut)["iou_after_cut"] == 1
    for wrong in (cut + 3, cut + 7):
        spoiled = Oracle(moments, lambda a, n, wrong=wrong: a + (n == wrong))
        assert evaluation.steadiness(spoiled, moments, cut)["iou_after_cut"] == pytest.approx(0.8)


def test_prior_is_the_last_alpha() -> None:
    moments, facts = drawn(6)
    oracle = Oracle(moments)
    evaluation.steadiness(oracle, moments, facts["cut"])
    assert oracle.priors[0] is None
    assert all(a is b for a, b in zip(oracle.priors[1:], oracle.answers, strict=False))


def write_video(path: Path, frames: list[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


QUARTER = (0, 1, -1, 0)  # clockwise, as phones do


def turn(path: Path, matrix: tuple[int, int, int, int] = QUARTER) -> None:
    """Write a turn or a mirror, x' = a x + c y and y' = b x + d y, into the track header of an MP4."""

    def header(a: int, b: int, c: int, d: int) -> bytes:
        values = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 0x40000000)
        return b"".join((value & 0xFFFFFFFF).to_bytes(4, "big") for value in values)

    data = path.read_bytes()
    at = data.index(header(1, 0, 0, 1), data.index(b"tkhd"))
    path.write_bytes(data[:at] + header(*matrix) + data[at + 36 :])


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ((1, 0, 0, 1), (0, 0)),
        (QUARTER, (0, -1)),
        ((-1, 0, 0, -1), (-1, -1)),
        ((0, -1, 1, 0), (-1, 0)),
        ((-1, 0, 0, 1), (0, -1)),
        ((1, 0, 0, -1), (-1, 0)),
        ((0, 1, 1, 0), (0, 0)),
        ((0, -1, -1, 0), (-1, -1)),
    ],
)
def test_every_turn_and_mirror_is_followed(tmp_path: Path, matrix: tuple, corner: tuple) -> None:
    """Where the stored picture's red upper left corner comes to lie, and green beside it along its upper edge."""
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:12, :16] = (255, 0, 0)
    frame[:12, 16:32] = (0, 255, 0)
    path = write_video(tmp_path / "a.mp4", [frame] * 3)
    turn(path, matrix)
    seen = next(iter(VideoFile(path))).image
    assert seen.shape == ((48, 64, 3) if matrix[0] else (64, 48, 3))
    y, x = (5 + at * 10 for at in corner)  # 5, or 5 before the end
    assert seen[y, x, 0] > 200
    assert seen[y + 16 * matrix[1], x + 16 * matrix[0], 1] > 200


def test_videos_are_read_whole_and_upright(tmp_path: Path) -> None:
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:24, :32] = (255, 0, 0)
    path = write_video(tmp_path / "a.mp4", [frame] * 7)
    flat = [frame.image for frame in VideoFile(path)]
    assert len(flat) == 7
    assert flat[0].shape == (48, 64, 3)
    turn(path)
    upright = next(iter(VideoFile(path))).image
    assert upright.shape == (64, 48, 3)
    assert upright[8, 40, 0] > 200  # the red corner went from top left to top right
    assert upright[8, 8, 0] < 50
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"text\.mp4"):
        VideoFile(tmp_path / "text.mp4")


def test_a_trace_of_somebody_is_read_back_as_a_trace(tmp_path: Path) -> None:
    """An alpha of 1/255 and 0 alone would be read as a mask of 0/1, somebody whole."""
    alpha = np.zeros((9, 9), np.float32)
    alpha[0, 0] = 1 / 255
    clips.write_clip(tmp_path, [clips.Moment(np.zeros((9, 9, 3), np.uint8), alpha)], {})
    assert images.read_mask(tmp_path / "masks" / "0000.png").max() < 0.01


def test_clips_from_the_command_line(command, tmp_path: Path) -> None:
    """Draw, then measure, as README says; and a video, and what is refused."""
    for seed in range(2):
        image, alpha = portraits.portrait(seed)
        rgba = np.dstack([image, (alpha * 255).astype(np.uint8)])
        images.write_image(tmp_path / "people" / f"{seed}.png", rgba)
    walls_folder = portraits.write_backgrounds(tmp_path / "walls")
    words = ("--cutouts", tmp_path / "people", "--backgrounds", walls_folder, "--size", "96x128")
    result = command("-m", "utils.clips", tmp_path / "clips", *words, "--count", 2, "--frames", 18)
    assert result.returncode == 0, result.stderr
    facts = json.loads((tmp_path / "clips" / "clip_000" / "clip.json").read_text())
    assert facts["frames"] == 18
    result = command("eval.py", MODEL, tmp_path / "clips", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "photo_int8_tflite_clips.json").read_text())
    assert len(summary["clips"]) == 2
    assert 0 < summary["iou"] <= 1
    assert re.search(rf"all .*{summary['dtssd']:.3f}", result.stdout)
    frames = [moment.frame for moment in drawn(1)[0][:4]]
    video = write_video(tmp_path / "v.mp4", frames)
    result = command("eval.py", MODEL, video, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "dtssd " not in result.stdout.splitlines()[1]
    more = (
        "--count",
        1,
        "--frames",
        12,
        "--crowd",
        2,
        "--clutter",
        2,
        "--match",
        0.7,
        "--cache",
        tmp_path / "kept",
    )
    result = command("-m", "utils.clips", tmp_path / "crowd", *words, *more)
    assert result.returncode == 0, result.stderr
    facts = json.loads((tmp_path / "crowd" / "clip_000" / "clip.json").read_text())
    assert [len(others) <= 2 for others in facts["others"]] == [True, True]
    assert len(list((tmp_path / "crowd").rglob("*.jpg"))) == 12
    refused(
        command("-m", "utils.clips", tmp_path / "crowd", *words, "--count", 1, "--frames", 8), "other files"
    )
    refused(command("-m", "utils.clips", tmp_path / "x", *words, "--frames", 3), "6 frames")
    refused(command("eval.py", MODEL, tmp_path / "none.mp4", "--out", tmp_path), "none.mp4")
