"""Losses against values worked out by hand, and that they reward what they say."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT

keras = pytest.importorskip("keras")
from utils import connectivity, losses, metrics  # noqa: E402


def numbers(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def half(size: int = 96) -> np.ndarray:
    truth = np.zeros((1, size, size, 1), np.float32)
    truth[:, :, : size // 2] = 1
    return truth


@pytest.mark.parametrize(("logit", "target"), [(0, 1), (2, 1), (-3, 0), (80, 0), (-80, 1), (1, 0.3)])
def test_bce(logit: float, target: float) -> None:
    x = np.float64(logit)
    expected = np.logaddexp(0, x) - x * target  # -t log p - (1-t) log(1-p)
    assert numbers(losses.bce(np.float32(target), np.float32(logit))) == pytest.approx(
        expected, rel=1e-5, abs=1e-6
    )


def test_dice_of_half_overlap() -> None:
    truth, alpha = half(4), np.ones((1, 4, 4, 1), np.float32)
    # 8 shared; 8 and 16 in the two: 1 - (16 + s) / (24 + s)
    assert numbers(losses.dice(truth, alpha, smooth=0))[0] == pytest.approx(1 - 16 / 24)


def test_band_lies_on_the_boundary() -> None:
    band = numbers(losses.boundary_band(half()))[0, 48, :, 0]
    # width 96 // 48 * 2 + 1 = 5: two pixels to each side of the edge between columns 47 and 48
    assert np.flatnonzero(band).tolist() == [46, 47, 48, 49]


def test_loss_is_one_value_a_picture_and_orders_predictions() -> None:
    truth = half()
    right, wrong = 20 * (truth - 0.5), -20 * (truth - 0.5)
    near, far = right.copy(), right.copy()
    near[:, :, 48:50] *= -1  # two columns wrong at the edge
    far[:, :, 80:82] *= -1  # as many wrong elsewhere
    stack = np.concatenate([right, far, near, wrong])
    values = numbers(losses.SegmentationLoss().call(np.repeat(truth, 4, 0), stack))
    assert values.shape == (4,)
    assert values[0] < 0.01
    assert values[0] < values[1] < values[2] < values[3]


def test_empty_picture_is_learnt_quietly() -> None:
    empty = np.zeros((1, 32, 32, 1), np.float32)
    quiet = numbers(losses.SegmentationLoss().call(empty, empty - 10))
    loud = numbers(losses.SegmentationLoss().call(empty, empty + 10))
    assert quiet[0] < 0.05 < loud[0]


def test_edge_head_is_trained_on_the_band() -> None:
    truth = half()
    band = numbers(losses.boundary_band(truth))
    main = 20 * (truth - 0.5)
    loss = losses.SegmentationLoss(heads=("edge",))
    good = numbers(loss.call(truth, np.concatenate([main, 20 * (band - 0.5)], -1)))
    bad = numbers(loss.call(truth, np.concatenate([main, -20 * (band - 0.5)], -1)))
    assert good[0] + 1 < bad[0]


def test_semantic_head_learns_what_is_left_at_a_sixteenth() -> None:
    rng = np.random.default_rng(2)
    cells = rng.random((1, 6, 6, 1)).astype(np.float32) * 0.8 + 0.1
    whole = cells.repeat(16, 1).repeat(16, 2)
    fine = whole + np.tile([[0.1, -0.1], [-0.1, 0.1]], (48, 48))[None, ..., None].astype(np.float32)
    logits = np.log(whole / (1 - whole))
    assert numbers(losses.semantic(fine, logits))[0] == pytest.approx(
        0, abs=1e-6
    )  # detail is not asked of it
    wrong = np.clip(whole + 0.1, 0, 1)
    expected = losses.DECOMPOSED * float(np.mean((wrong - whole) ** 2))
    assert numbers(losses.semantic(wrong, logits))[0] == pytest.approx(expected, rel=1e-3)


def test_detail_head_learns_nothing_away_from_the_boundary() -> None:
    truth = half()
    logits = 20 * (truth - 0.5)
    far, near = logits.copy(), logits.copy()
    far[:, :, 80:82] *= -1
    near[:, :, 48:50] *= -1
    right, elsewhere, edge = (float(numbers(losses.detail(truth, x))[0]) for x in (logits, far, near))
    assert elsewhere == right < 0.01 < edge


def test_heads_on_deeper_layers_learn_the_same() -> None:
    truth = half()
    logits = np.random.default_rng(1).normal(size=(1, 96, 96, 3)).astype(np.float32)
    loss, one = losses.SegmentationLoss(heads=("head_0", "head_1")), losses.SegmentationLoss()
    each = [numbers(one.call(truth, logits[..., i : i + 1]))[0] for i in range(3)]
    assert numbers(loss.call(truth, logits))[0] == pytest.approx(sum(each), rel=1e-5)


def test_heads_of_modnet_add_what_they_learn() -> None:
    truth = half()
    logits = np.random.default_rng(1).normal(size=(1, 96, 96, 3)).astype(np.float32)
    matte, detail, semantic = (logits[..., i : i + 1] for i in range(3))
    found = numbers(losses.SegmentationLoss(heads=("detail", "semantic")).call(truth, logits))[0]
    parts = (
        losses.SegmentationLoss().call(truth, matte),
        losses.detail(truth, detail),
        losses.semantic(truth, semantic),
    )
    assert found == pytest.approx(sum(float(numbers(part)[0]) for part in parts), rel=1e-5)


def test_band_is_a_square_maximum_filter() -> None:
    """Against SciPy's filters, on soft alphas of any shape."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    for shape in ((48, 64), (96, 32), (200, 120)):
        alpha = rng.random(shape).astype(np.float32)
        width = max(1, shape[0] // 48) * 2 + 1
        grown = ndimage.maximum_filter(alpha, width, mode="constant", cval=-1)
        shrunk = ndimage.minimum_filter(alpha, width, mode="constant", cval=2)
        band = numbers(losses.boundary_band(alpha[None, ..., None]))[0, ..., 0]
        assert np.allclose(band, grown - shrunk, atol=1e-6)


def test_consistency_pulls_twins_together() -> None:
    """The second half of the batch are the twins of the first; equal twins cost nothing more."""
    truth = np.repeat(half(32), 4, 0)
    logits = np.random.default_rng(0).normal(size=(2, 32, 32, 1)).astype(np.float32)
    same, apart = np.concatenate([logits, logits]), np.concatenate([logits, logits + 1])
    plain, joined = losses.SegmentationLoss(), losses.SegmentationLoss(consistency=2.0)
    assert numbers(joined.call(truth, same)) == pytest.approx(numbers(plain.call(truth, same)), abs=1e-5)
    more = numbers(joined.call(truth, apart)) - numbers(plain.call(truth, apart))
    p, q = 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-logits - 1))
    weight = 1 + 3 * numbers(losses.boundary_band(half(32)))
    kl = [(t * np.log(t / o) + (1 - t) * np.log((1 - t) / (1 - o))) for t, o in ((q, p), (p, q))]
    expected = np.concatenate([2 * (k * weight).sum((1, 2, 3)) / weight.sum() for k in kl])
    assert more == pytest.approx(expected, rel=1e-3)


