"""The command ``se-numpy grade``: grade one submission or a class."""

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from tqdm import tqdm

from se_numpy.grading.assignment import Assignment
from se_numpy.grading.class_folder import CLASS_FILES, GRADEBOOKS, INSTRUCTOR, SIMILARITY, ClassFolder, survey
from se_numpy.grading.class_record import ClassRecord, keep_earlier, make_folder, versions, write_report
from se_numpy.grading.classroom import ClassView
from se_numpy.grading.commands import FAILED, INTERRUPTED, NO_ISOLATION, OWN_FAULT, USAGE, Exit, chosen
from se_numpy.grading.course import CLASS_SHARE, Options, WorkerDied, blank_report, grade_all, grade_path, ungraded
from se_numpy.grading.gradebook import as_canvas, as_moodle, canvas_column, points_possible
from se_numpy.grading.grades import Grading
from se_numpy.grading.identify import identified
from se_numpy.grading.isolation import IsolationMissing, framework_missing
from se_numpy.grading.manual import Manual
from se_numpy.grading.models import Report
from se_numpy.grading.report import FILES, FORMATS, check_formats, show
from se_numpy.grading.roster import Roster
from se_numpy.grading.similarity import as_table
from se_numpy.grading.submission import read
from se_numpy.pages import missing_library
from se_numpy.standard_streams import say
from se_numpy.workers import terminate_on_error, workers


def grade(args: argparse.Namespace) -> None:
    """Run ``se-numpy grade``: print a full report on one submission, or a summary of several.

    Raises
    ------
    ValueError
        If an option, the assignment or a path is invalid.
    Exit
        If a submission does not pass, a report cannot be written, or the required isolation is not available.
    """
    options = Options(
        args.assignment, chosen(args.tasks), args.seed_file, args.isolation, args.require, args.run_all, args.deadline,
        student=args.student, file=args.file or "", folders=args.folders, framework=args.framework or "",
    )  # fmt: skip
    formats = check_formats(args.format.split(","))
    if "html" in formats and (missing := missing_library("grade")):
        raise ValueError(missing)
    if args.jobs < 1:
        raise ValueError(f"--jobs is {args.jobs}; expected at least 1")
    for name, value in (("--deadline", args.deadline), ("--class-deadline", args.class_deadline)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} is {value:g}; expected a number of seconds above 0")
    assignment = options.to_assignment()
    if missing := framework_missing(assignment.form.framework):
        raise ValueError(missing)
    members = survey(args.files, args.out, form=assignment.form, one=args.one)
    alone = [entry.path for entry in members.entries] == [Path(args.files[0])]
    one = alone and not (args.dask or args.roster or args.manual or args.keep or args.template)
    if not one and not args.out and formats != ["terminal"]:
        raise ValueError(f"--format {args.format} writes files for several submissions; give --out DIR too")
    if args.out:
        make_folder(Path(args.out))
    try:
        if one:
            reports: Sequence[Report] = [_grade_one(members.entries[0].path, options, formats, args.out)]
        else:
            members = identified(members, _roster(args, assignment))
            seconds = args.class_deadline or max(args.deadline, CLASS_SHARE * len(members.entries) / args.jobs)
            reports = _grade_class(members, replace(options, until=time.time() + seconds), formats, args)
    except IsolationMissing as error:
        raise Exit(NO_ISOLATION, str(error)) from None
    if not all(report.passed for report in reports):
        raise Exit(FAILED)


def _grade_one(path: Path, options: Options, formats: Sequence[str], out: str | None) -> Report:
    """Grade one submission; files are rewritten after each task, so that a timeout loses no tasks graded so far."""
    if out and (notice := keep_earlier(Path(out), [FILES[name] for name in formats])):
        say(notice)
    save = partial(_save, folder=Path(out), formats=formats) if out else None
    report = grade_path(path, options, on_task=save)
    if save:
        save(report)
    for name in formats:
        if name == "terminal":
            _print(partial(show, report, sys.stdout))
        elif not out:
            _print(partial(print, FORMATS[name](report)))
    return report


def _save(report: Report, folder: Path, formats: Sequence[str]) -> None:
    """Write all files of a report, for the student and, if something is hidden from them, for the instructor."""
    for place, shown in versions(report, folder):
        place.mkdir(exist_ok=True)
        for name in formats:
            write_report(shown, report, place, name)


def _grade_class(
    members: ClassFolder, options: Options, formats: Sequence[str], args: argparse.Namespace
) -> Sequence[Report]:
    out = Path(args.out) if args.out else None
    assignment = options.to_assignment()
    grading = _grading(assignment, options, args, members)
    given = _given(args.template or assignment.template)
    settings = f"{options.fingerprint()} {','.join(formats)}"
    record = ClassRecord(members, out, formats, settings, grading)
    if record.notice:
        say(record.notice)
    try:
        record.write_grades()
        _grade_all(record, options, args)
    except KeyboardInterrupt:
        count = f"{len(record.reports)} of {len(members.entries)} submissions"
        kept = f"; their reports are in {out}; repeat the command to continue" if out and record.reports else ""
        raise Exit(INTERRUPTED, f"interrupted after {count}{kept}") from None
    view = replace(record.view(given), title=assignment.title if options.assignment else "")
    lines = [view.text()]
    if out:
        missing = missing_library("grade")
        tables, notes = _tables(record.grading, view, assignment)
        record.write_class(view, [name for name in CLASS_FILES if name != "html" or not missing], tables)
        files = ["grades.csv" if missing else "class.html, grades.csv", *tables]
        lines.append(f"{out}: {', '.join(files)}, and a folder with each submission's report")
        lines += notes
        if (out / INSTRUCTOR).is_dir():
            lines.append(f"{out / INSTRUCTOR}: the same reports with what students are not shown; do not hand them out")
        if missing:
            lines.append(f"class.html was not written: {missing}")
    else:
        lines.append("No files were written; --out DIR writes grades.csv, class.html and a report on each submission.")
    _print(partial(print, "\n".join(lines)))
    _raise_problems(record)
    return view.reports


