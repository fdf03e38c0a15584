"""``SEConfig``: the form and placement of a network's SE blocks; each field corresponds to an ablation in the paper.

=========  ==============================================  =====================
reduction  r; None for a network without SE blocks         Table 10
bias       biases b1 and b2, as in the released networks   (not in Eq. (3))
gate       "sigmoid", "tanh" or "relu"                     Table 12
squeeze    "avg" or "max"; "none" for NoSqueeze            Tables 11, 16
stages     the stages with SE blocks; None for all         Table 13
placement  "standard", "pre", "post", "identity" or "3x3"  Figure 5, Tables 14, 15
divisor    rounds the hidden units to its multiples        (8 in timm)
=========  ==============================================  =====================

Stages are numbered as in their names here: stage1 is stage 2 of the paper, whose stage 1 is the stem.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

from se_numpy.layers import Layer, Serial, residual, se_layer, serial

PLACEMENTS = ("standard", "pre", "post", "identity", "3x3")


@dataclass(frozen=True)
class SEConfig:
    """The form and placement of the SE blocks in a network."""

    reduction: int | None = None
    bias: bool = False
    gate: str = "sigmoid"
    squeeze: str = "avg"
    stages: Collection[int] | None = None
    placement: str = "standard"
    divisor: int = 1

    def __post_init__(self) -> None:
        if self.placement not in PLACEMENTS:
            raise ValueError(f"the placement is {self.placement!r}; expected one of {', '.join(PLACEMENTS)}")
        if self.reduction is not None:
            self._layer()  # validates the settings
            return
        for field in fields(self)[1:]:
            if (given := getattr(self, field.name)) != field.default:
                raise ValueError(f"{field.name}={given!r} applies to SE blocks, and there are none; give reduction too")

    @classmethod
    def of(cls, settings: dict[str, Any], stages: int, placements: Collection[str] = ("standard",)) -> "SEConfig":
        """Create the configuration from the keyword arguments of a network with these stages and placements.

        Raises
        ------
        ValueError
            If a setting is unknown or does not fit the network.
        """
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise ValueError(
                    f"unknown setting {name!r}; expected a keyword argument of the network or a setting of its SE "
                    f"blocks: {', '.join(known)}"
                )
        gates = cls(**settings)
        if gates.placement not in placements:
            raise ValueError(
                f"the placement is {gates.placement!r}, which requires residual units; expected 'standard'"
            )
        if not isinstance(gates.stages, Collection | None):
            raise ValueError(f"stages is {gates.stages!r}; expected a collection, such as (1, 2), or None for all")
        for stage in gates.stages or ():
            if stage not in range(1, stages + 1):
                raise ValueError(f"stages contains {stage!r}; expected integers from 1 to {stages}")
        return gates

    def at(self, stage: int, placement: str = "standard") -> tuple[Layer, ...]:
        """Return a tuple with the SE layer for this stage and placement, or an empty tuple if there is none."""
        in_stage = self.stages is None or stage in self.stages
        if self.reduction is None or placement != self.placement or not in_stage:
            return ()
        return (self._layer(),)

    def _layer(self) -> Layer:
        assert self.reduction is not None
        return se_layer(self.reduction, self.bias, gate=self.gate, squeeze=self.squeeze, divisor=self.divisor)

    def unit(self, stage: int, branch: tuple[Layer, ...], shortcut: Serial, *relu: Layer) -> Serial:
        """Build a residual unit (Figure 5): branch + shortcut, ``relu`` if given, and the SE block at its placement.

        For the placement "3x3", the SE block is inside the branch, where the caller inserts it.
        """
        standard, pre, post, identity = (self.at(stage, p) for p in PLACEMENTS[:4])
        if identity:
            shortcut = serial(*(layer for _, layer in shortcut.parts), *identity)
        sum_ = residual(serial(*pre, *branch, *standard), shortcut)
        return serial(unit=sum_, **optional("relu", relu), **optional("se", post))


def optional(name: str, layers: tuple[Layer, ...]) -> dict[str, Layer]:
    """Return {name: layer}, or {} if the tuple is empty."""
    return dict(zip((name,), layers, strict=False))
