"""Background subtraction: the person is found, light and shadow are not; nobody is nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from utils import subtraction

HEIGHT, WIDTH = 180, 240


def room(seed: int, light: float = 1.0) -> np.ndarray:
    """An empty room with a camera's grain."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(60, 200, (9, 12, 3)).repeat(20, 0).repeat(20, 1)
    grain = np.random.default_rng(seed).normal(0, 3, blocks.shape)
    return np.clip(blocks * light + grain, 0, 255).astype(np.uint8)


def with_person(frame: np.ndarray, left: int = 90) -> tuple[np.ndarray, np.ndarray]:
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[60:, left : left + 60] = True
    truth[25:60, left + 15 : left + 45] = True
    frame = frame.copy()
    frame[truth] = (250, 20, 120)
    return frame, truth


def iou(alpha: np.ndarray, truth: np.ndarray) -> float:
    found = alpha > 0.5
    return (found & truth).sum() / max(1, (found | truth).sum())


def learnt(kind: str):
    scene = subtraction.open_scene(kind)
    for seed in range(40):
        scene.learn(room(seed))
    return scene


@pytest.mark.parametrize("kind", ["mean", "mog2", "knn"])
def test_the_person_is_found_and_nobody_is_nothing(kind: str) -> None:
    scene = learnt(kind)
    assert scene(room(100)).max() == 0
    frame, truth = with_person(room(101))
    alpha = scene(frame)
    assert alpha.shape == (HEIGHT, WIDTH)
    assert alpha.dtype == np.float32
    assert iou(alpha, truth) > 0.85
    soft = (alpha > 0.05) & (alpha < 0.95)
    assert 0 < soft.mean() < 0.1  # a soft edge, and only there


@pytest.mark.parametrize("light", [0.75, 1.25])
def test_a_lamp_is_not_a_person(light: float) -> None:
    scene = learnt("mean")
    assert scene(room(100, light)).max() == 0
    frame, truth = with_person(room(101, light))
    assert iou(scene(frame), truth) > 0.8


@pytest.mark.parametrize("kind", ["mean", "mog2", "knn"])
def test_daylight_that_fades_slowly_is_followed(kind: str) -> None:
    scene = learnt(kind)
    for number in range(150):
        frame, truth = with_person(room(200 + number, 1 - 0.002 * number), 90)
        alpha = scene(frame)
    assert iou(alpha, truth) > 0.8


@pytest.mark.parametrize("kind", ["mean", "mog2", "knn"])
def test_a_person_who_stands_still_stays(kind: str) -> None:
    scene = learnt(kind)
    for number in range(120):
        frame, truth = with_person(room(300 + number))
        alpha = scene(frame)
    assert iou(alpha, truth) > 0.85


def test_shadows_are_left_out() -> None:
    scene = learnt("mean")
    frame, truth = with_person(room(100))
    shadow = np.zeros_like(truth)
    shadow[120:, 150:200] = True
    frame[shadow] = (frame[shadow] * 0.65).astype(np.uint8)
    alpha = scene(frame)
    assert (alpha[shadow] > 0.5).mean() < 0.15
    assert iou(alpha, truth) > 0.8


def test_an_unlearnt_scene_and_an_unknown_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="no empty scene"):
        subtraction.MeanScene()(room(0))
    with pytest.raises(ValueError, match="mean, mog2, knn"):
        subtraction.open_scene("magic")


@pytest.mark.parametrize("kind", ["mog2", "knn"])
def test_adaptive_scenes_keep_to_their_size(kind: str) -> None:
    scene = learnt(kind)
    frame, truth = with_person(room(99))
    larger = cv2.resize(frame, None, fx=1.5, fy=1.5)
    for _ in range(5):
        alpha = scene(larger)
    assert alpha.shape == larger.shape[:2]
    assert iou(cv2.resize(alpha, truth.shape[::-1]), truth) > 0.8


def test_a_camera_that_comes_back_at_another_size() -> None:
    scene = learnt("mean")
    frame, _ = with_person(room(100))
    assert scene(np.ascontiguousarray(frame[::2, ::2])).shape == (90, 120)
