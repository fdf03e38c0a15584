"""README tells the truth: its code prints what it says, its paths exist, its figures are those that were measured."""

import json
import re
import statistics
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from se_numpy.data.glyphs import PLAIN_BOUND

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.S)


@pytest.mark.parametrize(("code", "printed"), CODE)
def test_code_prints_what_stands_below_it(code, printed):
    out = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == printed


def test_there_is_code_to_test():
    assert len(CODE) == 4
    assert all(printed.strip() for _, printed in CODE)


def test_every_path_named_exists():
    layout = README.partition("## Layout")[2].partition("## What is proven")[0]
    for where in re.findall(r"^\|[^|]*\|([^|]*)\|", layout, re.M):
        for path in re.findall(r"`([\w/.]+)`", where):
            assert (ROOT / path).exists() or (ROOT / "se_numpy" / path).exists(), path


def test_every_module_stands_in_the_layout():
    layout = README.partition("## Layout")[2].partition("## What is proven")[0]
    for path in (ROOT / "se_numpy").iterdir():
        if path.name not in ("__init__.py", "__main__.py", "__pycache__", "py.typed"):
            assert f"{path.name}/`" in layout if path.is_dir() else path.name in layout, path.name


def test_the_two_commands_are_there_once():
    assert len(re.findall(r"^python3 -m venv .*se-numpy train$", README, re.M)) == 1
    assert len(re.findall(r"^python3 -m venv .*pytest$", README, re.M)) == 1


# ------------------------------------------------------------------------------------ figures, as they were measured


def measured(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def row(*words):
    """The one line of README's tables that holds all these words."""
    lines = [line for line in README.splitlines() if line.startswith("|") and all(word in line for word in words)]
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
    assert "29 of 48" in README.replace("\n", " ")
    assert f"bound {100 * PLAIN_BOUND:.1f} %" in row("built-in", "`resnet8`")


@pytest.mark.parametrize("model", ["se_resnet20", "resnet20"])
def test_accuracies_on_photographs_are_those_measured(model):
    (run,) = (run for run in measured("cifar10_jpeg") if run["model"] == model)
    assert f"{100 * run['test_accuracy']:.1f}" in row("CIFAR-10", f"`{model}`")


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
    assert f"| {' | '.join(found)} |" in README
    path = ROOT / "benchmarks" / "results" / "ablations" / "builtin" / "networks.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    for gated in (False, True):
        errors = [row["mean"] for row in rows if row["setting"].startswith("se") == gated]
        assert len(errors) == 5
        assert f"{min(errors):.2f} to {max(errors):.2f} % with" in README.replace("\n", " ")
