"""Does it fit?  What a file's tensors say of the network they are of, and what keeps them from fitting another."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from se_numpy import models
from se_numpy.interop.names import Tensor, tensors
from se_numpy.interop.schemes import Scheme, shown
from se_numpy.layers import Shape

Shapes = Mapping[str, Shape]
LINES = 8  # groups of names that a list shows of each kind


@dataclass(frozen=True)
class Comparison:
    """What is missing in a file, what is left over, and what has another shape: (name, given, expected)."""

    missing: list[str]
    surplus: list[str]
    misshapen: list[tuple[str, Shape, Shape]]

    def __bool__(self) -> bool:
        return bool(self.missing or self.surplus or self.misshapen)

    def lines(self) -> list[str]:
        """For people: names that differ by a number alone share a line."""
        told = []
        for what, names in (("missing", self.missing), ("left over", self.surplus)):
            told += _grouped(what, [(name, "") for name in names])
        return told + _grouped("another shape", [
            (name, f": {given}, expected {expected}") for name, given, expected in self.misshapen
        ])  # fmt: skip


def compare(shapes: Shapes, wanted: list[Tensor]) -> Comparison:
    """The tensors that are there beside those of a network."""
    known = {t.theirs for t in wanted} | {t.less for t in wanted}
    return Comparison(
        [t.theirs for t in wanted if t.theirs not in shapes],
        [name for name in shapes if name not in known and not name.endswith("num_batches_tracked")],
        [
            (t.theirs, tuple(shapes[t.theirs]), t.shape)
            for t in wanted if t.theirs in shapes and not alike(shapes[t.theirs], t.shape)
        ],
    )  # fmt: skip


def alike(given: Shape, expected: Shape) -> bool:
    """Whether the shapes are one, or those of a matrix and of the 1x1 convolution that it is."""
    return tuple(given) == tuple(expected) or (
        {len(given), len(expected)} == {2, 4} and (*given, 1, 1)[:4] == (*expected, 1, 1)[:4]
    )


def settings_of(shapes: Shapes, model: str, scheme: Scheme, shape: Shape | None = None) -> dict[str, Any]:
    """What ``models.build(model, ...)`` needs to be the network of these tensors, so far as they or the scheme tell.

    Classes, reduction and biases are in the tensors; where the stride is, and how pooling ends, is custom.
    Raises ValueError where the scheme has no names for this network, and says what the tensors are of.
    """
    shape = shape or models.image_shape(model)
    try:
        return _settings(shapes, model, scheme, shape)
    except ValueError as error:
        advice = hint(shapes, scheme)
        raise ValueError(f"{error}; {advice}" if advice else str(error)) from None


def _settings(shapes: Shapes, model: str, scheme: Scheme, shape: Shape) -> dict[str, Any]:
    takes = inspect.signature(models.KNOWN[model].make).parameters
    settings = {name: value for name, value in scheme.settings.items() if name in takes}
    gated = model.startswith("se")
    widest = models.build(model, **settings, **({"bias": True} if gated else {}))
    theirs = {t.ours: t.theirs for t in tensors(widest, shape, scheme)}
    if (classes := (*shapes.get(theirs["classifier.W"], ()), 0)[0]) >= 1:
        settings["classes"] = classes
    if gated:
        first = next(name for name in theirs if name.endswith(".W1")).removesuffix("W1")
        settings["bias"] = theirs[f"{first}b1"] in shapes
        h, C = (*shapes.get(theirs[f"{first}W1"], ()), 0, 0)[:2]
        if h and C // h:
            settings["reduction"] = C // h
    return settings


def hint(shapes: Shapes, scheme: Scheme, model: str | None = None) -> str:
    """The network that the tensors do fit, if one has a name; else what of it can be told, or ""."""
    for name in (*((model,) if model else ()), *models.NAMES):
        try:
            shape = models.image_shape(name)
            settings = _settings(shapes, name, scheme, shape)
            fits = not compare(shapes, tensors(models.build(name, **settings), shape, scheme))
        except ValueError:  # the scheme has no names for it, or its settings make no such network
            continue
        if fits:
            given = "".join(f", {setting}={value!r}" for setting, value in settings.items())
            return f"these are the tensors of build({name!r}{given})"
    first = scheme.se[0]
    sizes = {tuple(s[:2]) for name, s in shapes.items() if name.endswith(f"{first}.weight") and len(s) in (2, 4)}
    if sizes and not any(all(C // r == h for h, C in sizes) for r in range(1, 65)):
        listed = ", ".join(f"{h} of {C}" for h, C in sorted(sizes))
        return f"its SE blocks have {listed} hidden units and channels, which no one reduction gives"
    return ""


def _grouped(what: str, items: list[tuple[str, str]]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for name, more in items:
        kind = re.sub(r"\d+(?=\.)|(?<=inception_)\d\w", "*", name)
        groups.setdefault(kind, []).append(shown(name) + more)
    lines = [
        f"  {what}: {names[0]}" if len(names) == 1 else f"  {what}: {len(names)} like {names[0]}"
        for names in groups.values()
    ]
    rest = sum(map(len, list(groups.values())[LINES:]))
    return [*lines[:LINES], f"  {what}: {rest} more"] if rest else lines
