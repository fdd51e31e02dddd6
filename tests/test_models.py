"""Every network, tested by naming it: counts, forward, gradient, save and load, starts, refusals."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import models
from models import (
    blocks,
    mobilenetv3,
    mobilenetv3_large,
    modnet,
    portrait_net,
    pp_humanseg_v1_lite,
    sinet,
)
from utils.flops import multiply_adds

ROOT = Path(__file__).parent.parent
SIDE = 64  # small, and legal for every network


@dataclass(frozen=True)
class Case:
    """One network: its parameters are exact targets, None where no figure is published."""

    name: str
    total: int | None = None
    trainable: int | None = None
    channels: int = 3
    options: dict = field(default_factory=dict)

    def __str__(self) -> str:
        words = [self.name, *(f"{key}-{value}" for key, value in self.options.items())]
        return "-".join([*words, "prior"] if self.channels == 4 else words)

    def __hash__(self) -> int:
        return hash(str(self))


CASES = [
    Case("mobile_unet", 3_648_561, 3_630_593),
    Case("mobile_unet", 3_648_561, 3_630_593, options={"decoder": "bilinear"}),
    Case("mobilenetv3_unet", 2_578_449),
    Case("mobilenetv3_unet", 2_578_593, channels=4),
    Case("mobilenetv3_unet", 1_216_293, options={"width": 0.5}),
    Case("prisma_net", 923_057, 923_057),
    Case("portrait_net", None, 2_080_760),
    Case("portrait_net", None, 2_081_048 + 144, channels=4, options={"edge_head": True}),
    Case("slim_net", 347_570, 347_570),
    Case("sinet", None, 86_910),
    Case("deeplab"),
    Case("deeplab", options={"output_stride": 8}),
    Case("mobilenetv3_qat", 969_970, 952_018),
    Case("mobilenetv2_fpn", 584_209),
    Case("mobilenetv2_fpn", 578_401, options={"decoder": "light"}),
    Case("efficientnet_lite_fpn", 4_650_161),
    Case("efficientnet_lite_fpn", 3_159_505, options={"scale": 0, "decoder": "light"}),
    Case("pp_humanseg_v1_lite", 137_466, 131_766),
    Case("pp_humanseg_v2_lite", 3_030_358, 3_002_406),
    Case("pp_humanseg_v2_lite", 3_043_990, options={"training_heads": True}),
    Case("pp_humanseg_v2_lite", 937_006, 921_598, options={"form": "portrait"}),
    Case("pp_humanseg_v2_lite", 946_094, options={"form": "portrait", "training_heads": True}),
    Case("pp_humanseg_v1_mobile", 1_543_954),
    Case("pp_humanseg_v2_mobile", 7_527_536),
    Case("pp_humanseg_v2_mobile", 7_576_592, options={"training_heads": True}),
    Case("pp_humanseg_v1_server", 26_789_874),
    Case("modnet", 6_511_409, 6_476_609),
    Case("modnet", 6_511_697, channels=4),
    Case("modnet", 6_512_705, channels=4, options={"prior": "everywhere"}),
    Case("modnet", options={"branch": "low"}),
    Case("modnet", 6_521_907, 6_487_075, options={"training_heads": True}),
    Case("modnet", 6_523_491, channels=4, options={"prior": "everywhere", "training_heads": True}),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_name = pytest.mark.parametrize("name", models.names())


@functools.cache
def built(case: Case) -> keras.Model:
    """The network at a small size; its batch norms get statistics that tell channels apart."""
    keras.utils.set_random_seed(1)
    network = models.create(case.name, (SIDE, SIDE), case.channels, **case.options)
    shake(network)
    return network


@functools.cache
def fresh(case: Case) -> keras.Model:
    """The same network built once more, as a training with a prior channel would start it."""
    keras.utils.set_random_seed(1)
    return models.create(case.name, (SIDE, SIDE), channels=4, **case.options)


def case_of(name: str, **options: object) -> Case:
    return next(case for case in CASES if case.name == name and case.options == options)


def shake(network: keras.Model) -> None:
    """Random statistics for batch norms: those of a new network hide a wrong order or a lost copy."""
    random = np.random.default_rng(2)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            low = np.array([0.8, -0.1, -0.1, 0.5])[:, None]
            high = np.array([1.2, 0.1, 0.1, 1.5])[:, None]
            layer.set_weights(list(random.uniform(low, high, (4, layer.gamma.shape[0]))))


def pixels(count: int, channels: int = 3, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(3).uniform(0, 255, (count, side, side, channels)).astype("float32")


def outputs(network: keras.Model, x: np.ndarray) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(network(x, training=False))]


def describe(case: Case, side: int = SIDE) -> dict:
    return {"architecture": models.describe(case.name, (side, side), case.channels, **case.options)}


def kernels(network: keras.Model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in network.layers if layer.weights}


def size_of(variables: list) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


# --- what each network is


def test_every_name_is_tested() -> None:
    assert {case.name for case in CASES} == set(models.names())


@every_case
def test_parameters(case: Case) -> None:
    network = built(case)
    assert case.total in (None, network.count_params())
    assert case.trainable in (None, size_of(network.trainable_variables))
    assert multiply_adds(network) > 1e6, "a layer that nobody counts"


@pytest.mark.parametrize("output_stride", [8, 16])
def test_deeplab_parameters_once_folded(output_stride: int) -> None:
    network = models.create("deeplab", (SIDE, SIDE), output_stride=output_stride)
    norms = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    # No convolution before a batch norm has a bias, so each gains one and four numbers a channel go.
    assert network.count_params() - 3 * sum(norm.gamma.shape[0] for norm in norms) == 683_474
    assert network.get_layer("block_1_project").filters == network.get_layer("block_2_project").filters == 12


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("mobilenetv3_unet", {}, 447_056),
        ("mobilenetv3_unet", {"width": 0.5}, 248_516),
        ("mobilenetv3_qat", {}, 441_000),
    ],
)
def test_encoder_parameters(name: str, options: dict, expected: int) -> None:
    network = built(case_of(name, **options))
    encoder = keras.Model(network.inputs, network.get_layer("conv_1_bn").output)
    assert encoder.count_params() == expected


def test_portrait_net_parameters_by_part() -> None:
    network = built(case_of("portrait_net", edge_head=True))
    parts = {"encoder": 0, "decoder": 0, "heads": 0}
    for layer in network.layers:
        is_decoder = layer.name.startswith(("decoder_", "up_"))
        part = "heads" if "logits" in layer.name else "decoder" if is_decoder else "encoder"
        parts[part] += size_of(layer.trainable_variables)
    assert parts == {"encoder": 1_813_088, "decoder": 267_816, "heads": 2 * 144}


@every_name
def test_default_size_and_names(name: str) -> None:
    network = models.create(name)
    height, width = models.REGISTRY[name].size
    assert network.name == name
    assert network.input_shape == (None, height, width, 3)
    assert network.output_shape == (None, height, width, 1)
    logits = network.get_layer("logits").output.shape
    assert logits[1:3] == (height, width)
    assert logits[3] in (1, 2)


@every_case
def test_layer_names_do_not_depend_on_what_was_built_before(case: Case) -> None:
    # Weights are copied by name between variants; Keras numbers nameless layers by the process.
    assert list(kernels(fresh(case))) == list(kernels(built(case)))


# --- what each network does


@every_case
def test_forward(case: Case) -> None:
    """Noise alone, then black and white together: legal alphas, the same whatever the batch."""
    network = built(case)
    noise = pixels(1, case.channels)
    flat = np.stack([np.zeros_like(noise[0]), np.full_like(noise[0], 255)])
    for x in (noise, flat):
        for alpha in outputs(network, x):
            assert alpha.shape == (len(x), SIDE, SIDE, 1)
            assert np.isfinite(alpha).all()
            assert alpha.min() >= 0
            assert alpha.max() <= 1
    together, alone = outputs(network, flat)[0], outputs(network, flat[:1])[0]
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)


@every_case
def test_alpha_is_the_person_in_the_logits(case: Case) -> None:
    network = built(case)
    x = pixels(1, case.channels)
    logits = outputs(models.logits(network), x)[0]
    expected = np.concatenate(outputs(network, x), axis=-1)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), expected, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="uses TensorFlow's tape")
@every_case
def test_gradient_reaches_every_variable(case: Case) -> None:
    import tensorflow as tf

    network = fresh(case)
    target = np.random.default_rng(4).normal(size=(2, SIDE, SIDE, 1)).astype("float32")
    with tf.GradientTape() as tape:
        results = keras.tree.flatten(network(pixels(2, 4), training=True))
        loss = sum(tf.reduce_sum(result * target) for result in results)
    variables = network.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        assert gradient is not None, variable.path
        values = np.asarray(gradient)
        assert np.isfinite(values).all(), variable.path
        # A bias before a batch norm is subtracted again: its gradient is nothing but rounding.
        assert variable.name == "bias" or np.abs(values).max() > 0, variable.path


@every_name
def test_prior_channel(name: str) -> None:
    """The fourth channel is read, as 0..1 whatever happens to the colours."""
    network = fresh(next(case for case in CASES if case.name == name))
    x = pixels(1, 4)
    assert network.input_shape[-1] == 4
    assert outputs(network, x)[0].shape == (1, SIDE, SIDE, 1)
    normalised = keras.ops.convert_to_numpy(network.get_layer("normalise")(x))
    np.testing.assert_allclose(normalised[..., 3], x[..., 3] / 255, atol=1e-6)
    stem = next(layer for layer in network.layers if isinstance(layer, layers.Conv2D))
    features = keras.Model(network.inputs, stem.output)
    blank = x * np.array([1, 1, 1, 0], "float32")
    assert np.abs(outputs(features, x)[0] - outputs(features, blank)[0]).max() > 0.01


def test_portrait_net_normalises_by_its_own_means() -> None:
    network = built(case_of("portrait_net"))
    color = np.full((1, SIDE, SIDE, 3), [124.68, 116.78, 113.94], "float32")
    normalised = keras.ops.convert_to_numpy(network.get_layer("normalise")(color))
    np.testing.assert_allclose(normalised[0, 0, 0], [0.017, 0, 0.17], atol=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (96, 160)])
def test_sinet_takes_any_multiple_of_32(size: tuple[int, int]) -> None:
    network = models.create("sinet", size)
    assert outputs(network, np.zeros((3, *size, 3), "float32"))[0].shape == (3, *size, 1)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("pp_humanseg_v1_lite", {}, (192, 192)),
        ("pp_humanseg_v1_lite", {}, (224, 398)),
        ("pp_humanseg_v1_lite", {}, (18, 34)),
        ("pp_humanseg_v2_lite", {}, (192, 192)),
        ("pp_humanseg_v2_lite", {"form": "portrait"}, (144, 256)),
        ("pp_humanseg_v2_lite", {"form": "portrait"}, (224, 398)),
        ("pp_humanseg_v2_lite", {}, (34, 66)),
        ("pp_humanseg_v1_mobile", {}, (96, 160)),
        ("pp_humanseg_v2_mobile", {}, (160, 96)),
        ("pp_humanseg_v1_server", {}, (40, 72)),
        ("modnet", {}, (96, 160)),
        ("modnet", {"branch": "low"}, (160, 96)),
    ],
)
def test_published_and_other_sizes(name: str, options: dict, size: tuple[int, int]) -> None:
    network = models.create(name, size, **options)
    alpha = outputs(network, np.random.default_rng(9).uniform(0, 255, (1, *size, 3)).astype("float32"))[0]
    assert alpha.shape == (1, *size, 1)
    assert np.isfinite(alpha).all()


def test_humanseg_lite_shuffles_halves() -> None:
    x = np.arange(8, dtype="float32")[None, None, None] * np.ones((1, 2, 3, 1), "float32")
    y = keras.ops.convert_to_numpy(pp_humanseg_v1_lite.shuffle(x))
    assert y[0, 1, 2].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


def test_mobilenetv3_large_activations() -> None:
    x = np.linspace(-5, 5, 41, dtype="float32")
    y = keras.ops.convert_to_numpy(mobilenetv3_large.hard_swish(keras.ops.convert_to_tensor(x)))
    np.testing.assert_allclose(y, x * np.clip(x / 6 + 0.5, 0, 1), atol=1e-6)
    inputs = layers.Input((4, 4, 8))
    network = keras.Model(inputs, mobilenetv3_large.gate(inputs, "x"))
    bias = np.linspace(-4, 4, 8, dtype="float32")
    excite = network.get_layer("x_excite")
    excite.set_weights([np.zeros_like(excite.get_weights()[0]), bias])
    gates = outputs(network, np.ones((1, 4, 4, 8), "float32"))[0][0, 0, 0]
    np.testing.assert_allclose(gates, np.clip(0.2 * bias + 0.5, 0, 1), atol=1e-6)


def test_modnet_norms_half_by_the_picture() -> None:
    """The instance half of each block does not see contrast or brightness, the batch half does."""
    inputs = layers.Input((8, 8, 4))
    y = modnet.ib_conv(inputs, 6, "block", 1)
    network = keras.Model(inputs, y)
    x = np.random.default_rng(10).normal(size=(1, 8, 8, 4)).astype("float32")
    a, b = outputs(network, x)[0], outputs(network, 3 * x + 1)[0]
    np.testing.assert_allclose(a[..., 3:], b[..., 3:], atol=1e-4)
    assert np.abs(a[..., :3] - b[..., :3]).max() > 0.1
    convolved = outputs(keras.Model(inputs, network.get_layer("block_instance").output), x)[0]
    expected = (convolved - convolved.mean((1, 2))) / np.sqrt(convolved.var((1, 2)) + 1e-5)
    np.testing.assert_allclose(a[..., 3:], np.maximum(expected, 0), atol=1e-4)
    assert size_of(network.trainable_variables) == 4 * 6 + 6 + 2 * 3


def test_sinet_shuffles_two_groups() -> None:
    layer = sinet.ShuffledGroups(6)
    x = np.random.default_rng(5).normal(size=(2, 3, 3, 8)).astype("float32")
    y = keras.ops.convert_to_numpy(layer(x))
    first, second = layer.get_weights()
    np.testing.assert_allclose(y[..., 0::2], x[..., :4] @ first, atol=1e-6)
    np.testing.assert_allclose(y[..., 1::2], x[..., 4:] @ second, atol=1e-6)
    assert layer.count_params() == 4 * 3 * 2


def test_portrait_net_enlarges_bilinearly_at_first() -> None:
    kernel = keras.ops.convert_to_numpy(portrait_net.Bilinear()((4, 4, 3, 3)))
    ramp = np.arange(6, dtype="float32")[None, :, None, None] * np.ones((1, 6, 6, 3), "float32")
    y = keras.ops.convert_to_numpy(keras.ops.conv_transpose(ramp, kernel, 2, "same"))
    np.testing.assert_allclose(y[0, 2:-2, 5, 1], np.arange(0.75, 4.5, 0.5), atol=1e-6)


@pytest.mark.parametrize("side", [64, 65])
def test_deeplab_weights_serve_both_strides(side: int, tmp_path: Path) -> None:
    coarse = models.create("deeplab", (side, side))
    shake(coarse)
    path = tmp_path / "coarse.keras"
    models.save(coarse, path, {"architecture": models.describe("deeplab", (side, side))})
    fine = models.load(path, output_stride=8)
    assert coarse.get_layer("block_16_project").output.shape[1] == -(-side // 16)
    assert fine.get_layer("block_16_project").output.shape[1] == -(-side // 8)
    ours, theirs = kernels(coarse), kernels(fine)
    assert list(ours) == list(theirs)
    assert all(np.array_equal(a, b) for name in ours for a, b in zip(ours[name], theirs[name], strict=True))
    alpha = outputs(fine, pixels(1, side=side))[0]
    assert alpha.shape == (1, side, side, 1)
    assert np.isfinite(alpha).all()


# --- files


FILES = [*((case, ".keras") for case in CASES), (CASES[2], ".h5"), (CASES[9], ".h5")]


@pytest.mark.parametrize(("case", "suffix"), FILES, ids=str)
def test_save_and_load(case: Case, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"network{suffix}"
    models.save(built(case), path, describe(case))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    x = pixels(1, case.channels)
    for a, b in zip(outputs(built(case), x), outputs(models.load(path), x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_load_at_another_size(tmp_path: Path) -> None:
    case = case_of("sinet")
    models.save(built(case), tmp_path / "sinet.keras", describe(case))
    assert models.load(tmp_path / "sinet.keras", input_size=(96, 32)).input_shape == (None, 96, 32, 3)


def test_edge_head_is_left_behind(tmp_path: Path) -> None:
    case = case_of("portrait_net", edge_head=True)
    trained = built(case)
    models.save(trained, tmp_path / "trained.keras", describe(case))
    loaded = models.load(tmp_path / "trained.keras", edge_head=False)
    copied = models.create("portrait_net", (SIDE, SIDE), channels=4)
    assert blocks.copy_by_name(trained, copied) == len(kernels(copied)) == len(kernels(trained)) - 1
    x = pixels(1, 4)
    for stripped in (loaded, copied):
        assert all(layer.name != "edge_logits" for layer in stripped.layers)
        np.testing.assert_array_equal(outputs(stripped, x)[0], outputs(trained, x)[0])


@pytest.mark.parametrize("name", ["pp_humanseg_v2_lite", "pp_humanseg_v2_mobile", "modnet"])
def test_training_heads_are_left_behind(name: str, tmp_path: Path) -> None:
    case = case_of(name, training_heads=True)
    trained = built(case)
    models.save(trained, tmp_path / "trained.keras", describe(case))
    x = pixels(1)
    stripped = models.without_heads(trained, describe(case)["architecture"])
    for network in (stripped, models.load(tmp_path / "trained.keras", training_heads=False)):
        assert network.count_params() == case_of(name).total
        np.testing.assert_array_equal(outputs(network, x)[0], outputs(trained, x)[0])
    wide = models.load(tmp_path / "trained.keras", training_heads=False, channels=4)
    np.testing.assert_allclose(
        outputs(wide, pixels(1, 4))[0], outputs(trained, pixels(1, 4)[..., :3])[0], atol=1e-5
    )
    assert models.without_heads(stripped, describe(case_of(name))["architecture"]) is stripped


def test_training_heads_are_added_to_a_network_without(tmp_path: Path) -> None:
    case = case_of("pp_humanseg_v2_lite", form="portrait")
    network, path = built(case), tmp_path / "plain.keras"
    models.save(network, path, describe(case))
    x = pixels(1)
    first, *heads = outputs(models.load(path, training_heads=True), x)
    np.testing.assert_array_equal(first, outputs(network, x)[0])
    assert len(heads) == 2


def rewrite(source: Path, target: Path, **members: bytes) -> None:
    """Copy a .keras file with some of its members replaced."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, members.get(name.split(".")[0], old.read(name)))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "sinet.keras"
    models.save(built(case_of("sinet")), path, describe(case_of("sinet")))
    return path


