"""Training for whole numbers: what is played is what the export does, and the weights learn from it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

keras = pytest.importorskip("keras")
import models  # noqa: E402
from models import card as cards  # noqa: E402
from tests import portraits  # noqa: E402
from tests.conftest import ROOT, Command, refused  # noqa: E402
from utils import encoders, exporting, formats, qat, recipe, segmenter  # noqa: E402
from utils.fold import fold  # noqa: E402
from utils.formats import Job  # noqa: E402
from utils.segmenter import KerasSegmenter  # noqa: E402

FRAMES = [portraits.portrait(seed)[0] for seed in range(8)]


def answers(network: keras.Model, pixels: np.ndarray) -> np.ndarray:
    found = network(pixels, training=False)
    return np.asarray(found[0] if isinstance(found, list) else found)


@given(st.floats(-50, 50), st.floats(-50, 50), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_values_are_rounded_as_tensorflow_rounds_them(low: float, high: float, seed: int) -> None:
    tf = pytest.importorskip("tensorflow")
    values = np.random.default_rng(seed).normal(0, 30, 200).astype(np.float32)
    found = np.asarray(qat.rounded(values, np.float32(low), np.float32(high)))
    low, high = min(low, 0.0), max(high, 0.0)
    step = max(high - low, 1e-8) / 255
    whole = found / step
    assert np.abs(whole - np.round(whole)).max() < 1e-2
    assert np.abs(np.round(whole)).max() <= 255
    inside = (values > low + step) & (values < high - step)
    assert (np.abs(found - values)[inside] < 0.51 * step).all()
    if high - low > 1e-3:
        theirs = tf.quantization.fake_quant_with_min_max_vars(values, low, high).numpy()
        assert np.abs(found - theirs).max() < 1.01 * step  # a tie may fall to either side
        assert np.mean(np.abs(found - theirs) > 1e-3 * step) < 0.05


@given(st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_each_channel_of_a_kernel_has_its_own_steps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = (rng.normal(0, 1, (3, 3, 4, 6)) * np.exp(rng.normal(0, 3, 6))).astype(np.float32)
    found = np.asarray(qat.rounded_kernel(kernel, (0, 1, 2)))
    largest = np.abs(kernel).max((0, 1, 2))
    assert np.allclose(np.abs(found).max((0, 1, 2)), largest, rtol=1e-5)
    assert (np.abs(found - kernel).max((0, 1, 2)) <= 0.5001 * largest / 127).all()


# One of each kind of layer and of each way to join them; all others were tried by hand.
@pytest.mark.parametrize("name", ["mobilenetv2_fpn", "prisma_net", "sinet", "pp_humanseg_v2_lite", "modnet"])
def test_a_network_is_simulated_and_taken_out_again(name: str, monkeypatch) -> None:
    size = (64, 64)
    keras.utils.set_random_seed(3)
    network, rng = models.create(name, size), np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([weight + rng.uniform(0, 0.4, weight.shape) for weight in layer.get_weights()])
    pixels = rng.uniform(0, 255, (2, *size, 3)).astype(np.float32)
    expected = answers(network, pixels)
    simulated = qat.simulated(network)
    qat.look(simulated, [pixels])
    played = answers(simulated, pixels)
    assert np.abs(played - expected).max() > 0
    again = qat.taken_out(simulated, models.create(name, size))
    assert np.abs(answers(again, pixels) - expected).max() < 1e-4
    monkeypatch.setattr(qat, "rounded", lambda x, low, high: x)
    monkeypatch.setattr(qat, "rounded_kernel", lambda kernel, axes: kernel)
    assert np.abs(answers(simulated, pixels) - expected).max() < 1e-4


def test_ranges_widen_at_once_and_shrink_slowly() -> None:
    layer = qat.Range()
    layer(np.float32([[-3, 5]]), training=True)
    assert (float(layer.low), float(layer.high)) == (-3, 5)
    layer(np.float32([[-1, 9]]), training=True)
    assert -3 < float(layer.low) < -2.97
    assert float(layer.high) == 9
    before = float(layer.high)
    layer(np.float32([[-9, 90]]), training=False)
    assert float(layer.high) == before


def test_what_is_played_is_what_the_export_does(tmp_path: Path) -> None:
    """Of the network for cameras at 96x96: what it loses as int8 is, for the most part, lost in play as well."""
    network = models.load(ROOT / "checkpoints" / "live.keras", input_size=(96, 96))
    pixels = KerasSegmenter(network, {}).prepare(FRAMES, [None] * len(FRAMES))[0]
    path = tmp_path / "whole.tflite"
    with exporting.saved_model(fold(network)) as folder:
        formats.FORMATS["tflite_qat"].convert(Job(folder, lambda: (pixels[[i]] for i in range(8))), path)
    cards.attach(path, {"name": "live"})
    opened = segmenter.open(path, threads=1)
    whole = np.concatenate([np.asarray(opened.infer(pixels[[i]])) for i in range(8)])
    played = qat.simulated(network)
    qat.look(played, [pixels])
    alphas = answers(network, pixels)
    lost, said = (whole - alphas).ravel(), (answers(played, pixels) - alphas).ravel()
    assert np.corrcoef(lost, said)[0, 1] > 0.6
    assert np.abs(lost - said).mean() < 0.75 * np.abs(lost).mean()


def test_a_network_spoilt_for_whole_numbers_learns_to_bear_them() -> None:
    """What a large weight that does nothing leaves to the others are few steps: they learn to make do with these."""
    keras.utils.set_random_seed(0)
    inputs = keras.layers.Input((8, 8, 4))
    x = keras.layers.ReLU()(keras.layers.Conv2D(16, 3, padding="same", name="wide")(inputs))
    network = keras.Model(inputs, keras.layers.Conv2D(1, 3, padding="same")(x))
    pixels = np.random.default_rng(0).normal(0, 1, (256, 8, 8, 4)).astype(np.float32)
    pixels[..., 3] = 0
    truth = answers(network, pixels)
    kernel, bias = network.get_layer("wide").get_weights()
    kernel[:, :, 3] = 20
    network.get_layer("wide").set_weights([kernel, bias])
    assert np.abs(answers(network, pixels) - truth).max() < 1e-5  # float32 does not mind
    played = qat.simulated(network)
    qat.look(played, [pixels])
    before = np.abs(answers(played, pixels) - truth).mean()
    played.compile(keras.optimizers.Adam(1e-2), "mse", jit_compile=False)
    played.fit(pixels, truth, batch_size=32, epochs=40, verbose=0)
    again = qat.simulated(qat.taken_out(played, network))
    qat.look(again, [pixels])  # as an export would
    after = np.abs(answers(again, pixels) - truth).mean()
    assert after < 0.6 * before, (before, after)


def test_heads_that_only_training_has_are_refused() -> None:
    args = Namespace(init="x.keras", precision="auto", rate=None, option=["edge_head=true"])
    with pytest.raises(ValueError, match="leave out --option edge_head"):
        recipe._settle_qat(args)


def test_ordinary_training_can_go_on_from_it() -> None:
    """Norms that only add would divide by each batch's deviation: they are given statistics first."""
    network = models.load(ROOT / "checkpoints" / "live.keras", input_size=(96, 96))
    pixels = KerasSegmenter(network, {}).prepare(FRAMES, [None] * len(FRAMES))[0]
    expected = answers(network, pixels)
    plain = models.create("mobilenetv2_fpn", (96, 96), decoder="light")
    plain = qat.taken_out(qat.simulated(network), plain)
    assert encoders.revive_batch_norms(plain, pixels) > 20
    assert np.abs(answers(plain, pixels) - expected).max() < 1e-2
    assert np.abs(np.asarray(plain(pixels, training=True)) - expected).mean() < 0.1


