"""Gradescope autograders: a zip with setup.sh, run_autograder and the files that they need.

Gradescope runs each submission in its own container; the grader uses the strongest isolation that the container
allows, and the report says which. A valid results.json with score 0 is written before anything runs and replaced after
every task, so that a submission that reaches the deadline keeps its points for the tasks graded by then.
"""

import io
import zipfile
from pathlib import Path

import se_numpy
from se_numpy.grading.assignment import load
from se_numpy.grading.isolation import FRAMEWORKS

SETUP = """\
#!/usr/bin/env bash
# Run once, when the autograder's image is built.
set -euo pipefail
apt-get update -qq && apt-get install -y -qq python3 python3-venv
python=python3
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  apt-get install -y -qq python3.11 python3.11-venv  # the image's own Python is older
  python=python3.11
fi
$python -m venv /autograder/venv
/autograder/venv/bin/pip install -q {requirement}
{library}chmod -R o-rwx /autograder/source /autograder/results || true
"""
# The zip contains the library, so that students are graded by exactly the code that the instructor tested.
NEEDS = "numpy tqdm threadpoolctl hypothesis"
COPY = """\
packages=$(/autograder/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp -r /autograder/source/se_numpy "$packages"
"""

RUN = """\
#!/usr/bin/env bash
# Run once for every submission; leaves /autograder/results/results.json.
set -uo pipefail
cd /autograder
mkdir -p results
echo '{{"score": 0, "output": "The autograder ended before anything was graded.", "tests": []}}' > results/results.json
shopt -s nullglob
files=(submission/*.ipynb submission/*.py)
found=("${{files[@]}}")
if [ "${{#files[@]}}" -gt 1 ]; then found=(submission --one); fi  # one file is graded and may import the others
if [ "${{#files[@]}}" -eq 0 ]; then
  echo '{{"score": 0, "output": "The submission has no .py or .ipynb file.", "tests": []}}' > results/results.json
  exit 0
fi
# The inputs follow the student, or the students of a group, as Gradescope's metadata name them.
read_ids='import json; print(*sorted(u["id"] for u in json.load(open("submission_metadata.json"))["users"]), sep="-")'
student=$(python3 -c "$read_ids" 2> /dev/null || true)
{command} grade "${{found[@]}}" --student "$student" {options}--deadline {deadline} --format gradescope --out results
status=$?
if [ "$status" -ge 2 ]; then
  echo "The autograder itself failed with status $status; your submission did not cause this. Tell your instructor." >&2
fi
exit 0
"""


def build(
    assignment: str | Path | None = None, *, requirement: str | None = None, deadline: int = 480,
    command: str = "/autograder/venv/bin/python -m se_numpy",
) -> bytes:  # fmt: skip
    """Return the bytes of the zip.

    It contains this library, or a setup script that installs ``requirement`` with pip, and the assignment's files.

    Raises
    ------
    ValueError
        If the assignment is invalid or names a file outside its folder.
    """
    files: dict[str, str | bytes] = {} if requirement else _library()
    options, needs = "", requirement or NEEDS
    if assignment is not None:
        assignment = Path(assignment)
        loaded = load(assignment)  # so that errors are raised here rather than in the container
        files["assignment.toml"] = assignment.read_text(encoding="utf-8")
        options = "--assignment source/assignment.toml "
        framework = FRAMEWORKS.get(loaded.form.framework)
        needs += f" {framework.name}" if framework else ""
        files |= _referenced(assignment)
    files["setup.sh"] = SETUP.format(requirement=_quoted(needs), library="" if requirement else COPY)
    files["run_autograder"] = RUN.format(options=options, deadline=deadline, command=command)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))  # reproducible bytes
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if name in ("setup.sh", "run_autograder") else 0o644) << 16
            archive.writestr(entry, content)
    return out.getvalue()


def _library() -> dict[str, str | bytes]:
    """Return every file in this package, keyed by its name in the zip."""
    home = Path(se_numpy.__file__).parent
    files = (path for path in sorted(home.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {f"se_numpy/{path.relative_to(home).as_posix()}": path.read_bytes() for path in files}


def _referenced(assignment: Path) -> dict[str, str]:
    """Return the task files and the secret file that the assignment names."""
    import tomllib

    data = tomllib.loads(assignment.read_text(encoding="utf-8"))
    names = [entry["file"] for entry in data.get("task", []) if "file" in entry]
    names += [data["secret_file"]] if "secret_file" in data else []
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{assignment} names {name}; expected a file in the assignment's folder or below it")
    return {name: (assignment.parent / name).read_text(encoding="utf-8") for name in names}


def _quoted(text: str) -> str:
    import shlex

    return " ".join(shlex.quote(word) for word in text.split())
