"""ReLU, sigmoid, tanh and dropout: the pairs, extreme values, and infinite gradients."""

import numpy as np
import pytest
from pair_checks import checks

import se_numpy as sn

TestPairs = checks("relu", "sigmoid", "tanh", "dropout")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_of_extreme_values(dtype):
    x = np.array([-1e4, -100, -30, 0, 30, 100, 1e4], dtype)
    s = sn.sigmoid(x)
    assert np.isfinite(s).all()
    assert s[0] == 0
    assert s[3] == 0.5
    assert s[-1] == 1
    np.testing.assert_allclose(s[2], np.exp(-30.0), rtol=1e-5)  # small gates keep their precision
    np.testing.assert_allclose(sn.sigmoid_backward(np.ones_like(x), x)[4], np.exp(-30.0), rtol=1e-5)


def test_relu_backward_accepts_the_output_for_the_input():
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 7, 5))
    np.testing.assert_array_equal(sn.relu_backward(dy, x), sn.relu_backward(dy, sn.relu(x)))


def test_relu_of_a_0d_array():
    assert sn.relu(np.float64(-2.0) * np.ones(())) == 0


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_an_infinite_gradient_does_not_reach_blocked_values(bad):
    dy, x = np.array([bad, bad, 1.0]), np.array([-1.0, 0.0, 2.0])
    np.testing.assert_array_equal(sn.relu_backward(dy, x), [0, 0, 1])
    mask = np.array([False, False, True])
    np.testing.assert_array_equal(sn.dropout_backward(dy, x, mask, p=0.5), [0, 0, 2])


def test_relu_propagates_nan():
    assert np.isnan(sn.relu(np.array([np.nan]))).all()


@pytest.mark.parametrize("dtype", [np.float16, np.int64])
def test_an_upstream_gradient_of_another_dtype_is_refused(dtype):
    with pytest.raises(TypeError, match="dy has dtype"):
        sn.relu_backward(np.ones(3, dtype), np.ones(3))
