"""What a layer is: what turns equations into a network that is a value.

A layer is a frozen description without numbers. Everything follows from it:

    layer.parameters(shape)                       what it learns: names -> Parameter(shape, how to draw it)
    layer.statistics(shape)                       what it tracks while training: the same for running means
    layer.output_shape(shape)                     (H, W, C) or (D,) of what it returns; shape leaves the batch out
    layer.forward(params, state, X, train=...)    -> Y, cache
    layer.backward(params, cache, dY)             -> dX, gradients shaped as params
    layer.batch_stats(cache)                      the batch's own statistics, shaped as state
    layer.update_running(state, cache)            state moved towards those; nothing else changes state

An equation remembers nothing; a layer remembers its symbols: the cache of a forward pass is a tuple of the paper's
letters. ``backward`` uses it up from the last layer to the first, so memory falls as the gradient descends.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from se_numpy.arrays import Array
from se_numpy.layers.running import MOMENTUM, update_running
from se_numpy.tree import Tree, leaves, map_leaves

Shape = tuple[int, ...]
Rng = np.random.Generator | None
Result = tuple[Array, Any]  # Y, cache


class Parameter(NamedTuple):
    """An array to be: its shape, and the normal distribution (or, with std 0, the constant) it starts from."""

    shape: Shape
    mean: float = 0.0
    std: float = 0.0

    def draw(self, rng: np.random.Generator, dtype: Any) -> np.ndarray:
        values = np.full(self.shape, self.mean, dtype)
        if self.std:
            values += (self.std * rng.standard_normal(self.shape)).astype(dtype)
        return values


def he(shape: Shape, fan_in: int) -> Parameter:
    """N(0, 2 / fan_in): keeps the variance through a ReLU (He et al., ICCV 2015)."""
    return Parameter(shape, std=(2 / fan_in) ** 0.5)


@dataclass(frozen=True)
class Layer:
    """A layer that learns nothing, tracks nothing and keeps shapes, until a subclass says otherwise."""

    def parameters(self, shape: Shape) -> Tree:
        """What it learns from inputs of ``shape``: names to Parameter."""
        return {}

    def statistics(self, shape: Shape) -> Tree:
        """What it tracks while training, as ``parameters``."""
        return {}

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one result, without the batch.  ValueError where ``shape`` does not fit."""
        return shape

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        """Y, and the cache for ``backward``.  ``train`` normalises by the batch and lets dropout drop."""
        raise NotImplementedError

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        """dX and the gradients of the parameters.  Uses the cache up; never writes to dY, which others may share."""
        raise NotImplementedError

    def batch_stats(self, cache: Any) -> Tree:
        """Return the batch's own statistics, shaped as state; before ``backward``, which takes the cache apart."""
        return {}

    def update_running(self, state: Tree, cache: Any, *, momentum: float = MOMENTUM) -> None:
        """Move state ← (1 - momentum) state + momentum · batch_stats, in place."""
        batch = dict(leaves(self.batch_stats(cache)))
        for name, running in leaves(state):
            update_running(running, batch[name], momentum=momentum)


def init(layer: Layer, shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> tuple[Tree, Tree]:
    """Parameters and running statistics to start from, on the host, for inputs of ``shape`` (without the batch)."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is a {type(rng).__name__}; expected a Generator, as numpy.random.default_rng(seed) makes")

    def draw(parameter: Parameter) -> np.ndarray:
        return parameter.draw(rng, dtype)

    layer.output_shape(shape)  # complains, by name, about parts that do not fit together
    return map_leaves(draw, layer.parameters(shape)), map_leaves(draw, layer.statistics(shape))


def image(layer: Layer, shape: Shape) -> tuple[int, int, int]:
    """(H, W, C), or ValueError for a layer that was given something else than images."""
    if len(shape) != 3:
        raise ValueError(f"{layer} got an input of shape {shape}; expected images, (H, W, C)")
    return shape  # type: ignore[return-value]


def slide(layer: Layer, shape: Shape, k: int, stride: int, padding: int) -> tuple[int, int]:
    """How many steps of ``stride`` a k x k window makes down and across an image."""
    H, W, _ = image(layer, shape)
    if k < 1 or stride < 1 or padding < 0:
        raise ValueError(f"{layer}: expected k and stride of at least 1 and a padding that is not negative")
    if min(H, W) < 1 or min(H, W) + 2 * padding < k:
        raise ValueError(f"{layer} got images of {H} x {W}; expected at least {k - 2 * padding} pixels either way")
    return (H + 2 * padding - k) // stride + 1, (W + 2 * padding - k) // stride + 1
