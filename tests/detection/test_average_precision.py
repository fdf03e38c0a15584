"""Average precision: equal to pycocotools', on drawn and on adversarial cases, and to its stored numbers."""

import importlib.util

import numpy as np
import pytest
from adversarial import AREAS, CASES
from coco_cases import drawn, pycocotools
from numpy.testing import assert_allclose

from se_numpy.data.boxes import Boxes
from se_numpy.detection import COCO_AREAS, Detections, average_precision
from se_numpy.detection.average_precision import RECALLS, THRESHOLDS

peer = pytest.mark.skipif(importlib.util.find_spec("pycocotools") is None, reason="needs pycocotools")
NAN = float("nan")
STORED = {  # AP, AP50, AP of small objects, AP of large ones, AR; by pycocotools 2.0.11
    "equal scores": (0.83498349835, 0.83498349835, 1.0, 0.83498349835, 1.0),
    "two detections of one object": (0.95, 1.0, 0.95, 1.0, 1.0),
    "overlap of exactly one half": (0.1, 1.0, 0.1, 0.1, 0.1),
    "equal overlaps with two objects": (0.293894389439, 0.666666666667, 0.293894389439, 0.293894389439, 0.55),
    "the last of equal overlaps is taken": (0.353465346535, 0.504950495050, 0.353465346535, 0.353465346535, 0.5),
    "a crowd takes many detections": (1.0, 1.0, NAN, 1.0, 1.0),
    "an object outside the range is matched last": (0.826237623762, 1.0, 0.9, 0.826237623762, 0.85),
    "more detections than count": (0.0, 0.0, 0.0, 0.0, 0.0),
    "another class and another picture": (0.0, 0.0, 0.0, 0.0, 0.0),
    "objects without detections": (0.0, 0.0, 0.0, 0.0, 0.0),
    "detections without objects": (NAN, NAN, NAN, NAN, NAN),
    "only a crowd": (NAN, NAN, NAN, NAN, NAN),
    "both classes, several pictures": (0.798927392739, 1.0, 0.750495049505, 0.90099009901, 0.858333333333),
}


@pytest.mark.parametrize("name", CASES)
def test_adversarial_cases_have_the_stored_numbers(name):
    found = average_precision(*CASES[name], classes=2, areas=AREAS, most=3)
    numbers = found.ap(), found.ap(0.5), found.ap(area="small"), found.ap(area="large"), found.ar()
    assert_allclose(numbers, STORED[name], rtol=0, atol=1e-9)


@peer
@pytest.mark.parametrize("name", CASES)
def test_adversarial_cases_equal_those_of_pycocotools(name):
    assert_equal_to_pycocotools(*CASES[name], classes=2, areas=AREAS, most=3)


@peer
@pytest.mark.parametrize("seed", range(24))
def test_drawn_cases_equal_those_of_pycocotools(seed):
    """Every third case has large boxes; every second has many equal scores."""
    truth, found = drawn(seed, grid=1 if seed % 3 else 7)
    areas = {"all": (0, 1e10), "small": (0, 60.0), "large": (60.0, 1e10)} if seed % 3 else COCO_AREAS
    assert_equal_to_pycocotools(truth, found, classes=3, areas=areas, most=2 if seed % 5 == 0 else 100)


def assert_equal_to_pycocotools(truth, found, classes, areas, most):
    ours = average_precision(truth, found, classes=classes, areas=areas, most=most)
    precision, recall = pycocotools(truth, found, classes, THRESHOLDS, areas, most)
    assert_allclose(ours.precision, precision, rtol=0, atol=1e-9)
    assert_allclose(ours.recall, recall, rtol=0, atol=1e-9)


def test_perfect_detections_have_an_average_precision_of_one():
    truth = Boxes([[0, 0, 5, 5], [9, 9, 20, 20], [3, 3, 6, 9]], [0, 2, 0], [0, 0, 1])
    found = average_precision(truth, Detections(truth.corners, np.ones(3), truth.classes, truth.images), classes=3)
    assert found.ap() == pytest.approx(1)
    assert np.isnan(found.ap(of=1))
    assert np.isnan(found.ap(area="large"))
    assert found.objects[:, 0].tolist() == [2, 0, 1]
    assert_allclose(found.curve(0.5), np.ones(len(RECALLS)))
    assert repr(found) == "<AveragePrecision: AP 1.000, AP50 1.000>"


def test_what_was_not_evaluated_is_named():
    found = average_precision(Boxes.none(), Detections.joined([]), classes=2, thresholds=[0.5])
    with pytest.raises(ValueError, match=r"the threshold is 0.75; expected one of 0.5"):
        found.ap(0.75)
    with pytest.raises(ValueError, match="the range of areas is 'tiny'; expected one of all, small, medium, large"):
        found.ap(area="tiny")


def test_detections_are_checked_and_chosen():
    found = Detections([[0, 0, 1, 1], [0, 0, 2, 2]], [0.2, 0.6], [1, 0], [0, 4])
    assert repr(found) == "<Detections: 2 detections in 2 pictures>"
    assert found.at_least(0.5).classes.tolist() == [0]
    assert found.of(4).images.tolist() == [0]
    with pytest.raises(ValueError, match="got 1 corners, 2 scores, 2 classes, 2 images; expected one of each"):
        Detections([[0, 0, 1, 1]], [0.2, 0.6], [1, 0], [0, 4])
    with pytest.raises(ValueError, match="expected detections sorted by picture"):
        Detections([[0, 0, 1, 1], [0, 0, 2, 2]], [0.2, 0.6], [1, 0], [4, 0])
