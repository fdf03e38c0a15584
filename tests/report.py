"""Print the results of the checks as tables:  python tests/report.py [book] [pairs] [mistakes] [faults]

``book`` prints the number of functions and files that one call enters, and the number of lines of each pair. ``pairs``
prints the worst relative gradient error of each pair over a hundred random cases, by central differences and by a
complex step. ``mistakes`` and ``faults`` print the check that catches each planted mistake and each engine fault.
"""

import inspect
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(1, str(Path(__file__).parent / "engine"))

import cupy_double
from faults import FAULTS
from faults import caught as caught_by_contract
from mistakes import MISTAKES, caught
from pairs import PAIRS, Rng
from test_book import CALLS, entered
from test_book import PAIRS as NAMES

import se_numpy
from se_numpy.gradcheck import TOLERANCE

CASES = 100


def book() -> None:
    print(f"{'call':34s} {'functions':>9s} {'files':>6s} {'allowed':>10s}")
    for name, (call, functions, files) in CALLS.items():
        found = entered(call)
        print(f"{name:34s} {len(found):9d} {len({file for file, _ in found}):6d} {functions:6d} / {files}")
    print(f"\n{'pair':34s} lines")
    for name in NAMES:
        forward, backward = (inspect.unwrap(getattr(se_numpy, f)) for f in (name, f"{name}_backward"))
        lines, first = inspect.getsourcelines(backward)
        print(f"{name:34s} {first + len(lines) - inspect.getsourcelines(forward)[1]:5d}")


def pairs() -> None:
    print(f"worst relative error of a gradient over {CASES} random cases (tolerance {TOLERANCE:g})\n")
    print(f"{'operation':24s} {'central differences':>20s} {'complex step':>14s}")
    for pair in PAIRS.values():
        errors = [pair.check_gradient(se_numpy, *pair.case(Rng(seed))) for seed in range(CASES)]
        central, complex_step = (max(column) for column in zip(*errors, strict=True))
        print(f"{pair.name:24s} {central:20.1e} {complex_step:14.1e}")


def mistakes() -> None:
    print(f"{len(MISTAKES)} planted mistakes\n")
    for mistake in MISTAKES:
        lib = SimpleNamespace(**(vars(se_numpy) | {mistake.function: mistake.wrong}))
        check = caught(PAIRS[mistake.caught_by], lib) or "NOT CAUGHT"
        print(f"{mistake.name:46s} {mistake.function:30s} {check} of {mistake.caught_by}")


def faults() -> None:
    print(f"{len(FAULTS)} faults planted in the engine\n")
    sys.modules["cupy"] = cupy_double.module
    for fault in FAULTS:
        with fault.planted():
            by = caught_by_contract(cupy_double.module if fault.on_device else None) or "NOT CAUGHT"
        print(f"{fault.name:58s} {by}")


TABLES = {"book": book, "pairs": pairs, "mistakes": mistakes, "faults": faults}

if __name__ == "__main__":
    for k, table in enumerate(sys.argv[1:] or TABLES):
        print(end="\n" if k else "")
        TABLES[table]()
