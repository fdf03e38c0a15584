"""Tests of the built-in data set: it is balanced, solvable and reproducible, and additive networks cannot learn it."""

import itertools

import numpy as np
import pytest

from se_numpy import models
from se_numpy.data import builtin as make
from se_numpy.data.glyphs import COLOURS, GLYPHS, PLACE, PLAIN_BOUND, ROWS, SHIFTS, STRIP
from se_numpy.layers import init


@pytest.fixture(scope="module")
def data():
    return make(seed=3, train=1200, test=600)


def read(images):
    """Read the strip's colour (N,) and the glyph in each row (N, 6) by correlation with each candidate."""
    signal = images.astype(np.float64) - 128
    strip = (signal[:, :, STRIP].mean((1, 2)) @ SHIFTS.T).argmax(1)
    templates = GLYPHS - GLYPHS.mean((1, 2), keepdims=True)
    rows = [
        np.einsum("nhwc,c,khw->nk", signal[:, r, PLACE], shift, templates).argmax(1)
        for r, shift in zip(ROWS, SHIFTS, strict=True)
    ]
    return strip, np.stack(rows, 1)


def test_shapes_and_types(data):
    assert data.name == "builtin"
    assert len(data.classes) == len(GLYPHS) == 10
    assert data.train_images.shape == (1200, 32, 32, 3)
    assert data.test_images.shape == (600, 32, 32, 3)
    assert data.train_images.dtype == data.test_images.dtype == np.uint8
    assert data.train_labels.dtype == data.test_labels.dtype == np.int64
    assert not data.augment


def test_the_seed_determines_the_data(data):
    again, other = make(seed=3, train=1200, test=600), make(seed=4, train=1200, test=600)
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(data, name), getattr(again, name))
        assert (getattr(data, name) != getattr(other, name)).any()


def test_training_and_test_images_are_independent():
    same_size = make(train=300, test=300)
    assert (same_size.train_labels != same_size.test_labels).any()
    pictures = np.concatenate([same_size.train_images, same_size.test_images]).reshape(600, -1)
    assert len(np.unique(pictures, axis=0)) == 600


@pytest.mark.parametrize("part", ["train", "test"])
def test_the_label_is_the_glyph_in_the_strips_colour(data, part):
    strip, deal = read(getattr(data, f"{part}_images"))
    np.testing.assert_array_equal(deal[np.arange(len(strip)), strip], getattr(data, f"{part}_labels"))


def test_neither_strip_nor_glyphs_favour_a_class(data):
    strip, deal = read(data.train_images)
    labels = data.train_labels
    pairs = np.bincount(labels * 6 + strip, minlength=60)
    assert (pairs == 1200 / 60).all()  # every label occurs with every strip colour, equally often
    assert all(len(set(d)) == 6 for d in deal.tolist())  # no glyph occurs twice, so none is more likely
    for colour in range(6):  # rows of the other colours show all wrong glyphs equally often: 9 glyphs, 1000 draws
        others = deal[strip != colour][:, colour]
        wrong = np.bincount((others - labels[strip != colour]) % 10, minlength=10)
        assert wrong[0] == 0
        assert (abs(wrong[1:] - 1000 / 9) < 6 * np.sqrt(1000 / 9)).all()


def test_glyphs_have_equal_weight_and_differ_clearly():
    assert (GLYPHS.sum((1, 2)) == 7).all()
    assert min((a != b).sum() for a, b in itertools.combinations(GLYPHS, 2)) >= 6
    assert len(set(map(tuple, SHIFTS.tolist()))) == len(COLOURS) == len(ROWS) == 6


def interaction(name):
    """Return how far an untrained network's scores are from f(strip) + g(glyphs), relative to their spread.

    Images are split into halves: with a and b from two groups of eight images, an additive score has
    score(a, a) + score(b, b) = score(a, b) + score(b, a). The columns between the halves are set to grey.
    """
    net = models.build(name)
    params, state = init(net, (32, 32, 3), np.random.default_rng(0), np.float64)
    images = make(seed=3, train=1, test=16).test_images / 128.0 - 1
    images[:, :, STRIP.stop : PLACE.start] = 0
    pair = np.split(images, 2)
    mixed = [np.concatenate([a[:, :, :16], b[:, :, 16:]], 2) for a in pair for b in pair]
    aa, ab, ba, bb = (net.forward(params, state, X)[0] for X in mixed)
    return abs(aa + bb - ab - ba).max() / aa.std()


def test_a_plain_resnet8_is_additive_and_an_se_network_is_not():
    assert interaction("resnet8") < 1e-10
    assert interaction("se_resnet8") > 1e-3


def right_answers(f):
    """Return, for each assignment of six glyphs to six colours, how many queries scores of the form f + g can answer.

    A set of colours can be answered together only if the assignment, among all assignments of the same glyphs to these
    colours, has the highest sum of f (see the proof in ``se_numpy.data.glyphs``). X is the size of the largest such
    set.
    """
    deals = np.array(list(itertools.permutations(range(6))))
    best = np.ones(len(deals), int)
    for size in range(2, 7):
        for colours in map(list, itertools.combinations(range(6), size)):
            total = f[colours, deals[:, colours]].sum(1)
            hand = (1 << deals[:, colours]).sum(1)
            highest = np.full(64, -np.inf)
            np.maximum.at(highest, hand, total)
            best[total == highest[hand]] = size
    return best


@pytest.mark.parametrize("seed", range(8))
def test_no_additive_score_beats_the_bound(seed):
    rng = np.random.default_rng(seed)
    f = rng.integers(1 << 40, size=(6, 6))  # integers, so that sums are exact and ties are unlikely
    X = right_answers(f)
    assert (X >= 4).mean() <= 15 / 24
    assert X.mean() / 6 <= PLAIN_BOUND < 0.61


def test_the_best_known_additive_score_answers_the_longest_increasing_subsequence():
    rising = right_answers(np.outer(np.arange(6), np.arange(6)))

    def longest_increasing(deal):
        ends = []
        for glyph in deal:
            at = np.searchsorted(ends, glyph)
            ends[at : at + 1] = [glyph]
        return len(ends)

    np.testing.assert_array_equal(rising, [longest_increasing(d) for d in itertools.permutations(range(6))])
    assert round(rising.mean() / 6, 3) == 0.523


@pytest.mark.parametrize(("given", "message"), [
    ({"train": 0}, "train is 0; expected a whole number, at least 1"),
    ({"test": -5}, "test is -5; expected a whole number, at least 1"),
    ({"seed": -1}, "seed is -1; expected a whole number, at least 0"),
])  # fmt: skip
def test_invalid_sizes_and_seeds_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        make(**given)
