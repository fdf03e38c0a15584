"""Parsing of command-line values."""

from argparse import ArgumentTypeError

import pytest

from se_numpy.arg_types import int_list, seconds


@pytest.mark.parametrize(("text", "expected"), [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2h", 7200)])
def test_durations_are_parsed(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-5", "10 minutes", "0m", "5m2h", "1h30", "9" * 30])
def test_invalid_durations_are_refused(text):
    with pytest.raises(ArgumentTypeError, match="is not a duration; expected, for example, 90s, 10m or 1h30m"):
        seconds(text)


def test_lists_are_separated_by_commas():
    assert int_list("0,1,20") == (0, 1, 20)
    with pytest.raises(ArgumentTypeError, match="'1;2'; expected whole numbers separated by commas"):
        int_list("1;2")
