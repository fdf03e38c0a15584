"""Sums over the pixels of maps on a GPU: enough blocks, one launch, and the values of the book."""

import host_kernels
import numpy as np
import pytest
from contract import small_shares
from hypothesis import given
from hypothesis import strategies as st

from se_numpy import engine, ops, to_host, tree
from se_numpy.engine import cuda
from se_numpy.engine.cuda.reductions import BLOCKS, grid
from se_numpy.layers import SE, BatchNorm, Conv, init, serial

needs_compiler = pytest.mark.skipif(not host_kernels.available(), reason="no C++ compiler to run kernels on a CPU")
MULTIPROCESSORS = 132  # of an H100


@pytest.mark.parametrize("batch", [100, 125, 128, 500, 512, 1000])
@pytest.mark.parametrize(("side", "channels"), [(32, 16), (16, 32), (8, 64), (56, 64), (28, 128), (14, 256), (7, 2048)])
@pytest.mark.parametrize("by_image", [False, True])
def test_sums_of_large_maps_keep_every_multiprocessor_busy(batch, side, channels, by_image):
    pixels = side * side
    if 4 * batch * pixels * channels < 4 << 20:
        return
    where = grid(*((batch, pixels) if by_image else (1, batch * pixels)), channels)
    assert where.blocks >= MULTIPROCESSORS
    partial_sums = where.parts * where.groups  # which the last block of a tile adds up
    assert partial_sums <= 2 * BLOCKS


@given(st.integers(1, 3000), st.integers(1, 4000), st.integers(1, 300))
def test_every_pixel_is_in_one_part(images, pixels, channels):
    where = grid(images, pixels, channels)
    assert (where.parts - 1) * where.share < pixels <= where.parts * where.share
    assert (where.groups - 1) * where.each < images <= where.groups * where.each


@needs_compiler
@pytest.mark.parametrize("shape", [(5, 7, 3, 6), (3, 1, 2, 33), (4, 9), (1, 11, 5, 1)])
@pytest.mark.parametrize("small", [False, True])
def test_sums_by_image_and_by_channel_in_one_launch(shape, small, double):
    import cupy_double

    x, y = np.random.default_rng(0).standard_normal((2, *shape))
    with small_shares() if small else cupy_double.counting():
        on_device = double.asarray(x), double.asarray(y)
        cuda.sums("sums", on_device[:1], finish=True)  # makes the counters
        with cupy_double.counting() as (launches, _):
            (of_image,) = cuda.sums("sums_of_products", on_device, by_image=True)
            (total,) = cuda.sums("sums_of_products", on_device, finish=True)
        assert launches == ["sums_of_products"] * 2
    axes = tuple(range(1, x.ndim - 1))
    np.testing.assert_allclose(to_host(of_image).sum(1), (x * y).sum(axes), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(to_host(total), (x * y).reshape(-1, shape[-1]).sum(0), rtol=1e-13, atol=1e-13)


@needs_compiler
def test_moments_far_from_zero(double):
    x = (np.random.default_rng(0).standard_normal((6, 5, 4, 3)) + 1000).astype(np.float32)
    gamma, beta = np.ones(3, np.float32), np.zeros(3, np.float32)
    with small_shares():
        mean, var, *_ = cuda.sums("moments", (double.asarray(x),), (double.asarray(gamma), double.asarray(beta), 1e-5),
                                  finish=True)  # fmt: skip
    expected = ops.batch_statistics(x.astype(np.float64))
    np.testing.assert_allclose(to_host(mean), expected[0], rtol=1e-7)
    np.testing.assert_allclose(to_host(var), expected[1], rtol=1e-5)


@needs_compiler
def test_blocks_leave_their_counters_at_zero(double):
    x = double.asarray(np.ones((5, 8, 8, 3)))
    with small_shares():
        results = [to_host(cuda.sums("sums", (x,), finish=True)[0]) for _ in range(3)]
    np.testing.assert_array_equal(results, np.full((3, 3), 320))


@needs_compiler
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors_are_gathered_from_views_of_any_strides(double, dtype, monkeypatch):
    from se_numpy.engine.cuda import concatenation

    monkeypatch.setattr(concatenation, "MOST", 3)
    rng = np.random.default_rng(0)
    V = rng.standard_normal((3, 2, 5, 4)).astype(dtype)
    parts = [V[::-1, ::-1].transpose(0, 1, 3, 2), V[0, 0, 0, :1], V[:, :, 1:4:2], V[0, 0].T, V[1]]
    moved = double.asarray(V)
    views = [moved[::-1, ::-1].transpose(0, 1, 3, 2), moved[0, 0, 0, :1], moved[:, :, 1:4:2], moved[0, 0].T, moved[1]]
    out = double.empty(sum(part.size for part in parts), dtype)
    np.testing.assert_array_equal(to_host(cuda.gather(views, out)), np.concatenate([p.reshape(-1) for p in parts]))


@needs_compiler
@pytest.mark.parametrize("label", [-1, 3, 200])
def test_a_label_that_no_class_has_makes_the_loss_nan(double, label):
    x, labels = double.asarray(np.zeros((2, 3))), double.asarray(np.array([1, label]))
    assert np.isnan(float(engine.softmax_cross_entropy(x, labels)))


@needs_compiler
def test_strided_parameters_are_read_in_their_order(double):
    """A kernel that took a strided array for a contiguous one would read its neighbours."""
    x = np.random.default_rng(0).standard_normal((5, 4, 3, 6))
    gamma, beta = np.random.default_rng(1).standard_normal((2, 12))
    moved = [double.asarray(v)[::2] for v in (gamma, beta)]
    found = cuda.sums("moments", (double.asarray(x),), (*moved, 1e-5), finish=True)
    mean, var = ops.batch_statistics(x)
    a = gamma[::2] / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(to_host(found[3]), a, rtol=1e-12)
    np.testing.assert_allclose(to_host(found[4]), beta[::2] - mean * a, rtol=1e-12)

    W1, W2 = np.random.default_rng(2).standard_normal((6, 2)), np.random.default_rng(3).standard_normal((2, 6))
    total, shift, W1, W2 = map(double.asarray, (x.sum((1, 2)), np.zeros(6), W1, W2))
    h = cuda.image_kernel("gates", (total, 1, shift, W1.T, W2.T, 0, 0, 12), 2)[2]
    np.testing.assert_allclose(to_host(h), np.maximum(x.mean((1, 2)) @ to_host(W1), 0), rtol=1e-12)


@needs_compiler
def test_arrays_of_two_dtypes_are_refused(double):
    x, y = double.asarray(np.ones((2, 3, 3, 4))), double.asarray(np.ones((2, 3, 3, 4), np.float32))
    with pytest.raises(TypeError, match="float64 and float32"):
        cuda.sums("sums_of_products", (x, y), finish=True)


@needs_compiler
def test_a_gate_of_another_dtype_is_computed_without_kernels(double):
    net, rng = serial(Conv(6), BatchNorm(), SE(2)), np.random.default_rng(0)
    params, state = init(net, (5, 4, 3), rng)
    params["se1"] = {name: W.astype(np.float64) for name, W in params["se1"].items()}
    X = rng.standard_normal((3, 5, 4, 3)).astype(np.float32)
    moved = [tree.map_leaves(double.asarray, t) for t in (params, state)]
    found, _ = engine.compile(net).forward(*moved, double.asarray(X), train=True)
    np.testing.assert_allclose(to_host(found), net.forward(params, state, X, train=True)[0], rtol=1e-5, atol=1e-5)
