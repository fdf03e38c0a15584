"""Build the notebooks of this folder from its scripts, and check that they are up to date.

    python tutorials/build.py                        build every stale notebook
    python tutorials/build.py 02 03                  build these notebooks
    python tutorials/build.py --check                report problems without running anything
    python tutorials/build.py --address              follow the address in pyproject.toml

The source is a script in percent format (NN_name.py, "# %%" and "# %% [markdown]"); do not edit
NN_name.ipynb by hand. Building needs the extra ``tutorials``: jupytext reads the script, nbclient
runs it. Checking needs only the standard library.
README.md describes how to write a tutorial.
"""

import argparse
import base64
import hashlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import prose

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
SECONDS = 120  # for one cell
COLOURS = 128  # colours of a figure; reduces its size to a third


def sources(names: list[str] | None = None) -> list[Path]:
    """Return all scripts, or those that start with one of the names.

    Raises
    ------
    ValueError
        If no script starts with a name.
    """
    every = sorted(HERE.glob("[0-9][0-9]_*.py"))
    for name in names or []:
        if not any(path.stem.startswith(name.removesuffix(".py")) for path in every):
            known = ", ".join(path.stem for path in every)
            raise ValueError(f"unknown tutorial {name!r}; expected the beginning of one of {known}")
    return [
        path
        for path in every
        if not names or any(path.stem.startswith(n.removesuffix(".py")) for n in names)
    ]


# ----------------------------------------------------------------------------------------- checking


def digest(text: str) -> str:
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def cells_digest(notebook: dict[str, Any]) -> str:
    """Return the digest of sources and outputs, which reveals edits by hand."""
    contents = [
        [cell["cell_type"], "".join(cell["source"]), cell.get("outputs", [])]
        for cell in notebook["cells"]
    ]
    return digest(json.dumps(contents, sort_keys=True, ensure_ascii=False))


def stale(source: Path) -> str:
    """Return the reason why a script's notebook is stale, or ""."""
    path = source.with_suffix(".ipynb")
    if not path.exists():
        return f"{path.name} is missing"
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        made = notebook["metadata"]["se_numpy"]
        if made["source_sha256"] != digest(source.read_text(encoding="utf-8")):
            return f"{source.name} was changed after {path.name} was made"
        if made["cells_sha256"] != cells_digest(notebook):
            return f"{path.name} was changed by hand; edit {source.name} instead"
    except (ValueError, KeyError, TypeError):
        return f"{path.name} was not made by build.py"
    return ""


def problems(source: Path) -> list[str]:
    """Return the problems of a tutorial, one line each, without running it."""
    found = [
        f"{source.name}: {text}" for text in prose.of_script(source.read_text(encoding="utf-8"))
    ]
    why = stale(source)
    if why:
        return [*found, f"{why}; run: python tutorials/build.py {source.stem[:2]}"]
    path = source.with_suffix(".ipynb")
    return found + [f"{path.name}: {text}" for text in prose.of_notebook(path)]


def check(paths: list[Path]) -> int:
    """Print the problems of the tutorials and return their number."""
    found = [line for source in paths for line in problems(source)]
    found += [
        f"README.md: {text}"
        for text in prose.of_text((HERE / "README.md").read_text(encoding="utf-8"), HERE)
    ]
    for orphan in sorted(HERE.glob("*.ipynb")):
        if not orphan.with_suffix(".py").exists():
            found.append(f"{orphan.name} has no script; delete it")
    total = sum(map(claims, paths))
    print(
        "\n".join(found)
        or f"{len(paths)} tutorials up to date, {total} numbers checked against results"
    )
    return len(found)


def claims(source: Path) -> int:
    """Return the number of values checked by the claims of a script."""
    return prose.claims(source.read_text(encoding="utf-8"))


# ----------------------------------------------------------------------------------------- building


