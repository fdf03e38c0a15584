"""File locks: at most one process writes to a file or folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from se_numpy.data.cifar import DataError


class Busy(DataError):
    """Another process holds the lock."""


@contextmanager
def lock_file(path: Path, doing: str) -> Iterator[None]:
    """Hold a lock on an existing file or folder; the system releases it when the process ends.

    On Windows, in a browser, and on file systems without locks, this does nothing.

    Raises
    ------
    Busy
        If another process holds the lock. ``doing`` completes its message: "PATH is being ... by another run".
    """
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock  # Windows has no fcntl, and Pyodide's has no flock
    except ImportError:
        yield
        return
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)  # another user may have put a symbolic link here
    try:
        try:
            flock(handle, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise Busy(f"{path} is being {doing} by another run; wait for it to finish.") from None
        except OSError:
            pass
        if not os.path.samestat(os.fstat(handle), os.stat(path)):
            raise Busy(f"{path} was replaced by another run; repeat the command.")
        yield
    finally:
        os.close(handle)
