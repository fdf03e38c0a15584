"""Tests of the two paths of U's gradient: each against the gradient with the other path cut, and their sum."""

from dataclasses import dataclass

import numpy as np
import pytest
from specimens import a_resnet, images, pictures, small

from se_numpy import excite, ops, scale, se_block_backward, squeeze, tree
from se_numpy.analysis.interventions import GivenGates
from se_numpy.analysis.paths import Paths, network_paths, path_share, two_paths
from se_numpy.layers import SE, GlobalAveragePool, Linear, init, serial


def block(bias):
    """Return U, the block's weights and an upstream gradient; all sizes differ, and the gates are far from 1/2."""
    rng = np.random.default_rng(0)
    U = rng.standard_normal((3, 5, 4, 6)) + rng.standard_normal(6)
    weights = [2 * rng.standard_normal((2, 6)), 2 * rng.standard_normal((6, 2))]
    weights += [rng.random(2) + 0.5, rng.standard_normal(6)] if bias else []
    return rng, U, weights, rng.standard_normal(U.shape)


@pytest.mark.parametrize("bias", [False, True])
def test_the_paths_add_up_to_the_whole_gradient(bias):
    _, U, weights, dX_tilde = block(bias)
    paths = two_paths(dX_tilde, U, *weights)
    whole = se_block_backward(dX_tilde, U, *weights)[0]
    assert np.allclose(paths.whole, whole, rtol=1e-12, atol=1e-14)
    assert np.allclose(paths.direct + paths.gate, whole, rtol=1e-12, atol=1e-14)
    assert np.linalg.norm(paths.gate) > 0.05 * np.linalg.norm(whole)


@pytest.mark.parametrize("bias", [False, True])
def test_each_path_is_the_gradient_with_the_other_path_cut(bias):
    rng, U, weights, dX_tilde = block(bias)
    paths = two_paths(dX_tilde, U, *weights)
    s, towards = excite(squeeze(U), *weights), rng.standard_normal(U.shape)

    def gate_cut(t):
        return (scale(U + t * towards, s) * dX_tilde).sum()

    def direct_cut(t):
        return (scale(U, excite(squeeze(U + t * towards), *weights)) * dX_tilde).sum()

    for path, f in ((paths.direct, gate_cut), (paths.gate, direct_cut)):
        assert (path * towards).sum() == pytest.approx((f(1e-6) - f(-1e-6)) / 2e-6, rel=1e-6)
    frozen, _ = GivenGates().backward({"s": s}, U, dX_tilde)
    assert np.allclose(paths.direct, frozen)
    assert np.ptp(paths.gate, axis=(1, 2)).max() < 1e-15  # the same at every pixel


@pytest.mark.parametrize("bias", [False, True])
def test_the_paths_of_a_network_equal_those_of_the_equation(bias):
    net = serial(se=SE(3, bias), pool=GlobalAveragePool(), classifier=Linear(4))
    rng = np.random.default_rng(0)
    params, state = init(net, (5, 4, 6), rng, np.float64)
    params["se"] = {name: 2 * rng.standard_normal(w.shape) for name, w in params["se"].items()}
    X, labels = rng.standard_normal((3, 5, 4, 6)) + rng.standard_normal(6), np.array([3, 0, 2])
    found = network_paths(net, params, state, X, labels)
    assert list(found) == ["se"]

    X_tilde = scale(X, excite(squeeze(X), **params["se"]))
    logits = ops.linear(squeeze(X_tilde), **params["classifier"])
    dlogits = ops.softmax_cross_entropy_backward(1.0, logits, labels)
    dX_tilde = (dlogits @ params["classifier"]["W"])[:, None, None] / 20 * np.ones(X.shape)
    expected = two_paths(dX_tilde, X, **params["se"])
    assert np.allclose(found["se"].direct, expected.direct, rtol=1e-10, atol=1e-16)
    assert np.allclose(found["se"].gate, expected.gate, rtol=1e-8, atol=1e-16)
    assert np.abs(expected.gate).max() > 1e-4


