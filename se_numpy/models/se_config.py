"""Where SE blocks stand in a network, and what they are: every ablation of the paper is one field of ``SEConfig``.

    reduction   r, Table 10; None for a network without SE blocks
    bias        b1 and b2, which Eq. (3) does not have and the released networks do
    gate        "sigmoid", "tanh", "relu"                          Table 12
    squeeze     "avg", "max"; "none" for NoSqueeze                 Tables 11, 16
    stages      the stages that have blocks; None for all          Table 13
    placement   "standard", "pre", "post", "identity", "3x3"       Figure 5, Tables 14, 15

Stages are counted as the networks here name them: stage1 is the paper's stage 2, for its stage 1 is the stem.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

from se_numpy.layers import Layer, Serial, residual, se_layer, serial

PLACEMENTS = ("standard", "pre", "post", "identity", "3x3")


@dataclass(frozen=True)
class SEConfig:
    """The SE blocks of a network."""

    reduction: int | None = None
    bias: bool = False
    gate: str = "sigmoid"
    squeeze: str = "avg"
    stages: Collection[int] | None = None
    placement: str = "standard"

    def __post_init__(self) -> None:
        if self.placement not in PLACEMENTS:
            raise ValueError(f"the placement is {self.placement!r}; expected one of {', '.join(PLACEMENTS)}")
        if self.reduction is not None:
            se_layer(self.reduction, self.bias, gate=self.gate, squeeze=self.squeeze)  # complains about other choices
            return
        for field in fields(self)[1:]:
            if (given := getattr(self, field.name)) != field.default:
                raise ValueError(f"{field.name}={given!r} has no SE blocks to act on; expected a reduction with it")

    @classmethod
    def of(cls, settings: dict[str, Any], stages: int, placements: Collection[str] = ("standard",)) -> "SEConfig":
        """From the keyword arguments of a network that has so many stages and these places for a block."""
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise ValueError(
                    f"unknown setting {name!r}; expected one of the network's own or of the SE blocks', "
                    f"which are {', '.join(known)}"
                )
        gates = cls(**settings)
        if gates.placement not in placements:
            raise ValueError(
                f"the placement is {gates.placement!r}, which takes a residual network; expected 'standard' here"
            )
        if not isinstance(gates.stages, Collection | None):
            raise ValueError(f"stages is {gates.stages!r}; expected some of them, such as (1, 2), or None for all")
        for stage in gates.stages or ():
            if stage not in range(1, stages + 1):
                raise ValueError(f"stages has {stage!r}; expected stages from 1 to {stages}")
        return gates

    def at(self, stage: int, placement: str = "standard") -> tuple[Layer, ...]:
        """The SE layer, alone in a tuple, if units of this stage have one at this place; else an empty tuple."""
        there = self.stages is None or stage in self.stages
        if self.reduction is None or placement != self.placement or not there:
            return ()
        return (se_layer(self.reduction, self.bias, gate=self.gate, squeeze=self.squeeze),)

    def unit(self, stage: int, branch: tuple[Layer, ...], shortcut: Serial, *relu: Layer) -> Serial:
        """A residual unit, Figure 5: branch + shortcut, then a ReLU if it is given, and the SE block at its place.

        Four places are seen to here; the fifth, "3x3", lies inside the branch, with who writes it.
        """
        standard, pre, post, identity = (self.at(stage, p) for p in PLACEMENTS[:4])
        if identity:
            shortcut = serial(*(layer for _, layer in shortcut.parts), *identity)
        sum_ = residual(serial(*pre, *branch, *standard), shortcut)
        return serial(unit=sum_, **optional("relu", relu), **optional("se", post))


def optional(name: str, layers: tuple[Layer, ...]) -> dict[str, Layer]:
    """{name: the layer}, or {} where there is none."""
    return dict(zip((name,), layers, strict=False))
