"""README and docs/ are accurate: code prints the output shown, commands parse, paths exist, figures were measured."""

import contextlib
import io
import json
import re
import shlex
import statistics
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import detection
import pytest
import scenes as benchmark

from se_numpy import cli
from se_numpy.data.glyphs import PLAIN_BOUND
from se_numpy.grading.tasks import all_tasks
from se_numpy.models import paper

ROOT = Path(__file__).parent.parent
DOCS = [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))]
PAGES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", *DOCS]
TEXT = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
README, RESULTS, DESIGN = TEXT["README.md"], TEXT["docs/results.md"], TEXT["docs/design.md"]
LAYOUT = DESIGN.partition("## Layout")[2].partition("## What is tested")[0]
CODE = [
    pytest.param(code, printed, id=f"{page}-{k}")
    for page, text in TEXT.items()
    for k, (code, printed) in enumerate(re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", text, re.S))
]


def commands():
    """Yield every se-numpy command in a shell block or a table, without its comment."""
    for page, text in TEXT.items():
        lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]
        lines += re.findall(r"^\|.*\| `(se-numpy [^`]*)` \|$", text, re.M)
        for line in lines:
            if line.startswith("se-numpy "):
                yield pytest.param(line.partition("#")[0], id=f"{page}: {line[:40]}")


@pytest.mark.parametrize(("code", "printed"), CODE)
def test_code_prints_what_is_shown_below_it(code, printed, tmp_path):
    script = tmp_path / "shown.py"  # a file, because pickle must find the classes in it
    script.write_text(code, encoding="utf-8")
    out = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, check=True)
    assert out.stdout == printed


def test_there_is_code_to_test():
    assert [case.id for case in CODE] == ["README.md-0", "CONTRIBUTING.md-0", "docs/grading.md-0", "docs/networks.md-0",
                                          "docs/networks.md-1"]  # fmt: skip
    assert all(case.values[1].strip() for case in CODE)


@pytest.mark.parametrize("line", list(commands()))
def test_every_command_is_accepted_by_the_parser(line):
    words = ["1" if word == "S" else word for word in shlex.split(line)[1:]]
    words = words[: words.index(">")] if ">" in words else words
    with contextlib.redirect_stderr(io.StringIO()) as complaint:
        try:
            args = cli._parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"{line}: {complaint.getvalue()}")
    assert callable(args.run)


def test_commands_are_found():
    assert len(list(commands())) > 30


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)|(?:src|srcset)=\"([^\"]+)\"", TEXT[page]):
        address = "".join(target)
        if not address.startswith("https://"):
            assert ((ROOT / page).parent / address).exists(), address


@pytest.mark.parametrize("page", PAGES)
def test_placeholders_are_no_addresses(page):
    """As long as the repository has no address in pyproject.toml, no page invents one."""
    assert not re.search(r"OWNER|YOU/|github\.com/(YOU|OWNER|example)", TEXT[page])


def test_every_path_of_the_layout_exists():
    for where in re.findall(r"^\|[^|]*\|([^|]*)\|", LAYOUT, re.M):
        for path in re.findall(r"`([\w/.]+)`", where):
            assert (ROOT / path).exists() or (ROOT / "se_numpy" / path).exists(), path


def test_every_module_is_in_the_layout():
    for path in (ROOT / "se_numpy").iterdir():
        if path.name not in ("__init__.py", "__main__.py", "__pycache__", "py.typed"):
            assert f"{path.name}/`" in LAYOUT if path.is_dir() else path.name in LAYOUT, path.name


def test_the_two_commands_are_there_once():
    assert len(re.findall(r"^python3 -m venv .*se-numpy train$", README, re.M)) == 1
    assert len(re.findall(r"^python3 -m venv .*pytest$", README, re.M)) == 1


# ------------------------------------------------------------------------------------ figures, as they were measured


