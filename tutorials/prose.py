"""Checks of a tutorial's text: structure, links, formulas, numbers and sizes.

Every check returns a list of problems, one sentence each.
"""

import ast
import base64
import json
import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"

FIRST_CELL = """\
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')"""

COLAB_CELL = """\
# Installs the library if it is missing, as in Colab.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("se_numpy") is None:
    if "google.colab" not in sys.modules:
        sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')
    library = "se-numpy[plot,grade] @ git+{address}"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", library], check=True)"""

FRAME = (
    "**You will**",
    "**You learn**",
    "**You need**",
    "**Predict.**",
    "## A common mistake",
    "## On your own",
)
REFUSED = re.compile(
    r"\\(operatorname|mbox|phantom|hphantom|vphantom)\b"
)  # GitHub shows an error in place of these macros
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[\w+\]: (\S+)", re.MULTILINE)
FORMULA = re.compile(  # formulas, code and link targets
    r"\$\$.*?\$\$|\$[^$\n]+\$|```.*?```|`[^`\n]*`|\]\([^)]*\)|^\[\w+\]: .*?$",
    re.DOTALL | re.MULTILINE,
)
MEASURED = re.compile(
    r"(?<![\w.])[0-9]+\.[0-9]+(?![\w.])"
)  # a number with a decimal point is taken for a result
NOTEBOOK, PICTURE = 1_000_000, 100_000  # bytes
ALT = 30  # characters: the shortest description of a figure


def repository() -> str | None:
    """Return the repository's address, or None while pyproject.toml has none in [project.urls]."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository")


def first_cell(address: str | None) -> str:
    """Return the first code cell, which installs the library only if it has an address."""
    return FIRST_CELL if address is None else COLAB_CELL.format(address=address)


def badge(name: str, address: str | None) -> str:
    """Return a Colab badge for the notebook ``name``, or nothing without an address."""
    if address is None:
        return ""
    path = address.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{path}/blob/main/tutorials/{name}.ipynb"
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({image})]({colab}) · "


def cells(script: str) -> list[tuple[str, str]]:
    """Return ("code" or "markdown", text) for every cell of a script in percent format."""
    found = []
    for part in re.split(r"^# %%", script.replace("\r\n", "\n"), flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        if "[markdown]" in head:
            found.append(("markdown", re.sub(r"^# ?", "", body, flags=re.MULTILINE).strip()))
        else:
            found.append(("code", body.strip()))
    return found


def of_script(script: str) -> list[str]:
    """Return the problems of a script."""
    parts = cells(script)
    text = "\n\n".join(body for kind, body in parts if kind == "markdown")
    code = [body for kind, body in parts if kind == "code"]
    found = [f"{piece!r} is missing" for piece in FRAME if piece not in text]
    if not re.match(r"# [0-9]+\. [A-Z]", text):
        found.append("has no title of the form '# 1. Look at images as arrays'")
    if not re.search(r"\*\*You need\*\*(?:(?!\n\n).)*?[0-9]+ minutes", text, re.DOTALL):
        found.append("does not give its duration in minutes")
    if not code or code[0] != first_cell(repository()):
        found.append("the first code cell is not prose.first_cell(); run: build.py --address")
    if ("Open in Colab" in text) != (repository() is not None):
        found.append("the Colab badge does not match pyproject.toml; run: build.py --address")
    found += [
        f"has a magic or a shell line: {line}"
        for line in re.findall(r"^[!%].*$", "\n".join(code), re.MULTILINE)
    ]
    found += _answers_given_away(parts)
    if (
        not exercises(script) and int(re.search(r"[0-9]+|$", text)[0] or 0) < 11
    ):  # tutorials from 11 on need no exercise
        found.append("has no exercise")
    return [*found, *_exercises("\n".join(code))]


def _answers_given_away(parts: list[tuple[str, str]]) -> Iterator[str]:
    """Check that the code cell after a question holds no claim, which would give it away."""
    for (kind, text), (_, code) in pairwise(parts):
        asks = kind == "markdown" and "**Predict" in text
        if asks and re.search(r"^\s*claim\(", code, re.MULTILINE):
            question = text[text.index("**Predict") :].replace("\n", " ")[:60]
            yield f"the cell after {question!r} holds a claim; put the claim into the next cell"


def _exercises(code: str) -> Iterator[str]:
    """Check that every exercise has its check, and its hint and solution as comments."""
    names = [
        n.name
        for n in ast.walk(ast.parse(code))
        if isinstance(n, ast.FunctionDef) and _decorated(n)
    ]
    for name in names:
        for line in (
            f'\ncheck("{name}", {name})',
            f'\n# hint("{name}")',
            f'\n# solution("{name}")',
        ):
            if line not in code:
                yield f"the exercise {name} lacks {line.strip()}"


def _decorated(function: ast.FunctionDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "exercise" for d in function.decorator_list)


def exercises(script: str) -> list[str]:
    """Return the names of a script's exercises in order."""
    code = "\n".join(body for kind, body in cells(script) if kind == "code")
    return [
        n.name for n in ast.parse(code).body if isinstance(n, ast.FunctionDef) and _decorated(n)
    ]


