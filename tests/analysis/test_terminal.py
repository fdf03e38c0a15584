"""Tests of the output of the analysis commands at a terminal: line widths, narrow tables and progress bars."""

import re

import numpy as np
import pytest
from pseudo_terminal import run_at_width
from specimens import made_up, save

from se_numpy.analysis import run_summaries
from se_numpy.analysis.run_summaries import Column, fitted_table

pytestmark = pytest.mark.xdist_group("terminal")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Write a checkpoint with a short relative path and return the folder to start commands in."""
    folder = tmp_path_factory.mktemp("t")
    save(folder / "net.npz")
    return folder


def widest(text):
    return max(map(len, text.splitlines()))


@pytest.mark.parametrize("columns", [80, 40])
def test_evaluate_fits_the_terminal_and_shows_progress(run, columns):
    text, errors = run_at_width(columns, "evaluate", "net.npz", "--device", "cpu", cwd=run)
    assert widest(text) <= columns
    assert "Accuracy by class" in text
    assert "Most frequent confusions" in text
    assert ("Confusion matrix (rows" in text) == (columns == 80)
    rows = re.findall(r"^glyph \d +.*$", text.partition("Most frequent")[0], re.M)
    assert len(rows) == 10
    assert len({len(row) for row in rows}) == 1  # aligned, and not wrapped
    assert "test: " in errors
    assert re.search(r"\d\d:\d\d<", errors)  # elapsed and remaining time
    assert all(len(line) <= columns for line in re.split(r"[\r\n]", errors))


@pytest.mark.slow
def test_excitations_fit_the_terminal_and_show_progress(run):
    columns = 40
    text, errors = run_at_width(columns, "excitations", "net.npz", "--images", "20", "--out", "x", cwd=run)
    assert widest(text) <= columns
    assert "How class-specific are the gates?" in " ".join(text.split())
    assert "gates: " in errors
    assert re.search(r"\d\d:\d\d<", errors)
    assert all(len(line) <= columns for line in re.split(r"[\r\n]", errors))


@pytest.mark.parametrize("columns", [80, 40])
def test_info_and_predict_fit_the_terminal(run, columns):
    text, _ = run_at_width(columns, "predict", "net.npz", "test:3", cwd=run)
    assert widest(text) <= columns
    text, _ = run_at_width(columns, "info", cwd=run)
    paths = re.compile(r"\S{20,}")  # a word such as a path is never broken
    assert all(len(line) <= columns or paths.search(line) for line in text.splitlines())


def test_output_to_a_file_is_not_shortened():
    found = made_up(np.arange(10) % 3, np.arange(10) // 4, ("a very long name of a class", "b", "c"))
    text = run_summaries.as_text("net", found)
    assert re.search(r"^class +images +correct +recall % +95 % interval +precision %$", text, re.M)
    assert "Confusion matrix" in text


def test_a_narrow_table_drops_the_columns_of_the_highest_rank():
    table = [Column("name", ["a", "bb"], left=True), Column("one", ["1", "22"], 1), Column("two", ["3", "4"], 2)]
    assert fitted_table(table, None) == ["name  one  two", "a       1    3", "bb     22    4"]
    assert fitted_table(table, 14) == fitted_table(table, None)
    assert fitted_table(table, 13) == ["name  one", "a       1", "bb     22"]
    assert fitted_table(table, 3) == ["name", "a", "bb"]
