"""The contract: the engine computes the same numbers as the book.

``NETWORKS`` and ``draw_network`` provide networks, ``OPERATIONS`` lists single operations; ``check_network`` and
``check_operation`` raise AssertionError if engine and book differ. In float64 they agree to within rounding. In float32
the engine is compared with the book in float64: its error may be up to FLOAT32 times eps times the largest value or, to
allow for cancellation, up to BOOK32 times the error of the book in float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from geometries import drawn as drawn_geometries
from pairs import PAIRS, Rng

import se_numpy
from se_numpy import engine, models, tree
from se_numpy.arrays import to_host
from se_numpy.engine import matmul, parallel
from se_numpy.engine.cuda import reductions
from se_numpy.layers import (
    SE,
    BatchNorm,
    Bias,
    ChannelShuffle,
    Combinator,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    Linear,
    NoSqueeze,
    Pool,
    ReLU,
    Serial,
    SEVariant,
    concat,
    init,
    residual,
    serial,
)
from se_numpy.layers.combinators import Sum

FLOAT64 = 1e-9  # relative to the largest value in an array; batch norms inside a network divide by small variances
FLOAT32 = 200  # in units of eps, also relative to the largest value: 2.4e-5
BOOK32 = 32
SHAPE = (9, 11, 3)


def tail() -> tuple[Layer, ...]:
    return GlobalAveragePool(), Linear(5)


def branch(*more: Layer) -> Serial:
    return serial(Conv(6), BatchNorm(), ReLU(), Conv(6), BatchNorm(), *more)


# -------------------------------------------------------------------------------------------- user-defined layers


@dataclass(frozen=True)
class Doubled(Layer):
    """A layer that the engine does not know."""

    def forward(self, params, state, X, *, train=False, rng=None):
        return X * 2, None

    def backward(self, params, cache, dY):
        return dY * 2, {}


@dataclass(frozen=True)
class FlippedConv(Conv):
    """A subclass that overrides forward and backward."""

    def forward(self, params, state, X, *, train=False, rng=None):
        return super().forward({"V": params["V"][::-1, ::-1]}, state, X, train=train, rng=rng)

    def backward(self, params, cache, dY):
        dX, grads = super().backward({"V": params["V"][::-1, ::-1]}, cache, dY)
        return dX, {"V": grads["V"][::-1, ::-1]}


@dataclass(frozen=True)
class ShiftedNorm(BatchNorm):
    """A batch norm that adds 3."""

    def forward(self, params, state, X, *, train=False, rng=None):
        Y, cache = super().forward(params, state, X, train=train, rng=rng)
        return Y + 3, cache


@dataclass(frozen=True)
class Negated(Serial):
    """A combinator that overrides forward and backward."""

    def forward(self, params, state, X, *, train=False, rng=None):
        Y, cache = super().forward(params, state, X, train=train, rng=rng)
        return -Y, cache

    def backward(self, params, cache, dY):
        return super().backward(params, cache, -dY)


# --------------------------------------------------------------------------------------------------- named networks

NETWORKS: dict[str, Layer] = {
    "se_resnet8": models.build("se_resnet8"),
    "resnet14": models.build("resnet14"),
    "biases": models.build("se_resnet8", bias=True),
    "no batch norm": serial(Conv(6), ReLU(), Conv(4), *tail()),
    "norm first": serial(BatchNorm(), ReLU(), Conv(6), residual(serial(BatchNorm(), ReLU(), Conv(6))), *tail()),
    "gate after relu": serial(Conv(6), BatchNorm(), ReLU(), SE(2), Conv(4), BatchNorm(), *tail()),
    "gate before convolution": serial(Conv(6), BatchNorm(), residual(serial(SE(2), branch())), ReLU(), *tail()),
    "convolution after gate": serial(Conv(6), BatchNorm(), SE(2), Conv(4), BatchNorm(), ReLU(), *tail()),
    "gate with biases": serial(Conv(6), BatchNorm(), SE(2, bias=True), Conv(4), BatchNorm(), *tail()),
    "gate on the shortcut": serial(
        Conv(6), residual(branch(), serial(Conv(6, 1), BatchNorm(), SE(3))), ReLU(), *tail()
    ),
    "gate after the sum": serial(Conv(6), residual(branch()), ReLU(), SE(2), residual(branch()), ReLU(), *tail()),
    "branch ends in relu": serial(Conv(6), residual(serial(Conv(6), BatchNorm(), ReLU())), ReLU(), *tail()),
    "single-layer branches": serial(Conv(6), residual(Conv(6), BatchNorm()), ReLU(), *tail()),
    "three branches": serial(Conv(6), Sum((("a", branch()), ("b", serial()), ("c", branch(SE(2))))), ReLU(), *tail()),
    "sum of one branch": serial(Conv(6), Sum((("a", serial(Conv(6), BatchNorm(), ReLU())),)), Conv(4), *tail()),
    "nested sums": serial(Conv(6), residual(serial(residual(branch()), ReLU(), branch())), ReLU(), *tail()),
    "sums in both branches": serial(
        Conv(6),
        residual(branch()),
        ReLU(),
        residual(serial(residual(branch()), ReLU()), serial(branch(), ReLU())),
        ReLU(),
    ),
    "nested blocks": serial(Conv(6), *(serial(serial(residual(branch(SE(2))), ReLU())) for _ in "123"), *tail()),
    "two identities": serial(Conv(6), residual(serial(), serial()), ReLU(), *tail()),
    "sum without relu": serial(Conv(6), BatchNorm(), ReLU(), residual(branch()), Conv(4), *tail()),
    "concat": serial(Conv(6), Concat((("a", branch()), ("b", branch(SE(2))))), ReLU(), *tail()),
    "concat after relu": serial(residual(branch(), Conv(6)), ReLU(), concat(branch(), serial(), Pool("max", 3, 1, 1))),
    "pooling": serial(Conv(6), BatchNorm(), ReLU(), Pool(), Conv(5, stride=2), BatchNorm(), ReLU(), *tail()),
    "pooling past the edge": serial(Conv(6), Pool("max", 3, 2, ceil=True), Pool("avg", 2), *tail()),
    "depthwise": serial(Conv(6), BatchNorm(), ReLU(), Conv(6, groups=6), BatchNorm(), ReLU(), Conv(8, 1), *tail()),
    "strided depthwise": serial(
        Conv(6),
        BatchNorm(),
        ReLU(),
        Conv(6, 3, stride=2, groups=6),
        BatchNorm(),
        ReLU(),
        Conv(6, 5, groups=6),
        Conv(6, 2, stride=3, padding=0, groups=6),
        *tail(),
    ),
    "narrow groups": serial(
        Conv(12), BatchNorm(), ReLU(), Conv(12, groups=3), BatchNorm(), SE(2), Conv(6, stride=2, groups=6), *tail()
    ),
    "channel shuffle": serial(
        Conv(6, 1, groups=3), BatchNorm(), ChannelShuffle(3), Conv(6, 1, groups=2), Flatten(), Linear(4)
    ),
    "tanh gate": models.build("se_resnet8", gate="tanh"),
    "relu gate": models.build("se_resnet8", gate="relu", bias=True),
    "max squeeze": models.build("se_resnet8", squeeze="max"),
    "no squeeze": models.build("se_resnet8", squeeze="none"),
    "placement pre": models.build("se_resnet8", placement="pre"),
    "placement post": models.build("se_resnet8", placement="post", gate="tanh"),
    "placement 3x3": models.build("se_resnet8", placement="3x3"),
    "placement identity": models.build("se_resnet8", placement="identity", squeeze="max"),
    "small_resnext": models.small_resnext(11, cardinality=2, width=2, reduction=2),
    "small_inception": models.small_inception(width=0.25, reduction=2),
    "mobilenet": models.mobilenet(width=1 / 16, reduction=2, squeeze="none"),
    "strided": serial(Conv(6, 5, stride=3), BatchNorm(), ReLU(), Conv(4, 2, padding=0), BatchNorm(), ReLU(), *tail()),
    "dropout": serial(Conv(6), BatchNorm(), ReLU(), Dropout(0.3), Conv(4), Flatten(), Dropout(0.5), Linear(5)),
    # tops that are not a Serial
    "top: residual": residual(serial(Conv(3), BatchNorm())),
    "top: residual of gates": residual(serial(Conv(3), BatchNorm(), SE(1)), Conv(3, 1)),
    "top: concat": concat(serial(Conv(4), BatchNorm(), ReLU()), Conv(3, 1), serial()),
    "top: Conv": Conv(4, 3, stride=2),
    "top: BatchNorm": BatchNorm(),
    "top: ReLU": ReLU(),
    "top: SE": SE(1, bias=True),
    "top: SEVariant": SEVariant(1, gate="tanh", squeeze="max"),
    "top: NoSqueeze": NoSqueeze(1),
    "top: Pool": Pool("max", 3, 2, 1),
    "top: Bias": Bias(),
    "top: GlobalAveragePool": GlobalAveragePool(),
    "top: empty serial": serial(),
    # user-defined layers
    "custom layer": serial(Conv(6), BatchNorm(), Doubled(), ReLU(), residual(Doubled()), ReLU(), Conv(4), *tail()),
    "top: custom layer": Doubled(),
    "conv subclass": serial(FlippedConv(6), BatchNorm(), ReLU(), Conv(4), *tail()),
    "batch norm subclass": serial(Conv(6), ShiftedNorm(), ReLU(), Conv(4), *tail()),
    "serial subclass": serial(Conv(6), Negated(branch().parts), ReLU(), *tail()),
}
VECTORS: dict[str, Layer] = {  # networks of vectors (D,)
    "residual of vectors": residual(Linear(4), Linear(4)),
    "perceptron": serial(Linear(7), BatchNorm(), ReLU(), residual(serial(Linear(7), ReLU())), ReLU(), Linear(3)),
    "top: Linear": Linear(3),
    "top: Dropout": Dropout(0.4),
    "bias of vectors": serial(Bias(), Linear(3)),
}


def draw_network(chance: Rng) -> Layer:
    """Return a random network with everything that the engine fuses, and some layers that it does not."""
    layers, C = [], 2
    for _ in range(chance.integer(1, 3)):
        more, C = _unit(chance, C, depth=2)
        layers += more
    end = [GlobalAveragePool(), Linear(3)] if chance.integer(0, 1) else []
    return serial(*layers, *end)


def _unit(chance: Rng, C: int, depth: int) -> tuple[list[Layer], int]:
    """Return layers for maps of C channels, and the number of channels of their output."""
    kind = chance.integer(0, 6) if depth else 0
    if kind <= 1:
        kernel, stride, filters = chance.integer(1, 3), chance.integer(1, 2), chance.integer(2, 5)
        conv = Conv(filters, kernel, stride, chance.integer(kernel // 2, kernel // 2 + 1))
        ends: list[list[Layer]] = [
            [BatchNorm()], [BatchNorm(), ReLU()], [BatchNorm(), SE(2)], [ReLU()], [], [SE(1)],
            [BatchNorm(), SEVariant(2, gate="tanh")], [BatchNorm(), ReLU(), SE(2, bias=True)],
        ]  # fmt: skip
        return [conv, *ends[chance.integer(0, len(ends) - 1)]], filters
    if kind == 2:
        return [Pool(["max", "avg"][chance.integer(0, 1)], 2, 1)], C
    if kind == 3:
        first, C1 = _same_size(chance, C)
        second, C2 = _same_size(chance, C)
        return [concat(first, serial(), second)], C1 + C + C2
    inside, _ = _same_size(chance, C)
    closing = [BatchNorm(), *([SE(1)] if kind == 4 else [ReLU()] if kind == 5 else [])]
    shortcut = serial() if chance.integer(0, 1) else serial(Conv(C, 1), BatchNorm())
    return [residual(serial(inside, Conv(C, 1), *closing), shortcut), *([ReLU()] if chance.integer(0, 2) else [])], C


def _same_size(chance: Rng, C: int) -> tuple[Serial, int]:
    """Return one or two convolutions that keep the image size, each possibly with batch norm and ReLU."""
    layers: list[Layer] = []
    for _ in range(chance.integer(1, 2)):
        C = chance.integer(2, 4)
        layers += [Conv(C, 3)]
        layers += [BatchNorm()] if chance.integer(0, 3) else []
        layers += [ReLU()] if chance.integer(0, 1) else []
    return serial(*layers), C


# ------------------------------------------------------------------------------------------------------- comparisons


def inputs(net: Layer, shape: tuple[int, ...], seed: int, N: int, dtype: Any) -> tuple[Any, Any, Any, Any]:
    """Return parameters, statistics, a batch and an upstream gradient, none of them at their initial values."""
    rng = np.random.default_rng(seed)
    params, state = init(net, shape, rng, np.float64)
    params = tree.map_leaves(lambda p: (p + 0.3 * rng.standard_normal(p.shape)).astype(dtype), params)
    state = tree.map_leaves(lambda p: (p + 0.5 * rng.random(p.shape)).astype(dtype), state)
    X = rng.standard_normal((N, *shape)).astype(dtype)
    return params, state, X, rng.standard_normal((N, *net.output_shape(shape))).astype(dtype)


def check_network(
    net: Layer, shape: tuple[int, ...] = SHAPE, *, xp: Any = np, dtype: Any = np.float64, train: bool = True,
    seed: int = 0, N: int = 5,
) -> None:  # fmt: skip
    """Compare forward, backward, batch statistics and, in evaluation, the predictor with the plain network."""
    params, state, X, dY = inputs(net, shape, seed, N, dtype)

    def book(dtype: Any) -> dict[str, Any]:
        p, s = (tree.map_leaves(lambda a: a.astype(dtype), part) for part in (params, state))
        Y, cache = net.forward(p, s, X.astype(dtype), train=train, rng=np.random.default_rng(seed))
        stats = net.batch_stats(cache) if train else {}
        dX, grads = net.backward(p, cache, dY.astype(dtype))
        return {"Y": Y, "dX": dX, "grads": grads, "stats": stats}

    expected, narrow = book(np.float64), book(dtype)
    on_device = [tree.map_leaves(xp.asarray, part) for part in (params, state)]
    X_, dY_ = xp.asarray(X), xp.asarray(dY)
    compiled = engine.compile(net)
    Y, cache = compiled.forward(*on_device, X_, train=train, rng=np.random.default_rng(seed))
    stats = compiled.batch_stats(cache) if train else {}
    dX, grads = compiled.backward(on_device[0], cache, dY_)
    same({"Y": Y, "dX": dX, "grads": grads, "stats": stats}, expected, narrow)
    _, cache = compiled.forward(*on_device, X_, train=train, rng=np.random.default_rng(seed))
    none, grads = compiled.backward(on_device[0], cache, dY_, input_gradient=False)
    assert none is None
    same({"grads": grads}, {"grads": expected["grads"]}, narrow)
    if not train:
        same({"Y": compiled.predictor(*on_device)(X_)}, {"Y": expected["Y"]}, narrow)
    for before, now in zip((params, state, X, dY), (*on_device, X_, dY_), strict=True):  # no argument was modified
        for (_, a), (_, b) in zip(tree.leaves({"": before}), tree.leaves({"": now}), strict=True):
            np.testing.assert_array_equal(to_host(b), a)


def same(found: Any, expected: Any, narrow: Any) -> None:
    """Assert that two trees are equal; ``narrow`` holds the book's values in the dtype of ``found``."""
    found, expected, narrow = (dict(tree.leaves(results)) for results in (found, expected, narrow))
    assert list(found) == list(expected)
    for name, array in expected.items():
        got, own = to_host(found[name]), narrow[name]
        assert got.dtype == own.dtype, f"{name}: {got.dtype}"
        assert got.shape == array.shape, name
        scale = max(np.abs(array).max(initial=0), 1e-2)
        if own.dtype == np.float64:
            allowed = FLOAT64 * scale
        else:
            allowed = max(FLOAT32 * np.finfo(own.dtype).eps * scale, BOOK32 * np.abs(own - array).max(initial=0))
        np.testing.assert_allclose(got, array, rtol=0, atol=allowed, err_msg=name)


