"""``se-numpy info``: describe the machine and the installation, and say how to install what is missing."""

import time
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from se_numpy.data.search_paths import find
from se_numpy.data.sources import TITLES
from se_numpy.engine import single_threaded_blas
from se_numpy.install_hints import install_command
from se_numpy.train import choose_device
from se_numpy.train.environment import cupy_version, environment, version
from se_numpy.wrapping import terminal_width, wrap_text

SIDE = 1024  # side of the matrices whose product is timed: 2 GFLOP, about ten milliseconds


class Optional(NamedTuple):
    """An optional library: its use, and the extra of this package that installs it."""

    name: str
    use: str
    extra: str
    module: str = ""


OPTIONAL = (
    Optional("matplotlib", "figures and reports", "plot"),
    Optional("jinja2", "HTML pages", "pages"),
    Optional("pillow", "image files", "plot", "PIL"),
    Optional("cupy", "GPU support", "cuda12"),  # install_command also names cuda13
    Optional("safetensors", "weights from other libraries", "weights"),
    Optional("hypothesis", "minimal counterexamples in grading", "grade"),
    Optional("distributed", "runs and grading on a cluster", "cluster"),
    Optional("torch", "comparison in benchmarks and tests", "peer"),
)


def info() -> dict[str, Any]:
    """Return the environment, libraries, speed and data sets as plain dicts and lists."""
    device, why = choose_device("auto")  # first: environment() describes a GPU only after CuPy has found it
    return {
        **{name: value for name, value in environment().items() if name not in ("data_sha256", "command")},
        "device": device,
        "why": why,
        "gflops": {"one thread": gflops(one_thread=True), "all threads": gflops()},
        "libraries": [_library(one) for one in OPTIONAL],
        "data": copies_of_data(),
    }


def gflops(*, one_thread: bool = False, repeats: int = 5) -> float:
    """Time ``repeats`` products of two float32 matrices and return the highest speed in 10⁹ operations per second."""
    A = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32)
    times = []
    with single_threaded_blas() if one_thread else nullcontext():
        for _ in range(repeats + 1):  # the first run starts the threads and is not counted
            start = time.perf_counter()
            _ = A @ A
            times.append(time.perf_counter() - start)
    return round(2 * SIDE**3 / min(times[1:]) / 1e9, 1)


def copies_of_data() -> dict[str, str]:
    """Return the path of each CIFAR data set or, if it was not found, how to download it."""
    found = {}
    for name in TITLES:
        try:
            found[name] = str(find(name))
        except (ValueError, OSError):
            found[name] = f"not found; download it with: se-numpy data download {name}"
    return found


def in_words(env: dict[str, Any]) -> list[tuple[str, str]]:
    """Return an environment as rows of name and text, leaving out unknown values."""
    versions, cpu, gpu, commit = (_dict(env, name) for name in ("versions", "cpu", "gpu", "commit"))
    libraries = [f"{name} {value}" for name, value in versions.items() if value]
    cores = [f"{cpu['usable']} of {cpu['cores']} cores" if cpu.get("usable") else "",
             f"a quota of {cpu['quota']:g} cores" if cpu.get("quota") else "",
             f"{env['threads']} threads" if env.get("threads") else ""]  # fmt: skip
    card = [gpu.get("name"), f"{gpu['memory_gib']} GiB" if gpu.get("memory_gib") else "",
            f"driver {gpu['driver']}" if gpu.get("driver") else "",
            f"CUDA {gpu['runtime_cuda']}" if gpu.get("runtime_cuda") else ""]  # fmt: skip
    changed = ", with uncommitted changes" if commit.get("changed") else ""
    rows = [
        ("versions", ", ".join(libraries)),
        ("system", str(env.get("platform") or "")),
        ("processor", str(cpu.get("model") or "")),
        ("cores", ", ".join(word for word in cores if word)),
        ("memory", f"{env['memory_gib']} GiB" if env.get("memory_gib") else ""),
        ("BLAS", "; ".join(_blas_text(one) for one in env.get("blas") or [] if isinstance(one, dict))),
        ("variables", ", ".join(f"{name}={value}" for name, value in _dict(env, "variables").items())),
        ("GPU", ", ".join(str(word) for word in card if word)),
        ("commit", f"{commit['id']}{changed}" if commit.get("id") else ""),
        ("command", str(env.get("command") or "")),
        ("data", f"SHA-256 {env['data_sha256']}" if env.get("data_sha256") else ""),
    ]
    return [(name, text) for name, text in rows if text]


def as_text(found: dict[str, Any]) -> str:
    """Format the result of ``info`` for a terminal."""
    speed = found["gflops"]
    rows = [
        *in_words(found),
        ("device", f"{found['device']} ({found['why']})"),
        ("speed", f"{speed['one thread']:g} GFLOP/s on one thread, {speed['all threads']:g} on all threads "
                  f"(float32 product of two {SIDE}x{SIDE} matrices)"),
        *found["data"].items(),
    ]  # fmt: skip
    lines = [wrap_text(f"{name:<10} {text}", 11) for name, text in rows]
    lines += ["", "Optional libraries:"]
    lines += [_library_row(one, terminal_width()) for one in found["libraries"]]
    return "\n".join(lines)


def _library_row(one: dict[str, Any], width: int | None) -> str:
    state = one["version"] or f"not installed: {one['pip']}"
    row = f"  {one['name']:<12} {one['use']:<36} {state}"
    if width is None or len(row) <= width:
        return row
    return wrap_text(f"  {one['name']:<12} {one['use']}\n{'':15}{state}", 15)


def _library(one: Optional) -> dict[str, Any]:
    there = find_spec(one.module or one.name) is not None
    number = ((cupy_version() if one.name == "cupy" else version(one.name)) or "installed") if there else None
    return {"name": one.name, "use": one.use, "version": number, "pip": install_command(one.extra)}


def _blas_text(one: dict[str, Any]) -> str:
    words = [one.get("internal_api"), one.get("version"),
             f"for {one['architecture']}," if one.get("architecture") else "",
             f"{one['num_threads']} threads" if one.get("num_threads") else ""]  # fmt: skip
    return " ".join(str(word) for word in words if word)


def _dict(env: dict[str, Any], name: str) -> dict[str, Any]:
    found = env.get(name)
    return found if isinstance(found, dict) else {}
