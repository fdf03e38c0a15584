"""check_layer: every layer of the library satisfies the contract, and every kind of broken promise is named."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from se_numpy.arrays import array_module
from se_numpy.layer_check import LayerError, check_layer
from se_numpy.layers import (
    SE,
    BatchNorm,
    Bias,
    ChannelShuffle,
    Conv,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    Linear,
    NoSqueeze,
    Parameter,
    Pool,
    ReLU,
    SEVariant,
    concat,
    residual,
    serial,
)

IMAGES = (5, 4, 6)
BRANCH = serial(Conv(6), BatchNorm(), SE(3))
LAYERS = {
    "batch norm": BatchNorm(),
    "bias": Bias(),
    "channel shuffle": ChannelShuffle(3),
    "convolution": Conv(4, stride=2),
    "depthwise convolution": Conv(6, groups=6),
    "dropout": Dropout(0.4),
    "flatten": Flatten(),
    "global average pool": GlobalAveragePool(),
    "linear": Linear(3),
    "no squeeze": NoSqueeze(2),
    "average pool": Pool("avg", 2),
    "max pool": Pool("max", 3, 2, 1),
    "relu": ReLU(),
    "se": SE(2, bias=True),
    "se variant": SEVariant(2, gate="tanh", squeeze="max"),
    "serial": BRANCH,
    "residual": residual(BRANCH),
    "concat": concat(Conv(2), BRANCH),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_every_layer_of_the_library_keeps_the_contract(layer):
    found = check_layer(layer, (7,) if isinstance(layer, Linear) else IMAGES)
    assert all(check.passed is not False for check in found)
    skipped = [check.name for check in found if check.passed is None]
    tracks = bool(layer.statistics(IMAGES))
    assert skipped == ([] if tracks else ["batch statistics"])


@dataclass(frozen=True)
class Scaled(Layer):
    """y = a x + b for each channel; the faulty layers below override one method each."""

    factor: float = 1.0

    def parameters(self, shape):
        return {"a": Parameter(shape[-1:], mean=1.0), "b": Parameter(shape[-1:])}

    def forward(self, params, state, X, *, train=False, rng=None):
        return self.factor * params["a"] * X + params["b"], X

    def backward(self, params, cache, dY):
        axes = tuple(range(dY.ndim - 1))
        return self.factor * params["a"] * dY, {"a": self.factor * (dY * cache).sum(axes), "b": dY.sum(axes)}


class NotADataclass(Scaled):
    def __init__(self):
        object.__setattr__(self, "factor", 2.0)

    def __eq__(self, other):
        return self is other

    __hash__ = object.__hash__


@dataclass(frozen=True)
class HoldsALambda(Scaled):
    f: object = field(default_factory=lambda: lambda x: x)


class WrongDeclaration(Scaled):
    def statistics(self, shape):
        return {"mean": np.zeros(shape[-1:])}


class WrongShape(Scaled):
    def output_shape(self, shape):
        return (*shape[:-1], shape[-1] + 1)


class MissingGradient(Scaled):
    def backward(self, params, cache, dY):
        dX, grads = super().backward(params, cache, dY)
        return dX, {"a": grads["a"]}


class KeptAxes(Scaled):
    def backward(self, params, cache, dY):
        dX, grads = super().backward(params, cache, dY)
        return dX, {**grads, "b": grads["b"][None]}


class AlwaysDouble(Scaled):
    def forward(self, params, state, X, *, train=False, rng=None):
        Y, cache = super().forward(params, state, X)
        return Y.astype(np.float64), cache


class WritesToInput(Scaled):
    def forward(self, params, state, X, *, train=False, rng=None):
        Y, cache = super().forward(params, state, X)
        X += 1
        return Y, cache - 1


class WritesToUpstream(Scaled):
    def backward(self, params, cache, dY):
        result = super().backward(params, cache, dY)
        dY *= 2
        return result


class OwnRandomNumbers(Scaled):
    def forward(self, params, state, X, *, train=False, rng=None):
        Y, cache = super().forward(params, state, X)
        return Y + (np.random.default_rng().random() if train else 0), cache


class RemembersTheLastInput(Scaled):
    last: list = []  # noqa: RUF012 (the fault)

    def forward(self, params, state, X, *, train=False, rng=None):
        self.last[:] = [X]
        return super().forward(params, state, X)[0], None

    def backward(self, params, cache, dY):
        return super().backward(params, self.last[0], dY)


class WrongGradient(Scaled):
    def backward(self, params, cache, dY):
        dX, grads = super().backward(params, cache, dY)
        return dX, {**grads, "a": 1.001 * grads["a"]}


class WrongInTrainingOnly(Scaled):
    def forward(self, params, state, X, *, train=False, rng=None):
        return super().forward(params, state, X)[0] * (2 if train else 1), X


class WrongStatistics(BatchNorm):
    def update_running(self, state, cache, *, momentum=0.1):
        super().update_running(state, cache, momentum=2 * momentum)


class StatisticsWithoutVariance(BatchNorm):
    def batch_stats(self, cache):
        return {"mean": super().batch_stats(cache)["mean"]}


class MakesHostArrays(Scaled):
    def forward(self, params, state, X, *, train=False, rng=None):
        return super().forward(params, state, X)[0] + np.zeros(X.shape[-1:], X.dtype), X


class CallsNumPy(Scaled):
    def forward(self, params, state, X, *, train=False, rng=None):
        return np.add(self.factor * params["a"] * X, params["b"]), np.where(X == X, X, 0)


FAULTY = {
    NotADataclass(): "is a value",
    HoldsALambda(): "can be pickled",
    WrongShape(): "shapes",
    MissingGradient(): "shapes",
    KeptAxes(): "shapes",
    AlwaysDouble(): "dtypes",
    WritesToInput(): "writes to no argument",
    WritesToUpstream(): "writes to no argument",
    OwnRandomNumbers(): "is repeatable",
    RemembersTheLastInput(): "independent caches",
    WrongGradient(): "gradients in training",
    WrongInTrainingOnly(): "gradients in training",
    WrongStatistics(): "batch statistics",
    StatisticsWithoutVariance(): "batch statistics",
    MakesHostArrays(): "CuPy",
    CallsNumPy(): "CuPy",
}


def test_the_sound_layer_that_the_faulty_ones_are_made_of_passes():
    assert not [check for check in check_layer(Scaled(1.5), IMAGES) if check.passed is False]


@pytest.mark.parametrize(("layer", "promise"), FAULTY.items(), ids=[type(layer).__name__ for layer in FAULTY])
def test_a_broken_promise_is_named(layer, promise):
    with pytest.raises(LayerError, match=rf"(?s)breaks \d+ promises? of a layer.*\n  .*{promise}: "):
        check_layer(layer, IMAGES)


def test_declarations_are_checked_first():
    with pytest.raises(LayerError, match=r"statistics\(.*\) has 'mean' of type ndarray; expected a .*Parameter"):
        check_layer(WrongDeclaration(), IMAGES)


def test_all_broken_promises_are_listed():
    with pytest.raises(LayerError, match="breaks 2 promises") as caught:
        check_layer(WrongGradient(), IMAGES)
    assert "gradients in training" in str(caught.value)
    assert "gradients in evaluation" in str(caught.value)
    assert "argument 1 holds all parameters" in str(caught.value)


def test_inputs_can_be_given():
    @dataclass(frozen=True)
    class Log(Layer):
        def forward(self, params, state, X, *, train=False, rng=None):
            return array_module(X).log(X), X

        def backward(self, params, cache, dY):
            return dY / cache, {}

    with pytest.raises(LayerError):
        check_layer(Log(), (3, 2))
    positive = 1 + np.random.default_rng(0).random((4, 3, 2))
    with pytest.raises(LayerError, match="breaks 1 promise of a layer"):  # a local class cannot be pickled
        check_layer(Log(), (3, 2), X=positive)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ((ReLU, (3,)), TypeError, "layer is a type; expected an instance"),
    ((ReLU(), [3]), TypeError, r"shape is \[3\]; expected integers, without the batch size"),
    ((Conv(3), (3,)), ValueError, "expected images"),
])  # fmt: skip
def test_wrong_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        check_layer(*arguments)


def test_inputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"X has shape \(1, 3\); expected \(N, 3\) with N at least 2"):
        check_layer(ReLU(), (3,), X=np.ones((1, 3)))
