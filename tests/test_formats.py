"""Every format and every output of export.py, opened again by the runtime it is for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from models import card as cards
from tests import portraits
from tests.conftest import ROOT, refused
from tests.test_export import SIZE, lively_network, run_here
from utils import bitpack, exporting, fastest, formats, outputs, segmenter
from utils.images import write_image

OTHERS = ("onnx", "onnx_int8", "saved_model", "openvino", "openvino_int8", "tflite_dynamic", "tflite_int16")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """photos/, portrait.keras, and out/ with every format that the tests of export.py leave out."""
    folder = tmp_path_factory.mktemp("formats")
    frames = [portraits.portrait(seed)[0] for seed in range(12)]
    for number, frame in enumerate(frames):
        write_image(folder / "photos" / f"{number}.png", frame)
    card = {"architecture": models.describe("mobilenetv2_fpn", SIZE, alpha=0.35), "data": "none"}
    models.save(lively_network(frames, 0), folder / "portrait.keras", card)
    with pytest.MonkeyPatch.context() as patch:
        words = ("--calibration", folder / "photos", "--photos", 6, "--out", folder / "out")
        wanted = ",".join(name for name in OTHERS if not formats.FORMATS[name].missing)
        assert run_here(patch, folder / "portrait.keras", *words, "--formats", wanted) == 0
    return folder


@pytest.mark.parametrize("name", OTHERS)
def test_each_file_gives_the_source_s_alpha_and_carries_its_card(folder: Path, name: str) -> None:
    path = folder / "out" / f"portrait{formats.FORMATS[name].ending}"
    opened, source = segmenter.open(path, threads=1), segmenter.open(folder / "portrait.keras", threads=1)
    assert opened.card["format"] == name
    assert opened.card["data"] == "none"
    assert opened.device == "cpu"
    frame = portraits.portrait(50)[0]
    difference = np.abs(opened(frame) - source(frame))
    assert (
        difference.max() < 1e-3 if "int" not in name and "dynamic" not in name else difference.mean() < 0.03
    )


def test_openvino_answers_several_pictures_in_their_order(folder: Path) -> None:
    """As many requests are in flight as there are cores: none may get another's answer, again and again."""
    opened = segmenter.open(folder / "out" / "portrait.xml", threads=2)
    pixels = np.random.default_rng(0).uniform(0, 255, (9, *SIZE, 3)).astype(np.float32)
    expected = np.concatenate([opened.infer(pixels[[i]]) for i in range(9)])
    for turn in (slice(None), slice(None, None, -1), slice(2, 5)):
        assert np.abs(opened.infer(pixels[turn]) - expected[turn]).max() < 1e-5


def test_nothing_but_the_files_is_left(folder: Path) -> None:
    names = {path.name for path in (folder / "out").iterdir()}
    assert not [name for name in names if name.startswith(".") or "plain" in name]
    assert {"portrait.xml", "portrait.bin", "portrait.onnx", "portrait_saved_model"} <= names


@pytest.mark.parametrize("kind", ["flat", "softmax", "argmax", "packed"])
def test_every_output_is_read_back(folder: Path, monkeypatch, kind: str) -> None:
    words = ("--calibration", folder / "photos", "--photos", 3, "--out", folder / "kinds", "--force")
    assert (
        run_here(monkeypatch, folder / "portrait.keras", *words, "--formats", "tflite,onnx", "--output", kind)
        == 0
    )
    alpha = segmenter.open(folder / "portrait.keras", threads=1)(portraits.portrait(51, 64, 64)[0])
    shapes = {"flat": [1, 4096], "softmax": [1, 64, 64, 2], "argmax": [1, 64, 64], "packed": [1, 64, 4, 1]}
    for name in (f"portrait_float32_{kind}.tflite", f"portrait_{kind}.onnx"):
        opened = segmenter.open(folder / "kinds" / name, threads=1)
        assert opened.card["output_kind"] == kind
        found = opened(portraits.portrait(51, 64, 64)[0])
        if kind in ("argmax", "packed"):
            assert set(np.unique(found)) <= {0.0, 1.0}
            assert (found != (alpha >= 0.5)).mean() < 1e-3
        else:
            assert np.abs(found - alpha).max() < 1e-4
        if name.endswith("tflite"):
            assert list(opened._output["shape"]) == shapes[kind]


