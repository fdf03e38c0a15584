"""The documentation site: it holds every page and every public name, and the tutorials run in a browser.

The slow tests need the extra ``site``. Those of the browser also need a copy of Pyodide, whose folder is in
SE_NUMPY_PYODIDE; one needs Node.js, the other Playwright for Python and Chromium, which is in SE_NUMPY_CHROMIUM.
"""

import contextlib
import functools
import http.server
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import build_site
import lite
import pytest

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = sorted((ROOT / "tutorials").glob("[0-9]*.py"))
PYODIDE, CHROMIUM = os.environ.get("SE_NUMPY_PYODIDE", ""), os.environ.get("SE_NUMPY_CHROMIUM", "")
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


def test_notebooks_in_the_browser_are_those_of_the_repository(tmp_path):
    lite.copy_notebooks(tmp_path / "files")
    assert [path.stem for path in sorted((tmp_path / "files").glob("*.ipynb"))] == [path.stem for path in TUTORIALS]
    assert (tmp_path / "files" / "networks").is_dir()


def test_pyodide_is_copied_with_only_what_is_needed(tmp_path):
    (tmp_path / "from").mkdir()
    packages = {name: {"depends": [], "file_name": f"{name}.whl"} for name in [*lite.ROOTS, "prompt-toolkit", "pandas"]}
    packages["ipython"]["depends"] = ["prompt_toolkit"]
    names = ["pyodide.js", "pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip"]
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


@pytest.mark.slow
@pytest.mark.skipif(not (PYODIDE and CHROMIUM), reason="needs SE_NUMPY_PYODIDE and SE_NUMPY_CHROMIUM")
def test_notebooks_run_in_jupyterlite(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("jupyterlite_core")
    lite.build(tmp_path / "lite", Path(PYODIDE), testing=True)
    with served(tmp_path / "lite") as address, playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
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
            assert state["cards"] >= 2
            page.close()


@contextlib.contextmanager
def served(folder):
    """Serve a folder on this machine, and yield its address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
