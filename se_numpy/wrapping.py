"""Wrap text to the width of the terminal."""

import shutil
import sys
import textwrap


def terminal_width() -> int | None:
    """Return the number of columns that a line may take on a terminal; None if the output goes to a file or a pipe."""
    return shutil.get_terminal_size().columns - 1 if sys.stdout.isatty() else None


def wrap_text(text: str, indent: int = 0) -> str:
    """Wrap text to fit the terminal, with continuation lines indented by ``indent``.  Words and paths are never split.

    The text is returned unchanged if standard output is not a terminal.
    """
    if not sys.stdout.isatty():
        return text
    width = max(shutil.get_terminal_size().columns - 1, indent + 20)
    margin = " " * indent
    wrapper = textwrap.TextWrapper(width, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False)
    joined = text.replace(" %", "\u00a0%")  # keeps a number and its % on one line
    lines = [wrapper.fill(line) if len(line) > width else line for line in joined.split("\n")]
    return "\n".join(lines).replace("\u00a0%", " %")


def terminal_columns() -> int:
    """Return the number of columns to fill in the terminal, one fewer than it has."""
    return shutil.get_terminal_size().columns - 1


def plural(n: int, noun: str) -> str:
    """Return a number with its noun: 1 image, 2,000 images."""
    return f"{n:,} {noun}{'s' * (n != 1)}"
