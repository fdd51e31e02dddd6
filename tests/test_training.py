"""Training learns, is judged on its averaged weights, and survives a kill."""

import argparse
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests import portraits
from tests.conftest import ROOT, Command, refused
from utils.dataset import find_pairs

keras = pytest.importorskip("keras")
import models  # noqa: E402
import train  # noqa: E402
from models import card as cards  # noqa: E402
from tests.tiny import build as tiny_network  # noqa: E402
from utils import augment, evaluation, metrics, recipe, runs, training  # noqa: E402
from utils.ema import EMA  # noqa: E402
from utils.feed import Batches  # noqa: E402
from utils.images import image_size  # noqa: E402
from utils.schedules import Timetable  # noqa: E402
from utils.segmenter import KerasSegmenter  # noqa: E402
from utils.teaching import Teaching, moved_picture  # noqa: E402
from utils.training import Recipe  # noqa: E402

VIDEO = ROOT / "checkpoints" / "video.keras"
SMALL = ("--model", "mobilenetv2_fpn", "--option", "alpha=0.35", "--size", "64", "--batch", "4")
FLAT = ("--model", "prisma_net", "--size", "64", "--batch", "4")  # few layers, so TensorFlow begins sooner

EPOCHS = 10  # of 20 steps


@pytest.mark.parametrize(
    ("name", "options", "rate"), [("mobilenetv2_fpn", {"alpha": 0.35}, 3e-3), ("prisma_net", {}, 2e-3)]
)
def test_overfits_eight_portraits(tmp_path: Path, name: str, options: dict, rate: float) -> None:
    """The first rung of the sanity ladder: a network that cannot learn eight pictures learns nothing."""
    folder = portraits.write_dataset(tmp_path, train=8, val=1, height=64, width=64)
    pairs = find_pairs(folder / "train")
    keras.utils.set_random_seed(0)
    network = models.create(name, (64, 64), **options)
    trainer = training.Trainer(network, Timetable(rate, EPOCHS), Recipe(decay=0, ema=0.9))
    batches = Batches(pairs * 20, (64, 64), 8)
    while not trainer.finished:
        trainer.history.append(trainer.train_epoch(batches))
    with trainer.ema.applied():
        scores = evaluation.mean(evaluation.evaluate(KerasSegmenter(network, {}), pairs))
    print(trainer.history)
    assert scores["iou"] > 0.98, scores
    assert trainer.history[-1]["loss"] < 0.3 * trainer.history[0]["loss"]


def test_decay_spares_norms_biases_and_depthwise_kernels() -> None:
    for name, size in (("mobilenetv2_fpn", (64, 64)), ("prisma_net", (64, 64))):
        network = models.create(name, size)
        optimizer = training.make_optimizer(network, 1e-3, 0.1)
        optimizer.build(network.trainable_variables)
        for weight in network.trainable_variables:
            plain = len(weight.shape) == 4 and "depthwise" not in weight.path
            assert optimizer._use_weight_decay(weight) == plain, weight.path


def test_ema_is_the_average_and_gives_the_weights_back() -> None:
    network = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    ema = EMA(network, decay=0.5, every=1)
    own = network.get_weights()
    expected = own[0]
    for value in (1.0, 2.0, 3.0):
        network.set_weights([np.full((1, 1), value, np.float32)])
        ema.update()
        keep = min(0.5, (1 + value) / (10 + value))
        expected = expected + (1 - keep) * (value - expected)
    with ema.applied():
        assert network.get_weights()[0] == pytest.approx(expected)
    assert network.get_weights()[0] == 3


