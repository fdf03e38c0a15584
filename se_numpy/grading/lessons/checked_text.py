"""Sentences whose numbers are checked against computed values."""

import re
from typing import Any

from se_numpy.grading.lessons.display import say

# A free-standing number: not the 2 in conv2d, the 1 in W1, the 3 in 3x3 or an equation number.
NUMBER = re.compile(
    r"(?<![\w.,])(?:(?<![\w)])[-−])?[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?(?![0-9A-Za-z]|\.[0-9])"
)
EQUATION = re.compile(r"Eqs?\. \([0-9]\)")
BELOW = ("below", "under", "less than", "at most", "<", "≤", "fewer than")
ABOVE = ("above", "over", "more than", "at least", ">", "≥")


def claim(sentence: str, *values: Any) -> None:
    """Print a sentence if each of its numbers equals its value, rounded to the digits written.

    For example, ``claim("3 of 8 entries are wrong, 37.5 %", wrong, 8, wrong / 8)``. A number before % is a
    percentage, and a number after "below", "at most", "above" or "at least" is a bound. Spell out numbers that are
    not computed ("three checks").

    Raises
    ------
    AssertionError
        If a number differs from its value; the message names the number.
    ValueError
        If there is not exactly one value for each number in the sentence.
    """
    masked = EQUATION.sub(lambda found: "#" * len(found[0]), sentence)
    found = list(NUMBER.finditer(masked))
    if len(found) != len(values):
        numbers = ", ".join(match[0] for match in found) or "none"
        raise ValueError(f"{sentence!r} has {len(found)} numbers ({numbers}); expected {len(values)}, one per value")
    for match, value in zip(found, values, strict=True):
        share = sentence[match.end() :].lstrip().startswith("%")
        _check_number(sentence, sentence[: match.start()], match[0], value * 100 if share else value)
    say(sentence)


def _check_number(sentence: str, before: str, written: str, value: Any) -> None:
    """Raise AssertionError unless the value rounds to the written number, or respects it as a bound."""
    plain = written.replace(",", "").replace("−", "-")
    number, value = float(plain), float(value)
    words = before.rstrip().lower()
    if words.endswith(BELOW):
        right, expected = value <= number, f"at most {written}"
    elif words.endswith(ABOVE):
        right, expected = value >= number, f"at least {written}"
    else:
        mantissa, _, exponent = plain.partition("e")
        digits = len(mantissa.partition(".")[2]) - int(exponent or 0)
        right, expected = abs(value - number) <= 0.5000001 * 10.0**-digits, f"{written}, rounded as written"
        if value.is_integer() and "." not in mantissa and not exponent and abs(value) < 1e15:
            right = value == number
    if not right:  # NaN is never right
        raise AssertionError(f"{sentence!r} says {written}, but the value is {value:.6g}; expected {expected}")
