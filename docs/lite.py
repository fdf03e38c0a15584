"""JupyterLite with the tutorials: a folder of static files in which the notebooks run, in the reader's browser.

Python in the browser is Pyodide. Without a local copy it is loaded from its usual address; NumPy and Matplotlib are
Pyodide's own, and the wheels of this library and of tqdm are served by the site.
"""

import json
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FROM_PYODIDE = ["numpy", "matplotlib", "threadpoolctl"]
WHEELS = "../../../../wheels"  # as seen from the kernel's script
# The packages that the tutorials and the kernel need; a copy of Pyodide holds many more.
ROOTS = [*FROM_PYODIDE, "ipython", "micropip", "jedi", "sqlite3", "ssl"]
SITE = "https://site.invalid/"  # stands for the address of the site, which is not known before the page is open
LINKS = f"""<script>
addEventListener("click", (event) => {{
  const link = event.target.closest?.('a[href^="{SITE}"]');
  if (link) link.href = new URL("../../" + link.getAttribute("href").slice({len(SITE)}), location.href);
}}, true);
</script>
"""
KERNEL = {"display_name": "Python (Pyodide)", "language": "python", "name": "python"}


def build(out: Path, pyodide: Path | None, *, testing: bool = False) -> None:
    """Write the folder ``out``.

    ``pyodide`` is a folder with pyodide.js, to be copied. With ``testing``, pages expose the application to scripts.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        wheels = make_wheels(work / "wheels")
        copy_notebooks(work / "files")
        if pyodide is not None:
            copy_pyodide(pyodide, work / "static" / "pyodide")
        (work / "pypi").mkdir()  # the kernel installs comm when it starts
        for wheel in wheels:
            shutil.copy(work / "wheels" / wheel, work / "pypi" / wheel)
        packages = FROM_PYODIDE + [f"{WHEELS}/{wheel}" for wheel in wheels if not wheel.startswith("comm-")]
        kernel = {"loadPyodideOptions": {"packages": packages}, "disablePyPIFallback": pyodide is not None}
        settings = {"litePluginSettings": {"@jupyterlite/pyodide-kernel-extension:kernel": kernel}}
        if testing:
            settings["exposeAppInBrowser"] = True
        write_json(work / "jupyter-lite.json", {"jupyter-lite-schema-version": 0, "jupyter-config-data": settings})
        config = {"contents": ["files"], "output_dir": str(out.resolve()), "no_sourcemaps": True,
                  "apps": ["lab", "notebooks", "tree"]}  # fmt: skip
        write_json(work / "jupyter_lite_config.json", {"LiteBuildConfig": config})
        subprocess.run(
            [sys.executable, "-m", "jupyter", "lite", "build"], check=True, cwd=work, stdout=subprocess.DEVNULL
        )
        shutil.copytree(work / "wheels", out / "wheels")
    for page in ("lab", "notebooks"):
        index = out / page / "index.html"
        html = index.read_text(encoding="utf-8")
        index.write_text(html.replace("</head>", LINKS + "</head>", 1), encoding="utf-8")


def make_wheels(folder: Path) -> list[str]:
    """Make the wheel of this library, fetch those of what it needs, and return their names."""
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), str(ROOT)], check=True)
    subprocess.run([*pip, "download", "--no-deps", "-d", str(folder), "tqdm", "comm"], check=True)
    return sorted(path.name for path in folder.glob("*.whl"))


def copy_notebooks(folder: Path) -> None:
    """Copy the tutorials and the recorded networks, with JupyterLite's kernel and with links that work there."""
    folder.mkdir()
    for path in (ROOT / "tutorials").glob("[0-9]*.py"):
        shutil.copy(path, folder / path.name)
    for path in sorted((ROOT / "tutorials").glob("[0-9]*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        notebook["metadata"]["kernelspec"] = KERNEL
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                text = "".join(cell["source"])
                cell["source"] = re.sub(r"\[([^]]+)\]\(([^):#]+)\)", relink, text)
        write_json(folder / path.name, notebook)
    shutil.copytree(ROOT / "tutorials" / "networks", folder / "networks")


def relink(link: re.Match[str]) -> str:
    """Return a link of a tutorial as it is in JupyterLite: to a tutorial, to a page of the site, or its text alone."""
    text, target = link.groups()
    if re.match(r"[0-9]{2}_", target):
        return link[0]
    path, suffix = posixpath.splitext(posixpath.normpath(posixpath.join("tutorials", target)))
    return f"[{text}]({SITE}{path}.html)" if suffix == ".md" else text


def copy_pyodide(source: Path, target: Path) -> None:
    """Copy Pyodide with only those of its packages that are needed."""
    lock = json.loads((source / "pyodide-lock.json").read_text())
    packages = {name.lower().replace("_", "-"): package for name, package in lock["packages"].items()}
    needed: set[str] = set()
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name not in needed:
            needed.add(name)
            waiting += packages[name]["depends"]
    lock["packages"] = {name: packages[name] for name in sorted(needed)}
    target.mkdir(parents=True)
    write_json(target / "pyodide-lock.json", lock)
    runtime = ("pyodide.js", "pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip")
    for name in [*runtime, *(package["file_name"] for package in lock["packages"].values())]:
        shutil.copy(source / name, target / name)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
