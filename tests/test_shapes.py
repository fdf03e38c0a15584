"""Wrong arrays are told what they are and what was expected."""

import numpy as np
import pytest

import se_numpy as sn
from se_numpy.shapes import check


def ones(*shape):
    return np.ones(shape)


def test_letters_come_back_in_order_of_appearance():
    assert check("U: N H W C, s: N C", ones(2, 3, 4, 5), ones(2, 5)) == (2, 3, 4, 5)
    assert check("x: N ...", ones(2, 3, 4)) == (2,)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sn.squeeze(ones(2, 3, 4)), ValueError, r"U has shape \(2, 3, 4\); expected \(N, H, W, C\)"),
        (lambda: sn.squeeze([[1.0]]), TypeError, "expected NumPy or CuPy arrays, got list|U is a list"),
        (lambda: sn.squeeze(ones(2, 3, 4, 5).astype(int)), TypeError, r"U has dtype int64; .*astype\('float32'\)"),
        (lambda: sn.squeeze(ones(2, 0, 4, 5)), ValueError, r"U has shape \(2, 0, 4, 5\); expected at least one number"),
        (lambda: sn.scale(ones(2, 3, 4, 5), ones(2, 4)), ValueError, r"s has shape \(2, 4\); expected \(N, C\) = \(2, 5\)"),
        (lambda: sn.excite(ones(2, 6), ones(3, 5), ones(6, 3)), ValueError, r"W1 has shape .* expected \(C/r, C\) = \(C/r, 6\)"),
        (lambda: sn.excite(ones(2, 6), ones(3, 6), ones(3, 6)), ValueError, r"W2 has shape .* expected \(C, C/r\) = \(6, 3\)"),
        (lambda: sn.excite(ones(2, 6), ones(0, 6), ones(6, 0)), ValueError, "the reduction leaves no hidden unit"),
        (lambda: sn.excite(ones(2, 6), ones(3, 6), ones(6, 3), ones(6)), ValueError, r"b1 has shape \(6,\); .* = \(3,\)"),
        (lambda: sn.excite(ones(2, 6), ones(3, 6), ones(6, 3), ones(3), ones(3)), ValueError, r"b2 .* = \(6,\)"),
        (lambda: sn.se_block(ones(2, 6), ones(3, 6), ones(6, 3)), ValueError, r"U has shape \(2, 6\)"),
        (lambda: sn.added_parameters([(3, 8)], 16), ValueError, "8 channels with reduction ratio r = 16 leave no hidden unit"),
        (lambda: sn.added_parameters([(3, 8)], 0), ValueError, "the reduction ratio r is 0"),
        (lambda: sn.conv2d(ones(2, 5, 5, 3), ones(3, 3, 4, 6)), ValueError, r"V has shape \(3, 3, 4, 6\).*C' = 3"),
        (lambda: sn.conv2d(ones(2, 5, 5, 4), ones(3, 3, 2, 3), groups=2), ValueError, "groups divides"),
        (lambda: sn.conv2d(ones(2, 5, 5, 3), ones(6, 3, 3, 6)), ValueError, "kernel 6x3 does not fit"),
        (lambda: sn.conv2d(ones(2, 5, 5, 3), ones(3, 3, 3, 6), stride=0), ValueError, "stride=0"),
        (lambda: sn.conv2d_backward(ones(2, 5, 5, 6), ones(2, 5, 5, 3), ones(3, 3, 3, 6)), ValueError, r"dU .*\(2, 3, 3, 6\)"),
        (lambda: sn.linear(ones(2, 3), ones(4, 5)), ValueError, r"W has shape \(4, 5\); expected \(K, D\) = \(K, 3\)"),
        (lambda: sn.linear(ones(2, 3), ones(4, 3), ones(3)), ValueError, r"b has shape \(3,\)"),
        (lambda: sn.normalize(ones(2, 3), ones(2), ones(3), ones(3), ones(3)), ValueError, r"mean has shape \(2,\)"),
        (lambda: sn.batch_statistics(ones(3)), ValueError, r"x has shape \(3,\); expected \(N, ..., C\)"),
        (lambda: sn.relu_backward(ones(2, 3), ones(3, 2)), ValueError, r"dy has shape \(2, 3\); expected the shape of x"),
        (lambda: sn.relu_backward(ones(2, 3).astype(int), ones(2, 3)), TypeError, "dy is int64; expected an array of float32"),
        (lambda: sn.relu_backward([1.0], ones(1)), TypeError, "got list|dy is list"),
        (lambda: sn.dropout(ones(2, 3), ones(2, 3), p=0.5), TypeError, "mask is float64; expected an array of bool"),
        (lambda: sn.dropout(ones(2, 3), ones(2, 3) > 0, p=1.0), ValueError, "p is 1.0"),
        (lambda: sn.max_pool2d(ones(2, 3, 3, 1), kernel=4), ValueError, "4x4 window does not fit"),
        (lambda: sn.max_pool2d(ones(2, 3, 3, 1), kernel=2, padding=2), ValueError, "padding=2"),
        (lambda: sn.max_pool2d_backward(ones(2, 3, 3, 1), ones(2, 4, 4, 1), kernel=2), ValueError, r"dy has .* the shape of y, \(2, 2, 2, 1\)"),
        (lambda: sn.softmax_cross_entropy(ones(2, 3), np.array([0, 3])), ValueError, r"labels\[1\] is 3; expected 0 to 2"),
        (lambda: sn.softmax_cross_entropy(ones(2, 3), np.array([-1, 0])), ValueError, r"labels\[0\] is -1"),
        (lambda: sn.softmax_cross_entropy(ones(2, 3), ones(2)), TypeError, "labels are float64"),
        (lambda: sn.softmax_cross_entropy(ones(2, 3), np.array([0])), ValueError, r"labels have shape \(1,\)"),
        (lambda: sn.softmax_cross_entropy(ones(2, 3), np.array([0, 1]), smoothing=2), ValueError, "smoothing is 2"),
    ],
)  # fmt: skip
def test_errors_name_what_was_given_and_what_was_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()
