"""Match the tensors of a file with a network: infer its settings, and list the differences."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from se_numpy import models
from se_numpy.interop.names import Tensor, tensors
from se_numpy.interop.schemes import Scheme, printable
from se_numpy.layers import Shape
from se_numpy.se import hidden_units

Shapes = Mapping[str, Shape]
DIVISORS = (1, 8, 4, 2, 16, 32)  # of hidden units; timm's default is 8
MAX_GROUPS = 8  # lines printed for each kind of difference


@dataclass(frozen=True)
class Comparison:
    """The differences between a file and a network: names, and (name, given, expected) for wrong shapes.

    Its truth value is True if there are differences.
    """

    missing: list[str]
    unexpected: list[str]
    wrong_shape: list[tuple[str, Shape, Shape]]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.wrong_shape)

    def lines(self) -> list[str]:
        """Return a readable list; names that differ only by a number share a line."""
        lines = []
        for kind, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            lines += _grouped(kind, [(name, "") for name in names])
        return lines + _grouped("wrong shape", [
            (name, f" is {given}, expected {expected}") for name, given, expected in self.wrong_shape
        ])  # fmt: skip


def compare(shapes: Shapes, wanted: list[Tensor]) -> Comparison:
    """Compare the shapes of the tensors in a file with those of a network."""
    known = {t.theirs for t in wanted} | {t.conv_bias for t in wanted}
    return Comparison(
        [t.theirs for t in wanted if t.theirs not in shapes],
        [name for name in shapes if name not in known and not name.endswith("num_batches_tracked")],
        [
            (t.theirs, tuple(shapes[t.theirs]), t.shape)
            for t in wanted if t.theirs in shapes and not same_shape(shapes[t.theirs], t.shape)
        ],
    )  # fmt: skip


def same_shape(given: Shape, expected: Shape) -> bool:
    """Return True if the shapes are equal, or those of a matrix and the equivalent 1x1 convolution."""
    return tuple(given) == tuple(expected) or (
        {len(given), len(expected)} == {2, 4} and (*given, 1, 1)[:4] == (*expected, 1, 1)[:4]
    )


def infer_settings(shapes: Shapes, model: str, scheme: Scheme, shape: Shape | None = None) -> dict[str, Any]:
    """Infer the settings with which ``models.build(model, ...)`` makes a network that fits these tensors.

    The classes, the reduction ratio and the biases follow from the tensors. The position of the stride and the rounding
    of pooling do not; they are set to what is usual in the scheme.

    Raises
    ------
    ValueError
        If the scheme has no names for this network; the message names the network that does fit.
    """
    shape = shape or models.image_shape(model)
    try:
        return _settings(shapes, model, scheme, shape)
    except ValueError as error:
        advice = suggestion(shapes, scheme)
        raise ValueError(f"{error}; {advice}" if advice else str(error)) from None


def _settings(shapes: Shapes, model: str, scheme: Scheme, shape: Shape) -> dict[str, Any]:
    accepted = inspect.signature(models.KNOWN[model].make).parameters
    settings = {name: value for name, value in scheme.settings.items() if name in accepted}
    gated = model.startswith("se")
    widest = models.build(model, **settings, **({"bias": True} if gated else {}))
    theirs = {t.ours: t.theirs for t in tensors(widest, shape, scheme)}
    if (classes := (*shapes.get(theirs["classifier.W"], ()), 0)[0]) >= 1:
        settings["classes"] = classes
    if gated:
        first = next(name for name in theirs if name.endswith(".W1")).removesuffix("W1")
        settings["bias"] = theirs[f"{first}b1"] in shapes
        sizes = [tuple(shapes.get(name, ())[:2]) for ours, name in theirs.items() if ours.endswith(".W1")]
        settings |= _hidden_units([size for size in sizes if len(size) == 2 and min(size) > 0])
    return settings


def _hidden_units(sizes: list[tuple[int, ...]]) -> dict[str, int]:
    """Return the reduction ratio, and the divisor if one is needed, that give these hidden units and channels."""
    ratios = dict.fromkeys(C // h for h, C in sizes if h <= C)
    for divisor in DIVISORS:
        for r in ratios:
            if all(hidden_units(C, r, divisor) == h for h, C in sizes if r <= C):
                return {"reduction": r, **({"divisor": divisor} if divisor > 1 else {})}
    return {"reduction": next(iter(ratios))} if ratios else {}


def suggestion(shapes: Shapes, scheme: Scheme, model: str | None = None) -> str:
    """Return a sentence that names the network the tensors do fit, or explains why none does, or ""."""
    for name in (*((model,) if model else ()), *models.NAMES):
        try:
            shape = models.image_shape(name)
            settings = _settings(shapes, name, scheme, shape)
            fits = not compare(shapes, tensors(models.build(name, **settings), shape, scheme))
        except ValueError:  # the scheme has no names for it, or the settings are invalid
            continue
        if fits:
            given = "".join(f", {setting}={value!r}" for setting, value in settings.items())
            return f"these are the tensors of build({name!r}{given})"
    first = scheme.se[0]
    sizes = {tuple(s[:2]) for name, s in shapes.items() if name.endswith(f"{first}.weight") and len(s) in (2, 4)}
    if sizes and not any(
        all(hidden_units(C, r, d) == h for h, C in sizes if r <= C) for r in range(1, 65) for d in DIVISORS
    ):
        listed = ", ".join(f"{h} for {C}" for h, C in sorted(sizes))
        return f"its SE blocks have hidden units and channels that no single reduction ratio gives: {listed}"
    return ""


def _grouped(kind: str, items: list[tuple[str, str]]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for name, more in items:
        pattern = re.sub(r"\d+(?=\.)|(?<=inception_)\d\w", "*", name)
        groups.setdefault(pattern, []).append(printable(name) + more)
    lines = [
        f"  {kind}: {names[0]}" if len(names) == 1 else f"  {kind}: {len(names)} like {names[0]}"
        for names in groups.values()
    ]
    rest = sum(map(len, list(groups.values())[MAX_GROUPS:]))
    return [*lines[:MAX_GROUPS], f"  {kind}: {rest} more"] if rest else lines
