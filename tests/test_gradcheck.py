"""The checker checked: what it must catch, what it must not, and how it explains itself."""

import numpy as np
import pytest

import se_numpy as sn
from se_numpy.gradcheck import TOLERANCE, GradientError, KinkError, check_backward


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_a_right_gradient_passes_far_below_the_tolerance():
    x, W, b = normal(4, 6), normal(5, 6), normal(5)
    assert all(error.relative < TOLERANCE / 100 for error in check_backward(sn.linear, sn.linear_backward, x, W, b))


@pytest.mark.parametrize("seed", range(20))
def test_one_entry_of_a_thousand_wrong_by_a_percent_is_found_and_named(seed):
    def wrong(dy, x):
        dx = dy * np.cos(x)
        dx[3, 17] *= 1.01 if abs(dx[3, 17]) > 0.2 else 2
        return dx

    with pytest.raises(GradientError, match=r"wrong: the gradient of argument 0, .*\(3, 17\) is furthest"):
        check_backward(np.sin, wrong, normal(20, 20), seed=seed)


def test_the_wrong_argument_is_named():
    def wrong(dy, x, W, b):
        dx, dW, db = sn.linear_backward(dy, x, W, b)
        return dx, 2 * dW, db

    with pytest.raises(GradientError, match=r"gradient of argument 1, shape \(5, 6\)"):
        check_backward(sn.linear, wrong, normal(4, 6), normal(5, 6), normal(5))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda dy, x: dy * np.nan, "not finite"),
        (lambda dy, x: (dy, dy), "returned 2 gradients; expected 1"),
        (lambda dy, x: dy.sum(0), r"has shape \(3,\); expected an array of shape \(2, 3\)"),
        (lambda dy, x: (dy * x).astype(np.float32), "has dtype float32; expected float64"),
        (lambda dy, x: [None], "has type NoneType"),
        (lambda dy, x: None, "returned None; expected 1"),
    ],
)
def test_gradients_of_the_wrong_form(wrong, message):
    with pytest.raises(GradientError, match=message):
        check_backward(np.sin, wrong, normal(2, 3))


def test_upstream_gradients_of_ones_would_hide_what_random_ones_show():
    """Batch norm's gradient for dy = 1 is 0 with and without its two corrections; the checker must tell them apart."""
    x, gamma, beta = normal(6, 3, 4, 5), normal(5, seed=1), normal(5, seed=2)

    def f(x, gamma, beta):
        return sn.normalize(x, *sn.batch_statistics(x), gamma, beta)

    def without_var(dy, x, gamma, beta):
        mean, var = sn.batch_statistics(x)
        root = gamma / np.sqrt(var + 1e-5)
        x_hat = (x - mean) / np.sqrt(var + 1e-5)
        return root * (dy - dy.mean((0, 1, 2))), (dy * x_hat).sum((0, 1, 2)), dy.sum((0, 1, 2))

    assert abs(without_var(np.ones_like(x), x, gamma, beta)[0]).max() < 1e-12  # blind
    with pytest.raises(GradientError):
        check_backward(f, without_var, x, gamma, beta)


def test_a_kink_at_the_point_is_said_to_be_one():
    with pytest.raises(KinkError, match="no derivative"):
        check_backward(sn.relu, sn.relu_backward, np.zeros((3, 4)))


def test_a_kink_near_the_point_is_stepped_round():
    x = normal(10, 10)
    x[2, 3] = 3e-6  # within reach of the first step, not of the last
    check_backward(sn.relu, sn.relu_backward, x)


def test_a_gradient_that_is_zero_passes_and_one_that_should_be_fails():
    check_backward(lambda x: 0 * x + 1, lambda dy, x: 0 * dy, normal(3, 4))
    with pytest.raises(GradientError):
        check_backward(lambda x: 0 * x + 1, lambda dy, x: 1e-3 * dy, normal(3, 4))


def test_complex_step_agrees_to_the_last_digits():
    errors = check_backward(
        sn.se_block, sn.se_block_backward, normal(3, 5, 4, 6), normal(2, 6), normal(6, 2), method="complex"
    )
    assert max(error.relative for error in errors) < 1e-13


def test_integers_masks_and_nothing_need_no_gradient():
    labels = np.array([2, 0, 1])
    assert len(check_backward(sn.softmax_cross_entropy, sn.softmax_cross_entropy_backward, normal(3, 4), labels)) == 1


def test_unknown_method():
    with pytest.raises(ValueError, match="method is 'forward'"):
        check_backward(np.sin, lambda dy, x: dy * np.cos(x), normal(3), method="forward")


def test_a_backward_pass_may_spoil_what_it_is_given_without_deceiving_the_checker():
    def in_place(dy, x):
        dy *= 1 - np.tanh(x) ** 2
        return dy

    def cheat(dy, x):
        dy *= 0
        return dy * x

    check_backward(np.tanh, in_place, normal(3, 4))
    with pytest.raises(GradientError):
        check_backward(np.tanh, cheat, normal(3, 4))


def test_values_so_large_that_rounding_hides_the_gradient_are_refused():
    with pytest.raises(ValueError, match="rounding of f's large values hides"):
        check_backward(lambda x: 1e10 + x, lambda dy, x: 0 * dy, normal(3, 4))


def test_a_function_may_return_a_number():
    check_backward(lambda x: float((x * x).sum()), lambda dy, x: 2 * dy * x, normal(3, 4))


def test_an_argument_that_cannot_be_differentiated_is_named():
    with pytest.raises(GradientError, match=r"expected 1, .* \(argument 0 is an array of int64\)"):
        check_backward(lambda n, x: n * x, lambda dy, n, x: (dy * x, dy * n), np.arange(3), normal(3))
