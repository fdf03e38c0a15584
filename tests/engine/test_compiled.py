"""A fused network is the same network: results, gradients, running statistics, under the same names."""

import tracemalloc

import numpy as np
import pytest

from se_numpy import engine, models
from se_numpy.arrays import to_device, to_host
from se_numpy.engine import fold
from se_numpy.layers import (
    SE,
    BatchNorm,
    Concat,
    Conv,
    GlobalAveragePool,
    Linear,
    Pool,
    ReLU,
    init,
    serial,
    walk,
)
from se_numpy.layers import residual as sum_of
from se_numpy.layers.combinators import Sum
from se_numpy.tree import flatten, leaves, map_leaves


def tail():
    return GlobalAveragePool(), Linear(5)


def branch(*more):
    return serial(Conv(6), BatchNorm(), ReLU(), Conv(6), BatchNorm(), *more)


NETS = {
    "se_resnet8": models.build("se_resnet8"),
    "resnet14": models.build("resnet14"),
    "biases": models.build("se_resnet8", bias=True),
    "no norm": serial(Conv(6), ReLU(), Conv(4), *tail()),
    "norm first": serial(BatchNorm(), ReLU(), Conv(6), sum_of(serial(BatchNorm(), ReLU(), Conv(6))), *tail()),
    "gate after relu": serial(Conv(6), BatchNorm(), ReLU(), SE(2), Conv(4), BatchNorm(), *tail()),
    "gate before convolution": serial(Conv(6), BatchNorm(), sum_of(serial(SE(2), branch())), ReLU(), *tail()),
    "gated, then convolved": serial(Conv(6), BatchNorm(), SE(2), Conv(4), BatchNorm(), ReLU(), *tail()),
    "gate on the shortcut": serial(Conv(6), sum_of(branch(), serial(Conv(6, 1), BatchNorm(), SE(3))), ReLU(), *tail()),
    "gate after the sum": serial(Conv(6), sum_of(branch()), ReLU(), SE(2), sum_of(branch()), ReLU(), *tail()),
    "relu closes the branch": serial(Conv(6), sum_of(serial(Conv(6), BatchNorm(), ReLU())), ReLU(), *tail()),
    "bare layers side by side": serial(Conv(6), sum_of(Conv(6), BatchNorm()), ReLU(), *tail()),
    "three": serial(Conv(6), Sum((("a", branch()), ("b", serial()), ("c", branch(SE(2))))), ReLU(), *tail()),
    "a sum in a sum": serial(Conv(6), sum_of(serial(sum_of(branch()), ReLU(), branch())), ReLU(), *tail()),
    "a sum in both": serial(
        Conv(6), sum_of(branch()), ReLU(), sum_of(serial(sum_of(branch()), ReLU()), serial(branch(), ReLU())), ReLU()
    ),
    "blocks of blocks": serial(Conv(6), *(serial(serial(sum_of(branch(SE(2))), ReLU())) for _ in "123"), *tail()),
    "two identities": serial(Conv(6), sum_of(serial(), serial()), ReLU(), *tail()),
    "sum without relu": serial(Conv(6), BatchNorm(), ReLU(), sum_of(branch()), Conv(4), *tail()),
    "concatenated": serial(Conv(6), Concat((("a", branch()), ("b", branch(SE(2))))), ReLU(), *tail()),
    "pooled": serial(Conv(6), BatchNorm(), ReLU(), Pool(), Conv(5, stride=2), BatchNorm(), ReLU(), *tail()),
    "depthwise": serial(Conv(6), BatchNorm(), ReLU(), Conv(6, groups=6), BatchNorm(), ReLU(), Conv(8, 1), *tail()),
    "tanh for a gate": models.build("se_resnet8", gate="tanh"),
    "relu for a gate": models.build("se_resnet8", gate="relu", bias=True),
    "largest pixel": models.build("se_resnet8", squeeze="max"),
    "no squeeze": models.build("se_resnet8", squeeze="none"),
    "placed before": models.build("se_resnet8", placement="pre"),
    "placed after": models.build("se_resnet8", placement="post", gate="tanh"),
    "placed inside": models.build("se_resnet8", placement="3x3"),
    "placed aside": models.build("se_resnet8", placement="identity", squeeze="max"),
    "one stage": models.build("se_resnet8", stages=(2,)),
    "small_resnext": models.small_resnext(11, cardinality=2, width=2, reduction=2),
    "small_inception": models.small_inception(width=0.25, reduction=2),
    "mobilenet": models.mobilenet(width=1 / 16, reduction=2, squeeze="none"),
    "strides": serial(Conv(6, 5, stride=3), BatchNorm(), ReLU(), Conv(4, 2, padding=0), BatchNorm(), ReLU(), *tail()),
}
SHAPE = (9, 11, 3)


