"""Draw sentences of the project's prose for an editor to judge:  python tests/sentences.py [--seed 17] [--number 300]

The prose is docstrings, comments, and messages of five or more words in the package, the tests and the benchmarks, and
the pages in Markdown. The tutorials are left out.
"""

import argparse
import ast
import random
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent


def of_python(path: Path) -> list[str]:
    """Return the docstrings, comments and other strings of a file, each as one paragraph."""
    text = path.read_text(encoding="utf-8")
    found, comment = [], []
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    for token in tokens:  # consecutive comments are one paragraph
        if token.type == tokenize.COMMENT:
            comment.append(token.string.lstrip("#: ").strip())
        elif comment and token.type not in (tokenize.NL, tokenize.NEWLINE):
            found.append(" ".join(comment))
            comment = []
    pieces: set[int] = set()  # of f-strings, which are drawn whole
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            pieces |= {id(part) for part in ast.walk(node) if part is not node}
            parts = (v.value if isinstance(v, ast.Constant) else f"{{{ast.unparse(v.value)}}}" for v in node.values)
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in pieces:
            found += [
                part for block in node.value.split("\n\n") for part in re.split(r"\n *-{3,}\n|\n(?=\w+\n {4})", block)
            ]
    return found


def of_page(path: Path) -> list[str]:
    """Return the paragraphs, list items and cells of a page."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [part for block in text.split("\n\n") for part in re.split(r"\n- |\n\d\. |\s\|\s?", block)]


CODE = re.compile(r"\w = |\w\(\w*\)\.|def |import |return \w+\(|__|[{\[]\"|;\s*$|^[\W\d]*$|<\w+>|\\")


def sentences(paragraph: str) -> list[str]:
    """Return the sentences of five or more words, without code and tables."""
    words = " ".join(paragraph.split())
    found = re.split(r"(?<=[.!?])\s+(?=[A-Z`])", words)
    return [s for s in found if len(re.findall(r"\b[a-z]{2,}\b", s)) >= 5 and not CODE.search(s)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--number", type=int, default=300)
    args = parser.parse_args()
    python = [path for folder in ("se_numpy", "tests", "benchmarks", "docs") for path in (ROOT / folder).rglob("*.py")]
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]
    every = [(str(path.relative_to(ROOT)), s) for path in sorted(python) for p in of_python(path) for s in sentences(p)]
    every += [(str(path.relative_to(ROOT)), s) for path in sorted(pages) for p in of_page(path) for s in sentences(p)]
    every = list(dict.fromkeys(every))
    print(f"{args.number} of {len(every)} sentences, seed {args.seed}")
    for number, (where, sentence) in enumerate(random.Random(args.seed).sample(every, args.number), 1):
        print(f"{number}. {where}: {sentence}")


if __name__ == "__main__":
    main()
