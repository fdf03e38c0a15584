"""Networks as values, and their names."""

import difflib
from typing import Any

from se_numpy.layers import Serial
from se_numpy.models.resnet import DEPTHS, resnet

# The paper's r = 16 would leave the 16 channels of the first stage a single hidden unit: when its ReLU is off, every
# gate of the block is 0.5 and learns nothing from that image. r = 4 leaves 4, 8 and 16.
DEFAULT_REDUCTION = 4

NAMES = tuple(f"{prefix}resnet{depth}" for depth in DEPTHS for prefix in ("", "se_"))


def build(name: str, *, reduction: int | None = None, bias: bool = False, classes: int = 10) -> Serial:
    """The network called ``name``, for instance "se_resnet20" or "resnet20"; r = 4 unless ``reduction`` says otherwise.

    Raises ValueError for an unknown name, suggesting the nearest, and for a reduction given to a network without SE.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown model {name!r}; {hint}known: {', '.join(NAMES)}")
    settings: dict[str, Any] = {"classes": classes}
    if name.startswith("se_"):
        settings |= {"reduction": DEFAULT_REDUCTION if reduction is None else reduction, "bias": bias}
    elif reduction is not None or bias:
        setting = "bias" if bias else f"reduction={reduction}"
        raise ValueError(f"{name} has no SE blocks for {setting} to act on; did you mean 'se_{name}'?")
    return resnet(int(name.rpartition("resnet")[2]), **settings)


__all__ = ["DEFAULT_REDUCTION", "NAMES", "build", "resnet"]
