"""What plain comparisons do not show: extremes, conventions, invariances."""

import numpy as np
import pytest

import se_numpy as sn
from se_numpy.backend import to_host


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_at_the_ends(dtype):
    x = np.array([-1e4, -100, -30, 0, 30, 100, 1e4], dtype)
    s = sn.sigmoid(x)
    assert np.isfinite(s).all()
    assert s[0] == 0
    assert s[3] == 0.5
    assert s[-1] == 1
    np.testing.assert_allclose(s[2], np.exp(-30.0), rtol=1e-5)  # small gates keep their digits
    np.testing.assert_allclose(sn.sigmoid_backward(np.ones_like(x), x)[4], np.exp(-30.0), rtol=1e-5)


def test_relu_backward_takes_the_output_for_the_input():
    x, dy = normal(7, 5), normal(7, 5, seed=1)
    np.testing.assert_array_equal(sn.relu_backward(dy, x), sn.relu_backward(dy, sn.relu(x)))


def test_numbers_without_axes():
    assert sn.relu(np.float64(-2.0) * np.ones(())) == 0


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_loss_at_the_ends(size):
    x = np.array([[size, 0.0, 0.0], [0.0, size, 0.0]])
    labels = np.array([0, 2])
    loss = sn.softmax_cross_entropy(x, labels, smoothing=0.1)
    dx = sn.softmax_cross_entropy_backward(1.0, x, labels, smoothing=0.1)
    assert np.isfinite(loss)
    assert np.isfinite(dx).all()
    np.testing.assert_allclose(dx.sum(1), 0, atol=1e-15)  # logits moved together change nothing


def test_an_impossible_class_costs_nothing_unless_it_is_the_label():
    x = np.array([[0.0, -np.inf], [2.0, -np.inf]])
    assert sn.softmax_cross_entropy(x, np.array([0, 0])) == 0


def test_loss_of_ignorance_is_log_K():
    np.testing.assert_allclose(sn.softmax_cross_entropy(np.zeros((5, 7)), np.arange(5)), np.log(7))


def test_variance_far_from_zero_keeps_its_digits():
    x = (1000 + normal(64, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(sn.batch_statistics(x)[1], x.astype(np.float64).var((0, 1, 2)), rtol=1e-4)


@pytest.mark.parametrize("N", [1, 5, 200])  # 200 images are several blocks
def test_batch_norm_in_one_is_its_two_parts(N):
    x, dy = normal(N, 16, 15, 6), normal(N, 16, 15, 6, seed=1)
    gamma, beta = normal(6, seed=2), normal(6, seed=3)
    mean, var = sn.batch_statistics(x)
    dx, dgamma, dbeta = sn.batch_norm_backward(dy, x, mean, var, gamma)
    dx_, dmean, dvar, dgamma_, dbeta_ = sn.normalize_backward(dy, x, mean, var, gamma, beta)
    np.testing.assert_allclose(dx, dx_ + sn.batch_statistics_backward(dmean, dvar, x), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(dgamma, dgamma_)
    np.testing.assert_allclose(dbeta, dbeta_)


def test_rows_without_pixels_are_normalised_too():
    x = normal(50, 3)
    mean, var = sn.batch_statistics(x)
    np.testing.assert_allclose(mean, x.mean(0))
    np.testing.assert_allclose(var, x.var(0))


def test_running_statistics_move_by_a_tenth_towards_the_unbiased_ones():
    x = normal(4, 3, 2, 5) * 3 + 1
    running_mean, running_var = normal(5), normal(5) ** 2
    expected_mean = 0.9 * running_mean + 0.1 * x.mean((0, 1, 2))
    expected_var = 0.9 * running_var + 0.1 * x.var((0, 1, 2), ddof=1)
    mean, var = sn.batch_statistics(x)
    sn.update_running(running_mean, mean)
    sn.update_running(running_var, sn.unbiased(var, 24))
    np.testing.assert_allclose(running_mean, expected_mean)
    np.testing.assert_allclose(running_var, expected_var)


def test_of_equal_maxima_the_first_gets_the_gradient():
    x = np.ones((1, 2, 2, 1))
    dx = sn.max_pool2d_backward(np.full((1, 1, 1, 1), 5.0), x, kernel=2)
    np.testing.assert_array_equal(dx.ravel(), [5, 0, 0, 0])
    dx = sn.global_max_pool2d_backward(np.full((1, 1), 5.0), x)
    np.testing.assert_array_equal(dx.ravel(), [5, 0, 0, 0])


# ------------------------------------------------------------------------------------- the SE block's own properties


U, W1, W2 = normal(4, 5, 3, 8), normal(2, 8, seed=1), 3 * normal(8, 2, seed=2)


def test_zero_weights_halve_everything():
    zero1, zero2 = np.zeros_like(W1), np.zeros_like(W2)
    np.testing.assert_array_equal(sn.se_block(U, zero1, zero2), U / 2)
    dX = normal(*U.shape, seed=3)
    np.testing.assert_array_equal(sn.se_block_backward(dX, U, zero1, zero2)[0], dX / 2)


def test_gates_of_one_image_do_not_see_the_others():
    alone = np.concatenate([sn.se_block(U[n : n + 1], W1, W2) for n in range(len(U))])
    np.testing.assert_allclose(sn.se_block(U, W1, W2), alone, rtol=1e-12)


def test_gates_do_not_see_where_a_pixel_lies():
    shuffled = U.reshape(4, 15, 8)[:, np.random.default_rng(0).permutation(15)].reshape(U.shape)
    np.testing.assert_allclose(
        sn.excite(sn.squeeze(U), W1, W2), sn.excite(sn.squeeze(shuffled), W1, W2), rtol=1e-12
    )


def test_channels_may_be_renamed():
    order = np.random.default_rng(0).permutation(8)
    renamed = sn.se_block(U[..., order], W1[:, order], W2[order])
    np.testing.assert_allclose(renamed, sn.se_block(U, W1, W2)[..., order], rtol=1e-12)


def test_path_through_the_gate_is_the_same_at_every_pixel():
    dX = normal(*U.shape, seed=3)
    s = sn.excite(sn.squeeze(U), W1, W2)
    through_the_gate = sn.se_block_backward(dX, U, W1, W2)[0] - s[:, None, None] * dX
    assert abs(through_the_gate).max() > 1e-3
    np.testing.assert_allclose(through_the_gate - through_the_gate[:, :1, :1], 0, atol=1e-14)


def test_block_gradients_on_a_device_need_no_synchronisation(double):
    import cupy_double

    there = [double.asarray(a) for a in (normal(*U.shape, seed=3), U, W1, W2)]
    with cupy_double.counting() as (_, syncs):
        grads = sn.se_block_backward(*there)
    assert syncs == []
    np.testing.assert_allclose(to_host(grads[1]), sn.se_block_backward(normal(*U.shape, seed=3), U, W1, W2)[1])


def test_added_parameters_of_the_paper():
    resnet50 = [(3, 256), (4, 512), (6, 1024), (3, 2048)]
    assert sn.added_parameters(resnet50, 16) == 2_514_944
    assert [sn.added_parameters([stage], 16) for stage in resnet50] == [24_576, 131_072, 786_432, 1_572_864]
    assert sn.added_parameters([(1, 10)], 4) == 2 * 10 * 2  # 10 // 4 hidden units
