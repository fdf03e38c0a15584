"""The grade of each student: the submission that counts, with the points and comments by hand."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from se_numpy.grading.history import Result, Run
from se_numpy.grading.manual import Manual
from se_numpy.grading.models import Report, TaskReport
from se_numpy.grading.roster import Roster


@dataclass(frozen=True)
class Grade:
    """A student's grade; without points if nothing was submitted and no points were given by hand."""

    student: str  # the key
    name: str  # of the student or, without a roster, of the submission
    submission: str  # the name of the submission that counts, or ""
    points: float | None
    max_points: float
    comments: tuple[str, ...] = ()  # by hand
    run: str = ""  # the earlier run that counts, or "" for this one
    late: bool = False  # as the name of the download says


@dataclass(frozen=True)
class Grading:
    """The rules that turn reports into grades: the roster, points by hand, and which of several runs counts.

    ``blank`` is a report on the assignment's tasks in which nothing is attempted.
    """

    blank: Report
    roster: Roster | None = None
    manual: Manual = field(default_factory=Manual)
    runs: tuple[Run, ...] = ()
    keep: str = "last"

    def final(self, report: Report) -> Report:
        """Return a report with the points and comments by hand, and a comment if an earlier run counts."""
        finished = self.manual.apply(report)
        if not self._counted(Result.of(report))[1]:
            return finished
        better = "An earlier submission, which has more points, counts in place of this one."
        return replace(finished, comment="\n".join(filter(None, (better, finished.comment))))

    def grades(self, reports: Sequence[Report], late: Collection[str] = ()) -> tuple[Grade, ...]:
        """Return the grade of each student of the roster, in its order, and then of each other submission.

        Of several submissions of a student, that with the most points counts. ``late`` are the students who were late.
        """
        best: dict[str, Report] = {}
        for report in reports:
            key = report.student or report.name
            if key not in best or self.final(report).points > self.final(best[key]).points:
                best[key] = report
        names = {student.key: student.name for student in self.roster.students} if self.roster else {}
        keys = dict.fromkeys([*names, *best])
        return tuple(replace(self._grade(key, names.get(key, ""), best.get(key)), late=key in late) for key in keys)

    def _grade(self, key: str, name: str, report: Report | None) -> Grade:
        base = report or replace(self.blank, student=key)
        result, run = self._counted(Result.of(base), submitted=report is not None)
        tasks = tuple(_with(task, result) for task in base.tasks)
        final = self.manual.apply(replace(base, tasks=tasks))
        comments = [f"{task.task}: {task.comment}" for task in final.tasks if task.comment]
        nothing = report is None and not run
        given = any(entry.points is not None or entry.add for entry in self.manual.of(key))
        return Grade(
            key, name or base.name, "" if nothing else result.name, None if nothing and not given else final.points,
            final.max_points, tuple(filter(None, [*comments, final.comment])), run,
        )  # fmt: skip

    def _counted(self, result: Result, submitted: bool = True) -> tuple[Result, str]:
        """Return the result that counts and the name of its run: with "best", an earlier one that has more points."""
        best, name = result, ""
        for run in self.runs if self.keep == "best" else ():
            other = run.results.get(result.student)
            if other and other.comparable(result) and (other.points > best.points or not (submitted or name)):
                best, name = other, run.name
        return best, name


def _with(task: TaskReport, result: Result) -> TaskReport:
    earned, _, status = result.tasks[task.task]
    return replace(task, points=earned, status=status)
