"""Targets, decoding and non-maximum suppression: against definitions, there and back, and on a device."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from se_numpy import to_host
from se_numpy.detection import Targets, decode, encode, gaussian_radius, iou, suppress

SIDES = st.floats(0.5, 50)


@given(SIDES, SIDES, st.floats(0.1, 0.95), st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_corners_moved_by_the_radius_keep_the_overlap(w, h, overlap, moves):
    r = gaussian_radius(np.array([w, h]), overlap=overlap)
    box = np.array([0, 0, w, h])
    assert iou(box[None], (box + r * np.array(moves))[None]) >= overlap - 1e-9
    worst = [np.array(signs) * r for signs in ([1, 1, 1, 1], [1, 1, -1, -1], [-1, -1, 1, 1])]
    assert min(iou(box[None], (box + move)[None]).item() for move in worst) == pytest.approx(overlap)


CORNERS = np.array([[[2, 1, 13, 11], [20, 4, 27, 20], [16, 8, 32, 24]], [[0, 0, 6, 30], [3, 3, 9, 5], [0, 0, 1, 1]]])
CLASSES, PRESENT = np.array([[1, 0, 1], [0, 1, 0]]), np.array([[True, True, False], [True, True, False]])
NO_CROWD = np.zeros((2, 3), bool)


def encoded(crowd=NO_CROWD, dtype=np.float64, present=PRESENT) -> Targets:
    return encode(CORNERS.astype(dtype), CLASSES, present, crowd, grid=(8, 9), stride=4, K=2)


def test_targets_hold_centres_sizes_and_offsets():
    found = encoded()
    centres = {(0, 1, 1, 1), (0, 3, 5, 0), (1, 3, 0, 0), (1, 1, 1, 1)}  # picture, row, column, class
    assert set(zip(*np.nonzero(found.heat == 1), strict=True)) == centres
    assert set(zip(*np.nonzero(found.mask), strict=True)) == {centre[:3] for centre in centres}
    np.testing.assert_allclose(found.sizes[0, 1, 1] * 4, [11, 10])
    np.testing.assert_allclose((found.offsets[0, 1, 1] + [1, 1]) * 4, [7.5, 6])
    assert found.weights.all()
    spread = (2 * gaussian_radius(np.array([11, 10]) / 4) + 1) / 6
    np.testing.assert_allclose(found.heat[0, 2, 3, 1], np.exp(-(1 + 4) / (2 * spread**2)))


def test_a_crowd_has_no_centre_and_its_cells_no_weight():
    crowd = np.array([[False, True, False], [False, False, False]])
    found = encoded(crowd)
    assert not found.mask[0, 3, 5]
    covered = np.zeros((8, 9), bool)
    covered[1:5, 5:7] = True  # 20 to 27 pixels across, 4 to 20 down
    np.testing.assert_array_equal(found.weights[0] == 0, covered)
    assert found.weights[1].all()


def test_float32_stays_float32():
    assert {a.dtype.name for a in encoded(dtype=np.float32)} == {"float32", "bool"}


def maps(found: Targets) -> np.ndarray:
    """Return maps whose logits are high at the centres."""
    return np.concatenate([20 * found.heat - 10, found.sizes, found.offsets], -1)


def test_decoding_recovers_the_boxes():
    corners, scores, classes = decode(maps(encoded()), stride=4, most=5)
    for n in range(2):
        best = scores[n] > 0.9
        order = np.argsort(corners[n][best][:, 2])
        expected = np.argsort(CORNERS[n][PRESENT[n]][:, 2])
        np.testing.assert_allclose(corners[n][best][order], CORNERS[n][PRESENT[n]][expected])
        np.testing.assert_array_equal(classes[n][best][order], CLASSES[n][PRESENT[n]][expected])


def test_only_peaks_are_found_best_first_and_boxes_end_at_the_edge():
    Y = np.full((1, 4, 5, 1 + 4), 0.0)
    Y[0, :, :, 0] = [[-9, -9, -9, -9, -9], [-9, 2, 1, -9, -9], [-9, 1, 1, -9, 3], [-9, -9, -9, -9, -9]]
    Y[..., 1:3] = 50
    corners, scores, _ = decode(Y, stride=2, most=100)
    assert scores.shape == (1, 20)
    assert (np.diff(scores[0]) <= 0).all()
    np.testing.assert_allclose(scores[0, :2], 1 / (1 + np.exp([-3, -2])))
    assert not (scores[0] == 1 / (1 + np.exp(-1))).any()
    assert corners[0, 0].tolist() == [0, 0, 10, 8]


@given(st.integers(0, 2**31), st.integers(1, 9), st.floats(0, 1))
def test_suppression_is_greedy(seed, k, threshold):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 6, (2, k, 2))
    corners = np.concatenate([first, first + rng.integers(1, 6, (2, k, 2))], -1).astype(float)
    classes = rng.integers(0, 2, (2, k))
    found = suppress(corners, classes, threshold=threshold)
    for n in range(2):
        kept = []
        for i in range(k):
            overlaps = [iou(corners[n, i][None], corners[n, j][None]) for j in kept if classes[n, i] == classes[n, j]]
            kept += [] if any(overlap > threshold for overlap in overlaps) else [i]
        assert np.flatnonzero(found[n]).tolist() == kept


def test_an_overlap_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"threshold is 1.5; expected an overlap between 0 and 1"):
        suppress(CORNERS.astype(float), CLASSES, threshold=1.5)


def test_a_box_without_an_area_overlaps_none():
    point = np.array([[1.0, 1, 1, 1]])
    assert iou(point, point) == 0


def test_device_arrays_give_equal_results(device_xp):
    xp = device_xp
    there = [xp.asarray(a) for a in (CORNERS.astype(float), CLASSES, PRESENT, NO_CROWD)]
    targets = encode(*there, grid=(8, 9), stride=4, K=2)
    for got, expected in zip(targets, encoded(), strict=True):
        assert isinstance(got, xp.ndarray)
        np.testing.assert_allclose(to_host(got), expected, rtol=1e-12)
    Y = maps(encoded()) + 0.1 * np.random.default_rng(0).standard_normal((2, 8, 9, 6))
    found = decode(xp.asarray(Y), stride=4, most=30)
    for got, expected in zip(found, decode(Y, stride=4, most=30), strict=True):
        np.testing.assert_allclose(to_host(got), expected)
    kept = suppress(found[0], found[2], threshold=0.3)
    np.testing.assert_array_equal(to_host(kept), suppress(*map(to_host, (found[0], found[2])), threshold=0.3))
