"""The grading commands: grade, tasks, show, verify-task, new-task, student-template, gradescope-zip, doctor.

Exit codes: 0 all passed, 1 something failed, 2 usage error, 3 internal error in the grader, 4 the required isolation
is not available.
"""

import argparse
import contextlib
import json
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import se_numpy
from se_numpy.arg_types import int_list

FAILED, USAGE, OWN_FAULT, NO_ISOLATION, INTERRUPTED = 1, 2, 3, 4, 130
LEVELS = ("L1", "L2", "L3")
GRADE = """\
Grade .py and .ipynb submissions, each in a separate process. A .zip archive is one submission, and so is a
folder with --one, --file or --folders; the graded file can import the others. Several submissions, or a folder, also
give a summary of the class: all grades, and how often each mistake was made.

An assignment is a file like this:

    title = "Homework 3"
    # with default points:
    tasks = ["relu", "sigmoid"]
    # makes test inputs unpredictable:
    secret_file = "secret.txt"
    [[task]]
    id = "squeeze"
    points = 2
    # from se-numpy new-task my_gate:
    [[task]]
    file = "my_gate.py"

Exit codes: 0 all passed, 1 something failed, 2 usage error, 3 internal error in the grader, 4 less isolation than
--require demands, 130 Ctrl-C. `se-numpy doctor` explains the levels L1, L2 and L3.
"""


