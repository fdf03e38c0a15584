"""The elementary layers: each calls its equation and keeps the arrays that its backward pass needs."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import prod
from typing import Any, NamedTuple

import numpy as np

from se_numpy import ops, se
from se_numpy.arrays import Array, array_module
from se_numpy.layers.layer import Layer, Parameter, Result, Rng, Shape, he, image, slide
from se_numpy.layers.running import check_spread, unbiased
from se_numpy.shapes import check, count, flag, is_real
from se_numpy.tree import Tree


def whole_fields(layer: Layer, **least: int) -> None:
    """Convert fields of a frozen layer to ints of at least the given values; None is kept if it is the default.

    Raises
    ------
    TypeError
        If a field is not an integer.
    ValueError
        If a field is too small.
    """
    defaults = {field.name: field.default for field in fields(layer)}
    for name, low in least.items():
        value = getattr(layer, name)
        if value is not None or defaults[name] is not None:
            object.__setattr__(layer, name, count(f"{name} of {type(layer).__name__}", value, least=low))


@dataclass(frozen=True)
class Conv(Layer):
    """Convolution, Eq. (1), with C filters of k x k.

    ``padding`` defaults to k // 2, which keeps the image size for odd k at stride 1.
    """

    C: int
    k: int = 3
    stride: int = 1
    padding: int | None = None
    groups: int = 1

    def __post_init__(self) -> None:
        whole_fields(self, C=1, k=1, stride=1, groups=1, padding=0)

    @property
    def hyper(self) -> dict[str, int]:
        """The keyword arguments of ``ops.conv2d``."""
        padding = self.k // 2 if self.padding is None else self.padding
        return {"stride": self.stride, "padding": padding, "groups": self.groups}

    def parameters(self, shape: Shape) -> Tree:
        _, _, C_ = image(self, shape)
        if C_ % self.groups or self.C % self.groups:
            raise ValueError(f"{self} got {C_} channels; expected numbers of channels and filters divisible by groups")
        return {"V": he((self.k, self.k, C_ // self.groups, self.C), fan_in=self.k**2 * C_ // self.groups)}

    def output_shape(self, shape: Shape) -> Shape:
        return (*slide(self, shape, self.k, self.stride, self.hyper["padding"]), self.C)

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        return ops.conv2d(X, params["V"], **self.hyper), X

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        X = cache
        dX, dV = ops.conv2d_backward(dY, X, params["V"], **self.hyper)
        return dX, {"V": dV}


class BatchNormCache(NamedTuple):
    """The input and the statistics used; ``of_batch`` is True if they are the statistics of x."""

    x: Array
    mean: Array
    var: Array
    of_batch: bool


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalisation, by the statistics of the batch in training and by the running statistics in evaluation.

    Training needs at least 2 values per channel; ``forward`` raises ValueError otherwise. In evaluation, ``backward``
    treats the statistics as constants.
    """

    eps: float = ops.norm.EPS

    def __post_init__(self) -> None:
        if not (is_real(self.eps) and 0 <= self.eps < float("inf")):
            raise ValueError(f"eps of BatchNorm is {self.eps!r}; expected a number, at least 0")

    def parameters(self, shape: Shape) -> Tree:
        return {"gamma": Parameter(shape[-1:], mean=1.0), "beta": Parameter(shape[-1:])}

    def statistics(self, shape: Shape) -> Tree:
        return {"mean": Parameter(shape[-1:]), "var": Parameter(shape[-1:], mean=1.0)}

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        mean, var = ops.batch_statistics(X) if train else (state["mean"], state["var"])
        if train:
            check_spread(X.shape)
        Y = ops.normalize(X, mean, var, params["gamma"], params["beta"], eps=self.eps)
        return Y, BatchNormCache(X, mean, var, train)

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        x, mean, var, of_batch = cache
        gamma, beta = params["gamma"], params["beta"]
        if of_batch:
            dX, dgamma, dbeta = ops.batch_norm_backward(dY, x, gamma, beta, eps=self.eps)
        else:
            dX, _, _, dgamma, dbeta = ops.normalize_backward(dY, x, mean, var, gamma, beta, eps=self.eps)
        return dX, {"gamma": dgamma, "beta": dbeta}

    def batch_stats(self, cache: Any) -> Tree:
        x, mean, var, of_batch = cache
        return of_a_batch({"mean": mean, "var": unbiased(var, x.size // x.shape[-1])} if of_batch else None)


def of_a_batch(stats: Tree | None) -> Tree:
    """Return the statistics of a batch.

    Raises
    ------
    ValueError
        If there are none, because the cache is from an evaluation.
    """
    if stats is None:
        raise ValueError("the cache is from an evaluation, which has no batch statistics; expected train=True")
    return stats


@dataclass(frozen=True)
class Bias(Layer):
    """A bias for each channel, which remains when a batch norm is folded into its convolution.

    ``initial`` is its value before training.
    """

    initial: float = 0.0

    def __post_init__(self) -> None:
        if not (is_real(self.initial) and abs(self.initial) < float("inf")):
            raise ValueError(f"initial of Bias is {self.initial!r}; expected a finite number")

    def parameters(self, shape: Shape) -> Tree:
        return {"b": Parameter(shape[-1:], mean=self.initial)}

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        check("X: N ... C, b: C", X, params["b"])
        return X + params["b"], None

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        wide = array_module(dY).result_type(dY, np.float64)
        return dY, {"b": dY.sum(tuple(range(dY.ndim - 1)), dtype=wide).astype(dY.dtype)}


@dataclass(frozen=True)
class ReLU(Layer):
    """The ReLU δ.  It keeps only its result, which the next layer keeps as its input anyway."""

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        Y = ops.relu(X)
        return Y, Y

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        Y = cache
        return ops.relu_backward(dY, Y), {}


@dataclass(frozen=True)
class GlobalAveragePool(Layer):
    """The mean of each channel, by Eq. (2), before the classifier."""

    def output_shape(self, shape: Shape) -> Shape:
        return (image(self, shape)[2],)

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        return se.squeeze(X), X

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        return se.squeeze_backward(dY, cache), {}


@dataclass(frozen=True)
class Linear(Layer):
    """A fully connected layer with K outputs and, by default, a bias.  Weights are drawn from N(0, 1/D)."""

    K: int
    bias: bool = True

    def __post_init__(self) -> None:
        whole_fields(self, K=1)
        flag("bias of Linear", self.bias)

    def parameters(self, shape: Shape) -> Tree:
        if len(shape) != 1:
            raise ValueError(f"{self} got an input of shape {shape}; expected vectors, as from GlobalAveragePool")
        (D,) = shape
        weights = {"W": Parameter((self.K, D), std=D**-0.5)}
        return {**weights, "b": Parameter((self.K,))} if self.bias else weights

    def output_shape(self, shape: Shape) -> Shape:
        return (self.K,)

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        return ops.linear(X, **params), X

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        dX, *dW = ops.linear_backward(dY, cache, **params)
        return dX, dict(zip(params, dW, strict=True))


@dataclass(frozen=True)
class Pool(Layer):
    """Pooling over k x k windows, of ``kind`` "max" or "avg".  ``stride`` defaults to k.

    ``ceil`` lets the last windows extend beyond the lower and right edges, as in the authors' Caffe networks. It is
    available for "max" only.
    """

    kind: str = "max"
    k: int = 2
    stride: int | None = None
    padding: int = 0
    ceil: bool = False

    def __post_init__(self) -> None:
        whole_fields(self, k=1, stride=1, padding=0)
        flag("ceil of Pool", self.ceil)
        self._calls()

    def _calls(self) -> tuple[tuple[Callable[..., Array], Callable[..., Array]], dict[str, Any]]:
        pairs = {"max": (ops.max_pool2d, ops.max_pool2d_backward), "avg": (ops.avg_pool2d, ops.avg_pool2d_backward)}
        if self.kind not in pairs:
            raise ValueError(f"unknown kind of pooling {self.kind!r}; expected 'max' or 'avg'")
        if self.ceil and self.kind == "avg":
            raise ValueError(
                f"{self}: the mean of a window across the edge is ambiguous; use ceil=True only with 'max'"
            )
        return pairs[self.kind], {"kernel": self.k, "stride": self.stride, "padding": self.padding}

    def _overhang(self, H: int, W: int) -> tuple[int, int]:
        """Return the rows and columns to add below and to the right so that the last windows are complete."""
        if not self.ceil:
            return 0, 0
        stride = self.k if self.stride is None else self.stride
        left = [-(size + 2 * self.padding - self.k) % stride for size in (H, W)]
        # A window that begins beyond the image covers none of its pixels and is not used.
        down, right = (0 if m + self.padding >= self.k else m for m in left)
        return down, right

    def _padded(self, X: Array) -> Array:
        _, H, W, _ = X.shape
        down, right = self._overhang(H, W)
        if not (down or right):
            return X
        xp = array_module(X)
        padded = xp.full((len(X), H + down, W + right, X.shape[-1]), -xp.inf, X.dtype)
        padded[:, :H, :W] = X
        return padded

    def output_shape(self, shape: Shape) -> Shape:
        stride = self.k if self.stride is None else self.stride
        H, W, C = image(self, shape)
        slide(self, shape, self.k, stride, self.padding)
        down, right = self._overhang(H, W)
        return (*slide(self, (H + down, W + right, C), self.k, stride, self.padding), C)

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        (pool, _), hyper = self._calls()
        return pool(self._padded(X), **hyper), X

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        X = cache
        (_, pool_backward), hyper = self._calls()
        dX = pool_backward(dY, self._padded(X), **hyper)
        return dX[:, : X.shape[1], : X.shape[2]], {}


@dataclass(frozen=True)
class Flatten(Layer):
    """A layer that flattens images in row-major order, with channels last: (H, W, C) -> (H·W·C,)."""

    def output_shape(self, shape: Shape) -> Shape:
        return (prod(image(self, shape)),)

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        return X.reshape(len(X), -1), X.shape

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        return dY.reshape(cache), {}


@dataclass(frozen=True)
class ChannelShuffle(Layer):
    """A layer that interleaves the channels of ``groups`` groups, so that the next grouped convolution mixes them.

    With n channels in each group, channel i of group g moves from g·n + i to i·groups + g.

    References
    ----------
    Zhang et al., "ShuffleNet", CVPR 2018.
    """

    groups: int

    def __post_init__(self) -> None:
        whole_fields(self, groups=1)

    def output_shape(self, shape: Shape) -> Shape:
        C = image(self, shape)[2]
        if C % self.groups:
            raise ValueError(f"{self} got {C} channels; expected a number divisible by groups")
        return shape

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        return _interleaved(X, self.groups), None

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        return _interleaved(dY, dY.shape[-1] // self.groups), {}  # shuffling by C/n inverts shuffling by n


def _interleaved(X: Array, groups: int) -> Array:
    return X.reshape(*X.shape[:-1], groups, -1).swapaxes(-1, -2).reshape(X.shape)


@dataclass(frozen=True)
class Dropout(Layer):
    """Dropout: in training, which needs ``rng``, each value is set to 0 with probability p."""

    p: float = 0.5

    def __post_init__(self) -> None:
        if not (is_real(self.p) and 0 <= self.p < 1):
            raise ValueError(f"p of Dropout is {self.p!r}; expected the probability of dropping a value, 0 <= p < 1")

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        if not train:
            return X, None
        if rng is None:
            raise ValueError("Dropout draws a mask in training; call forward(..., train=True, rng=generator)")
        mask = array_module(X).asarray(rng.random(X.shape, np.float32) >= self.p)
        return ops.dropout(X, mask, p=self.p), mask

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        mask = cache
        return (dY if mask is None else ops.dropout_backward(dY, dY, mask, p=self.p)), {}
