"""Losses against values worked out by hand, and that they reward what they say."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from utils import losses  # noqa: E402


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
    good = numbers(losses.SegmentationLoss().call(truth, np.concatenate([main, 20 * (band - 0.5)], -1)))
    bad = numbers(losses.SegmentationLoss().call(truth, np.concatenate([main, -20 * (band - 0.5)], -1)))
    assert good[0] + 1 < bad[0]


def test_heads_on_deeper_layers_learn_the_same() -> None:
    truth = half()
    logits = np.random.default_rng(1).normal(size=(1, 96, 96, 3)).astype(np.float32)
    loss = losses.SegmentationLoss()
    each = [numbers(loss.call(truth, logits[..., i : i + 1]))[0] for i in range(3)]
    assert numbers(loss.call(truth, logits))[0] == pytest.approx(sum(each), rel=1e-5)


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
