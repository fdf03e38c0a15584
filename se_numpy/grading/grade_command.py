"""The command ``se-numpy grade``: grade one submission or a class."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from se_numpy.grading.classroom import CLASS_FILES, ClassView
from se_numpy.grading.commands import FAILED, INTERRUPTED, NO_ISOLATION, Exit, chosen
from se_numpy.grading.course import CLASS_SHARE, Options, grade_all, grade_path, submissions, title
from se_numpy.grading.isolation import IsolationMissing
from se_numpy.grading.models import Report
from se_numpy.grading.report import FILES, FORMATS, as_gradescope, check_formats, show, write, write_file
from se_numpy.pages import missing_library
from se_numpy.workers import terminate_on_error, workers


def grade(args: argparse.Namespace) -> None:
    """Run ``se-numpy grade``: print a full report on one submission, or a summary of several.

    Raises
    ------
    ValueError
        If an option, the assignment or a path is invalid.
    Exit
        If a submission does not pass, or the required isolation is not available.
    """
    options = Options(
        args.assignment, chosen(args.tasks), args.seed_file, args.isolation, args.require, args.run_all, args.deadline
    )
    formats = check_formats(args.format.split(","))
    if "html" in formats and (missing := missing_library("grade")):
        raise ValueError(missing)
    if args.jobs < 1:
        raise ValueError(f"--jobs is {args.jobs}; expected at least 1")
    for name, value in (("--deadline", args.deadline), ("--class-deadline", args.class_deadline)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} is {value:g}; expected a number of seconds above 0")
    options.to_assignment()
    paths = submissions(args.files)
    if args.out:
        _make_folder(Path(args.out))
    try:
        one = len(paths) == 1 and not Path(args.files[0]).is_dir() and args.dask is None
        if one:
            reports = [_grade_one(paths[0], options, formats, args.out)]
        else:
            if not args.out and formats != ["terminal"]:
                raise ValueError(f"--format {args.format} writes files for several submissions; give --out DIR too")
            seconds = args.class_deadline or max(args.deadline, CLASS_SHARE * len(paths) / args.jobs)
            reports = _grade_class(paths, replace(options, until=time.time() + seconds), formats, args)
    except IsolationMissing as error:
        raise Exit(NO_ISOLATION, str(error)) from None
    if not all(report.passed for report in reports):
        raise Exit(FAILED)


def _make_folder(path: Path) -> None:
    """Create the folder and check that it is writable, so that grades are not lost at the end."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / ".se-numpy").touch()
        (path / ".se-numpy").unlink()
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"--out {path} is a file; expected a folder, which may be new") from None
    except OSError as error:
        raise ValueError(f"--out {path}: {error.strerror}; expected a writable folder") from None


def _grade_one(path: Path, options: Options, formats: Sequence[str], out: str | None) -> Report:
    """Grade one submission; files are rewritten after each task, so that a timeout loses no tasks graded so far."""
    items = options.to_assignment().items
    visibility = {item.task.name: item.visibility for item in items}
    save = partial(_save, folder=out, formats=formats, visibility=visibility) if out else None
    report = grade_path(path, options, on_task=save)
    if save:
        save(report)
    for name in formats:
        if name == "terminal":
            show(report, sys.stdout)
        elif not out:
            print(FORMATS[name](report))
    return report


def _save(report: Report, folder: str, formats: Sequence[str], visibility: dict[str, str]) -> None:
    """Write all files of a report; the assignment sets the visibility of tests on Gradescope."""
    write(report, folder, formats)
    if "gradescope" in formats:
        write_file(Path(folder) / FILES["gradescope"], as_gradescope(report, visibility=visibility))


def _grade_class(
    paths: Sequence[Path], options: Options, formats: Sequence[str], args: argparse.Namespace
) -> list[Report]:
    found: dict[Path, Report] = {}
    try:
        _grade_all(paths, options, formats, args, found)
    except KeyboardInterrupt:
        kept = f"; their reports are in {args.out}" if args.out and found else ""
        raise Exit(INTERRUPTED, f"interrupted after {len(found)} of {len(paths)} submissions{kept}") from None
    view = ClassView(tuple(found[path] for path in paths))
    print(view.text())
    if args.out:
        missing = missing_library("grade")
        view.write(args.out, [name for name in CLASS_FILES if name != "html" or not missing])
        files = "grades.csv" if missing else "class.html, grades.csv"
        print(f"{args.out}: {files}, and a folder with each submission's report")
        if missing:
            print(f"class.html was not written: {missing}")
    else:
        print("No files were written; --out DIR writes grades.csv, class.html and a report on each submission.")
    return list(view.reports)


def _grade_all(
    paths: Sequence[Path], options: Options, formats: Sequence[str], args: argparse.Namespace, found: dict[Path, Report]
) -> None:
    """Grade all submissions into ``found`` and write each report as soon as it is complete."""
    with terminate_on_error(lambda: workers(args.jobs, args.dask)) as pool:
        bar = tqdm(total=len(paths), unit="submission", desc="grading", disable=not sys.stderr.isatty(), leave=False)
        with bar:
            for path, report in grade_all(paths, options, pool):
                found[path] = report
                if args.out:
                    write(report, Path(args.out) / Path(title(path, paths)).stem, formats)
                bar.update()
