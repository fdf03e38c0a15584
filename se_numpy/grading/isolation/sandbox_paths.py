"""What a child may read: the interpreter, the standard library, NumPy, the system's libraries; nothing else.

Packages lie side by side in site-packages, so those folders are hidden and only NumPy is shown again.
"""

import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import se_numpy
from se_numpy.grading import sandbox_worker
from se_numpy.grading.isolation import lockdown


@dataclass(frozen=True)
class SandboxPaths:
    """Paths without links in them."""

    interpreter: str
    roots: tuple[str, ...]  # folders to be read
    hidden: tuple[str, ...]  # folders within them that are not
    shown: tuple[str, ...]  # files and folders, within those or elsewhere, that are
    numpy: str = os.path.dirname(os.path.realpath(np.__file__))
    runner: str = os.path.realpath(sandbox_worker.__file__)
    lockdown: str = os.path.realpath(lockdown.__file__)

    def readable(self) -> Iterator[str]:
        """The same as a list of what may be read, without exceptions: a root with something hidden is its parts."""
        for root in self.roots:
            yield from self._without_hidden(root)
        yield from self.shown

    def _without_hidden(self, path: str) -> Iterator[str]:
        if path in self.hidden:
            return
        if not any(h.startswith(path + os.sep) for h in self.hidden):
            yield path
            return
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.is_symlink():  # what it points to is a part of a root, or not to be read
                    yield from self._without_hidden(entry.path)
                elif not any(h == os.path.realpath(entry) for h in self.hidden):
                    yield entry.path


@cache
def places() -> SandboxPaths:
    """Of this interpreter and this NumPy."""
    interpreter = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    library = os.path.realpath(sysconfig.get_path("stdlib"))
    wanted = [str(Path(interpreter).parents[1] / "lib"), library, "/lib", "/lib64", "/usr/lib", "/usr/lib64"]
    found = {os.path.realpath(path) for path in wanted if os.path.isdir(path)}
    roots = sorted(r for r in found if not any(r != other and r.startswith(other + os.sep) for other in found))
    hidden = set()
    for root in roots:
        for pattern in ("{}-packages", "python*/{}-packages", "*/python*/{}-packages"):
            for kind in ("site", "dist"):
                hidden |= {os.path.realpath(path) for path in Path(root).glob(pattern.format(kind))}
    ours = os.path.dirname(os.path.realpath(se_numpy.__file__))
    listed = {os.path.realpath(path) for path in sys.path if path.rstrip(os.sep).endswith("-packages")}
    inside = {h for h in hidden | listed | {ours} if any(h.startswith(root + os.sep) for root in roots)}
    folder = os.path.dirname(os.path.realpath(np.__file__))
    shown = [interpreter, folder, *(p for p in (f"{folder}.libs", "/etc/ld.so.cache") if os.path.exists(p))]
    return SandboxPaths(interpreter, tuple(roots), tuple(sorted(inside)), tuple(shown))
