"""Elementary layers: settings, shapes that do not fit, dropout, and running statistics."""

import numpy as np
import pytest

from se_numpy import ops
from se_numpy.layers import (
    SE,
    BatchNorm,
    Bias,
    ChannelShuffle,
    Conv,
    Dropout,
    GlobalAveragePool,
    Linear,
    NoSqueeze,
    Pool,
    Serial,
    SEVariant,
    init,
    residual,
    serial,
)

SHAPE = (7, 6, 4)


def test_dropout_needs_a_generator_only_in_training():
    net, X = serial(Dropout(0.4)), np.ones((50, 40))
    Y, cache = net.forward({}, {}, X)
    assert Y is X
    np.testing.assert_array_equal(net.backward({}, cache, X)[0], X)
    with pytest.raises(ValueError, match="rng="):
        net.forward({}, {}, X, train=True)
    Y, cache = net.forward({}, {}, X, train=True, rng=np.random.default_rng(0))
    assert abs((Y == 0).mean() - 0.4) < 0.05
    np.testing.assert_array_equal(net.backward({}, cache, X)[0], Y)


def test_settings_are_passed_to_the_equations():
    X = np.random.default_rng(0).standard_normal((3, *SHAPE)) + 2
    net = BatchNorm(eps=0.5)
    params, state = init(net, SHAPE, np.random.default_rng(0), np.float64)
    Y, cache = net.forward(params, state, X, train=True)
    np.testing.assert_allclose(Y, (X - X.mean((0, 1, 2))) / np.sqrt(X.var((0, 1, 2)) + 0.5))
    net.update_running(state, cache, momentum=0.25)
    np.testing.assert_allclose(state["mean"], 0.25 * X.mean((0, 1, 2)))


@pytest.mark.parametrize("shape", [(1, 1, 1, 4), (1, 4)])
def test_batch_norm_cannot_be_trained_on_one_value_per_channel(shape):
    """The layer refuses this, because it would return beta for any input; the equation and evaluation still work."""
    X, net = np.random.default_rng(0).standard_normal(shape), BatchNorm()
    params, state = init(net, shape[1:], np.random.default_rng(0), np.float64)
    params["beta"] += 3
    with pytest.raises(ValueError, match=r"maps of shape \(1, .*4\) in training, 1 value .*; expected at least 2"):
        net.forward(params, state, X, train=True)
    np.testing.assert_array_equal(ops.batch_norm(X, params["gamma"], params["beta"]), np.full(shape, 3.0))
    np.testing.assert_allclose(net.forward(params, state, X)[0], X / np.sqrt(1 + ops.norm.EPS) + 3)
    net.forward(params, state, np.concatenate([X, X]), train=True)


def test_running_statistics_cannot_be_updated_from_an_evaluation():
    params, state = init(BatchNorm(), SHAPE, np.random.default_rng(0))
    _, cache = BatchNorm().forward(params, state, np.ones((2, *SHAPE), np.float32))
    with pytest.raises(ValueError, match="expected train=True"):
        BatchNorm().update_running(state, cache)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (Conv(3, 7, padding=0), (3, 9, 3), "expected at least 7 pixels"),
        (Pool("max", 4), (3, 3, 3), "expected at least 4 pixels"),
        (Conv(3), (0, 3, 3), r"shape\[0\] is 0; expected a whole number, at least 1"),
        (Linear(3), (4, 4, 3), "expected vectors"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_at_initialisation(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        init(layer, shape, np.random.default_rng(0))


@pytest.mark.parametrize("settings", [{"C": 0}, {"C": 8.0}, {"C": 3, "k": -1}, {"C": 3, "groups": 0}])
def test_settings_of_a_convolution_must_be_positive_integers(settings):
    with pytest.raises((TypeError, ValueError), match=r"of Conv is .*; expected a whole number, at least 1"):
        Conv(**settings)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: Pool("median"), "expected 'max' or 'avg'"),
        (lambda: Pool("avg", ceil=True), "use ceil=True only with 'max'"),
        (lambda: Dropout(1.5), "p of Dropout is 1.5; expected the probability"),
    ],
)
def test_settings_are_checked_when_a_layer_is_made(layer, message):
    with pytest.raises(ValueError, match=message):
        layer()


def test_a_bias_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"b has shape \(3,\); expected \(C,\) = \(1,\)"):
        Bias().forward({"b": np.ones(3)}, {}, np.ones((2, 4, 5, 1)))


NOT_COUNTS = [-1, 0, 2.5, float("nan"), float("inf"), True, "3", (3, 3), None]


@pytest.mark.parametrize("value", NOT_COUNTS, ids=repr)
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("C of Conv", Conv), ("k of Conv", lambda n: Conv(4, n)), ("stride of Conv", lambda n: Conv(4, stride=n)),
        ("groups of Conv", lambda n: Conv(4, groups=n)), ("K of Linear", Linear),
        ("k of Pool", lambda n: Pool("max", n)), ("groups of ChannelShuffle", ChannelShuffle),
    ],
)  # fmt: skip
def test_sizes_of_layers_are_positive_whole_numbers(name, make, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name} is .*; expected a whole number, at least 1$"):
        make(value)


@pytest.mark.parametrize(("make", "values", "message"), [
    (lambda v: Linear(3, v), (0, 1, "no", None), "^bias of Linear is .*; expected True or False"),
    (lambda v: SE(4, v), (0, 1, "no", None), "^bias of SE is .*; expected True or False"),
    (lambda v: Pool("max", ceil=v), (0, 1, "no", None), "^ceil of Pool is .*; expected True or False"),
    (SE, NOT_COUNTS[:2] + NOT_COUNTS[3:], "^reduction of SE is .*; expected a positive number"),
    (NoSqueeze, NOT_COUNTS[:2] + NOT_COUNTS[3:], "^reduction of NoSqueeze is .*; expected a positive number"),
    (SEVariant, NOT_COUNTS[:2] + NOT_COUNTS[3:], "^reduction of SEVariant is .*; expected a positive number"),
    (lambda v: BatchNorm(v), (-1, float("nan"), float("inf"), True, "3", None), "^eps of BatchNorm is .*; expected a"),
    (Dropout, (-0.1, 1, float("nan"), True, False, "3", None), "^p of Dropout is .*; expected the probability"),
    (residual, (3, None, "x"), "^branch of Sum is .*; expected a layer, such as"),
    (Serial, (3, None, (3,), [("a", Linear(3))]), "^parts of Serial is .*; expected a tuple of .name, layer. pairs"),
])  # fmt: skip
def test_other_settings_of_layers_are_checked(make, values, message):
    for value in values:
        with pytest.raises((TypeError, ValueError), match=message):
            make(value)


@pytest.mark.parametrize("shape", [3, None, "abc", (0, 4, 3), (4, -4, 3), (4.0, 4, 3), (4, 4, True), (4, 4, 0)])
def test_shapes_are_whole_numbers(shape):
    with pytest.raises((TypeError, ValueError), match=r"^shape(\[\d\])? is .*; expected (a whole number|the sizes)"):
        init(serial(Conv(2), GlobalAveragePool(), Linear(2)), shape, np.random.default_rng(0))


def test_parameters_are_float32_or_float64():
    for dtype in (np.float16, int):
        with pytest.raises(ValueError, match=r"dtype is .*; expected float32 or float64"):
            init(Linear(2), (3,), np.random.default_rng(0), dtype)
