"""The tutorials: notebooks are up to date, scripts run, and every number and exercise is checked."""

import ast
import base64
import builtins
import contextlib
import importlib.util
import io
import json
import os
import re
import subprocess
import symtable
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import se_numpy as se
from se_numpy.grading import hint, solution
from se_numpy.grading.course import Options, grade_path
from se_numpy.grading.grade import grade_task
from se_numpy.grading.inprocess import caller
from se_numpy.grading.lessons import check, claim, display, exercise, recorded
from se_numpy.grading.lessons.exercises import attempted, notebook_values
from se_numpy.grading.lessons.pictures import photographs
from se_numpy.grading.lessons.recorded import computed, recorded_runs
from se_numpy.grading.lessons.syllabus import LESSONS
from se_numpy.grading.tasks import all_tasks

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tutorials"
sys.path.insert(0, str(FOLDER))  # build.py and prose.py are not modules of the package
import build  # noqa: E402
import prose  # noqa: E402

SCRIPTS = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
needs_matplotlib = pytest.mark.skipif(not importlib.util.find_spec("matplotlib"), reason="needs matplotlib")
every_tutorial = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def run(script: Path, *arguments: Path, **more: str) -> subprocess.CompletedProcess:
    """Run a tutorial as a plain script without network or display; warnings are errors."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SE_NUMPY_")}
    no_network = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    path = os.pathsep.join([str(ROOT), str(ROOT / "tutorials" / "no_gpu")])
    own = {"MPLBACKEND": "Agg", "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8",
           "HYPOTHESIS_STORAGE_DIRECTORY": tempfile.gettempdir()}  # fmt: skip
    environment = kept | no_network | own | more
    return subprocess.run([sys.executable, "-W", "error", script, *arguments], env=environment, capture_output=True,
                          text=True, encoding="utf-8", timeout=1800, cwd=script.parent)  # fmt: skip


# ------------------------------------------------------------------------------------------------------- the tutorials


def test_there_are_tutorials():
    assert len(SCRIPTS) >= 4


@every_tutorial
def test_functions_of_a_tutorial_keep_their_meaning_to_its_end(script):
    # The exercises at the end call them.
    body = ast.parse(script.read_text(encoding="utf-8")).body
    functions = [node.name for node in body if isinstance(node, ast.FunctionDef)]
    stored = {n.id for node in body if not isinstance(node, ast.FunctionDef | ast.ClassDef)
              for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}  # fmt: skip
    assert len(set(functions)) == len(functions)
    assert stored.isdisjoint(functions)


@every_tutorial
def test_notebooks_are_up_to_date(script):
    assert build.problems(script) == []


def test_check_counts_the_checked_numbers(capsys):
    assert build.check(SCRIPTS) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(rf"{len(SCRIPTS)} tutorials up to date, [0-9]+ numbers checked against results\n", out)


def bound_and_read(code: str) -> tuple[set[str], set[str], set[str]]:
    """Return the names that a cell binds, those it reads from other cells, and those its functions read when called."""
    top = symtable.symtable(code, "cell", "exec")

    def referenced(table: symtable.SymbolTable) -> set[str]:
        symbols = table.get_symbols()
        own = {s.get_name() for s in symbols if s.is_referenced() and (table is top or s.is_global())}
        return own.union(*map(referenced, table.get_children()))

    symbols = {s.get_name(): s for s in top.get_symbols()}
    bound = {name for name, s in symbols.items() if s.is_assigned() or s.is_imported()}
    functions = [table for table in top.get_children() if table.get_name() in bound]  # not comprehensions
    return bound, referenced(top) - bound, set().union(*map(referenced, functions))


def read_in_between(codes: list[str]) -> list[tuple[int, str]]:
    """Return names that a cell reads and that are bound both before and after it: run again, it reads another value.

    A function reads when it is called, perhaps in a later cell, so for its names the cell itself also counts as before.
    """
    cells = [bound_and_read(code) for code in codes]
    return [
        (k, name)
        for k, (_, read, read_when_called) in enumerate(cells)
        for name in sorted(read | read_when_called)
        if any(name in bound for bound, *_ in cells[: k + (name in read_when_called)])
        and any(name in bound for bound, *_ in cells[k + 1 :])
    ]


def test_a_name_with_two_meanings_is_noticed():
    assert read_in_between(["x = 1", "print(x)", "x = 2"]) == [(1, "x")]
    assert read_in_between(["x = 1", "def f():\n    return x", "for x in (1, 2):\n    pass"]) == [(1, "x")]
    assert read_in_between(["x = 1\ndef f():\n    return x", "f()", "x = 2"]) == [(0, "x")]
    assert read_in_between(["x = 1", "x = 2\nprint(x)", "[x for x in (1, 2)]", "print(x)"]) == []
    assert read_in_between(["def f(x):\n    return x", "x = 1", "x = 2"]) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_cell_reads_the_same_names_if_it_is_run_again_at_the_end(script):
    cells = prose.cells(script.read_text(encoding="utf-8"))
    assert read_in_between([code for kind, code in cells if kind == "code"]) == []


def drawn_elsewhere(codes: list[str]) -> list[int]:
    """Return cells that claim a rounded number and draw from another cell's generator: run again, they draw others."""
    made = r"^(\w+) = np\.random\.default_rng\([^()]*\)(?:  #.*)?$"
    generators = set(re.findall(made, "\n".join(codes), re.M))
    bounds = r"(below|less than|at most|above|more than|at least) [\d.]+( %)?"
    return [
        k
        for k, code in enumerate(codes)
        if re.search(r"""claim\(\s*(["'])(?:(?!\1).)*\d(\.\d| %)""", re.sub(bounds, "", code))
        and generators & bound_and_read(code)[1]
    ]


