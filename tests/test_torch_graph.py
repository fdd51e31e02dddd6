"""Networks on PyTorch's kernels compute what Keras computes: values, gradients, running statistics."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytest.importorskip("torch")

# Between them they have every layer with a rule, and several without.
NAMES = (
    "mobilenetv2_fpn",
    "efficientnet_lite_fpn",
    "portrait_net",
    "slim_net",
    "prisma_net",
    "sinet",
    "modnet",
    "pp_humanseg_v1_lite",
)

# Logits before and after one step's worth of gradients, Keras' own layers against the graph's.
PROGRAM = """
import json
import sys
import numpy as np, torch, keras, models
from utils import backend
from utils.losses import SegmentationLoss

def run(graph, network, start, x, y):
    network.set_weights(start)
    for variable in network.trainable_variables:
        variable.value.grad = None
    logits = graph(x, training=True)
    SegmentationLoss()(y, logits).backward()
    found = [v.value.grad for v in network.trainable_variables]
    gradient = np.concatenate([g.numpy().ravel() for g in found if g is not None])
    return logits.detach().numpy(), gradient, network.get_weights()

rng = np.random.default_rng(0)
for name in sys.argv[1:]:
    keras.utils.set_random_seed(1)
    network = models.create(name, (32, 64))
    # Norms that divide by next to nothing would magnify rounding.
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = 0.1
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    x = torch.tensor(rng.uniform(0, 255, (4, 32, 64, 3)).astype("float32"))
    y = torch.tensor((rng.uniform(size=(4, 32, 64, 1)) > 0.5).astype("float32"))
    own = models.logits(network)
    start = [w + 0.1 * rng.standard_normal(w.shape) if w.ndim == 1 else w for w in network.get_weights()]
    start = [np.abs(w) if "variance" in v.path else w for w, v in zip(start, network.weights)]
    graph = backend.fast(own)
    exact = run(own, network, start, x, y)
    fast = run(graph, network, start, x, y)
    network.set_weights(start)
    with torch.no_grad():
        still = own(x, training=False)
        calm = float((still - graph(x, training=False)).abs().max() / still.abs().max().clamp(min=1.0))
    cosine = float(exact[1] @ fast[1] / np.linalg.norm(exact[1]) / np.linalg.norm(fast[1]))
    # Running variances differ by n / (n - 1): PyTorch takes the unbiased one.
    moved = max(float(np.abs(a - b).max() / (np.abs(a).max() + 1e-6)) for a, b in zip(exact[2], fast[2]))
    logits = float(np.abs(exact[0] - fast[0]).max() / np.abs(exact[0]).max())
    row = {"name": name, "calm": calm, "logits": logits, "cosine": cosine, "moved": moved}
    print(json.dumps({**row, "gradients": [len(exact[1]), len(fast[1])]}), flush=True)
"""


@pytest.fixture(scope="module")
def differences() -> dict[str, dict]:
    environment = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", PROGRAM, *NAMES]
    result = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=600)
    assert result.returncode == 0, result.stderr[-2000:]
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    return {row["name"]: row for row in rows}


@pytest.mark.parametrize("name", NAMES)
def test_graph_equals_keras(differences: dict[str, dict], name: str) -> None:
    found = differences[name]
    assert found["calm"] < 1e-3, found
    assert found["logits"] < 1e-3, found
    assert found["cosine"] > 0.999, found
    assert found["moved"] < 0.05, found
    assert found["gradients"][0] == found["gradients"][1], found


def test_a_run_with_dropout_goes_on_where_it_was_broken_off() -> None:
    """Under PyTorch, whose layers draw from another generator than TensorFlow's."""
    words = (sys.executable, "-m", "pytest", "-q", "tests/test_trainer.py", "-k", "an_epoch_goes_on")
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    result = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-2000:]


POOLED = """
import keras, numpy as np
from utils import backend
inputs = keras.Input((8, 8, 3))
x = keras.layers.GlobalAveragePooling2D(keepdims=True)(keras.layers.Conv2D(4, 3, padding="same")(inputs))
x = keras.layers.UpSampling2D(8)(keras.layers.BatchNormalization(name="norm")(x))
network = keras.Model(inputs, keras.layers.Conv2D(1, 1, name="logits")(x))
photo = np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 3)).astype("float32")
fast = backend.fast(network)(photo, training=True).detach().numpy()
moved = network.get_layer("norm").moving_mean.numpy().copy()
network.get_layer("norm").moving_mean.assign(np.zeros(4))
exact = network(photo, training=True).detach().numpy()
assert np.allclose(fast, exact, atol=1e-5), (fast, exact)
assert np.allclose(moved, network.get_layer("norm").moving_mean.numpy()) and moved.any()
"""


def test_one_photo_a_batch_trains_where_it_is_pooled_to_one_value() -> None:
    environment = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", POOLED]
    result = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
