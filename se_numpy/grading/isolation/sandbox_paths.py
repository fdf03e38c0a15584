"""The paths that a child may read: the interpreter, the standard library, NumPy and the system's libraries.

Other packages share the site-packages folder with NumPy, so that folder is hidden and only NumPy in it is visible.
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
from se_numpy.grading.isolation.frameworks import FRAMEWORKS, library_paths, package_paths


@dataclass(frozen=True)
class SandboxPaths:
    """The readable and hidden paths of a sandbox, with symbolic links resolved."""

    interpreter: str
    roots: tuple[str, ...]  # readable folders
    hidden: tuple[str, ...]  # folders in the roots that are not readable
    shown: tuple[str, ...]  # readable files and folders in hidden folders or elsewhere
    devices: tuple[str, ...] = ()  # readable devices
    numpy: str = os.path.dirname(os.path.realpath(np.__file__))
    runner: str = os.path.realpath(sandbox_worker.__file__)
    lockdown: str = os.path.realpath(lockdown.__file__)
    supervisor: str = os.path.join(os.path.dirname(os.path.realpath(__file__)), "supervisor.py")

    def readable(self) -> Iterator[str]:
        """Yield the readable paths; a root that contains a hidden folder is replaced by its readable parts."""
        for root in self.roots:
            yield from self._without_hidden(root)
        yield from self.shown
        yield from self.devices

    def _without_hidden(self, path: str) -> Iterator[str]:
        if path in self.hidden:
            return
        if not any(h.startswith(path + os.sep) for h in self.hidden):
            yield path
            return
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.is_symlink():  # a link's target is readable only if it is itself in a root
                    yield from self._without_hidden(entry.path)
                elif not any(h == os.path.realpath(entry) for h in self.hidden):
                    yield entry.path


@cache
def sandbox_paths(framework: str = "numpy") -> SandboxPaths:
    """Return the paths for this interpreter, this NumPy and a framework's packages."""
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
    devices: tuple[str, ...] = ()
    if framework in FRAMEWORKS:
        shown += [*package_paths(framework).values(), *library_paths(framework)]
        devices = FRAMEWORKS[framework].devices
    return SandboxPaths(interpreter, tuple(roots), tuple(sorted(inside)), tuple(shown), devices)
