"""The gradient checker: mistakes it must find, correct pairs it must accept, and its messages."""

import numpy as np
import pytest

import se_numpy as sn
from se_numpy.gradcheck import (
    TOLERANCE,
    FunctionError,
    GradientError,
    HiddenGradientWarning,
    KinkError,
    check_backward,
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_a_correct_gradient_passes_far_below_the_tolerance():
    x, W, b = normal(4, 6), normal(5, 6), normal(5)
    assert all(error.relative < TOLERANCE / 100 for error in check_backward(sn.linear, sn.linear_backward, x, W, b))


@pytest.mark.parametrize("seed", range(20))
def test_one_wrong_entry_among_many_is_found_and_named(seed):
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
def test_gradients_of_the_wrong_form_are_refused(wrong, message):
    with pytest.raises(GradientError, match=message):
        check_backward(np.sin, wrong, normal(2, 3))


def test_random_upstream_gradients_reveal_what_ones_would_hide():
    """For dy = 1, the gradient of batch norm is 0 with or without its corrections; the checker must tell them apart."""
    x, gamma, beta = normal(6, 3, 4, 5), normal(5, seed=1), normal(5, seed=2)

    def f(x, gamma, beta):
        return sn.normalize(x, *sn.batch_statistics(x), gamma, beta)

    def without_var(dy, x, gamma, beta):
        mean, var = sn.batch_statistics(x)
        root = gamma / np.sqrt(var + 1e-5)
        x_hat = (x - mean) / np.sqrt(var + 1e-5)
        return root * (dy - dy.mean((0, 1, 2))), (dy * x_hat).sum((0, 1, 2)), dy.sum((0, 1, 2))

    assert abs(without_var(np.ones_like(x), x, gamma, beta)[0]).max() < 1e-12  # dy = 1 shows no difference
    with pytest.raises(GradientError):
        check_backward(f, without_var, x, gamma, beta)


def test_a_kink_at_the_point_is_reported():
    with pytest.raises(KinkError, match="no derivative"):
        check_backward(sn.relu, sn.relu_backward, np.zeros((3, 4)))


def test_a_kink_near_the_point_is_avoided_by_smaller_steps():
    x = normal(10, 10)
    x[2, 3] = 3e-6  # within reach of the first step, but not of the last
    check_backward(sn.relu, sn.relu_backward, x)


def test_a_zero_gradient_passes_and_a_nonzero_one_in_its_place_fails():
    check_backward(lambda x: 0 * x + 1, lambda dy, x: 0 * dy, normal(3, 4))
    with pytest.raises(GradientError):
        check_backward(lambda x: 0 * x + 1, lambda dy, x: 1e-3 * dy, normal(3, 4))


def test_the_complex_step_agrees_to_the_last_digits():
    errors = check_backward(
        sn.se_block, sn.se_block_backward, normal(3, 5, 4, 6), normal(2, 6), normal(6, 2), method="complex"
    )
    assert max(error.relative for error in errors) < 1e-13


def test_integers_need_no_gradient():
    labels = np.array([2, 0, 1])
    assert len(check_backward(sn.softmax_cross_entropy, sn.softmax_cross_entropy_backward, normal(3, 4), labels)) == 1


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method is 'forward'"):
        check_backward(np.sin, lambda dy, x: dy * np.cos(x), normal(3), method="forward")


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (lambda dy, x: dy.__imul__(1 - np.tanh(x) ** 2), "modifies dy, which may be used elsewhere"),
        (lambda dy, x: dy.__imul__(0) * x, "modifies dy"),  # if dy became 0, any gradient would pass
        (lambda dy, x: dy * (1 - np.tanh(x, out=x) ** 2), "modifies argument 0"),
        (lambda dy, x: dy * (1 - np.tanh(x) ** 2) * (1 + 1e-9 * RNG.random()), "is random: two calls .* differ by"),
    ],
)
def test_a_backward_pass_that_is_random_or_modifies_its_arguments_is_refused(backward, message):
    with pytest.raises(GradientError, match=message):
        check_backward(np.tanh, backward, normal(3, 4))


RNG = np.random.default_rng(0)


def in_place(x):
    x *= 2
    return x


def clear_the_mask(x, *, mask):
    mask[:] = False
    return x * mask


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: x * RNG.random(x.shape), "is random: two calls with the same arguments differ by"),
        (lambda x: x + 1e-9 * RNG.random(x.shape), "is random"),
        (in_place, "in_place modifies argument 0; expected a function that does not modify its arguments"),
        (lambda x: np.sin(x).astype(np.float32), "returned float32 for float64 arguments"),
        (lambda x: np.sin(x.astype(np.float32)).astype(float), "rounds its values to float32"),
        (lambda x: (1e4 + x).astype(np.float32).astype(float), "rounds its values to float32"),
        (lambda x: np.sin(x.astype(np.float32)) * np.pi * x, r"precise only to .e-0[789] of their size"),
        (lambda x: np.sin(x.astype(np.float32)).mean(dtype=float), r"precise only to .e-0[789] of their size"),
        (lambda x: (1e8 + x) - 1e8, r"precise only to .e-(08|09|10) of their size, .* large numbers that cancel"),
        (lambda x: np.log(np.abs(x) * 0), "is not finite at this point; expected a point inside its domain"),
    ],
)
def test_a_function_whose_gradient_cannot_be_checked_is_refused(f, message):
    x = normal(3, 4)
    with np.errstate(divide="ignore"), pytest.raises(FunctionError, match=message):
        check_backward(f, lambda dy, x: dy * np.cos(x), x)