OPERATIONS = [name for name in engine.FUNCTIONS if not name.endswith("_backward")]
PAIR_OF = {"conv2d": ("conv2d", "depthwise conv2d")}  # other operations are named like their pair in pairs.py


def check_operation(name: str, seed: int, *, xp: Any = np, dtype: Any = np.float64) -> None:
    """Compare an operation and its backward, if there is one, with the book on a random case from pairs.py."""
    for pair in PAIR_OF.get(name, (name,)):
        args, hyper = PAIRS[pair].case(Rng(seed))
        compare(name, args, hyper, xp, dtype, seed)


def check_geometries(seed: int, number: int, *, xp: Any = np, dtype: Any = np.float64) -> None:
    """Compare convolutions of random geometries with the book."""
    for geometry in drawn_geometries(seed, number):
        X, V, _ = geometry.arrays()
        compare("conv2d", (X, V), geometry.hyper, xp, dtype, geometry.seed)


def compare(name: str, args: tuple[Any, ...], hyper: dict[str, Any], xp: Any, dtype: Any, seed: int) -> None:
    """Compare engine.NAME and engine.NAME_backward with the book on these arguments."""
    args = tuple(a.astype(dtype) if a.dtype.kind == "f" else a for a in args)
    wide = tuple(a.astype(np.float64) if a.dtype.kind == "f" else a for a in args)
    on_device = tuple(map(xp.asarray, args))
    Y, narrow = (getattr(se_numpy, name)(*a, **hyper) for a in (wide, args))
    same(named(getattr(engine, name)(*on_device, **hyper)), named(Y), named(narrow))
    backward = f"{name}_backward"
    if backward in engine.FUNCTIONS:
        dYs = [np.random.default_rng([seed, 1]).standard_normal(np.shape(y)).astype(dtype) for y in named(Y).values()]
        expected = getattr(se_numpy, backward)(*(dY.astype(np.float64) for dY in dYs), *wide, **hyper)
        narrow = getattr(se_numpy, backward)(*dYs, *args, **hyper)
        found = getattr(engine, backward)(*map(xp.asarray, dYs), *on_device, **hyper)
        same(named(found), named(expected), named(narrow))
    for before, now in zip(args, on_device, strict=True):
        np.testing.assert_array_equal(to_host(now), before)