def test_code_in_a_file_is_never_run(saved: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    inputs = layers.Input((SIDE, SIDE, 3))
    trap = eval(f"lambda x: (open({str(canary)!r}, 'w').close(), x)[1]")
    network = keras.Model(inputs, layers.Lambda(trap)(inputs))
    network.save(tmp_path / "trap.keras")
    canary.unlink(missing_ok=True)
    keras.saving.load_model(tmp_path / "trap.keras", safe_mode=False)
    assert canary.exists(), "the trap does not work, so this test would prove nothing"
    canary.unlink()

    with zipfile.ZipFile(tmp_path / "trap.keras") as archive:
        config = archive.read("config.json")
    rewrite(saved, tmp_path / "hidden.keras", config=config)
    loaded = models.load(tmp_path / "hidden.keras")
    np.testing.assert_array_equal(outputs(loaded, pixels(1)), outputs(models.load(saved), pixels(1)))
    models.save(network, tmp_path / "posing.keras", describe(case_of("sinet")))
    canary.unlink(missing_ok=True)
    with pytest.raises(ValueError, match="do not fit sinet"):
        models.load(tmp_path / "posing.keras")
    assert not canary.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"input_size": 192},
        {"input_size": ["a", "b"]},
        {"name": ["x"]},
        {"options": 3},
        {"options": {"no": 1}},
    ],
    ids=str,
)
def test_cards_that_make_no_sense_are_refused(saved: Path, tmp_path: Path, change: dict) -> None:
    card = models.cards.read(saved)
    card["architecture"] |= change
    rewrite(saved, tmp_path / "odd.keras", card=json.dumps(card).encode())
    with pytest.raises(ValueError):  # noqa: PT011 - each with its own reason
        models.load(tmp_path / "odd.keras")