def claims(script: str) -> int:
    """Return the number of values in all claims; a starred argument counts once."""
    calls = [node for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Call)]
    return sum(
        len(call.args) - 1
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "claim"
    )


def of_notebook(path: Path) -> list[str]:
    """Return the problems of a built notebook."""
    size = path.stat().st_size
    found = [f"has {size:,} bytes; expected less than {NOTEBOOK:,}"] if size > NOTEBOOK else []
    notebook = json.loads(path.read_text(encoding="utf-8"))
    texts = [
        "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"
    ]
    found += of_text("\n\n".join(texts), path.parent)
    shown = []
    for cell in notebook["cells"]:
        outputs = cell.get("outputs", [])
        found += _outputs(cell, outputs)
        texts += filter(None, map(alt_text, outputs))
        shown += [
            "".join(o.get("text", "")) + "".join(o.get("data", {}).get("text/plain", ""))
            for o in outputs
        ]
    printed = set(MEASURED.findall("\n".join(shown)))
    for line in FORMULA.sub(" ", "\n\n".join(texts)).splitlines():
        for number in MEASURED.findall(line):
            if number not in printed and "paper" not in line.lower():
                found.append(
                    f"the text says {number}, which no cell prints; claim it or cite the paper"
                )
    return found


def _outputs(cell: dict[str, Any], outputs: list[dict[str, Any]]) -> Iterator[str]:
    pictures = [o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {})]
    for output in outputs:
        if output["output_type"] == "error":
            yield f"cell {cell['id']} raises {output['ename']}"
    for picture in pictures:
        size = len(base64.b64decode(picture))
        if not 1000 < size < PICTURE:
            yield f"a figure of cell {cell['id']} has {size:,} bytes; expected 1,000 to {PICTURE:,}"
    if re.search(r"^figures\.show\(", "".join(cell["source"]), re.MULTILINE) and not pictures:
        yield f"cell {cell['id']} shows a figure but has no picture"
    if any("image/png" in o.get("data", {}) and len(alt_text(o)) < ALT for o in outputs):
        yield f"a figure of cell {cell['id']} needs an alt text of {ALT} characters or more"


def alt_text(output: dict[str, Any]) -> str:
    """Return the description of an output's figure, or ""."""
    return str(output.get("metadata", {}).get("image/png", {}).get("alt", ""))


def of_text(text: str, folder: Path) -> list[str]:
    """Return formulas that GitHub does not render, and broken relative links."""
    found = [f"{match[0]} is not rendered by GitHub" for match in REFUSED.finditer(text)]
    for target in (match[1] or match[2] for match in LINK.finditer(text)):
        if re.match(r"https?://|#|mailto:", target):
            _, here, path = target.partition(f"{repository()}/blob/main/")
            if here and not (folder.parent / path).exists():
                found.append(f"the link {target} is broken: the file does not exist")
        elif not (folder / target.partition("#")[0]).exists():
            found.append(f"the link {target} is broken")
    return found
