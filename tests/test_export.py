"""export.py as users run it: three files that open, carry the card and equal their source, or none."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import pytest

import export
import models
from models import card as cards
from tests import portraits
from tests.conftest import refused
from utils import cli, exporting, parity, refine, segmenter
from utils.formats import FORMATS, Job
from utils.images import write_image
from utils.segmenter import KerasSegmenter

SIZE = (64, 64)
FORMATS_OF = ("tflite", "tflite_fp16", "tflite_int8")
NAMES = ("portrait_float32.tflite", "portrait_float16.tflite", "portrait_int8.tflite")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """photos/, portrait.keras and other.keras: the same architecture with other weights."""
    folder = tmp_path_factory.mktemp("export")
    frames = [portraits.portrait(seed)[0] for seed in range(16)]
    for number, frame in enumerate(frames):
        write_image(folder / "photos" / f"{number}.png", frame)
    for seed, name in enumerate(("portrait", "other")):
        card = {"architecture": models.describe("mobilenetv2_fpn", SIZE, alpha=0.35), "data": "none"}
        models.save(lively_network(frames, seed), folder / f"{name}.keras", card)
    return folder


@pytest.fixture(scope="module")
def exported(folder, command):
    """One run of the whole command."""
    words = (folder / "portrait.keras", "--calibration", folder / "photos", "--out", folder / "out")
    return command("export.py", *words)


def lively_network(frames: list[np.ndarray], seed: int) -> keras.Model:
    """Random weights whose alpha still spans 0..1: norms fitted to the frames, logits spread out."""
    keras.utils.set_random_seed(seed)
    network = models.create("mobilenetv2_fpn", SIZE, alpha=0.35)
    pixels, _ = KerasSegmenter(network, {}).prepare(frames, [None] * len(frames))
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.3
    for _ in range(4):
        network(pixels, training=True)
    logits = np.asarray(models.logits(network)(pixels, training=False))
    kernel, bias = network.get_layer("logits").get_weights()
    scale, middle = 5 / logits.std(), logits.mean() - logits.std()
    network.get_layer("logits").set_weights([kernel * scale, (bias - middle) * scale])
    return network


def run_here(monkeypatch, *words: object) -> int:
    """The command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["export.py", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.run(export.main)
    return stop.value.code


def test_command_writes_three_files_and_says_so_in_a_table(folder, exported):
    assert exported.returncode == 0, exported.stdout + exported.stderr
    assert exported.stderr == ""
    rows = [line for line in exported.stdout.splitlines() if line.endswith("ok")]
    assert [row.split()[0] for row in rows] == list(NAMES)
    assert sorted(path.name for path in (folder / "out").iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_files_take_one_float_picture_and_carry_the_card(folder, exported, name):
    opened = segmenter.open(folder / "out" / name, threads=1)
    assert opened.size == SIZE
    for details in (opened._input, opened._output):
        assert details["shape"][0] == 1
        assert details["dtype"] == np.float32
    assert opened.card["data"] == "none"
    assert opened.card["architecture"]["name"] == "mobilenetv2_fpn"
    assert opened.card["source"] == "portrait.keras"
    assert opened.card["format"] == FORMATS_OF[NAMES.index(name)]
    assert opened.card["parity"]["photos"] == 8
    alpha = opened(portraits.portrait(50)[0])
    assert alpha.min() < 0.1
    assert alpha.max() > 0.9


def test_float_files_equal_their_source_on_new_photos(folder, exported):
    frame = portraits.portrait(51)[0]
    source = segmenter.open(folder / "portrait.keras", threads=1)(frame)
    for name, most in zip(NAMES, (1e-4, 5e-2)):
        assert np.abs(segmenter.open(folder / "out" / name, threads=1)(frame) - source).max() < most


def test_int8_is_whole_numbers_inside_and_small(folder, exported):
    opened = segmenter.open(folder / "out" / NAMES[2], threads=1)
    kinds = [np.dtype(details["dtype"]).name for details in opened._interpreter.get_tensor_details()]
    assert kinds.count("float32") == 2  # input and output alone
    assert kinds.count("int8") > 50
    sizes = [(folder / "out" / name).stat().st_size for name in NAMES]
    assert sizes[1] < 0.6 * sizes[0]
    assert sizes[2] < 0.45 * sizes[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_slow_transposed_convolution_is_gone(folder, exported, name):
    opened = segmenter.open(folder / "out" / name, threads=1)
    kinds = {details["op_name"] for details in opened._interpreter._get_ops_details()}
    assert "TRANSPOSE_CONV" not in kinds
    assert "DEPTH_TO_SPACE" in kinds


def test_wrong_export_ends_with_code_1_and_no_file(folder, exported, tmp_path, monkeypatch, capsys):
    """The converter is made to return another network, and a file of that name is there already."""
    wrong = (folder / "out" / NAMES[0]).read_bytes()
    wrong = wrong[: wrong.rindex(b"PK\x03\x04")]  # without its card
    first, second = (name.replace("portrait", "other") for name in NAMES[:2])
    planted = FORMATS["tflite"]._replace(convert=lambda job, path: path.write_bytes(wrong))
    monkeypatch.setitem(FORMATS, "tflite", planted)
    (tmp_path / first).write_bytes(b"from an earlier run")
    words = ("--calibration", folder / "photos", "--out", tmp_path, "--photos", 4, "--formats")
    words = (folder / "other.keras", *words, "tflite,tflite_fp16")
    assert run_here(monkeypatch, *words) == 2
    assert "pass --force" in capsys.readouterr().err
    assert run_here(monkeypatch, *words, "--force") == 1
    assert [path.name for path in tmp_path.iterdir()] == [second]
    table = capsys.readouterr().out
    assert "FAILED, not written: max |d|" in table
    assert table.count(" ok\n") == 1


def test_converter_that_gives_up_is_one_line_and_code_1(folder, tmp_path, monkeypatch, capsys):
    def give_up(job: Job, path: Path) -> None:
        raise RuntimeError("no kernel for this\n" + 50 * "and more\n")

    monkeypatch.setitem(FORMATS, "tflite", FORMATS["tflite"]._replace(convert=give_up))
    monkeypatch.setattr(exporting, "saved_model", lambda network, output: nullcontext("nowhere"))
    words = ("--calibration", folder / "photos", "--out", tmp_path, "--formats", "tflite", "--fold", "kito")
    assert run_here(monkeypatch, folder / "portrait.keras", *words) == 1
    assert "cannot be converted: no kernel for this\n" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_file_that_its_runtime_refuses_does_not_stop_the_others(folder, tmp_path, monkeypatch, capsys):
    broken = FORMATS["tflite"]._replace(convert=lambda job, path: path.write_bytes(b"no network"))
    monkeypatch.setitem(FORMATS, "tflite", broken)
    words = ("--calibration", folder / "photos", "--out", tmp_path, "--photos", 4, "--formats")
    assert run_here(monkeypatch, folder / "portrait.keras", *words, "tflite,tflite_fp16") == 1
    assert [path.name for path in tmp_path.iterdir()] == [NAMES[1]]
    table = capsys.readouterr().out
    assert "FAILED, not written: cannot be opened again: not a TFLite network" in table
    assert table.count(" ok\n") == 1


def test_values_that_are_no_numbers_fail_though_they_are_shown_as_one(folder):
    source = segmenter.open(folder / "portrait.keras", threads=1)
    frames = [np.zeros((64, 64, 3), np.uint8)]
    holes = segmenter.open(folder / "portrait.keras", threads=1)
    alpha = source.infer(source.prepare(frames, [None])[0])
    holes.infer = lambda pixels: np.where(alpha == alpha.max(), np.inf, alpha)
    found = parity.compare(source, holes, frames)
    assert (found.max, found.iou) == (pytest.approx(0, abs=1e-3), 1)
    for format in parity.TOLERANCES:
        assert found.faults(format) == ["gives values that are no numbers"]


@pytest.mark.parametrize(
    ("words", "taken", "given"),
    [
        (("--io", "uint8"), "RGB pixels 0..255, uint8;", "alpha 0..1; uint8, by the scale in the file"),
        (("--output", "argmax"), "RGB pixels 0..255, float32;", "1 where alpha is 0.5 or more, else 0"),
    ],
)
def test_the_card_says_what_the_file_takes_and_gives(folder, tmp_path, monkeypatch, words, taken, given):
    plain = ("--calibration", folder / "photos", "--out", tmp_path, "--photos", 4)
    assert run_here(monkeypatch, folder / "portrait.keras", *plain, "--formats", "tflite_int8", *words) == 0
    card = cards.read(next(tmp_path.iterdir()))
    assert card["input"].startswith(taken)
    assert card["output"].startswith(given)


def test_truth_is_measured_and_mask_sizes_must_fit(folder, people, monkeypatch, capsys, tmp_path):
    words = (folder / "portrait.keras", "--truth", people, "--out", tmp_path, "--formats", "tflite")
    assert run_here(monkeypatch, *words) == 0
    assert "12 photos set ranges, 4 are compared" in capsys.readouterr().out
    assert cards.read(tmp_path / NAMES[0])["parity"]["iou_change"] == pytest.approx(0, abs=1e-3)


def test_compare_finds_other_weights(folder):
    source, other = (segmenter.open(folder / f"{name}.keras", threads=1) for name in ("portrait", "other"))
    frames = [portraits.portrait(seed)[0] for seed in range(3)]
    truths = [source(frame) for frame in frames]
    same = parity.compare(source, source, frames, truths)
    assert (same.max, same.mean, same.iou, same.iou_change) == (0, 0, 1, 0)
    wrong = parity.compare(source, other, frames, truths)
    assert wrong.iou_change == pytest.approx(wrong.iou - 1)
    cut = parity.compare(source, other, frames, hard=True)
    for format in parity.TOLERANCES:
        assert not same.faults(format)
        assert wrong.faults(format)
        assert parity.compare(source, other, frames).faults(format)
        assert cut.faults(format)
    assert wrong.boundary_change < -0.1


def test_nan_fails_every_gate():
    nothing = parity.Parity(1, *[float("nan")] * 4)
    assert all(nothing.faults(format) for format in parity.TOLERANCES)


def test_compare_refuses_no_photos_and_unfitting_truth(folder):
    source = segmenter.open(folder / "portrait.keras", threads=1)
    with pytest.raises(ValueError, match="no photos"):
        parity.compare(source, source, [])
    with pytest.raises(ValueError, match="does not fit"):
        parity.compare(source, source, [portraits.portrait(1)[0]], [np.zeros((5, 5), np.float32)])


def test_fourth_channel_is_calibrated_and_compared_with_and_without_prior(folder):
    class Fake(segmenter.Segmenter):
        def infer(self, pixels: np.ndarray) -> np.ndarray:
            priors.append(pixels[..., 3].max())
            return 0.5 + pixels[..., 3:] / 1000

    priors: list[float] = []
    source = Fake({}, SIZE, 4, 1)
    pixels = list(exporting.calibration(source, [folder / "photos" / "0.png"])())
    assert [picture.shape for picture in pixels] == [(1, *SIZE, 4)] * 2
    assert pixels[0][..., 3].max() == 0
    assert pixels[1][..., 3].max() == 128
    priors.clear()
    assert parity.compare(source, source, [portraits.portrait(1)[0]]).photos == 1
    assert [prior > 0 for prior in priors] == [False, False, True, True]


def test_deployed_variant_and_size_are_in_the_card(tmp_path):
    path = tmp_path / "deeplab.keras"
    models.save(
        models.create("deeplab", (65, 65)), path, {"architecture": models.describe("deeplab", (65, 65))}
    )
    network, card = exporting.load(path, (72, 64))
    assert network.input_shape == (None, 72, 64, 3)
    assert card["architecture"]["input_size"] == [72, 64]
    assert card["architecture"]["options"] == {"output_stride": 8}


@pytest.fixture(scope="module")
def shapes(folder) -> Path:
    """One network at three input shapes."""
    words = ("--calibration", folder / "photos", "--out", folder / "shapes", "--photos", 4)
    with pytest.MonkeyPatch.context() as patch:
        sizes = ("--size", 64, "96x64", "64x96")
        assert run_here(patch, folder / "portrait.keras", *words, "--formats", "tflite", *sizes) == 0
    return folder / "shapes"


def test_other_shapes_are_opened_with_the_first_and_chosen_by_the_picture(shapes):
    opened = segmenter.open(shapes / NAMES[0], threads=1)
    assert "64x64 (for other shapes 64x96, 96x64)" in str(opened)
    tall, wide, square = (np.zeros((*shape, 3), np.uint8) for shape in ((90, 60), (60, 90), (70, 70)))
    assert [opened.member(frame).size for frame in (tall, wide, square)] == [(96, 64), (64, 96), (64, 64)]
    frame = portraits.portrait(52, 96, 64)[0]
    alone = segmenter.open(shapes / NAMES[0].replace(".", "_96x64."), threads=1)
    assert np.array_equal(opened(frame), alone(frame))
    first, second = opened.batch([frame, square])
    assert (first.shape, second.shape) == ((96, 64), (70, 70))
    assert np.array_equal(first, opened(frame))


def test_what_is_asked_for_beside_the_network_is_in_the_card(folder, tmp_path, monkeypatch):
    words = ("--calibration", folder / "photos", "--out", tmp_path, "--photos", 4, "--formats", "tflite")
    assert run_here(monkeypatch, folder / "portrait.keras", *words, "--edges", "--closer", "--mirror") == 0
    opened = segmenter.open(tmp_path / NAMES[0], threads=1)
    assert (opened.edges, opened.closer, opened.mirror) == (True, True, True)
    opened.closer = opened.mirror = False
    frame = portraits.portrait(53, 200, 150)[0]
    drawn = refine.guided(frame, opened.coarse(frame).alpha, levels=refine.LEVELS)
    assert np.array_equal(opened(frame), drawn)


def test_edges_of_the_checkpoints_card_are_kept(folder, tmp_path, monkeypatch):
    source = tmp_path / "portrait.keras"
    card = {**cards.read(folder / "portrait.keras"), "edges": True}
    models.save(models.load(folder / "portrait.keras"), source, card)
    words = ("--calibration", folder / "photos", "--photos", 4, "--formats", "tflite")
    for output, edges in (("alpha", True), ("argmax", False)):  # a hard output has no edges to draw
        assert run_here(monkeypatch, source, *words, "--output", output, "--out", tmp_path / output) == 0
        [path] = (tmp_path / output).glob("*.tflite")
        assert segmenter.open(path, threads=1).edges == edges


def test_shapes_of_other_weights_are_left_out(shapes, tmp_path):
    for path in shapes.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    main = tmp_path / NAMES[0]
    data = main.read_bytes()
    card = {**cards.read(main), "weights": "0123456789abcdef"}
    main.write_bytes(data[: data.rindex(b"PK\x03\x04")])
    cards.attach(main, card)
    assert "other shapes" not in str(segmenter.open(main, threads=1))


def test_refusals_are_one_line(folder, tmp_path, monkeypatch, capsys):
    photos = ("--calibration", folder / "photos", "--out", tmp_path / "out")
    (tmp_path / "foreign.keras").write_bytes((folder / "photos" / "0.png").read_bytes())
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "damaged" / "a.jpg", portraits.portrait(1)[0])
    (tmp_path / "damaged" / "b.jpg").write_bytes(b"not a picture")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "c.png").write_bytes((folder / "photos" / "0.png").read_bytes()[:2000])
    good = folder / "portrait.keras"
    cases = [
        ((tmp_path / "gone.keras", *photos), "no such model file"),
        ((tmp_path / "foreign.keras", *photos), "not one of ours"),
        ((folder / "photos" / "0.png", *photos), ".keras or .h5"),
        ((good, *photos, "--formats", "tflite,coreml"), "coreml"),
        ((good, *photos, "--fold", "twice"), "own, kito, none"),
        ((good, *photos, "--size", "50x64"), "multiples of 32"),
        ((good, *photos, "--size", "64", "64x50"), "multiples of 32"),
        ((good, *photos, "--edges", "--output", "argmax"), "draws soft edges"),
        ((good, "--calibration", tmp_path / "gone"), "no such folder"),
        ((good, "--calibration", tmp_path / "empty"), "holds no photos"),
        ((good, "--calibration", tmp_path / "damaged"), "b.jpg"),
        ((good, "--calibration", tmp_path / "cut"), "c.png"),
        ((good, "--truth", tmp_path / "empty"), "images"),
    ]
    for words, reason in cases:
        assert run_here(monkeypatch, *words) == 2, words
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert reason in lines[0]
    assert not (tmp_path / "out").exists()


def test_damaged_calibration_photo_is_named_after_it_passed_the_header_check(
    folder, tmp_path, monkeypatch, capsys
):
    """A JPEG cut short has a good header, so this shows only when it is decoded."""
    write_image(tmp_path / "photos" / "cut.jpg", portraits.portrait(1)[0])
    data = (tmp_path / "photos" / "cut.jpg").read_bytes()
    (tmp_path / "photos" / "cut.jpg").write_bytes(data[: len(data) // 2])
    words = (folder / "portrait.keras", "--calibration", tmp_path / "photos", "--out", tmp_path / "out")
    assert run_here(monkeypatch, *words, "--formats", "tflite_int8") == 2
    assert "cut.jpg: damaged" in capsys.readouterr().err


def test_refusal_in_a_real_run_and_without_tensorflow(folder, tmp_path, command):
    refused(command("export.py", tmp_path / "gone.keras", "--calibration", folder / "photos"), "gone.keras")
    hide = "from importlib.machinery import PathFinder\nreal = PathFinder.find_spec\n"
    hide += "PathFinder.find_spec = lambda name, *rest: None if name == 'tensorflow' else real(name, *rest)\n"
    (tmp_path / "sitecustomize.py").write_text(hide)
    words = (folder / "portrait.keras", "--calibration", folder / "photos")
    refused(command("export.py", *words, PYTHONPATH=str(tmp_path)), "TensorFlow", "pip install")
