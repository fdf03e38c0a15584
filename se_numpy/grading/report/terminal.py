"""A report for a terminal: plain text of at most 88 columns, optionally in colour."""

import os
import textwrap
from collections.abc import Iterator
from typing import TextIO

from se_numpy.grading.models import Check, Counterexample, Report, TaskReport
from se_numpy.grading.report import arrays, text
from se_numpy.grading.report.arrays import Block, Grid

WIDTH = 88
PLANES = 2  # shown for each array; a page has room for more
_COLOURS = {"good": "\x1b[32m", "bad": "\x1b[31m", "dim": "\x1b[2m"}


def as_text(report: Report, *, colour: bool = False) -> str:
    """Return the report as text."""
    lines = wrap(f"{text.line(report.name)}   {text.points(report.points)} of {text.points(report.max_points)} points")
    lines.append("")
    if report.message:
        lines += [*wrap(report.message), ""]
    for note in report.notes:
        lines += wrap(text.clean(note), "", "  ")
    lines += [""] if report.notes else []
    if report.comment.strip():
        lines += [*wrap(f"Comment: {text.clean(report.comment)}", "", "  "), ""]
    shown = {report.message} - {""}  # a message about all tasks is shown only once
    attempted = [task for task in report.tasks if task.status != "missing" and task.message not in shown]
    if report.tasks and (attempted or not shown):
        lines += [*_overview(report, attempted), ""]
    for task in attempted:
        lines += [*task_lines(task), ""]
    lines += list(_ending(report))
    return _paint("\n".join(lines).rstrip() + "\n", colour)


def show(report: Report, screen: TextIO) -> None:
    """Write the report to a stream, in colour if it is a terminal and NO_COLOR is not set."""
    screen.write(as_text(report, colour=screen.isatty() and not os.environ.get("NO_COLOR")))


def task_lines(task: TaskReport) -> Iterator[str]:
    """Yield the lines for a task: verdict, checks, diagnosis, smallest failing input."""
    earned = f"{text.points(task.points)} of {text.points(task.max_points)}"
    head = f"{_mark(task.status == 'passed')}  {text.line(task.task, 40)}: {text.verdict(task.status)}, {earned} points"
    head += ", extra credit" * task.extra
    yield from wrap(head, "", "        ")
    yield from wrap(": ".join(filter(None, [text.line(task.title), text.line(task.equation)])), "      ")
    yield from wrap(task.message, "      ")
    yield from wrap(task.comment.strip() and f"Comment: {text.clean(task.comment)}", "      ")
    if task.checks:
        yield ""
        yield from (row for check in task.checks for row in _check(check))
    if task.diagnosis:
        d = task.diagnosis
        yield ""
        agreement = f"agrees on {d.agreed} of {d.of} inputs that distinguish it"
        yield from wrap(f"Diagnosis: {text.line(d.mistake)} ({agreement})", "    ")
        yield from wrap(d.text, "      ")
        yield from wrap(d.equation, "      ")
    for feature in task.features:
        yield from wrap(f"- {text.clean(feature)}", "    ", "      ")
    if task.counterexample:
        yield ""
        yield from counterexample_lines(task.counterexample)
    for hint in task.hints:
        yield ""
        yield from wrap(f"Hint: {text.clean(hint)}", "    ", "      ")
    if task.stdout.strip():
        yield ""
        yield "    Printed output:"
        yield from (row for printed in text.clean(task.stdout).splitlines() for row in wrap(printed, "    | "))


def counterexample_lines(example: Counterexample) -> Iterator[str]:
    """Yield the lines for the smallest failing input, the expected results and the returned ones."""
    yield "    Smallest failing input:"
    for name, value in example.arguments.items():
        yield from block_lines(arrays.block(name, value, PLANES))
    if example.got:
        yield "    Expected and returned values:"
        for shown in arrays.comparisons(example.expected, example.got, PLANES):
            yield from block_lines(shown)
    else:
        yield "    Expected values (nothing was returned):"
        for name, value in example.expected.items():
            yield from block_lines(arrays.compare(name, value, planes=PLANES))
    yield from wrap(example.problem, "    ")
    if example.repro.strip():
        yield ""
        yield "    Code to reproduce:"
        yield ""
        # Code is not wrapped, because wrapped code could not be run.
        yield from (f"      {row}".rstrip() for row in text.clean(example.repro).splitlines())


