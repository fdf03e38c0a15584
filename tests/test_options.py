"""Values of options as people type them."""

from argparse import ArgumentTypeError

import pytest

from se_numpy.options import numbers, seconds, wrapped


@pytest.mark.parametrize(("text", "expected"), [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2h", 7200)])
def test_times_are_read_as_people_say_them(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-5", "10 minutes", "0m", "5m2h", "1h30", "9" * 30])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ArgumentTypeError, match="is no time; expected for instance 90s, 10m or 1h30m"):
        seconds(text)


def test_numbers_stand_between_commas():
    assert numbers("0,1,20") == (0, 1, 20)
    with pytest.raises(ArgumentTypeError, match="'1;2'; expected whole numbers between commas"):
        numbers("1;2")


def test_prose_is_wrapped_in_a_terminal_and_no_word_is_cut(monkeypatch):
    text = f"data     one two\n         three {'/path' * 30} four"
    monkeypatch.setenv("COLUMNS", "40")
    assert wrapped(text, 9) == text  # to a file
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert wrapped(text, 9) == f"data     one two\n         three\n         {'/path' * 30}\n         four"
    assert wrapped("- " + "word " * 20, 2) == "- " + "\n  ".join(["word " * 6 + "word"] * 2 + ["word " * 5 + "word"])
    assert wrapped("one two three four five six seven ei 10 % end") == "one two three four five six seven ei\n10 % end"
    monkeypatch.setenv("COLUMNS", "1")
    assert wrapped(text, 9).split() == text.split()
