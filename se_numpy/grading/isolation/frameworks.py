"""Additions to the sandbox for a framework that the submission declares and the grader's command allows.

The list was made by tracing imports, functions, modules and autograd in a sandbox. Neither framework needs a system
call beyond those for NumPy. JAX asks for the scheduling policy of its threads and prints a line if that is refused; the
answer 0, the usual policy, is given without asking the kernel, which would answer for other processes, too.
"""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from se_numpy.grading.isolation.syscalls import Numbers


@dataclass(frozen=True)
class Framework:
    """A framework: the packages that it imports, and what it needs beyond what NumPy needs."""

    name: str
    packages: tuple[str, ...]  # that are importable in the sandbox, if they are installed
    devices: tuple[str, ...]  # that may be read
    memory_mb: int  # of address space
    threads: int
    seconds: float  # for each call, in addition
    unmade: Mapping[str, Numbers]  # system calls that return 0 without being made, with numbers as in ``syscalls``
    install: str


FRAMEWORKS = {
    "torch": Framework(
        "torch", ("torch", "torchgen", "functorch", "typing_extensions", "sympy", "mpmath", "networkx", "jinja2",
                  "markupsafe", "fsspec", "filelock", "nvidia", "triton"),
        devices=("/dev/urandom",), memory_mb=3072, threads=64, seconds=0, unmade={}, install="pip install torch"),
    "jax": Framework(
        "jax", ("jax", "jaxlib", "ml_dtypes", "opt_einsum", "scipy"),
        devices=("/dev/urandom",), memory_mb=4096, threads=128, seconds=10,
        unmade={"sched_getparam": (143, 121), "sched_getscheduler": (145, 120)}, install="pip install jax"),
}  # fmt: skip


def framework_missing(name: str) -> str:
    """Return a sentence if a framework is not installed; an empty string if it is, or is NumPy."""
    if name not in FRAMEWORKS or importlib.util.find_spec(name) is not None:
        return ""
    return f"{name} is not installed, so submissions cannot use it; install it with: {FRAMEWORKS[name].install}"


@cache
def package_paths(name: str) -> dict[str, str]:
    """Return the file or the folder of each package that a framework imports and that is installed, by its name.

    NumPy needs none.
    """
    found = {}
    for package in FRAMEWORKS[name].packages if name in FRAMEWORKS else ():
        spec = importlib.util.find_spec(package)
        if spec is None:
            continue
        places = list(spec.submodule_search_locations or [])
        origin = places[0] if places else spec.origin
        if origin:
            found[package] = os.path.realpath(origin)
    return found


def library_paths(name: str) -> tuple[str, ...]:
    """Return the folders with shared libraries beside a framework's packages, as wheels have them."""
    beside = [Path(f"{path}.libs") for path in package_paths(name).values()]
    return tuple(str(path) for path in beside if path.is_dir())
