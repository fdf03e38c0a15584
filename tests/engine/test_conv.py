"""Memory use of convolution in blocks.  The contract test checks the values."""

import tracemalloc

import numpy as np

from se_numpy.engine import conv2d, conv2d_backward


def test_one_large_image_is_split_too():
    X, V = np.ones((1, 192, 192, 16), np.float32), np.ones((3, 3, 16, 16), np.float32)
    conv2d(X, V, padding=1)
    tracemalloc.start()
    U = conv2d(X, V, padding=1)
    conv2d_backward(U, X, V, padding=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < U.nbytes + X.nbytes + 9 * X.nbytes / 2


def test_convolution_never_holds_all_windows():
    rng = np.random.default_rng(0)
    X, V = rng.standard_normal((64, 32, 32, 16), np.float32), rng.standard_normal((3, 3, 16, 16), np.float32)
    all_windows = 9 * X.nbytes
    conv2d_backward(conv2d(X, V, padding=1), X, V, padding=1)  # creates the workspace of at least one thread
    tracemalloc.start()
    U = conv2d(X, V, padding=1)
    conv2d_backward(U, X, V, padding=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < U.nbytes + X.nbytes + all_windows / 3
