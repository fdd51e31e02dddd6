"""The EfficientNet-Lite encoder starts from the published PyTorch weights and computes what they do."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import models
from models import efficientnet_lite

SIDE = 64
NAME = "efficientnet_lite_fpn"
torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights as the published files hold them: each block's layers in turn, then the head."""
    random = np.random.default_rng(0)
    network = models.create(NAME, (SIDE, SIDE), scale=0)
    state = {}
    for layer in network.layers:
        if layer.weights and layer.name.startswith(efficientnet_lite.ENCODER):
            norm = isinstance(layer, layers.BatchNormalization)
            values = [random.uniform(0.5, 1, w.shape).astype("f4") for w in layer.weights]
            if not norm:
                deep = isinstance(layer, layers.DepthwiseConv2D)
                values = [random.normal(0, 0.2, w.shape).astype("f4") for w in layer.weights]
                values = [values[0].transpose((2, 3, 0, 1) if deep else (3, 2, 0, 1))]
            words = ("weight", "bias", "running_mean", "running_var") if norm else ("weight",)
            for word, value in zip(words, values, strict=True):
                state[f"{layer.name}.{word}"] = torch.tensor(value)
            if norm:
                state[f"{layer.name}.num_batches_tracked"] = torch.tensor(3)
    state["_fc.weight"] = torch.zeros(10, 20)
    path = tmp_path_factory.mktemp("start") / "lite0.pth"
    torch.save(state, path)
    return path


def norm(x: torch.Tensor, state: dict, name: str) -> torch.Tensor:
    values = [state[f"{name}.{word}"] for word in ("running_mean", "running_var", "weight", "bias")]
    return torch.nn.functional.batch_norm(x, *values, eps=1e-3)


def test_features_are_those_of_pytorch(start: Path) -> None:
    """Stem and the first block, computed by PyTorch from the file: (pixel - 127) / 128, padding below and right."""
    network = models.create(NAME, (SIDE, SIDE), weights=start, scale=0)
    pixels = np.random.default_rng(1).uniform(0, 255, (1, SIDE, SIDE, 3)).astype("f4")
    ours = keras.Model(network.inputs, network.get_layer("stage_0_0_project_bn").output)(pixels)
    state = torch.load(start, weights_only=True)
    x = torch.tensor((pixels - 127) / 128).permute(0, 3, 1, 2)
    x = torch.nn.functional.conv2d(torch.nn.functional.pad(x, (0, 1, 0, 1)), state["stem.weight"], stride=2)
    x = torch.clamp(norm(x, state, "stem_bn"), 0, 6)
    x = torch.nn.functional.conv2d(x, state["stage_0_0_depthwise.weight"], padding=1, groups=32)
    x = torch.clamp(norm(x, state, "stage_0_0_depthwise_bn"), 0, 6)
    x = norm(torch.nn.functional.conv2d(x, state["stage_0_0_project.weight"]), state, "stage_0_0_project_bn")
    theirs = x.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), theirs, atol=1e-3 * np.abs(theirs).max())


def test_every_layer_is_filled(start: Path) -> None:
    network = models.create(NAME, (SIDE, SIDE), channels=4, weights=start, scale=0)
    state = torch.load(start, weights_only=True)
    assert not network.get_layer("stem").get_weights()[0][:, :, 3].any()  # the prior is not looked at yet
    last = network.get_layer("stage_6_0_project").get_weights()[0]
    np.testing.assert_array_equal(last, state["stage_6_0_project.weight"].permute(2, 3, 1, 0).numpy())


def test_start_from_a_network_of_ours(start: Path, tmp_path: Path) -> None:
    donor = models.create(NAME, (SIDE, SIDE), weights=start, scale=0)
    architecture = models.describe(NAME, (SIDE, SIDE), scale=0)
    models.save(donor, tmp_path / "donor.keras", {"architecture": architecture})
    network = models.create(NAME, (SIDE, SIDE), weights=tmp_path / "donor.keras", scale=0, decoder="light")
    for name in ("stem", "stage_3_2_depthwise", "stage_6_0_project_bn"):
        for a, b in zip(
            network.get_layer(name).get_weights(), donor.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("scale", "trainable", "head"), [(0, 4_652_008, 320), (1, 5_416_680, 320), (2, 6_092_072, 352)]
)
def test_sizes_are_the_published_ones(scale: int, trainable: int, head: int) -> None:
    """With the head that classifies: a convolution to 1280, its norm, 1000 classes."""
    network = models.create(NAME, (SIDE, SIDE), scale=scale)
    own = sum(
        int(np.prod(weight.shape))
        for layer in network.layers
        if layer.name.startswith(efficientnet_lite.ENCODER)
        for weight in layer.trainable_weights
    )
    assert own + head * 1280 + 2 * 1280 + 1280 * 1000 + 1000 == trainable


def test_other_files_are_refused(start: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another scale"):
        models.create(NAME, (SIDE, SIDE), weights=start, scale=2)
    with pytest.raises(ValueError, match="no such file"):
        models.create(NAME, (SIDE, SIDE), weights=tmp_path / "none.pth", scale=0)
    (tmp_path / "noise.pth").write_bytes(b"noise")
    with pytest.raises(ValueError, match="cannot be read"):
        models.create(NAME, (SIDE, SIDE), weights=tmp_path / "noise.pth", scale=0)
    other = models.create("mobilenetv2_fpn", (SIDE, SIDE), alpha=0.35)
    architecture = models.describe("mobilenetv2_fpn", (SIDE, SIDE), alpha=0.35)
    models.save(other, tmp_path / "other.keras", {"architecture": architecture})
    with pytest.raises(ValueError, match="holds no"):
        models.create(NAME, (SIDE, SIDE), weights=tmp_path / "other.keras", scale=0)
    with pytest.raises(ValueError, match="choose 0 to 4"):
        models.create(NAME, (SIDE, SIDE), scale=5)
    with pytest.raises(ValueError, match="no decoder"):
        models.create(NAME, (SIDE, SIDE), decoder="huge")
