"""Wrap text to the width of the terminal."""

import shutil
import sys
import textwrap


def wrap_text(text: str, indent: int = 0) -> str:
    """Prose as wide as the terminal, its later lines ``indent`` to the right.  No word, such as a path, is cut.

    What goes to a file or to another program stays as it is.
    """
    if not sys.stdout.isatty():
        return text
    wide = max(shutil.get_terminal_size().columns - 1, indent + 20)
    cut = textwrap.TextWrapper(wide, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
    joined = text.replace(" %", "\u00a0%")  # a number keeps its % on its line
    lines = [cut.fill(line) if len(line) > wide else line for line in joined.split("\n")]
    return "\n".join(lines).replace("\u00a0%", " %")


def terminal_columns() -> int:
    """Return the number of columns to fill in the terminal, one fewer than it has."""
    return shutil.get_terminal_size().columns - 1
