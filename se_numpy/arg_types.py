"""Argument types for argparse: lists of whole numbers, durations, and paths that may begin with ~."""

import argparse
import os
import re
from pathlib import Path


def int_list(text: str) -> tuple[int, ...]:
    """Parse whole numbers separated by commas, such as 0,1,2.

    Raises
    ------
    argparse.ArgumentTypeError
        If the text is anything else.
    """
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; expected whole numbers separated by commas, such as 1,2") from None


def seconds(text: str) -> float:
    """Return the seconds of a duration such as 90, 90s, 10m or 1h30m.

    Raises
    ------
    argparse.ArgumentTypeError
        If the text is anything else.
    """
    found = re.fullmatch(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?|(\d{1,9})", text.strip())
    total = sum(int(n or 0) * unit for n, unit in zip(found.groups(), (3600, 60, 1, 1), strict=True)) if found else 0
    if not total:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; expected, for example, 90s, 10m or 1h30m")
    return total


def user_path(text: str | Path) -> Path:
    """Return a path with the home folder in place of ~, which a shell does not replace inside --option=~ or a file."""
    return Path(os.path.expanduser(text))  # unlike Path.expanduser, this keeps ~NAME if the user does not exist
