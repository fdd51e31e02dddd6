"""Harmonisation: the transform is applied where the person is, networks of ours and of users run, training learns."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from tests import portraits
from tests.conftest import ROOT, refused
from utils import harmonise, recolour
from utils.images import read_image

FRAME, ALPHA = portraits.portrait(5, 120, 97)
SHIPPED = ROOT / "checkpoints/harmoniser.tflite"


def test_no_change_is_no_change() -> None:
    assert np.array_equal(harmonise.apply(FRAME, ALPHA, np.zeros((8, 8, 12), np.float32)), FRAME)


def test_the_grid_is_a_matrix_by_place_and_by_alpha() -> None:
    grid = np.zeros((8, 8, 12), np.float32)
    grid[..., 3] = 0.2  # red, constant
    grid[..., 5] = -0.5  # green, by green
    result = harmonise.apply(FRAME, ALPHA, grid).astype(int)
    inside, outside = ALPHA == 1, ALPHA == 0
    assert np.array_equal(result[outside], FRAME[outside])
    red = np.clip(FRAME[inside][:, 0].astype(int) + 51, 0, 255)
    assert np.abs(result[inside][:, 0] - red).max() <= 1
    assert np.abs(result[inside][:, 1] - FRAME[inside][:, 1] * 0.5).max() <= 1
    assert np.array_equal(result[inside][:, 2], FRAME[inside][:, 2])
    left = np.zeros((8, 8, 12), np.float32)
    left[:, :2, 3] = 0.5
    changed = np.abs(harmonise.apply(FRAME, ALPHA * 0 + 1, left).astype(int) - FRAME)[..., 0].mean(0)
    assert changed[:10].mean() > 40
    assert changed[60:].max() == 0


def test_nobody_is_left_alone() -> None:
    assert np.array_equal(harmonise.Harmoniser()(FRAME, ALPHA * 0), FRAME)


def test_the_shipped_network_brings_colours_back() -> None:
    """The astronaut under other light: closer to how she was, and untouched where she was not."""
    frame = read_image(ROOT / "data/samples/astronaut.jpg")
    from utils import segmenter

    alpha = segmenter.open(ROOT / "checkpoints/photo_int8.tflite")(frame)
    before, after = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        composite = recolour.blending.over(recolour.recoloured(frame, rng), alpha, frame)
        before.append(recolour.error(composite, frame, alpha))
        after.append(recolour.error(harmonise.Harmoniser()(composite, alpha), frame, alpha))
    assert np.mean(after) < 0.9 * np.mean(before)


def test_steady_colours_from_frame_to_frame() -> None:
    network = harmonise.Harmoniser(steady=0.9)
    dark = (FRAME * 0.3).astype(np.uint8)
    first = network(FRAME, ALPHA)
    jumped, alone = network(dark, ALPHA).astype(int), harmonise.Harmoniser()(dark, ALPHA).astype(int)
    assert first.shape == FRAME.shape
    assert np.abs(jumped - alone).mean() > 0


def brighter_onnx(path, inputs: int):
    """A user's network in ONNX, written by hand: colours + 0.2 * mask, at 64x64."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    shape = [1, 3, 64, 64]
    gain = numpy_helper.from_array(np.array(0.2, np.float32), "gain")
    if inputs == 2:
        given = [("picture", shape), ("mask", [1, 1, 64, 64])]
        nodes = [
            helper.make_node("Mul", ["mask", "gain"], ["more"]),
            helper.make_node("Add", ["picture", "more"], ["out"]),
        ]
        constants = [gain]
    else:
        given = [("both", [1, 4, 64, 64])]
        weight = np.zeros((3, 4, 1, 1), np.float32)
        weight[[0, 1, 2], [0, 1, 2]] = 1
        weight[:, 3] = 0.2
        constants = [numpy_helper.from_array(weight, "w")]
        nodes = [helper.make_node("Conv", ["both", "w"], ["out"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in given]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "brighter", values, [out], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("inputs", [1, 2])
def test_a_users_own_network(tmp_path, inputs: int) -> None:
    network = harmonise.Harmoniser(brighter_onnx(tmp_path / "b.onnx", inputs))
    calm = cv2.GaussianBlur(FRAME // 2, (0, 0), 3)
    result = network(calm, ALPHA).astype(int)
    inside = cv2.erode(ALPHA, np.ones((9, 9), np.uint8)) == 1
    assert np.median(result[inside] - calm[inside].astype(int)) == pytest.approx(51, abs=2)
    assert np.array_equal(result[ALPHA == 0], calm[ALPHA == 0])


def test_what_is_no_network_is_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no such"):
        harmonise.Harmoniser(tmp_path / "none.onnx")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"\.onnx"):
        harmonise.Harmoniser(tmp_path / "a.txt")
    (tmp_path / "a.onnx").write_text("x")
    with pytest.raises(ValueError, match="not an ONNX"):
        harmonise.Harmoniser(tmp_path / "a.onnx")(FRAME, ALPHA)
    (tmp_path / "a.tflite").write_text("x")
    with pytest.raises(ValueError, match=r"a\.tflite: not a \.tflite file"):
        harmonise.Harmoniser(tmp_path / "a.tflite")(FRAME, ALPHA)
    with pytest.raises(ValueError, match="not a harmonisation network of ours"):
        harmonise.Harmoniser(ROOT / "checkpoints/live_int8.tflite")(FRAME, ALPHA)


def test_training_and_scoring_from_the_command_line(command, people, tmp_path) -> None:
    out = tmp_path / "h.tflite"
    trained = command("-m", "utils.recolour", "train", people, "--minutes", "0.2", "--out", out)
    assert trained.returncode == 0, trained.stderr
    first, last = map(float, re.search(r"loss ([\d.]+) -> ([\d.]+)", trained.stdout).groups())
    assert last < first
    scored = command("-m", "utils.recolour", "score", out, people)
    assert scored.returncode == 0, scored.stderr
    assert re.search(r"network +mean \|error\| +[\d.]+", scored.stdout)
    refused(command("-m", "utils.recolour", "score", tmp_path / "none.tflite", people), "none.tflite")
