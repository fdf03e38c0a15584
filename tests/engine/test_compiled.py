"""``compile`` and its features: keep, off, explain, caches, memory.  The contract test checks the values."""

import copy
import pickle
import re
import threading
import tracemalloc
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pytest
from contract import (
    NETWORKS,
    SHAPE,
    Doubled,
    FlippedConv,
    ShiftedNorm,
    check_network,
    inputs,
    small_blocks,
    walk_parts,
)

from se_numpy import engine, models, se, to_host, tree
from se_numpy.layers import (
    SE,
    BatchNorm,
    Bias,
    Conv,
    Flatten,
    Linear,
    NoSqueeze,
    Parameter,
    ReLU,
    Sum,
    init,
    residual,
    serial,
    walk,
)


def drawn(net, dtype=np.float64, N=5):
    return inputs(net, SHAPE, 0, N, dtype)


def assert_same(found, expected):
    found, expected = dict(tree.leaves(found)), dict(tree.leaves(expected))
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-9 * max(np.abs(array).max(), 1e-3), err_msg=name)


@pytest.mark.parametrize("value", [None, "se_resnet20", [Conv(3)]])
def test_non_networks_are_refused(value):
    with pytest.raises(TypeError, match="expected a network"):
        engine.compile(value)


def test_cache_can_be_used_only_once():
    net = engine.compile(NETWORKS["se_resnet8"])
    params, state, X, dY = drawn(net.net)
    _, cache = net.forward(params, state, X, train=True)
    net.backward(params, cache, dY)
    with pytest.raises(ValueError, match="used by a backward pass"):
        net.backward(params, cache, dY)


def test_running_statistics_equal_the_networks_own():
    net = NETWORKS["se_resnet8"]
    params, state, X, _ = drawn(net)
    own, ours = (tree.map_leaves(np.copy, state) for _ in "ab")
    net.update_running(own, net.forward(params, own, X, train=True)[1], momentum=0.3)
    compiled = engine.compile(net)
    compiled.update_running(ours, compiled.forward(params, ours, X, train=True)[1], momentum=0.3)
    assert_same(ours, own)


def test_batch_stats_after_evaluation_are_refused():
    net = engine.compile(NETWORKS["se_resnet8"])
    params, state, X, _ = drawn(net.net)
    with pytest.raises(ValueError, match="expected train=True"):
        net.batch_stats(net.forward(params, state, X)[1])


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "compiled"])
@pytest.mark.parametrize("name", NETWORKS)
def test_folded_network_evaluates_the_same(name, fast):
    net = NETWORKS[name]
    params, state, X, _ = drawn(net)
    before = dict(tree.leaves(tree.map_leaves(np.copy, params)))
    folded, folded_params, folded_state = engine.fold(net, params, state)
    Y, _ = (engine.compile(folded) if fast else folded).forward(folded_params, folded_state, X)
    assert_same({"Y": Y}, {"Y": net.forward(params, state, X)[0]})
    for path, leaf in tree.leaves(params):
        np.testing.assert_array_equal(leaf, before[path])
    assert list(dict(tree.leaves(folded_params))) == list(dict(tree.leaves(folded.parameters(SHAPE))))
    kinds = [type(layer) for _, layer, _ in walk(folded, SHAPE)]
    remaining = {  # batch norms without a plain convolution before them
        "norm first": 2, "single-layer branches": 1, "batch norm subclass": 1, "conv subclass": 1, "top: BatchNorm": 1,
        "serial subclass": 2,
    }  # fmt: skip
    assert sum(issubclass(kind, BatchNorm) for kind in kinds) == remaining.get(name, 0)


def test_memory_of_a_predictor_does_not_grow_with_depth():
    def peak(depth):
        net = models.build(f"se_resnet{depth}")
        predict = engine.compile(net).predictor(*init(net, SHAPE, np.random.default_rng(0)))
        X = np.ones((32, *SHAPE), np.float32)
        predict(X)
        tracemalloc.start()
        predict(X)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(44) < 1.5 * peak(8)  # caches would take four times as much


