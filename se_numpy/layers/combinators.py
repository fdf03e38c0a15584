"""Layers made of layers: in sequence, or in parallel with their outputs summed or concatenated.

The five designs in Figure 5 of the paper differ only in the position of ``se``:

    standard  = serial(residual(serial(branch, se), shortcut), relu)
    pre       = serial(residual(serial(se, branch), shortcut), relu)
    post      = serial(residual(branch, shortcut), relu, se)
    identity  = serial(residual(branch, serial(shortcut, se)), relu)
    3x3       = se after the 3x3 convolution, inside the branch
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar

from se_numpy.arrays import Array, array_module
from se_numpy.layers.layer import Layer, Result, Rng, Shape, image
from se_numpy.tree import Tree

T = TypeVar("T")


@dataclass(frozen=True)
class Combinator(Layer):
    """Named layers.  Parameters, state and gradients are dicts with the same names; empty ones are omitted."""

    parts: tuple[tuple[str, Layer], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.parts, tuple) or any(not isinstance(p, tuple) or len(p) != 2 for p in self.parts):
            raise TypeError(
                f"parts of {type(self).__name__} is {self.parts!r}; expected a tuple of (name, layer) pairs"
            )
        for name, layer in self.parts:
            if not isinstance(layer, Layer):
                raise TypeError(f"{name} of {type(self).__name__} is {layer!r}; expected a layer, such as Conv(16)")

    def input_shapes(self, shape: Shape) -> list[Shape]:
        """Return the input shape of each part for an input of ``shape``.  Parts in parallel all receive ``shape``."""
        return [shape] * len(self.parts)

    def parameters(self, shape: Shape) -> Tree:
        return self._collect("parameters", shape)

    def statistics(self, shape: Shape) -> Tree:
        return self._collect("statistics", shape)

    def _collect(self, what: str, shape: Shape) -> Tree:
        shapes = self.input_shapes(shape)
        trees = {name: getattr(layer, what)(s) for (name, layer), s in zip(self.parts, shapes, strict=True)}
        return {name: tree for name, tree in trees.items() if tree}

    def batch_stats(self, cache: Any) -> Tree:
        parts = zip(unused(self.parts, cache), cache, strict=True)
        return {name: tree for (name, layer), c in parts if (tree := layer.batch_stats(c))}

    def _forward_in_parallel(self, params: Tree, state: Tree, X: Array, **mode: Any) -> tuple[list[Array], list[Any]]:
        Ys, caches = [], []
        for name, layer in self.parts:
            Y, cache = layer.forward(params.get(name, {}), state.get(name, {}), X, **mode)
            Ys.append(Y)
            caches.append(cache)
        return Ys, caches

    def _backward_in_parallel(self, params: Tree, caches: list[Any], dYs: list[Array]) -> tuple[Array, Tree]:
        """Add the gradients of the parts, which share one input X."""
        dX, grads = None, {}
        for (name, layer), dY in zip(reversed(unused(self.parts, caches)), reversed(dYs), strict=True):
            dX_part, grads[name] = layer.backward(params.get(name, {}), caches.pop(), dY)
            dX = dX_part if dX is None else dX + dX_part
        return dX, in_order(grads)


@dataclass(frozen=True)
class Serial(Combinator):
    """Layers in sequence.  Without layers, it is the identity."""

    def input_shapes(self, shape: Shape) -> list[Shape]:
        shapes = [shape]
        for _, layer in self.parts:
            shapes.append(layer.output_shape(shapes[-1]))
        return shapes[:-1]

    def output_shape(self, shape: Shape) -> Shape:
        for _, layer in self.parts:
            shape = layer.output_shape(shape)
        return shape

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        caches = []
        for name, layer in self.parts:
            X, cache = layer.forward(params.get(name, {}), state.get(name, {}), X, train=train, rng=rng)
            caches.append(cache)
        return X, caches

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        grads: Tree = {}
        for name, layer in reversed(unused(self.parts, cache)):
            dY, grads[name] = layer.backward(params.get(name, {}), cache.pop(), dY)
        return dY, in_order(grads)


@dataclass(frozen=True)
class Sum(Combinator):
    """Layers in parallel whose results are added, as in a residual unit."""

    def output_shape(self, shape: Shape) -> Shape:
        shapes = {name: layer.output_shape(shape) for name, layer in self.parts}
        check_sum(shapes)
        return next(iter(shapes.values()))

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        Ys, caches = self._forward_in_parallel(params, state, X, train=train, rng=rng)
        check_sum({name: tuple(Y.shape) for (name, _), Y in zip(self.parts, Ys, strict=True)})
        return sum(Ys[1:], Ys[0]), caches

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        return self._backward_in_parallel(params, cache, [dY] * len(self.parts))


@dataclass(frozen=True)
class Concat(Combinator):
    """Layers in parallel whose results are concatenated along the channels."""

    def output_shape(self, shape: Shape) -> Shape:
        shapes = {name: image(self, layer.output_shape(shape)) for name, layer in self.parts}
        if len({s[:2] for s in shapes.values()}) != 1:
            raise ValueError(
                f"the parts of a concatenation return the shapes {shapes}; expected the same height and width"
            )
        return (*next(iter(shapes.values()))[:2], sum(C for _, _, C in shapes.values()))

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        Ys, caches = self._forward_in_parallel(params, state, X, train=train, rng=rng)
        widths = [Y.shape[-1] for Y in Ys]
        return array_module(X).concatenate(Ys, axis=-1), (caches, widths)

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        caches, widths = cache
        ends = list(accumulate(widths))
        return self._backward_in_parallel(
            params, caches, [dY[..., end - C : end] for end, C in zip(ends, widths, strict=True)]
        )

    def batch_stats(self, cache: Any) -> Tree:
        return super().batch_stats(cache[0])


def check_sum(shapes: dict[str, Shape]) -> None:
    """Raise ValueError, listing the shape of each part, unless all parts of a sum return the same shape."""
    if len(set(shapes.values())) != 1:
        raise ValueError(f"the parts of a sum return the shapes {shapes}; expected the same shape from all")


def unused(parts: tuple[T, ...], caches: list[Any]) -> tuple[T, ...]:
    """Return the parts after checking that the cache has not been used.

    Raises
    ------
    ValueError
        If a backward pass has already used the cache.
    """
    if len(caches) != len(parts):
        raise ValueError("the cache has been used by a backward pass; run forward again before each backward pass")
    return parts


def in_order(grads: Tree) -> Tree:
    """Put the gradients, collected from the last part to the first, into forward order, and drop empty ones."""
    return {name: g for name, g in reversed(grads.items()) if g}


def serial(*layers: Layer, **named: Layer) -> Serial:
    """Return the layers in sequence.  Unnamed layers are named after their kind: conv1, batchnorm1, relu1, conv2.

    Raises
    ------
    TypeError
        If an argument is not a layer.
    ValueError
        If a name is used twice or contains a dot.
    """
    return Serial(_named(layers, named))


def residual(branch: Layer, shortcut: Layer = Serial()) -> Sum:
    """Return the layer branch(X) + shortcut(X), where the shortcut is the identity by default."""
    return Sum((("branch", branch), ("shortcut", shortcut)))


def concat(*layers: Layer, **named: Layer) -> Concat:
    """Return the layers in parallel with their channels concatenated.  Names and errors are as in ``serial``."""
    return Concat(_named(layers, named))


def _named(layers: tuple[Layer, ...], named: dict[str, Layer]) -> tuple[tuple[str, Layer], ...]:
    counts: Counter[str] = Counter()
    parts = []
    for layer in layers:
        kind = type(layer).__name__.lower()
        counts[kind] += 1
        parts.append((f"{kind}{counts[kind]}", layer))
    for layer in (*layers, *named.values()):
        if not isinstance(layer, Layer):
            raise TypeError(f"got {layer!r}; expected layers as separate arguments, as in serial(Conv(16), ReLU())")
    names = [name for name, _ in parts] + list(named)
    for name in names:
        if names.count(name) > 1 or "." in name:
            raise ValueError(f"invalid name {name!r} for a part; expected names without a dot, each used once")
    return (*parts, *named.items())


def walk(layer: Layer, shape: Shape, name: str = "") -> Iterator[tuple[str, Layer, Shape]]:
    """Yield (dotted name, layer, input shape) for every layer but the combinators, in the order of the forward pass."""
    if not isinstance(layer, Combinator):
        yield name, layer, shape
        return
    for (part, child), s in zip(layer.parts, layer.input_shapes(shape), strict=True):
        yield from walk(child, s, f"{name}.{part}" if name else part)