def drawn(net, seed=0, N=7, dtype=np.float64):
    """Parameters, statistics, a batch and the gradient of the logits, none of them at their starting values."""
    rng = np.random.default_rng(seed)
    params, state = init(net, SHAPE, rng, dtype)
    params = map_leaves(lambda p: p + 0.3 * rng.standard_normal(p.shape).astype(dtype), params)
    state = map_leaves(lambda p: (p + 0.5 * rng.random(p.shape)).astype(dtype), state)
    X = rng.standard_normal((N, *SHAPE)).astype(dtype)
    return params, state, X, rng.standard_normal((N, *net.output_shape(SHAPE))).astype(dtype)


def assert_same(found, wanted):
    found, wanted = dict(leaves(found)), dict(leaves(wanted))
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        scale = max(np.abs(array).max(), 1e-3)
        np.testing.assert_allclose(to_host(found[name]), array, rtol=0, atol=1e-9 * scale, err_msg=name)


@pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", NETS)
def test_a_fused_network_does_the_same(name, train):
    net = NETS[name]
    params, state, X, dY = drawn(net)
    moved, moved_fused = map_leaves(np.copy, state), map_leaves(np.copy, state)
    Y, cache = net.forward(params, moved, X, train=train)
    Y_fused, cache_fused = engine.compile(net).forward(params, moved_fused, X, train=train)
    if train:
        net.update_running(moved, cache)
        engine.compile(net).update_running(moved_fused, cache_fused)
    dX, grads = net.backward(params, cache, dY)
    before = X.copy(), dY.copy(), flatten(params)
    dX_fused, grads_fused = engine.compile(net).backward(params, cache_fused, dY)
    assert_same({"Y": Y_fused, "dX": dX_fused, **grads_fused}, {"Y": Y, "dX": dX, **grads})
    assert_same(moved_fused, moved)
    for kept, now in zip(before, (X, dY, flatten(params)), strict=True):
        np.testing.assert_array_equal(kept, now)


@pytest.mark.parametrize("name", ["se_resnet8", "three", "gated, then convolved", "strides"])
def test_the_same_on_a_device(name, device_xp):
    net = NETS[name]
    params, state, X, dY = drawn(net)
    there = [map_leaves(lambda a: to_device(a, "gpu"), tree) for tree in (params, state)]
    Y, cache = engine.compile(net).forward(*there, to_device(X, "gpu"), train=True)
    engine.compile(net).update_running(there[1], cache)
    dX, grads = engine.compile(net).backward(there[0], cache, to_device(dY, "gpu"))
    Y_host, cache = net.forward(params, state, X, train=True)
    net.update_running(state, cache)
    dX_host, grads_host = net.backward(params, cache, dY)
    assert_same({"Y": Y, "dX": dX, **grads}, {"Y": Y_host, "dX": dX_host, **grads_host})
    assert_same(there[1], state)


def test_gradient_of_the_input_may_be_left_out():
    net = engine.compile(NETS["se_resnet8"])
    params, state, X, dY = drawn(net)
    whole = net.backward(params, net.forward(params, state, X, train=True)[1], dY)
    dX, grads = net.backward(params, net.forward(params, state, X, train=True)[1], dY, dX=False)
    assert dX is None
    assert_same(grads, whole[1])


