"""The interface of a layer, and the initialisation of its parameters.

A layer is an immutable description that holds no arrays. Its methods are:

    layer.parameters(shape)                       the learned parameters: names -> Parameter(shape, distribution)
    layer.statistics(shape)                       the running statistics, in the same form
    layer.output_shape(shape)                     the shape of one result, (H, W, C) or (D,), without the batch axis
    layer.forward(params, state, X, train=...)    -> Y, cache
    layer.backward(params, cache, dY)             -> dX, gradients with the structure of params
    layer.batch_stats(cache)                      the statistics of the batch, with the structure of state
    layer.update_running(state, cache)            moves state towards the statistics of the batch, in place

The equations keep nothing between calls. A layer keeps the arrays that its backward pass needs in a cache, under the
paper's symbols. ``backward`` releases the cache from the last layer to the first, so memory use falls as it proceeds.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from se_numpy.arrays import NUMBERS, Array
from se_numpy.layers.running import MOMENTUM, update_running
from se_numpy.shapes import count
from se_numpy.tree import Tree, leaves, map_leaves

Shape = tuple[int, ...]
Rng = np.random.Generator | None
Result = tuple[Array, Any]  # Y, cache


class Parameter(NamedTuple):
    """The shape of a parameter and its initial distribution: normal, or constant if ``std`` is 0."""

    shape: Shape
    mean: float = 0.0
    std: float = 0.0

    def draw(self, rng: np.random.Generator, dtype: Any) -> np.ndarray:
        values = np.full(self.shape, self.mean, dtype)
        if self.std:
            values += (self.std * rng.standard_normal(self.shape)).astype(dtype)
        return values


def he(shape: Shape, fan_in: int) -> Parameter:
    """Return a parameter drawn from N(0, 2 / fan_in), which preserves the variance through a ReLU.

    References
    ----------
    He et al., ICCV 2015.
    """
    return Parameter(shape, std=(2 / fan_in) ** 0.5)


@dataclass(frozen=True)
class Layer:
    """The base class of all layers: by default it has no parameters and no statistics, and preserves shapes."""

    def parameters(self, shape: Shape) -> Tree:
        """Return the learned parameters for inputs of ``shape``: names to Parameter."""
        return {}

    def statistics(self, shape: Shape) -> Tree:
        """Return the running statistics for inputs of ``shape``, in the same form as ``parameters``."""
        return {}

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of one result for inputs of ``shape``, both without the batch axis.

        Raises
        ------
        ValueError
            If ``shape`` does not fit the layer.
        """
        return shape

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        """Return Y and the cache for ``backward``.  ``train`` enables batch statistics and dropout."""
        raise NotImplementedError

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        """Return dX and the gradients of the parameters.  This uses up the cache and does not modify dY."""
        raise NotImplementedError

    def batch_stats(self, cache: Any) -> Tree:
        """Return the statistics of the batch, with the structure of state.  Call it before ``backward``."""
        return {}

    def update_running(self, state: Tree, cache: Any, *, momentum: float = MOMENTUM) -> None:
        """Set state to (1 - momentum) state + momentum · batch_stats, in place."""
        batch = dict(leaves(self.batch_stats(cache)))
        for name, running in leaves(state):
            update_running(running, batch[name], momentum=momentum)


def init(layer: Layer, shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> tuple[Tree, Tree]:
    """Return initial parameters and running statistics, on the host, for inputs of ``shape`` (without the batch axis).

    Raises
    ------
    TypeError
        If ``layer`` is not a Layer, ``rng`` not a numpy.random.Generator, or ``shape`` not a tuple of whole numbers.
    ValueError
        If a size is less than 1, if ``dtype`` is not float32 or float64 (or complex, for derivatives), or if the parts
        of the network do not fit together, or do not fit ``shape``.
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"got {layer!r}; expected a network: a Layer, such as serial(Conv(16), ReLU())")
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is a {type(rng).__name__}; expected a Generator: use numpy.random.default_rng(seed)")

    def draw(parameter: Parameter) -> np.ndarray:
        return parameter.draw(rng, dtype)

    shape = sizes(shape)
    if np.dtype(dtype) not in NUMBERS:
        raise ValueError(f"dtype is {np.dtype(dtype)}; expected float32 or float64")
    layer.output_shape(shape)  # raises, naming the parts, if they do not fit together
    return map_leaves(draw, layer.parameters(shape)), map_leaves(draw, layer.statistics(shape))


def sizes(shape: Any) -> Shape:
    """Return the shape of an input as a tuple of ints.

    Raises
    ------
    TypeError
        If it is not a tuple or another sequence of whole numbers.
    ValueError
        If a size is less than 1.
    """
    if isinstance(shape, str) or not hasattr(shape, "__len__"):
        raise TypeError(f"shape is {shape!r}; expected the sizes of one input, such as (32, 32, 3)")
    return tuple(count(f"shape[{i}]", n) for i, n in enumerate(shape))


def image(layer: Layer, shape: Shape) -> tuple[int, int, int]:
    """Return ``shape`` as (H, W, C).

    Raises
    ------
    ValueError
        If it does not have three axes.
    """
    if len(shape) != 3:
        raise ValueError(f"{layer} got an input of shape {shape}; expected images, (H, W, C)")
    return shape


def slide(layer: Layer, shape: Shape, k: int, stride: int, padding: int) -> tuple[int, int]:
    """Return the number of positions of a k x k window down and across an image.

    Raises
    ------
    ValueError
        If the window does not fit into the padded image, or a size is out of range.
    """
    H, W, _ = image(layer, shape)
    if k < 1 or stride < 1 or padding < 0:
        raise ValueError(f"{layer}: expected k >= 1, stride >= 1 and padding >= 0")
    if min(H, W) < 1 or min(H, W) + 2 * padding < k:
        raise ValueError(f"{layer} got images of {H} x {W}; expected at least {k - 2 * padding} pixels per side")
    return (H + 2 * padding - k) // stride + 1, (W + 2 * padding - k) // stride + 1