def measured(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def row(*words):
    """Return the only line in the tables of results that contains all these words."""
    lines = [line for line in RESULTS.splitlines() if line.startswith("|") and all(word in line for word in words)]
    assert len(lines) == 1, (words, lines)
    return lines[0]


@pytest.mark.parametrize("model", ["se_resnet8", "resnet8"])
def test_accuracies_on_the_built_in_set_are_those_measured(model):
    right = [100 * run["test_accuracy"] for run in measured("builtin") if run["model"] == model]
    assert len(right) == 3
    assert " / ".join(f"{x:.1f}" for x in right) in row("built-in", f"`{model}`")
    seconds = statistics.median(run["seconds"] for run in measured("builtin") if run["model"] == model)
    assert f" {seconds:.0f} s " in row("built-in", f"`{model}`")


def test_the_bound_is_the_one_proven():
    assert Fraction(PLAIN_BOUND).limit_denominator(100) == Fraction(29, 48)
    assert all("29 of 48" in page.replace("\n", " ") for page in (README, RESULTS))
    assert f"bound {100 * PLAIN_BOUND:.1f} %" in row("built-in", "`resnet8`")


def test_accuracies_on_the_built_in_scenes_are_those_measured():
    for table in (benchmark.table, benchmark.time_table):
        assert "\n".join(table(measured("scenes"))) in RESULTS
    right = {model: [100 * run["test_accuracy"] for run in measured("scenes")["rows"]
                     if (run["part"], run["model"]) == ("scenes", model)] for model in benchmark.MODELS}  # fmt: skip
    gain = statistics.mean(right["se_resnet8"]) - statistics.mean(right["resnet8"])
    assert f"SE brings {gain:.1f} points on average over three seeds" in RESULTS
    for readout, share in measured("scenes_readout")["accuracy"].items():
        assert f"| {readout} | {100 * share:.1f} % |" in RESULTS


def test_average_precision_on_the_built_in_scenes_is_as_measured():
    rows = measured("detection")["rows"]
    assert "\n".join(detection.table(rows)) in RESULTS
    plain, gated = ({kind: 100 * row[kind] for kind in ("ap50", "ap")} | row["classes"] for row in rows[:2])
    words = TEXT["docs/detection.md"].replace("\n", " ")
    assert f"reached an AP50 of {gated['ap50']:.1f} % and an AP of {gated['ap']:.1f} %" in words
    assert f"(`--model resnet8`) reached {plain['ap50']:.1f} % and {plain['ap']:.1f} %" in words
    classes = sorted((gated[name], name) for name in rows[1]["classes"])
    assert f"{100 * classes[-1][0]:.1f} % for suns, the easiest class" in words
    assert f"{100 * classes[0][0]:.1f} % for people, the hardest" in words
    assert (classes[-1][1], classes[0][1]) == ("sun", "person")


@pytest.mark.parametrize(("table", "net", "column", "words"), [
    *(("6", "ResNet-152", column, ("Places365", f"{column} error")) for column in ("top-1", "top-5")),
    *(("7", net, column, ("COCO minival", f"{net} |", f"| {column}, %"))
      for net in ("ResNet-50", "ResNet-101") for column in ("AP", "AP50")),
])  # fmt: skip
def test_the_papers_scenes_and_objects_are_quoted_exactly(table, net, column, words):
    plain, gated = (paper.number(table, name, column) for name in (net, f"SE-{net}"))
    assert f"| {plain.value:.{plain.digits}f} | {gated.value:.{gated.digits}f} |" in row(*words)


@pytest.mark.parametrize("model", ["se_resnet20", "resnet20"])
def test_accuracies_on_photographs_are_those_measured(model):
    (run,) = (run for run in measured("cifar10_jpeg") if run["model"] == model)
    assert f"{100 * run['test_accuracy']:.1f}" in row("CIFAR-10", f"`{model}`")


def test_gains_of_transfer_between_scenes_and_objects_are_those_measured():
    """The sentence below the table: the gain from objects to scenes, and that both networks end close together."""
    rows = [row for row in measured("scenes")["rows"] if row["part"] == "objects-to-scenes"]

    def mean(model, init):
        right = [100 * row["test_accuracy"] for row in rows if (row["model"], row["init"]) == (model, init)]
        assert len(right) == 3
        return statistics.mean(right)

    after = sorted(mean(model, True) for model in ("resnet8", "se_resnet8"))
    gain = mean("se_resnet8", True) - mean("se_resnet8", False)
    words = RESULTS.replace("\n", " ")
    assert f"gains most, {gain:.1f} points on average" in words
    assert f"both networks reach {after[0]:.0f} to {after[1]:.0f} %" in words


def test_accuracies_of_transfer_are_those_measured():
    found = measured("transfer")
    for way in found["settings"]["ways"]:
        right = [100 * run["last_accuracy"] for run in found["rows"] if run["run"] == way]
        assert len(right) == 3
        cells = f"| {way} | {' / '.join(f'{x:.1f}' for x in right)} % | {statistics.mean(right):.1f} % |"
        assert cells in README
        assert cells in RESULTS
    for way in ("from scratch", "fine-tuned"):
        mean = statistics.mean(100 * run["last_accuracy"] for run in found["rows"] if run["run"] == way)
        assert f"reaches {mean:.1f} %" in README.partition("**Your own classes.**")[2]
    before = [100 * run["last_accuracy"] for run in found["rows"] if run["run"] == "pretraining"]
    assert f"{min(before):.1f} to {max(before):.1f} %" in RESULTS


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("step", "se_resnet20, 128 of 32 x 32"), ("inference", "se_resnet20, 128 of 32 x 32"),
        ("inference", "se_resnet50, 1 of 224 x 224"), ("inference", "se_mobilenet, 1 of 224 x 224"),
    ],
)  # fmt: skip
def test_times_and_memory_are_those_measured(what, name):
    (found,) = (r for r in measured("table")["rows"] if (r["what"], r["name"]) == (what, name))
    ms, mb = found["ms"], found["mb"]
    fastest = min((who for who in ms if who.startswith("PyTorch")), key=ms.get)
    _, _, *cells, compiled, _ = row(f"{what}: {name}").split("|")
    assert len(cells) == 3
    for cell, who in zip(cells, ("book", "engine", fastest), strict=True):
        assert cell.strip() == f"{ms[who]:.0f} ms, {mb[who]:.0f} MB"
    assert compiled.strip() == (f"{ms['torch.compile']:.0f} ms" if "torch.compile" in ms else "not measured")