def test_damaged_files_are_refused(saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "damaged.keras"
    whole = saved.read_bytes()
    for damaged in (b"", b"not a zip", whole[: len(whole) // 2]):
        target.write_bytes(damaged)
        with pytest.raises(ValueError, match="no model card"):
            models.load(target)
    middle = len(whole) // 2
    target.write_bytes(whole[:middle] + bytes(200) + whole[middle + 200 :])
    with pytest.raises(ValueError, match="damaged"):
        models.load(target)
    rewrite(saved, target, model=b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match="damaged"):
        models.load(target)


def test_files_of_others_are_refused(saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "other.keras"
    with pytest.raises(FileNotFoundError):
        models.load(target)
    built(case_of("sinet")).save(target)
    with pytest.raises(ValueError, match="no model card"):
        models.load(target)
    rewrite(saved, target, card=json.dumps({"name": "no architecture"}).encode())
    with pytest.raises(ValueError, match="names no architecture"):
        models.load(target)
    rewrite(saved, target, card=json.dumps(describe(case_of("slim_net"))).encode())
    with pytest.raises(ValueError, match="do not fit slim_net"):
        models.load(target)
    for name in ("live.tflite", "live.onnx"):
        with pytest.raises(ValueError, match=rf"{name}: not a checkpoint: give a \.keras or \.h5 file"):
            models.load(tmp_path / name)


# --- refusals


@every_name
def test_wrong_sizes_name_the_nearest(name: str) -> None:
    multiple = models.REGISTRY[name].multiple
    below, above = 3 * multiple, 4 * multiple
    with pytest.raises(ValueError, match=f"{below}x{below} and {above}x{above}"):
        models.create(name, (below + multiple // 2, below))
    with pytest.raises(ValueError, match="nearest"):
        models.create(name, (0, below))


def test_only_deeplab_takes_one_more() -> None:
    assert models.describe("deeplab", (257, 256))["input_size"] == [257, 256]
    with pytest.raises(ValueError, match="nearest"):
        models.describe("sinet", (257, 256))
    with pytest.raises(ValueError, match="nearest"):
        models.describe("deeplab", (258, 256))


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match="choose one of mobile_unet"):
        models.create("unet")
    with pytest.raises(ValueError, match="not 5"):
        models.create("sinet", channels=5)
    with pytest.raises(ValueError, match="its options are decoder"):
        models.create("mobile_unet", width=0.5)
    with pytest.raises(ValueError, match="its options are none"):
        models.create("prisma_net", width=0.5)
    with pytest.raises(ValueError, match="no pretrained encoder"):
        models.create("prisma_net", weights="imagenet")


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("mobile_unet", "decoder", "nearest"),
        ("mobilenetv3_unet", "width", 0.75),
        ("deeplab", "output_stride", 4),
        ("pp_humanseg_v2_lite", "form", "child"),
        ("modnet", "prior", "nowhere"),
        ("modnet", "branch", "high"),
    ],
)
def test_unknown_values_are_refused(name: str, option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{option} .* is unknown: choose"):
        models.create(name, (SIDE, SIDE), **{option: value})


@pytest.mark.parametrize("name", ["mobile_unet", "mobilenetv3_unet"])
def test_dropout_is_an_option_that_changes_no_weight(name: str) -> None:
    usual, without = built(case_of(name)), models.create(name, (SIDE, SIDE), dropout=0)
    rates = [layer.rate for layer in usual.layers if isinstance(layer, layers.Dropout)]
    assert rates == [0.5] * 4
    assert not any(isinstance(layer, layers.Dropout) for layer in without.layers)
    without.set_weights(usual.get_weights())
    pixels = np.random.default_rng(3).uniform(0, 255, (1, SIDE, SIDE, 3)).astype(np.float32)
    np.testing.assert_array_equal(without(pixels), usual(pixels))


def test_names_cost_no_import() -> None:
    program = (
        "import sys, models; models.names(); models.describe('slim_net')\n"
        "sys.exit(str([m for m in ('keras', 'tensorflow', 'jax', 'numpy') if m in sys.modules] or ''))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.stderr.strip() == ""


# --- starts from pretrained encoders


@functools.cache
def donor_v2(alpha: float) -> keras.Model:
    donor = keras.applications.MobileNetV2(
        include_top=False, weights=None, alpha=alpha, input_shape=(SIDE, SIDE, 3)
    )
    shake(donor)
    return donor


@functools.cache
def donor_v3() -> keras.Model:
    donor = keras.applications.MobileNetV3Small(
        minimalistic=True, include_top=False, weights=None, input_shape=(SIDE, SIDE, 3)
    )
    shake(donor)
    return donor


@pytest.mark.parametrize("name", ["mobile_unet", "deeplab", "mobilenetv2_fpn"])
def test_mobilenetv2_start(name: str, tmp_path: Path) -> None:
    donor_v2(0.5).save_weights(tmp_path / "start.weights.h5")
    network = models.create(name, (SIDE, SIDE), weights=tmp_path / "start.weights.h5", channels=4)
    ours, theirs = kernels(network), kernels(donor_v2(0.5))
    shared = set(ours) & set(theirs)
    assert set(theirs) - shared <= {"Conv_1", "Conv_1_bn"}
    for layer in shared:
        for a, b in zip(ours[layer], theirs[layer], strict=True):
            np.testing.assert_array_equal(a, blocks.fit(b, a.shape))
    assert np.all(ours["Conv1"][0][:, :, 3] == 0)
    assert name == "deeplab" or ours["block_2_project"][0].shape == theirs["block_2_project"][0].shape


def test_start_from_a_network_of_ours(tmp_path: Path) -> None:
    """The encoder comes along, the decoder does not: another decoder would have other weights."""
    donor = built(case_of("mobilenetv2_fpn"))
    path = tmp_path / "donor.keras"
    models.save(donor, path, {"architecture": models.describe("mobilenetv2_fpn", (SIDE, SIDE))})
    network = models.create("mobilenetv2_fpn", (SIDE, SIDE), weights=path, decoder="light")
    ours, theirs = kernels(network), kernels(donor)
    for layer in ("Conv1", "bn_Conv1", "block_9_depthwise", "block_16_project_BN"):
        for a, b in zip(ours[layer], theirs[layer], strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(ours["logits"][0], theirs["logits"][0])


def test_modnet_takes_a_prior_everywhere(tmp_path: Path) -> None:
    """The channels that the fine branches gain come last among those that are joined, and start unseen."""
    donor = built(case_of("modnet"))
    path = tmp_path / "donor.keras"
    models.save(donor, path, describe(case_of("modnet")))
    network, x = models.load(path, channels=4, prior="everywhere"), pixels(1, 4)
    assert network.count_params() == 6_512_705
    np.testing.assert_allclose(outputs(network, x)[0], outputs(donor, x[..., :3])[0], atol=1e-5)


@pytest.mark.parametrize("name", ["mobilenetv2_fpn", "portrait_net", "modnet", "pp_humanseg_v2_lite"])
def test_a_prior_is_added_to_a_trained_network(name: str, tmp_path: Path) -> None:
    """Opened with four channels, a network of three answers as before, whatever the prior says."""
    donor = built(case_of(name))
    path = tmp_path / "donor.keras"
    models.save(donor, path, {"architecture": models.describe(name, (SIDE, SIDE))})
    network = models.load(path, channels=4)
    x = pixels(1, 4)
    np.testing.assert_allclose(outputs(network, x)[0], outputs(donor, x[..., :3])[0], atol=1e-5)
    models.save(network, path, {"architecture": models.describe(name, (SIDE, SIDE), 4)})
    with pytest.raises(ValueError, match="cannot be left out"):
        models.load(path, channels=3)


def test_portrait_net_start_gives_the_same_features(tmp_path: Path) -> None:
    """Its normalisation and its extra 1x1 differ from Keras' network; what comes out must not."""
    donor_v2(1.0).save_weights(tmp_path / "start.weights.h5")
    network = models.create("portrait_net", (SIDE, SIDE), weights=tmp_path / "start.weights.h5")
    name, x = "block_1_project_BN", pixels(1)
    ours = keras.Model(network.inputs, network.get_layer(name).output)
    theirs = keras.Model(donor_v2(1.0).inputs, donor_v2(1.0).get_layer(name).output)
    # Away from the border, where zeros mean grey to one and the mean colour to the other.
    a, b = outputs(ours, x)[0][:, 1:-3, 1:-3], outputs(theirs, x / 127.5 - 1)[0][:, 1:-3, 1:-3]
    np.testing.assert_allclose(a, b, atol=1e-4)
    assert np.abs(a).max() > 0.01
    block = "block_9_depthwise"
    np.testing.assert_array_equal(kernels(network)[block][0], kernels(donor_v2(1.0))[block][0])


def test_modnet_start_gives_the_same_features(tmp_path: Path) -> None:
    """Its norms have another epsilon than Keras' network."""
    donor_v2(1.0).save_weights(tmp_path / "start.weights.h5")
    network = models.create("modnet", (SIDE, SIDE), weights=tmp_path / "start.weights.h5")
    ours = keras.Model(network.inputs, network.get_layer("Conv_1_bn").output)
    theirs = keras.Model(donor_v2(1.0).inputs, donor_v2(1.0).get_layer("Conv_1_bn").output)
    x = pixels(1)
    a, b = outputs(ours, x)[0], outputs(theirs, x / 127.5 - 1)[0]
    np.testing.assert_allclose(a, b, atol=1e-4)
    assert np.abs(a).max() > 0.01
    path, name = tmp_path / "modnet.keras", "block_9_project_BN"
    models.save(network, path, describe(case_of("modnet")))
    again = models.create("modnet", (SIDE, SIDE), weights=path)
    for mine, donors in zip(kernels(again)[name], kernels(network)[name], strict=True):
        np.testing.assert_array_equal(mine, donors)


@pytest.mark.parametrize("name", ["mobilenetv3_unet", "mobilenetv3_qat"])
def test_mobilenetv3_start_gives_the_same_features(name: str, tmp_path: Path) -> None:
    donor_v3().save_weights(tmp_path / "start.weights.h5")
    network = models.create(name, (SIDE, SIDE), channels=4, weights=tmp_path / "start.weights.h5")
    ours = keras.Model(network.inputs, network.get_layer("conv_1_bn").output)
    theirs = keras.Model(donor_v3().inputs, donor_v3().get_layer("conv_1_bn").output)
    x = pixels(1, 4)
    a, b = outputs(ours, x)[0], outputs(theirs, x[..., :3])[0]
    np.testing.assert_allclose(a, b, atol=1e-4)
    assert np.abs(a).max() > 0.01


def test_starts_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "start.weights.h5"
    donor_v3().save_weights(path)
    with pytest.raises(ValueError, match="cannot be read as MobileNetV2"):
        models.create("mobile_unet", (SIDE, SIDE), weights=path)
    with pytest.raises(ValueError, match=r"only width 1\.0"):
        models.create("mobilenetv3_unet", (SIDE, SIDE), weights=path, width=0.5)
    with pytest.raises(ValueError, match="cannot be read as minimalistic"):
        models.create("mobilenetv3_qat", (SIDE, SIDE), weights=tmp_path / "absent.weights.h5")


def test_mobilenetv3_blocks_are_those_of_keras() -> None:
    inputs = layers.Input((SIDE, SIDE, 3))
    ours = keras.Model(inputs, mobilenetv3.encoder(inputs))
    assert {n: [a.shape for a in w] for n, w in kernels(ours).items()} == {
        n: [a.shape for a in w] for n, w in kernels(donor_v3()).items()
    }


# --- the resize


def resized(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Reference, one line of pixels at a time."""
    for axis, size in ((1, height), (2, width)):
        before = x.shape[axis]
        positions = np.linspace(0, before - 1, size)
        x = np.apply_along_axis(lambda line, p=positions, n=before: np.interp(p, np.arange(n), line), axis, x)
    return x


@pytest.mark.parametrize(
    ("before", "after"),
    [((5, 7), (9, 13)), ((4, 4), (8, 8)), ((1, 1), (4, 3)), ((9, 6), (3, 1)), ((3, 3), (3, 3))],
)
def test_aligned_resize(before: tuple[int, int], after: tuple[int, int]) -> None:
    x = np.random.default_rng(6).normal(size=(2, *before, 3)).astype("float32")
    layer = blocks.AlignedResize(*after)
    y = keras.ops.convert_to_numpy(layer(x))
    assert y.shape == layer.compute_output_shape(x.shape) == (2, *after, 3)
    np.testing.assert_allclose(y, resized(x, *after), atol=1e-5)


def test_aligned_resize_by_factor_survives_a_file(tmp_path: Path) -> None:
    inputs = layers.Input((5, 4, 2))
    network = keras.Model(inputs, blocks.AlignedResize(factor=3)(inputs))
    network.save(tmp_path / "resize.keras")
    x = np.random.default_rng(7).normal(size=(1, 5, 4, 2)).astype("float32")
    y = outputs(keras.saving.load_model(tmp_path / "resize.keras"), x)[0]
    np.testing.assert_allclose(y, resized(x, 15, 12), atol=1e-5)


def test_aligned_resize_says_what_it_needs() -> None:
    for wrong in ({}, {"height": 4}, {"height": 4, "width": 4, "factor": 2}):
        with pytest.raises(ValueError, match="either height and width, or factor"):
            blocks.AlignedResize(**wrong)
    with pytest.raises(ValueError, match="fixed size"):
        blocks.AlignedResize(factor=2)(layers.Input((None, None, 1)))


@pytest.mark.parametrize(("side", "bins"), [(6, 4), (9, 4), (9, 2), (16, 4), (2, 4), (5, 1)])
def test_adaptive_pool(side: int, bins: int) -> None:
    x = np.random.default_rng(6).normal(size=(2, side, 7, 3)).astype("float32")
    y = keras.ops.convert_to_numpy(blocks.AdaptivePool(bins, 1)(x))
    for i in range(bins):
        top, bottom = int(np.floor(i * side / bins)), int(np.ceil((i + 1) * side / bins))
        np.testing.assert_allclose(y[:, i, 0], x[:, top:bottom].mean((1, 2)), atol=1e-6)


@pytest.mark.parametrize("after", [(8, 10), (9, 13), (2, 2), (4, 5)])
def test_resize_has_half_pixel_centres(after: tuple[int, int]) -> None:
    inputs = layers.Input((4, 5, 1))
    x = np.random.default_rng(6).normal(size=(1, 4, 5, 1)).astype("float32")
    y = outputs(keras.Model(inputs, blocks.resize(inputs, *after)), x)[0] if after != (4, 5) else x
    expected = x[0, ..., 0]
    for axis, (before, size) in enumerate(zip((4, 5), after, strict=True)):
        places = np.clip((np.arange(size) + 0.5) * before / size - 0.5, 0, before - 1)
        expected = np.apply_along_axis(
            lambda line, p=places, n=before: np.interp(p, np.arange(n), line), axis, expected
        )
    np.testing.assert_allclose(y[0, ..., 0], expected, atol=1e-5)
    assert blocks.resize(inputs, 4, 5) is inputs


# --- other backends and runtimes


def own_layers() -> keras.Model:
    """The layers of our own, and the resize of other factors, in one small network, batch 1."""
    inputs = layers.Input((8, 8, 4), batch_size=1)
    x = blocks.AlignedResize(factor=2)(sinet.ShuffledGroups(4)(inputs))
    return keras.Model(inputs, x + blocks.resize(blocks.AdaptivePool(3, 5)(x), 16, 16))


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_own_layers_are_the_same_under_jax(tmp_path: Path) -> None:
    network, x = own_layers(), np.random.default_rng(8).uniform(-1, 1, (1, 8, 8, 4)).astype("float32")
    network.save(tmp_path / "network.keras")
    np.save(tmp_path / "x.npy", x)
    program = (
        "import keras, numpy as np, models.sinet, models.portrait_net\n"
        "assert models.portrait_net.Bilinear()((4, 4, 2, 2)).shape == (4, 4, 2, 2)\n"
        "network = keras.saving.load_model('network.keras')\n"
        "np.save('y.npy', network.predict(np.load('x.npy'), verbose=0))"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), outputs(network, x)[0], atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TFLite comes from TensorFlow")
@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_own_layers_convert_to_tflite(int8: bool, tmp_path: Path) -> None:
    """AlignedResize and SINet's shuffle need no operator beyond TFLite's own, also in int8."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    network = own_layers()
    network.export(tmp_path / "saved", verbose=False)
    x = np.random.default_rng(8).uniform(-1, 1, (1, 8, 8, 4)).astype("float32")
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: [[x]]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    y = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(y, outputs(network, x)[0], atol=0.05 if int8 else 1e-5)
