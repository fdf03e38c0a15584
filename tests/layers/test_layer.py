"""The contract of every layer: shapes, gradients of all parameters, and state that only update_running changes."""

import numpy as np
import pytest
from as_pair import functions
from hypothesis import given
from hypothesis import strategies as st

from se_numpy import tree
from se_numpy.gradcheck import check_backward
from se_numpy.layers import (
    SE,
    BatchNorm,
    Bias,
    Conv,
    GlobalAveragePool,
    Linear,
    Pool,
    ReLU,
    concat,
    init,
    residual,
    serial,
)

SHAPE = (7, 6, 4)

BRANCH = serial(Conv(6, 3), BatchNorm(), ReLU(), Conv(4, 3), BatchNorm(), SE(2))
NETWORKS = {
    "convolution": serial(Conv(5, 3, stride=2)),
    "groups": serial(Conv(6, 3, groups=2), ReLU()),
    "batch norm": serial(BatchNorm(), ReLU()),
    "bias": serial(Bias(), GlobalAveragePool(), Bias()),
    "se": serial(SE(2)),
    "se with biases": serial(SE(2, bias=True)),
    "identity": serial(),
    "residual": residual(BRANCH),
    "projection": residual(serial(Conv(6, 3, 2), BatchNorm(), SE(3)), serial(Conv(6, 1, 2), BatchNorm())),
    "standard": serial(residual(serial(BRANCH, SE(4))), ReLU()),
    "pre": serial(residual(serial(SE(4), BRANCH)), ReLU()),
    "post": serial(residual(BRANCH), ReLU(), SE(4)),
    "gated identity": serial(residual(BRANCH, serial(SE(4))), ReLU()),
    "concatenation": concat(Conv(3, 1), serial(Conv(2, 3), BatchNorm()), Pool("max", 3, 1, 1)),
    "pools": serial(Pool("avg", 2), Pool("max", 2, 1)),
    "classifier": serial(GlobalAveragePool(), Linear(5)),
    "classifier without bias": serial(GlobalAveragePool(), Linear(5, bias=False)),
}  # fmt: skip
EVERY_NETWORK = pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS.keys())


@EVERY_NETWORK
@pytest.mark.parametrize("train", [True, False])
@given(seed=st.integers(0, 2**32 - 1))
def test_gradients_of_the_input_and_of_all_parameters(net, train, seed):
    rng = np.random.default_rng(seed)
    params, state = init(net, SHAPE, rng, np.float64)
    for _, leaf in tree.leaves(params):
        leaf += 0.1 * rng.standard_normal(leaf.shape)  # parameters of 0 or 1 could hide mistakes
    for name, leaf in tree.leaves(state):
        leaf += rng.random(leaf.shape) if name.endswith("var") else rng.standard_normal(leaf.shape)
    w = [tree.flatten(params)] if params else []
    check_backward(*functions(net, params, state, train), rng.standard_normal((3, *SHAPE)), *w, seed=seed)


@EVERY_NETWORK
def test_output_shape_is_the_shape_of_the_output(net):
    params, state = init(net, SHAPE, np.random.default_rng(0))
    Y, _ = net.forward(params, state, np.zeros((2, *SHAPE), np.float32))
    assert Y.shape == (2, *net.output_shape(SHAPE))
    assert Y.dtype == np.float32


@EVERY_NETWORK
def test_only_update_running_changes_the_state(net):
    params, state = init(net, SHAPE, np.random.default_rng(0), np.float64)
    before = tree.map_leaves(np.copy, state)
    X = np.random.default_rng(1).standard_normal((3, *SHAPE)) + 2
    _, cache = net.forward(params, state, X, train=True)
    for (_, a), (_, b) in zip(tree.leaves(before), tree.leaves(state), strict=True):
        np.testing.assert_array_equal(a, b)
    net.update_running(state, cache)
    assert all((a != b).any() for (_, a), (_, b) in zip(tree.leaves(before), tree.leaves(state), strict=True))


def test_layers_are_immutable_values():
    assert serial(Conv(3), ReLU()) == serial(Conv(3), ReLU())
    assert serial(Conv(3)) != serial(Conv(4))
    assert hash(BRANCH) == hash(serial(Conv(6, 3), BatchNorm(), ReLU(), Conv(4, 3), BatchNorm(), SE(2)))
    with pytest.raises(AttributeError):
        Conv(3).C = 4


def test_parameters_can_be_views_of_one_vector():
    params, _ = init(BRANCH, SHAPE, np.random.default_rng(0))
    w = tree.flatten(params)
    views = tree.unflatten(w, params)
    w[:] = 7
    assert all(np.shares_memory(leaf, w) and (leaf == 7).all() for _, leaf in tree.leaves(views))
    assert tree.size(params) == w.size
    with pytest.raises(ValueError, match="expected"):
        tree.unflatten(w[1:], params)
    with pytest.raises(ValueError, match="no leaves"):
        tree.flatten({})
    assert list(tree.leaves(tree.from_leaves(dict(tree.leaves(params))))) == list(tree.leaves(params))


def test_initial_weights_depend_on_the_fan_in_and_the_seed():
    net = serial(Conv(64, 3), BatchNorm(), SE(4))
    params, state = init(net, (8, 8, 48), np.random.default_rng(0))
    again, _ = init(net, (8, 8, 48), np.random.default_rng(0))
    np.testing.assert_array_equal(tree.flatten(params), tree.flatten(again))
    V = params["conv1"]["V"]
    np.testing.assert_allclose(V.std(), np.sqrt(2 / (9 * 48)), rtol=0.03)
    assert abs(V.mean()) < 0.01 * V.std() + 1e-3
    assert (params["batchnorm1"]["gamma"] == 1).all()
    assert (params["batchnorm1"]["beta"] == 0).all()
    assert (state["batchnorm1"]["var"] == 1).all()


def test_init_needs_a_generator():
    with pytest.raises(TypeError, match="default_rng"):
        init(BRANCH, SHAPE, 0)


def test_the_initial_spread_depends_on_the_fan_in():
    rng = np.random.default_rng(0)
    W = init(Linear(300), (400,), rng)[0]["W"]
    np.testing.assert_allclose(W.std(), 400**-0.5, rtol=0.02)
    V = init(Conv(256, 3, groups=4), (8, 8, 64), rng)[0]["V"]
    np.testing.assert_allclose(V.std(), np.sqrt(2 / (9 * 16)), rtol=0.02)
