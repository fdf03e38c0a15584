"""Build the documentation site into a folder, from which any web server can serve it.

    python docs/build_site.py FOLDER                       with the tutorials running in JupyterLite
    python docs/build_site.py FOLDER --without-lite        pages only
    python docs/build_site.py FOLDER --pyodide FOLDER      Pyodide from a local copy, not from its usual address

This needs the extra ``site``. The pages are docs/, the notebooks of tutorials/ as they are in the repository, and the
API reference, which is made from the docstrings. Warnings, such as links to nowhere, are errors.
"""

import argparse
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import lite

from se_numpy.grading.lessons import toys

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("docs", "tutorials", "benchmarks", "se_numpy", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md",
          "CITATION.cff", "LICENSE", "tests", "pyproject.toml")  # fmt: skip
PACKAGES = {
    "se_numpy": "the equations and their gradients, and checks of your own",
    "se_numpy.layers": "layers and combinators",
    "se_numpy.models": "the networks of the paper",
    "se_numpy.engine": "fast versions of networks and operations",
    "se_numpy.data": "data sets",
    "se_numpy.detection": "targets, decoding and average precision of detectors",
    "se_numpy.optim": "optimisers and learning rates",
    "se_numpy.train": "the trainer",
    "se_numpy.checkpoint": "checkpoints",
    "se_numpy.interop": "weights in PyTorch's formats, ONNX",
    "se_numpy.analysis": "the behaviour of trained networks",
    "se_numpy.ablation": "the paper's ablations",
    "se_numpy.complexity": "parameters and operations",
    "se_numpy.grading": "grading students' implementations",
}


def stage(folder: Path) -> None:
    """Copy what the pages are made of, or link to, and add the pages of the API reference."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name)
    for page in (folder / "README.md", folder / "docs" / "index.md"):
        page.write_text(both_figures(page.read_text(encoding="utf-8"), page.parent), encoding="utf-8")
    notebooks = sorted(path.stem for path in (ROOT / "tutorials").glob("[0-9]*.ipynb"))
    ablations = folder / "benchmarks" / "results" / "ablations"
    tables = sorted(path.relative_to(ablations).as_posix() for path in ablations.glob("*/*.md"))
    for page, below in ((folder / "tutorials" / "README.md", notebooks), (ablations / "README.md", tables)):
        with page.open("a", encoding="utf-8") as file:
            file.write("\n" + toctree(below, "hidden"))
    api = folder / "docs" / "api"
    api.mkdir()
    rows = "\n".join(f"| [{package}]({package}.md) | {text} |" for package, text in PACKAGES.items())
    pages = toctree(list(PACKAGES), "hidden")
    (api / "index.md").write_text(f"# API reference\n\n| package | contents |\n|---|---|\n{rows}\n\n{pages}")
    for package in PACKAGES:
        (api / f"{package}.md").write_text(reference(package))


def both_figures(text: str, folder: Path) -> str:
    """Return a page with each figure in a light and a dark form; the theme shows one of them.

    Sphinx copies the files of a Markdown image, but not those of ``<picture>``, which GitHub needs.
    """
    text = re.sub(r'<picture>.*?<img src="([^"]*)" alt="([^"]*)">.*?</picture>', r"![\2](\1)", text, flags=re.S)

    def both(match: re.Match[str]) -> str:
        alt, stem = match.groups()
        kinds = [kind for kind in ("light", "dark") if (folder / f"{stem}_{kind}.png").exists()]
        only = [f":class: only-{kind}\n" if len(kinds) == 2 else "" for kind in kinds]
        return "\n".join(
            f"```{{image}} {stem}_{kind}.png\n:alt: {alt}\n{option}```\n"
            for kind, option in zip(kinds, only, strict=True)
        )

    return re.sub(r"^!\[(.*?)\]\((\S+)_light\.png\)$", both, text, flags=re.M)


def toctree(pages: list[str], *options: str) -> str:
    lines = [f":{option}:" for option in options]
    return "\n".join(["```{toctree}", *lines, "", *pages, "```", ""])


def reference(package: str) -> str:
    """Return the page of a package: its docstring, and what is public in it and in its public modules."""
    parts = [f"# {package}", automodule(package)]
    for name in () if package == "se_numpy" else submodules(package):
        parts += [f"## {name}", automodule(name)]
    return "\n\n".join(parts) + "\n"


def automodule(name: str) -> str:
    listed = f"   :members: {', '.join(found)}\n   :imported-members:\n" if (found := members(name)) else ""
    return f"```{{eval-rst}}\n.. automodule:: {name}\n{listed}```"


def members(name: str) -> list[str]:
    """Return the public names of a module that are not modules, functions first."""
    module = importlib.import_module(name)
    own = [n for n, v in vars(module).items() if n[0] != "_" and callable(v) and getattr(v, "__module__", "") == name]
    names = [n for n in getattr(module, "__all__", own) if not isinstance(getattr(module, n), ModuleType)]
    return sorted(names, key=lambda n: isinstance(getattr(module, n), type))


def submodules(package: str) -> list[str]:
    """Return the modules among the public names of a package."""
    module = importlib.import_module(package)
    found = (getattr(module, name) for name in getattr(module, "__all__", ()))
    return [value.__name__ for value in found if isinstance(value, ModuleType)]


def build_pages(out: Path, *, with_lite: bool) -> None:
    """Run Sphinx on a copy of the sources."""
    with tempfile.TemporaryDirectory() as staged:
        stage(Path(staged))
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", str(ROOT / "docs" / "site")]
        env = os.environ | {"LITE": "1" if with_lite else ""}
        subprocess.run([*command, staged, str(out)], check=True, env=env)
    shutil.rmtree(out / ".doctrees", ignore_errors=True)
    (out / "index.html").write_text(
        '<!doctype html><meta charset="utf-8"><title>se_numpy</title>'
        '<meta http-equiv="refresh" content="0; url=docs/index.html"><a href="docs/index.html">se_numpy</a>\n'
    )
    (out / "toys").mkdir()
    for name in toys.TOYS:
        (out / "toys" / f"{name}.html").write_text(toy_page(name), encoding="utf-8")
    (out / ".nojekyll").touch()  # GitHub Pages would leave out folders that begin with an underscore


def toy_page(name: str) -> str:
    """Return the page of a toy with links to the documentation and to the tutorial that shows it."""
    (script,) = [p for p in (ROOT / "tutorials").glob("[0-9]*.py") if f'toy("{name}")' in p.read_text(encoding="utf-8")]
    links = f'<a href="../docs/index.html">se_numpy</a> · <a href="../tutorials/{script.stem}.html">'
    return toys.page(name).replace("<h1>", f"<p>{links}tutorial {int(script.stem[:2])}</a></p>\n<h1>", 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, metavar="FOLDER", help="a new or empty folder")
    parser.add_argument("--pyodide", type=Path, metavar="FOLDER", help="a local copy of Pyodide")
    parser.add_argument("--without-lite", action="store_true", help="leave out JupyterLite")
    args = parser.parse_args()
    if args.out.exists() and any(args.out.iterdir()):
        parser.error(f"{args.out} is not empty; give a new folder")
    build_pages(args.out, with_lite=not args.without_lite)
    if not args.without_lite:
        lite.build(args.out / "lite", args.pyodide)
    print(f"the site is in {args.out}; try it with: python -m http.server -d {args.out}")


if __name__ == "__main__":
    main()
