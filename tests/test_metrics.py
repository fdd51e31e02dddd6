"""Each metric against a case worked out by hand."""

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
    # Moved by 20 rows, of the 396 pixels of an outline have a partner: the sides where both run (80
    # rows, twice), 4 rows of each side beyond the other's end, and 4 pixels at each end of the row
    # that lies inside the other square.
    assert metrics.boundary_f(far, truth) == pytest.approx((2 * 80 + 2 * 4 + 2 * 4) / 396)


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
