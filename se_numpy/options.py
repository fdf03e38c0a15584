"""What people type and read at a command line: values of options, prose as wide as a terminal, what to install."""

import argparse
import re
import shutil
import sys
import textwrap
from pathlib import Path

PACKAGE = Path(__file__).parent


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers between commas: 0,1,2.  ArgumentTypeError for anything else."""
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; expected whole numbers between commas, such as 1,2") from None


def seconds(text: str) -> float:
    """Seconds, from 90, 90s, 10m or 1h30m.  ArgumentTypeError for anything else."""
    found = re.fullmatch(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?|(\d{1,9})", text.strip())
    total = sum(int(n or 0) * unit for n, unit in zip(found.groups(), (3600, 60, 1, 1), strict=True)) if found else 0
    if not total:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; expected for instance 90s, 10m or 1h30m")
    return total


def wrapped(text: str, indent: int = 0) -> str:
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


def pip_line(extra: str) -> str:
    """The command that brings an extra: as README has it in a copy of the repository, else for the installed one."""
    copy = (PACKAGE.parent / "pyproject.toml").is_file()
    line = f'pip install -e ".[{extra}]"' if copy else f'pip install "se-numpy[{extra}]"'
    return f"{line} or cuda13, whichever the driver is for" if extra == "cuda12" else line
