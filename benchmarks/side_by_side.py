"""Code shared by the benchmarks: timing contenders in turn, recording the environment, printing and saving."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from threadpoolctl import threadpool_info

from se_numpy.engine import enabled, threads
from se_numpy.train.environment import cupy_version

SETTLE_MS = 20.0  # PyTorch's OpenMP threads were observed to spin for 8 to 10 ms after their last call
MEASURED = 2
QUIET = 0.1  # warn if other processes keep more cores busy than this

Call = Callable[[], object]


def alternate(contenders: Mapping[str, Call], repeats: int) -> dict[str, list[float]]:
    """Return the milliseconds of every measured call; the contenders take ``repeats`` turns each, in one process.

    Taking turns spreads disturbances by other processes evenly. After a call, PyTorch's threads keep spinning for a
    while, which would take a core from the next contender, and the caches still hold the last contender's data. A turn
    therefore starts with at least two unmeasured calls, until those threads are asleep, followed by two measured ones.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, call in contenders.items():
            begun, calls = time.perf_counter(), 0
            while calls < 2 or 1e3 * (time.perf_counter() - begun) < SETTLE_MS:
                call()
                calls += 1
            times[name] += [milliseconds(call) for _ in range(MEASURED)]
    return times


def milliseconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def medians(contenders: Mapping[str, Call], repeats: int) -> dict[str, float]:
    """Return the median of each contender's milliseconds."""
    return {name: statistics.median(times) for name, times in alternate(contenders, repeats).items()}


def same_threads() -> None:
    """Give PyTorch as many threads as this library uses."""
    import torch

    torch.set_num_threads(threads())


def environment_record(*packages: str) -> dict[str, object]:
    """Return the conditions of the measurement: engine on or off, threads, versions, BLAS, processor."""
    return {
        "engine": "on" if enabled() else "off",
        "threads": threads(),
        "versions": {**{p: installed(p) for p in ("numpy", *packages)}, "python": platform.python_version()},
        "blas": blas(),
        "machine": platform.machine(),
        "cpu": processor(),
    }


def installed(package: str) -> str | None:
    if package == "cupy":  # whose wheels have other names
        return cupy_version()
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def blas() -> list[str]:
    """Return the loaded BLAS libraries, e.g. "openblas 0.3.31 (SkylakeX)", without the one linked into PyTorch."""
    found = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    return [f"{lib['internal_api']} {lib['version']} ({lib.get('architecture')})" for lib in found]


def processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def headline(what: str) -> str:
    """Return a heading: what is measured, and on which processor."""
    return f"{what}; float32, {threads()} threads, {processor()}"


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table: the first column left-aligned, the others right-aligned, numbers rounded."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    print(f"\n{title}")
    for row in cells:
        first, *rest = (f"{cell:{'<' if i == 0 else '>'}{widths[i]}}" for i, cell in enumerate(row))
        print("  ".join([first, *rest]).rstrip())


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def finish(path: str | None, record: Mapping[str, object], *packages: str) -> None:
    """Write the record and the environment as JSON, if a path is given, and warn if the machine was busy."""
    others = busy_elsewhere()
    if others is not None and others > QUIET:
        print(f"\nWarning: other processes kept {others:.2f} cores busy, so these times are not reliable.")
        print("PyTorch's threads wait for each other: if one of them loses its core, times are far too long.")
    if path:
        whole = {**record, **environment_record(*packages), "cores_busy_elsewhere": others}
        Path(path).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def busy_elsewhere() -> float | None:
    """Return how many cores other processes kept busy, on average since this process started; None without /proc.

    Child processes that have ended count as part of this process, and time taken by a virtual machine's host counts as
    other processes.
    """
    now = _clocks()
    if now is None or _BEGUN is None:
        return None
    wall, busy, own = (after - before for after, before in zip(now, _BEGUN, strict=True))
    return max(0.0, busy - own) / wall


def _clocks() -> tuple[float, float, float] | None:
    """Return three times in seconds: wall clock, and busy time of all cores and of this process with its children."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, irq, softirq, steal = (int(ticks) for ticks in stat.read_text().split()[1:9])
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter(), busy, sum(os.times()[:4])


_BEGUN = _clocks()


def peak_memory(maker: str, *args: object) -> float:
    """Return the increase in peak memory, in MB, caused by five calls in a new process.  Linux only.

    ``maker`` is "module:function" for a module in this folder; ``function(*args)`` returns the call to be measured. The
    arguments are strings and integers.
    """
    code = (
        "import importlib, json, sys; folder, maker, args = sys.argv[1:]; sys.path.insert(0, folder)\n"
        "def peak():  # of this process only; resource.getrusage includes the parent after a fork\n"
        "    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "module, function = maker.split(':')\n"
        "one = getattr(importlib.import_module(module), function)(*json.loads(args))\n"
        "before = peak(); [one() for _ in range(5)]; print((peak() - before) / 1024)"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), maker, json.dumps(args)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