def test_whole_numbers_in_and_out(folder: Path, monkeypatch) -> None:
    words = (
        "--calibration",
        folder / "photos",
        "--out",
        folder / "io",
        "--formats",
        "tflite_int8",
        "--io",
        "uint8",
    )
    assert run_here(monkeypatch, folder / "portrait.keras", *words) == 0
    opened = segmenter.open(folder / "io" / "portrait_int8_uint8.tflite", threads=1)
    assert opened._input["dtype"] == opened._output["dtype"] == np.uint8
    source = segmenter.open(folder / "portrait.keras", threads=1)
    frame = portraits.portrait(52)[0]
    assert np.abs(opened(frame) - source(frame)).mean() < 0.03


def test_serving_takes_encoded_pictures(folder: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    serve = tf.saved_model.load(str(folder / "out" / "portrait_saved_model")).signatures["pictures"]
    source = segmenter.open(folder / "portrait.keras", threads=1)
    for size in ((150, 110), (40, 90)):
        frame = portraits.portrait(53, *size)[0]
        write_image(tmp_path / "a.png", frame)
        alpha = serve(encoded=tf.constant((tmp_path / "a.png").read_bytes()))["alpha"].numpy()
        assert alpha.shape == size
        assert np.abs(alpha - source(frame)).mean() < 2 / 255


@pytest.mark.parametrize("kind", ["softmax", "packed"])
def test_serving_has_every_output(folder: Path, tmp_path: Path, kind: str) -> None:
    import tensorflow as tf

    network = models.load(folder / "portrait.keras")
    with exporting.saved_model(network, kind) as plain:
        exporting.convert("saved_model", formats.Job(plain, lambda: iter(())), tmp_path / "served")
    signatures = tf.saved_model.load(str(tmp_path / "served")).signatures
    if kind == "packed":
        assert list(signatures) == ["serving_default"]
        return
    frame = portraits.portrait(53, 150, 110)[0]
    write_image(tmp_path / "a.png", frame)
    alpha = signatures["pictures"](encoded=tf.constant((tmp_path / "a.png").read_bytes()))["alpha"].numpy()
    true = segmenter.open(folder / "portrait.keras", threads=1)(frame)
    assert alpha.shape == true.shape
    assert np.abs(alpha - true).mean() < 2 / 255


@given(st.lists(st.booleans(), min_size=16, max_size=160).filter(lambda bits: len(bits) % 16 == 0))
def test_every_pattern_of_bits_comes_back(bits: list[bool]) -> None:
    mask = np.array(bits).reshape(1, -1)
    assert np.array_equal(bitpack.unpack(bitpack.pack(mask)), mask.astype(np.float32))


def test_all_patterns_of_sixteen_bits_in_the_graph() -> None:
    import keras

    every = (
        np.unpackbits(np.arange(65536, dtype=">u2").view(np.uint8))
        .reshape(1, 256, 4096, 1)
        .astype(np.float32)
    )
    alpha = keras.Input((256, 4096, 1), 1)
    network = keras.Model(alpha, bitpack.packed(alpha))
    found = np.asarray(network(every))[..., 0]
    assert np.array_equal(bitpack.unpack(found), every[..., 0])


@given(st.floats(-30, 30), st.floats(-30, 30))
def test_softmax_of_two_logits_is_the_sigmoid_of_their_difference(a: float, b: float) -> None:
    found = outputs.decode(np.array([[[[a, b]]]], np.float32), "softmax_last", (1, 1))
    assert found[0, 0, 0, 0] == pytest.approx(1 / (1 + np.exp(a - b)), abs=1e-5)


def test_siblings_give_the_same_kind_of_output(folder: Path) -> None:
    path, other = folder / "out" / "portrait_dynamic.tflite", folder / "out" / "other.tflite"
    card = cards.read(path)
    for kind, stands in (("argmax", False), ("alpha", True)):
        other.write_bytes(path.read_bytes())
        cards.attach(other, {**card, "output_kind": kind})
        assert (other in fastest.siblings(path)) == stands
        other.unlink()


def test_a_checkpoint_and_its_exports_stand_for_each_other() -> None:
    live = ROOT / "checkpoints"
    assert {file.name for file in fastest.siblings(live / "live.keras")} == {
        "live.keras",
        "live_float32.tflite",
        "live_int8.tflite",
    }
    assert fastest.choose(live / "live_float32.tflite", "keras", 1).name == "live.keras"


def test_the_fastest_is_found_once_and_remembered(folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tries: list[int] = []
    monkeypatch.setattr(fastest, "RUNS", 3)
    real = fastest.trial
    monkeypatch.setattr(fastest, "trial", lambda *words: tries.append(1) or real(*words))
    path = folder / "out" / "portrait.onnx"
    first = fastest.choose(path, "auto", 1)
    assert len(fastest.siblings(path)) == len(OTHERS)
    assert "fastest here: " in capsys.readouterr().out
    assert fastest.choose(path, "auto", 1) == first
    assert len(tries) == 1
    assert fastest.choose(path, "openvino", 1).suffix == ".xml"
    assert fastest.choose(path, "file", 1) == path
    with pytest.raises(ValueError, match="no file of the weights"):
        fastest.choose(path, "tensorrt", 1)
    with pytest.raises(ValueError, match="can be run here on npu"):
        fastest.choose(path, "auto", 1, "npu")


def test_a_device_that_is_not_there(folder: Path, command) -> None:
    words = (
        "test.py",
        "data/samples/astronaut.jpg",
        "--out",
        folder / "cut",
        "--model",
        folder / "out" / "portrait.onnx",
    )
    told = command(*words, "--device", "gpu")
    assert told.returncode == 0
    assert "note: gpu was asked for, but ONNX Runtime (CPU) runs on cpu" in told.stdout
    refused(command(*words, "--device", "gpu", "--strict"), "runs on cpu")


@pytest.mark.parametrize("name", ["a.onnx", "a.xml", "a.engine", "a_saved_model", "b.onnx", "b.xml"])
def test_what_is_no_model_is_one_line(folder: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("b"):  # a card, and nothing that runs
        whole = folder / "out" / f"portrait{path.suffix}"
        path.write_bytes(whole.read_bytes()[:5000])
        if path.suffix == ".xml":
            path.write_text("<net/>")
        cards.attach(path, {"name": "b"})
    elif "." in name:
        path.write_bytes(b"\x00\x01nothing")
    else:
        path.mkdir()
    with pytest.raises(ValueError, match=name.split(".")[0]):
        segmenter.open(path, threads=1)


def test_a_card_survives_its_place(tmp_path: Path) -> None:
    card = {"text": 'quotes " < & > ' + "ü" * 300, "numbers": [1, 2.5]}
    (tmp_path / "a.xml").write_text("<net><layers/></net>")
    (tmp_path / "a.onnx").write_bytes(b"\x08\x07\x12\x04test")  # a version and a producer
    (tmp_path / "a_folder").mkdir()
    for name in ("a.xml", "a.onnx", "a_folder"):
        cards.attach(tmp_path / name, card)
        assert cards.read(tmp_path / name) == card


def test_formats_without_their_package(monkeypatch, capsys) -> None:
    monkeypatch.setitem(
        formats.FORMATS, "onnx", formats.FORMATS["onnx"]._replace(packages=("no_such_package",))
    )
    with pytest.raises(ValueError, match="no_such_package is not installed: pip install"):
        formats.choose("onnx")
    assert "onnx" not in formats.choose("all")
    assert "onnx is left out" in capsys.readouterr().out


def test_sixteen_pixels_need_floats(folder: Path, monkeypatch, capsys) -> None:
    words = ("--out", folder / "x", "--output", "packed", "--formats", "tflite_int8")
    assert run_here(monkeypatch, folder / "portrait.keras", *words) == 2
    assert "needs floats" in capsys.readouterr().err
