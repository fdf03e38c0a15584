"""Batch norm: the pairs, the whole against its parts, and precision far from zero."""

import numpy as np
import pytest
from pair_checks import checks

import se_numpy as sn

TestPairs = checks("batch_statistics", "normalize", "batch_norm")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_variance_far_from_zero_is_precise():
    x = (1000 + normal(64, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(sn.batch_statistics(x)[1], x.astype(np.float64).var((0, 1, 2)), rtol=1e-4)


def test_a_mean_over_many_pixels_is_precise():
    """A float32 sum would make the mean, and with it batch norm, wrong by 1e-4."""
    x = (10 + normal(128, 32, 32, 2)).astype(np.float32)
    mean, _ = sn.batch_statistics(x)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean((0, 1, 2)), rtol=2e-7)


@pytest.mark.parametrize("N", [1, 5, 200])
def test_batch_norm_equals_its_two_parts(N):
    x, dy = normal(N, 16, 15, 6), normal(N, 16, 15, 6, seed=1)
    gamma, beta = normal(6, seed=2), normal(6, seed=3)
    mean, var = sn.batch_statistics(x)
    dx, dgamma, dbeta = sn.batch_norm_backward(dy, x, gamma, beta)
    dx_, dmean, dvar, dgamma_, dbeta_ = sn.normalize_backward(dy, x, mean, var, gamma, beta)
    np.testing.assert_allclose(dx, dx_ + sn.batch_statistics_backward(dmean, dvar, x), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(dgamma, dgamma_)
    np.testing.assert_allclose(dbeta, dbeta_)
    np.testing.assert_array_equal(sn.batch_norm(x, gamma, beta), sn.normalize(x, mean, var, gamma, beta))


def test_statistics_of_inputs_without_pixels():
    x = normal(50, 3)
    mean, var = sn.batch_statistics(x)
    np.testing.assert_allclose(mean, x.mean(0))
    np.testing.assert_allclose(var, x.var(0))
