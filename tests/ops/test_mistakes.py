"""The tests tested: each planted mistake must be caught by the checks that hold for the right version."""

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
def test_the_right_version_is_not(pair):
    assert not caught(pair, se_numpy)


def test_there_are_many_and_no_two_share_a_name():
    assert len(MISTAKES) >= 25
    assert len({m.name for m in MISTAKES}) == len(MISTAKES)
