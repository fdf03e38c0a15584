"""Equations (2) to (5): the pairs, and properties that comparisons with plain loops do not cover."""

import numpy as np
import pytest
from pair_checks import checks

import se_numpy as sn
from se_numpy import engine, layers, to_host
from se_numpy.se import hidden_units

TestPairs = checks("squeeze", "excite", "excite with another gate", "scale", "se_block")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


U, W1, W2 = normal(4, 5, 3, 8), normal(2, 8, seed=1), 3 * normal(8, 2, seed=2)


def test_zero_weights_halve_the_feature_maps():
    zero1, zero2 = np.zeros_like(W1), np.zeros_like(W2)
    np.testing.assert_array_equal(sn.se_block(U, zero1, zero2), U / 2)
    dX = normal(*U.shape, seed=3)
    np.testing.assert_array_equal(sn.se_block_backward(dX, U, zero1, zero2)[0], dX / 2)


def test_gates_of_an_image_do_not_depend_on_the_others():
    alone = np.concatenate([sn.se_block(U[n : n + 1], W1, W2) for n in range(len(U))])
    np.testing.assert_allclose(sn.se_block(U, W1, W2), alone, rtol=1e-12)


def test_gates_do_not_depend_on_the_positions_of_pixels():
    shuffled = U.reshape(4, 15, 8)[:, np.random.default_rng(0).permutation(15)].reshape(U.shape)
    np.testing.assert_allclose(sn.excite(sn.squeeze(U), W1, W2), sn.excite(sn.squeeze(shuffled), W1, W2), rtol=1e-12)


def test_channels_may_be_permuted():
    order = np.random.default_rng(0).permutation(8)
    permuted = sn.se_block(U[..., order], W1[:, order], W2[order])
    np.testing.assert_allclose(permuted, sn.se_block(U, W1, W2)[..., order], rtol=1e-12)


def test_the_gradient_through_the_gate_is_the_same_at_every_pixel():
    dX = normal(*U.shape, seed=3)
    s = sn.excite(sn.squeeze(U), W1, W2)
    through_the_gate = sn.se_block_backward(dX, U, W1, W2)[0] - s[:, None, None] * dX
    assert abs(through_the_gate).max() > 1e-3
    np.testing.assert_allclose(through_the_gate - through_the_gate[:, :1, :1], 0, atol=1e-14)


def test_block_gradients_need_no_synchronisation_on_a_device(double):
    import cupy_double

    there = [double.asarray(a) for a in (normal(*U.shape, seed=3), U, W1, W2)]
    with cupy_double.counting() as (_, syncs):
        grads = sn.se_block_backward(*there)
    assert syncs == []
    np.testing.assert_allclose(to_host(grads[1]), sn.se_block_backward(normal(*U.shape, seed=3), U, W1, W2)[1])


def test_added_parameters_match_the_paper():
    resnet50 = [(3, 256), (4, 512), (6, 1024), (3, 2048)]
    assert sn.added_parameters(resnet50, 16) == 2_514_944
    assert [sn.added_parameters([stage], 16) for stage in resnet50] == [24_576, 131_072, 786_432, 1_572_864]
    assert sn.added_parameters([(1, 10)], 4) == 2 * 10 * 2  # 10 // 4 hidden units


@pytest.mark.parametrize("form", [sn, engine], ids=["book", "engine"])
def test_closed_gates_underflow_to_zero_without_an_error(form):
    U32, shut = U.astype(np.float32), np.full((8, 2), -60, np.float32)
    W = np.full((2, 8), 0.3, np.float32)
    with np.errstate(all="raise"):
        X_tilde = form.se_block(abs(U32), W, shut)
        grads = form.se_block_backward(U32, abs(U32), W, shut)
    assert np.abs(X_tilde).max() < 1e-20
    assert all(np.isfinite(g).all() for g in grads)


@pytest.mark.parametrize("form", [sn, engine], ids=["book", "engine"])
def test_tiny_maps_are_normalised_without_an_error(form):
    x = (1e-30 * U).astype(np.float32)
    with np.errstate(all="raise"):
        _, var = form.batch_statistics(x)
        form.batch_norm_backward(U.astype(np.float32), x, np.ones(8, np.float32), np.zeros(8, np.float32))
    assert (var == 0).all()


def test_an_unknown_gate_is_named():
    with pytest.raises(ValueError, match="the gate is 'softplus'; expected one of sigmoid, tanh, relu"):
        sn.excite(normal(3, 8), W1, W2, gate="softplus")


@pytest.mark.parametrize(
    ("C", "r", "divisor", "expected"),
    [
        (64, 16, 1, 4),
        (64, 16, 8, 8),
        (128, 16, 8, 8),
        (192, 16, 8, 16),
        (256, 16, 8, 16),
        (4, 16, 8, 8),
        (72, 6, 4, 12),
    ],
)
def test_hidden_units_are_rounded_as_in_timm(C, r, divisor, expected):
    """timm: make_divisible(C / r, divisor, round_limit=0), which rounds to the nearest multiple, a half upwards."""
    assert hidden_units(C, r, divisor) == expected
    assert layers.SE(r, divisor=divisor).parameters((1, 1, C))["W1"].shape == (expected, C)
    assert layers.NoSqueeze(r, divisor=divisor).parameters((1, 1, C))["W1"].shape == (expected, C)


def test_a_divisor_below_one_is_refused():
    with pytest.raises(ValueError, match="the divisor of the hidden units is 0; expected at least 1"):
        hidden_units(16, 4, 0)
