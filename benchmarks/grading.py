"""Measure the error rates and the speed of grading:  python benchmarks/grading.py [--json FILE]

Every correct version of every task, in double and single precision and channels-first, is graded with many seeds, and
false failures are counted. Every known mistake is graded with the same seeds, and the benchmark counts how many pass,
how many are diagnosed correctly, and how many are diagnosed as another mistake. Finally it times two whole submissions,
graded as by ``se-numpy grade``: a correct one, and one that gets every function wrong.
"""

import argparse
import collections
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import finish, show

from se_numpy.grading.course import Options, grade_path
from se_numpy.grading.grade import grade_task, prepare
from se_numpy.grading.inprocess import caller
from se_numpy.grading.layout import ours, theirs
from se_numpy.grading.task import Task
from se_numpy.grading.tasks import all_tasks

COUNTED = ["right", "false", "tried", "passed", "named", "misnamed", "raised"]
RIGHT = Path(__file__).parent.parent / "tests" / "grading" / "submissions" / "right.py"


def single(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with every real argument rounded to single precision."""

    def rounded(*args: Any, **hyper: Any) -> Any:
        args = tuple(a.astype(np.float32) if getattr(a, "dtype", None) == np.float64 else a for a in args)
        return function(*args, **hyper)

    return rounded


def channels_first(task: Task, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function for channels-first arrays."""

    def transposed(*args: Any, **hyper: Any) -> Any:
        found = function(*(ours(task, k, a, "NCHW") for k, a in zip(task.inputs, args, strict=True)), **hyper)
        found = found if isinstance(found, tuple) else (found,)
        return tuple(theirs(task, k, np.asarray(a), "NCHW") for k, a in zip(task.outputs, found, strict=True))

    return transposed


def false_failures(task: Task, cases: list[Any], seed: int) -> tuple[int, int]:
    """Return how many correct versions were graded on these cases, and how many of them failed."""
    tried = failed = 0
    for function in (task.oracle, *task.alternates):
        for version, layout in (
            (function, "NHWC"), (single(function), "NHWC"), (channels_first(task, function), "NCHW")
        ):  # fmt: skip
            report = grade_task(task, caller(version), seed=seed, prepared=cases, layout=layout, seconds=0)
            tried += 1
            failed += report.status != "passed"
    return tried, failed


def mistakes(task: Task, cases: list[Any], seed: int) -> collections.Counter[str]:
    """Count the outcomes for every known mistake on these cases."""
    found: collections.Counter[str] = collections.Counter()
    for mistake in task.mistakes:
        report = grade_task(task, caller(mistake.wrong), seed=seed, prepared=cases, seconds=0)
        named = report.diagnosis.mistake if report.diagnosis else None
        found["tried"] += 1
        found["passed"] += report.status == "passed"
        found["named"] += named == mistake.name
        found["misnamed"] += named not in (None, mistake.name)
        found["raised"] += report.status not in ("passed", "failed")
    return found


def seconds(path: Path, options: Options) -> tuple[float, float]:
    """Return the time in seconds for grading a submission, and for its slowest task."""
    start = time.perf_counter()
    report = grade_path(path, options)
    return time.perf_counter() - start, max(task.seconds for task in report.tasks)


def all_wrong(folder: str) -> Path:
    """Write a submission that gets every function wrong: each returns the correct result plus one."""
    path = Path(folder) / "wrong.py"
    spoil = "\n\ndef _spoilt(f):\n    def g(*a, **k):\n        found = f(*a, **k)\n" + (
        "        return tuple(x + 1 for x in found) if isinstance(found, tuple) else found + 1\n    return g\n"
    )
    names = "".join(f"{name} = _spoilt({name})\n" for name in reversed(all_tasks()))
    path.write_text(RIGHT.read_text(encoding="utf-8") + spoil + names, encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0].partition(":  ")[0])
    parser.add_argument("--seeds", type=int, default=10, metavar="N")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    rows, total = [], collections.Counter()
    for task in all_tasks().values():
        count: collections.Counter[str] = collections.Counter()
        for seed in range(args.seeds):
            cases = prepare(task, seed)
            right, failed = false_failures(task, cases, seed)
            count += collections.Counter({"right": right, "false": failed})
            count += mistakes(task, cases, seed)
        total += count
        rows.append([task.name, *(count[k] for k in COUNTED)])
    header = ["", "correct versions", "failed", "mistakes", "passed", "diagnosed", "misdiagnosed", "raised"]
    show(f"{args.seeds} seeds each", header, [*rows, ["all", *(total[k] for k in COUNTED)]])
    quick = Options(tasks=("squeeze",))
    with tempfile.TemporaryDirectory() as folder:
        grade_path(RIGHT, quick)  # so that the one-time check of the sandbox is not timed
        times = {"one task": seconds(RIGHT, quick)[0], "a right submission": seconds(RIGHT, Options())[0]}
        whole, longest = seconds(all_wrong(folder), Options())
        times |= {"one that is wrong throughout": whole, "its longest task": longest}
    show("seconds", ["", ""], [[name, s] for name, s in times.items()])
    record = {"seeds": args.seeds, "all": {k: total[k] for k in COUNTED}, "seconds": times,
              "tasks": {row[0]: dict(zip(COUNTED, row[1:], strict=True)) for row in rows}}  # fmt: skip
    finish(args.json, record)


if __name__ == "__main__":
    main()
