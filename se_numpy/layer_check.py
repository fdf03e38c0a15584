"""The contract of a layer, as a check for any layer, including layers written elsewhere."""

import copy
import dataclasses
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from se_numpy import cupy_double, engine
from se_numpy.arrays import Array, array_module, device_module, to_device, to_host
from se_numpy.gradcheck import FunctionError, GradientError, KinkError, check_backward
from se_numpy.layers import MOMENTUM, Layer, Parameter, Shape, init, residual, serial
from se_numpy.tree import Tree, flatten, leaves, map_leaves, unflatten

BATCH = 3
ROUNDING = 1e-10  # relative, in float64: the effect that the order of additions may have
SINGLE = 1e-4  # the same in float32


class LayerError(AssertionError):
    """A layer that breaks the contract; the message lists every broken promise."""


class LayerCheck(NamedTuple):
    """One promise of a layer: its name and what was found; ``passed`` is None if it could not be checked here."""

    name: str
    passed: bool | None
    message: str = ""


def check_layer(layer: Layer, shape: Shape, *, X: Array | None = None, seed: int = 0) -> list[LayerCheck]:
    r"""Check that a layer satisfies the contract of ``se_numpy.layers.Layer``, and return the results of the checks.

    The layer must

    - be a value: frozen, hashable, equal to its copies, including a pickled one;
    - return the shapes and dtypes that it announces;
    - modify none of its arguments, and return the same results for the same arguments and random generator;
    - keep the caches of several forward passes apart;
    - have the right gradients of the input and of all parameters, in training and in evaluation (float64);
    - update its running statistics with the values that ``batch_stats`` returns;
    - return the same results when ``engine.compile`` runs it;
    - run on CuPy: on a GPU if there is one, otherwise on a stand-in that refuses to mix host and device arrays.

    ``X`` (N, \*shape) holds the inputs, with N at least 2. By default they are drawn from N(0, 1); pass X if the layer
    is not defined for all numbers.

    Raises
    ------
    LayerError
        If the layer breaks a promise; the message lists all that are broken.
    TypeError
        If ``layer`` is not a Layer, or ``shape`` is not a tuple of integers.
    ValueError
        If X does not have the shape (N, \*shape), or the layer does not accept ``shape``.
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"layer is a {type(layer).__name__}; expected an instance of se_numpy.layers.Layer")
    if not (isinstance(shape, tuple) and all(isinstance(side, (int, np.integer)) for side in shape)):
        raise TypeError(f"shape is {shape!r}; expected integers, without the batch size, as in (8, 7, 6)")
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((BATCH, *shape)) if X is None else np.asarray(X, np.float64)
    if len(X) < 2 or X.shape[1:] != shape:
        raise ValueError(f"X has shape {X.shape}; expected (N, {', '.join(map(str, shape))}) with N at least 2")
    layer.output_shape(shape)
    _check_declarations(layer, shape)
    trial = _Trial.of(layer, shape, X, rng, seed)
    found = [_outcome(name, check, trial) for name, check in _CHECKS.items()]
    if broken := [check for check in found if check.passed is False]:
        lines = "".join(f"\n  {check.name}: {check.message}" for check in broken)
        number = f"{len(broken)} promise{'s' * (len(broken) != 1)}"
        raise LayerError(f"{_name(layer)} breaks {number} of a layer for inputs of shape {shape}:{lines}")
    return found


def _check_declarations(layer: Layer, shape: Shape) -> None:
    """Raise LayerError unless all parameters and statistics are declared as Parameter; otherwise no check can run."""
    for kind in ("parameters", "statistics"):
        for name, leaf in leaves(getattr(layer, kind)(shape)):
            if not isinstance(leaf, Parameter):
                raise LayerError(f"{_name(layer)}.{kind}({shape}) has {name!r} of type {type(leaf).__name__}; expected "
                                 "a se_numpy.layers.Parameter")  # fmt: skip


def as_pair(layer: Layer, params: Tree, state: Tree, *, train: bool, seed: int | None = None) -> tuple[Any, Any]:
    """Return the layer as a pair f(X, w), f_backward(dY, X, w), where w holds all its parameters in one vector."""

    def forward(X: Array, w: tuple[Array, ...]) -> tuple[Tree, Array, Any]:
        p = unflatten(w[0], params) if w else params
        rng = None if seed is None else np.random.default_rng(seed)
        return p, *layer.forward(p, state, X, train=train, rng=rng)

    def f(X: Array, *w: Array) -> Array:
        return forward(X, w)[1]

    def f_backward(dY: Array, X: Array, *w: Array) -> tuple[Array, ...]:
        p, _, cache = forward(X, w)
        dX, grads = layer.backward(p, cache, dY)
        _same_names("gradients", grads, "parameters", params)
        return (dX, flatten(grads)) if w else (dX,)

    return f, f_backward


@dataclass(frozen=True)
class _Trial:
    """A layer with inputs, an upstream gradient, parameters and state, in float64."""

    layer: Layer
    shape: Shape
    X: Array
    dY: Array
    params: Tree
    state: Tree
    seed: int

    @classmethod
    def of(cls, layer: Layer, shape: Shape, X: Array, rng: np.random.Generator, seed: int) -> "_Trial":
        params, state = init(layer, shape, rng, np.float64)
        params = map_leaves(lambda leaf: leaf + 0.1 * rng.standard_normal(leaf.shape), params)
        state = map_leaves(lambda leaf: leaf + rng.random(leaf.shape), state)  # a variance stays positive
        dY = rng.standard_normal((len(X), *layer.output_shape(shape)))
        return cls(layer, shape, X, dY, params, state, seed)

    def moved(self, move: Callable[[Array], Array]) -> "_Trial":
        """Return the trial with ``move`` applied to every array."""
        params, state = map_leaves(move, self.params), map_leaves(move, self.state)
        return dataclasses.replace(self, X=move(self.X), dY=move(self.dY), params=params, state=state)

    def forward(self, train: bool, net: Any = None) -> tuple[Array, Any]:
        rng = np.random.default_rng(self.seed)
        return (net or self.layer).forward(self.params, self.state, self.X, train=train, rng=rng)

    def passes(self, train: bool, net: Any = None) -> dict[str, Array]:
        """Return the result of a forward and a backward pass, by name: Y, dX, and the gradient of each parameter."""
        Y, cache = self.forward(train, net)
        return {"Y": Y} | self.backward(cache, net)

    def backward(self, cache: Any, net: Any = None) -> dict[str, Array]:
        dX, grads = (net or self.layer).backward(self.params, cache, self.dY)
        return {"dX": dX} | {f"d{name}": leaf for name, leaf in leaves(grads)}


def _outcome(name: str, check: Callable[[_Trial], str | None], trial: _Trial) -> LayerCheck:
    """Run one check; an exception that the layer raises also breaks the promise."""
    try:
        skipped = check(trial)
    except (_Broken, GradientError, KinkError, FunctionError) as error:
        return LayerCheck(name, False, str(error))
    except Exception as error:
        return LayerCheck(name, False, f"raised {type(error).__name__}: {error}")
    return LayerCheck(name, None if skipped else True, skipped or "")


class _Broken(Exception):
    """A promise that is not kept, with the reason."""


def _value(trial: _Trial) -> None:
    layer = trial.layer
    if not (dataclasses.is_dataclass(layer) and layer.__dataclass_params__.frozen):  # type: ignore[attr-defined]
        raise _Broken(f"{type(layer).__name__} is not a frozen dataclass; decorate it with @dataclass(frozen=True)")
    if copy.deepcopy(layer) != layer or hash(copy.deepcopy(layer)) != hash(layer):
        raise _Broken("a copy differs from the layer, or has a different hash; keep numbers in params, not in fields")


def _pickles(trial: _Trial) -> None:
    try:
        again = pickle.loads(pickle.dumps(trial.layer))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise _Broken(f"cannot be pickled ({error}); define the class at the top level of a module, without lambdas in "
                      "its fields") from None  # fmt: skip
    if again != trial.layer:
        raise _Broken("the unpickled layer is not equal to the layer")


def _shapes(trial: _Trial) -> None:
    expected = (len(trial.X), *trial.layer.output_shape(trial.shape))
    for train in (False, True):
        found = trial.passes(train)
        _expect_shape("forward returns Y", found["Y"], expected)
        _expect_shape("backward returns dX", found["dX"], trial.X.shape)
        for name, leaf in leaves(trial.params):
            if f"d{name}" not in found:
                raise _Broken(f"backward returns no gradient of the parameter {name}")
            _expect_shape(f"backward returns the gradient of {name}", found[f"d{name}"], leaf.shape)
        if len(found) != 2 + len(list(leaves(trial.params))):
            raise _Broken(f"backward returns gradients {sorted(found)[:-2]}; expected one for each parameter")


def _expect_shape(what: str, array: Any, expected: Shape) -> None:
    if getattr(array, "shape", None) != expected:
        given = f"with shape {array.shape}" if hasattr(array, "shape") else f"as a {type(array).__name__}"
        raise _Broken(f"{what} {given}; expected shape {expected}")


def _dtypes(trial: _Trial) -> None:
    for dtype in (np.float32, np.float64):
        typed = trial.moved(lambda array, dtype=dtype: array.astype(dtype))  # type: ignore[misc]
        for train in (False, True):
            for name, array in typed.passes(train).items():
                if array.dtype != dtype:
                    raise _Broken(f"{name} has dtype {array.dtype} for inputs and parameters in {np.dtype(dtype)}")


def _unchanged(trial: _Trial) -> None:
    """Neither pass writes to its arguments."""
    mine = trial.moved(np.copy)
    for train in (False, True):
        _, cache = mine.forward(train)
        _expect_same("forward", trial, mine, ("X", "params", "state"))
        mine.layer.backward(mine.params, cache, mine.dY)
        _expect_same("backward", trial, mine, ("dY", "params", "state"))


def _expect_same(which: str, trial: _Trial, mine: _Trial, names: tuple[str, ...]) -> None:
    for name in names:
        before, after = ({name: getattr(t, name)} for t in (trial, mine))
        for (path, a), (_, b) in zip(leaves(before), leaves(after), strict=True):
            if not np.array_equal(a, b, equal_nan=True):
                raise _Broken(f"{which} writes to {path}; compute a new array instead")


def _repeatable(trial: _Trial) -> None:
    for train in (False, True):
        _expect_close("a second pass", trial.passes(train), trial.passes(train), 0.0)


def _independent_caches(trial: _Trial) -> None:
    """After two forward passes, both backward passes are correct, as in a network that uses the layer twice."""
    other = dataclasses.replace(trial, X=trial.X[::-1].copy(), dY=trial.dY[::-1].copy())
    for train in (False, True):
        expected = [t.backward(t.forward(train)[1]) for t in (trial, other)]
        caches = [t.forward(train)[1] for t in (trial, other)]
        for t, cache, alone in zip((trial, other), caches, expected, strict=True):
            _expect_close("backward after another forward pass", t.backward(cache), alone, 0.0)


def _gradients(train: bool) -> Callable[[_Trial], None]:
    def check(trial: _Trial) -> None:
        pair = as_pair(trial.layer, trial.params, trial.state, train=train, seed=trial.seed)
        w = [flatten(trial.params)] if trial.params else []
        try:
            check_backward(*pair, trial.X, *w, seed=trial.seed)
        except GradientError as error:
            raise _Broken(f"argument 0 is X, argument 1 holds all parameters: {error}") from None

    return check


def _statistics(trial: _Trial) -> str | None:
    if not trial.state:
        return "it tracks no statistics"
    _, cache = trial.forward(train=True)
    stats = trial.layer.batch_stats(cache)
    _same_names("batch_stats", stats, "statistics", trial.state)
    state = map_leaves(np.copy, trial.state)
    trial.layer.update_running(state, cache, momentum=MOMENTUM)
    for (name, after), (_, before), (_, batch) in zip(leaves(state), leaves(trial.state), leaves(stats), strict=True):
        _expect_shape(f"batch_stats returns {name}", batch, before.shape)
        expected = (1 - MOMENTUM) * before + MOMENTUM * batch
        _expect_close("update_running", {name: after}, {name: expected}, ROUNDING)
    return None


def _engine(trial: _Trial) -> None:
    """Check the layer compiled alone and, if it preserves the shape, as the branch of a residual."""
    nets: list[tuple[Layer, str]] = [(serial(own=trial.layer), "own")]
    if trial.layer.output_shape(trial.shape) == trial.shape:
        nets.append((residual(serial(own=trial.layer)), "branch.own"))
    for net, path in nets:
        params, state = init(net, trial.shape, np.random.default_rng(trial.seed), np.float64)
        inside = dataclasses.replace(trial, layer=net, params=params, state=state)
        for train in (False, True):
            plain, compiled = inside.passes(train), inside.passes(train, engine.compile(net))
            _expect_close(f"engine.compile of a network with it ({path})", compiled, plain, ROUNDING)


def _device(trial: _Trial) -> None:
    """On CuPy or its stand-in, host and device arrays are not mixed, and the numbers are the same."""
    with _a_device():
        single = trial.moved(lambda array: array.astype(np.float32))
        there = single.moved(lambda array: to_device(array, "gpu"))
        for train in (False, True):
            found = there.passes(train)
            for name, array in found.items():
                if array_module(array) is np:
                    raise _Broken(f"{name} is a host array for inputs and parameters on the device; call all functions "
                                  "from the module of the inputs, xp = array_module(X)")  # fmt: skip
            on_host = {name: to_host(array) for name, array in found.items()}
            _expect_close("the pass on the device", on_host, single.passes(train), SINGLE)


@contextmanager
def _a_device() -> Iterator[None]:
    """Make CuPy importable in this context: CuPy itself if it finds a GPU, otherwise a stand-in."""
    if "cupy" in sys.modules or _has_gpu():
        yield
    else:
        with patch.dict(sys.modules, cupy=cupy_double.module):
            yield


def _has_gpu() -> bool:
    try:
        device_module("gpu")
    except RuntimeError:
        return False
    return True


def _expect_close(what: str, found: dict[str, Array], expected: dict[str, Array], tolerance: float) -> None:
    for name, array in expected.items():
        size = float(abs(array).max()) if array.size else 0.0
        far = float(abs(found[name] - array).max()) if array.size else 0.0
        if not far <= tolerance * max(size, 1e-30):
            raise _Broken(f"{what}: {name} differs by {far:.1e}; its largest entry is {size:.1e}")


def _same_names(what: str, found: Tree, of: str, expected: Tree) -> None:
    names, wanted = ([name for name, _ in leaves(tree)] for tree in (found, expected))
    if names != wanted:
        raise _Broken(f"the {what} are named {names}; expected the names of the {of}, in order: {wanted}")


def _name(layer: Layer) -> str:
    text = repr(layer)
    return text if len(text) <= 80 else f"{text[:77]}..."


_CHECKS: dict[str, Callable[[_Trial], str | None]] = {
    "is a value": _value,
    "can be pickled": _pickles,
    "shapes": _shapes,
    "dtypes": _dtypes,
    "writes to no argument": _unchanged,
    "is repeatable": _repeatable,
    "independent caches": _independent_caches,
    "gradients in training": _gradients(train=True),
    "gradients in evaluation": _gradients(train=False),
    "batch statistics": _statistics,
    "the engine": _engine,
    "CuPy": _device,
}
