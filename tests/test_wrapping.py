"""Text wrapping."""

from se_numpy.wrapping import wrap_text


def test_text_is_wrapped_in_a_terminal_without_splitting_words(monkeypatch):
    text = f"data     one two\n         three {'/path' * 30} four"
    monkeypatch.setenv("COLUMNS", "40")
    assert wrap_text(text, 9) == text  # not a terminal
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    expected = f"data     one two\n         three\n         {'/path' * 30}\n         four"
    assert wrap_text(text, 9) == expected
    assert wrap_text("- " + "word " * 20, 2) == "- " + "\n  ".join(["word " * 6 + "word"] * 2 + ["word " * 5 + "word"])
    wrapped = wrap_text("one two three four five six seven ei 10 % end")
    assert wrapped == "one two three four five six seven ei\n10 % end"
    monkeypatch.setenv("COLUMNS", "1")
    assert wrap_text(text, 9).split() == text.split()