def named(results: Any) -> dict[str, Any]:
    parts = results if isinstance(results, tuple) else (results,)
    return {str(k): part for k, part in enumerate(parts)}


@contextmanager
def small_blocks(threads: int = 2) -> Iterator[None]:
    """Use blocks of at most one image, bands of rows and windows of one image at a time, on several threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SE_NUMPY_THREADS", str(threads))
        for name, size in {"SMALL": 0, "BLOCK_BYTES": 2000, "TWO_BLOCKS": 1000, "WINDOW_BYTES": 1500}.items():
            patch.setattr(parallel, name, size)
        yield


@contextmanager
def small_shares() -> Iterator[None]:
    """Make the kernels' blocks so small that sums over small maps need many of them, of several channel tiles."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in {"THREADS": 8, "WIDTH": 4, "PIXELS": 1}.items():
            patch.setattr(reductions, name, size)
        reductions.forget()
        yield
    reductions.forget()


def check_large_maps() -> None:
    """Compare a network that multiplies in tiles, as it does where OpenBLAS has kernels for small matrices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matmul, "has_small_kernels", lambda: True)
        check_network(NETWORKS["resnet14"], (32, 32, 3))


def walk_parts(net: Layer, path: str = "") -> Iterator[str]:
    """Yield the dotted names of all layers and combinators of a network."""
    if path:
        yield path
    if isinstance(net, Combinator):
        for name, part in net.parts:
            yield from walk_parts(part, f"{path}.{name}" if path else name)
