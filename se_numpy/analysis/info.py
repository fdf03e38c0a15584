"""``se-numpy info``: what this machine and this installation have, what is missing, and how to get it."""

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
from se_numpy.wrapping import wrap_text

SIDE = 1024  # of the matrices whose product is timed: 2 GFLOP, some ten milliseconds


class Optional(NamedTuple):
    """A library that not everybody needs: what for, and the extra of this package that brings it."""

    name: str
    use: str
    extra: str
    module: str = ""


OPTIONAL = (
    Optional("matplotlib", "figures and reports", "plot"),
    Optional("jinja2", "HTML pages", "pages"),
    Optional("pillow", "image files", "plot", "PIL"),
    Optional("cupy", "a GPU", "cuda12"),  # or cuda13; said below
    Optional("safetensors", "weights from elsewhere", "weights"),
    Optional("hypothesis", "smallest counterexamples in grading", "grade"),
    Optional("distributed", "grading on a cluster", "cluster"),
    Optional("torch", "the peer in benchmarks and tests", "peer"),
)


def info() -> dict[str, Any]:
    """All of it as plain dicts and lists: the environment, libraries, speed, data sets."""
    device, why = choose_device("auto")  # first, for a GPU is described once CuPy has found one
    return {
        **{name: value for name, value in environment().items() if name not in ("data_sha256", "command")},
        "device": device,
        "why": why,
        "gflops": {"one thread": gflops(one_thread=True), "all threads": gflops()},
        "libraries": [_library(one) for one in OPTIONAL],
        "data": copies_of_data(),
    }


def gflops(*, one_thread: bool = False, repeats: int = 5) -> float:
    """How many 10⁹ operations a second this BLAS does in one product of float32 matrices: the best of a few."""
    A = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32)
    times = []
    with single_threaded_blas() if one_thread else nullcontext():
        for _ in range(repeats + 1):  # the first one wakes the threads
            start = time.perf_counter()
            _ = A @ A
            times.append(time.perf_counter() - start)
    return round(2 * SIDE**3 / min(times[1:]) / 1e9, 1)


def copies_of_data() -> dict[str, str]:
    """Where each CIFAR is found, or how to get it."""
    found = {}
    for name in TITLES:
        try:
            found[name] = str(find(name))
        except (ValueError, OSError):
            found[name] = f"not found: se-numpy data download {name} gets it"
    return found


def in_words(env: dict[str, Any]) -> list[tuple[str, str]]:
    """An environment as rows for people; what it does not know is left out."""
    versions, cpu, gpu, commit = (_dict(env, name) for name in ("versions", "cpu", "gpu", "commit"))
    libraries = [f"{name} {value}" for name, value in versions.items() if value]
    cores = [f"{cpu['usable']} of {cpu['cores']} cores" if cpu.get("usable") else "",
             f"a quota of {cpu['quota']:g} cores" if cpu.get("quota") else "",
             f"{env['threads']} threads" if env.get("threads") else ""]  # fmt: skip
    card = [gpu.get("name"), f"{gpu['memory_gib']} GiB" if gpu.get("memory_gib") else "",
            f"driver {gpu['driver']}" if gpu.get("driver") else "",
            f"CUDA {gpu['runtime_cuda']}" if gpu.get("runtime_cuda") else ""]  # fmt: skip
    changed = ", with changes that are in no commit" if commit.get("changed") else ""
    rows = [
        ("versions", ", ".join(libraries)),
        ("system", str(env.get("platform") or "")),
        ("processor", str(cpu.get("model") or "")),
        ("cores", ", ".join(word for word in cores if word)),
        ("memory", f"{env['memory_gib']} GiB" if env.get("memory_gib") else ""),
        ("BLAS", "; ".join(_library_of_products(one) for one in env.get("blas") or [] if isinstance(one, dict))),
        ("set", ", ".join(f"{name}={value}" for name, value in _dict(env, "variables").items())),
        ("GPU", ", ".join(str(word) for word in card if word)),
        ("commit", f"{commit['id']}{changed}" if commit.get("id") else ""),
        ("command", str(env.get("command") or "")),
        ("data", f"SHA-256 {env['data_sha256']}" if env.get("data_sha256") else ""),
    ]
    return [(name, text) for name, text in rows if text]


def told(found: dict[str, Any]) -> str:
    """What ``info`` found, for a terminal."""
    speed = found["gflops"]
    rows = [
        *in_words(found),
        ("device", f"{found['device']} ({found['why']})"),
        ("speed", f"{speed['one thread']:g} GFLOP/s on one thread, {speed['all threads']:g} on all: one float32 "
                  f"product of {SIDE}x{SIDE} matrices"),
        *found["data"].items(),
    ]  # fmt: skip
    lines = [wrap_text(f"{name:<10} {text}", 11) for name, text in rows]
    lines += ["", "not everybody needs these:"]
    for one in found["libraries"]:
        state = one["version"] or f"missing   {one['pip']}"
        lines.append(f"  {one['name']:<12} {one['use']:<36} {state}")
    return "\n".join(lines)


def _library(one: Optional) -> dict[str, Any]:
    there = find_spec(one.module or one.name) is not None
    number = ((cupy_version() if one.name == "cupy" else version(one.name)) or "installed") if there else None
    return {"name": one.name, "use": one.use, "version": number, "pip": install_command(one.extra)}


def _library_of_products(one: dict[str, Any]) -> str:
    words = [one.get("internal_api"), one.get("version"),
             f"for {one['architecture']}," if one.get("architecture") else "",
             f"{one['num_threads']} threads" if one.get("num_threads") else ""]  # fmt: skip
    return " ".join(str(word) for word in words if word)


def _dict(env: dict[str, Any], name: str) -> dict[str, Any]:
    found = env.get(name)
    return found if isinstance(found, dict) else {}
