"""Convolution: the pair, and random geometries compared with PyTorch."""

import os

import numpy as np
import pytest
from geometries import Geometry, drawn
from pair_checks import checks

import se_numpy as sn
from se_numpy import engine

TestPairs = checks("conv2d", "depthwise conv2d")
NUMBER = int(os.environ.get("SE_NUMPY_GEOMETRIES", "400"))  # raise it for a thorough check


def test_a_kernel_that_covers_only_padding():
    """As in pytorch#54036: at stride 2, all windows are above or below the only row of the image."""
    X, V = np.ones((1, 1, 6, 1)), np.ones((1, 3, 1, 1))
    for form in (sn, engine):
        for gradient in form.conv2d_backward(np.ones((1, 2, 3, 1)), X, V, stride=2, padding=1):
            np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("seed", range(8))
def test_random_geometries_against_pytorch(seed):
    torch = pytest.importorskip("torch")
    for geometry in drawn(seed, NUMBER // 8):
        agree(geometry, torch)


def agree(g: Geometry, torch) -> None:
    X, V, dU = g.arrays()
    X_t = torch.from_numpy(X.transpose(0, 3, 1, 2).copy()).requires_grad_()
    V_t = torch.from_numpy(V.transpose(3, 2, 0, 1).copy()).requires_grad_()
    U_t = torch.nn.functional.conv2d(X_t, V_t, **g.hyper)
    U_t.backward(torch.from_numpy(dU.transpose(0, 3, 1, 2).copy()))
    wanted = (U_t.detach(), (0, 2, 3, 1)), (X_t.grad, (0, 2, 3, 1)), (V_t.grad, (2, 3, 1, 0))
    for form in (sn, engine):  # the engine's convolution has more special cases than the book's
        found = form.conv2d(X, V, **g.hyper), *form.conv2d_backward(dU, X, V, **g.hyper)
        for array, (tensor, order) in zip(found, wanted, strict=True):
            np.testing.assert_allclose(array, tensor.numpy().transpose(order), rtol=0, atol=1e-11, err_msg=str(g))
