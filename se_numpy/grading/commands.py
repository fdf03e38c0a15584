"""The command line of grading: grade, tasks, show, verify-task, new-task, student-template, gradescope-zip, doctor.

Exit codes: 0 all passed, 1 something failed, 2 usage, 3 the grader's own fault, 4 the demanded isolation is missing.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import se_numpy
from se_numpy.arg_types import int_list

FAILED, USAGE, OWN_FAULT, NO_ISOLATION, INTERRUPTED = 1, 2, 3, 4, 130
LEVELS = ("L1", "L2", "L3")
GRADE = """\
Grades .py and .ipynb submissions, each function in a process of its own. Several, or a
folder, give a class view: grades.csv, and which mistakes were made how often.

An assignment is a file such as

    title = "Homework 3"
    tasks = ["relu", "sigmoid"]     # with their own points; se-numpy tasks lists all
    secret_file = "secret.txt"      # any bytes: inputs that nobody can foresee
    [[task]]
    id = "squeeze"
    points = 2
    [[task]]
    file = "my_gate.py"             # a task of your own, as se-numpy new-task begins one

Exit codes: 0 all passed, 1 something failed, 2 a wrong call, 4 less isolation than --require
asks for, 130 Ctrl-C; se-numpy doctor says what L1, L2 and L3 are.
"""


class Exit(Exception):
    """A command that ended as it should, with a code other than 0."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code, self.message = code, message


def add(commands: Any) -> None:
    """The parsers of all commands."""
    _add_grade(commands)
    p = commands.add_parser("tasks", help="what can be graded", description="Lists the tasks of the grading oracle.")
    p.add_argument("--json", action="store_true", help="as JSON")
    p.set_defaults(run=_tasks, parser=p)
    p = commands.add_parser("show", help="one task: signature, shapes, what is looked at, known mistakes")
    p.add_argument("task", metavar="TASK")
    p.add_argument("--mistakes", action="store_true", help="with every known mistake, which students need not see")
    p.set_defaults(run=_show, parser=p)
    p = commands.add_parser("verify-task", help="is a task itself any good?", description=(
        "Alternates pass, every mistake is caught on every seed by a wide margin, no two are alike, the oracle is the "
        "derivative it says it is."))  # fmt: skip
    p.add_argument("task", nargs="*", metavar="TASK|FILE", help="names, or files of your own (default: all tasks)")
    p.add_argument("--seeds", type=int, default=50, metavar="N", help="default: 50")
    p.add_argument("--json", metavar="FILE", help="write the table there too")
    p.set_defaults(run=_verify, parser=p)
    p = commands.add_parser("new-task", help="a file to begin a task of your own with")
    p.add_argument("name", metavar="NAME", help="the function's name")
    p.set_defaults(run=_new_task, parser=p)
    p = commands.add_parser("student-template", help="stubs for students, and an instructor's notebook", description=(
        "Writes a sheet of functions to fill in, each with its equation and its shapes; for chosen ones also a .toml "
        "with their points, with which a class is graded."))  # fmt: skip
    what = p.add_mutually_exclusive_group()
    what.add_argument("--tasks", metavar="A,B", help="default: all")
    what.add_argument("--tutorials", metavar="1,2", nargs="?", type=int_list, const=(), help="the exercises of these "
                      "tutorials, or of all, in their order and under their titles")  # fmt: skip
    what.add_argument("--assignment", metavar="FILE.toml", help="the tasks of a piece of homework")
    p.add_argument("--marks", choices=["nbgrader", "otter"], help="an instructor's notebook with that tool's marks")
    p.add_argument("--out", metavar="FILE", help=".py or .ipynb (default: submission.py; with --marks .ipynb)")
    p.set_defaults(run=_template, parser=p)
    p = commands.add_parser("gradescope-zip", help="a zip that works as Gradescope's autograder", description=(
        "Writes a zip with this very library, the assignment and its secret: to be uploaded as a programming "
        "assignment's autograder. It needs Python 3.11 there, and gets it on Ubuntu 22.04 or newer."))  # fmt: skip
    p.add_argument("--assignment", metavar="FILE.toml", help="default: all tasks")
    p.add_argument("--requirement", metavar="SPEC", help="let pip install the library there instead, for instance "
                   "'se-numpy[grade] @ git+https://github.com/YOU/se_numpy'")  # fmt: skip
    p.add_argument("--deadline", type=int, default=480, metavar="SECONDS", help="for a whole submission (default: 480)")
    p.add_argument("--out", metavar="FILE.zip", default="autograder.zip", help="default: autograder.zip")
    p.set_defaults(run=_gradescope_zip, parser=p)
    p = commands.add_parser("doctor", help="which isolation this machine offers for submissions")
    p.set_defaults(run=_doctor, parser=p)


