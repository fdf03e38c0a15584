"""Temporary folders that do not outlive the grader for long.

A folder contains a lock, which the system releases when the grader ends, however it ends. A folder whose lock is free
was left by a grader that was killed; the next grader removes it.
"""

import contextlib
import os
import shutil
import stat
import tempfile
import time
import weakref
from functools import cache

_PREFIX, _UNFINISHED = "se_numpy-", ".se_numpy-"
_DAY = 86400


_open: "weakref.WeakSet[Scratch]" = weakref.WeakSet()


def _close_copies() -> None:
    """Close the locks that a copy of the grader inherited, which would outlive it."""
    for folder in list(_open):
        folder.release()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_copies)


class Scratch:
    """A new temporary folder, ``path``, for this process; a context manager that removes it at the end."""

    def __init__(self) -> None:
        import fcntl

        remove_left_folders()
        new = tempfile.mkdtemp(prefix=_UNFINISHED)
        self._lock = os.open(os.path.join(new, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.mkdir(os.path.join(new, "files"))
        parent, name = os.path.split(new)
        self._folder = os.path.join(parent, _PREFIX + name.removeprefix(_UNFINISHED))
        os.rename(new, self._folder)  # under its final name, the folder is always locked
        self.path = os.path.join(self._folder, "files")
        _open.add(self)

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder with everything in it."""
        if self._lock >= 0:
            _remove(self._folder)
            self.release()

    def release(self) -> None:
        """Close the lock, so that another process may remove the folder."""
        os.close(self._lock)
        self._lock = -1


@cache
def remove_left_folders() -> None:
    """Remove this user's folders whose graders have ended.  Only the first call in a process does anything."""
    with os.scandir(tempfile.gettempdir()) as entries:
        found = [entry.path for entry in entries if entry.name.startswith((_PREFIX, _UNFINISHED))]
    for folder in found:
        with contextlib.suppress(OSError):  # removed by another process, or another user's
            status = os.lstat(folder)
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and _is_left(folder, status.st_mtime):
                _remove(folder)


def _is_left(folder: str, changed: float) -> bool:
    """Return True if no process holds the folder's lock; a folder without a lock must be a day old."""
    import fcntl  # does not exist on Windows

    if os.path.basename(folder).startswith(_UNFINISHED):
        return changed < time.time() - _DAY
    try:
        lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return changed < time.time() - _DAY
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(lock)


def _remove(folder: str) -> None:
    """Remove a folder, including subfolders that a submission has made unreadable."""
    for parent, folders, _ in os.walk(folder):
        for path in (os.path.join(parent, name) for name in folders):
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
