"""The SE block as a layer, and its variants in the paper: other gates, another squeeze, and no squeeze."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from se_numpy import ops, se
from se_numpy.arrays import Array
from se_numpy.layers.layer import Layer, Parameter, Result, Rng, Shape, he, image
from se_numpy.shapes import flag, is_real
from se_numpy.tree import Tree


class SECache(NamedTuple):
    """The cache of an SE block: the feature maps, their channel means and the gates."""

    U: Array
    z: Array
    s: Array


@dataclass(frozen=True)
class SE(Layer):
    """The Squeeze-and-Excitation block, Eqs. (2) to (4): ``se.se_block``, with z and s kept for the backward pass.

    ``reduction`` is r: 16 in the paper, 4 in the narrow networks of ``models``. ``bias`` adds b1 and b2, which Eq. (3)
    does not have. ``divisor`` rounds the number of hidden units to one of its multiples.
    """

    reduction: int = 16
    bias: bool = False
    divisor: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        _check_settings(self)

    def parameters(self, shape: Shape) -> Tree:
        _, _, C = image(self, shape)
        h = se.hidden_units(C, self.reduction, self.divisor)
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


SQUEEZES = {  # Table 11: the mean of Eq. (2), or the maximum
    "avg": (se.squeeze, se.squeeze_backward),
    "max": (ops.global_max_pool2d, ops.global_max_pool2d_backward),
}


@dataclass(frozen=True)
class SEVariant(SE):
    """An SE block with another ``squeeze`` (Table 11) or ``gate`` (Table 12): s = gate(W2 δ(W1 z)), z = squeeze(U)."""

    gate: str = "sigmoid"
    squeeze: str = "avg"

    def __post_init__(self) -> None:
        super().__post_init__()
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
    """The cache of a block without a squeeze: the feature maps and the gates, which have the same shape."""

    U: Array
    s: Array


@dataclass(frozen=True)
class NoSqueeze(Layer):
    """A block without a squeeze, with separate gates for each pixel: s(i, j) = gate(W2 δ(W1 u(i, j))).

    The two fully connected layers become 1x1 convolutions, which apply Eq. (3) to each pixel. The parameters are those
    of ``SE``; the gates have the shape of U. See section 6.6 and Table 16 of the paper.
    """

    reduction: int = 16
    bias: bool = False
    gate: str = "sigmoid"
    divisor: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        _check_settings(self)
        _check_choice("gate", self.gate, se.GATES)

    def parameters(self, shape: Shape) -> Tree:
        return SE(self.reduction, self.bias, divisor=self.divisor).parameters(shape)

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        U = X
        s = se.excite(U.reshape(-1, U.shape[-1]), **params, gate=self.gate).reshape(U.shape)
        return U * s, NoSqueezeCache(U, s)

    def backward(self, params: Tree, cache: Any, dY: Array) -> tuple[Array, Tree]:
        U, s = cache
        rows = U.reshape(-1, U.shape[-1])
        dU, *dW = se.excite_backward((dY * U).reshape(rows.shape), rows, **params, gate=self.gate)
        return dU.reshape(U.shape) + dY * s, dict(zip(params, dW, strict=True))


def se_layer(
    reduction: int = 16, bias: bool = False, *, gate: str = "sigmoid", squeeze: str = "avg", divisor: int = 1
) -> Layer:  # fmt: skip
    """Return the layer for these settings: SE for the paper's block, NoSqueeze for squeeze "none", or else SEVariant.

    Raises
    ------
    ValueError
        If the gate or the squeeze is unknown.
    """
    if squeeze == "none":
        return NoSqueeze(reduction, bias, gate, divisor=divisor)
    _check_choice("squeeze", squeeze, [*SQUEEZES, "none"])
    plain = (gate, squeeze) == ("sigmoid", "avg")
    if plain:
        return SE(reduction, bias, divisor=divisor)
    return SEVariant(reduction, bias, gate, squeeze, divisor=divisor)


def _check_settings(layer: Any) -> None:
    """Raise TypeError or ValueError unless ``reduction`` is a positive number and ``bias`` is True or False."""
    kind = type(layer).__name__
    flag(f"bias of {kind}", layer.bias)
    if not (is_real(layer.reduction) and 0 < layer.reduction < float("inf")):
        raise ValueError(f"reduction of {kind} is {layer.reduction!r}; expected a positive number")


def _check_choice(what: str, given: Any, known: Collection[str]) -> None:
    if given not in known:
        raise ValueError(f"the {what} is {given!r}; expected one of {', '.join(known)}")
