"""One process at a time at a file or a folder, as far as the system can see to that."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from se_numpy.data.cifar import DataError


@contextmanager
def lock_file(path: Path, doing: str) -> Iterator[None]:
    """Hold ``path``, which is there; DataError if another process does.  It is free again when this one ends or dies.

    Windows and some file systems know no such locks: there, the checksums afterwards have to do.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)  # a link may have been laid by somebody else
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{path} is being {doing} by another run: wait for that one.") from None
        except OSError:
            pass
        yield
    finally:
        os.close(handle)