def test_a_rounded_number_from_the_generator_of_another_cell_is_noticed():
    make, draw = "rng = np.random.default_rng(0)", "x = rng.random()\nclaim({}, x)"
    assert drawn_elsewhere([make, draw.format("'It is 0.64.'"), draw.format("'It is 64 %.'")]) == [1, 2]
    assert drawn_elsewhere([make, draw.format("'It is below 1e-3, above 0.1.'"), "claim('It is 0.64.', x)"]) == []
    assert drawn_elsewhere([make + "\n" + draw.format("'It is 0.64.'")]) == []


@every_tutorial
def test_a_cell_that_claims_rounded_numbers_has_its_own_generator(script):
    cells = prose.cells(script.read_text(encoding="utf-8"))
    assert drawn_elsewhere([code for kind, code in cells if kind == "code"]) == []


@needs_matplotlib
@every_tutorial
def test_scripts_run_with_stubs_and_print_what_their_notebooks_show(script, tmp_path):
    """Results that are slow in a browser are the recorded ones; the slow test below computes them.

    The calls in the text of the last exercises are for a reader who has run all cells, so they run after these.
    """
    (tmp_path / "in_browser.py").write_text(
        "import contextlib, io, runpy, sys\n"
        "from se_numpy.grading.lessons import recorded\n"
        f"recorded.IN_BROWSER = {script in using_recorded()}\n"
        "known = runpy.run_path(sys.argv[1], run_name='__main__')\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    for call, names in {calls_on_your_own(script.read_text(encoding='utf-8'))!r}:\n"
        "        if known.keys() >= names:\n"
        "            eval(call, known)\n"
    )
    done = run(tmp_path / "in_browser.py", script)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    names = prose.exercises(script.read_text(encoding="utf-8"))
    for name in names:
        assert f"{name}: not attempted yet." in done.stdout
    printed = [line for line in lines(done.stdout) if line not in recorded.NOTE.splitlines()]
    notebook = json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))
    assert Counter(printed) == Counter(lines(text_of(notebook))), "the notebook is stale; build it again"


def calls_on_your_own(text: str) -> list[tuple[str, set[str]]]:
    """Return the calls in the text of the last exercises, each with the names that it reads."""
    found = []
    for code in re.findall(r"`([^`]+)`", text.partition("# ## On your own")[2].replace("\n# ", "\n")):
        with contextlib.suppress(SyntaxError):
            tree = ast.parse(" ".join(code.split()), mode="eval")
            if isinstance(tree.body, ast.Call):
                names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - set(dir(builtins))
                found.append((ast.unparse(tree), names))
    return found