def test_results_do_not_depend_on_the_number_of_threads():
    net = engine.compile(models.build("se_resnet8"))
    params, state, X, dY = inputs(net.net, SHAPE, 0, 16, np.float32)
    results = []
    for threads in (1, 2, 5):
        with small_blocks(threads):
            Y, cache = net.forward(params, state, X, train=True)
            dX, grads = net.backward(params, cache, dY)
            results.append({"Y": Y, "dX": dX, **dict(tree.leaves(grads))})
    for other in results[1:]:
        for name, array in results[0].items():
            np.testing.assert_array_equal(other[name], array, err_msg=name)


def test_compiled_network_is_stateless():
    net = engine.compile(models.build("se_resnet8"))
    params, state, X, _ = drawn(net.net)
    once = net.forward(params, state, X)[0]
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(other.forward(params, state, X)[0], once)


# ---------------------------------------------------------------------------------------------------------- keep


@pytest.mark.parametrize("off", [False, True], ids=["on", "off"])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", ["se_resnet8", "gate after relu", "no squeeze", "tanh gate", "custom layer"])
def test_every_part_can_be_kept(name, train, off, monkeypatch):
    """Keep gates and maps, one part at a time and all at once; the results stay the same."""
    net = NETWORKS[name]
    params, state, X, dY = drawn(net)
    Y, cache = net.forward(params, state, X, train=train)
    dX, grads = net.backward(params, cache, dY)
    monkeypatch.setenv("SE_NUMPY_ENGINE", "off" if off else "on")
    names = list(walk_parts(net))
    alone = names[train::4]  # some of each kind, not the same in training as in evaluation
    for keep in [names, *([part] for part in alone)]:
        compiled = engine.compile(net, keep=keep)
        Y_kept, cache = compiled.forward(params, state, X, train=train)
        dX_kept, grads_kept = compiled.backward(params, cache, dY)
        assert_same({"Y": Y_kept, "dX": dX_kept, "grads": grads_kept}, {"Y": Y, "dX": dX, "grads": grads})
        assert sorted(cache.kept) == sorted(keep)
        for part in keep:
            expected, gated = _alone(net, part, params, state, X, train)
            np.testing.assert_allclose(cache.kept[part], expected, rtol=1e-9, atol=1e-9, err_msg=part)
            assert (part in cache.kept_gradients) == (not gated)
        if not train:
            Y_kept, kept = compiled.predictor(params, state).with_kept(X)
            assert_same({"Y": Y_kept}, {"Y": Y})
            assert sorted(kept) == sorted(cache.kept)
            for part in keep:
                np.testing.assert_allclose(kept[part], cache.kept[part], rtol=1e-8, atol=1e-8)


def _alone(net, path, params, state, X, train):
    """Return the output of the part with this name, or its gates, by running the network up to it layer by layer."""
    first, _, rest = path.partition(".")
    for name, part in net.parts:
        here = params.get(name, {}), state.get(name, {})
        if name == first and rest:
            return _alone(part, rest, *here, X, train)
        Y, cache = part.forward(*here, X, train=train)
        if name == first:
            gated = isinstance(part, (SE, NoSqueeze))
            return (cache.s, True) if gated else (Y, False)
        if type(net).__name__ in ("Serial", "Negated"):
            X = Y
    raise KeyError(path)


def test_kept_gradients_equal_the_gradients_of_the_maps():
    """Compare with the backward pass of the rest of the network, run on the kept maps."""
    branch = serial(Conv(3), BatchNorm(), ReLU())
    net = serial(first=serial(Conv(4), BatchNorm(), ReLU()), second=serial(residual(branch, Conv(3)), ReLU()))
    params, state, X, dY = drawn(net)
    compiled = engine.compile(net, keep=["first", "second.sum1.branch.relu1"])
    _, cache = compiled.forward(params, state, X)
    compiled.backward(params, cache, dY)
    maps = cache.kept["first"]
    _, rest = net.parts[1][1].forward(params["second"], state["second"], maps)
    expected, _ = net.parts[1][1].backward(params["second"], rest, dY)
    np.testing.assert_allclose(cache.kept_gradients["first"], expected, atol=1e-10)
    assert cache.kept_gradients["second.sum1.branch.relu1"].shape == (5, *SHAPE[:2], 3)


def test_unknown_part_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match=r"no part 'stage1\.block1\.se' .*; did you mean 'stage1\.block1'\?"):
        engine.compile(models.build("se_resnet8"), keep=["stage1.block1.se"])