def test_errors_of_ablations_are_those_measured():
    asked = [("squeeze", "average"), ("squeeze", "largest"), ("squeeze", "none (NoSqueeze)"), ("stages", "stage 1"),
             ("stages", "stage 2"), ("stages", "stage 3"), ("gate", "ReLU"), ("squeeze", "without SE")]  # fmt: skip
    found = []
    for table, label in asked:
        text = (ROOT / "benchmarks" / "results" / "ablations" / "builtin" / f"{table}.md").read_text(encoding="utf-8")
        (line,) = (line for line in text.splitlines() if line.startswith(f"| {label} |"))
        found.append(line.split("|")[2].strip())
    assert f"| {' | '.join(found)} |" in RESULTS
    path = ROOT / "benchmarks" / "results" / "ablations" / "builtin" / "networks.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    for gated in (False, True):
        errors = [row["mean"] for row in rows if row["setting"].startswith("se") == gated]
        assert len(errors) == 5
        assert f"{min(errors):.2f} to {max(errors):.2f} % with" in RESULTS.replace("\n", " ")


def test_the_speed_in_readme_is_the_one_of_the_table():
    rows = measured("table")["rows"]
    (ms,) = (r["ms"] for r in rows if (r["what"], r["name"]) == ("step", "se_resnet20, 128 of 32 x 32"))
    fastest = min(time for who, time in ms.items() if who.startswith("PyTorch"))
    found = f"{ms['book']:.0f} ms with the equations, {ms['engine']:.0f} ms with the engine and {fastest:.0f} ms with"
    assert found in README.replace("\n", " ")


def test_the_oracles_figures_are_those_measured():
    found = measured("grading")["all"]
    assert (found["false"], found["passed"], found["misnamed"], found["raised"]) == (0, 0, 0, 0)
    for page in (README, TEXT["docs/grading.md"]):
        words = page.replace("\n", " ")
        assert f"{found['right']:,} correct versions passed" in words
        assert f"{found['named']:,} of {found['tried']:,} " in words
    seconds, words = measured("grading")["seconds"], TEXT["docs/grading.md"].replace("\n ", "")
    assert f"a right submission took {seconds['a right submission']:.1f} s" in words
    assert f"wrong throughout {seconds['one that is wrong throughout']:.1f} s" in words
    assert f"For all {len(all_tasks())} tasks" in words
