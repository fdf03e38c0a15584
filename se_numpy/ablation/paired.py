"""Few seeds, honestly: means, paired differences, how wide their intervals are, and when a difference says nothing.

Two settings are compared seed by seed: with the same seed they have the same order of images, the same split and the
same crops, so part of the luck cancels. The interval is Student's, for the mean of so many differences.
"""

import math
import statistics
from collections.abc import Mapping
from typing import NamedTuple

# The 97.5 % quantile of Student's t for 1, 2, ... degrees of freedom; beyond, the last one, which is a little wide.
STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


class Difference(NamedTuple):
    """The mean difference over the seeds that both have, and its 95 % interval; None where one seed gives none."""

    mean: float
    low: float | None
    high: float | None
    seeds: int

    @property
    def holds_zero(self) -> bool:
        """Whether no difference at all is within the interval, or there is no interval."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


def paired(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """How much more ``values`` are than ``baseline``, both by seed; None where no seed has both."""
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
    """What may be said of a difference between errors (in points), in words.

    ``sampling`` is how far the error of one network would move on other test images, 95 %: seeds do not average that.
    """
    if difference is None:
        return "to do: no seed has both"
    if difference.seeds == 1:
        return "one seed gives no interval: nothing can be said"
    n, small = difference.seeds, abs(difference.mean) < sampling
    few = f"{n} seeds, hardly an interval" if n == 2 else f"{n} seeds"
    if difference.low == difference.high == 0:
        return f"no difference in any of {few}"
    if difference.holds_zero:
        more = f"; and less than the test set's own ± {sampling:.1f}" if small else ""
        return f"within noise: the interval holds 0 ({few}){more}"
    said = "more errors" if difference.mean > 0 else "fewer errors"
    more = f", yet less than the test set's own ± {sampling:.1f}: it may be these images" if small else ""
    return f"{said} ({few}){more}"