# ----------------------------------------------------------------------------------------------------------- off


def plain_step(net, params, state, X, dY):
    Y, cache = net.forward(params, state, X, train=True)
    dX, grads = net.backward(params, cache, dY)
    return {"Y": Y, "dX": dX, **dict(tree.leaves(grads))}


@pytest.mark.parametrize("way", ["context", "environment"])
def test_off_is_the_plain_network_bit_for_bit(way, monkeypatch):
    net = NETWORKS["se_resnet8"]
    params, state, X, dY = drawn(net, np.float32)
    compiled, expected = engine.compile(net), plain_step(net, params, state, X, dY)
    if way == "environment":
        monkeypatch.setenv("SE_NUMPY_ENGINE", "off")
        found = plain_step(compiled, params, state, X, dY)
    else:
        with engine.off():
            found = plain_step(compiled, params, state, X, dY)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_off_overrides_the_environment(monkeypatch):
    monkeypatch.setenv("SE_NUMPY_ENGINE", "on")
    assert engine.enabled()
    with engine.off():
        assert not engine.enabled()
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(engine.enabled()))
        thread.start()
        thread.join()
        assert elsewhere == [True]  # each thread has its own context
    assert engine.enabled()
    monkeypatch.setenv("SE_NUMPY_ENGINE", "perhaps")
    with pytest.raises(ValueError, match="SE_NUMPY_ENGINE is 'perhaps'; expected on or off"):
        engine.enabled()


def test_backward_works_after_the_engine_is_switched():
    net = NETWORKS["se_resnet8"]
    params, state, X, dY = drawn(net)
    compiled, expected = engine.compile(net), plain_step(net, params, state, X, dY)
    with engine.off():
        _, plain = compiled.forward(params, state, X, train=True)
        stats_off = compiled.batch_stats(plain)
    _, fast = compiled.forward(params, state, X, train=True)
    assert_same(stats_off, compiled.batch_stats(fast))
    assert_same({"dX": compiled.backward(params, plain, dY)[0]}, {"dX": expected["dX"]})
    with engine.off():
        assert_same({"dX": compiled.backward(params, fast, dY)[0]}, {"dX": expected["dX"]})


def test_off_applies_to_single_operations(monkeypatch):
    calls = []
    monkeypatch.setattr("se_numpy.engine.conv.convolve", lambda *a, **k: calls.append(a))
    X, V = np.ones((2, 5, 5, 3)), np.ones((3, 3, 3, 4))
    with engine.off():
        assert engine.conv2d(X, V).shape == (2, 3, 3, 4)
        engine.compile(Conv(4)).forward({"V": V}, {}, X)
    assert calls == []


# ------------------------------------------------------------------------------------------------------- explain


def test_explain_says_what_is_fused_and_why_the_rest_is_not():
    own = serial(FlippedConv(6), ShiftedNorm(), Doubled(), Flatten(), Linear(3))
    net = serial(Conv(6), BatchNorm(), ReLU(), residual(serial(Conv(6), BatchNorm(), SE(2))), ReLU(), last=own)
    text = engine.explain(net)
    for part, words in {
        "conv1": "Conv, BatchNorm, ReLU fused",
        "sum1": "sum and ReLU fused",
        "sum1.branch.conv1": "Conv, BatchNorm, SE fused",
        "last.flippedconv1": "a subclass of Conv may differ",
        "last.shiftednorm1": "a subclass of BatchNorm may differ",
        "last.doubled1": "the engine does not know this layer",
        "last.flatten1": "Flatten not fused: its own forward and backward",
        "last.linear1": "Linear not fused: the engine's implementation",
    }.items():
        (line,) = [line for line in text.splitlines() if line.split()[0] == part]
        assert words in line


def test_explain_a_single_se_block():
    assert "SE not fused: the engine's implementation" in engine.explain(SE(4))
    assert se.squeeze is not engine.squeeze


# ------------------------------------------------------------------------------------------------ invalid inputs

INVALID = {
    "int64": np.ones((2, 6, 6, 3), int),
    "float16": np.ones((2, 6, 6, 3), np.float16),
    "channels": np.ones((2, 6, 6, 4)),
    "one image": np.ones((6, 6, 3)),
    "a list": [[1.0]],
    "no image": np.ones((0, 6, 6, 3)),
}


