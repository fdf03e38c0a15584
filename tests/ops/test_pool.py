"""Pooling: the pairs, ties, windows without a finite value, and infinite gradients."""

import numpy as np
import pytest
from pair_checks import checks

import se_numpy as sn

TestPairs = checks("max_pool2d", "avg_pool2d", "global_max_pool2d")


def test_the_first_of_equal_maxima_gets_the_gradient():
    x = np.ones((1, 2, 2, 1))
    dx = sn.max_pool2d_backward(np.full((1, 1, 1, 1), 5.0), x, kernel=2)
    np.testing.assert_array_equal(dx.ravel(), [5, 0, 0, 0])
    dx = sn.global_max_pool2d_backward(np.full((1, 1), 5.0), x)
    np.testing.assert_array_equal(dx.ravel(), [5, 0, 0, 0])


def test_the_gradient_of_a_window_of_minus_infinity_goes_to_the_image():
    """It must not go to the padding, which is also -inf."""
    x = np.full((1, 2, 2, 1), -np.inf)
    dy = np.arange(1.0, 5).reshape(1, 2, 2, 1)
    dx = sn.max_pool2d_backward(dy, x, kernel=2, stride=2, padding=1)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[1, 2], [3, 4]])


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_an_infinite_gradient_goes_only_to_the_maximum(bad):
    x = np.array([3.0, 1.0, 2.0, 0.0]).reshape(1, 2, 2, 1)
    dx = sn.max_pool2d_backward(np.full((1, 1, 1, 1), bad), x, kernel=2)
    np.testing.assert_array_equal(dx.ravel(), [bad, 0, 0, 0])
    dx = sn.global_max_pool2d_backward(np.full((1, 1), bad), x)
    np.testing.assert_array_equal(dx.ravel(), [bad, 0, 0, 0])


def test_a_nan_is_the_maximum_and_gets_the_gradient():
    x = np.array([3.0, np.nan, np.nan, 0.0]).reshape(1, 2, 2, 1)
    assert np.isnan(sn.max_pool2d(x, kernel=2)).all()
    dx = sn.max_pool2d_backward(np.ones((1, 1, 1, 1)), x, kernel=2)
    np.testing.assert_array_equal(dx.ravel(), [0, 1, 0, 0])
