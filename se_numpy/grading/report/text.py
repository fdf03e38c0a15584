"""Text and numbers for all report formats.

Everything that comes from a submission, including its name, passes through ``clean`` before it reaches a report:
terminals obey control characters, XML forbids most of them, and output may be megabytes long.
"""

import math
import re
from typing import Any

from se_numpy.grading.models import NOT_RUN, Report

# Whole escape sequences for colours, titles and cursor movements, so that no "[31m" is left behind.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)")
# Control characters, characters that reverse the text direction, and characters that XML forbids.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufdd0-\ufdef\ufeff\ufffe\uffff]"
)
_LONE = re.compile("[\ud800-\udfff]")  # lone surrogates, which no encoding can write

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
    "ungraded": "not graded",
}

LEVELS = {
    "L0": "in the grader's own process: for checking your own code, no protection",
    "L1": "in a separate process with limits: stops accidents, not attacks",
    "L2": "in a separate process that can open few files and gain no privileges",
    "L3": "in a separate process without access to other files, processes or the network",
}


def clean(text: Any, limit: int = LONG) -> str:
    """Return text of at most ``limit`` characters, without control characters other than newlines and tabs."""
    if not isinstance(text, str):
        try:
            text = str(text)
        except Exception:  # a submission's own __str__ may raise anything
            text = f"<{type(text).__name__}>"
    size = len(text)
    text = text[: 2 * limit + 1000]  # so that regular expressions never run on megabytes
    text = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    text = _LONE.sub("\ufffd", _FORBIDDEN.sub("", text))
    if len(text) <= limit and size <= 2 * limit + 1000:
        return text
    tail = f" … ({size:,} characters in total)"
    return text[: max(0, limit - len(tail))] + tail[:limit]


def line(text: Any, limit: int = SHORT) -> str:
    """Return clean text on one line."""
    return " ".join(clean(text, limit).split())


def points(value: float) -> str:
    """Return points without trailing zeros: 2, 1.5, 0.67."""
    return number(round(value, 2)) if math.isfinite(value) else number(value)


def number(value: Any, digits: int = 4) -> str:
    """Return a number as text: 1.5, -0.25, 3e-07, NaN, inf; for any other value, its clean text."""
    if isinstance(value, complex):
        return f"{value:.{digits}g}".replace("nan", "NaN")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return line(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**9 else f"{float(value):.{digits}g}" if abs(value) < 10**300 else "huge"
    if math.isnan(value):
        return "NaN"
    return f"{value + 0.0:.{digits}g}"  # + 0.0 turns -0.0 into 0


def beyond(error: float) -> str:
    """Return how far an error exceeds the tolerance, or an empty string if it does not or is not finite."""
    if not 1 < error < math.inf:
        return ""
    return f"error {number(error, 3)} times the tolerance" if error < 1e6 else "far beyond the tolerance"


def finite(value: Any) -> float:
    """Return a finite number: 0 for NaN, infinities and values that are not numbers."""
    try:
        value = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return value if math.isfinite(value) else 0.0


def share(part: float, whole: float) -> float:
    """Return part/whole, clipped to [0, 1]; 0 if the whole is 0."""
    part, whole = finite(part), finite(whole)
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0


def verdict(status: str) -> str:
    """Return the short text for a status."""
    return VERDICTS.get(status, line(status, 40))


def isolation(report: Report) -> str:
    """Return how the submission was isolated, as a sentence."""
    ran = report.backend != NOT_RUN
    return f"Isolation: {level(report.level, report.backend)}." if ran else "Nothing was run."


def missing(report: Report) -> list[str]:
    """Return what stronger isolation would require; nothing if nothing was run."""
    return [clean(sentence) for sentence in report.missing] if report.backend != NOT_RUN else []


def level(name: str, backend: str) -> str:
    """Return the isolation level and its meaning on one line."""
    meaning = LEVELS.get(name)
    return f"{line(name, 20)} ({line(backend, 60)})" + (f", {meaning}" if meaning else "")
