"""Makes the notebooks of this folder out of its scripts, one way, and says which are stale.

    python tutorials/build.py                        builds every notebook that is stale
    python tutorials/build.py 02 03                  builds these
    python tutorials/build.py --check                says what is stale or broken, runs nothing
    python tutorials/build.py --repository YOU/NAME  where badges and first cells point to

A script in percent format (NN_name.py, "# %%" and "# %% [markdown]") is the source; nobody edits
NN_name.ipynb by hand. Building needs the extra ``tutorials``: jupytext reads the script, nbclient
runs it. Checking needs nothing.
README.md says how a tutorial is written.
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
COLOURS = 128  # of a figure, which makes it a third of the size


def sources(names: list[str] | None = None) -> list[Path]:
    """The scripts, or those whose names begin so.  ValueError for a name that no script has."""
    every = sorted(HERE.glob("[0-9][0-9]_*.py"))
    for name in names or []:
        if not any(path.stem.startswith(name.removesuffix(".py")) for path in every):
            known = ", ".join(path.stem for path in every)
            raise ValueError(
                f"there is no tutorial {name!r}; expected the beginning of one of {known}"
            )
    return [
        path
        for path in every
        if not names or any(path.stem.startswith(n.removesuffix(".py")) for n in names)
    ]


# ----------------------------------------------------------------------------------------- checking


def digest(text: str) -> str:
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def cells_digest(notebook: dict[str, Any]) -> str:
    """Of what stands in the cells, outputs included, so that an edit by hand shows."""
    told = [
        [cell["cell_type"], "".join(cell["source"]), cell.get("outputs", [])]
        for cell in notebook["cells"]
    ]
    return digest(json.dumps(told, sort_keys=True, ensure_ascii=False))


def stale(source: Path) -> str:
    """Why a script's notebook has to be built again, or ""."""
    path = source.with_suffix(".ipynb")
    if not path.exists():
        return f"{path.name} is missing"
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        made = notebook["metadata"]["se_numpy"]
        if made["source_sha256"] != digest(source.read_text(encoding="utf-8")):
            return f"{source.name} was changed after {path.name} was made"
        if made["cells_sha256"] != cells_digest(notebook):
            return f"{path.name} was changed by hand; {source.name} is the source"
    except (ValueError, KeyError, TypeError):
        return f"{path.name} is no notebook of this folder"
    return ""


def problems(source: Path) -> list[str]:
    """All that is wrong with a tutorial, one line each, without running it."""
    found = [
        f"{source.name}: {text}" for text in prose.of_script(source.read_text(encoding="utf-8"))
    ]
    why = stale(source)
    if why:
        return [*found, f"{why}; run: python tutorials/build.py {source.stem[:2]}"]
    path = source.with_suffix(".ipynb")
    return found + [f"{path.name}: {text}" for text in prose.of_notebook(path)]


def check(paths: list[Path]) -> int:
    """Print what is wrong; how many lines that was."""
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
        or f"{len(paths)} tutorials, {total} numbers tied to results, nothing stale"
    )
    return len(found)


def claims(source: Path) -> int:
    """How many numbers in a script's sentences are held to its results."""
    return prose.claims(source.read_text(encoding="utf-8"))


# ----------------------------------------------------------------------------------------- building


def build(source: Path) -> Path:
    """Write a script's notebook, with its outputs.  RuntimeError where a cell raises, or warns."""
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
        )  # so that a change is a line of the file
        if "outputs" in cell:
            cell["outputs"] = tidy(cell["outputs"], source)
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
    """Run all cells, with the stubs as they are and without pictures of the reader's own."""
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
    """Outputs without what differs between runs.  RuntimeError for what may not be there at all."""
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
        output.update({"metadata": {}} if "metadata" in output else {})
        kept.append(output)
    return kept


def smaller(png: str) -> str:
    """The same picture in fewer colours, without a word about the program that made it."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    image = image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    packed = io.BytesIO()
    image.save(packed, "PNG", optimize=True)
    return base64.b64encode(packed.getvalue()).decode() + "\n"


def move(repository: str) -> None:
    """Write another repository's address everywhere.  ValueError unless it is OWNER/NAME."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"repository is {repository!r}; expected OWNER/NAME, as on GitHub")
    now = prose.repository()
    for path in [*sources(), HERE / "README.md", HERE / "prose.py"]:
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(now, repository), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Makes the tutorials' notebooks out of their scripts."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="01, or 01_images (default: all that are stale)"
    )
    parser.add_argument(
        "--check", action="store_true", help="say what is stale or broken; run nothing"
    )
    parser.add_argument(
        "--repository", metavar="OWNER/NAME", help="point badges and first cells there"
    )
    args = parser.parse_args()
    try:
        if args.repository:
            move(args.repository)
        paths = sources(args.names)
        if args.check:
            return 1 if check(paths) else 0
        for source in paths if args.names else filter(stale, paths):
            print(f"{build(source).name}: {claims(source)} numbers tied to results", flush=True)
        return 1 if check(paths) else 0
    except ModuleNotFoundError as error:
        print(
            f'build.py: {error.name} is not installed; pip install -e ".[tutorials]"',
            file=sys.stderr,
        )
    except (ValueError, RuntimeError) as error:
        print(f"build.py: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
