"""Augmentation by choice: what is drawn, and what it does to a batch, on every array module."""

import numpy as np
import pytest

from se_numpy.data import augmentation, batches
from se_numpy.data.augmentation import canonical, cut_out, describe, draw, resized_windows
from se_numpy.data.batches import Images, Normalisation, StoredImages, images_of
from se_numpy.train import Config

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 9, 7, 3), np.uint8)
LABELS = np.arange(20)
CHOICES = [False, True, "flip", "crop", "cutout", "crop,flip,cutout", "flip,resized-crop", "cutout,resized-crop"]


def plain_window(image, window, flip):
    """Resize a window pixel by pixel."""
    H, W, _ = image.shape
    out = np.empty(image.shape)
    top, left, height, width = map(float, window)
    for i in range(H):
        for j in range(W):
            column = W - 1 - j if flip else j
            y = min(max((top + (i + 0.5) / H * height) * H - 0.5, 0), H - 1)
            x = min(max((left + (column + 0.5) / W * width) * W - 0.5, 0), W - 1)
            out[i, j] = sum(
                max(0, 1 - abs(y - a)) * max(0, 1 - abs(x - b)) * image[a, b]
                for a in range(H) for b in range(W) if abs(y - a) < 1 and abs(x - b) < 1
            )  # fmt: skip
    return out


@pytest.mark.parametrize("shape", [(9, 7, 3), (1, 5, 1), (4, 1, 2)])
def test_resized_windows_equal_plain_loops(xp, shape):
    images = np.random.default_rng(1).integers(0, 256, (6, *shape), np.uint8)
    d = draw(np.random.default_rng(2), 6, augment="flip,resized-crop")
    found = resized_windows(*(xp.asarray(a) for a in (images, d.window, d.flip)))
    expected = [plain_window(*one) for one in zip(images, d.window, d.flip, strict=True)]
    np.testing.assert_allclose(found.get() if hasattr(found, "get") else found, expected, atol=2e-3)


def test_windows_have_the_area_and_the_aspect_ratio_that_are_stated():
    window = draw(np.random.default_rng(0), 4000, augment="resized-crop").window.astype(np.float64)
    area, aspect = window[:, 2] * window[:, 3], window[:, 3] / window[:, 2]
    assert 0.08 - 1e-6 <= area.min() < 0.1
    assert 0.9 < area.max() <= 1
    assert 3 / 4 - 1e-6 <= aspect.min() < 0.8
    assert 1.25 < aspect.max() <= 4 / 3 + 1e-6
    assert window.min() >= 0
    assert (window[:, :2] + window[:, 2:]).max() <= 1 + 1e-6


def test_cutout_sets_one_square_to_the_mean(xp):
    X = xp.asarray(np.ones((3, 8, 6, 2), np.float32))
    cut_out(X, xp.asarray(np.array([[0.5, 0.5], [0, 0], [0.99, 0.99]], np.float32)))
    X = X.get() if hasattr(X, "get") else X
    expected = np.ones((3, 8, 6, 2), np.float32)
    expected[0, 3:6, 2:5] = expected[1, :2, :2] = expected[2, 6:, 4:] = 0  # 3 of 6 pixels, cut at the border
    np.testing.assert_array_equal(X, expected)


def test_earlier_choices_draw_the_same_numbers_as_before():
    """The first numbers of an epoch do not change if cutout is added, and those of crop and flip never."""
    rng = np.random.default_rng(3)
    expected = rng.permutation(20), rng.integers(0, 9, 20), rng.integers(0, 9, 20), rng.random(20) < 0.5
    for augment in (True, "crop,flip,cutout"):
        found = draw(np.random.default_rng(3), 20, augment=augment)
        for a, b in zip(expected, (found.order, found.top, found.left, found.flip), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("augment", CHOICES)
def test_gpu_and_stored_batches_equal_those_in_memory(double, augment):
    normalise, rows = Normalisation.of(PIXELS), np.arange(19, 2, -2)
    draws = draw(np.random.default_rng(1), len(rows), augment=augment)
    sets = [
        Images(PIXELS[rows], LABELS[rows], normalise),
        StoredImages(PIXELS, LABELS, rows, normalise),
        Images(PIXELS[rows], LABELS[rows], normalise, "gpu"),
        StoredImages(PIXELS, LABELS, rows, normalise, "gpu"),
    ]
    for one, device in zip(sets, ("cpu", "cpu", "gpu", "gpu"), strict=True):
        assert len(one) == len(rows)
        for (X, y), (X0, y0) in (
            (one.batch(draws.to(device), slice(2, 7)), sets[0].batch(draws, slice(2, 7))),
            (one.in_order(slice(1, 4)), sets[0].in_order(slice(1, 4))),
        ):
            X, y = (a.get() if hasattr(a, "get") else a for a in (X, y))
            assert X.dtype == np.float32
            np.testing.assert_array_equal(X, X0)
            np.testing.assert_array_equal(y, y0)


def test_large_sets_are_not_copied(monkeypatch):
    normalise = Normalisation.of(PIXELS)
    assert type(images_of(PIXELS, LABELS, normalise)) is Images
    monkeypatch.setattr(batches, "IN_MEMORY", PIXELS.nbytes - 1)
    assert type(images_of(PIXELS, LABELS, normalise, rows=LABELS[1:])) is Images
    stored = images_of(PIXELS, LABELS, normalise)
    assert type(stored) is StoredImages
    assert stored.images is PIXELS
    assert stored.padded.size == 0


def test_choices_have_one_recorded_form():
    for given, recorded in ((True, True), ("crop,flip", True), ("flip, crop", True), ("none", False), ("", False),
                            ("cutout,flip", "flip,cutout"), ("flip,flip", "flip")):  # fmt: skip
        assert canonical(given) == recorded
        assert Config("se_resnet8", 1, 0.1, given).augment == recorded
    for wrong in ("crops", "crop,resized-crop", "crop flip"):
        with pytest.raises(ValueError, match="augment is '"):
            Config("se_resnet8", 1, 0.1, wrong)


def test_choices_are_described():
    texts = [describe(augment) for augment in CHOICES]
    assert texts[:3] == ["no augmentation", "random crops and flips", "random flips"]
    assert texts[5] == "random crops, flips and cutout"
    assert set(augmentation.TEXTS) == set(augmentation.NAMES)
