"""The command ``se-numpy grade``: grade one submission or a class."""

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from se_numpy.grading.class_folder import CLASS_FILES, ClassFolder, survey
from se_numpy.grading.class_record import ClassRecord, keep_earlier, make_folder
from se_numpy.grading.classroom import ClassView
from se_numpy.grading.commands import FAILED, INTERRUPTED, NO_ISOLATION, OWN_FAULT, USAGE, Exit, chosen
from se_numpy.grading.course import CLASS_SHARE, Options, WorkerDied, grade_all, grade_path, ungraded
from se_numpy.grading.isolation import IsolationMissing, framework_missing
from se_numpy.grading.models import Report
from se_numpy.grading.report import FILES, FORMATS, as_gradescope, check_formats, show, write, write_file
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
        file=args.file or "", folders=args.folders, framework=args.framework or "",
    )  # fmt: skip
    formats = check_formats(args.format.split(","))
    if "html" in formats and (missing := missing_library("grade")):
        raise ValueError(missing)
    if args.jobs < 1:
        raise ValueError(f"--jobs is {args.jobs}; expected at least 1")
    for name, value in (("--deadline", args.deadline), ("--class-deadline", args.class_deadline)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} is {value:g}; expected a number of seconds above 0")
    form = options.to_assignment().form
    if form.framework and (missing := framework_missing(form.framework)):
        raise ValueError(missing)
    members = survey(args.files, args.out, form=form, one=args.one)
    one = [entry.path for entry in members.entries] == [Path(args.files[0])] and args.dask is None
    if not one and not args.out and formats != ["terminal"]:
        raise ValueError(f"--format {args.format} writes files for several submissions; give --out DIR too")
    if args.out:
        make_folder(Path(args.out))
    try:
        if one:
            reports: Sequence[Report] = [_grade_one(members.entries[0].path, options, formats, args.out)]
        else:
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
    items = options.to_assignment().items
    visibility = {item.task.name: item.visibility for item in items}
    save = partial(_save, folder=out, formats=formats, visibility=visibility) if out else None
    report = grade_path(path, options, on_task=save)
    if save:
        save(report)
    for name in formats:
        if name == "terminal":
            _print(partial(show, report, sys.stdout))
        elif not out:
            _print(partial(print, FORMATS[name](report)))
    return report


def _save(report: Report, folder: str, formats: Sequence[str], visibility: dict[str, str]) -> None:
    """Write all files of a report; the assignment sets the visibility of tests on Gradescope."""
    write(report, folder, formats)
    if "gradescope" in formats:
        write_file(Path(folder) / FILES["gradescope"], as_gradescope(report, visibility=visibility))


def _grade_class(
    members: ClassFolder, options: Options, formats: Sequence[str], args: argparse.Namespace
) -> Sequence[Report]:
    out = Path(args.out) if args.out else None
    settings = f"{options.fingerprint()} {','.join(formats)}"
    record = ClassRecord(members, out, formats, settings)
    if record.notice:
        say(record.notice)
    try:
        record.write_grades()
        _grade_all(record, options, args)
    except KeyboardInterrupt:
        count = f"{len(record.reports)} of {len(members.entries)} submissions"
        kept = f"; their reports are in {out}; repeat the command to continue" if out and record.reports else ""
        raise Exit(INTERRUPTED, f"interrupted after {count}{kept}") from None
    view = ClassView(tuple(record.reports[entry] for entry in members.entries), (), members.passed_over)
    lines = [view.text()]
    if out:
        missing = missing_library("grade")
        record.write_class(view, [name for name in CLASS_FILES if name != "html" or not missing])
        files = "grades.csv" if missing else "class.html, grades.csv"
        lines.append(f"{out}: {files}, and a folder with each submission's report")
        if missing:
            lines.append(f"class.html was not written: {missing}")
    else:
        lines.append("No files were written; --out DIR writes grades.csv, class.html and a report on each submission.")
    _print(partial(print, "\n".join(lines)))
    _raise_problems(record)
    return view.reports


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
