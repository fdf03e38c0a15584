"""Batches for detection: the boxes move with the pictures, in every augmentation."""

import numpy as np
import pytest
from shapes_data import rectangles

from se_numpy.data.augmentation import draw
from se_numpy.data.batches import Normalisation
from se_numpy.data.boxes import Boxes
from se_numpy.detection import encode
from se_numpy.detection.batches import BoxedImages, moved, padded

PLAIN = Normalisation(np.zeros(3), np.full(3, 1 / 255))


def one_rectangle(n: int) -> tuple[np.ndarray, Boxes]:
    """Draw n black pictures with one white rectangle each."""
    rng = np.random.default_rng(0)
    first = rng.integers(6, 14, (n, 2))
    corners = np.concatenate([first, first + rng.integers(6, 11, (n, 2))], 1)
    images = np.zeros((n, 32, 28, 3), np.uint8)
    for image, (x0, y0, x1, y1) in zip(images, corners, strict=True):
        image[y0:y1, x0:x1] = 255
    return images, Boxes(corners, np.zeros(n, int), np.arange(n))


@pytest.mark.parametrize("augment", ["none", "flip", "crop,flip"])
def test_boxes_move_with_the_pixels(augment):
    images, boxes = one_rectangle(20)
    data = BoxedImages(images, boxes, PLAIN, stride=4, K=1)
    draws = draw(np.random.default_rng(1), 20, augment=augment)
    X, _ = data.batch(draws, slice(3, 17))
    part = draws.part(slice(3, 17), np)
    found = moved(boxes.chosen(part.order), part, 32, 28)
    assert len(found) == 14
    for x, (x0, y0, x1, y1) in zip(X, found.corners, strict=True):
        rows, columns = np.nonzero(x[..., 0])
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)


def test_boxes_move_with_a_resized_window():
    images, boxes = one_rectangle(200)
    draws = draw(np.random.default_rng(1), 200, augment="flip,resized-crop")
    found = moved(boxes.chosen(draws.order), draws, 32, 28)
    X, _ = BoxedImages(images, boxes, PLAIN, stride=4, K=1).batch(draws, slice(0, 200))
    assert 50 < len(found) < 200  # others are outside, or less than 30 % of them is inside
    for corners, i in zip(found.corners, found.images, strict=True):
        rows, columns = np.nonzero(X[i, ..., 0] > 0.5 * 255)
        edges = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert np.abs(edges - corners).max() <= 1
    assert (found.areas <= 32 * 28 / 0.08).all()


def test_targets_of_a_batch_are_those_of_its_boxes():
    images, boxes = rectangles(9, 0)
    data = BoxedImages(images, boxes, PLAIN, rows=np.array([4, 0, 7, 5]), stride=4, K=2)
    assert len(data) == 4
    _, targets = data.in_order(slice(1, 3))
    expected = encode(*padded(boxes.chosen([0, 7]), 2), grid=(6, 6), stride=4, K=2)
    for got, wanted in zip(targets, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert repr(data).startswith("<BoxedImages: <Images: 4 images 24x24x3 on cpu>, <Boxes:")


def test_boxes_are_padded_with_the_largest_first():
    boxes = Boxes([[0, 0, 2, 2], [0, 0, 5, 5], [1, 1, 3, 4]], [4, 1, 2], [0, 0, 2], crowd=[True, False, False])
    corners, classes, present, crowd = padded(boxes, 3)
    assert classes.tolist() == [[1, 4], [0, 0], [2, 0]]
    assert present.tolist() == [[True, True], [False, False], [True, False]]
    assert crowd.tolist() == [[False, True], [False, False], [False, False]]
    assert corners[0, 0].tolist() == [0, 0, 5, 5]
    assert padded(Boxes.none(), 2)[0].shape == (2, 0, 4)


def test_a_batch_on_a_device(double):
    images, boxes = rectangles(6, 0)
    X, targets = BoxedImages(images, boxes, PLAIN, "gpu", stride=4, K=2).in_order(slice(0, 6))
    on_host = BoxedImages(images, boxes, PLAIN, stride=4, K=2).in_order(slice(0, 6))
    for got, wanted in zip((X, *targets), (on_host[0], *on_host[1]), strict=True):
        assert isinstance(got, double.ndarray)
        np.testing.assert_allclose(got.get(), wanted, rtol=1e-6)
