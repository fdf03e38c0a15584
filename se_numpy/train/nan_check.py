"""Find the parameter or the layer that a NaN or an infinity comes from."""

import numpy as np

from se_numpy.arrays import Array, array_module
from se_numpy.layers import Layer, Serial
from se_numpy.layers.combinators import Combinator
from se_numpy.tree import Tree, leaves


class NotFinite(FloatingPointError):
    """The loss or a parameter became NaN or infinite; the message says at which step and in which layer."""


def first_not_finite(net: Layer, params: Tree, state: Tree, X: Array) -> str:
    """Describe the first array of a training pass over X (N, H, W, C) that is not finite; "" if all are finite.

    Parameters are checked before outputs, because a parameter that is not finite comes from the previous step.
    """
    for kind, numbers in (("the parameter", params), ("the running statistic", state)):
        for name, leaf in leaves(numbers):
            if not finite(leaf):
                return f"{kind} {name} is not finite"
    if not finite(X):
        return "the images are not finite"
    with np.errstate(all="ignore"):
        _, path = _forward(net, params, state, X, "")
    return f"the output of {path} is the first that is not finite" if path else ""


def finite(x: Array) -> bool:
    """Return whether all elements of x are finite.  Waits for the GPU."""
    return bool(array_module(x).isfinite(x).all())


def _forward(layer: Layer, params: Tree, state: Tree, X: Array, path: str) -> tuple[Array, str]:
    """Return the output and the path of the innermost layer with the first output that is not finite, or ""."""
    if isinstance(layer, Combinator):
        inner = X
        for name, part in layer.parts:
            here = f"{path}.{name}" if path else name
            Y, fault = _forward(part, params.get(name, {}), state.get(name, {}), inner, here)
            if fault:
                return Y, fault
            inner = Y if isinstance(layer, Serial) else X
        if isinstance(layer, Serial):
            return inner, ""
    Y, _ = layer.forward(params, state, X, train=True, rng=np.random.default_rng(0))
    return Y, "" if finite(Y) else path
