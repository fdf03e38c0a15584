"""Boxes: three arrays for a set of pictures, checked, and chosen by picture."""

import numpy as np
import pytest

from se_numpy.data.boxes import Boxes

CORNERS = np.array([[0, 0, 4, 6], [1, 1, 3, 2], [2, 0, 9, 5], [0, 3, 8, 8]])


def some() -> Boxes:
    return Boxes(CORNERS, np.array([2, 0, 1, 2], np.uint8), np.array([0, 0, 2, 3]), crowd=[False, True, False, False])


def test_numbers_are_converted_and_areas_are_those_of_the_boxes():
    boxes = some()
    assert (boxes.corners.dtype, boxes.classes.dtype, boxes.images.dtype) == (np.float32, np.int64, np.int64)
    assert boxes.areas.tolist() == [24, 2, 35, 40]
    assert len(boxes) == 4
    assert repr(boxes) == "<Boxes: 4 boxes in 3 pictures>"
    assert len(Boxes.none()) == 0
    assert len(Boxes([], [], [])) == 0


def test_pictures_are_chosen_in_any_order_and_also_twice():
    found = some().chosen([3, 1, 0, 3])
    assert found.images.tolist() == [0, 2, 2, 3]
    assert found.classes.tolist() == [2, 2, 0, 2]
    np.testing.assert_array_equal(found.corners, CORNERS[[3, 0, 1, 3]])
    assert found.crowd.tolist() == [False, False, True, False]
    assert some().of(2).images.tolist() == [0]
    assert len(some().of(1)) == 0


@pytest.mark.parametrize(
    ("corners", "classes", "images", "message"),
    [
        ([[0, 0, 1, 1]], [0.5], [0], "classes are float64; expected an array of integers"),
        ([[0, 0, 1]], [0], [0], r"corners have shape \(1, 3\); expected \(M, 4\)"),
        ([[0, 0, 1, 1], [2, 2, 2, 3]], [0, 0], [0, 0], r"corners\[1\] is 2, 2, 2, 3; expected .* x0 < x1"),
        ([[0, 0, np.nan, 1]], [0], [0], r"corners\[0\] is 0, 0, nan, 1"),
        ([[0, 0, 1, 1]], [0, 1], [0], r"classes have shape \(2,\); expected \(1,\), one for each box"),
        ([[0, 0, 1, 1]], [-1], [0], r"classes\[0\] is -1; expected 0 or more"),
        ([[0, 0, 1, 1], [0, 0, 1, 1]], [0, 0], [1, 0], r"images\[1\] is less than .*; sort the boxes by picture"),
    ],
)
def test_a_fault_is_named(corners, classes, images, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Boxes(np.array(corners), np.array(classes), np.array(images))