def _grading(assignment: Assignment, options: Options, args: argparse.Namespace, members: ClassFolder) -> Grading:
    """Return what turns reports into grades, from the command line or else from the assignment."""
    roster = _roster(args, assignment)
    blank = blank_report(options, "nothing was submitted")
    manual = args.manual or assignment.manual
    keys = [entry.student for entry in members.entries]
    find = (lambda text: roster.find(text).key) if roster else partial(_one_of, keys)
    entries = Manual.read(manual, [task.task for task in blank.tasks], find) if manual else Manual()
    return Grading(blank, roster, entries, (), args.keep or assignment.keep)


def _roster(args: argparse.Namespace, assignment: Assignment) -> Roster | None:
    path = args.roster or assignment.roster
    return Roster.read(path) if path else None


def _one_of(students: Sequence[str], text: str) -> str:
    """Return a student's key as it is; without a roster, it is what the submission's path says."""
    if text not in students:
        near = get_close_matches(text, students, n=1)
        hint = f"did you mean {near[0]}?" if near else "expected the name of a submission's folder or file, or a roster"
        raise ValueError(f"no submission of {text!r}; {hint}")
    return text


def _given(template: str | Path | None) -> tuple[str, ...]:
    """Return the digests of the functions that students were given."""
    try:
        return tuple(read(template).trees.values()) if template else ()
    except ValueError as error:
        raise ValueError(f"the template cannot be read: {error}") from None


def _tables(grading: Grading, view: ClassView, assignment: Assignment) -> tuple[dict[str, str], list[str]]:
    """Return the tables beside the view, by the names of their files, and remarks on them."""
    tables, notes = {}, []
    if view.alike:
        tables[SIMILARITY] = as_table(view.alike)
    roster = grading.roster
    if roster and roster.lms == "canvas":
        column = canvas_column(roster, assignment.gradebook_column or assignment.title)
        tables[GRADEBOOKS["canvas"]] = as_canvas(roster, view.grades, column)
        most, ours = points_possible(roster, column), grading.blank.max_points
        if most is None:
            notes.append(f"canvas.csv: the roster has no assignment {column!r}; Canvas will offer to create it")
        elif most != ours:
            notes.append(f"canvas.csv: {column!r} has {most:g} points in Canvas and {ours:g} here; adjust one of them")
    elif roster and roster.lms == "moodle":
        tables[GRADEBOOKS["moodle"]] = as_moodle(roster, view.grades)
    return tables, notes


def _raise_problems(record: ClassRecord) -> None:
    """Raise Exit if a report could not be written or the grader failed on a submission."""
    if record.problems:
        first, why = next(iter(record.problems.items()))
        more = f" and {len(record.problems) - 1} more files" if len(record.problems) > 1 else ""
        raise Exit(USAGE, f"{first}{more} could not be written: {why}; once this is mended, repeat the command, which "
                   "keeps what was graded")  # fmt: skip
    if failed := [r.name for r in record.reports.values() if any(task.status == "ungraded" for task in r.tasks)]:
        raise Exit(OWN_FAULT, "internal error in the grader, not caused by a submission; not graded: "
                   f"{', '.join(failed)}; their reports name the error")  # fmt: skip


def _grade_all(record: ClassRecord, options: Options, args: argparse.Namespace) -> None:
    """Grade all submissions that are left, and keep each report as soon as it is complete.

    If a worker process ends, for example because the system has no memory left, the submissions that it may have been
    grading are graded one at a time.
    """
    count = len(record.members.entries)
    hidden = not sys.stderr.isatty()
    with tqdm(total=count, unit="submission", desc="grading", disable=hidden, leave=False) as bar:
        suspects: Sequence = ()
        while record.left:
            bar.update(len(record.reports) - bar.n)
            alone = bool(suspects)
            jobs = 1 if alone else min(args.jobs, len(record.left))
            batch = suspects[:1] if alone else record.left
            suspects = suspects[1:]
            try:
                with terminate_on_error(partial(workers, jobs, args.dask)) as pool:
                    for entry, report in grade_all(batch, options, pool, None if args.dask else 2 * jobs):
                        graded = all(task.status != "ungraded" for task in report.tasks)
                        record.add(entry, report, final=graded and time.time() < options.until)
                        bar.update()
            except WorkerDied as died:
                if alone:
                    why = "the process that graded it has ended; is the machine out of memory?"
                    record.add(batch[0], ungraded(options, batch[0].name, why), final=False)
                else:
                    suspects = died.entries


def _print(printing: partial[None]) -> None:
    """Print; if the reader of a pipe, such as `head`, has exited, the exit code still tells the verdict."""
    with contextlib.suppress(BrokenPipeError):
        printing()
        sys.stdout.flush()