def test_calls_of_the_last_exercises_are_found():
    text = "# `h(1)`\n# ## On your own\n# - `f(x,\n#   y)` and `C / r`, `W1`, or `print(g.h())`.\n"
    assert calls_on_your_own(text) == [("f(x, y)", {"f", "x", "y"}), ("print(g.h())", {"g"})]


def using_recorded() -> list[Path]:
    """Return the scripts that use recorded results in a browser."""
    return [path for path in SCRIPTS if "computed(" in path.read_text(encoding="utf-8")]


def text_of(notebook: dict) -> str:
    """Return all of a notebook's output except figures."""
    found = []
    for output in (output for cell in notebook["cells"] for output in cell.get("outputs", [])):
        if "image/png" not in output.get("data", {}):
            found.append("".join(output.get("text", "")) + "".join(output.get("data", {}).get("text/plain", "")))
    return "\n".join(found)


def lines(text: str) -> list[str]:
    """Return the lines of text except errors relative to the tolerance, which depend on the processor."""
    text = re.sub(r"error \S+ times the tolerance", "error beyond the tolerance", text, flags=re.IGNORECASE)
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_the_syllabus_matches_the_scripts():
    names = []
    for script, lesson in zip(SCRIPTS, LESSONS, strict=False):
        text = script.read_text(encoding="utf-8")
        assert f"# # {lesson.number}. {lesson.title}\n" in text
        assert script.stem == lesson.file
        assert prose.exercises(text) == list(lesson.tasks)
        names += lesson.tasks
    assert len(names) == len(set(names))
    later = {name for script in SCRIPTS[len(LESSONS) :] for name in prose.exercises(script.read_text(encoding="utf-8"))}
    assert later <= set(names)


@pytest.mark.slow
@needs_matplotlib
@every_tutorial
def test_every_exercise_passes_with_its_solution(script):
    done = run(script, SE_NUMPY_SOLUTIONS="1")
    assert done.returncode == 0, done.stderr
    for name in prose.exercises(script.read_text(encoding="utf-8")):
        assert f"{name}: using the library's own function" in done.stdout
        assert re.search(rf"^ok      {name}: passed", done.stdout, re.MULTILINE)
    assert "not attempted" not in done.stdout


@every_tutorial
def test_readme_lists_title_minutes_and_exercises(script):
    text = script.read_text(encoding="utf-8")
    title = re.search(r"^# # [0-9]+\. (.*)$", text, re.MULTILINE)[1]
    minutes = re.search(r"\*\*You need\*\*.*?([0-9]+) minutes", text, re.DOTALL)[1]
    rows = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    row = next(row for row in rows if row[:1] == "|" and script.name in row)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:3] == [f"[{title}]({script.with_suffix('.ipynb').name})", minutes]
    for name in prose.exercises(text):
        assert f"`{name}`" in cells[3]
    assert f"[.py]({script.name})" == cells[4]


@every_tutorial
def test_figures_are_not_blank_and_fit_a_column(script):
    image = pytest.importorskip("PIL.Image")
    notebook = json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert pictures
    for picture in pictures:
        drawn = image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
        assert drawn.width <= 760
        assert len(drawn.getcolors(1 << 20)) > 3


@pytest.mark.slow
@every_tutorial
def test_rebuilding_gives_the_same_text(script, tmp_path):
    pytest.importorskip("jupytext")
    pytest.importorskip("nbclient")
    before = json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))
    copy = tmp_path / script.name
    copy.write_text(script.read_text(encoding="utf-8"), encoding="utf-8")
    line = "import sys, pathlib, build; build.build(pathlib.Path(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", line, str(copy)], cwd=FOLDER, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    after = json.loads(copy.with_suffix(".ipynb").read_text(encoding="utf-8"))
    assert [(c["id"], c["source"]) for c in after["cells"]] == [(c["id"], c["source"]) for c in before["cells"]]
    assert lines(text_of(after)) == lines(text_of(before))
    assert after["metadata"]["se_numpy"]["source_sha256"] == before["metadata"]["se_numpy"]["source_sha256"]


