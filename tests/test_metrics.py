"""Each metric against a case worked out by hand."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from utils import metrics


def square(top: int, left: int, side: int, size: int = 20) -> np.ndarray:
    alpha = np.zeros((size, size), np.float32)
    alpha[top : top + side, left : left + side] = 1
    return alpha


def test_iou_of_shifted_square() -> None:
    # 10x10 squares, one moved by 5 columns: 50 pixels shared, 150 in either
    assert metrics.iou(square(5, 0, 10), square(5, 5, 10)) == pytest.approx(50 / 150)


def test_two_class_iou() -> None:
    # background: 400 - 150 = 250 shared, 400 - 50 = 350 in either
    expected = (50 / 150 + 250 / 350) / 2
    assert metrics.two_class_iou(square(5, 0, 10), square(5, 5, 10)) == pytest.approx(expected)


def test_boundary_iou_of_shifted_square() -> None:
    # Diagonal of 20x20 is 28.28, 2 % of it 0.57: at least one pixel. The bands are the outlines of
    # 36 pixels each; moved by one column they share the 9 common pixels of top and bottom rows, and
    # nothing of the sides but their ends, which are in those rows.
    a, b = square(5, 4, 10), square(5, 5, 10)
    shared = 2 * 9
    assert metrics.boundary_iou(a, b) == pytest.approx(shared / (36 + 36 - shared))


def test_boundary_iou_width_is_two_percent_of_the_diagonal() -> None:
    # 300x400 has a diagonal of 500: a band of 10. A 100-square's band is 100^2 - 80^2 = 3600; the
    # 80-square inside it has a band of 80^2 - 60^2 = 2800, and the two share nothing.
    outer, inner = np.zeros((300, 400), np.float32), np.zeros((300, 400), np.float32)
    outer[100:200, 100:200] = 1
    inner[110:190, 110:190] = 1
    assert metrics.boundary_iou(outer, inner) == 0
    inner[105:195, 105:195] = 1  # now 90 wide: band 90^2 - 70^2 = 3200, shared 90^2 - 80^2 = 1700
    assert metrics.boundary_iou(outer, inner) == pytest.approx(1700 / (3600 + 3200 - 1700))


def test_picture_edge_counts_as_boundary() -> None:
    full = np.ones((20, 20), np.float32)
    assert metrics._inner_band(full > 0.5, 1).sum() == 4 * 19


def test_boundary_f_forgives_its_width() -> None:
    # 300x400: 0.8 % of 500 is 4 pixels
    truth, near, far = (np.zeros((300, 400), np.float32) for _ in range(3))
    truth[100:200, 100:200] = 1
    near[104:204, 100:200] = 1
    far[120:220, 100:200] = 1
    assert metrics.boundary_f(near, truth) == 1
    # Moved by 20 rows, of the 400 pixels of a contour have a partner: the sides where both run (81
    # rows, twice), 4 rows of each side beyond the other's end, and 4 pixels at each end of the row
    # that lies inside the other square.
    assert metrics.boundary_f(far, truth) == pytest.approx((2 * 81 + 2 * 4 + 2 * 4) / 400)


def test_the_pictures_edge_is_no_contour() -> None:
    """Who stands on the lower edge and is found elsewhere scores nothing for the edge they share."""
    truth, beside = np.zeros((120, 160), np.float32), np.zeros((120, 160), np.float32)
    truth[60:, 20:60] = beside[60:, 100:140] = 1
    assert metrics.boundary_f(beside, truth) == 0
    assert metrics.boundary_f(truth, truth) == 1


def test_matting_errors() -> None:
    truth = np.zeros((2, 2), np.float32)
    alpha = np.array([[0.5, 0], [0, 0.1]], np.float32)
    assert metrics.mad(alpha, truth) == pytest.approx(1000 * 0.6 / 4)
    assert metrics.mse(alpha, truth) == pytest.approx(1000 * 0.26 / 4)


def test_pixel_accuracy() -> None:
    assert metrics.pixel_accuracy(square(5, 0, 10), square(5, 5, 10)) == pytest.approx(300 / 400)


@pytest.mark.parametrize("name", ["iou", "miou", "boundary_iou", "boundary_f", "accuracy"])
def test_nothing_to_find(name: str) -> None:
    empty = np.zeros((20, 20), np.float32)
    assert metrics.METRICS[name](empty, empty) == 1
    assert metrics.METRICS[name](square(5, 5, 10), empty) < 1


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float32, (12, 9), elements=st.floats(0, 1, width=32)),
    arrays(np.float32, (12, 9), elements=st.floats(0, 1, width=32)),
)
def test_ranges_symmetry_and_identity(a: np.ndarray, b: np.ndarray) -> None:
    for name, value in metrics.score(a, b).items():
        assert 0 <= value <= (1000 if name in ("mad", "mse") else 1)
        assert value == pytest.approx(metrics.METRICS[name](b, a), abs=1e-6)
        assert metrics.METRICS[name](a, a) == (0 if name in ("mad", "mse") else 1)


def test_grad_of_a_moved_edge() -> None:
    """Of equal pictures 0; of an edge against nothing the Gaussian derivative's energy, row by row."""
    edge = np.zeros((40, 60), np.float32)
    edge[:, 30:] = 1
    assert metrics.grad(edge, edge) == 0
    # A step smoothed by a Gaussian has the Gaussian itself as slope: its squares sum to 1/(2 sigma sqrt(pi)); the
    # kernel's own squares, which are brought to 1, to 1/(8 pi sigma^4).
    energy = 40 / (2 * 1.4 * np.sqrt(np.pi)) * 8 * np.pi * 1.4**4
    assert metrics.grad(edge, np.zeros_like(edge)) == pytest.approx(energy / 1000, rel=0.03)


