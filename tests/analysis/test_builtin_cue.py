"""Tests of the built-in set's cue: reading it from the pixels, and classifying answers after a transplant."""

import numpy as np
import pytest

from se_numpy.analysis import builtin_cue
from se_numpy.analysis.gates import grouped
from se_numpy.data import builtin
from se_numpy.data.glyphs import COLOURS


@pytest.fixture(scope="module")
def data():
    return builtin(train=1, test=600)


def test_images_are_grouped_by_the_colour_of_their_strip(data):
    _, test_stream = np.random.default_rng(0).spawn(2)
    strip = test_stream.permutation(600) // 10 % 6
    groups = builtin_cue.group_by_cue(data.test_images)
    assert groups.names == COLOURS
    assert (groups.of == strip).all()


def test_six_glyphs_are_found_and_the_one_in_the_strips_colour_is_the_label(data):
    sight = builtin_cue.glyphs_in_sight(data.test_images)
    assert all(len(set(row)) == 6 for row in sight.tolist())
    assert (sight[np.arange(600), builtin_cue.group_by_cue(data.test_images).of] == data.test_labels).all()


def test_answers_are_attributed_to_the_image_or_its_donor():
    strips = grouped("cue", COLOURS, np.array([0, 1, 3, 3, 5]))  # two colours are missing
    sight = np.tile(np.arange(6), (5, 1))
    donor = np.array([1, 2, 0, 2, 0])  # the fourth image does not count: its donor has the same colour
    assert builtin_cue.transplanted(np.array([1, 3, 0, 9, 0]), strips, sight, donor) == (0, 1, 0, 0, 4)
    assert builtin_cue.transplanted(np.array([0, 1, 3, 9, 5]), strips, sight, donor) == (1, 0, 0, 0, 4)
    assert builtin_cue.transplanted(np.array([4, 9, 0, 9, 5]), strips, sight, donor) == (0.25, 0.25, 0.25, 0.25, 4)
    alone = builtin_cue.transplanted(np.array([0, 1, 3, 9, 5]), strips, sight, np.arange(5))
    assert alone == (0, 0, 0, 0, 0)