def test_a_modified_hyperparameter_is_named_and_preserved():
    mask = np.ones((3, 4), bool)
    with pytest.raises(FunctionError, match="clear_the_mask modifies mask"):
        check_backward(clear_the_mask, lambda dy, x, *, mask: dy * mask, normal(3, 4), mask=mask)
    assert mask.all()


def test_a_function_may_reuse_its_buffer():
    buffer = np.empty((3, 4))
    check_backward(lambda x: np.sin(x, out=buffer), lambda dy, x: dy * np.cos(x), normal(3, 4))
    check_backward(lambda x: x, lambda dy, x: dy, normal(3, 4))


@pytest.mark.parametrize("p", [1e-6, 1e-9, 1e-200])
def test_correct_pairs_pass_near_the_edge_of_a_domain(p):
    ps = np.array([p, 0.5, 0.3])
    for point in (ps, ps[:1]):
        check_backward(lambda p: -np.log(p), lambda dy, p: -dy / p, point)
        check_backward(np.sqrt, lambda dy, p: dy / (2 * np.sqrt(p)), point)
    with pytest.raises(GradientError):
        check_backward(lambda p: -np.log(p), lambda dy, p: -1.01 * dy / p, ps[:1])


@pytest.mark.parametrize("var", [1e-6, 1e-9, 1e-3])
def test_normalize_passes_at_small_variances(var):
    check_backward(
        sn.normalize, sn.normalize_backward, normal(5, 3), normal(3, seed=1), np.full(3, var), normal(3, seed=2),
        normal(3, seed=3),
    )  # fmt: skip


def test_a_point_on_the_edge_of_a_domain_is_refused():
    with np.errstate(invalid="ignore"), pytest.raises(FunctionError, match="not finite within 1e-07 of the point"):
        check_backward(np.sqrt, lambda dy, x: dy, np.zeros(3))


def test_curvature_is_not_taken_for_a_kink():
    check_backward(lambda x: x**3, lambda dy, x: 3 * dy * x**2, np.zeros(3))
    with pytest.raises(KinkError):
        check_backward(np.abs, lambda dy, x: dy * np.sign(x), np.zeros(3))


COLUMNS = np.array([1, 1, 1, 1, 1e-7])


def columns(x):
    return np.sin(x) * COLUMNS


def joint(x):
    return (np.sin(x) * COLUMNS).sum(1)


@pytest.mark.parametrize("method", ["central", "complex"])
@pytest.mark.parametrize("wrong", [1, 0, 2, -1, 1.01, 1 + 1e-4])
@pytest.mark.parametrize("f", [columns, joint])
def test_a_small_column_is_compared_by_its_own_size(f, wrong, method):
    """Its gradient is 10 million times smaller than the others."""
    factor = np.array([1, 1, 1, 1, wrong])

    def backward(dy, x):
        return (dy if dy.ndim == 2 else dy[:, None]) * np.cos(x) * COLUMNS * factor

    if wrong == 1:
        check_backward(f, backward, normal(6, 5), method=method)
    elif not (f is joint and method == "central" and wrong in (1.01, 1 + 1e-4)):  # within the rounding of the sum
        with pytest.raises(GradientError, match=r"among 6 entries of similar size, .* \(\d, 4\) is furthest off"):
            check_backward(f, backward, normal(6, 5), method=method)


@pytest.mark.parametrize("correct", [True, False])
def test_a_gradient_hidden_by_rounding_causes_a_warning(correct):
    with pytest.warns(HiddenGradientWarning, match=r"argument 0: rounding .* hides the gradient .* inconclusive"):
        check_backward(lambda x: 1 + 1e-12 * x * x, lambda dy, x: 2e-12 * dy * x * correct, normal(3, 4))
    check_backward(lambda x: 1 + 1e-12 * x * x, lambda dy, x: 2e-12 * dy * x, normal(3, 4), method="complex")
    with pytest.raises(GradientError):
        check_backward(lambda x: 1 + 1e-12 * x * x, lambda dy, x: 0 * x, normal(3, 4), method="complex")
    with pytest.raises(GradientError):
        check_backward(lambda x: 1 + 1e-12 * x * x, lambda dy, x: 2e-3 * dy * x, normal(3, 4))


def test_functions_too_large_for_their_gradient_are_refused():
    for gradient in (0, 1):
        with pytest.raises(ValueError, match="rounding of the large values of f hides"):
            check_backward(lambda x: 1e13 + x, lambda dy, x, g=gradient: g * dy, normal(3, 4))
    with pytest.raises(GradientError):
        check_backward(lambda x: 1e10 + x, lambda dy, x: 0 * dy, normal(3, 4))


def test_a_function_may_return_a_number():
    check_backward(lambda x: float((x * x).sum()), lambda dy, x: 2 * dy * x, normal(3, 4))


def test_an_argument_without_a_gradient_is_named():
    with pytest.raises(GradientError, match=r"expected 1, .* \(argument 0 is an array of int64\)"):
        check_backward(lambda n, x: n * x, lambda dy, n, x: (dy * x, dy * n), np.arange(3), normal(3))
