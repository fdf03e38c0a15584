"""The project's English: turns of phrase that its style forbids, wherever there is prose."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("se_numpy", "tests", "benchmarks", "docs", "tutorials")
PYTHON = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path != Path(__file__))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tutorials").glob("*.md"),
                *(ROOT / "benchmarks").glob("*.md"), *(ROOT / "se_numpy").rglob("*.html")])  # fmt: skip

# What is forbidden, and what to write instead.
FORBIDDEN = {
    r"\b(any|no \w+) more\b(?! than)": "no longer",
    r"\b(whoever|whosoever|nobody|somebody|who ever)\b": "the subject: the user, a student, the caller; or the passive",
    r"\b(some|all|each|many|most|none|both|one|two|part|out)? ?of (which|whom)\b": "a second sentence",
    r"\bso (many|much) (as|of|is|are|was|were)\b": "the number itself",
    r"\bwhere (there (is|are) (none|no)|none|no \w+ (is|are))\b": "if it does not exist, or without",
    r"\bin words\b": "as text, or describe",
    r"\bby heart\b": "from memory, hard-coded",
    r"\bgo(es)? on (with|to|from|until|where)\b": "continue, resume",
    r"\bwhat (was|were|is|are) (asked for|wanted|meant|said|told|given it)\b": "the noun: the request, the settings",
    r"\bis no (number|image|name|folder|file|array|time|checkpoint|picture|task|function)\b": "is not a ...",
    r"\b(stands?|stood) (there|in its place|for itself)\b": "is",
    r"\bwhose it is\b": "its owner",
    r"\bput in (its|their) places?\b": "replaces",
}
OPENERS = ("What", "Where", "Whether", "Which", "How", "Who", "Whose", "When", "That")


def prose(path):
    """Return (line, text) of every comment and string of a Python file, or of every line of another file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return list(enumerate(text.splitlines(), 1))
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(t.start[0], " ".join(t.string.split())) for t in tokens if t.type in kinds]


def complaints(text):
    """Return what is forbidden in a text, each with its remedy."""
    found = [(re.search(rule, text, re.I), remedy) for rule, remedy in FORBIDDEN.items()]
    return [f"{hit.group()!r}: write {remedy}" for hit, remedy in found if hit]


@pytest.mark.parametrize("folder", [*FOLDERS, "pages"])
def test_forbidden_turns_of_phrase_do_not_occur(folder):
    paths = PAGES if folder == "pages" else [path for path in PYTHON if path.is_relative_to(ROOT / folder)]
    assert paths
    found = [
        f"{path.relative_to(ROOT)}:{line}: {complaint}"
        for path in paths
        for line, text in prose(path)
        for complaint in complaints(text)
    ]
    assert not found, "\n".join(found)


def test_docstrings_begin_with_a_verb_or_a_noun_and_not_with_a_question():
    found = []
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (doc := ast.get_docstring(node)):
                first = re.split(r"\W", doc, maxsplit=1)[0]
                if first in OPENERS:
                    found.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}: {doc.splitlines()[0]}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("bad", [
    "the loss is no number any more", "whoever reads this", "20 images, all of which are red", "so many are told",
    "None where there is none", "says in words what broke", "it goes on with the next step", "x is no array",
])  # fmt: skip
def test_forbidden_turns_are_found(bad):
    assert complaints(bad)


@pytest.mark.parametrize("good", ["the loss became NaN", "no more than 3 images", "resume the run", "four images"])
def test_plain_sentences_pass(good):
    assert not complaints(good)
