"""The SE block as a layer, and the variants that the paper compares it with: its gate, its squeeze, none at all."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from se_numpy import ops, se
from se_numpy.backend import Array
from se_numpy.layers.layer import Chance, Layer, Parameter, Result, Shape, he, image
from se_numpy.tree import Tree


class SECache(NamedTuple):
    """What a block remembers of its forward pass: the feature maps, their means, the gates."""

    U: Array
    z: Array
    s: Array


@dataclass(frozen=True)
class SE(Layer):
    """The Squeeze-and-Excitation block, Eqs. (2) to (4): ``se.se_block`` with z and s kept instead of made twice.

    ``reduction`` is r, 16 in the paper; the narrow networks of ``models`` have 4. ``bias`` adds b1 and b2, which
    Eq. (3) does not have.
    """

    reduction: int = 16
    bias: bool = False

    def parameters(self, shape: Shape) -> Tree:
        _, _, C = image(self, shape)
        h = se.hidden_units(C, self.reduction)
        biases = {"b1": Parameter((h,)), "b2": Parameter((C,))} if self.bias else {}
        return {"W1": he((h, C), fan_in=C), "W2": he((C, h), fan_in=h), **biases}

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Chance = None) -> Result:
        U = X
        z = se.squeeze(U)
        s = se.excite(z, **params)
        return se.scale(U, s), SECache(U, z, s)

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        dU, *dW = se.se_block_backward_from(dY, *cache, **params)
        return dU, dict(zip(params, dW, strict=True))


GATES = {  # Table 12: Eq. (3) with another function where σ stands
    "sigmoid": (ops.sigmoid, ops.sigmoid_backward),
    "tanh": (ops.tanh, ops.tanh_backward),
    "relu": (ops.relu, ops.relu_backward),
}
SQUEEZES = {  # Table 11: Eq. (2) with the largest pixel in place of the mean
    "avg": (se.squeeze, se.squeeze_backward),
    "max": (ops.global_max_pool2d, ops.global_max_pool2d_backward),
}


@dataclass(frozen=True)
class SEVariant(SE):
    """s = gate(W2 δ(W1 z)), z = squeeze(U): the block with another ``squeeze`` (Table 11) or ``gate`` (Table 12)."""

    gate: str = "sigmoid"
    squeeze: str = "avg"

    def __post_init__(self) -> None:
        _check_choice("gate", self.gate, GATES)
        _check_choice("squeeze", self.squeeze, SQUEEZES)

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Chance = None) -> Result:
        U = X
        z = SQUEEZES[self.squeeze][0](U)
        s = _excite(self.gate, z, **params)
        return se.scale(U, s), SECache(U, z, s)

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        U, z, s = cache
        dU, ds = se.scale_backward(dY, U, s)
        dz, *dW = _excite_backward(self.gate, ds, z, **params)
        dU += SQUEEZES[self.squeeze][1](dz, U)
        return dU, dict(zip(params, dW, strict=True))


@dataclass(frozen=True)
class NoSqueeze(Layer):
    """s(i, j) = gate(W2 δ(W1 u(i, j))): no Eq. (2), each pixel has gates of its own (section 6.6, Table 16).

    The two fully connected layers have become 1x1 convolutions, which are those layers at every pixel: Eq. (3) with a
    row for each pixel. The parameters are SE's, the gates have the shape of U.
    """

    reduction: int = 16
    bias: bool = False
    gate: str = "sigmoid"

    def __post_init__(self) -> None:
        _check_choice("gate", self.gate, GATES)

    def parameters(self, shape: Shape) -> Tree:
        return SE(self.reduction, self.bias).parameters(shape)

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Chance = None) -> Result:
        U = X
        s = _excite(self.gate, U.reshape(-1, U.shape[-1]), **params).reshape(U.shape)
        return U * s, (U, s)

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        U, s = cache
        rows = U.reshape(-1, U.shape[-1])
        dU, *dW = _excite_backward(self.gate, (dY * U).reshape(rows.shape), rows, **params)
        return dU.reshape(U.shape) + dY * s, dict(zip(params, dW, strict=True))


def se_layer(reduction: int = 16, bias: bool = False, *, gate: str = "sigmoid", squeeze: str = "avg") -> Layer:
    """The layer for these settings: the paper's block, SE, where they are the paper's; squeeze "none" is NoSqueeze."""
    if squeeze == "none":
        return NoSqueeze(reduction, bias, gate)
    _check_choice("squeeze", squeeze, [*SQUEEZES, "none"])
    plain = (gate, squeeze) == ("sigmoid", "avg")
    return SE(reduction, bias) if plain else SEVariant(reduction, bias, gate, squeeze)


def _check_choice(what: str, given: Any, known: Collection[str]) -> None:
    if given not in known:
        raise ValueError(f"the {what} is {given!r}; expected one of {', '.join(known)}")


def _excite(gate: str, z: Array, W1: Array, W2: Array, b1: Array | None = None, b2: Array | None = None) -> Array:
    """Eq. (3) with another gate.                                              z (N, C) -> s (N, C)"""
    return GATES[gate][0](ops.linear(ops.relu(ops.linear(z, W1, b1)), W2, b2))


def _excite_backward(
    gate: str, ds: Array, z: Array, W1: Array, W2: Array, b1: Array | None = None, b2: Array | None = None
) -> tuple[Array, ...]:
    """As ``se.excite_backward``, through another gate.                     -> dz, dW1, dW2, and db1, db2 where given"""
    a1 = ops.linear(z, W1, b1)
    h = ops.relu(a1)
    da2 = GATES[gate][1](ds, ops.linear(h, W2, b2))
    dh, dW2, *db2 = ops.linear_backward(da2, h, W2, b2)
    dz, dW1, *db1 = ops.linear_backward(ops.relu_backward(dh, a1), z, W1, b1)
    return (dz, dW1, dW2, *db1, *db2)
