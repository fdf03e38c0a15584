"""The documentation site: it holds every page and every public name, and the tutorials run in a browser.

The slow tests of pages need the extra ``site``, those in a browser Playwright for Python and Chromium, whose path may
be in SE_NUMPY_CHROMIUM. Tutorials in a browser also need a copy of Pyodide, whose folder is in SE_NUMPY_PYODIDE; one
of these tests needs Node.js instead of Chromium.
"""

import contextlib
import functools
import http.server
import importlib
import inspect
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import build_site
import lite
import pytest

from se_numpy.grading.lessons import toys

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = sorted((ROOT / "tutorials").glob("[0-9]*.py"))
PYODIDE = os.environ.get("SE_NUMPY_PYODIDE", "")
CHROMIUM = os.environ.get("SE_NUMPY_CHROMIUM") or shutil.which("chromium")
CELLS = """() => {
  const cells = window.jupyterapp.shell.currentWidget.content.widgets.filter((cell) => cell.model.type === "code");
  const outputs = cells.flatMap((cell) => cell.model.outputs.toJSON());
  return {
    cells: cells.length,
    run: cells.filter((cell) => cell.model.executionCount !== null).length,
    errors: outputs.filter((output) => output.output_type === "error").map((output) => output.evalue),
    cards: outputs.filter((output) => "text/html" in (output.data ?? {})).length,
  };
}"""


def test_every_page_of_the_documentation_is_in_the_contents():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^(?:\w+ <)?([\w./]+)>?$", "\n".join(re.findall(r"```{toctree}(.*?)```", index, re.S)), re.M)
    pages = {path.resolve() for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]}
    found = {(ROOT / "docs" / f"{page}.md").resolve() for page in listed}
    assert pages - found == {(ROOT / "docs" / "index.md").resolve()}
    assert {path for path in found if not path.exists()} == {(ROOT / "docs" / "api" / "index.md").resolve()}


def test_the_reference_holds_every_public_name():
    assert {"se_numpy", *build_site.submodules("se_numpy")} == set(build_site.PACKAGES)
    for package in build_site.PACKAGES:
        page = build_site.reference(package)
        for name in getattr(importlib.import_module(package), "__all__", ["__doc__"]):
            value = getattr(importlib.import_module(package), name)
            own_page = inspect.ismodule(value) and value.__name__ in build_site.PACKAGES
            assert own_page or re.search(rf"[ .]{name}[,\n]", page) or name == "__doc__", name
        assert ":members:" in page


def test_figures_of_a_page_are_shown_in_both_themes():
    page = build_site.both_figures((ROOT / "README.md").read_text(encoding="utf-8"), ROOT)
    assert "<picture>" not in page
    for name in ("builtin", "scenes"):
        for kind in ("light", "dark"):
            assert f"```{{image}} docs/figures/{name}_{kind}.png\n:alt: " in page
    assert page.count(":class: only-dark\n") == 2


def test_a_notebook_is_marked_for_narrow_windows():
    narrow = runpy.run_path(str(ROOT / "docs" / "site" / "conf.py"))["narrow"]
    code = (
        '<pre><span class="n">z</span>  <span class="c1">#      (N, C)</span> <span class="c1"># a remark</span></pre>'
    )
    assert re.sub("<.*?>", "", narrow(code)) == re.sub("<.*?>", "", code)
    assert '<span class="c1"># <span class="blanks">     </span>(N, C)</span> <span class="c1"># a remark' in narrow(
        code
    )
    output = '<div class="output stream x"><div class="y"><pre><span></span>{}\n</pre>'
    marked = narrow(output.format("It falls below 0.5.\nr      1      2"))
    assert marked == output.format('<span class="sentence">It falls below 0.5.</span>\nr      1      2')
    assert (
        narrow('<img alt="a &lt; b" src="a.png" />')
        == '<a class="figure" href="a.png"><img alt="a &lt; b" src="a.png" /></a>'
    )


def test_pages_to_play_with_lead_back_to_the_documentation():
    for name in toys.TOYS:
        (address,) = re.findall(r'href="../tutorials/(\w+).html"', build_site.toy_page(name))
        assert f'toy("{name}")' in (ROOT / "tutorials" / f"{address}.py").read_text(encoding="utf-8")
        assert "<a " not in toys.page(name)


