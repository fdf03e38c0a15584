"""A zip that works as Gradescope's autograder: setup.sh, run_autograder, and what they need.

Each submission has a container of its own there; inside it the strongest isolation is taken that the container allows,
and the report says which. A valid results.json without points is there before anything runs and is replaced after every
task, so that a deadline costs what was not reached and no more.
"""

import io
import zipfile
from pathlib import Path

from se_numpy.grading.assignment import load

SETUP = """\
#!/usr/bin/env bash
# Run once, when the autograder's image is built.
set -euo pipefail
apt-get update -qq && apt-get install -y -qq python3 python3-venv
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install -q {requirement}
chmod -R o-rwx /autograder/source /autograder/results || true
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
    assignment: str | Path | None = None, *, requirement: str = "se-numpy[grade]", deadline: int = 480,
    command: str = "/autograder/venv/bin/se-numpy",
) -> bytes:  # fmt: skip
    """The zip's bytes.  ``requirement`` is what pip installs; the assignment's files go in beside it."""
    files = {"setup.sh": SETUP.format(requirement=_quoted(requirement))}
    options = ""
    if assignment is not None:
        assignment = Path(assignment)
        load(assignment)  # complains here, not in the container
        files["assignment.toml"] = assignment.read_text(encoding="utf-8")
        options = "--assignment source/assignment.toml "
        files |= _beside(assignment)
    files["run_autograder"] = RUN.format(options=options, deadline=deadline, command=command)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))  # the same bytes whenever it is made
            entry.external_attr = (0o755 if name in ("setup.sh", "run_autograder") else 0o644) << 16
            archive.writestr(entry, text)
    return out.getvalue()


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
