"""Softmax and cross-entropy: the pairs, and extreme logits."""

import numpy as np
import pytest
from pair_checks import checks

import se_numpy as sn

TestPairs = checks("softmax", "softmax_cross_entropy")


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_loss_of_extreme_logits(size):
    x = np.array([[size, 0.0, 0.0], [0.0, size, 0.0]])
    labels = np.array([0, 2])
    loss = sn.softmax_cross_entropy(x, labels, smoothing=0.1)
    dx = sn.softmax_cross_entropy_backward(1.0, x, labels, smoothing=0.1)
    assert np.isfinite(loss)
    assert np.isfinite(dx).all()
    np.testing.assert_allclose(dx.sum(1), 0, atol=1e-15)  # a common shift of the logits has no effect


def test_a_class_of_probability_zero_adds_no_loss():
    x = np.array([[0.0, -np.inf], [2.0, -np.inf]])
    assert sn.softmax_cross_entropy(x, np.array([0, 0])) == 0


def test_loss_of_equal_logits_is_log_K():
    np.testing.assert_allclose(sn.softmax_cross_entropy(np.zeros((5, 7)), np.arange(5)), np.log(7))


@pytest.mark.parametrize("smoothing", [0, 0.2])
@pytest.mark.parametrize("dL", [0.7, np.array(0.7)], ids=["number", "array"])
def test_the_upstream_gradient_may_be_a_number(smoothing, dL):
    x, labels = np.random.default_rng(0).standard_normal((5, 3)), np.array([0, 2, 1, 1, 0], np.uint8)
    whole = sn.softmax_cross_entropy_backward(1.0, x, labels, smoothing=smoothing)
    np.testing.assert_allclose(sn.softmax_cross_entropy_backward(dL, x, labels, smoothing=smoothing), 0.7 * whole)