@pytest.mark.parametrize("way", ["forward", "predictor"])
@pytest.mark.parametrize("name", INVALID)
def test_invalid_inputs_are_refused_like_in_the_book(name, way):
    net = serial(Conv(4), BatchNorm(), ReLU(), Conv(2))
    params, state = init(net, (6, 6, 3), np.random.default_rng(0), np.float64)
    with pytest.raises((ValueError, TypeError)) as book:
        net.forward(params, state, INVALID[name])
    compiled = engine.compile(net)
    call = compiled.predictor(params, state) if way == "predictor" else lambda X: compiled.forward(params, state, X)
    with pytest.raises(type(book.value)) as ours:
        call(INVALID[name])
    assert re.search(r"(X|V) (has|is a) .*expected|got list", str(ours.value))


def test_batch_stats_after_backward_are_refused():
    net = engine.compile(NETWORKS["se_resnet8"])
    params, state, X, dY = drawn(net.net)
    _, cache = net.forward(params, state, X, train=True)
    net.backward(params, cache, dY)
    with pytest.raises(ValueError, match="used by a backward pass"):
        net.batch_stats(cache)


@pytest.mark.parametrize(
    "net", [Conv(4), serial(Conv(4), ReLU()), residual(Conv(3), Conv(3, 1))], ids=["conv", "serial", "sum"]
)
def test_gradient_of_the_images_is_computed_only_on_request(net, monkeypatch):
    params, state, X, dY = drawn(net)
    compiled, requested = engine.compile(net), []
    convolve_backward = engine.functions.conv.convolve_backward
    monkeypatch.setattr(engine.functions.conv, "convolve_backward", lambda *a, input_gradient=True, **k: (
        requested.append(input_gradient), convolve_backward(*a, input_gradient=input_gradient, **k))[1])  # fmt: skip
    _, cache = compiled.forward(params, state, X)
    compiled.backward(params, cache, dY, input_gradient=False)
    assert requested
    assert not any(requested)


def test_predictor_with_keep_is_plain_while_the_engine_is_off(monkeypatch):
    net = NETWORKS["se_resnet8"]
    params, state, X, _ = drawn(net)
    names = [name for name, layer, _ in walk(net, SHAPE) if isinstance(layer, SE)]
    predict = engine.compile(net, keep=names).predictor(params, state)
    Y, kept = predict.with_kept(X)
    monkeypatch.setattr("se_numpy.engine.conv.convolve", None)
    with engine.off():
        Y_off, kept_off = predict.with_kept(X)
    assert_same({"Y": Y_off, **kept_off}, {"Y": Y, **kept})


# --------------------------------------------------------------------------------------------------- regressions


@pytest.mark.parametrize("end", [(), (ReLU(),), (SE(2),)], ids=len)
def test_convolution_with_a_bias_layer_is_trained(end):
    """Only a folded network replaces batch norm with a bias."""
    check_network(serial(Conv(5), Bias(), *end, Conv(4)))


@dataclass(frozen=True)
class Gain(Sum):
    """A combinator with a parameter of its own."""

    def parameters(self, shape):
        return {**super().parameters(shape), "alpha": Parameter((), 2.0)}

    def forward(self, params, state, X, *, train=False, rng=None):
        Y, cache = super().forward(params, state, X, train=train, rng=rng)
        return Y * params["alpha"], cache


def test_combinator_subclass_with_parameters_is_not_fused():
    net = serial(Conv(3), Gain((("a", serial(Conv(3), BatchNorm())), ("b", serial()))), Conv(2), BatchNorm())
    params, state, X, _ = drawn(net)
    Y = net.forward(params, state, X)[0]
    compiled = engine.compile(net)
    assert_same({"Y": compiled.forward(params, state, X)[0]}, {"Y": Y})
    assert_same({"Y": compiled.predictor(params, state)(X)}, {"Y": Y})
    with pytest.raises(ValueError, match=r"no part 'gain1\.a' whose output the engine can keep"):
        engine.compile(net, keep=["gain1.a"])


@dataclass(frozen=True)
class OtherCache(SE):
    """An SE block with a different kind of cache."""

    def forward(self, params, state, X, *, train=False, rng=None):
        Y, cache = super().forward(params, state, X, train=train, rng=rng)
        return Y, {"all": cache}


