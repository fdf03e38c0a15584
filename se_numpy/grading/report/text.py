"""Words and numbers as every report writes them.

Whatever comes out of a submission, its name included, passes through ``clean`` before it reaches any report: a terminal
obeys control characters, XML forbids most of them, and a megabyte of output helps nobody.
"""

import math
import re
from typing import Any

# Colours, titles and cursor movements that a terminal would obey, whole, so that no "[31m" is left behind.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)")
# Control characters, characters that turn the direction of the text around them, and what XML does not know.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufdd0-\ufdef\ufeff\ufffe\uffff]"
)
_LONE = re.compile("[\ud800-\udfff]")  # halves of characters, which no encoding can write

LONG, SHORT = 4000, 200

VERDICTS = {
    "passed": "passed",
    "failed": "failed",
    "error": "raised an exception",
    "timeout": "out of time",
    "memory": "out of memory",
    "crashed": "crashed",
    "refused": "returned no numbers",
    "missing": "not attempted",
    "unreadable": "cannot be run",
}

LEVELS = {
    "L0": "in the grader's own process: a check of oneself, no protection",
    "L1": "in a process of its own, with limits: stops accidents, not attacks",
    "L2": "in a process of its own that may open few files and gain no rights",
    "L3": "in a process of its own that sees no other files, processes or network",
}


def clean(text: Any, limit: int = LONG) -> str:
    """A text that any report can hold: no control characters but line ends and tabs, at most ``limit`` characters."""
    if not isinstance(text, str):
        try:
            text = str(text)
        except Exception:  # whoever wrote the thing's own __str__
            text = f"<{type(text).__name__}>"
    size = len(text)
    text = text[: 2 * limit + 1000]  # no regular expression sees a megabyte
    text = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    text = _LONE.sub("\ufffd", _FORBIDDEN.sub("", text))
    if len(text) <= limit and size <= 2 * limit + 1000:
        return text
    tail = f" … ({size:,} characters in all)"
    return text[: max(0, limit - len(tail))] + tail[:limit]


def line(text: Any, limit: int = SHORT) -> str:
    """``clean`` on one line."""
    return " ".join(clean(text, limit).split())


def points(value: float) -> str:
    """Points without needless decimals: 2, 1.5, 0.67."""
    return number(round(value, 2)) if math.isfinite(value) else number(value)


def number(value: Any, digits: int = 4) -> str:
    """A number for people: 1.5, -0.25, 3e-07, NaN, inf; anything else as the text it gives."""
    if isinstance(value, complex):
        return f"{value:.{digits}g}".replace("nan", "NaN")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return line(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**9 else f"{float(value):.{digits}g}" if abs(value) < 10**300 else "huge"
    if math.isnan(value):
        return "NaN"
    return f"{value + 0.0:.{digits}g}"  # + 0.0: a zero has no sign here


def beyond(error: float) -> str:
    """How far an error is out, in words; nothing where there is no number to tell, or it is within."""
    if not 1 < error < math.inf:
        return ""
    return f"error {number(error, 3)} times the tolerance" if error < 1e6 else "far beyond the tolerance"


def finite(value: Any) -> float:
    """A number that every format can hold: NaN and infinities become 0."""
    try:
        value = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return value if math.isfinite(value) else 0.0


def share(part: float, whole: float) -> float:
    """part/whole between 0 and 1; 0 where there is nothing to have."""
    part, whole = finite(part), finite(whole)
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0


def verdict(status: str) -> str:
    """A status in one or two words."""
    return VERDICTS.get(status, line(status, 40))


def level(name: str, backend: str) -> str:
    """The isolation in one line."""
    meaning = LEVELS.get(name)
    return f"{line(name, 20)} ({line(backend, 60)})" + (f", {meaning}" if meaning else "")
