"""Networks as data: a nested table of kinds and fields, as in JSON, from which the same network is built again.

A description is never executed. It is built from a table of known kinds: the layers of this package, and those that
were registered.
"""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from se_numpy.layers.combinators import Combinator, Concat, Serial, Sum
from se_numpy.layers.excitation import SE, NoSqueeze, SEVariant
from se_numpy.layers.layer import Layer
from se_numpy.layers.simple import (
    BatchNorm,
    Bias,
    ChannelShuffle,
    Conv,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Linear,
    Pool,
    ReLU,
)

L = TypeVar("L", bound=type[Layer])
OWN_LAYERS: tuple[type[Layer], ...] = (
    BatchNorm, Bias, ChannelShuffle, Concat, Conv, Dropout, Flatten, GlobalAveragePool, Linear, NoSqueeze, Pool, ReLU,
    SE, SEVariant, Serial, Sum,
)  # fmt: skip
KINDS: dict[str, type[Layer]] = {kind.__name__: kind for kind in OWN_LAYERS}


def register(kind: L) -> L:
    """Add a class of layers to the known kinds, so that networks with it can be saved and loaded; also a decorator.

    Raises
    ------
    TypeError
        If it is not a dataclass derived from Layer.
    ValueError
        If another kind has its name.
    """
    if not (isinstance(kind, type) and issubclass(kind, Layer) and is_dataclass(kind)):
        raise TypeError(f"got {kind!r}; expected a dataclass derived from Layer")
    known = KINDS.get(kind.__name__, kind)
    if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise ValueError(f"{kind.__name__} is already the name of {known!r}; expected another name")
    KINDS[kind.__name__] = kind
    return kind


def describe(layer: Layer) -> dict[str, Any]:
    """Return the description of a layer or a network: its kind and its fields.

    Raises
    ------
    TypeError
        If a part is not a layer of a known kind, or a field is not a number, a text, true, false or None.
    """
    if KINDS.get(type(layer).__name__) is not type(layer):
        name = type(layer).__name__
        raise TypeError(
            f"{name} is not a known kind of layer, so a network with it cannot be saved; "
            f"register it first: se_numpy.layers.register({name})"
        )
    if isinstance(layer, Combinator):
        extra = [field.name for field in fields(layer) if field.name != "parts"]
        parts = [[name, describe(part)] for name, part in layer.parts]
        return {"layer": type(layer).__name__, "parts": parts, "fields": _values(layer, extra)}
    return {"layer": type(layer).__name__, "fields": _values(layer, [field.name for field in fields(layer)])}


def _values(layer: Layer, names: Iterable[str]) -> dict[str, Any]:
    found = {name: getattr(layer, name) for name in names}
    for name, value in found.items():
        if not (value is None or type(value) in (bool, int, float, str)):
            raise TypeError(
                f"{name} of {type(layer).__name__} is {value!r}; expected a number, a text, True, False or None, "
                "because only these are saved"
            )
    return found


def from_description(found: Any) -> Layer:
    """Build the layer or the network with this description, which may come from a file that is not trusted.

    Raises
    ------
    ValueError
        If it is not a description, or a kind is not known, or a field does not fit.
    """
    try:
        return _built(found)
    except RecursionError:
        raise ValueError("the description of the network is nested too deeply") from None


def _built(found: Any) -> Layer:
    given = found.get("fields", {}) if isinstance(found, dict) else None
    if not (isinstance(found, dict) and isinstance(found.get("layer"), str) and isinstance(given, dict)):
        raise ValueError("the description of the network has a part that is not a kind of layer with its fields")
    name = found["layer"]
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(
            f"the network has a layer of kind {name[:60]!r}, which is not known; if it is your own, import it and call "
            "se_numpy.layers.register with it first"
        )
    try:
        if unknown := given.keys() - ({field.name for field in fields(kind)} - {"parts"}):
            raise ValueError(f"it has no field {min(unknown)[:60]!r}")
        if any(isinstance(value, (dict, list)) for value in given.values()):
            raise ValueError("expected a single value in every field")
        if not issubclass(kind, Combinator):
            return kind(**given)
        parts = tuple((str(part), _built(inner)) for part, inner in found.get("parts", ()))
        return kind(parts, **given)
    except (TypeError, ValueError) as error:
        if str(error).startswith(("the network", "the description", "layer ")):
            raise
        raise ValueError(f"layer {name} of the network is not valid: {error}") from None
