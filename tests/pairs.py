"""Every pair f, f_backward of the library, with a source of cases, a reference, and checks of value and gradient.

``lib`` is the namespace of the functions: the library, or the library with one function replaced by a wrong version
(test_mistakes.py). Sizes differ from each other where possible, so that a test detects axes in the wrong order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import witness

from se_numpy.gradcheck import check_backward


class Rng:
    """A seeded source of sizes, settings and arrays.  ``pair_checks`` has a subclass that hypothesis controls."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape)


Case = tuple[tuple[Any, ...], dict[str, Any]]  # arguments, hyperparameters


@dataclass(frozen=True)
class Pair:
    """A pair of functions.  ``forward(lib)`` and ``backward(lib)`` return them; ``witness`` is a plain form of f."""

    name: str
    case: Callable[[Rng], Case]
    witness: Callable[..., Any]
    forward: Callable[[Any], Callable[..., Any]]
    backward: Callable[[Any], Callable[..., Any]]
    linear_in_first: bool = False

    def check_value(self, lib: Any, args: tuple, hyper: dict) -> None:
        """Assert that the function returns the same values as its witness."""
        got, expected = self.forward(lib)(*args, **hyper), self.witness(*args, **hyper)
        for y, y_expected in zip(_tuple(got), _tuple(expected), strict=True):
            assert y.shape == np.shape(y_expected)
            np.testing.assert_allclose(y, y_expected, rtol=1e-9, atol=1e-10)

    def check_gradient(self, lib: Any, args: tuple, hyper: dict) -> list[float]:
        """Check the gradient by central differences and by a complex step, and return the worst error of each."""
        worst = []
        for method in ("central", "complex"):
            errors = check_backward(self.forward(lib), self.backward(lib), *args, method=method, seed=1, **hyper)
            worst.append(max(error.relative for error in errors))
        assert worst[1] < 1e-12
        return worst

    def check_adjoint(self, lib: Any, args: tuple, hyper: dict) -> None:
        """Assert ⟨f(v), w⟩ = ⟨v, f_backward(w)⟩, for an f that is linear in its first argument."""
        x, *others = args
        rng = np.random.default_rng(2)
        v = rng.standard_normal(x.shape)
        f_v = self.forward(lib)(v, *others, **hyper) - self.forward(lib)(0 * v, *others, **hyper)  # without a bias
        w = rng.standard_normal(f_v.shape)
        back = _tuple(self.backward(lib)(w, x, *others, **hyper))[0]
        np.testing.assert_allclose((f_v * w).sum(), (v * back).sum(), rtol=1e-10, atol=1e-10)


def _tuple(x: Any) -> tuple:
    return x if isinstance(x, tuple) else (x,)


# ------------------------------------------------------------------------------------------------------------- cases


def _conv2d(chance: Rng) -> Case:
    groups, stride = chance.integer(1, 3), chance.integer(1, 3)
    kh, kw, padding = chance.integer(1, 4), chance.integer(1, 4), chance.integer(0, 2)
    N, c, C = chance.integer(1, 3), chance.integer(1, 3), groups * chance.integer(1, 3)
    H, W = chance.integer(max(1, kh - 2 * padding), 7), chance.integer(max(1, kw - 2 * padding), 6)
    X, V = chance.normal(N, H, W, c * groups), chance.normal(kh, kw, c, C)
    return (X, V), {"stride": stride, "padding": padding, "groups": groups}


def _depthwise(chance: Rng) -> Case:
    C = chance.integer(2, 5)
    X, V = chance.normal(2, chance.integer(3, 7), chance.integer(3, 6), C), chance.normal(3, 3, 1, C)
    return (X, V), {"stride": chance.integer(1, 2), "padding": chance.integer(0, 1), "groups": C}


def _images(chance: Rng) -> np.ndarray:
    shape = (chance.integer(1, 4), chance.integer(2, 6), chance.integer(2, 5), chance.integer(2, 7))
    return chance.normal(*shape) + 0.5 * chance.normal(shape[-1])


def _linear(chance: Rng) -> Case:
    N, D, K = chance.integer(1, 4), chance.integer(1, 6), chance.integer(1, 5)
    bias = (chance.normal(K),) if chance.integer(0, 1) else ()
    return (chance.normal(N, D), chance.normal(K, D), *bias), {}


def _another_gate(chance: Rng) -> Case:
    args, _ = _excite(chance)
    return args, {"gate": ["tanh", "relu"][chance.integer(0, 1)]}


def _excite(chance: Rng) -> Case:
    N, h = chance.integer(1, 4), chance.integer(1, 3)
    C = h * chance.integer(2, 4)
    biases = (chance.normal(h), chance.normal(C)) if chance.integer(0, 1) else ()
    return (2 * chance.normal(N, C), chance.normal(h, C), 2 * chance.normal(C, h), *biases), {}


def _scale(chance: Rng) -> Case:
    U = _images(chance)
    return (U, chance.normal(len(U), U.shape[-1])), {}


def _se_block(chance: Rng) -> Case:
    (z, *weights), _ = _excite(chance)
    U = chance.normal(len(z), chance.integer(2, 5), chance.integer(2, 6), z.shape[1]) + z[:, None, None]
    return (U, *weights), {}


