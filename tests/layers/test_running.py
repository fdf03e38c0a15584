"""Running statistics."""

import numpy as np
import pytest

import se_numpy as sn
from se_numpy.layers import unbiased, update_running


def test_running_statistics_move_by_a_tenth_towards_unbiased_statistics():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 2, 5)) * 3 + 1
    running_mean, running_var = rng.standard_normal(5), rng.standard_normal(5) ** 2
    expected_mean = 0.9 * running_mean + 0.1 * x.mean((0, 1, 2))
    expected_var = 0.9 * running_var + 0.1 * x.var((0, 1, 2), ddof=1)
    mean, var = sn.batch_statistics(x)
    update_running(running_mean, mean)
    update_running(running_var, unbiased(var, 24))
    np.testing.assert_allclose(running_mean, expected_mean)
    np.testing.assert_allclose(running_var, expected_var)


def test_statistics_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"batch has shape \(1,\); expected \(5,\), the shape of running"):
        update_running(np.ones(5), np.ones(1))
