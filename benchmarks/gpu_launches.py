"""Count what a training step asks of a GPU, and time the host; without a GPU:  python benchmarks/gpu_launches.py

CuPy runs on host memory (tests/cupy_on_host); it needs CuPy and g++. Nothing is computed: the numbers come from the
arguments of the launches. Bytes are those of a launch's arrays, each counted once and whole. The roof is the larger of
bytes / bandwidth and FLOPs / peak, launch by launch. The host's time is the CPU time of a step whose launches, products
and copies return at once.

    python benchmarks/gpu_launches.py --against CHECKOUT

does the same with the package of another checkout; the two are timed in turn, process by process.
"""

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NAMES = ("this checkout", "the other")


@dataclass
class Row:
    """All launches of one kernel, or all calls of one routine."""

    count: int = 0
    blocks: list[int] = field(default_factory=list)
    nbytes: int = 0
    flops: int = 0
    seconds: float = 0.0

    def line(self, name: str) -> str:
        grid = "–".join(f"{blocks:,}" for blocks in sorted({min(self.blocks), max(self.blocks)})) if self.blocks else ""
        flops = f"{self.flops / 1e9:.1f}" if self.flops else ""
        return f"{name:44} {self.count:8,} {grid:>18} {self.nbytes / 1e6:10,.1f} {flops:>8} {1e3 * self.seconds:8.3f}"


def rows(launches: list[dict[str, Any]], bandwidth: float, peak: float) -> dict[str, Row]:
    """Return name -> Row for kernels and products, the slowest first; "all together" comes last."""
    table: dict[str, Row] = defaultdict(Row)
    together = Row()
    for launch in launches:
        for row in (table[launch["kernel"]], together):
            row.count += 1
            row.nbytes += launch["nbytes"]
            row.flops += launch["flops"]
            row.seconds += max(launch["nbytes"] / bandwidth, launch["flops"] / peak)
        if launch["blocks"] is not None:
            table[launch["kernel"]].blocks.append(launch["blocks"])
    return dict(sorted(table.items(), key=lambda item: -item[1].seconds)) | {"all together": together}


def show(counted: dict[str, Any], args: argparse.Namespace) -> None:
    print(f"{'kernel':44} {'launches':>8} {'blocks of a grid':>18} {'MB':>10} {'GFLOP':>8} {'roof ms':>8}")
    for name, row in rows(counted["launches"], args.bandwidth, args.flops).items():
        print(row.line(name))
    for what in ("uploads", "downloads"):
        print(f"{what:15} {len(counted[what])}" + "".join(f" {nbytes:,}" for nbytes in counted[what]))
    print(f"{'memsets':15} {counted['memsets']}")
    print(f"{'waits':15} {len(counted['waits'])}" + "".join(f" {name}" for name in counted["waits"]))
    print(f"{'device memory':15} {counted['peak_bytes'] / 1e6:,.0f} MB taken by CuPy's pool")


def in_a_process(what: str, args: argparse.Namespace, checkout: Path) -> Any:
    """Run gpu_step.py with the package of a checkout; return what it prints."""
    path = os.pathsep.join(filter(None, [str(checkout.resolve()), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, str(HERE / "gpu_step.py"), what, args.model, str(args.batch), str(args.size)]
    environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"gpu_launches.py: the step of {checkout} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def host_milliseconds(args: argparse.Namespace, checkouts: dict[str, Path]) -> dict[str, dict[str, float]]:
    """Return the median, and the least, of the CPU times of a step, from processes that take turns."""
    times: dict[str, list[float]] = {name: [] for name in checkouts}
    for _ in range(args.rounds):
        for name, checkout in checkouts.items():
            times[name] += in_a_process("time", args, checkout)
    return {name: {"median": statistics.median(ms), "least": min(ms)} for name, ms in times.items()}


def missing() -> str | None:
    """Return what has to be installed, or None."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed; run pip install 'cupy-cuda12x[ctk]'"
    return None if shutil.which("g++") else "g++ is not installed; on Debian and Ubuntu: apt install g++"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0].partition(":  ")[0])
    parser.add_argument("model", nargs="?", default="se_resnet20", help="name of a network (default: se_resnet20)")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--size", type=int, default=32, help="rows and columns of an image (default: 32)")
    parser.add_argument("--bandwidth", type=float, default=3.35e12, help="bytes per second (default: 3.35e12, an H100)")
    parser.add_argument("--flops", type=float, default=60e12, help="FLOPs per second of a product (default: 60e12)")
    parser.add_argument("--rounds", type=int, default=5, help="processes that time the host, for each checkout")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout of se_numpy to compare with")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts and times to FILE")
    args = parser.parse_args()
    if args.against and not (args.against / "se_numpy" / "__init__.py").is_file():
        parser.error(f"{args.against} is not a checkout of se_numpy: it has no se_numpy/__init__.py")
    if problem := missing():
        sys.exit(f"gpu_launches.py: {problem}")
    checkouts = dict(zip(NAMES, filter(None, (HERE.parent, args.against)), strict=False))
    record: dict[str, Any] = {"model": args.model, "batch": args.batch, "size": args.size}
    for name, checkout in checkouts.items():
        record[name] = in_a_process("count", args, checkout)
        print(f"{args.model}, batch {args.batch}, {args.size}×{args.size}: one step of {name}\n")
        show(record[name], args)
        print(flush=True)
    for name, ms in host_milliseconds(args, checkouts).items():
        record[name]["host_ms"] = ms
        print(f"host time of {name}: median {ms['median']:.1f} ms, least {ms['least']:.1f} ms")
    if args.against:
        mine, other = (record[name]["host_ms"] for name in NAMES)
        print("ratio: " + ", ".join(f"{what} {mine[what] / other[what]:.2f}" for what in mine))
    if args.json:
        args.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
