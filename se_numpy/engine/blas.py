"""BLAS held to one thread while the engine's own threads share the work."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

# The names that OpenBLAS gives to processors with AVX-512. For these it has kernels for small matrices, which need no
# packing; not for others.
WITH_SMALL_KERNELS = {"SkylakeX", "Cooperlake", "SapphireRapids"}

_controller: Any = None  # threadpoolctl's, made once: it looks through all loaded libraries
_limit: Any = None
_depth = 0
_lock = threading.Lock()
_process = os.getpid()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Have BLAS run each product on the thread that asks for it.  Nested uses cost nothing.

    A child that is forked inside gets BLAS's own number of threads back: it may never come to the end of the block.
    """
    global _limit, _depth
    with _lock:
        if _depth == 0:
            _limit = _libraries().limit(limits=1)
        _depth += 1
    entered_in = _process
    try:
        yield
    finally:
        if entered_in == _process:
            with _lock:
                _depth -= 1
                if _depth == 0:
                    _limit.restore_original_limits()


@cache
def has_small_kernels() -> bool:
    """Whether BLAS multiplies small matrices faster than the same numbers in a large one."""
    with _lock:
        return any(library.get("architecture") in WITH_SMALL_KERNELS for library in _libraries().info())


def _libraries() -> Any:
    """The BLAS libraries of this process, as threadpoolctl sees them."""
    global _controller
    if _controller is None:
        from threadpoolctl import ThreadpoolController

        _controller = ThreadpoolController().select(user_api="blas")
    return _controller


def _after_fork() -> None:
    """In a child: no thread that held the lock or the limit exists any more, so both start anew."""
    global _depth, _lock, _process
    _lock, _process = threading.Lock(), os.getpid()
    if _depth:
        _depth = 0
        _limit.restore_original_limits()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
