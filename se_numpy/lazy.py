"""Attributes of a package that are imported when they are first used, so that ``import se_numpy`` stays fast."""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def attach(
    package: str, names: Iterable[str], submodules: Iterable[str] = (), attributes: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package that imports some of its attributes on first use.

    ``names`` are the package's public names, which ``dir`` and tab completion list. Of these, ``submodules`` are
    imported from the package, and ``attributes`` maps a name to the submodule that defines it. For type checkers the
    package imports the same names under ``if TYPE_CHECKING:``.
    """
    submodules, homes = frozenset(submodules), dict(attributes or {})
    listed = sorted({*names, *submodules, *homes})

    def get(name: str) -> Any:
        if name in submodules:
            return import_module(f"{package}.{name}")
        if name in homes:
            return getattr(import_module(f"{package}.{homes[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: list(listed)