# ------------------------------------------------------------------------------------------------------------ problems


def a_tutorial(tmp_path: Path) -> Path:
    """Copy the first tutorial and its notebook for modification."""
    for suffix in (".py", ".ipynb"):
        text = SCRIPTS[0].with_suffix(suffix).read_text(encoding="utf-8")
        (tmp_path / SCRIPTS[0].with_suffix(suffix).name).write_text(text, encoding="utf-8")
    return tmp_path / SCRIPTS[0].name


def test_a_changed_script_is_stale_and_the_message_gives_the_command(tmp_path):
    script = a_tutorial(tmp_path)
    assert build.stale(script) == ""
    script.write_text(script.read_text(encoding="utf-8") + "\n# more\n", encoding="utf-8")
    assert "changed after" in build.stale(script)
    assert "python tutorials/build.py 01" in build.problems(script)[-1]


@pytest.mark.parametrize("where", ["source", "outputs"])
def test_a_notebook_edited_by_hand_is_reported(tmp_path, where):
    script = a_tutorial(tmp_path)
    path = script.with_suffix(".ipynb")
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cell = next(cell for cell in notebook["cells"] if cell.get("outputs"))
    cell[where] = "print(1)" if where == "source" else []
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert "by hand" in build.stale(script)
    path.write_text("{}", encoding="utf-8")
    assert "was not made by build.py" in build.stale(script)
    path.unlink()
    assert "is missing" in build.stale(script)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("**Predict.**", "Guess.", "is missing"),
        ("25 minutes", "a while", "minutes"),
        ("# # 1. Look", "# # Look", "title"),
        ("import importlib.util\n", "", "first code cell"),
        ("# hint(", "# help(", "lacks"),
        ("\nimport numpy as np", "\n%matplotlib inline\nimport numpy as np", "magic"),
    ],
)
def test_a_script_without_the_standard_structure_is_reported(old, new, word):
    text = SCRIPTS[0].read_text(encoding="utf-8")
    assert old in text
    assert prose.of_script(text) == []
    if "%" in new:  # a magic command is not Python, so the exercises cannot be parsed
        text = text.replace("%%", "@@").replace(old, new).replace("@@", "%%")
        with pytest.raises(SyntaxError):
            prose.of_script(text)
        return
    assert any(word in line for line in prose.of_script(text.replace(old, new)))


@pytest.mark.parametrize(
    ("cell", "word"),
    [
        ({"cell_type": "markdown", "source": r"$\operatorname{mean}$"}, "operatorname"),
        ({"cell_type": "markdown", "source": "[here](nowhere.ipynb)"}, "is broken"),
        ({"cell_type": "markdown", "source": "[x]\n\n[x]: nowhere.md"}, "is broken"),
        ({"cell_type": "markdown", "source": "[x](../no.py)"}, "is broken"),
        ({"cell_type": "markdown", "source": "the error is 0.123"}, "no cell prints"),
        ({"cell_type": "code", "source": "figures.show()", "outputs": []}, "has no picture"),
        ({"cell_type": "code", "source": "1 / 0", "outputs": [{"output_type": "error", "ename": "Zero"}]}, "raises"),
        ({"cell_type": "code", "source": "", "outputs": [
            {"output_type": "display_data", "data": {"image/png": base64.b64encode(b"x" * 999).decode()}}]}, "bytes"),
        ({"cell_type": "markdown", "source": "x" * 1_000_001}, "bytes"),
        ({"cell_type": "code", "source": "", "outputs": [
            {"output_type": "display_data", "data": {"image/png": base64.b64encode(b"x" * 2000).decode()},
             "metadata": {"image/png": {"alt": "a figure"}}}]}, "alt text"),
    ],
)  # fmt: skip
def test_a_broken_notebook_is_reported(tmp_path, cell, word):
    path = tmp_path / "one.ipynb"
    path.write_text(json.dumps({"cells": [{"id": "c000", **cell}]}), encoding="utf-8")
    assert any(word in line for line in prose.of_notebook(path))


