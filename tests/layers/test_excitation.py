"""The SE block as a layer."""

import numpy as np

import se_numpy as sn
from se_numpy.layers import SE, init

SHAPE = (7, 6, 4)


def test_the_se_layer_equals_the_equations():
    net = SE(2)
    params, _ = init(net, SHAPE, np.random.default_rng(0), np.float64)
    U, dX = (np.random.default_rng(seed).standard_normal((3, *SHAPE)) for seed in (1, 2))
    X_tilde, cache = net.forward(params, {}, U)
    np.testing.assert_array_equal(X_tilde, sn.se_block(U, **params))
    dU, grads = net.backward(params, cache, dX)
    for got, expected in zip((dU, *grads.values()), sn.se_block_backward(dX, U, **params), strict=True):
        np.testing.assert_array_equal(got, expected)
