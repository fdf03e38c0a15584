"""Tests of the tests: the checks that the correct version passes must catch each planted mistake."""

from types import SimpleNamespace

import pytest
from mistakes import MISTAKES, caught
from pairs import PAIRS

import se_numpy


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.name)
def test_a_planted_mistake_is_caught(mistake):
    assert hasattr(se_numpy, mistake.function)
    lib = SimpleNamespace(**(vars(se_numpy) | {mistake.function: mistake.wrong}))
    found = caught(PAIRS[mistake.caught_by], lib)
    assert found == ("check_gradient" if mistake.function.endswith("_backward") else "check_value")


@pytest.mark.parametrize("pair", PAIRS.values(), ids=lambda p: p.name)
def test_the_correct_version_passes(pair):
    assert not caught(pair, se_numpy)


def test_the_mistakes_are_many_and_have_unique_names():
    assert len(MISTAKES) >= 25
    assert len({m.name for m in MISTAKES}) == len(MISTAKES)