def test_a_claim_in_the_cell_after_a_question_is_reported():
    text = SCRIPTS[0].read_text(encoding="utf-8")
    question = text.index("# %%", text.index("**Predict."))
    assert prose.of_script(text) == []
    given_away = text[: question + 5] + 'claim("It is 3.", 3)\n' + text[question + 5 :]
    assert any("holds a claim" in line for line in prose.of_script(given_away))


def test_numbers_in_the_text_may_be_printed_or_from_the_paper(tmp_path):
    printed = {"output_type": "stream", "text": "error 0.123"}
    cells = [{"id": "a", "cell_type": "markdown", "source": "0.123, $0.5$, `0.7`; the paper's 22.28 %"},
             {"id": "b", "cell_type": "code", "source": "", "outputs": [printed]}]  # fmt: skip
    path = tmp_path / "one.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    assert prose.of_notebook(path) == []


@pytest.mark.parametrize("text", ["<object at 0x7f4a64b219d0>", str(ROOT), "stderr"])
def test_outputs_that_depend_on_the_machine_are_refused(text):
    output = {"output_type": "stream", "name": "stderr" if text == "stderr" else "stdout", "text": text}
    with pytest.raises(RuntimeError, match=r"01_images.*a warning, an address or a path"):
        build.tidy([output], SCRIPTS[0])


def test_unknown_tutorial_names_are_refused():
    with pytest.raises(ValueError, match="unknown tutorial '99'; expected the beginning of one of 01_"):
        build.sources(["99"])


# ------------------------------------------------------------------------------------------------------------ sentences


@pytest.mark.parametrize(
    ("sentence", "values"),
    [
        ("3 of 8 are wrong", (3, 8)),
        ("conv2d with W1 and 3x3 by Eq. (2) has 5", (5,)),
        ("the error is 0.48", (0.4761,)),
        ("the error is 2.4e-9", (2.43e-9,)),
        ("12.5 % are wrong", (0.125,)),
        ("below 1e-9, at least 2, under 3 %", (1e-10, 2, 0.02)),
        ("minus: -0.29 and −4", (-0.29, -4)),
        ("1,080 numbers for 252", (1080, 252)),
        ("nothing", ()),
    ],
)
def test_true_sentences_are_printed(sentence, values, capsys):
    claim(sentence, *values)
    assert capsys.readouterr().out == sentence + "\n"


@pytest.mark.parametrize(
    ("sentence", "values"),
    [
        ("3 of 8 are wrong", (4, 8)),
        ("3 of 8 are wrong", (3, 9)),
        ("the error is 0.48", (0.486,)),
        ("the error is 2.4e-9", (2.46e-9,)),
        ("12.5 % are wrong", (12.5,)),
        ("below 1e-9", (1.1e-9,)),
        ("at least 2", (1.9,)),
        ("minus: -0.29", (0.29,)),
        ("the error is 0.48", (float("nan"),)),
        ("below 1e-9", (float("nan"),)),
        ("1,080 numbers", (1081,)),
    ],
)
def test_false_sentences_stop_the_tutorial(sentence, values, capsys):
    with pytest.raises(AssertionError, match="says"):
        claim(sentence, *values)
    assert capsys.readouterr().out == ""


def test_a_claim_needs_a_value_for_every_number():
    with pytest.raises(ValueError, match=r"has 2 numbers \(3, 8\); expected 1, one per value"):
        claim("3 of 8", 3)


def test_claims_are_counted():
    assert prose.claims('claim("3 of 8", a, b)\nclaim("yes")\nother("3", c)') == 2


# ------------------------------------------------------------------------------------------------------------ exercises


