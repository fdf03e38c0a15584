"""The built-in set's cue, read back from the pixels, and what answers after a transplant mean."""

import numpy as np
import pytest

from se_numpy.analysis import builtin_cue
from se_numpy.analysis.gates import grouped
from se_numpy.data import builtin
from se_numpy.data.glyphs import COLOURS


@pytest.fixture(scope="module")
def data():
    return builtin(train=1, test=600)


def test_the_strip_is_read_as_it_was_drawn(data):
    _, test_stream = np.random.default_rng(0).spawn(2)
    strip = test_stream.permutation(600) // 10 % 6
    groups = builtin_cue.group_by_cue(data.test_images)
    assert groups.names == COLOURS
    assert (groups.of == strip).all()


def test_six_different_glyphs_are_in_sight_and_the_strips_is_the_label(data):
    sight = builtin_cue.glyphs_in_sight(data.test_images)
    assert all(len(set(row)) == 6 for row in sight.tolist())
    assert (sight[np.arange(600), builtin_cue.group_by_cue(data.test_images).of] == data.test_labels).all()


def test_whose_question_was_answered():
    strips = grouped("cue", COLOURS, np.array([0, 1, 3, 3, 5]))  # two colours are missing
    sight = np.tile(np.arange(6), (5, 1))
    donor = np.array([1, 2, 0, 2, 0])  # the fourth takes from an image with its own colour, and does not count
    assert builtin_cue.transplanted(np.array([1, 3, 0, 9, 0]), strips, sight, donor) == (0, 1, 0, 0, 4)
    assert builtin_cue.transplanted(np.array([0, 1, 3, 9, 5]), strips, sight, donor) == (1, 0, 0, 0, 4)
    assert builtin_cue.transplanted(np.array([4, 9, 0, 9, 5]), strips, sight, donor) == (0.25, 0.25, 0.25, 0.25, 4)
    alone = builtin_cue.transplanted(np.array([0, 1, 3, 9, 5]), strips, sight, np.arange(5))
    assert alone == (0, 0, 0, 0, 0)