def test_notebooks_in_the_browser_are_those_of_the_repository(tmp_path):
    lite.copy_notebooks(tmp_path / "files")
    assert [path.stem for path in sorted((tmp_path / "files").glob("*.ipynb"))] == [path.stem for path in TUTORIALS]
    assert (tmp_path / "files" / "networks").is_dir()


def test_links_of_notebooks_in_the_browser_lead_to_files_there(tmp_path):
    lite.copy_notebooks(tmp_path / "files")
    seen = set()
    for path in (tmp_path / "files").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for text in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"):
            seen |= set(re.findall(r"\]\(([^)\s]+)\)", text))
    assert "README.md" in seen
    local = {link for link in seen if not link.startswith(("https:", "#"))}
    assert [link for link in local if not (tmp_path / "files" / link).exists()] == []
    assert lite.without_links_out("[a script](01_a.py)") == "a script (`tutorials/01_a.py` in the repository)"
    assert "the gates (`docs/gates.md` in the repository)" in lite.without_links_out("[the gates](../docs/gates.md)")


@pytest.mark.parametrize("engine", ["pyodide.asm.js", "pyodide.asm.mjs"])
def test_pyodide_is_copied_with_only_what_is_needed(tmp_path, engine):
    (tmp_path / "from").mkdir()
    packages = {name: {"depends": [], "file_name": f"{name}.whl"} for name in [*lite.ROOTS, "prompt-toolkit", "pandas"]}
    packages["ipython"]["depends"] = ["prompt_toolkit"]
    names = ["pyodide.js", "pyodide.mjs", engine, "pyodide.asm.wasm", "python_stdlib.zip"]
    for name in names + [package["file_name"] for package in packages.values()]:
        (tmp_path / "from" / name).touch()
    lite.write_json(tmp_path / "from" / "pyodide-lock.json", {"packages": packages})
    lite.copy_pyodide(tmp_path / "from", tmp_path / "to")
    copied = {path.name for path in (tmp_path / "to").iterdir()}
    assert {"prompt-toolkit.whl", "numpy.whl", "pyodide-lock.json", *names} <= copied
    assert "pandas.whl" not in copied


@pytest.mark.slow
def test_pages_are_built_without_a_warning(tmp_path):
    for name in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(name)
    out = tmp_path / "site"
    subprocess.run([sys.executable, ROOT / "docs" / "build_site.py", out, "--without-lite"], check=True)
    reference = (out / "docs" / "api" / "se_numpy.html").read_text(encoding="utf-8")
    assert 'id="se_numpy.excite_backward"' in reference
    assert (out / "tutorials" / "07_squeeze_excite_scale.html").exists()
    for page in out.rglob("*.html"):
        for source in re.findall(r'<img[^>]* src="([^":]*)"', page.read_text(encoding="utf-8")):
            assert (page.parent / source).exists(), (page.name, source)