def test_empty_functions_are_not_attempted():
    def dots(U): ...

    def explained(U):
        """A docstring."""

    def returns(U):
        """A docstring."""
        return None

    def ellipsis(U):
        return ...

    def number(U):
        return 0

    def works(U):
        return U.mean((1, 2))

    def prints(U):
        print(U)

    assert [attempted(f) for f in (dots, explained, returns, ellipsis)] == [False] * 4
    assert [attempted(f) for f in (number, works, prints, max)] == [True] * 4


def test_the_card_of_a_stub_suggests_the_next_step(capsys):
    def squeeze(U): ...

    card = check("squeeze", squeeze)
    assert not card.passed
    assert repr(card).startswith("squeeze: not attempted yet.")
    assert 'hint("squeeze")' in card._repr_markdown_()
    assert capsys.readouterr().out == repr(card) + "\n"  # a script has to print the card


def test_cards_in_tutorials_do_not_mention_points():
    assert any("give points" in hint for hint in grade_task(
        all_tasks()["squeeze"], caller(lambda U: U.max((1, 2))), seed=0, seconds=0.0).hints)  # fmt: skip
    assert "give points" not in repr(check("squeeze", lambda U: U.max((1, 2))))


def test_a_hint_groups_names_by_shape_and_lists_the_defaults_of_keywords():
    text = repr(hint("conv2d_backward"))
    assert "arguments  dU: shape (N, H, W, C)\n" in text
    assert "X: shape (N, H', W', C')\n" in text
    assert "stride: one of 1, 2; by default 1\n" in text
    assert "gamma1, beta1, gamma2, beta2: shape (C,)\n" in repr(hint("residual_block"))
    assert "W1: shape (C/r, C)\n" in repr(hint("excite"))
    assert "returned   w, v: updated, same shapes\n" in repr(hint("sgd_momentum"))


FACTOR, TABLE = 2.0, {"eps": 1e-5}


def helper(U):
    return U * TABLE["eps"]


def leaking(U):
    return [FACTOR * np.mean(u) for u in helper(U)]


def test_the_card_names_the_variables_of_the_notebook_that_a_function_reads():
    assert notebook_values(leaking) == ["FACTOR", "TABLE"]
    assert notebook_values(max) == notebook_values(lambda U: U.mean((1, 2))) == []
    card = check("squeeze", lambda U: U.mean((1, 2)) * FACTOR / 2)
    assert "the global FACTOR of the notebook" in repr(card)
    assert "of the notebook" not in repr(check("squeeze", lambda U: U.mean((1, 2))))


