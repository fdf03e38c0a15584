"""Many submissions at once: the gradebook, which mistakes were made how often, and who made the same ones.

A mistake counts once a submission and task, by its diagnosis. What failed in a way that has no name is counted under
its verdict, so that the counts of a task add up to those who did not pass it.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from se_numpy.grading.models import Report, TaskReport
from se_numpy.grading.report import check_formats, load, write_file
from se_numpy.grading.report.html_parts import bar, escaped, one_line, page
from se_numpy.grading.report.json_io import to_plain
from se_numpy.grading.report.table import write_table
from se_numpy.grading.report.terminal import wrap
from se_numpy.grading.report.text import finite, line, points, share, verdict

CLASS_FILES = {"terminal": "class.txt", "json": "class.json", "html": "class.html", "csv": "grades.csv"}
NOT_ATTEMPTED, NOT_RUN = verdict("missing"), verdict("unreadable")
_LARGEST = 64 * 2**20  # bytes of a report.json that is read


@dataclass(frozen=True)
class Mistake:
    """One way in which a task was not passed, and by whom."""

    task: str
    name: str
    text: str
    known: bool  # whether it has a name of its own, or only a verdict
    submissions: tuple[str, ...]
    of: int  # how many submissions were graded on the task


@dataclass(frozen=True)
class Group:
    """Submissions with the same verdict and the same diagnosis on every task."""

    findings: tuple[tuple[str, str], ...]  # (task, mistake or verdict) of what did not pass; none: all passed
    submissions: tuple[str, ...]


@dataclass(frozen=True)
class ClassView:
    """The reports of a class; ``unreadable`` names those there is no report of, and says why."""

    reports: tuple[Report, ...]
    unreadable: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def read(folder: str | os.PathLike[str]) -> "ClassView":
        """The view of all report.json below a folder.  What is no report is listed as unreadable, under its path."""
        root = Path(folder)
        if not root.is_dir():
            raise ValueError(f"{folder} is no folder; expected the one that holds the submissions' report.json")
        reports, unreadable = [], []
        for path in sorted(root.rglob("report.json")):
            try:
                if not path.is_file() or path.stat().st_size > _LARGEST:
                    raise ValueError(f"it is no file, or one of more than {_LARGEST >> 20} MB")
                reports.append(load(path.read_bytes()))
            except (ValueError, OSError) as error:
                unreadable.append((str(path.relative_to(root)), line(error)))
        return ClassView(tuple(reports), tuple(unreadable))

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """What went wrong in the tasks: what has a name before what has none, the most frequent first."""
        found: dict[tuple[str, str, bool], list[str]] = {}
        texts: dict[tuple[str, str, bool], str] = {}
        graded: dict[str, int] = {}
        for report in self.reports:
            for task in _tasks(report):
                graded[line(task.task)] = graded.get(line(task.task), 0) + 1
                if task.status != "passed":
                    key = (line(task.task), _finding(task), task.diagnosis is not None)
                    found.setdefault(key, []).append(line(report.name))
                    texts.setdefault(key, task.diagnosis.text if task.diagnosis else "")
        rows = [Mistake(*key[:2], texts[key], key[2], tuple(names), graded[key[0]]) for key, names in found.items()]
        return tuple(sorted(rows, key=lambda row: (not row.known, -len(row.submissions), row.task, row.name)))

    @property
    def _made(self) -> tuple[Mistake, ...]:
        """``mistakes`` of what was begun and could be run: the rest is many rows and says little."""
        return tuple(m for m in self.mistakes if m.name not in (NOT_ATTEMPTED, NOT_RUN))

    @property
    def groups(self) -> tuple[Group, ...]:
        """Submissions that went wrong in the same way, the largest group first."""
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
        """Each task, how many passed it, and how many were graded on it."""
        counts: dict[str, list[int]] = {}
        for report in self.reports:
            for task in _tasks(report):
                count = counts.setdefault(line(task.task), [0, 0])
                count[0] += task.status == "passed"
                count[1] += 1
        return tuple((name, passed, of) for name, (passed, of) in counts.items())

    def csv(self) -> str:
        """The gradebook: a row a submission, columns for each task."""
        return write_table(self.reports, self.unreadable)

    def json(self) -> str:
        """Everything as JSON: the counts, the groups, and each submission's report without its tables of numbers."""
        brief = [{k: v for k, v in to_plain(r).items() if k not in ("tasks", "versions")} for r in self.reports]
        found: dict[str, Any] = {
            "schema": 1,
            "submissions": brief,
            "unreadable": [{"name": line(name), "message": line(why)} for name, why in self.unreadable],
            "tasks": [{"task": name, "passed": passed, "of": of} for name, passed, of in self.tasks],
            "mistakes": [
                {"task": m.task, "mistake": m.name, "text": line(m.text, 1000), "known": m.known,
                 "count": len(m.submissions), "of": m.of, "submissions": m.submissions} for m in self.mistakes
            ],
            "groups": [{"findings": dict(g.findings), "submissions": g.submissions} for g in self.groups],
        }  # fmt: skip
        return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def text(self, names: bool = True) -> str:
        """The view for a terminal; without ``names``, nobody's."""
        lines = wrap(self._summary())
        if self.reports and names:
            rows = [(line(r.name)[:60], points(finite(r.points)), points(finite(r.max_points))) for r in self.reports]
            wide, far = (max(len(row[k]) for row in rows) for k in (0, 1))
            lines += ["", "Grades"] + [f"  {name:<{wide}}  {earned:>{far}} of {most}" for name, earned, most in rows]
        if self.tasks:
            wide = max(len(name[:40]) for name, _, _ in self.tasks)
            lines += ["", "Passed"] + [f"  {name[:40]:<{wide}}  {p:>4} of {of}" for name, p, of in self.tasks]
        if made := self._made:
            lines += ["", "What went wrong"]
            for m in made:
                lines += wrap(f"{m.task}: {m.name}", f"  {len(m.submissions):>4} of {m.of:<4} ", " " * 15)
                lines += wrap(line(m.text, 1000), " " * 15)
        if left := [m for m in self.mistakes if m.name == NOT_ATTEMPTED]:
            told = ", ".join(f"{m.task} by {len(m.submissions)}" for m in left)
            lines += ["", *wrap(f"Not attempted: {told}", "", "  ")]
        if names and (torn := dict.fromkeys(n for m in self.mistakes if m.name == NOT_RUN for n in m.submissions)):
            lines += ["", *wrap(f"Cannot be run: {', '.join(torn)}", "", "  ")]
        if self.groups and names:
            lines += ["", "Who went wrong in the same way"]
            for group in self.groups:
                lines += wrap(_wrong(group), f"  {len(group.submissions):>4}  ", " " * 8)
                lines += wrap(", ".join(group.submissions), " " * 8)
        if self.unreadable and names:
            lines += ["", "No report"]
            for name, why in self.unreadable:
                lines += wrap(f"{line(name)}: {line(why)}", "  ", "    ")
        return "\n".join(lines) + "\n"

    def html(self, names: bool = True) -> str:
        """The view as a page; without ``names`` it can be shown in the lecture."""
        parts = [f"<header><h1>The class</h1><p>{escaped(self._summary())}</p></header>"]
        if names and self.reports:
            parts.append(_section("Grades", _grades(self.reports)))
        if made := self._made:
            parts.append(_section("What went wrong", _bars(
                [(f"{m.task}: {m.name}", line(m.text, 1000), len(m.submissions), m.of) for m in made],
                "Mistake", "#c4212c")))  # fmt: skip
        if self.tasks:
            parts.append(_section("Who passed", _bars([(n, "", p, of) for n, p, of in self.tasks], "Task", "#1a7f37")))
        if names and self.groups:
            parts.append(_section("Who went wrong in the same way", _groups(self.groups)))
        if names and self.unreadable:
            rows = "".join(f"<li>{one_line(name)}: {one_line(why)}</li>" for name, why in self.unreadable)
            parts.append(_section("No report", f"<ul>{rows}</ul>"))
        return page("The class", "\n".join(parts))

    def write(self, folder: str | os.PathLike[str], formats: Iterable[str] = tuple(CLASS_FILES)) -> list[Path]:
        """The view as files in a folder, which is made; formats that only one submission has are left out."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        content = {"terminal": self.text, "json": self.json, "html": self.html, "csv": self.csv}
        wanted = [name for name in check_formats(formats) if name in CLASS_FILES]
        return [write_file(Path(folder) / CLASS_FILES[name], content[name]()) for name in wanted]

    def _summary(self) -> str:
        count = len(self.reports) + len(self.unreadable)
        passed = sum(report.passed for report in self.reports)
        said = f"{count} submission{'' if count == 1 else 's'}, {passed} passed everything."
        if self.reports:
            shares = sorted(share(report.points, report.max_points) for report in self.reports)
            middle = (shares[(len(shares) - 1) // 2] + shares[len(shares) // 2]) / 2
            said += f" The median is {100 * middle:.0f} % of the points."
        return said + (f" {len(self.unreadable)} without a report." if self.unreadable else "")


def _tasks(report: Report) -> Iterable[TaskReport]:
    """A submission's tasks, each once."""
    return {line(task.task): task for task in report.tasks}.values()