def test_pytorch_trains_the_ranges_too(command) -> None:
    """Its own way through the graph must hand on that this is training."""
    lines = """
from utils import backend
backend.choose()
import numpy as np, models
from utils import qat
network = qat.simulated(models.create("mobilenetv2_fpn", (64, 64), alpha=0.35))
pixels = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
qat.look(network, [pixels / 2])
ranges = qat._ranges(network)
before = [float(layer.high) for layer in ranges]
graph = backend.fast(models.logits(network))
graph.compile("sgd", "mse", jit_compile=False)
graph.train_on_batch(pixels, np.zeros((2, 64, 64, 1), np.float32))
print(sum(float(layer.high) != high for layer, high in zip(ranges, before)), len(ranges))
"""
    pytest.importorskip("torch")
    done = command("-c", lines, KERAS_BACKEND="torch")
    assert done.returncode == 0, done.stderr
    moved, count = map(int, done.stdout.split())
    assert moved > 0.5 * count


def test_command_trains_resumes_and_exports(
    command, tiny: tuple[str, ...], people: Path, tmp_path: Path
) -> None:
    start, run, side = tmp_path / "start.keras", tmp_path / "run", (32, 32)
    models.save(models.create("tiny", side), start, {"architecture": models.describe("tiny", side)})

    def script(*words: object):
        return command("-m", "tests.tiny", *words)

    words = ("--init", start, "--qat", "--batch", 4, "--out", run)
    done = script("train.py", people, *words, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    card = cards.read(run / "best.keras")
    assert card["settings"]["qat"] is True
    assert card["settings"]["rate"] == 1e-4
    assert type(models.load(run / "best.keras").get_layer("logits")) is keras.layers.Conv2DTranspose
    refused(script("eval.py", run / "last.keras", people), "holds a training with --qat")
    settings_file = run / "settings.json"
    settings_file.write_text(settings_file.read_text().replace('"epochs": 1', '"epochs": 2'))
    again = script("train.py", "--resume", run)
    assert again.returncode == 0, again.stderr
    assert "epoch 2" in again.stdout
    done = script("export.py", run / "best.keras", "--formats", "tflite_qat", "--out", tmp_path / "out")
    path = tmp_path / "out" / "best_qat.tflite"
    assert (done.returncode == 0) == path.exists()  # random weights may be refused for their parity
    assert "best_qat.tflite" in done.stdout


def test_what_cannot_be_is_one_line(here: Command, checkpoint: Path, people: Path, tmp_path: Path) -> None:
    refused(here("train.py", people, "--qat", "--out", tmp_path / "r"), "--init FILE")
    words = ("--qat", "--init", checkpoint, "--precision", "mixed", "--out", tmp_path / "r")
    refused(here("train.py", people, *words), "full precision")
    refused(here("export.py", checkpoint, "--formats", "tflite_qat"), "has not learnt", "--qat")