@pytest.mark.slow
@pytest.mark.skipif(not (PYODIDE and shutil.which("node")), reason="needs Node.js and Pyodide in SE_NUMPY_PYODIDE")
@pytest.mark.parametrize("script", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_run_under_pyodide(script, tmp_path):
    tqdm = Path(pytest.importorskip("tqdm").__file__).parent
    for source, target in ((ROOT / "se_numpy", "se_numpy"), (ROOT / "tutorials", "tutorials"), (tqdm, "site/tqdm")):
        shutil.copytree(source, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
    run = ["node", ROOT / "tests" / "pyodide_run.mjs", PYODIDE, tmp_path, f"tutorials/{script.name}", ".", "site"]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "can't start new thread" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not (PYODIDE and CHROMIUM), reason="needs SE_NUMPY_PYODIDE and Chromium")
def test_notebooks_run_in_jupyterlite(tmp_path):
    pytest.importorskip("jupyterlite_core")
    lite.build(tmp_path / "lite", Path(PYODIDE), testing=True)
    with served(tmp_path / "lite") as address, chromium() as browser:
        for name in ("01_images_as_arrays", "07_squeeze_excite_scale"):
            page = browser.new_page()
            page.goto(f"{address}/lab/index.html?path={name}.ipynb")
            page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext", timeout=120_000)
            page.evaluate("async () => await window.jupyterapp.shell.currentWidget.sessionContext.ready")
            page.evaluate("window.jupyterapp.commands.execute('editmenu:clear-all')")
            page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
            deadline = time.monotonic() + 600
            while (state := page.evaluate(CELLS))["run"] < state["cells"] and not state["errors"]:
                assert time.monotonic() < deadline, state
                time.sleep(0.5)
            assert state["errors"] == []
            notebook = json.loads((ROOT / "tutorials" / f"{name}.ipynb").read_text(encoding="utf-8"))
            outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
            assert state["cards"] == sum("text/html" in output.get("data", {}) for output in outputs) > 0
            page.close()


@pytest.fixture
def phone():
    """Open a page of a toy in a window of the width of a phone; any error of its script fails the test."""
    with chromium() as browser:
        page, errors = browser.new_page(viewport={"width": 390, "height": 844}), []
        page.on("pageerror", lambda error: errors.append(error))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        yield page
        assert errors == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def text(page, name):
    return page.locator(f"#{name}").inner_text()


def move(slider, value):
    """Move a slider to a value."""
    slider.evaluate("(input, value) => { input.value = value; input.dispatchEvent(new Event('input')) }", str(value))


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_gates_set_by_hand_or_by_weights_decide_the_answer(phone):
    phone.set_content(toys.page("excitation"))
    assert "right for 18 of 18" not in text(phone, "score")
    sliders = phone.locator("#columns input")
    for shown in range(sliders.count()):  # the gate of one map alone, for a picture that asks for its colour
        z = [float(value.removeprefix("z ")) for value in phone.locator("#columns .z").all_inner_texts()]
        for c in range(sliders.count()):
            move(sliders.nth(c), int(c == z.index(max(z))))
        assert "Right." in text(phone, "answer"), shown
        phone.locator("#next").click()
    phone.locator("input[value=weights]").check()
    assert "right for 18 of 18" in text(phone, "score")
    phone.locator("[data-preset=zero]").click()
    assert set(phone.locator("#columns .s").all_inner_texts()) == {"s 0.50"}
    phone.locator("[data-preset=chosen]").click()
    cell = phone.locator("#W2 input").first
    cell.scroll_into_view_if_needed()
    box, before = cell.bounding_box(), float(cell.input_value())
    phone.mouse.move(box["x"] + 5, box["y"] + 5)
    phone.mouse.down()
    phone.mouse.move(box["x"] + 105, box["y"] + 5)
    phone.mouse.up()
    assert float(cell.input_value()) == pytest.approx(before + 10)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_a_transplant_answers_the_question_of_the_gates(phone):
    phone.set_content(toys.page("transplant"))
    phone.locator("#where button", has_text="all three").click()
    followed = []
    for b in range(6):
        phone.locator("#chooseB button").nth(b).click()
        assert phone.locator("#answers td").count() == 3
        followed.append(text(phone, "says"))
    assert followed[0] == "A and B are the same picture, so nothing was exchanged."
    assert sum(line.startswith("3 of 3 networks answer B's question") for line in followed) >= 4
    phone.locator("#where button", has_text="stage3").click()
    assert text(phone, "says").startswith("0 of 3")


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_gates_spread_over_the_epochs(phone):
    phone.set_content(toys.page("epochs"))

    def spreads():
        return [int(re.search(r"spread (\d+)", line)[1]) for line in phone.locator("#blocks > div").all_inner_texts()]

    slider = phone.locator("#slider")
    last = slider.get_attribute("max")
    for seed in range(3):
        phone.locator("#seeds button").nth(seed).click()
        move(slider, 0)
        before = spreads()
        assert text(phone, "epoch") == "0, before training"
        move(slider, last)
        assert spreads()[0] > before[0] + 10
        assert "right for 100.0 %" in text(phone, "accuracy")
        assert phone.locator("#blocks polyline").count() == 18
    phone.locator("#play").click()
    assert text(phone, "epoch") == "0, before training"
    phone.wait_for_function("document.getElementById('epoch').textContent.startsWith('1 of')")


@contextlib.contextmanager
def chromium():
    """Start a browser without a window."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def served(folder):
    """Serve a folder on this machine, and yield its address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
