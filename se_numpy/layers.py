"""Layers and combinators: what turns equations into a network that is a value.

A layer is a frozen description without numbers. Everything follows from it:

    layer.parameters(shape)                       what it learns: names -> Parameter(shape, how to draw it)
    layer.statistics(shape)                       what it tracks while training: the same for running means
    layer.output_shape(shape)                     (H, W, C) or (D,) of what it returns; shape leaves the batch out
    layer.forward(params, state, X, train=...)    -> Y, cache
    layer.backward(params, cache, dY)             -> dX, gradients shaped as params
    layer.update_running(state, cache)            running statistics moved by one batch; nothing else changes state

An equation remembers nothing; a layer remembers its symbols: the cache of a forward pass is a tuple of the paper's
letters. ``backward`` uses it up from the last layer to the first, so memory falls as the gradient descends.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from se_numpy import ops, se
from se_numpy.backend import Array, add, array_module
from se_numpy.tree import Tree, map_leaves

Shape = tuple[int, ...]


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
        return {}

    def statistics(self, shape: Shape) -> Tree:
        return {}

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def forward(
        self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: np.random.Generator | None = None
    ) -> tuple[Array, Any]:
        raise NotImplementedError

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        raise NotImplementedError

    def update_running(self, state: Tree, cache: Any) -> None:
        pass


def _image(layer: Layer, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ValueError(f"{layer} got an input of shape {shape}; expected images, (H, W, C)")
    return shape  # type: ignore[return-value]


def _slide(layer: Layer, shape: Shape, k: int, stride: int, padding: int) -> tuple[int, int]:
    """How many steps of ``stride`` a k x k window makes down and across an image."""
    H, W, _ = _image(layer, shape)
    if k < 1 or stride < 1 or padding < 0:
        raise ValueError(f"{layer}: expected k and stride of at least 1 and a padding that is not negative")
    if min(H, W) < 1 or min(H, W) + 2 * padding < k:
        raise ValueError(f"{layer} got images of {H} x {W}; expected at least {k - 2 * padding} pixels either way")
    return (H + 2 * padding - k) // stride + 1, (W + 2 * padding - k) // stride + 1


# ------------------------------------------------------------------------------------------------------------ layers


@dataclass(frozen=True)
class Conv(Layer):
    """Eq. (1) with C filters of k x k; ``padding`` None keeps the image size at stride 1 (k // 2, for odd k)."""

    C: int
    k: int = 3
    stride: int = 1
    padding: int | None = None
    groups: int = 1

    @property
    def hyper(self) -> dict[str, int]:
        padding = self.k // 2 if self.padding is None else self.padding
        return {"stride": self.stride, "padding": padding, "groups": self.groups}

    def parameters(self, shape: Shape) -> Tree:
        _, _, C_ = _image(self, shape)
        if C_ % self.groups or self.C % self.groups:
            raise ValueError(f"{self} got {C_} channels; expected channels and filters that groups divides")
        return {"V": he((self.k, self.k, C_ // self.groups, self.C), fan_in=self.k**2 * C_ // self.groups)}

    def output_shape(self, shape: Shape) -> Shape:
        return (*_slide(self, shape, self.k, self.stride, self.hyper["padding"]), self.C)

    def forward(self, params, state, X, *, train=False, rng=None):
        return ops.conv2d(X, params["V"], **self.hyper), X

    def backward(self, params, cache, dY):
        X = cache
        dX, dV = ops.conv2d_backward(dY, X, params["V"], **self.hyper)
        return dX, {"V": dV}


class BatchNormCache(NamedTuple):
    """What was normalised and by what; ``of_batch`` says whether mean and var are x's own."""

    x: Array
    mean: Array
    var: Array
    of_batch: bool


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalisation: by the batch's statistics when training, by the running ones when not.

    In evaluation the statistics are constants of the network, and ``backward`` treats them so.
    """

    eps: float = ops.norm.EPS
    momentum: float = ops.norm.MOMENTUM

    def parameters(self, shape: Shape) -> Tree:
        return {"gamma": Parameter(shape[-1:], mean=1.0), "beta": Parameter(shape[-1:])}

    def statistics(self, shape: Shape) -> Tree:
        return {"mean": Parameter(shape[-1:]), "var": Parameter(shape[-1:], mean=1.0)}

    def forward(self, params, state, X, *, train=False, rng=None):
        mean, var = ops.batch_statistics(X) if train else (state["mean"], state["var"])
        Y = ops.normalize(X, mean, var, params["gamma"], params["beta"], eps=self.eps)
        return Y, BatchNormCache(X, mean, var, train)

    def backward(self, params, cache, dY):
        x, mean, var, of_batch = cache
        gamma, beta = params["gamma"], params["beta"]
        if of_batch:
            dX, dgamma, dbeta = ops.batch_norm_backward(dY, x, mean, var, gamma, eps=self.eps)
        else:
            dX, _, _, dgamma, dbeta = ops.normalize_backward(dY, x, mean, var, gamma, beta, eps=self.eps)
        return dX, {"gamma": dgamma, "beta": dbeta}

    def update_running(self, state, cache):
        x, mean, var, of_batch = cache
        if not of_batch:
            raise ValueError("the cache is of an evaluation, by the running statistics themselves; expected train=True")
        m = x.size // x.shape[-1]
        ops.update_running(state["mean"], state["var"], mean, var, m, momentum=self.momentum)


@dataclass(frozen=True)
class ReLU(Layer):
    """δ; remembers its result alone, which the next layer keeps as its input anyway."""

    def forward(self, params, state, X, *, train=False, rng=None):
        Y = ops.relu(X)
        return Y, Y

    def backward(self, params, cache, dY):
        Y = cache
        return ops.relu_backward(dY, Y), {}


class SECache(NamedTuple):
    """What a block remembers of its forward pass: the feature maps, their means, the gates."""

    U: Array
    z: Array
    s: Array


@dataclass(frozen=True)
class SE(Layer):
    """The Squeeze-and-Excitation block, Eqs. (2) to (4): ``se.se_block`` with z and s kept instead of made twice.

    ``reduction`` is r; ``bias`` adds b1 and b2, which Eq. (3) does not have.
    """

    reduction: int = 16
    bias: bool = False

    def parameters(self, shape: Shape) -> Tree:
        _, _, C = _image(self, shape)
        h = se.hidden_units(C, self.reduction)
        biases = {"b1": Parameter((h,)), "b2": Parameter((C,))} if self.bias else {}
        return {"W1": he((h, C), fan_in=C), "W2": he((C, h), fan_in=h), **biases}

    def forward(self, params, state, X, *, train=False, rng=None):
        U = X
        z = se.squeeze(U)
        s = se.excite(z, **params)
        return se.scale(U, s), SECache(U, z, s)

    def backward(self, params, cache, dY):
        dU, *dW = se.se_block_backward_from(dY, *cache, **params)
        return dU, dict(zip(params, dW, strict=True))


@dataclass(frozen=True)
class GlobalAveragePool(Layer):
    """The mean of every channel, before the classifier: Eq. (2) once more."""

    def output_shape(self, shape: Shape) -> Shape:
        return (_image(self, shape)[2],)

    def forward(self, params, state, X, *, train=False, rng=None):
        return se.squeeze(X), X

    def backward(self, params, cache, dY):
        return se.squeeze_backward(dY, cache), {}


@dataclass(frozen=True)
class Linear(Layer):
    """Fully connected: K outputs, with a bias unless it is switched off.  Weights start as N(0, 1/D)."""

    K: int
    bias: bool = True

    def parameters(self, shape: Shape) -> Tree:
        if len(shape) != 1:
            raise ValueError(f"{self} got an input of shape {shape}; expected vectors, as GlobalAveragePool gives")
        (D,) = shape
        weights = {"W": Parameter((self.K, D), std=D**-0.5)}
        return {**weights, "b": Parameter((self.K,))} if self.bias else weights

    def output_shape(self, shape: Shape) -> Shape:
        return (self.K,)

    def forward(self, params, state, X, *, train=False, rng=None):
        return ops.linear(X, **params), X

    def backward(self, params, cache, dY):
        dX, *dW = ops.linear_backward(dY, cache, **params)
        return dX, dict(zip(params, dW, strict=True))


@dataclass(frozen=True)
class Pool(Layer):
    """Max or average pooling of k x k windows."""

    kind: str = "max"
    k: int = 2
    stride: int | None = None
    padding: int = 0

    def _calls(self):
        pairs = {"max": (ops.max_pool2d, ops.max_pool2d_backward), "avg": (ops.avg_pool2d, ops.avg_pool2d_backward)}
        if self.kind not in pairs:
            raise ValueError(f"unknown kind of pooling {self.kind!r}; expected 'max' or 'avg'")
        return pairs[self.kind], {"kernel": self.k, "stride": self.stride, "padding": self.padding}

    def output_shape(self, shape: Shape) -> Shape:
        stride = self.k if self.stride is None else self.stride
        return (*_slide(self, shape, self.k, stride, self.padding), shape[-1])

    def forward(self, params, state, X, *, train=False, rng=None):
        (pool, _), hyper = self._calls()
        return pool(X, **hyper), X

    def backward(self, params, cache, dY):
        (_, pool_backward), hyper = self._calls()
        return pool_backward(dY, cache, **hyper), {}


@dataclass(frozen=True)
class Dropout(Layer):
    """Drops each number with probability p while training; does nothing otherwise.  Needs ``rng`` to train."""

    p: float = 0.5

    def forward(self, params, state, X, *, train=False, rng=None):
        if not train:
            return X, None
        if rng is None:
            raise ValueError("Dropout draws a mask while training: forward(..., train=True) needs rng=, a Generator")
        mask = array_module(X).asarray(rng.random(X.shape, np.float32) >= self.p)
        return ops.dropout(X, mask, p=self.p), mask

    def backward(self, params, cache, dY):
        mask = cache
        return (dY if mask is None else ops.dropout_backward(dY, dY, mask, p=self.p)), {}


# ------------------------------------------------------------------------------------------------------- combinators


@dataclass(frozen=True)
class Combinator(Layer):
    """Layers under names.  Parameters, state and gradients are dicts under the same names; empty ones are left out."""

    parts: tuple[tuple[str, Layer], ...] = ()

    def input_shapes(self, shape: Shape) -> list[Shape]:
        """What each part is given when the whole is given ``shape``: the same, for they stand side by side."""
        return [shape] * len(self.parts)

    def parameters(self, shape: Shape) -> Tree:
        return self._collect("parameters", shape)

    def statistics(self, shape: Shape) -> Tree:
        return self._collect("statistics", shape)

    def _collect(self, what: str, shape: Shape) -> Tree:
        shapes = self.input_shapes(shape)
        trees = {name: getattr(layer, what)(s) for (name, layer), s in zip(self.parts, shapes, strict=True)}
        return {name: tree for name, tree in trees.items() if tree}

    def update_running(self, state, cache):
        for (name, layer), c in zip(_unused(self.parts, cache), cache, strict=True):
            if name in state:
                layer.update_running(state[name], c)

    def _forward_side_by_side(self, params, state, X, **mode) -> tuple[list[Array], list[Any]]:
        Ys, caches = [], []
        for name, layer in self.parts:
            Y, cache = layer.forward(params.get(name, {}), state.get(name, {}), X, **mode)
            Ys.append(Y)
            caches.append(cache)
        return Ys, caches

    def _backward_side_by_side(self, params, caches, dYs) -> tuple[Array, Tree]:
        """All parts saw one X, so their gradients add."""
        dX, grads = None, {}
        for (name, layer), dY in zip(reversed(_unused(self.parts, caches)), reversed(dYs), strict=True):
            dX_part, grads[name] = layer.backward(params.get(name, {}), caches.pop(), dY)
            dX = dX_part if dX is None else add(dX, dX_part)
        return dX, _in_order(grads)


@dataclass(frozen=True)
class Serial(Combinator):
    """One after the other.  Without any part: the identity."""

    def input_shapes(self, shape: Shape) -> list[Shape]:
        shapes = [shape]
        for _, layer in self.parts:
            shapes.append(layer.output_shape(shapes[-1]))
        return shapes[:-1]

    def output_shape(self, shape: Shape) -> Shape:
        for _, layer in self.parts:
            shape = layer.output_shape(shape)
        return shape

    def forward(self, params, state, X, *, train=False, rng=None):
        caches = []
        for name, layer in self.parts:
            X, cache = layer.forward(params.get(name, {}), state.get(name, {}), X, train=train, rng=rng)
            caches.append(cache)
        return X, caches

    def backward(self, params, cache, dY):
        grads: Tree = {}
        for name, layer in reversed(_unused(self.parts, cache)):
            dY, grads[name] = layer.backward(params.get(name, {}), cache.pop(), dY)
        return dY, _in_order(grads)


@dataclass(frozen=True)
class Sum(Combinator):
    """Side by side, the results added: a residual unit."""

    def output_shape(self, shape: Shape) -> Shape:
        shapes = {name: layer.output_shape(shape) for name, layer in self.parts}
        if len(set(shapes.values())) != 1:
            raise ValueError(f"the parts of a sum return the shapes {shapes}; expected the same from all")
        return next(iter(shapes.values()))

    def forward(self, params, state, X, *, train=False, rng=None):
        Ys, caches = self._forward_side_by_side(params, state, X, train=train, rng=rng)
        return reduce(add, Ys), caches

    def backward(self, params, cache, dY):
        return self._backward_side_by_side(params, cache, [dY] * len(self.parts))


@dataclass(frozen=True)
class Concat(Combinator):
    """Side by side, the results stacked along the channels."""

    def output_shape(self, shape: Shape) -> Shape:
        shapes = {name: _image(self, layer.output_shape(shape)) for name, layer in self.parts}
        if len({s[:2] for s in shapes.values()}) != 1:
            raise ValueError(f"the parts of a concatenation return the shapes {shapes}; expected one height and width")
        return (*next(iter(shapes.values()))[:2], sum(C for _, _, C in shapes.values()))

    def forward(self, params, state, X, *, train=False, rng=None):
        Ys, caches = self._forward_side_by_side(params, state, X, train=train, rng=rng)
        widths = [Y.shape[-1] for Y in Ys]
        return array_module(X).concatenate(Ys, axis=-1), (caches, widths)

    def backward(self, params, cache, dY):
        caches, widths = cache
        ends = list(accumulate(widths))
        return self._backward_side_by_side(
            params, caches, [dY[..., end - C : end] for end, C in zip(ends, widths, strict=True)]
        )

    def update_running(self, state, cache):
        super().update_running(state, cache[0])


def _unused(parts: tuple[tuple[str, Layer], ...], caches: list[Any]) -> tuple[tuple[str, Layer], ...]:
    """The parts, if none of their caches has been taken yet."""
    if len(caches) != len(parts):
        raise ValueError("the cache is used up: a backward pass takes it apart; expected one forward pass for each")
    return parts


def _in_order(grads: Tree) -> Tree:
    """Gradients as they were collected, from the last part to the first, turned round; empty ones left out."""
    return {name: g for name, g in reversed(grads.items()) if g}


def serial(*layers: Layer, **named: Layer) -> Serial:
    """Layers one after the other; those without a name are called after their kind: conv1, batchnorm1, relu1, conv2."""
    return Serial(_named(layers, named))


def residual(branch: Layer, shortcut: Layer = Serial()) -> Sum:
    """branch(X) + shortcut(X); the shortcut is the identity if not given."""
    return Sum((("branch", branch), ("shortcut", shortcut)))


def concat(*layers: Layer, **named: Layer) -> Concat:
    """The channels of all layers, side by side, in order."""
    return Concat(_named(layers, named))


def _named(layers: tuple[Layer, ...], named: dict[str, Layer]) -> tuple[tuple[str, Layer], ...]:
    counts: Counter[str] = Counter()
    parts = []
    for layer in layers:
        kind = type(layer).__name__.lower()
        counts[kind] += 1
        parts.append((f"{kind}{counts[kind]}", layer))
    names = [name for name, _ in parts] + list(named)
    for name in names:
        if names.count(name) > 1 or "." in name:
            raise ValueError(f"a part cannot be called {name!r}: expected names without a dot, each used once")
    return (*parts, *named.items())


# --------------------------------------------------------------------------------------------- a network's beginnings


def init(layer: Layer, shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> tuple[Tree, Tree]:
    """Parameters and running statistics to start from, on the host, for inputs of ``shape`` (without the batch)."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is a {type(rng).__name__}; expected a Generator, as numpy.random.default_rng(seed) makes")

    def draw(parameter: Parameter) -> np.ndarray:
        return parameter.draw(rng, dtype)

    layer.output_shape(shape)  # complains, by name, about parts that do not fit together
    return map_leaves(draw, layer.parameters(shape)), map_leaves(draw, layer.statistics(shape))


def walk(layer: Layer, shape: Shape, name: str = "") -> Iterator[tuple[str, Layer, Shape]]:
    """(dotted name, layer, input shape) of every layer that is not made of others, in the order of the forward pass."""
    if not isinstance(layer, Combinator):
        yield name, layer, shape
        return
    for (part, child), s in zip(layer.parts, layer.input_shapes(shape), strict=True):
        yield from walk(child, s, f"{name}.{part}" if name else part)
