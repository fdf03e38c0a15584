"""Limit BLAS to one thread while the engine's own threads share the work."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

# OpenBLAS's names for processors with AVX-512: only for these does it have small-matrix kernels, which need no packing.
WITH_SMALL_KERNELS = {"SkylakeX", "Cooperlake", "SapphireRapids"}

_controller: Any = None  # created once, because threadpoolctl inspects all loaded libraries
_limit: Any = None
_depth = 0
_lock = threading.Lock()
_process = os.getpid()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit BLAS to the calling thread inside the ``with`` block.  Nested uses cost nothing.

    In a child process forked inside the block, BLAS gets its original number of threads back, because the child may
    never reach the end of the block.
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
    """Return whether BLAS multiplies many small matrices faster than one large matrix of the same size."""
    with _lock:
        return any(library.get("architecture") in WITH_SMALL_KERNELS for library in _libraries().info())


def _libraries() -> Any:
    """Return threadpoolctl's controller for the BLAS libraries in this process."""
    global _controller
    if _controller is None:
        from threadpoolctl import ThreadpoolController

        _controller = ThreadpoolController().select(user_api="blas")
    return _controller


def _after_fork() -> None:
    """Reset the lock and the limit in a child process: the threads that held them do not exist there."""
    global _depth, _lock, _process
    _lock, _process = threading.Lock(), os.getpid()
    if _depth:
        _depth = 0
        _limit.restore_original_limits()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