@pytest.mark.parametrize("train", [False, True])
def test_splitting_the_paths_leaves_the_gradients_unchanged(train):
    from se_numpy.analysis.network import with_layers
    from se_numpy.analysis.paths import SplitSE

    network = a_resnet()
    X, labels = network.normalise(pictures(6)), np.arange(6)
    logits, cache = network.net.forward(network.params, network.state, X, train=train)
    dlogits = ops.softmax_cross_entropy_backward(1.0, logits, labels)
    dX, grads = network.net.backward(network.params, cache, dlogits)

    split = with_layers(network.net, dict.fromkeys(network.blocks, SplitSE(SE(4))))
    _, cache = split.forward(network.params, network.state, X, train=train)
    split_dX, split_grads = split.backward(network.params, cache, dlogits)
    assert np.array_equal(dX, split_dX)
    more = dict(tree.leaves(split_grads))
    for name, g in tree.leaves(grads):
        assert np.array_equal(g, more.pop(name))
    assert {name.rpartition(".")[2] for name in more} == {"direct", "gate"}

    found = network_paths(network.net, network.params, network.state, X, labels, train=train)
    assert list(found) == list(network.blocks)
    for name, paths in found.items():
        np.testing.assert_allclose(paths.direct, more[f"{name}.direct"], atol=1e-5 * np.abs(paths.direct).max())
        spread = np.ptp(paths.gate, axis=(1, 2)).max()
        assert spread < 1e-4 * np.abs(paths.direct).max()  # constant over each image, up to rounding


@dataclass(frozen=True)
class Doubled(SE):
    """An SE block whose gates are twice as large."""

    def forward(self, params, state, X, *, train=False, rng=None):
        Y, cache = super().forward(params, state, X)
        return 2 * Y, cache._replace(s=2 * cache.s)

    def backward(self, params, cache, dY):
        return super().backward(params, cache._replace(s=cache.s / 2), 2 * dY)


def test_paths_are_right_for_subclasses_of_the_block():
    rng = np.random.default_rng(0)
    weights = {"W1": 2 * rng.standard_normal((2, 6)), "W2": 2 * rng.standard_normal((6, 2))}
    X, labels = rng.standard_normal((3, 5, 4, 6)) + rng.standard_normal(6), np.array([3, 0, 5])

    net, s = serial(se=Doubled(3), pool=GlobalAveragePool()), excite(squeeze(X), **weights)
    found = network_paths(net, {"se": weights}, {}, X, labels)["se"]
    logits, cache = net.forward({"se": weights}, {}, X)
    assert np.allclose(logits, squeeze(2 * scale(X, s)))
    dlogits = ops.softmax_cross_entropy_backward(1.0, logits, labels)
    whole, _ = net.backward({"se": weights}, cache, dlogits)
    expected = two_paths(2 * dlogits[:, None, None] / 20 * np.ones(X.shape), X, **weights)
    assert np.allclose(found.whole, whole)
    assert np.allclose(found.direct, expected.direct)
    assert np.allclose(found.gate, expected.gate)


def test_path_shares_are_ratios_of_norms():
    direct, gate = np.zeros((1, 1, 2, 2)), np.zeros((1, 1, 2, 2))
    direct[..., 0] = 3 / np.sqrt(2)
    gate[0, 0, 0] = 1 / np.sqrt(2)
    share = path_share(Paths(direct, gate))
    assert share == pytest.approx((3, 1, 0.25, 0.5))
    assert path_share(Paths(direct * 0, gate * 0)) == (0, 0, 0, 0)


def test_a_network_without_se_blocks_is_refused():
    net = serial(pool=GlobalAveragePool(), classifier=Linear(4))
    params, state = init(net, (5, 4, 3), np.random.default_rng(0))
    with pytest.raises(ValueError, match="no SE block"):
        network_paths(net, params, state, small().normalise(images(2)), np.array([0, 1]))