def _add_grade(commands: Any) -> None:
    p = commands.add_parser("grade", help="grade submissions", description=GRADE)
    p.add_argument("files", nargs="+", metavar="FILE", help="submissions, or folders of them")
    p.add_argument("--tasks", metavar="A,B", help="only these")
    p.add_argument("--assignment", metavar="FILE.toml", help="tasks, points, limits of a piece of homework")
    p.add_argument("--format", default="terminal", metavar="A,B", help="terminal, json, gradescope, junit, html, csv")
    p.add_argument("--out", metavar="DIR", help="where reports go (default: the terminal)")
    kinds = ["auto", "bwrap", "landlock", "process"]
    p.add_argument("--isolation", choices=kinds, default="auto", help="default: auto")
    p.add_argument("--require", choices=LEVELS, metavar="LEVEL", help="L1, L2, L3: exit 4 rather than less")
    p.add_argument("--seed-file", metavar="FILE", help="the course's secret: inputs that nobody can foresee")
    p.add_argument("--jobs", type=int, default=1, metavar="N", help="submissions at a time (default: 1)")
    p.add_argument("--dask", metavar="ADDRESS", help="a Dask cluster's scheduler, to carry a course of thousands")
    p.add_argument("--deadline", type=float, metavar="SECONDS", help="for a whole submission")
    p.add_argument("--run-all", action="store_true", help="run all of a notebook's cells, not its definitions alone")
    p.set_defaults(run=_guarded(_grade), parser=p)


