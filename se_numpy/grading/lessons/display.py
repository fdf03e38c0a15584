"""Who shows a value: a notebook and a prompt show what a cell or line ends with, a script shows nothing by itself."""

import sys
from dataclasses import dataclass
from typing import TypeVar

Value = TypeVar("Value")


def display(value: Value) -> Value:
    """The value, printed first if nobody else would show it."""
    if not _interactive():
        say(repr(value))
    return value


def say(text: str) -> None:
    """Print, with ? in place of what the terminal has no letter for."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def _interactive() -> bool:
    """Whether the value of an expression is shown without being printed."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        return True
    return hasattr(sys, "ps1")


@dataclass(frozen=True, repr=False)
class Text:
    """Words and code, as plain text for a terminal and as Markdown for a notebook."""

    plain: str
    markdown: str

    def __repr__(self) -> str:
        return self.plain

    def _repr_markdown_(self) -> str:
        return self.markdown


@dataclass(frozen=True, repr=False)
class NotYet(Text):
    """The card of an exercise that nobody has begun."""

    passed: bool = False