@pytest.fixture(scope="module")
def run(command, people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs by the command that README shows, with every kind of data."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    walls = portraits.write_backgrounds(tmp_path_factory.mktemp("walls"))
    result = command(
        *("train.py", people, *SMALL, "--epochs", 3, "--out", folder, "--seed", 5),
        *("--backgrounds", walls, "--cutouts", people / "train", "--extra", f"{people / 'val'}=0.5"),
    )
    assert result.returncode == 0, result.stderr
    assert "epoch 3" in result.stdout
    return folder


def test_run_folder_is_complete(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "best.keras",
        "last.keras",
        "settings.json",
        "log.csv",
        "curves.png",
        "overlays.png",
        "progress.jpg",
        "tensorboard",
    }
    assert not [name for name in names if name.startswith(".")]
    log = (run / "log.csv").read_text().splitlines()
    assert len(log) == 4
    assert {"loss", "iou", "boundary_iou", "rate", "images_per_second"} <= set(log[0].split(","))
    found = events(run / "tensorboard")
    assert sum(b"boundary_iou" in event for event in found) == 3
    assert sum(b"overlays" in event and b"JFIF" in event for event in found) == 3
    strips = sorted((run / "overlays").iterdir())
    assert [path.name for path in strips] == [f"epoch_{n:03d}.jpg" for n in (1, 2, 3)]
    height, width = image_size(strips[0])
    assert (height, width) == (160, 4 * 160)  # the four validation photos
    assert image_size(run / "progress.jpg") == (3 * height, width)
    card = models.cards.read(run / "best.keras")
    assert card["architecture"]["name"] == "mobilenetv2_fpn"
    assert card["settings"]["seed"] == 5
    assert set(card["metrics"]["sources"]) <= {"a", "b"}
    assert str(run.parent) not in json.dumps(card)


def events(folder: Path) -> list[bytes]:
    """The records of a TensorBoard log: length, checksum, data, checksum each."""
    data, found = next(folder.iterdir()).read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        found.append(data[12 : 12 + length])
        data = data[16 + length :]
    return found


def test_full_disk_in_the_tensorboard_log_is_an_oserror(tmp_path: Path) -> None:
    """Whoever writes it, TensorFlow or TensorBoard: cli.run makes one line of an OSError alone."""
    log = runs.TensorBoardLog(tmp_path)

    def full(event: object) -> None:
        raise RuntimeError("File too large")

    log._writer.add_event = full
    with pytest.raises(OSError, match="File too large"):
        log.write({"loss": 1.0}, 1)


def test_best_is_the_network_the_log_says(run: Path, people: Path) -> None:
    """IoU of best.keras, measured anew, is the best line's: so it holds the EMA weights."""
    lines = [line.split(",") for line in (run / "log.csv").read_text().splitlines()]
    rows = [dict(zip(lines[0], map(float, line), strict=True)) for line in lines[1:]]
    best = max(rows, key=lambda row: row["iou"] + 0.5 * row["boundary_iou"])
    scores = evaluation.mean(
        evaluation.evaluate(KerasSegmenter(models.load(run / "best.keras"), {}), find_pairs(people / "val"))
    )
    assert scores["iou"] == pytest.approx(best["iou"], abs=1e-4)


def test_a_used_run_folder_is_not_overwritten(here: Command, run: Path, people: Path) -> None:
    refused(here("train.py", people, *SMALL, "--out", run), "--resume")


def test_init_starts_from_a_checkpoint(
    command, here: Command, run: Path, people: Path, tmp_path: Path
) -> None:
    """The file alone says which network it is; frozen at first, by a schedule and losses of its own."""
    words = ("--init", run / "best.keras", "--batch", 4, "--epochs", 2, "--freeze", 1, "--schedule", "poly")
    words += ("--loss", "bce+lovasz+0.5*scl", "--hard", 0.5, "--accumulate", 2, "--out", tmp_path / "r")
    again = command("train.py", people, *words)
    assert again.returncode == 0, again.stderr
    settings = json.loads((tmp_path / "r" / "settings.json").read_text())
    assert (settings["model"], settings["size"], settings["channels"]) == ("mobilenetv2_fpn", [64, 64], 3)
    assert settings["option"] == ["alpha=0.35"]
    card = cards.read(tmp_path / "r" / "best.keras")
    assert card["architecture"] == cards.read(run / "best.keras")["architecture"]
    assert (card["init"], card["settings"]["freeze"]) == ("best.keras", 1.0)
    words = ("--model", "sinet", "--init", run / "best.keras", "--out", tmp_path / "x")
    refused(here("train.py", people, *words), "is a mobilenetv2_fpn")


def test_a_run_of_before_goes_on(command, run: Path, tmp_path: Path) -> None:
    """Its settings lack what has come since, and its size is null: the defaults are what was done then."""
    old = shutil.copytree(run, tmp_path / "old")
    settings = json.loads((old / "settings.json").read_text())
    for name in ("schedule", "freeze", "patience", "hard", "accumulate", "precision", "loss"):
        del settings[name]
    (old / "settings.json").write_text(json.dumps({**settings, "epochs": 4}))
    result = command("train.py", "--resume", old)
    assert result.returncode == 0, result.stderr
    assert "going on after epoch 3" in result.stdout
    assert len((old / "log.csv").read_text().splitlines()) == 1 + 4


def test_same_seed_same_bits(command, tiny: tuple[str, ...], people: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        words = ("--epochs", 2, "--seed", 7, "--workers", 1, "--hard", 0.5, "--out", tmp_path / name)
        result = command("-m", "tests.tiny", "train.py", people, *tiny, *words)
        assert result.returncode == 0, result.stderr
    weights = [models.load(tmp_path / name / "best.keras").get_weights() for name in ("first", "second")]
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_mixed_precision_leaves_an_ordinary_network(
    command, people: Path, tmp_path: Path, backend: str
) -> None:
    pytest.importorskip(backend)
    words = ("--epochs", 1, "--precision", "mixed", "--out", tmp_path / "run")
    result = command("train.py", people, *SMALL, *words, KERAS_BACKEND=backend)
    assert result.returncode == 0, result.stderr
    network = models.load(tmp_path / "run" / "best.keras")
    assert {variable.dtype for variable in network.weights} == {"float32"}
    assert network.predict_on_batch(np.zeros((1, 64, 64, 3), np.float32)).dtype == np.float32
    assert (tmp_path / "run" / "overlays.png").exists()


def test_killed_and_resumed(people: Path, tmp_path: Path, command) -> None:
    """SIGKILL in the middle of the first epoch: the run goes on after the last batch kept, to its end."""
    program = "import runpy, sys; from utils import runs; runs.KEEP_SECONDS = 0; runpy.run_path(sys.argv[0], run_name='__main__')"
    start = [sys.executable, "-c", f"import sys; sys.argv = sys.argv[1:]; {program}", "train.py"]
    words = [*start, people, *FLAT[:-1], 1, "--epochs", 2, "--out", tmp_path / "run"]
    process = subprocess.Popen(
        [str(w) for w in words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    last, deadline = tmp_path / "run" / "last.keras", time.time() + 200
    while not last.exists() and time.time() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run" / "log.csv").exists(), "not killed within the first epoch"
    result = command("train.py", "--resume", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    assert re.search(r"going on after epoch 0 and \d+ batches", result.stdout)
    assert len((tmp_path / "run" / "log.csv").read_text().splitlines()) - 1 == 2


def test_a_damaged_background_costs_nothing_that_was_learnt(
    here: Command, tiny: tuple[str, ...], people: Path, tmp_path: Path
) -> None:
    """It is named, and when it has been mended the run goes on at the batch that wanted it."""
    walls = portraits.write_backgrounds(tmp_path / "walls")
    victim = sorted(walls.iterdir())[0]
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 3])
    words = (
        *tiny,
        "--epochs",
        1,
        "--workers",
        1,
        "--backgrounds",
        walls,
        "--composite",
        1,
        "--out",
        tmp_path / "run",
    )
    refused(here("train.py", people, *words), victim.name, f"train.py --resume {tmp_path / 'run'} goes on")
    assert not (tmp_path / "run" / "best.keras").exists()
    victim.write_bytes(whole)
    done = here("train.py", "--resume", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "going on after epoch 0" in done.stdout
    assert (tmp_path / "run" / "best.keras").exists()


@pytest.mark.parametrize(
    ("name", "option", "outputs", "backend"),
    [
        ("portrait_net", "edge_head", 2, "tensorflow"),
        ("pp_humanseg_v2_lite", "training_heads", 4, "torch"),  # which begins three times as fast
        ("modnet", "training_heads", 3, "torch"),
    ],
)
def test_heads_train_and_stay_behind(
    command, people: Path, tmp_path: Path, name: str, option: str, outputs: int, backend: str
) -> None:
    """The heads that only training needs are in last.keras, to go on with, and not in best.keras."""
    pytest.importorskip(backend)
    words = ("--model", name, "--option", f"{option}=true", "--size", "32", "--batch", "4")
    result = command(
        "train.py", people, *words, "--epochs", 1, "--out", tmp_path / "run", KERAS_BACKEND=backend
    )
    assert result.returncode == 0, result.stderr
    assert len(models.load(tmp_path / "run" / "best.keras").outputs) == 1
    last = tmp_path / "run" / "last.keras"
    trained, again, plain = (models.load(last, **words) for words in ({option: True}, {option: True}, {}))
    assert (len(trained.outputs), len(plain.outputs)) == (outputs, 1)
    for one, other in zip(trained.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)  # trained numbers, not new ones each time


def test_restore_brings_everything_back(people: Path) -> None:
    """Two trainers, one restored from the other: the next step leaves equal weights."""
    batches = Batches(find_pairs(people / "train"), (64, 64), 4, seed=1)

    def start() -> training.Trainer:
        keras.utils.set_random_seed(1)
        return training.Trainer(tiny_network((64, 64)), Timetable(1e-3, 5))

    first, second = start(), start()
    first.history.append(first.train_epoch(batches))
    second.network.set_weights(first.network.get_weights())
    second.restore(io.BytesIO(first.state()).getvalue())
    assert second.epoch == 1
    for trainer in (first, second):
        trainer.train_epoch(batches)
    for a, b in zip(first.network.get_weights(), second.network.get_weights(), strict=True):
        assert np.allclose(a, b, atol=1e-5)
    for a, b in zip(first.ema.arrays(), second.ema.arrays(), strict=True):
        assert np.allclose(a, b, atol=1e-5)


def test_teacher_sees_the_same_picture_and_makes_its_share_of_the_target() -> None:
    keras.utils.set_random_seed(3)
    teacher = models.create("mobilenetv2_fpn", (64, 64), alpha=0.35)
    student = models.create("mobilenetv2_fpn", (64, 64), 4, alpha=0.35)
    teaching = Teaching(student, teacher, 0.25)
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 255, (2, 64, 64, 4)).astype(np.float32)
    alpha = (rng.random((2, 64, 64, 1)) > 0.5).astype(np.float32)
    expected = 0.75 * alpha + 0.25 * teacher.predict_on_batch(pixels[..., :3])
    assert np.allclose(teaching.target(pixels, alpha), expected, atol=1e-5)
    assert Teaching(student).target(pixels, alpha) is alpha
    with pytest.raises(ValueError, match=r"share is 0\.\.1"):
        Teaching(student, teacher, 1.5)


def test_a_held_prior_is_the_networks_own_alpha_and_part_of_the_target() -> None:
    keras.utils.set_random_seed(4)
    network = models.create("mobilenetv2_fpn", (64, 64), 4, alpha=0.35)
    teaching = Teaching(network, hold=0.6)
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 255, (24, 64, 64, 4)).astype(np.float32)
    truth = (rng.random((24, 64, 64, 1)) > 0.5).astype(np.float32)
    pixels[..., 3] = 255 * truth[..., 0]
    pixels[::2, ..., 3] = 0
    before = pixels.copy(), truth.copy()
    given, target = teaching.held(pixels, truth, np.random.default_rng(1))
    assert np.array_equal(pixels, before[0])
    assert np.array_equal(truth, before[1])
    changed = (given != pixels).any((1, 2, 3))
    still = (target != truth).any((1, 2, 3))
    assert not changed[::2].any()  # blank priors stay blank
    assert 0 < still.sum() < changed.sum() < 12  # some moved, and some keep the prior that was drawn
    assert not (still & ~changed).any()
    assert np.array_equal(given[..., :3], pixels[..., :3])  # the frame itself stays as it is
    for row in np.flatnonzero(still):
        assert np.allclose(target[row], 0.4 * truth[row] + 0.6 * given[row, ..., 3:] / 255, atol=1e-5)
    alpha = network.predict_on_batch(pixels)[still]
    assert np.abs(given[still, ..., 3:] / 255 - alpha).mean() < 0.1  # but for another grain


def test_ghosts_and_what_a_cut_left_are_never_part_of_the_target() -> None:
    """The prior of another picture is not held to; where nobody is, the network's own alpha is a prior to be denied."""
    keras.utils.set_random_seed(4)
    network = models.create("mobilenetv2_fpn", (64, 64), 4, alpha=0.35)
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 255, (40, 64, 64, 4)).astype(np.float32)
    truth = np.zeros((40, 64, 64, 1), np.float32)
    truth[:20, :, :32] = 1
    pixels[:20, ..., 3] = 255 * (1 - truth[:20, ..., 0])
    pixels[20:30, ..., 3] = 0
    given, target = Teaching(network, hold=0.9).held(pixels, truth, np.random.default_rng(1))
    assert np.array_equal(target, truth)
    assert np.array_equal(given[:20], pixels[:20])
    own = (given != pixels).any((1, 2, 3))[20:]
    assert 10 < own.sum() < 20
    alpha = network.predict_on_batch(pixels)[20:][own]
    assert np.abs(given[20:][own][..., 3:] / 255 - alpha).mean() < 0.1


def test_a_moved_picture_is_the_same_a_little_off() -> None:
    people, alpha = portraits.portrait(3, 96, 96)
    picture = np.dstack([people, np.uint8(255 * alpha)])
    rng = np.random.default_rng(0)
    overlaps = []
    for _ in range(200):
        moved = moved_picture(picture, rng)
        assert moved.shape == picture.shape
        overlaps.append(metrics.iou(moved[..., 3] / 255, alpha))
    assert min(overlaps) > 0.5
    assert 0.9 < np.median(overlaps) < 0.99


@pytest.mark.parametrize(("hold", "kept"), [("0", 1), ("0.5", 2)])
def test_with_hold_the_newest_network_is_kept(
    hold: str, kept: int, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: tuple[str, ...]
) -> None:
    """Though its score on single photos is lower: what it learns is not in that."""
    scores = iter([0.9, 0.1])
    mean = lambda rows: {**evaluation.mean(rows), "iou": next(scores)}  # noqa: E731
    monkeypatch.setattr(runs, "evaluation", SimpleNamespace(**{**vars(evaluation), "mean": mean}))
    monkeypatch.setattr(runs, "_summary", lambda row, rows: "")  # which needs means of its own
    words = ("--channels", "4", "--hold", hold, "--epochs", "2", "--out", str(tmp_path / "run"))
    monkeypatch.setattr(sys, "argv", ["train.py", str(people), *tiny, *words])
    assert train.main() == 0
    assert cards.read(tmp_path / "run/best.keras")["epoch"] == kept


def test_hold_needs_a_prior() -> None:
    network = models.create("mobilenetv2_fpn", (64, 64), alpha=0.35)
    with pytest.raises(ValueError, match="--channels 4"):
        Teaching(network, hold=0.5)
    with pytest.raises(ValueError, match="--hold 1"):
        Teaching(network, hold=1.0)


def test_command_learns_from_a_teacher(
    command, here: Command, tiny: tuple[str, ...], run: Path, people: Path, tmp_path: Path
) -> None:
    teacher = run / "best.keras"
    words = ("--epochs", 1, "--teacher", teacher, "--out", tmp_path / "second")
    result = command("-m", "tests.tiny", "train.py", people, *tiny, *words)
    assert result.returncode == 0, result.stderr
    assert cards.read(tmp_path / "second" / "best.keras")["teacher"] == "best.keras"
    refused(here("train.py", people, *SMALL, "--teacher", tmp_path / "none.keras"), "no such model file")


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_trains_where_tensorflow_is_missing(command, people: Path, tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    blocked = tmp_path / "blocked" / "tensorflow"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text(
        "raise ModuleNotFoundError('no tensorflow here', name='tensorflow')\n"
    )
    environment = {"KERAS_BACKEND": backend, "PYTHONPATH": str(blocked.parent)}
    result = command("train.py", people, *FLAT, "--epochs", 1, "--out", tmp_path / "run", **environment)
    assert result.returncode == 0, result.stderr
    assert f"Keras on {backend}" in result.stdout
    pixels = np.random.default_rng(0).random((1, 64, 64, 3), np.float32) * 255
    assert np.isfinite(models.load(tmp_path / "run" / "best.keras").predict_on_batch(pixels)).all()


def test_bad_data_is_one_line(here: Command, people: Path, tmp_path: Path) -> None:
    refused(here("train.py", tmp_path / "none", "--out", tmp_path / "r"), "no such dataset folder")
    refused(here("train.py", tmp_path, "--out", tmp_path / "r"), "images")
    refused(here("train.py", people, "--model", "nothing", "--out", tmp_path / "r"), "choose one of")
    refused(here("train.py", people, "--size", "70", "--out", tmp_path / "r"), "64x64")
    refused(here("train.py", "--resume", tmp_path), "not a run folder")
    assert here("train.py").returncode == 2
    wrong = (
        ("--minutes", "-1"),
        ("--rate", "0"),
        ("--val-split", "nan"),
        ("--composite", "1.5"),
        ("--decay", "-1"),
    )
    for words in (*wrong, ("--resume", tmp_path)):
        result = here("train.py", *(() if "--resume" in words else (people,)), *words, "--epochs", 3)
        assert result.returncode == 2
        assert "Traceback" not in result.stderr
    assert "leave out" in result.stderr
    refused(here("train.py", people, "--loss", "bce+mse", "--out", tmp_path / "r"), "lovasz")
    refused(here("train.py", people, "--hard", 1, "--out", tmp_path / "r"), "--hard 1")
    refused(here("train.py", people, "--schedule", "step", "--out", tmp_path / "r"), "plateau")
    refused(here("train.py", people, "--option", "alpha=wide", "--out", tmp_path / "r"), "options")
    refused(here("train.py", people, "--option", "alpha=inf", "--out", tmp_path / "r"), "finite number")
    refused(here("train.py", people, "--accumulate", 99, "--out", tmp_path / "r"), "batches only")
    refused(
        here("train.py", people, "--init", VIDEO, "--channels", 3, "--out", tmp_path / "r"),
        "cannot be left out",
    )


def test_options_say_yes_and_no() -> None:
    given = argparse.Namespace(option=["edge_head=no", "decoder=light", "alpha=0.5", "scale=2", "a=True"])
    found = recipe.options(given)
    assert found == {"edge_head": False, "decoder": "light", "alpha": 0.5, "scale": 2, "a": True}


def test_a_very_long_photo_is_trained_on(tmp_path: Path) -> None:
    """12,000 x 30 pixels: shrunk for the canvas its short side must not vanish."""
    image = np.zeros((30, 12_000, 3), np.uint8)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        matrix = augment.random_matrix(image.shape[:2], (64, 64), rng)
        assert augment.warp(image, matrix, (64, 64)).shape == (64, 64, 3)