class Exit(Exception):
    """Raised to end a command with a nonzero exit code and no traceback."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code, self.message = code, message


def add(commands: Any) -> None:
    """Add the parsers of all grading commands."""
    _add_grade(commands)
    p = commands.add_parser("tasks", help="list the tasks that can be graded",
                            description="List the tasks that can be graded.")  # fmt: skip
    p.add_argument("--json", action="store_true", help="print JSON")
    p.set_defaults(run=_tasks, parser=p)
    p = commands.add_parser("show", help="show a task: signature, shapes, checks and known mistakes",
                            description="Show a task: its signature, shapes, checks and known mistakes.")  # fmt: skip
    p.add_argument("task", metavar="TASK", help="task name; `se-numpy tasks` lists all")
    p.add_argument("--mistakes", action="store_true", help="list every known mistake (for instructors)")
    p.set_defaults(run=_show, parser=p)
    p = commands.add_parser("verify-task", help="check the tasks themselves, including your own", description=(
        "Check that correct versions pass, that every mistake is caught on every seed by a wide margin, that no two "
        "mistakes give the same results, and that a backward oracle is the derivative of its forward function."
    ))  # fmt: skip
    p.add_argument("task", nargs="*", metavar="TASK|FILE", help="task names, or files with custom tasks (default: all "
                   "tasks)")  # fmt: skip
    p.add_argument("--seeds", type=int, default=50, metavar="N", help="number of seeds (default: 50)")
    p.add_argument("--json", metavar="FILE", help="also write the results to FILE as JSON")
    p.set_defaults(run=_verify, parser=p)
    p = commands.add_parser("new-task", help="write a template for a custom task",
                            description="Write a template for a custom task to NAME.py.")  # fmt: skip
    p.add_argument("name", metavar="NAME", help="name of the function that students will write")
    p.set_defaults(run=_new_task, parser=p)
    p = commands.add_parser("student-template", help="write function stubs for students", description=(
        "Write a file with functions to fill in, each with its equation and shapes. If tasks are selected, also "
        "write a .toml file with their points, for grading a class with --assignment."))  # fmt: skip
    what = p.add_mutually_exclusive_group()
    what.add_argument("--tasks", metavar="A,B", help="task names (default: all)")
    what.add_argument("--tutorials", metavar="1,2", nargs="?", type=int_list, const=(), help="the exercises from these "
                      "tutorials (all if none is named), in order, under the tutorials' titles")  # fmt: skip
    what.add_argument("--assignment", metavar="FILE.toml", help="the tasks in this assignment")
    p.add_argument("--marks", choices=["nbgrader", "otter"], help="write an instructor's notebook for this tool, with "
                   "solutions")  # fmt: skip
    p.add_argument("--out", metavar="FILE", help=".py or .ipynb file (default: submission.py, or submission.ipynb "
                   "with --marks)")  # fmt: skip
    p.set_defaults(run=_template, parser=p)
    p = commands.add_parser("gradescope-zip", help="write an autograder for Gradescope", description=(
        "Write a zip with this library, the assignment and its secret. Upload it as the autograder for a programming "
        "assignment. It needs Python 3.11, which it installs if the image is Ubuntu 22.04 or newer."))  # fmt: skip
    p.add_argument("--assignment", metavar="FILE.toml", help="the assignment to grade (default: all tasks)")
    p.add_argument("--requirement", metavar="SPEC", help="install the library with pip instead, for instance "
                   "'se-numpy[grade]'")  # fmt: skip
    p.add_argument("--deadline", type=int, default=480, metavar="SECONDS", help="time limit for a whole submission "
                   "(default: 480)")  # fmt: skip
    p.add_argument("--out", metavar="FILE.zip", default="autograder.zip", help="file to write (default: "
                   "autograder.zip)")  # fmt: skip
    p.set_defaults(run=_gradescope_zip, parser=p)
    p = commands.add_parser("doctor", help="show which isolation levels this machine supports", description=(
        "Show which isolation levels this machine supports, and attack them: one line for each promise. Exits with "
        "code 1 if a promise is broken."))  # fmt: skip
    p.set_defaults(run=_doctor, parser=p)


def _add_grade(commands: Any) -> None:
    p = commands.add_parser("grade", help="grade submissions", description=GRADE)
    p.add_argument("files", nargs="+", metavar="FILE", help="submissions (.py, .ipynb or .zip), or folders of them")
    p.add_argument("--file", metavar="NAME", help="the file to grade in a folder or an archive, such as hw.py; a "
                   "folder that contains it is one submission")  # fmt: skip
    p.add_argument("--one", action="store_true", help="each given folder is one submission")
    p.add_argument("--folders", action="store_true", help="each folder with Python files in the given folder is one "
                   "submission, or the given folder itself if it has only files")  # fmt: skip
    p.add_argument("--framework", choices=["torch", "jax"], help="submissions may set FRAMEWORK = \"torch\" or \"jax\" "
                   "and import it")  # fmt: skip
    p.add_argument("--tasks", metavar="A,B", help="grade only these tasks")
    p.add_argument("--assignment", metavar="FILE.toml", help="TOML file with tasks, points and limits")
    p.add_argument("--format", default="terminal", metavar="A,B", help="report formats: terminal, json, "
                   "gradescope, junit, html, csv (default: terminal)")  # fmt: skip
    p.add_argument("--out", metavar="DIR", help="folder for the reports (default: print them)")
    kinds = ["auto", "bwrap", "landlock", "process"]
    p.add_argument("--isolation", choices=kinds, default="auto", help="how to isolate submissions (default: auto, "
                   "the strongest that works)")  # fmt: skip
    p.add_argument("--require", choices=LEVELS, metavar="LEVEL", help="refuse to grade below this isolation level "
                   "(L1, L2 or L3) and exit with code 4")  # fmt: skip
    p.add_argument("--seed-file", metavar="FILE", help="the course's secret, which makes the test inputs "
                   "unpredictable")  # fmt: skip
    p.add_argument("--roster", metavar="FILE.csv", help="the students, as exported by Canvas or Moodle; also writes a "
                   "gradebook to import there")  # fmt: skip
    p.add_argument("--manual", metavar="FILE.csv", help="points and comments by hand: columns student, task, points, "
                   "add, comment")  # fmt: skip
    p.add_argument("--keep", choices=["last", "best"], help="which of several runs into --out counts for a student "
                   "(default: last)")  # fmt: skip
    p.add_argument("--template", metavar="FILE", help="what students were given, which is not compared between "
                   "submissions")  # fmt: skip
    p.add_argument("--student", metavar="ID", default="", help="whose submission a single file is; the test inputs "
                   "follow the student (default: the file's name)")  # fmt: skip
    p.add_argument("--jobs", type=int, default=1, metavar="N", help="submissions to grade in parallel (default: 1)")
    p.add_argument("--dask", metavar="ADDRESS", help="grade on the Dask cluster with this scheduler address")
    p.add_argument("--deadline", type=float, metavar="SECONDS", default=300, help="time limit for a whole submission "
                   "(default: 300)")  # fmt: skip
    p.add_argument("--class-deadline", type=float, metavar="SECONDS", help="time limit for all submissions together "
                   "(default: 60 for each, divided by --jobs, but at least --deadline)")  # fmt: skip
    p.add_argument("--run-all", action="store_true", help="run all cells in a notebook, not only its definitions")
    p.set_defaults(run=_guarded(_grade), parser=p)


def _guarded(command: Any) -> Any:
    """Wrap a command so that internal errors in the grader have their own exit code."""

    def run(args: argparse.Namespace) -> None:
        try:
            command(args)
        except (Exit, ValueError, KeyboardInterrupt, BrokenPipeError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.filename:
                raise  # for example, a folder that is not writable or an output on a full disk
            with contextlib.suppress(OSError):
                traceback.print_exc()
            message = "internal error in the grader, not caused by a submission; see the traceback above"
            raise Exit(OWN_FAULT, f"{message} ({type(error).__name__})") from None

    return run


def _grade(args: argparse.Namespace) -> None:
    from se_numpy.grading.grade_command import grade

    grade(args)


def chosen(text: str | None) -> tuple[str, ...]:
    """Split a comma-separated list of names; spaces and empty names are ignored."""
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
        points = f"{t.points:4g} point{' ' if t.points == 1 else 's'}"
        print(f"{t.name:{width}s} {points}  {len(t.mistakes):3d} mistakes  {t.title}")
    print(f"{len(tasks)} tasks, {sum(len(t.mistakes) for t in tasks)} known mistakes")


def _show(args: argparse.Namespace) -> None:
    from se_numpy.grading.assignment import find
    from se_numpy.grading.template import stub

    task = find(args.task)
    print(f"{task.title}, {task.points:g} point{'s' * (task.points != 1)}\n{task.equation}\n\n{stub(task)}\n")
    print("checks: shape, dtype, values of " + ", ".join(task.outputs) + ", inputs untouched, repeatable")
    for what, cases in (("special cases", task.specials), ("extremes", task.extremes)):
        if cases:
            print(f"{what}: {', '.join(case.name for case in cases)}")
    print(f"known mistakes: {len(task.mistakes)}; other correct versions: {len(task.alternates)}")
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
    print(f"{args.name}.py written; fill it in, then: se-numpy verify-task {quote(args.name + '.py')}")


def _template(args: argparse.Namespace) -> None:
    from se_numpy.grading.course import Options
    from se_numpy.grading.lessons.syllabus import lessons
    from se_numpy.grading.tasks import all_tasks
    from se_numpy.grading.template import as_assignment, as_notebook, as_python

    chapters = lessons(args.tutorials) if args.tutorials is not None else ()
    names = chosen(args.tasks) or tuple(task for chapter in chapters for task in chapter.tasks)
    assignment = Options(args.assignment, names).to_assignment()
    path = Path(args.out or ("submission.ipynb" if args.marks else "submission.py"))
    if path.suffix not in (".py", ".ipynb"):
        raise ValueError(f"--out is {args.out}; expected a name ending in .py or .ipynb")
    if args.marks and path.suffix != ".ipynb":
        raise ValueError(f"--marks {args.marks} is for notebooks; expected --out NAME.ipynb")
    title = assignment.title if args.assignment else "Squeeze-and-Excitation by hand"
    points = path.with_suffix(".toml") if names else None  # the assignment to grade a class with
    asked = f" --tasks {','.join(names)}" if names else ""
    if args.assignment:  # which stays with the instructor, with its secret; a custom task comes with its file
        own = [item.task.name for item in assignment.items if item.task.name in all_tasks()]
        asked = f" --tasks {','.join(own)}" if own else f" --assignment {quote(args.assignment)}"
    begins = {chapter.tasks[0]: chapter for chapter in chapters}
    if path.suffix == ".py":
        text = as_python(title, assignment.items, path.name, chosen=asked, lessons=begins)
    else:
        text = as_notebook(title, assignment.items, path.name, chosen=asked, lessons=begins, marks=args.marks)
    _write_new({path: text, **({points: as_assignment(title, assignment.items)} if points else {})})
    n = len(assignment.items)
    print(f"{path}: {n} function{'s' * (n != 1)} to write" + (f"; {points}: their points" if points else ""))


def _gradescope_zip(args: argparse.Namespace) -> None:
    from se_numpy.grading.autograder import build

    path = Path(args.out)
    if path.suffix != ".zip":
        raise ValueError(f"--out is {args.out}; expected a name ending in .zip")
    path.write_bytes(build(args.assignment, requirement=args.requirement, deadline=args.deadline))
    library = args.requirement or f"se_numpy {se_numpy.__version__}, as installed here"
    print(f"{path}: upload it as the autograder for a programming assignment; it uses {library}")


def _doctor(args: argparse.Namespace) -> None:
    from se_numpy.grading import isolation

    for backend, level, works, why in isolation.doctor():
        print(f"{level}  {backend:12s} {'works' if works else 'does not work'}{f': {why}' if why else ''}")
    print(f"\nAttacks on this machine; a level keeps a promise (yes, NO), does not make it (-), or is missing (?):\n\n"
          f"{''.join(f'{level:>4}' for level in LEVELS)}")  # fmt: skip
    results = isolation.examine()
    for result in results:
        print("".join(f"{result.levels[level]:>4}" for level in LEVELS), "", result.promise.sentence)
        for attack in result.broken:
            print(f"{'':14}succeeded at {attack!r}")
    sys.stdout.flush()
    for name in isolation.FRAMEWORKS:
        if not isolation.framework_missing(name):
            print(f"\nWith {name}, for submissions that may import it:", end=" ", flush=True)  # takes half a minute
            found = isolation.examine(name)
            results += found
            print("broken promises" if any(result.broken for result in found) else "every promise is kept")
            for result in found:
                for attack in result.broken:
                    print(f"{'':14}{result.promise.sentence}: succeeded at {attack!r}")
    print()
    print(isolation.__doc__)
    if broken := len({result.promise.sentence for result in results if result.broken}):
        raise Exit(FAILED, f"{broken} promise{'s' * (broken != 1)} broken on this machine; see above")


def _write_new(texts: Mapping[Path, str]) -> None:
    """Write new files; if one of them already exists, write none."""
    for path in texts:
        if path.exists():
            raise ValueError(f"{path} already exists; choose another name or move the file away")
    for path, text in texts.items():
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
