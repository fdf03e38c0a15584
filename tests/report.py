"""What the proofs amount to, as tables:  python tests/report.py

For each pair of forward and backward the worst relative gradient error over a hundred random cases, by central
differences and by a complex step; for each planted mistake the check that catches it.
"""

from types import SimpleNamespace

from mistakes import MISTAKES
from pairs import PAIRS, Chance
from test_mistakes import caught

import se_numpy
from se_numpy.gradcheck import TOLERANCE

CASES = 100


def main() -> None:
    print(f"worst relative error of a gradient over {CASES} random cases (tolerance {TOLERANCE:g})\n")
    print(f"{'operation':24s} {'central differences':>20s} {'complex step':>14s}")
    for pair in PAIRS.values():
        errors = [pair.check_gradient(se_numpy, *pair.case(Chance(seed))) for seed in range(CASES)]
        central, complex_step = (max(column) for column in zip(*errors, strict=True))
        print(f"{pair.name:24s} {central:20.1e} {complex_step:14.1e}")
    print(f"\n{len(MISTAKES)} planted mistakes\n")
    for mistake in MISTAKES:
        lib = SimpleNamespace(**(vars(se_numpy) | {mistake.function: mistake.wrong}))
        check = caught(PAIRS[mistake.caught_by], lib) or "NOT CAUGHT"
        print(f"{mistake.name:42s} {mistake.function:30s} {check} of {mistake.caught_by}")


if __name__ == "__main__":
    main()
