"""Display values: a notebook or prompt shows the last value automatically; a script has to print it."""

import sys
from dataclasses import dataclass
from typing import TypeVar

Value = TypeVar("Value")


def display(value: Value) -> Value:
    """Return the value; in a script, print it first."""
    if not _interactive():
        say(repr(value))
    return value


def say(text: str) -> None:
    """Print text, with ? in place of characters that the terminal cannot encode."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def _interactive() -> bool:
    """Return True in a notebook or at a prompt, which show values without print."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        return True
    return hasattr(sys, "ps1")


@dataclass(frozen=True, repr=False)
class Text:
    """Text in two forms: plain for a terminal, Markdown for a notebook."""

    plain: str
    markdown: str

    def __repr__(self) -> str:
        return self.plain

    def _repr_markdown_(self) -> str:
        return self.markdown


@dataclass(frozen=True, repr=False)
class NotYet(Text):
    """The card for an exercise that has not been attempted."""

    passed: bool = False
