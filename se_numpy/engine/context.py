"""Whether the engine is on: for the whole process by the environment, or for some lines by a context."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_off: ContextVar[bool | None] = ContextVar("se_numpy_engine_off", default=None)


def enabled() -> bool:
    """Return whether the engine runs what it is given; if not, the book does: ``off()``, or SE_NUMPY_ENGINE=off.

    Raises ValueError where the variable is neither on nor off.
    """
    if (inside := _off.get()) is not None:
        return not inside
    setting = os.environ.get("SE_NUMPY_ENGINE", "") or "on"
    if setting not in ("on", "off"):
        raise ValueError(f"SE_NUMPY_ENGINE is {setting!r}; expected on or off")
    return setting == "on"


@contextmanager
def off() -> Iterator[None]:
    """Run plain networks and the book's functions inside: slower, and every line can be stepped through.

    As any context variable, it does not reach threads that are started inside.
    """
    token = _off.set(True)
    try:
        yield
    finally:
        _off.reset(token)
