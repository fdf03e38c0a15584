"""Make a class of submissions and time how long grading it takes:  python benchmarks/grading_class.py [--json FILE]

Each student hands in five tasks, named as Canvas names downloads, with a roster. A task is right or has one of the
planted mistakes; a few students hand in a stub, a file that is not Python, an endless loop, or the work of another with
other names. ``--keep DIR`` leaves the submissions and the reports there, to look at.
"""

import argparse
import contextlib
import io
import random
import re
import resource
import tempfile
import time
from pathlib import Path

from side_by_side import finish, show

from se_numpy.cli import main as command
from se_numpy.grading.classroom import ClassView

RIGHT = Path(__file__).parent.parent / "tests" / "grading" / "submissions" / "right.py"
SHARE_RIGHT = 0.6
# A piece of each function of the right submission, and what the planted mistakes write in its place.
MISTAKES = {
    "squeeze": ("U.mean((1, 2))", [
        "U.max((1, 2))", "U.sum((1, 2))", "np.zeros(U.shape[::3]) + U.mean((0, 1, 2))", "U.mean(1)[:, 0]",
        "U.std((1, 2))", "np.median(U, (1, 2))", "U.sum((1, 2)) / U.shape[1] ** 2",
    ]),
    "excite": ("sigmoid(relu(z @ W1.T) @ W2.T)", [
        "sigmoid(z @ W1.T @ W2.T)", "relu(z @ W1.T) @ W2.T", "np.tanh(relu(z @ W1.T) @ W2.T)",
        "sigmoid(relu(relu(z @ W1.T) @ W2.T))", "1 / (1 + np.exp(-relu(z @ W1.T) @ W2.T))",
        "sigmoid(relu(z @ W1) @ W2)", "sigmoid(relu(W1 @ z) @ W2)",
    ]),
    "scale": ("U * s[:, None, None, :]", [
        "U + s[:, None, None, :]", "U * (1 + s[:, None, None, :])", "U * s", "U * s[:, None]", "U * s[0]",
        "U * sigmoid(s)[:, None, None, :]",
    ]),
    "se_block_backward": ("dU + squeeze_backward(dz, U)", [
        "dU", "dU - squeeze_backward(dz, U)", "dU + 2 * squeeze_backward(dz, U)", "dU + dz[:, None, None, :]",
        "squeeze_backward(dz, U)", "dX_tilde + squeeze_backward(dz, U)",
    ]),
    "conv2d": ("_windows(_pad(X, padding), len(V), stride), V)", [
        "_windows(_pad(X, padding), len(V), stride), V[::-1, ::-1])", "_windows(X, len(V), stride), V)",
        "_windows(_pad(X, padding), len(V), 1), V)", "_windows(_pad(X, 1), len(V), stride), V)",
        "_windows(_pad(X, padding), len(V), stride), V.swapaxes(0, 1))",
        "_windows(np.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)), 'edge'), len(V), stride), V)",
    ]),
}  # fmt: skip
ODD = ["def squeeze(U:\n", "def squeeze(U):\n    raise NotImplementedError\n",
       "def squeeze(U):\n    while True:\n        pass\n"]  # fmt: skip
FIRST = ["Ada", "Alan", "Barbara", "Chien-Shiung", "Donald", "Edsger", "Emmy", "Grace", "Jörg", "Katherine", "Maryam",
         "Noor", "Ramon", "Shafi", "Tu", "Yuki"]  # fmt: skip
LAST = ["Abe", "Bhatt", "de Vries", "Dijkstra", "García", "Hopper", "Ibrahim", "Kovács", "Lovelace", "Müller", "Nguyen",
        "O'Brien", "Okafor", "Østergaard", "Silva", "Wu"]  # fmt: skip


def submission(rng: random.Random) -> str:
    """Return the source of one submission, with the names of some variables drawn."""
    text = RIGHT.read_text(encoding="utf-8")
    for old, wrong in MISTAKES.values():
        if rng.random() > SHARE_RIGHT:
            text = text.replace(f"return {old}", f"return {rng.choice(wrong)}")
            text = text.replace(f'"nhwcab,abcd->nhwd", {old}', f'"nhwcab,abcd->nhwd", {rng.choice(wrong)}')
    return renamed(text, rng)


def renamed(text: str, rng: random.Random) -> str:
    """Return the source with other names for a few variables."""
    for name in ("padded", "dz", "da1", "da2", "view"):
        text = re.sub(rf"\b{name}(_[a-h])?\b", f"{name}_{rng.choice('abcdefgh')}", text)
    return text


def make(folder: Path, students: int, seed: int = 0) -> None:
    """Write the submissions to ``folder/submissions``, and beside them the roster and the assignment."""
    rng = random.Random(seed)
    place = folder / "submissions"
    place.mkdir(parents=True)
    rows = ["Student,ID,SIS User ID,SIS Login ID,Section,Homework 3 (98765)", "    Points Possible,,,,,11"]
    last = ""
    for k in range(students):
        first, family = rng.choice(FIRST), rng.choice(LAST)
        rows.append(f'"{family}, {first}",{1000 + k},s{k},login{k},1,')
        last = source = renamed(last, rng) if k % 25 == 24 else ODD[k // 15 % 3] if k % 15 == 14 else submission(rng)
        name = re.sub(r"\W", "", f"{family}{first}".lower())
        if k % 20 != 7:  # the others hand in nothing
            late = "LATE_" if rng.random() < 0.1 else ""
            (place / f"{name}_{late}{1000 + k}_{50000 + k}_hw3.py").write_text(source, encoding="utf-8")
    (folder / "roster.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "secret.txt").write_text("a secret for every course", encoding="utf-8")
    assignment = f'title = "Homework 3"\ntasks = {list(MISTAKES)}\nsecret_file = "secret.txt"\nroster = "roster.csv"\n'
    (folder / "hw3.toml").write_text(assignment, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0].partition(":  ")[0])
    parser.add_argument("--students", type=int, default=200, metavar="N")
    parser.add_argument("--jobs", type=int, default=2, metavar="N")
    parser.add_argument("--keep", metavar="DIR", help="a new folder for the submissions and the reports")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.keep or temporary)
        make(folder, args.students)
        arguments = ["grade", folder / "submissions", "--assignment", folder / "hw3.toml", "--out", folder / "reports",
                     "--format", "html,json", "--jobs", args.jobs]  # fmt: skip
        begun = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            code = command([str(a) for a in arguments])
        seconds = time.perf_counter() - begun
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        view = ClassView.read(folder / "reports")
    failed, known = (sum(len(m.submissions) for m in view.mistakes if m.known >= least) for least in (False, True))
    record = {
        "students": args.students, "submissions": len(view.reports), "tasks each": len(MISTAKES), "jobs": args.jobs,
        "failed tasks": failed, "of them named": known, "seconds": seconds,
        "seconds each": seconds / len(view.reports), "processor seconds": sum(u.ru_utime + u.ru_stime for u in used),
        "exit code": code,
    }  # fmt: skip
    show("a class", ["", ""], list(record.items()))
    finish(args.json, record)


if __name__ == "__main__":
    main()
