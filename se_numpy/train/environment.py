"""The environment of a run for its env.json: versions, BLAS, processor, cores, memory, GPU, commit, command line.

Nothing here raises an error: unknown values are None. Nothing identifies the user or the host, and the only paths are
those typed on the command line.
"""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import se_numpy
from se_numpy.engine import enabled, threads

PACKAGE = Path(se_numpy.__file__).parent
PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
CUPY = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x", "cupy-cuda14x", "cupy-rocm-7-0")  # package names
LIMITS = ("SE_NUMPY_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def environment(dataset_digest: str | None = None, argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the environment of this process as plain dicts for JSON.

    ``dataset_digest`` is the digest of the data as loaded, ``argv`` the command line (default: sys.argv). The GPU is
    described only if CuPy has already been imported, because importing it takes a second.
    """
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "cpu": {"model": _cpu_model(), "cores": os.cpu_count(), "usable": usable_cores(), "quota": cpu_quota()},
        "memory_gib": memory_gib(),
        "threads": _threads(),
        "engine": _engine(),
        "variables": {name: os.environ[name] for name in LIMITS if name in os.environ},
        "blas": blas(),
        "gpu": gpu(),
        "commit": commit(),
        "command": command(sys.argv if argv is None else argv),
        "data_sha256": dataset_digest,
    }


def versions() -> dict[str, str | None]:
    """Return the versions of Python, NumPy, this library and its dependencies; None for those not installed."""
    return {
        "python": platform.python_version(), "numpy": np.__version__, "se_numpy": se_numpy.__version__,
        "threadpoolctl": version("threadpoolctl"), "tqdm": version("tqdm"),
        "cupy": cupy_version(),
    }  # fmt: skip


def cupy_version() -> str | None:
    """Return the version of CuPy under any of its package names, or None if it is not installed."""
    return next((found for name in CUPY if (found := version(name))), None)


def version(name: str) -> str | None:
    """Return the version of a library without importing it, or None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def blas() -> list[dict[str, Any]]:
    """Return the loaded BLAS libraries: name, version, target processor, threads."""
    known = ("internal_api", "version", "architecture", "threading_layer", "num_threads")
    found: list[dict[str, Any]] = []
    with suppress(Exception):
        found = [dict(library) for library in threadpool_info() if library.get("user_api") == "blas"]
    return [{key: library[key] for key in known if library.get(key) is not None} for library in found]


def usable_cores() -> int | None:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def cpu_quota() -> float | None:
    """Return the CPU quota of the container in cores (Linux, cgroups v1 and v2), or None if there is no limit.

    It may be lower than the number of visible cores; any threads beyond it wait for the others.
    """
    limits = []
    for folder in _cgroups("cpu"):
        old = (folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
        words = _words(folder / "cpu.max") or [word for path in old for word in _words(path)]
        with suppress(ValueError, ZeroDivisionError, IndexError):
            limits.append(int(words[0]) / int(words[1]))  # "max" and -1 mean no limit
    return min((round(limit, 2) for limit in limits if limit > 0), default=None)


def memory_gib() -> float | None:
    """Return the memory of the machine or the limit of the container, whichever is lower."""
    sizes = [size for size in (_physical(), *map(_limit, _cgroups("memory"))) if size]
    return round(min(sizes) / 2**30, 1) if sizes else None


def available_memory() -> int | None:
    """Return the bytes of memory that this process can still use, or None if that is unknown (Linux only)."""
    free = []
    for line in _read(PROC / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            free.append(int(line.split()[1]) << 10)
    for folder in _cgroups("memory"):
        used = _words(folder / "memory.current") or _words(folder / "memory.usage_in_bytes")
        cached = [line.split()[1] for line in _read(folder / "memory.stat").splitlines()
                  if line.split()[:1] in (["inactive_file"], ["total_inactive_file"])]  # fmt: skip
        if (limit := _limit(folder)) and used:
            free.append(limit - int(used[0]) + int(max(cached, default="0", key=int)))
    with suppress(ImportError, OSError, ValueError, IndexError):
        from resource import RLIM_INFINITY, RLIMIT_AS, getpagesize, getrlimit  # not on Windows or in Pyodide

        if (limit := getrlimit(RLIMIT_AS)[0]) != RLIM_INFINITY:
            free.append(limit - int(_words(PROC / "self" / "statm")[0]) * getpagesize())
    return max(0, min(free)) if free else None


def gpu() -> dict[str, Any] | None:
    """Describe the GPU that CuPy uses; return None if CuPy has not been imported or finds none."""
    cupy = sys.modules.get("cupy")
    if cupy is None:
        return None
    with suppress(Exception):
        runtime = cupy.cuda.runtime
        found = runtime.getDeviceProperties(cupy.cuda.Device().id)
        name = found["name"]
        return {
            "name": name.decode() if isinstance(name, bytes) else str(name),
            "memory_gib": round(found["totalGlobalMem"] / 2**30, 1),
            "compute_capability": f"{found['major']}.{found['minor']}",
            "driver_cuda": _cuda(runtime.driverGetVersion()), "runtime_cuda": _cuda(runtime.runtimeGetVersion()),
            "driver": _driver(),
        }  # fmt: skip
    return None


def commit() -> dict[str, Any] | None:
    """Return the commit of this checkout and whether tracked files have changed; None for an installed copy."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    head = _git("rev-parse", "HEAD")
    return {"id": head.strip(), "changed": bool(_git("status", "--porcelain", "-uno"))} if head else None


def command(argv: Sequence[str]) -> str:
    """Return the command line as typed, except that the program's name has no folder."""
    program = Path(argv[0]).name if argv else ""
    words = ["python", "-m", "se_numpy"] if program == "__main__.py" else [program]
    return shlex.join([*words, *argv[1:]])


def _engine() -> str | None:
    """Return "on" or "off" for the engine; None if SE_NUMPY_ENGINE has an invalid value."""
    with suppress(ValueError):
        return "on" if enabled() else "off"
    return None


def _threads() -> int | None:
    with suppress(ValueError):
        return threads()
    return None


def _cpu_model() -> str | None:
    for key in ("model name", "Model", "cpu model", "Hardware"):
        for line in _read(PROC / "cpuinfo").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key and value.strip():
                return value.strip()
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string").strip() or None
    return platform.processor() or platform.machine() or None


def _physical() -> int | None:
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _limit(folder: Path) -> int | None:
    words = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
    return int(words[0]) if words and words[0].isdecimal() else None


def _cgroups(controller: str) -> list[Path]:
    """Return the folders of this process's control groups, up to the root; each may set a limit."""
    folders = [CGROUP, CGROUP / controller]
    for line in _read(PROC / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names == "" or controller in names.split(","):
            root = CGROUP if names == "" else CGROUP / controller
            own = root / path.strip("/")
            folders += [own, *(parent for parent in own.parents if root in parent.parents)]
    return folders


def _cuda(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _driver() -> str | None:
    """Return the version of the GPU driver, such as 570.86 (Linux only)."""
    found = _read(PROC / "driver" / "nvidia" / "version").partition("Kernel Module")[2].split()
    return next((word for word in found if word[0].isdigit()), None)


def _git(*words: str) -> str:
    return _output("git", "-C", str(PACKAGE.parent), *words)


def _output(*words: str) -> str:
    """Return the output of a program, or "" if it is missing, fails or takes longer than 5 seconds."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(words, capture_output=True, text=True, timeout=5, env=variables, check=True)
        return done.stdout
    return ""


def _read(path: Path) -> str:
    with suppress(OSError, UnicodeError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def _words(path: Path) -> list[str]:
    return _read(path).split()