def _finding(task: TaskReport) -> str:
    return line(task.diagnosis.mistake) if task.diagnosis else verdict(task.status)


def _wrong(group: Group) -> str:
    told = [f"{task}: {what}" for task, what in group.findings if what not in (NOT_ATTEMPTED, NOT_RUN)]
    for what in (NOT_ATTEMPTED, NOT_RUN):
        if tasks := [task for task, found in group.findings if found == what]:
            told.append(f"{what}: {', '.join(tasks)}")
    return "; ".join(told) or "everything passed"


def _section(title: str, inside: str) -> str:
    return f"<section><h2>{title}</h2>\n{inside}</section>"


def _bars(rows: list[tuple[str, str, int, int]], what: str, colour: str) -> str:
    """A bar chart that is a table: name, explanation, count, and a bar of count/of."""
    drawn = []
    for name, about, count, of in rows:
        said = f' <br><span class="quiet">{escaped(about)}</span>' if about.strip() else ""
        drawn.append(
            f'<tr><th scope="row">{one_line(name)}{said}</th><td class="number">{count} of {of}</td>'
            f'<td class="bar">{bar(share(count, of), f"{count} of {of}", colour)}</td></tr>'
        )
    head = f'<th scope="col">{what}</th><th scope="col" class="number">Submissions</th><th scope="col">Share</th>'
    return f'<table class="list"><thead><tr>{head}</tr></thead><tbody>{"".join(drawn)}</tbody></table>'


def _groups(groups: tuple[Group, ...]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escaped(_wrong(group))}</th><td class="number">{len(group.submissions)}</td>'
        f"<td>{escaped(', '.join(group.submissions), 200_000)}</td></tr>"
        for group in groups
    )
    head = '<th scope="col">What</th><th scope="col" class="number">Count</th><th scope="col">Who</th>'
    return f'<table class="list"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _grades(reports: tuple[Report, ...]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{one_line(report.name)}</th>'
        f'<td class="number">{points(finite(report.points))} of {points(finite(report.max_points))}</td>'
        f'<td class="bar">{bar(share(report.points, report.max_points), "the share of the points")}</td></tr>'
        for report in reports
    )
    head = '<th scope="col">Submission</th><th scope="col" class="number">Points</th><th scope="col">Share</th>'
    return f'<table class="list"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
