"""The engine's on/off switch: an environment variable for the process, a context manager for a few lines."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_off: ContextVar[bool | None] = ContextVar("se_numpy_engine_off", default=None)


def enabled() -> bool:
    """Return whether the engine is on.

    ``off()`` and the environment variable SE_NUMPY_ENGINE=off turn it off; compiled networks and the engine's
    operations then run the book.

    Raises
    ------
    ValueError
        If SE_NUMPY_ENGINE is set to something other than on or off.
    """
    if (inside := _off.get()) is not None:
        return not inside
    setting = os.environ.get("SE_NUMPY_ENGINE", "") or "on"
    if setting not in ("on", "off"):
        raise ValueError(f"SE_NUMPY_ENGINE is {setting!r}; expected on or off")
    return setting == "on"


@contextmanager
def off() -> Iterator[None]:
    """Run plain networks and the book's functions inside the ``with`` block: slower, but easy to step through.

    As with any context variable, threads started inside the block are not affected.
    """
    token = _off.set(True)
    try:
        yield
    finally:
        _off.reset(token)