def build(source: Path) -> Path:
    """Write a script's notebook with its outputs.

    Raises
    ------
    RuntimeError
        If a cell raises an exception or a warning.
    """
    import jupytext

    text = source.read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="py:percent")
    for k, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"c{k:03d}", {}
    run(notebook, source)
    made = json.loads(json.dumps(notebook))
    for cell in made["cells"]:
        cell["source"] = cell["source"].splitlines(
            keepends=True
        )  # one line per source line, for readable diffs
        if "outputs" in cell:
            cell["outputs"] = tidy(cell["outputs"], source)
            alt = list(filter(None, map(prose.alt_text, cell["outputs"])))
            cell["metadata"] = {"mystnb": {"image": {"alt": alt[0]}}} if alt else {}  # for MyST-NB
    made["metadata"] = {"kernelspec": KERNEL, "language_info": {"name": "python"}, "se_numpy": {
        "made_from": source.name, "source_sha256": digest(text),
        "cells_sha256": cells_digest(made)}}  # fmt: skip
    made.update(nbformat=4, nbformat_minor=5)
    path = source.with_suffix(".ipynb")
    path.write_text(
        json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return path


def run(notebook: Any, source: Path) -> None:
    """Run all cells without the environment variables that change the output."""
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    own = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE / "no_gpu")]), "PYTHONHASHSEED": "0",
           "HYPOTHESIS_STORAGE_DIRECTORY": tempfile.gettempdir(),
           "MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SE_NUMPY_")} | own
    manager = AsyncKernelManager(kernel_name="python3")
    manager.kernel_spec.argv = [sys.executable, "-W", "error::UserWarning", "-m",
                                "ipykernel_launcher",
                                "--log-level=40", "-f", "{connection_file}"]  # fmt: skip
    client = NotebookClient(notebook, km=manager, timeout=SECONDS, record_timing=False,
                            resources={"metadata": {"path": str(HERE)}})  # fmt: skip
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        raise RuntimeError(f"{source.name}: {error}") from None


def tidy(outputs: list[dict[str, Any]], source: Path) -> list[dict[str, Any]]:
    """Return outputs without the parts that differ between runs.

    Raises
    ------
    RuntimeError
        If an output shows a warning, an address or a path of this machine.
    """
    kept: list[dict[str, Any]] = []
    for output in outputs:
        text = json.dumps(output, ensure_ascii=False)
        if (
            output.get("name") == "stderr"
            or re.search(r"at 0x[0-9a-f]{6}", text)
            or str(ROOT) in text
        ):
            raise RuntimeError(
                f"{source.name} shows a warning, an address or a path of this machine: {text[:300]}"
            )
        if output["output_type"] == "stream" and kept and kept[-1]["output_type"] == "stream":
            kept[-1]["text"] += output["text"]
            continue
        data = output.get("data", {})
        if "image/png" in data:
            data["image/png"] = smaller(data["image/png"])
        alt = prose.alt_text(output)
        kept_metadata = {"image/png": {"alt": alt}} if alt else {}
        output.update({"metadata": kept_metadata} if "metadata" in output else {})
        kept.append(output)
    return kept


def smaller(png: str) -> str:
    """Return the picture with fewer colours and without metadata."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    image = image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    packed = io.BytesIO()
    image.save(packed, "PNG", optimize=True)
    return base64.b64encode(packed.getvalue()).decode() + "\n"


def follow_address() -> None:
    """Write the badges and first cells of all scripts for the address in pyproject.toml."""
    address = prose.repository()
    links = re.compile(
        r"^# (\[!\[Open in Colab\]\(\S+\)\]\(\S+\) · )?(?=\[all tutorials\])", re.MULTILINE
    )
    first = re.compile(r"(?<=\n# %%\n).*?(?=\n\n# %%)", re.DOTALL)
    for path in sources():
        text = path.read_text(encoding="utf-8")
        text = links.sub(f"# {prose.badge(path.stem, address)}", text, count=1)
        text = first.sub(lambda _: prose.first_cell(address), text, count=1)
        path.write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Build the tutorials' notebooks from their scripts."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="01, or 01_images (default: all stale notebooks)"
    )
    parser.add_argument(
        "--check", action="store_true", help="report problems without running anything"
    )
    parser.add_argument(
        "--address",
        action="store_true",
        help="write badges and first cells for [project.urls] Repository in pyproject.toml",
    )
    args = parser.parse_args()
    try:
        if args.address:
            follow_address()
        paths = sources(args.names)
        if args.check:
            return 1 if check(paths) else 0
        for source in paths if args.names else filter(stale, paths):
            print(f"{build(source).name}: {claims(source)} numbers checked", flush=True)
        return 1 if check(paths) else 0
    except ModuleNotFoundError as error:
        print(
            f'build.py: {error.name} is not installed; run: pip install -e ".[tutorials]"',
            file=sys.stderr,
        )
    except (ValueError, RuntimeError) as error:
        print(f"build.py: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
