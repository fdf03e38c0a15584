"""The results of a table's runs: test errors by row and seed, and the difference of each row from its baseline."""

import statistics
from dataclasses import dataclass, field

from se_numpy.ablation.paired import Difference, paired, verdict
from se_numpy.ablation.study import DONE, Study, failure, result, state
from se_numpy.ablation.tables import Row, Table
from se_numpy.complexity import Cost
from se_numpy.train import wilson


@dataclass
class Line:
    """A row with its test errors in % by seed.  If the network is impossible, ``cost`` is the reason, as a sentence."""

    row: Row
    cost: Cost | str
    errors: dict[int, float]
    failures: dict[int, str]
    seconds: float = 0.0
    difference: Difference | None = None
    verdict: str = ""

    @property
    def mean(self) -> float | None:
        """The mean error over the finished seeds; None if no seed is finished."""
        return statistics.fmean(self.errors.values()) if self.errors else None

    @property
    def spread(self) -> float | None:
        """The standard deviation between seeds; None for fewer than two."""
        return statistics.stdev(self.errors.values()) if len(self.errors) > 1 else None

    @property
    def conclusion(self) -> str:
        """The verdict on the row's difference, or the reason why the row has no verdict."""
        if isinstance(self.cost, str):
            return f"not run: {self.cost}"
        if self.failures and not self.errors:
            return "failed: see below" if len(self.failures) > 1 else f"failed: {next(iter(self.failures.values()))}"
        return self.verdict if self.row.against is not None else "baseline"


@dataclass
class Report:
    """A table with its results; ``command`` reproduces it, and ``note`` is a remark on the data set."""

    table: Table
    study: Study
    command: str
    note: str = ""
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines = [_line(self.study, row) for row in self.table.rows]
        by_label = {line.row.label: line for line in self.lines}
        for line in self.lines:
            if line.row.against is None or isinstance(line.cost, str):
                continue
            other = by_label[line.row.against]
            line.difference = paired(line.errors, other.errors)
            line.verdict = verdict(line.difference, self.sampling(other))

    @property
    def data(self) -> str:
        """The data set's name and the note, for a heading."""
        name = self.study.data[0].upper() + self.study.data[1:]
        return f"{name}, {self.note}" if self.note else name

    def sampling(self, line: Line) -> float:
        """Return the sampling error over test images, in percentage points: half of Wilson's 95 % interval."""
        low, high = wilson((line.mean or 0) / 100, self.study.test_images)
        return 50 * (high - low)

    @property
    def missing(self) -> int:
        """The number of runs still to train; failed runs are not counted."""
        possible = [line for line in self.lines if not isinstance(line.cost, str)]
        return sum(len(self.study.seeds) - len(line.errors) - len(line.failures) for line in possible)


def _line(study: Study, row: Row) -> Line:
    line = Line(row, study.cost(row), {}, {})
    for seed in study.seeds if not isinstance(line.cost, str) else ():
        config = study.config(row, seed)
        if state(config) == DONE:
            found = result(config)
            line.errors[seed] = 100 * (1 - found["test_accuracy"])
            line.seconds += found["seconds"]
        elif why := failure(config):
            line.failures[seed] = why.replace(str(study.folder), "FOLDER")
    return line
