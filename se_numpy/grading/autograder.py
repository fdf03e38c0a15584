"""A zip that works as Gradescope's autograder: setup.sh, run_autograder, and what they need.

Each submission has a container of its own there; inside it the strongest isolation is taken that the container allows,
and the report says which. A valid results.json without points is there before anything runs and is replaced after every
task, so that a deadline costs what was not reached and no more.
"""

import io
import zipfile
from pathlib import Path

import se_numpy
from se_numpy.grading.assignment import load

SETUP = """\
#!/usr/bin/env bash
# Run once, when the autograder's image is built.
set -euo pipefail
apt-get update -qq && apt-get install -y -qq python3 python3-venv
python=python3
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  apt-get install -y -qq python3.11 python3.11-venv  # an image whose own Python is older
  python=python3.11
fi
$python -m venv /autograder/venv
/autograder/venv/bin/pip install -q {requirement}
{library}chmod -R o-rwx /autograder/source /autograder/results || true
"""
# The library travels in the zip, so that everybody is graded by the very code that their instructor tried.
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
files=(submission/*.ipynb submission/*.py)
for file in "${{files[@]}}"; do [ -e "$file" ] && found="$file"; done
if [ -z "${{found:-}}" ]; then
  echo '{{"score": 0, "output": "There is no .py or .ipynb file here.", "tests": []}}' > results/results.json
  exit 0
fi
{command} grade "$found" {options}--deadline {deadline} --format gradescope --out results
status=$?
if [ "$status" -ge 2 ]; then
  echo "The autograder itself failed with status $status: tell your instructor. Your submission is not to blame." >&2
fi
exit 0
"""


def build(
    assignment: str | Path | None = None, *, requirement: str | None = None, deadline: int = 480,
    command: str = "/autograder/venv/bin/python -m se_numpy",
) -> bytes:  # fmt: skip
    """The zip's bytes: this very library, or ``requirement``, which pip installs; the assignment's files beside it."""
    files: dict[str, str | bytes] = {} if requirement else _library()
    files["setup.sh"] = SETUP.format(requirement=_quoted(requirement or NEEDS), library="" if requirement else COPY)
    options = ""
    if assignment is not None:
        assignment = Path(assignment)
        load(assignment)  # complains here, not in the container
        files["assignment.toml"] = assignment.read_text(encoding="utf-8")
        options = "--assignment source/assignment.toml "
        files |= _beside(assignment)
    files["run_autograder"] = RUN.format(options=options, deadline=deadline, command=command)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))  # the same bytes whenever it is made
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if name in ("setup.sh", "run_autograder") else 0o644) << 16
            archive.writestr(entry, content)
    return out.getvalue()


def _library() -> dict[str, str | bytes]:
    """Every file of this package, under its name in the zip."""
    home = Path(se_numpy.__file__).parent
    files = (path for path in sorted(home.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {f"se_numpy/{path.relative_to(home).as_posix()}": path.read_bytes() for path in files}


def _beside(assignment: Path) -> dict[str, str]:
    """The tasks' files and the secret that the assignment names."""
    import tomllib

    data = tomllib.loads(assignment.read_text(encoding="utf-8"))
    names = [entry["file"] for entry in data.get("task", []) if "file" in entry]
    names += [data["secret_file"]] if "secret_file" in data else []
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{assignment} names {name}; in a zip files have to lie beside the assignment")
    return {name: (assignment.parent / name).read_text(encoding="utf-8") for name in names}


def _quoted(text: str) -> str:
    import shlex

    return " ".join(shlex.quote(word) for word in text.split())
