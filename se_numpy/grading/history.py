"""Earlier runs into the same folder: the changes since, and the results that may count in place of this run's."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from se_numpy.grading.class_folder import CLASS_FILES, EARLIER
from se_numpy.grading.models import Report
from se_numpy.grading.report.text import finite, line, points, verdict

_LARGEST = 64 << 20  # bytes of a class.json that is read


@dataclass(frozen=True)
class Result:
    """One submission in a run: points and status of each task, before any points by hand."""

    student: str
    name: str
    sha256: str
    tasks: Mapping[str, tuple[float, float, str]]  # task -> points, the most points, status

    @property
    def points(self) -> float:
        return sum(earned for earned, _, _ in self.tasks.values())

    @staticmethod
    def of(report: Report) -> "Result":
        tasks = {
            line(t.task): (finite(t.points - t.by_hand), finite(t.max_points), line(t.status)) for t in report.tasks
        }
        return Result(report.student or line(report.name), line(report.name), report.sha256, tasks)

    def comparable(self, other: "Result") -> bool:
        """Return True if both were graded on the same tasks for the same points."""
        return {name: most for name, (_, most, _) in self.tasks.items()} == {
            name: most for name, (_, most, _) in other.tasks.items()
        }


@dataclass(frozen=True)
class Run:
    """The results of an earlier run, by student; of several submissions, that with the most points."""

    name: str  # "earlier/2"
    results: Mapping[str, Result] = field(default_factory=dict)

    @staticmethod
    def read(folder: Path, name: str) -> "Run | None":
        """Return the run whose class.json is in this folder, or None if there is none that can be read."""
        path = folder / CLASS_FILES["json"]
        try:
            if path.stat().st_size > _LARGEST:
                return None
            found = json.loads(path.read_text(encoding="utf-8"))
            return Run(name, best_of(_result(entry) for entry in found["submissions"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


@dataclass(frozen=True)
class Change:
    """A difference between two runs in one student's task; ``task`` is empty if the whole submission is new or gone."""

    student: str
    name: str
    task: str
    before: str
    after: str
    same_file: bool = False


def earlier_runs(out: Path) -> tuple[Run, ...]:
    """Return the earlier runs in the folder of the reports, the oldest first."""
    place = out / EARLIER
    numbers = sorted(int(p.name) for p in place.iterdir() if p.name.isdigit()) if place.is_dir() else []
    runs = (Run.read(place / str(number), f"{EARLIER}/{number}") for number in numbers)
    return tuple(run for run in runs if run is not None)


def best_of(results: Iterable[Result]) -> dict[str, Result]:
    """Return each student's result with the most points; the first of equal ones."""
    best: dict[str, Result] = {}
    for result in results:
        if result.student not in best or result.points > best[result.student].points:
            best[result.student] = result
    return best


def changes(before: Mapping[str, Result], after: Mapping[str, Result]) -> tuple[Change, ...]:
    """Return what changed between two runs, by student and task."""
    found = []
    for student in dict.fromkeys([*before, *after]):
        old, new = before.get(student), after.get(student)
        if old is None or new is None:
            one = old or new
            assert one is not None
            before_after = ("", "new") if old is None else ("submitted", "no longer there")
            found.append(Change(student, one.name, "", *before_after))
            continue
        for task in dict.fromkeys([*old.tasks, *new.tasks]):
            texts = [_said(result.tasks.get(task)) for result in (old, new)]
            if texts[0] != texts[1]:
                found.append(Change(student, new.name, task, texts[0], texts[1], old.sha256 == new.sha256))
    return tuple(found)


def _said(task: tuple[float, float, str] | None) -> str:
    return f"{points(task[0])} of {points(task[1])}, {verdict(task[2])}" if task else "not graded"


def _result(entry: Mapping[str, Any]) -> Result:
    tasks = {
        str(name): (finite(task["points"]) - finite(task["by_hand"]), finite(task["max_points"]), str(task["status"]))
        for name, task in entry["tasks"].items()
    }
    return Result(str(entry["student"]) or str(entry["name"]), str(entry["name"]), str(entry["sha256"]), tasks)