def test_a_folder_without_photographs_is_reported_and_does_not_stop_a_tutorial(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SE_NUMPY_DATA", raising=False)
    assert photographs() is None
    assert capsys.readouterr().out == ""
    for folder in (tmp_path / "missing", tmp_path):
        monkeypatch.setenv("SE_NUMPY_DATA", str(folder))
        assert photographs() is None
        out = capsys.readouterr().out
        assert out.startswith("No photographs, because of SE_NUMPY_DATA: ")
        assert str(folder) in out


@needs_matplotlib
@pytest.mark.parametrize("mine", ["(1, 2)", "None", "'red'", "(9, 0, -1)", "{}"])
def test_the_cell_to_play_with_does_not_stop_the_first_tutorial(mine, monkeypatch):
    import matplotlib

    from se_numpy.grading.lessons import figures

    matplotlib.use("Agg")
    cells = [code for kind, code in prose.cells(SCRIPTS[0].read_text(encoding="utf-8")) if kind == "code"]
    (cell,) = [code for code in cells if code.startswith("mine = ")]
    _, rest = cell.split("\n", 1)
    exec(f"mine = {mine}\n{rest}", {"np": np, "se": se, "figures": figures, "U": np.ones((1, 4, 5, 3))})


def test_recorded_runs_are_those_of_the_benchmarks():
    measured = json.loads((ROOT / "benchmarks" / "results" / "builtin.json").read_text(encoding="utf-8"))
    found = {(run.model, run.seed): run.test for run in recorded_runs("builtin")}
    assert found == {(row["model"], row["seed"]): pytest.approx(row["test_accuracy"], abs=0.02) for row in measured}
    assert all(len(run.validation) == len(run.training) == 6 for run in recorded_runs("builtin"))
    with pytest.raises(ValueError, match="no recorded runs named 'cifar'; expected one of tutorial 10, builtin"):
        recorded_runs("cifar")


def test_every_recorded_result_belongs_to_a_tutorial():
    folder = Path(recorded.__file__).parent
    kept = {int(path.stem.removeprefix("recorded_")) for path in folder.glob("recorded_*.npz")}
    assert kept == {int(path.name[:2]) for path in using_recorded()}
    for path in using_recorded():
        assert re.findall(r"computed\((\d+)", path.read_text(encoding="utf-8")) == [str(int(path.name[:2]))]


def test_outside_a_browser_nothing_recorded_is_used(monkeypatch, capsys):
    assert computed(11, lambda: {"answers": "computed"}) == {"answers": "computed"}
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(recorded, "IN_BROWSER", True)
    assert computed(11, lambda: {})["all, another's, 0"].shape == (360,)
    assert capsys.readouterr().out.startswith("These results were recorded: in a browser")


@needs_matplotlib
def test_a_notebook_keeps_the_description_of_a_figure(monkeypatch):
    ipython = pytest.importorskip("IPython.display")
    import matplotlib.pyplot as plt

    from se_numpy.grading.lessons import figures

    plt.switch_backend("Agg")
    shown = []
    monkeypatch.setattr(ipython, "display", lambda figure, metadata: shown.append(metadata))
    monkeypatch.setattr(plt, "get_backend", lambda: "module://matplotlib_inline.backend_inline")
    figures.panels(1, 2, 2.0)
    figures.show(alt="Two empty panels.")
    assert shown == [{"image/png": {"alt": "Two empty panels."}}]
    assert plt.get_fignums() == []


def test_check_catches_exit_but_not_ctrl_c():
    def leaves(U):
        raise SystemExit

    def interrupted(U):
        raise KeyboardInterrupt

    assert "exit() was called" in check("squeeze", leaves).task.message
    with pytest.raises(KeyboardInterrupt):
        check("squeeze", interrupted)


def test_a_notebook_does_not_print_the_card(monkeypatch, capsys):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    check("squeeze", lambda U: U.mean((1, 2)))
    assert capsys.readouterr().out == ""


def test_check_grades_functions_and_refuses_invalid_arguments(capsys):
    assert check("squeeze", lambda U: U.mean((1, 2))).passed
    wrong = check("squeeze", lambda U: U.max((1, 2)))
    assert wrong.task.diagnosis.mistake == "largest pixel"
    assert "submission" not in repr(wrong)
    with pytest.raises(ValueError, match="unknown task 'sqeeze'; did you mean squeeze"):
        check("sqeeze", max)
    with pytest.raises(ValueError, match="layout is 'HWC'"):
        check("squeeze", max, layout="HWC")
    with pytest.raises(TypeError, match="expected a function"):
        check("squeeze", 3)


def test_the_solution_replaces_the_stub_only_if_requested(monkeypatch, capsys):
    def squeeze(U): ...

    assert exercise(squeeze) is squeeze
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("SE_NUMPY_SOLUTIONS", "1")
    own = exercise(squeeze)
    assert own is all_tasks()["squeeze"].oracle
    assert "using the library's own function" in capsys.readouterr().out
    assert "This is the library's own function." in repr(check("squeeze", own))

    def nonsense(U): ...

    with pytest.raises(ValueError, match="unknown task 'nonsense'"):
        exercise(nonsense)


@pytest.mark.parametrize("name", sorted(all_tasks()))
def test_every_task_has_hints_and_a_solution(name, capsys):
    task = all_tasks()[name]
    first, second, third, solved = hint(name), hint(name, 2), hint(name, 3), solution(name)
    assert task.equation in repr(first)
    returned = repr(first).partition("returned")[2]
    assert all(output in returned for output in task.outputs)
    assert all(f"{keyword}: one of" in repr(first) for keyword in task.hyper)
    assert "shape" in repr(second) or "No example" in repr(second)
    assert ("A small example" in repr(second)) == ("shape" in repr(second))
    assert len(repr(second).splitlines()) <= 50
    assert "[[" not in repr(second)
    words = " ".join(repr(third).split())
    assert all(f"{mistake}: " in words for mistake in task.likely or [task.mistakes[0].name])
    assert all(len(line) <= 88 for text in (first, second, third) for line in repr(text).splitlines()[1:])
    book = task.library or task.oracle
    assert ("from the library" in repr(solved)) == (not book.__module__.startswith("se_numpy.grading"))
    assert ("written out" in repr(solved)) == (task.written is not None)
    assert solved._repr_markdown_().count("```") % 2 == 0
    assert all(len(line) <= 128 for line in repr(solved).splitlines())


@pytest.mark.parametrize("name", sorted(all_tasks()))
def test_solutions_run_by_themselves_and_pass(name):
    task = all_tasks()[name]
    others = replace(task, alternates=tuple(f for f in task.alternates if f is not task.written))
    shown = re.findall("```python\n(.*?)```", solution(name)._repr_markdown_(), re.DOTALL)
    for code in shown[:-1] if task.library else shown:  # the library's function takes different arguments
        assert "se_numpy.grading" not in code  # a solution needs no helper from the task's file
        names = {}
        exec(code, names)
        assert grade_task(others, caller(names[name]), seed=1, seconds=0.0).status == "passed"


def test_solutions_without_the_library_pass_as_a_submission(tmp_path):
    codes = {name: solution(name)._repr_markdown_().split("```python\n")[1].split("```")[0] for name in all_tasks()}
    alone = {name: code for name, code in codes.items() if "se_numpy" not in code}
    assert set(codes) - set(alone) == {
        "relu", "relu_backward", "sigmoid", "sigmoid_backward", "normalize", "squeeze_backward", "scale", "softmax",
        "se_block", "se_block_backward", "residual_block", "se_resnet_step",
    }  # fmt: skip
    (tmp_path / "mine.py").write_text("\n\n".join(alone.values()), encoding="utf-8")
    assert grade_path(tmp_path / "mine.py", Options(tasks=tuple(alone), search=0.1)).passed


def test_a_solution_lists_the_changes_needed_for_a_submission():
    assert "leave out the type hints and `check`, write `np` for `array_module(...)`." in repr(solution("relu"))
    assert "call your own functions." in repr(solution("se_block"))
    assert "A submission may" not in repr(solution("conv2d"))


def test_invalid_hint_levels_are_refused():
    with pytest.raises(ValueError, match="level is 4; expected 1, 2 or 3"):
        hint("squeeze", 4)


def test_characters_the_terminal_cannot_encode_become_question_marks(monkeypatch):
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", plain)
    display.say("Σ of 3")
    assert plain.buffer.getvalue() == b"? of 3\n"


def test_badges_and_first_cells_follow_the_address_of_the_repository(tmp_path, monkeypatch):
    """Without an address there are no badges; --address writes badges and cells that the check accepts."""
    text = SCRIPTS[0].read_text(encoding="utf-8")
    assert prose.repository() is None
    assert "colab" not in text
    monkeypatch.setattr(build, "HERE", tmp_path)
    script = tmp_path / SCRIPTS[0].name
    script.write_text(text, encoding="utf-8")
    monkeypatch.setattr(prose, "PYPROJECT", tmp_path / "pyproject.toml")
    address = "https://github.com/someone/se_numpy"
    prose.PYPROJECT.write_text(f'[project]\nname = "x"\n[project.urls]\nRepository = "{address}"\n')
    assert any("--address" in line for line in prose.of_script(text))
    build.follow_address()
    pointed = script.read_text(encoding="utf-8")
    assert f"git+{address}" in pointed
    assert f"/github/someone/se_numpy/blob/main/tutorials/{script.stem}.ipynb)" in pointed
    assert prose.of_script(pointed) == []
    prose.PYPROJECT.write_text('[project]\nname = "x"\n')
    build.follow_address()
    assert script.read_text(encoding="utf-8") == text