def test_conn_counts_what_hangs_loose() -> None:
    truth = square(2, 2, 10)
    loose = truth.copy()
    loose[16:18, 16:18] = 0.6  # four pixels apart from the person: all of their 0.6 is unconnected
    assert metrics.conn(truth, truth) == 0
    assert metrics.conn(loose, truth) == pytest.approx(4 * 0.6 / 1000, rel=1e-4)
    faint = truth.copy()
    faint[16:18, 16:18] = 0.1  # below theta
    assert metrics.conn(faint, truth) == 0


def test_conn_of_a_paler_part() -> None:
    """Half of the person at 0.5: it hangs on up to 0.5, and the truth's other half is loose above."""
    truth, found = square(2, 2, 10), square(2, 2, 10)
    found[2:12, 7:12] = 0.5
    assert metrics.conn(found, truth) == pytest.approx(50 * 0.5 / 1000, rel=1e-4)


def frame(value: int = 100, size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


def test_flicker_looks_where_the_picture_stood_still() -> None:
    before, now = frame(), frame()
    now[:, :32] = 200  # the left half changed
    alpha_before = np.zeros((64, 64), np.float32)
    alpha = alpha_before.copy()
    alpha[:, :20] = 1  # a change of alpha there is not flicker
    assert metrics.flicker(before, now, alpha_before, alpha) == 0
    alpha[:, 48:] = 0.25
    still = metrics.flicker(before, now, alpha_before, alpha)
    # The blur and the margin take some columns right of 32: 16 of about 24 changed by .25
    assert 1000 * 0.25 * 16 / 32 <= still <= 1000 * 0.25 * 16 / 16
    assert metrics.flicker(frame(), frame(), alpha, alpha) == 0
    assert metrics.flicker(frame(0), frame(255), alpha, alpha) is None


def test_flicker_forgives_sensor_noise() -> None:
    """Grain of a webcam is no motion: the pixels still count as still."""
    rng = np.random.default_rng(0)
    noisy = [np.clip(rng.normal(120, 4, (64, 64, 3)), 0, 255).astype(np.uint8) for _ in range(2)]
    half = np.full((64, 64), 0.5, np.float32)
    assert metrics.flicker(*noisy, half, half + 0.1) == pytest.approx(100, abs=0.1)


def test_temporal_consistency_follows_motion() -> None:
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (96, 96, 3)).astype(np.uint8), (0, 0), 2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    before, now = texture[10:74, 10:74].copy(), texture[10:74, 6:70].copy()  # moved 4 pixels to the right
    alpha_before, alpha = square(20, 20, 20, 64), square(20, 24, 20, 64)
    moved = metrics.temporal_consistency(before, now, alpha_before, alpha)
    stuck = metrics.temporal_consistency(before, now, alpha_before, alpha_before)
    assert moved > 0.95
    assert stuck < 0.75


def test_dtssd_by_hand() -> None:
    a, b = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)
    b[0, 0] = 1  # one of 16 pixels appears, the truth stands still: sqrt(1/16)
    assert metrics.dtssd(a, b, a, a) == pytest.approx(100 * 0.25)
    assert metrics.dtssd(a, b, a, b) == 0
    assert metrics.dtssd(b, a, b, a) == 0