def _pool(chance: Rng) -> Case:
    kernel = chance.integer(1, 4)
    padding = chance.integer(0, kernel // 2)
    least = max(1, kernel - 2 * padding)
    x = chance.normal(chance.integer(1, 3), chance.integer(least, 7), chance.integer(least, 6), chance.integer(1, 4))
    return (x,), {"kernel": kernel, "stride": chance.integer(1, 3), "padding": padding}


def _loss(chance: Rng) -> Case:
    N, K = chance.integer(1, 5), chance.integer(2, 6)
    labels = np.array([chance.integer(0, K - 1) for _ in range(N)])
    return (2 * chance.normal(N, K), labels), {"smoothing": 0.1 * chance.integer(0, 3)}


def _heatmap(chance: Rng) -> Case:
    shape = tuple(chance.integer(1, 4) for _ in range(4))
    targets = np.clip(1.2 * np.abs(np.tanh(chance.normal(*shape))), 0, 1)  # about one in three is a centre
    more = {"weights": np.abs(chance.normal(*shape[:3]))} if chance.integer(0, 1) else {}
    return (2 * chance.normal(*shape),), {"targets": targets, "alpha": chance.integer(0, 3), "beta": 4.0, **more}


def _masked_l1(chance: Rng) -> Case:
    shape = tuple(chance.integer(1, 4) for _ in range(4))
    return (chance.normal(*shape),), {"targets": chance.normal(*shape), "mask": chance.normal(*shape[:3]) > 0}


def _softmax(chance: Rng) -> Case:
    return (2 * chance.normal(chance.integer(1, 5), chance.integer(2, 6)),), {}


def _statistics(chance: Rng) -> Case:
    return (_images(chance),), {}


def _normalize(chance: Rng) -> Case:
    x = _images(chance)
    C = x.shape[-1]
    return (x, chance.normal(C), chance.normal(C) ** 2 + 0.1, chance.normal(C), chance.normal(C)), {}


def _batch_norm(chance: Rng) -> Case:
    x = _images(chance)
    return (x, chance.normal(x.shape[-1]), chance.normal(x.shape[-1])), {}


def _anything(chance: Rng) -> Case:
    axes = chance.integer(1, 4)
    return (3 * chance.normal(*(chance.integer(1, 5) for _ in range(axes))),), {}


def _dropout(chance: Rng) -> Case:
    (x,), _ = _anything(chance)
    return (x, chance.normal(*x.shape) > 0), {"p": 0.1 * chance.integer(0, 9)}


def _pair(name: str, case: Callable[[Rng], Case], witness: Callable[..., Any], function: str = "", **more) -> Pair:
    function = function or name
    backward = f"{function}_backward"
    return Pair(name, case, witness, lambda lib: getattr(lib, function), lambda lib: getattr(lib, backward), **more)


PAIRS = {
    pair.name: pair
    for pair in (
        _pair("conv2d", _conv2d, witness.conv2d, linear_in_first=True),
        _pair("depthwise conv2d", _depthwise, witness.conv2d, "conv2d", linear_in_first=True),
        _pair("linear", _linear, lambda x, W, b=0: np.einsum("nd,kd->nk", x, W) + b, linear_in_first=True),
        _pair("relu", _anything, lambda x: np.where(x > 0, x, 0.0)),
        _pair("sigmoid", _anything, lambda x: 1 / (1 + np.exp(-x))),
        _pair("tanh", _anything, np.tanh),
        _pair("dropout", _dropout, lambda x, mask, p: np.where(mask, x / (1 - p), 0), linear_in_first=True),
        _pair("batch_statistics", _statistics, lambda x: (x.mean((0, 1, 2)), x.var((0, 1, 2)))),
        _pair("normalize", _normalize, lambda x, m, v, gamma, beta: gamma * (x - m) / np.sqrt(v + 1e-5) + beta),
        _pair("batch_norm", _batch_norm, witness.batch_norm),
        _pair("max_pool2d", _pool, partial(witness.pool2d, reduce=max, outside=-np.inf)),
        _pair("avg_pool2d", _pool, partial(witness.pool2d, reduce=np.mean, outside=0), linear_in_first=True),
        _pair("global_max_pool2d", _statistics, lambda x: np.array([[u.max() for u in image.T] for image in x])),
        _pair("softmax", _softmax, lambda x: np.array([np.exp(row) / np.exp(row).sum() for row in x])),
        _pair("softmax_cross_entropy", _loss, witness.cross_entropy),
        _pair("heatmap_focal_loss", _heatmap, witness.heatmap_focal_loss),
        _pair("masked_l1_loss", _masked_l1, witness.masked_l1_loss),
        _pair("squeeze", _statistics, witness.squeeze, linear_in_first=True),
        _pair("excite", _excite, witness.excite),
        _pair("excite with another gate", _another_gate, witness.excite, "excite"),
        _pair("scale", _scale, witness.scale, linear_in_first=True),
        _pair("se_block", _se_block, lambda U, *w: witness.scale(U, witness.excite(witness.squeeze(U), *w))),
    )
}  # fmt: skip