def test_unknown_cache_of_gates_is_refused():
    net = serial(Conv(4), OtherCache(2))
    params, state, X, _ = drawn(net)
    with pytest.raises(ValueError, match=r"OtherCache.* keeps no gates"):
        engine.compile(net, keep=["othercache1"]).forward(params, state, X)


def test_gates_of_a_single_block_are_kept_under_an_empty_name():
    params, state, X, _ = drawn(SE(1))
    _, cache = engine.compile(SE(1), keep=[""]).forward(params, state, X)
    assert cache.kept[""].shape == (5, 3)


@pytest.mark.parametrize("net", [serial(BatchNorm()), serial(Conv(3), BatchNorm(), ReLU()), ReLU()])
@pytest.mark.parametrize("bad", [np.ones((5, 11, 9, 3)), np.ones((5, 9, 11, 3), int), [1.0]])
def test_upstream_gradient_unlike_the_output_is_refused(net, bad):
    params, state, X, _ = drawn(net)
    compiled = engine.compile(net)
    _, cache = compiled.forward(params, state, X, train=True)
    with pytest.raises((ValueError, TypeError), match=r"^dY .*expected|got list"):
        compiled.backward(params, cache, bad)


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(
    "net", [BatchNorm(), serial(Conv(3), BatchNorm(), ReLU()), serial(Conv(3), BatchNorm(), SE(1))], ids=str
)
def test_batch_norm_refuses_to_train_on_one_value_per_channel(net, enabled, xp):
    params, state = (tree.map_leaves(xp.asarray, t) for t in init(net, (1, 1, 3), np.random.default_rng(0)))
    X, compiled = xp.asarray(np.ones((1, 1, 1, 3), np.float32)), engine.compile(net)
    with nullcontext() if enabled else engine.off():
        with pytest.raises(ValueError, match=r"BatchNorm got maps of shape \(1, 1, 1, 3\) in training"):
            compiled.forward(params, state, X, train=True)
        assert compiled.forward(params, state, X)[0].shape == (1, 1, 1, 3)
    ones = xp.asarray(np.ones(3, np.float32))
    np.testing.assert_array_equal(to_host(engine.batch_norm(X, ones, 4 * ones)), np.full((1, 1, 1, 3), 4))


@pytest.mark.parametrize("net", [serial(BatchNorm()), serial(Conv(3), BatchNorm(), ReLU())], ids=["bn", "conv"])
def test_parameters_of_the_wrong_size_are_refused(net):
    params, state, X, _ = drawn(net)
    params["batchnorm1"]["gamma"] = np.ones(1)
    with pytest.raises(ValueError, match=r"gamma has shape \(1,\); expected \(C,\) = \(3,\)"):
        engine.compile(net).forward(params, state, X, train=True)


def test_keep_is_a_list_of_names():
    with pytest.raises(TypeError, match=r"keep is 'relu1'; expected a list of names"):
        engine.compile(serial(ReLU()), keep="relu1")
    with pytest.raises(ValueError, match=r"no part 'relu1' .*; expected a dotted name"):
        engine.compile(ReLU(), keep=["relu1"])


def test_errors_show_the_shape_of_the_whole_array():
    x = np.ones((64, 64, 64, 8))
    with pytest.raises(ValueError, match=r"does not fit into images x of 64x64"):
        engine.max_pool2d(x, kernel=99)
    with pytest.raises(ValueError, match=r"dy has shape .*64, 31, 31, 8.* = \(64, 32, 32, 8\)"):
        engine.max_pool2d_backward(np.ones((64, 31, 31, 8)), x, kernel=2)


def test_large_gradients_do_not_overflow():
    dy, x = np.full((4, 5), 1e30, np.float32), np.ones((4, 5), np.float32)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(engine.relu_backward(dy, x), dy)


def test_branches_of_different_shapes_are_refused():
    net = residual(Conv(3, padding=0))
    params, state = {"branch": {"V": np.ones((3, 3, 3, 3))}}, {}
    for forward in (net.forward, engine.compile(net).forward):
        with pytest.raises(ValueError, match="the parts of a sum return the shapes"):
            forward(params, state, np.ones((2, 3, 3, 3)))