masks = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((1, 9, 12, 1)))


@settings(max_examples=30, deadline=None)
@given(masks, masks, st.floats(0, 1), st.floats(0, 1))
def test_lovasz_of_errors_of_0_and_1_is_what_iou_lacks(
    a: np.ndarray, b: np.ndarray, cut: float, edge: float
) -> None:
    found, truth = a > cut, b > edge
    order = np.argsort(found.ravel() == truth.ravel(), kind="stable")
    errors = (found != truth).ravel()[order].astype(np.float32)[None]
    lost = losses.jaccard_extension(errors, truth.ravel()[order].astype(np.float32)[None])
    assert numbers(lost)[0] == pytest.approx(1 - metrics.iou(found[0, ..., 0], truth[0, ..., 0]), abs=1e-5)
    # Hard predictions, wrong ones on the fence (error 1), right ones beyond the margin (error 0)
    side = np.where(truth, 1.0, -1.0)
    logits = np.where(found == truth, 2 * side, 0.0).astype(np.float32)
    both = numbers(losses.lovasz(truth.astype(np.float32), logits))[0]
    assert both == pytest.approx(1 - metrics.two_class_iou(found[0, ..., 0], truth[0, ..., 0]), abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(masks, masks)
def test_focal(a: np.ndarray, b: np.ndarray) -> None:
    target, logits = a.astype(np.float32), (20 * b - 10).astype(np.float32)
    cross = numbers(losses.bce(target, logits))
    assert np.allclose(numbers(losses.focal(target, logits, 0)), cross, atol=1e-6)
    gap = np.abs(target - 1 / (1 + np.exp(-logits.astype(np.float64))))
    assert np.allclose(numbers(losses.focal(target, logits)), gap**2 * cross, atol=1e-5)
    assert (numbers(losses.focal(target, logits)) <= cross + 1e-6).all()


def test_dice_of_a_perfect_alpha_is_nothing() -> None:
    assert numbers(losses.dice(half(), half()))[0] == pytest.approx(0, abs=1e-6)


def pieces(*columns: tuple[int, int]) -> np.ndarray:
    """Upright bars [1, 20, 60, 1] over these columns."""
    alpha = np.zeros((1, 20, 60, 1), np.float32)
    for left, right in columns:
        alpha[:, 2:18, left:right] = 1
    return alpha


def connected(found: np.ndarray, truth: np.ndarray) -> float:
    return float(numbers(connectivity.scl(truth, found))[0])


def test_connectivity_by_hand() -> None:
    one, two = pieces((5, 35)), pieces((5, 20), (40, 50))
    assert connected(one, one) == pytest.approx(0, abs=1e-6)
    assert connected(two, two) == pytest.approx(0, abs=1e-6)
    assert connected(np.zeros_like(one), np.zeros_like(one)) == 0
    # Cut in two by a gap of 2 of 30 columns: the mean of the IoUs 14/30 and 14/30
    assert connected(pieces((5, 19), (21, 35)), one) == pytest.approx(1 - 14 / 30, abs=1e-5)
    # In three, of 8, 8 and 10 columns
    split = pieces((5, 13), (15, 23), (25, 35))
    assert connected(split, one) == pytest.approx(1 - (8 + 8 + 10) / 30 / 3, abs=1e-5)
    # An invented piece counts as a worthless one beside the perfect one
    assert connected(pieces((5, 35), (45, 50)), one) == pytest.approx(1 - 1 / 2, abs=1e-5)
    # Two people, one missed
    assert connected(pieces((5, 20)), two) == pytest.approx(1 - 1 / 2, abs=1e-5)
    # Nothing touches: 1 and the share of pixels that differ
    missed = connected(np.zeros_like(one), one)
    assert missed == pytest.approx(1 + 16 * 30 / 1200, abs=1e-5)
    assert connected(pieces((40, 50)), one) == pytest.approx(1 + 16 * 40 / 1200, abs=1e-5)
    # Soft: 0.8 within the piece
    assert connected(0.8 * one, one) == pytest.approx(1 - 0.8, abs=1e-5)


def test_only_the_ten_largest_pieces_count() -> None:
    bars = [(4 * i, 4 * i + 2 + (i < 10)) for i in range(15)]
    labels = connectivity.label_pieces(pieces(*bars), pieces(*bars[:3]))
    assert labels[..., 0].max() == 10
    assert not labels[0, :, 4 * 10 :, 0].any()
    assert labels[..., 1].max() == 3


def test_named_losses_add_up_by_weight() -> None:
    truth = half(48)
    logits = np.random.default_rng(0).normal(size=truth.shape).astype(np.float32)

    def loss(text: str, **how: float) -> float:
        return float(numbers(losses.SegmentationLoss(terms=losses.parse(text), **how).call(truth, logits))[0])

    assert loss("bce+dice+boundary") == float(numbers(losses.SegmentationLoss().call(truth, logits))[0])
    assert loss("bce") == pytest.approx(float(np.mean(numbers(losses.bce(truth, logits)))), rel=1e-5)
    assert loss("bce") == pytest.approx(loss("bce+boundary", boundary=0.0), rel=1e-6)
    assert loss("bce+boundary", boundary=6.0) == pytest.approx(loss("bce+2*boundary"), rel=1e-6)
    parts = 0.5 * loss("bce") + 2 * loss("lovasz") + loss("scl") + loss("focal") + loss("dice")
    assert loss("0.5*bce + 2*lovasz, scl+focal+dice") == pytest.approx(parts, rel=1e-5)


@pytest.mark.parametrize(
    "text", ["", "bce+mse", "bce+bce", "0*bce", "-1*bce", "x*bce", "boundary", "dice+boundary"]
)
def test_a_wrong_name_is_told_what_would_work(text: str) -> None:
    with pytest.raises(ValueError, match="--loss"):
        losses.parse(text)


# Values and gradients of every loss on one backend, at ordinary logits and at the extremes.
PROGRAM = """
import json, sys
import numpy as np, keras
from keras import ops
from utils import losses
rng = np.random.default_rng(0)
truth = np.zeros((3, 32, 48, 1), "float32"); truth[0, 4:28, 6:20] = 1; truth[1, :20, 30:] = 0.7
mild = 3 * rng.normal(size=truth.shape).astype("float32")
cases = [mild, 200 * np.sign(mild), 0 * mild, (2 * truth - 1) * 50, (1 - 2 * truth) * 50]
def value(logits, loss):
    return ops.sum(loss.call(ops.convert_to_tensor(truth), logits))
def gradient(logits, loss):
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf
        @tf.function(jit_compile=False)
        def run(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                total = value(x, loss)
            return total, tape.gradient(total, x)
        return [v.numpy() for v in run(tf.constant(logits))]
    if backend == "jax":
        import jax
        return [np.asarray(v) for v in jax.jit(jax.value_and_grad(lambda x: value(x, loss)))(logits)]
    x = ops.convert_to_tensor(logits).clone().requires_grad_()
    total = value(x, loss)
    total.backward()
    return [total.detach().numpy(), x.grad.numpy()]
found = {}
for text in ("bce", "dice", "focal", "lovasz", "scl", "bce+dice+boundary"):
    loss = losses.SegmentationLoss(terms=losses.parse(text))
    results = [gradient(case, loss) for case in cases]
    finite = all(np.isfinite(v).all() and np.isfinite(g).all() for v, g in results)
    # A step against the gradient makes it less
    down = float(gradient(mild - 0.01 * np.sign(results[0][1]), loss)[0]) < float(results[0][0])
    found[text] = [float(results[0][0]), float(np.abs(results[0][1]).sum()), finite, down]
print(json.dumps(found))
"""


def test_values_and_gradients_are_the_same_on_every_backend() -> None:
    import json

    found = {}
    for backend in ("tensorflow", "jax", "torch"):
        pytest.importorskip(backend)
        environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-c", PROGRAM]
        result = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)
        assert result.returncode == 0, result.stderr[-2000:]
        found[backend] = json.loads(result.stdout.splitlines()[-1])
    for text, (value, slope, *_) in found["tensorflow"].items():
        for backend in found:
            assert found[backend][text] == [
                pytest.approx(value, rel=1e-3),
                pytest.approx(slope, rel=1e-3),
                True,
                True,
            ], (text, backend)
