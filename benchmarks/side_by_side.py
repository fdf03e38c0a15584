"""What the benchmarks share: contenders that take turns, the surroundings they ran in, tables and records."""

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

SETTLE_MS = 20.0  # the threads of PyTorch's OpenMP were seen to spin for 8 to 10 ms after their last call
MEASURED = 2
QUIET = 0.1  # cores that others may keep busy before a table says that it is not to be trusted

Call = Callable[[], object]


def alternate(contenders: Mapping[str, Call], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of every measured call of each contender; they take turns, ``repeats`` turns each, in one process.

    Whatever else the machine does hits all of them so. PyTorch's threads keep spinning for a while after their last
    call and would take a core from whoever comes next, and the caches still hold what belonged to the last: so a turn
    is two unmeasured calls, more until those threads have gone to sleep, followed by two measured ones.
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
    """The median of each contender's milliseconds."""
    return {name: statistics.median(times) for name, times in alternate(contenders, repeats).items()}


def same_threads() -> None:
    """Gives PyTorch as many threads as this library takes."""
    import torch

    torch.set_num_threads(threads())


def surroundings(*packages: str) -> dict[str, object]:
    """What a number depends on beside the code: engine on or off, threads, versions of packages, BLAS, processor."""
    return {
        "engine": "on" if enabled() else "off",
        "threads": threads(),
        "versions": {**{p: installed(p) for p in ("numpy", *packages)}, "python": platform.python_version()},
        "blas": blas(),
        "machine": platform.machine(),
        "cpu": processor(),
    }


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def blas() -> list[str]:
    """The BLAS libraries that are loaded, as "openblas 0.3.31 (SkylakeX)"; PyTorch's own is linked in and not seen."""
    found = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    return [f"{lib['internal_api']} {lib['version']} ({lib.get('architecture')})" for lib in found]


def processor() -> str:
    """What the processor calls itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def headline(what: str) -> str:
    """What a table shows, and on what machine."""
    return f"{what}; float32, {threads()} threads, {processor()}"


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table of text: the first column to the left, numbers to the right, with as many digits as they deserve."""
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
    """The record and its surroundings as JSON, if a path is given; a warning if the machine was not quiet."""
    others = busy_elsewhere()
    if others is not None and others > QUIET:
        print(f"\nNot to be trusted: meanwhile others kept {others:.2f} cores busy.")
        print("Threads of PyTorch wait for each other: where one has lost its core, times are many times too long.")
    if path:
        whole = {**record, **surroundings(*packages), "cores_busy_elsewhere": others}
        Path(path).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def busy_elsewhere() -> float | None:
    """How many cores all else on this machine kept busy, on average since this process began to measure.

    Processes that this one started and waited for are its own; what a host took from its guest is somebody else's.
    None where there is no /proc.
    """
    now = _clocks()
    if now is None or _BEGUN is None:
        return None
    wall, busy, own = (after - before for after, before in zip(now, _BEGUN, strict=True))
    return max(0.0, busy - own) / wall


def _clocks() -> tuple[float, float, float] | None:
    """Seconds: by the clock, all cores busy, and of these this process and what it started."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, irq, softirq, steal = (int(ticks) for ticks in stat.read_text().split()[1:9])
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter(), busy, sum(os.times()[:4])


_BEGUN = _clocks()


def peak_memory(maker: str, *args: object) -> float:
    """MB that five calls take above what the process had before its first one, in a process of its own.  On Linux.

    ``maker`` is "module:function" of a module in this folder; ``function(*args)``, of strings and whole numbers,
    returns what is called.
    """
    code = (
        "import importlib, json, sys; folder, maker, args = sys.argv[1:]; sys.path.insert(0, folder)\n"
        "def peak():  # of this process alone, which resource.getrusage is not after a fork\n"
        "    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "module, function = maker.split(':')\n"
        "one = getattr(importlib.import_module(module), function)(*json.loads(args))\n"
        "before = peak(); [one() for _ in range(5)]; print((peak() - before) / 1024)"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), maker, json.dumps(args)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
