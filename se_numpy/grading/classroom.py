"""The reports of a class: gradebook, common mistakes, and groups of submissions with the same mistakes.

Mistakes are counted by diagnosis, once for each submission and task. Failures without a diagnosis are counted under
their verdict, so that the counts for a task add up to the number of submissions that did not pass it.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from se_numpy import pages
from se_numpy.grading.class_folder import CLASS_FILES, EARLIER, INSTRUCTOR
from se_numpy.grading.class_sections import Section, grading_sections, labels_of
from se_numpy.grading.grades import Grade
from se_numpy.grading.history import Change
from se_numpy.grading.models import Report, TaskReport
from se_numpy.grading.report import check_formats, load, write_file
from se_numpy.grading.report.json_io import to_plain
from se_numpy.grading.report.table import write_table
from se_numpy.grading.report.terminal import wrap
from se_numpy.grading.report.text import clean, finite, line, points, share, verdict
from se_numpy.grading.similarity import Alike
from se_numpy.pages import Bar

NOT_ATTEMPTED, NOT_RUN, UNGRADED = verdict("missing"), verdict("unreadable"), verdict("ungraded")
_LAST = (NOT_ATTEMPTED, NOT_RUN, UNGRADED)  # shown apart from mistakes
_LARGEST = 64 * 2**20  # bytes; larger report.json files are not read


@dataclass(frozen=True)
class Mistake:
    """A reason why submissions failed a task."""

    task: str
    name: str
    text: str
    known: bool  # True for a diagnosis, False for a verdict only
    submissions: tuple[str, ...]
    of: int  # the number of submissions graded on the task


@dataclass(frozen=True)
class Group:
    """Submissions with the same verdict and the same diagnosis on every task."""

    findings: tuple[tuple[str, str], ...]  # (task, mistake or verdict) for each failed task; empty if all passed
    submissions: tuple[str, ...]


@dataclass(frozen=True)
class ClassView:
    """The reports of a class.

    ``unreadable`` holds the name of each submission without a report, and the reason; ``passed_over`` the name of each
    file that is not a submission, and the reason; ``unmatched`` the name of each submission that belongs to no student
    of the roster, and the reason. ``grades`` are of students; without any, each report is a grade.
    ``links`` maps the names of submissions to their reports, as addresses relative to the page; those of earlier runs
    begin with the run, as in "earlier/1/hw.py". ``title`` is the assignment's.
    """

    reports: tuple[Report, ...]
    unreadable: tuple[tuple[str, str], ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()
    grades: tuple[Grade, ...] = ()
    unmatched: tuple[tuple[str, str], ...] = ()
    changes: tuple[Change, ...] = ()
    alike: tuple[Alike, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    title: str = ""

    @staticmethod
    def read(folder: str | os.PathLike[str]) -> "ClassView":
        """Read every report.json below a folder; a file that is not a report is listed in ``unreadable``.

        Reports of earlier runs, in the folder ``earlier``, are not read. Where there is a report for the instructor, in
        the folder ``instructor``, it is read in place of the student's.

        Raises
        ------
        ValueError
            If the folder does not exist.
        """
        root = Path(folder)
        if not root.is_dir():
            raise ValueError(f"folder {folder} does not exist; expected a folder with report.json files")
        reports, unreadable = [], []
        for path in sorted(root.rglob("report.json")):
            below = path.relative_to(root)
            if below.parts[0] in (EARLIER, INSTRUCTOR):
                continue
            path = whole if (whole := root / INSTRUCTOR / below).is_file() else path
            try:
                if not path.is_file() or path.stat().st_size > _LARGEST:
                    raise ValueError(f"it is not a file or is larger than {_LARGEST >> 20} MB")
                reports.append(load(path.read_bytes()))
            except (ValueError, OSError) as error:
                unreadable.append((str(path.relative_to(root)), line(error)))
        return ClassView(tuple(reports), tuple(unreadable))

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The mistakes in all tasks: those with a diagnosis first, then by frequency."""
        found: dict[tuple[str, str, bool], list[str]] = {}
        texts: dict[tuple[str, str, bool], str] = {}
        graded: dict[str, int] = {}
        for report in self.reports:
            for task in _tasks(report):
                graded[line(task.task)] = graded.get(line(task.task), 0) + 1
                if task.status != "passed":
                    key = (line(task.task), _finding(task), task.diagnosis is not None)
                    found.setdefault(key, []).append(line(report.name))
                    texts.setdefault(key, task.diagnosis.text if task.diagnosis else _messages(task))
        rows = [Mistake(*key[:2], texts[key], key[2], tuple(names), graded[key[0]]) for key, names in found.items()]
        return tuple(sorted(rows, key=lambda row: (not row.known, -len(row.submissions), row.task, row.name)))

    @property
    def _attempted(self) -> tuple[Mistake, ...]:
        """The mistakes, except for tasks that were not attempted or could not be run."""
        return tuple(m for m in self.mistakes if m.name not in _LAST)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of submissions with the same mistakes, the largest first."""
        found: dict[tuple[tuple[str, str], ...], list[str]] = {}
        for report in self.reports:
            wrong = tuple((line(t.task), _finding(t)) for t in _tasks(report) if t.status != "passed")
            if not report.tasks:
                wrong = (("submission", "cannot be graded"),)
            found.setdefault(wrong, []).append(line(report.name))
        if self.unreadable:
            names = [line(name) for name, _ in self.unreadable]
            found.setdefault((("submission", "cannot be graded"),), []).extend(names)
        rows = [Group(findings, tuple(names)) for findings, names in found.items()]
        return tuple(sorted(rows, key=lambda group: (-len(group.submissions), group.findings)))

    @property
    def tasks(self) -> tuple[tuple[str, int, int], ...]:
        """The name of each task, the number of submissions that passed it, and the number graded on it."""
        counts: dict[str, list[int]] = {}
        for report in self.reports:
            for task in _tasks(report):
                count = counts.setdefault(line(task.task), [0, 0])
                count[0] += task.status == "passed"
                count[1] += 1
        return tuple((name, passed, of) for name, (passed, of) in counts.items())

    def csv(self) -> str:
        """Return the gradebook as CSV, with a row for each submission."""
        absent = [grade.student for grade in self.grades if not grade.submission]
        return write_table(self.reports, self.unreadable, self.passed_over, absent)

    def json(self) -> str:
        """Return the counts, the groups and a summary of each submission's report as JSON."""
        left_out = ("tasks", "versions", "trees")
        brief = [
            {k: v for k, v in to_plain(r).items() if k not in left_out} | {"tasks": _points(r)} for r in self.reports
        ]
        found: dict[str, Any] = {
            "schema": 1,
            "submissions": brief,
            "unreadable": [{"name": line(name), "message": line(why)} for name, why in self.unreadable],
            "passed_over": [{"name": line(name), "message": line(why)} for name, why in self.passed_over],
            "unmatched": [{"name": line(name), "message": line(why)} for name, why in self.unmatched],
            "grades": [asdict(grade) for grade in self.grades],
            "changes": [asdict(change) for change in self.changes],
            "alike": [asdict(row) for row in self.alike],
            "tasks": [{"task": name, "passed": passed, "of": of} for name, passed, of in self.tasks],
            "mistakes": [
                {"task": m.task, "mistake": m.name, "text": line(m.text, 1000), "known": m.known,
                 "count": len(m.submissions), "of": m.of, "submissions": m.submissions} for m in self.mistakes
            ],
            "groups": [{"findings": dict(g.findings), "submissions": g.submissions} for g in self.groups],
        }  # fmt: skip
        return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def text(self, names: bool = True) -> str:
        """Return the view as text for a terminal; without ``names`` it names no submission."""
        lines = wrap(self._summary())
        if names and (bars := self._grades()):
            wide, far = max(len(bar.name[:60]) for bar in bars), max(len(bar.value) for bar in bars)
            lines += ["", "Grades"]
            lines += [f"  {bar.name[:60]:<{wide}}  {bar.value:>{far}}  {bar.note}".rstrip() for bar in bars]
        if self.tasks:
            wide = max(len(name[:40]) for name, _, _ in self.tasks)
            lines += ["", "Pass rate by task"]
            lines += [f"  {name[:40]:<{wide}}  {passed:>4} of {of}" for name, passed, of in self.tasks]
        if made := self._attempted:
            lines += ["", "Common mistakes"]
            for m in made:
                lines += wrap(f"{m.task}: {m.name}", f"  {len(m.submissions):>4} of {m.of:<4} ", " " * 15)
                lines += wrap(line(m.text, 1000), " " * 15)
        if left := [m for m in self.mistakes if m.name == NOT_ATTEMPTED]:
            counts = ", ".join(f"{m.task} by {len(m.submissions)}" for m in left)
            lines += ["", *wrap(f"Not attempted: {counts}", "", "  ")]
        for heading, reason in (("Cannot be run", NOT_RUN), ("Not graded, because of the grader", UNGRADED)):
            if names and (broken := dict.fromkeys(n for m in self.mistakes if m.name == reason for n in m.submissions)):
                lines += ["", *wrap(f"{heading}: {self._named(broken)}", "", "  ")]
        if self.groups and names:
            lines += ["", "Submissions with the same mistakes"]
            for group in self.groups:
                lines += wrap(_mistakes_of(group), f"  {len(group.submissions):>4}  ", " " * 8)
                lines += wrap(self._named(group.submissions), " " * 8)
        if self.unreadable and names:
            lines += ["", "Submissions without a report"]
            for name, why in self.unreadable:
                lines += wrap(f"{line(name)}: {line(why)}", "  ", "    ")
        for section in self._sections() if names else ():
            lines += ["", section.heading, *wrap(section.about, "  ")]
            lines += [text for row in section.lines() for text in wrap(row, "  ", "    ")]
        if self.passed_over and names:
            lines += ["", "Passed over"]
            for why in dict.fromkeys(why for _, why in self.passed_over):
                files = ", ".join(line(name) for name, other in self.passed_over if other == why)
                lines += wrap(f"{files}: {line(why)}", "  ", "    ")
        return "\n".join(lines) + "\n"

    def html(self, names: bool = True) -> str:
        """Return the view as an HTML page; without ``names`` it names no submission and can be shown in a lecture.

        Raises
        ------
        RuntimeError
            If Jinja2 is not installed.
        """
        mistakes: dict[bool, list[Bar]] = {True: [], False: []}  # made by several submissions, or by one
        for m in self._attempted:
            count = len(m.submissions)
            bar = Bar(f"{m.task}: {m.name}", f"{count} of {m.of}", share(count, m.of), line(m.text, 1000))
            mistakes[count > 1].append(bar)
        groups = [{"mistakes": clean(_mistakes_of(g)), "count": len(g.submissions),
                   "submissions": clean(self._named(g.submissions), 200_000)} for g in self.groups]  # fmt: skip
        return pages.render(
            "class.html", maker="se-numpy grade", title=self._heading, summary=self._summary(),
            mistakes=mistakes[True], rare=mistakes[False],
            tasks=[Bar(name, f"{passed} of {of}", share(passed, of)) for name, passed, of in self.tasks],
            grades=self._grades() if names else [], groups=groups if names else [],
            unreadable=[(line(name), line(why)) for name, why in self.unreadable] if names else [],
            sections=self._sections() if names else [],
            passed_over=[(line(name), line(why)) for name, why in self.passed_over] if names else [],
        )  # fmt: skip

    def write(self, folder: str | os.PathLike[str], formats: Iterable[str] = tuple(CLASS_FILES)) -> list[Path]:
        """Write the view as files to a folder, created if needed, and return their paths.

        Formats that exist only for single submissions are skipped.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        content = {"terminal": self.text, "json": self.json, "html": self.html, "csv": self.csv}
        wanted = [name for name in check_formats(formats) if name in CLASS_FILES]
        return [write_file(Path(folder) / CLASS_FILES[name], content[name]()) for name in wanted]

    def _grades(self) -> list[Bar]:
        """Return a bar for each grade or, without grades, for each report."""
        if not self.grades:
            return [Bar(line(r.name), f"{points(finite(r.points))} of {points(finite(r.max_points))}",
                        share(r.points, r.max_points)) for r in self.reports]  # fmt: skip
        bars = []
        for g in self.grades:
            notes = [line(g.submission) if g.submission != g.name else "", g.run and f"from {g.run}"]
            notes += ["late"] * g.late + ["nothing submitted"] * (not g.submission)
            earned = "-" if g.points is None else points(g.points)
            link = self.links.get(f"{g.run}/{g.submission}" if g.run else g.submission, "")
            bars.append(Bar(line(g.name), f"{earned} of {points(g.max_points)}", share(g.points or 0.0, g.max_points),
                            ", ".join(filter(None, notes)), link))  # fmt: skip
        return bars

    def _named(self, submissions: Iterable[str]) -> str:
        """Return submissions by their students where these are known."""
        labels = labels_of(self.grades)
        names = [labels.get(name, name) for name in submissions]
        return ("; " if any("," in name for name in names) else ", ").join(names)

    def _sections(self) -> list[Section]:
        return grading_sections(self.grades, self.unmatched, self.changes, self.alike)

    @property
    def _heading(self) -> str:
        return f"{line(self.title)}: class overview" if self.title else "Class overview"

    def _summary(self) -> str:
        count = len(self.reports) + len(self.unreadable)
        passed = sum(report.passed for report in self.reports)
        text = f"{count} submission{'' if count == 1 else 's'}, {passed} passed all tasks."
        if self.reports:
            shares = sorted(share(report.points, report.max_points) for report in self.reports)
            middle = (shares[(len(shares) - 1) // 2] + shares[len(shares) // 2]) / 2
            text += f" The median score is {100 * middle:.0f} % of the points."
        text += f" {len(self.unreadable)} without a report." if self.unreadable else ""
        files = len(self.passed_over)
        return text + (f" {files} file{' was' if files == 1 else 's were'} passed over." if files else "")


def _tasks(report: Report) -> Iterable[TaskReport]:
    """Return a submission's tasks, each once."""
    return {line(task.task): task for task in report.tasks}.values()


def _points(report: Report) -> dict[str, dict[str, Any]]:
    """Return the points and the status of each task, by which later runs are compared with this one."""
    return {line(t.task): {"points": finite(t.points), "max_points": finite(t.max_points), "by_hand": finite(t.by_hand),
                           "status": line(t.status)} for t in report.tasks}  # fmt: skip


def _finding(task: TaskReport) -> str:
    return line(task.diagnosis.mistake) if task.diagnosis else line(task.only) or verdict(task.status)


def _messages(task: TaskReport) -> str:
    """Return the messages of the failed checks of a task whose values are right."""
    failed = dict.fromkeys(check.message for check in task.checks if check.passed is False and check.message)
    return "; ".join(failed) if task.only else ""


def _mistakes_of(group: Group) -> str:
    """Return a group's mistakes as text: those with a name, then tasks not attempted or not run."""
    parts = [f"{task}: {mistake}" for task, mistake in group.findings if mistake not in _LAST]
    for verdict_ in _LAST:
        if tasks := [task for task, found in group.findings if found == verdict_]:
            parts.append(f"{verdict_}: {', '.join(tasks)}")
    return "; ".join(parts) or "all tasks passed"
