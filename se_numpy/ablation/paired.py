"""Comparisons with few seeds: paired differences, their confidence intervals, and what can be concluded from them.

Two settings are compared seed by seed: with the same seed, they share the order of the images, the split and the crops,
so part of the random variation cancels. The interval is Student's, for the mean of the differences.
"""

import math
import statistics
from collections.abc import Mapping
from typing import NamedTuple

# The 97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom.  For more degrees of freedom, the last one is
# used, which is slightly conservative.
STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


class Difference(NamedTuple):
    """The mean difference over the common seeds and its 95 % interval, which is None for a single seed."""

    mean: float
    low: float | None
    high: float | None
    seeds: int

    @property
    def contains_zero(self) -> bool:
        """True if the interval contains zero, or if there is no interval."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


def paired(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """Return the paired difference ``values`` - ``baseline``, both by seed; None if they have no seed in common."""
    differences = [values[seed] - baseline[seed] for seed in sorted(values) if seed in baseline]
    n = len(differences)
    if n == 0:
        return None
    mean = statistics.fmean(differences)
    if n == 1:
        return Difference(mean, None, None, 1)
    half = STUDENT[min(n - 1, len(STUDENT)) - 1] * statistics.stdev(differences) / math.sqrt(n)
    return Difference(mean, mean - half, mean + half, n)


def verdict(difference: Difference | None, sampling: float) -> str:
    """Say what can be concluded from a difference between test errors, in percentage points.

    ``sampling`` is half the 95 % interval of one network's error over test images, which more seeds do not reduce.
    """
    if difference is None:
        return "not run yet: no seed has both runs"
    if difference.seeds == 1:
        return "one seed: no interval and so no conclusion"
    n, small = difference.seeds, abs(difference.mean) < sampling
    seeds = f"{n} seeds, so a very wide interval" if n == 2 else f"{n} seeds"
    if difference.low == difference.high == 0:
        return f"no difference for any of {seeds}"
    if difference.contains_zero:
        remark = f"; below the sampling error of the test set, ± {sampling:.1f}" if small else ""
        return f"within noise: the interval contains 0 ({seeds}){remark}"
    direction = "higher error" if difference.mean > 0 else "lower error"
    remark = f", but below the sampling error of the test set, ± {sampling:.1f}: it may be due to the images"
    return f"{direction} ({seeds}){remark if small else ''}"