def _guarded(command: Any) -> Any:
    """A fault of the grader's own is not the student's, and has an exit code of its own."""

    def run(args: argparse.Namespace) -> None:
        try:
            command(args)
        except (Exit, ValueError, KeyboardInterrupt, BrokenPipeError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.filename:  # a folder that cannot be written to, say
                raise
            traceback.print_exc()
            message = "this is the grader's own fault, no submission's; the lines above say where"
            raise Exit(OWN_FAULT, f"{message} ({type(error).__name__})") from None

    return run


def _grade(args: argparse.Namespace) -> None:
    from se_numpy.grading.grade_command import grade

    grade(args)


def chosen(text: str | None) -> tuple[str, ...]:
    """Names between commas, as people type them."""
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def _tasks(args: argparse.Namespace) -> None:
    from se_numpy.grading.tasks import all_tasks

    tasks = all_tasks().values()
    if args.json:
        print(json.dumps([{"id": t.name, "equation": t.equation, "title": t.title, "signature": t.signature,
                           "points": t.points, "mistakes": len(t.mistakes)} for t in tasks],
                         indent=1, ensure_ascii=False))  # fmt: skip
        return
    width = max(len(t.name) for t in tasks)
    for t in tasks:
        print(f"{t.name:{width}s}  {t.points:4g}  {len(t.mistakes):3d} mistakes  {t.title}")
    print(f"{len(tasks)} tasks, {sum(len(t.mistakes) for t in tasks)} known mistakes")


def _show(args: argparse.Namespace) -> None:
    from se_numpy.grading.assignment import find
    from se_numpy.grading.template import stub

    task = find(args.task)
    print(f"{task.title}, {task.points:g} points\n{task.equation}\n\n{stub(task)}\n")
    print("looked at: shape, dtype, values of " + ", ".join(task.outputs) + ", inputs untouched, repeatable")
    for what, cases in (("special cases", task.specials), ("extremes", task.extremes)):
        if cases:
            print(f"{what}: {', '.join(case.name for case in cases)}")
    print(f"known mistakes: {len(task.mistakes)}; correct versions it was tried with: {len(task.alternates)}")
    if args.mistakes:
        for mistake in task.mistakes:
            print(f"  {mistake.name}: {mistake.text}")


def _verify(args: argparse.Namespace) -> None:
    from dataclasses import asdict

    from tqdm import tqdm

    from se_numpy.grading.assignment import find
    from se_numpy.grading.selftest import from_file, verify
    from se_numpy.grading.tasks import all_tasks

    if args.seeds < 1:
        raise ValueError(f"--seeds is {args.seeds}; expected at least 1")
    tasks = [t for name in args.task for t in (from_file(name) if name.endswith(".py") else [find(name)])]
    tasks = tasks or list(all_tasks().values())
    width = max(4, *(len(t.name) for t in tasks))
    print(f"{'task':{width}s} cases checks mistakes  caught by at least  alternates  nearest to failing  gradient")
    found = []
    for task in tqdm(tasks, unit="task", leave=False, disable=not sys.stderr.isatty()):
        v = verify(task, seeds=range(args.seeds))
        found.append(v)
        gradient = "" if v.gradient is None else f"{v.gradient:.0e}"
        print(f"{v.task:{width}s} {v.cases:5d} {v.checks:6d} {v.mistakes:8d} {v.margin:17.3g}x {v.alternates:11d} "
              f"{v.worst_alternate:18.0%}  {gradient:>8s}", flush=True)  # fmt: skip
        for problem in v.problems:
            print(f"    {problem}")
    if args.json:
        record = {"seeds": args.seeds, "tasks": [asdict(v) for v in found]}
        Path(args.json).write_text(json.dumps(record, indent=1, default=str) + "\n", encoding="utf-8")
    refused = [v.task for v in found if v.problems]
    total = sum(v.mistakes for v in found)
    print(f"{len(found)} tasks, {total} mistakes, all caught on {args.seeds} seeds" if not refused else
          f"refused: {', '.join(refused)}")  # fmt: skip
    if refused:
        raise Exit(FAILED)


def _new_task(args: argparse.Namespace) -> None:
    from se_numpy.grading.template import new_task

    _write_new({Path(f"{args.name}.py"): new_task(args.name)})
    print(f"{args.name}.py written; fill it in, then: se-numpy verify-task {args.name}.py")


def _template(args: argparse.Namespace) -> None:
    from se_numpy.grading.course import Options
    from se_numpy.grading.lessons.syllabus import lessons
    from se_numpy.grading.template import as_assignment, as_notebook, as_python

    chapters = lessons(args.tutorials) if args.tutorials is not None else ()
    names = chosen(args.tasks) or tuple(task for chapter in chapters for task in chapter.tasks)
    assignment = Options(args.assignment, names).to_assignment()
    path = Path(args.out or ("submission.ipynb" if args.marks else "submission.py"))
    if path.suffix not in (".py", ".ipynb"):
        raise ValueError(f"--out is {args.out}; expected a file that ends in .py or .ipynb")
    if args.marks and path.suffix != ".ipynb":
        raise ValueError(f"--marks {args.marks} is for notebooks; expected --out NAME.ipynb")
    title = assignment.title if args.assignment else "Squeeze-and-Excitation by hand"
    points = path.with_suffix(".toml") if names else None  # what an instructor grades a class with
    asked = f" --assignment {args.assignment}" if args.assignment else f" --tasks {','.join(names)}" if names else ""
    begins = {chapter.tasks[0]: chapter for chapter in chapters}
    if path.suffix == ".py":
        text = as_python(title, assignment.items, path.name, chosen=asked, lessons=begins)
    else:
        text = as_notebook(title, assignment.items, path.name, chosen=asked, lessons=begins, marks=args.marks)
    _write_new({path: text, **({points: as_assignment(title, assignment.items)} if points else {})})
    n = len(assignment.items)
    print(f"{path}: {n} function{'s' * (n != 1)} to write" + (f"; {points}: the points" if points else ""))


def _gradescope_zip(args: argparse.Namespace) -> None:
    from se_numpy.grading.autograder import build

    path = Path(args.out)
    if path.suffix != ".zip":
        raise ValueError(f"--out is {args.out}; expected a file that ends in .zip")
    path.write_bytes(build(args.assignment, requirement=args.requirement, deadline=args.deadline))
    brings = args.requirement or f"se_numpy {se_numpy.__version__}, as it is installed here"
    print(f"{path}: upload it as the autograder of a programming assignment; it brings {brings}")


def _doctor(args: argparse.Namespace) -> None:
    from se_numpy.grading import isolation

    for backend, level, works, why in isolation.doctor():
        print(f"{level}  {backend:12s} {'works' if works else 'does not work'}{f': {why}' if why else ''}")
    print()
    print(isolation.__doc__)


def _write_new(texts: Mapping[Path, str]) -> None:
    """Files with these texts; none is written where one of them is there already."""
    for path in texts:
        if path.exists():
            raise ValueError(f"{path} exists already; expected a new file: give another name, or move it away")
    for path, text in texts.items():
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