def test_blocks_make_no_difference(monkeypatch):
    """Images in blocks of one, rows of one image apart, windows of one image at a time."""
    net = engine.compile(NETS["se_resnet8"])
    params, state, X, dY = drawn(net)
    dX, grads = net.backward(params, net.forward(params, state, X, train=True)[1], dY)
    monkeypatch.setattr("se_numpy.backend.blocks.BLOCK_BYTES", 20_000)
    monkeypatch.setattr("se_numpy.backend.blocks.TWO_BLOCKS", 10_000)
    monkeypatch.setattr("se_numpy.backend.blocks.WINDOW_BYTES", 5_000)
    dX_cut, grads_cut = net.backward(params, net.forward(params, state, X, train=True)[1], dY)
    assert_same({"dX": dX_cut, **grads_cut}, {"dX": dX, **grads})


def test_a_fused_network_is_the_same_value_to_everybody_else():
    net = NETS["se_resnet8"]
    assert engine.compile(net).parts[0] == net.parts[0]
    assert engine.compile(net).output_shape(SHAPE) == net.output_shape(SHAPE)
    assert_same(
        map_leaves(lambda p: np.array(p.shape), engine.compile(net).parameters(SHAPE)),
        map_leaves(lambda p: np.array(p.shape), net.parameters(SHAPE)),
    )


def test_a_cache_serves_once():
    net = engine.compile(NETS["se_resnet8"])
    params, state, X, dY = drawn(net)
    _, cache = net.forward(params, state, X, train=True)
    net.backward(params, cache, dY)
    with pytest.raises(ValueError, match="used up"):
        net.backward(params, cache, dY)


@pytest.mark.parametrize("fused", [False, True], ids=["layer by layer", "fused"])
@pytest.mark.parametrize("name", NETS)
def test_a_folded_network_evaluates_the_same(name, fused):
    net = NETS[name]
    params, state, X, _ = drawn(net)
    before = flatten(params)
    folded, folded_params, folded_state = fold(net, params, state)
    Y, _ = (engine.compile(folded) if fused else folded).forward(folded_params, folded_state, X)
    assert_same({"Y": Y}, {"Y": net.forward(params, state, X)[0]})
    np.testing.assert_array_equal(flatten(params), before)
    assert list(dict(leaves(folded_params))) == list(dict(leaves(folded.parameters(SHAPE))))
    normalised = sum(isinstance(layer, BatchNorm) for _, layer, _ in walk(net, SHAPE))
    left = sum(isinstance(layer, BatchNorm) for _, layer, _ in walk(folded, SHAPE))
    assert left == {"norm first": normalised, "bare layers side by side": 1}.get(name, 0)


@pytest.mark.parametrize("name", NETS)
def test_a_predictor_gives_the_networks_own_answers(name):
    net = NETS[name]
    params, state, X, _ = drawn(net)
    assert_same({"Y": predictor(net, params, state)(X)}, {"Y": net.forward(params, state, X)[0]})


def test_what_a_predictor_needs_does_not_grow_with_depth():
    def peak(depth):
        net = models.build(f"se_resnet{depth}")
        predict = predictor(net, *init(net, SHAPE, np.random.default_rng(0)))
        X = np.ones((32, *SHAPE), np.float32)
        predict(X)
        tracemalloc.start()
        predict(X)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(44) < 1.5 * peak(8)  # with caches it is four times as much


def test_what_keeps_nothing_has_no_way_back():
    net = engine.compile(NETS["se_resnet8"], keep=False)
    params, state, X, dY = drawn(net)
    _, cache = net.forward(params, state, X)
    with pytest.raises(ValueError, match="no way back; expected fuse"):
        net.backward(params, cache, dY)


def test_a_folded_network_does_not_train():
    net, params, state = fold(NETS["se_resnet8"], *drawn(NETS["se_resnet8"])[:2])
    X = np.zeros((2, *SHAPE))
    with pytest.raises(ValueError, match="for evaluation"):
        engine.compile(net).forward(params, state, X, train=True)
    Y, cache = engine.compile(net).forward(params, state, X)
    with pytest.raises(ValueError, match="no way back"):
        engine.compile(net).backward(params, cache, Y)
