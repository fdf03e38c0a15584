"""The SE block as a layer, and the variants that the paper compares it with: its gate, its squeeze, none at all."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from se_numpy import ops, se
from se_numpy.arrays import Array
from se_numpy.layers.layer import Layer, Parameter, Result, Rng, Shape, he, image
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

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        U = X
        z = se.squeeze(U)
        s = se.excite(z, **params)
        return se.scale(U, s), SECache(U, z, s)

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        U, z, s = cache
        dU, ds = se.scale_backward(dY, U, s)
        dz, *dW = se.excite_backward(ds, z, **params)
        return dU + se.squeeze_backward(dz, U), dict(zip(params, dW, strict=True))


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
        _check_choice("gate", self.gate, se.GATES)
        _check_choice("squeeze", self.squeeze, SQUEEZES)

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        U = X
        z = SQUEEZES[self.squeeze][0](U)
        s = se.excite(z, **params, gate=self.gate)
        return se.scale(U, s), SECache(U, z, s)

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        U, z, s = cache
        dU, ds = se.scale_backward(dY, U, s)
        dz, *dW = se.excite_backward(ds, z, **params, gate=self.gate)
        return dU + SQUEEZES[self.squeeze][1](dz, U), dict(zip(params, dW, strict=True))


class NoSqueezeCache(NamedTuple):
    """What a block without a squeeze remembers: the feature maps, and a gate for every number of theirs."""

    U: Array
    s: Array


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
        _check_choice("gate", self.gate, se.GATES)

    def parameters(self, shape: Shape) -> Tree:
        return SE(self.reduction, self.bias).parameters(shape)

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        U = X
        s = se.excite(U.reshape(-1, U.shape[-1]), **params, gate=self.gate).reshape(U.shape)
        return U * s, NoSqueezeCache(U, s)

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        U, s = cache
        rows = U.reshape(-1, U.shape[-1])
        dU, *dW = se.excite_backward((dY * U).reshape(rows.shape), rows, **params, gate=self.gate)
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

