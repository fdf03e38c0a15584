"""Tests of batches: crops, flips and normalisation, on the host and on a device."""

import cupy_double
import host_kernels
import numpy as np
import pytest

from se_numpy import to_host
from se_numpy.data.batches import PAD, Draws, Images, Normalisation, draw, slices


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (20, 9, 7, 3), np.uint8)


IDENTITY = Normalisation(np.zeros(3), np.full(3, 1 / 255))  # returns the bytes unchanged


def test_normalised_images_have_mean_0_and_deviation_1(images):
    x = Normalisation.of(images)(images)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.mean((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(x.std((0, 1, 2)), 1, rtol=1e-5)


def test_a_constant_channel_does_not_divide_by_zero():
    assert np.isfinite(Normalisation.of(np.full((2, 3, 3, 1), 7, np.uint8))(np.full((2, 3, 3, 1), 7, np.uint8))).all()


def test_batches_are_the_crops_and_flips_that_were_drawn(images):
    labels = np.arange(20)
    draws = draw(np.random.default_rng(1), 20, augment=True)
    X, y = Images(images, labels, IDENTITY).batch(draws, slice(3, 11))
    padded = np.pad(images, ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0)))
    for k, i in enumerate(range(3, 11)):
        n, top, left = draws.order[i], draws.top[i], draws.left[i]
        expected = padded[n, top : top + 9, left : left + 7]
        expected = expected[:, ::-1] if draws.flip[i] else expected
        np.testing.assert_allclose(X[k], expected, atol=1e-4)
        assert y[k] == n
    assert {True, False} == set(draws.flip[3:11])


def test_without_augmentation_images_are_unchanged(images):
    draws = draw(np.random.default_rng(1), 20, augment=False)
    X, _ = Images(images, np.arange(20), IDENTITY).batch(draws, slice(0, 20))
    np.testing.assert_allclose(X, images[draws.order], atol=1e-4)
    assert sorted(draws.order) == list(range(20))


def test_batches_of_large_images_are_smaller():
    assert list(slices(300, (64, 64, 3), 128)) == [slice(0, 128), slice(128, 256), slice(256, 300)]
    assert [part.stop - part.start for part in slices(25, (224, 224, 3), 128)] == [10, 10, 5]
    assert len(list(slices(3, (4000, 4000, 3), 128))) == 3
    assert list(slices(0, (8, 8, 3), 128)) == []


def test_in_order_returns_a_slice_of_the_images(images):
    X, y = Images(images, np.arange(20), IDENTITY).in_order(slice(5, 9))
    np.testing.assert_allclose(X, images[5:9], atol=1e-4)
    np.testing.assert_array_equal(y, [5, 6, 7, 8])


def test_all_shifts_and_both_flips_are_drawn():
    draws = draw(np.random.default_rng(0), 5000, augment=True)
    assert set(draws.top) == set(draws.left) == set(range(2 * PAD + 1))
    assert abs(draws.flip.mean() - 0.5) < 0.03


def test_batches_are_the_same_on_a_device_and_images_stay_bytes(images, double):
    draws = draw(np.random.default_rng(1), 20, augment=True)
    here, there = (Images(images, np.arange(20), Normalisation.of(images), d) for d in ("cpu", "gpu"))
    assert there.padded.dtype == np.uint8
    drawn = draws.to("gpu")
    with cupy_double.counting() as (launches, syncs):
        X, y = there.batch(drawn, slice(2, 8))
    assert syncs == cupy_double.uploads == []
    if host_kernels.available():
        assert launches == ["crop", "labels"]
    X_here, y_here = here.batch(draws, slice(2, 8))
    np.testing.assert_allclose(to_host(X), X_here, atol=1e-6)
    np.testing.assert_array_equal(to_host(y), y_here)


def test_draws_have_equal_lengths():
    draws = draw(np.random.default_rng(0), 6, augment=True)
    assert isinstance(draws, Draws)
    assert {len(a) for a in (draws.order, draws.top, draws.left, draws.flip)} == {6}


def test_images_and_draws_have_a_short_repr(images, double):
    normalise = Normalisation.of(images)
    assert repr(Images(images, np.arange(20), normalise)) == "<Images: 20 images 9x7x3 on cpu>"
    assert repr(Images(images, np.arange(20), normalise, "gpu")) == "<Images: 20 images 9x7x3 on gpu>"
    assert repr(draw(np.random.default_rng(0), 6000, augment=True)) == "<Draws for 6,000 images>"