def _overview(report: Report, attempted: list[TaskReport]) -> Iterator[str]:
    """Yield a line for each attempted task and a single line for the others."""
    wide = max((len(text.line(task.task, 40)) for task in attempted), default=0)
    for task in attempted:
        earned = f"{text.points(task.points):>6} of {text.points(task.max_points):<6}"
        named = f"  {text.line(task.diagnosis.mistake, 60)}" if task.diagnosis else ""
        row = f"{_mark(task.status == 'passed')}  {text.line(task.task, 40):<{wide}} {earned} "
        yield from wrap(row + (text.line(task.only) or text.verdict(task.status)) + named, "", " " * (wide + 25))
    missing = [task for task in report.tasks if task.status == "missing"]
    if missing:
        points = text.points(sum(text.finite(task.max_points) for task in missing))
        names = ", ".join(text.line(task.task, 40) for task in missing)
        yield from wrap(f"--      not attempted, {len(missing)} of {len(report.tasks)} for {points} points: {names}",
                        "", " " * 8)  # fmt: skip
    for task in missing:
        if "did you mean" in task.message:
            yield from wrap(task.message, " " * 8)


def _check(check: Check) -> Iterator[str]:
    row = f"    {_mark(check.passed)}  {text.line(check.name, 60)}"
    if check.max_points:
        row += f"  {text.points(check.points)}/{text.points(check.max_points)}"
    if check.error is not None and not check.passed and (excess := text.beyond(check.error)):
        row += f" ({excess})"
    yield from wrap(row, "", "            ")
    yield from wrap(check.message, "            ")


def _ending(report: Report) -> Iterator[str]:
    yield from wrap(text.isolation(report), "", "  ")
    for sentence in text.missing(report):
        yield from wrap(f"- {sentence}", "  ", "    ")
    about = {"inputs": report.seed_id, "sha256": report.sha256[:12], "started": report.started}
    facts = [f"{name} {text.line(value, 60)}" for name, value in about.items() if value]
    facts += [f"{text.line(name, 40)} {text.line(value, 40)}" for name, value in report.versions.items()]
    yield from wrap(", ".join([*facts, f"{text.finite(report.seconds):.1f} s"]), "", "  ")


def block_lines(shown: Block) -> Iterator[str]:
    """Yield the lines for an array: one about it, then its planes."""
    yield from wrap(f"{shown.name}: {shown.about}", "      ", "        ")
    for grids in shown.rows:
        drawn = [_grid(grid) for grid in grids]
        if grids[0].label != shown.name:
            yield from wrap(grids[0].label, "        ")
        # In one row if they fit, otherwise one below the other.
        if sum(len(rows[0]) + 3 for rows in drawn) <= WIDTH - 8:
            yield from ("        " + "   ".join(parts).rstrip() for parts in zip(*drawn, strict=True))
        else:
            yield from (f"        {row}".rstrip()[:WIDTH] for rows in drawn for row in rows)


def _grid(grid: Grid) -> list[str]:
    """Return the values in columns of equal width below the title; * marks those that differ."""
    star = [[f"{t}*" if m and grid.title == "yours" else f"{t} " for t, m in zip(*row, strict=True)]
            for row in zip(grid.texts, grid.marked.tolist(), strict=True)]  # fmt: skip
    wide = max(len(entry) for row in star for entry in row)
    rows = [" ".join(f"{entry:>{wide}}" for entry in row) for row in star]
    wide = max(len(grid.title), len(rows[0]))
    return [f"{row:<{wide}}" for row in ([grid.title] if grid.title else []) + rows]


def _mark(passed: bool | None) -> str:
    return "--    " if passed is None else "ok    " if passed else "FAILED"


def wrap(words: str, first: str = "", then: str | None = None) -> list[str]:
    """Return text broken into lines of at most WIDTH characters."""
    then = first if then is None else then
    cleaned = text.clean(words).expandtabs(4)
    lines: list[str] = []
    for part in cleaned.splitlines():
        lines += textwrap.wrap(part, WIDTH, initial_indent=then if lines else first, subsequent_indent=then,
                               replace_whitespace=False)  # fmt: skip
    return lines


def _paint(page: str, colour: bool) -> str:
    if not colour:
        return page
    painted = []
    for row in page.split("\n"):
        for mark, kind in (("ok    ", "good"), ("FAILED", "bad"), ("--    ", "dim")):
            if row.lstrip(" ").startswith(mark):
                row = row.replace(mark, f"{_COLOURS[kind]}{mark.rstrip()}\x1b[0m" + " " * mark.count(" "), 1)
                break
        painted.append(row)
    return "\n".join(painted)
