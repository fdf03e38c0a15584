"""The second form of a function, for a GPU: where it is chosen, and that it says the same."""

import host_kernels
import numpy as np
import pytest
from se_numpy.backend import Blend, kernels, one_launch, to_host, unfold

from se_numpy import models, ops, se
from se_numpy.data.batches import Images, Normalisation, draw
from se_numpy.optim import SGD
from se_numpy.train import Learner

try:  # before the double takes CuPy's name
    import cupy  # noqa: F401  (finds the libraries)
    from cupy_backends.cuda.libs import nvrtc as NVRTC

    NVRTC.getVersion()
except (ImportError, RuntimeError):
    NVRTC = None

pytestmark = pytest.mark.skipif(host_kernels.compiler() is None, reason="no C++ compiler to stand in for a GPU's")


@one_launch("T x, float64 k", "T y", "y = x * x + k")
def squared(x, k):
    """As a formula of two signs: two launches."""
    return x * x + k


def test_a_formula_is_one_launch(double):
    import cupy_double

    x = np.linspace(-2, 2, 7, dtype=np.float32)
    there = double.asarray(x)
    with cupy_double.counting() as (launches, syncs):
        y = squared(there, 0.5)
    assert (launches, syncs) == (["squared"], [])
    np.testing.assert_array_equal(to_host(y), squared(x, 0.5))


@pytest.mark.parametrize("x", [np.array([1 + 2j]), np.array([3])], ids=["complex", "whole numbers"])
def test_what_a_kernel_cannot_do_the_plain_form_does(double, x):
    np.testing.assert_array_equal(to_host(squared(double.asarray(x), 0.5)), squared(x, 0.5))


def test_two_dtypes_go_the_plain_way(double):
    x, mean = np.ones((2, 3, 3, 2), np.float32), np.zeros(2)
    moved = [double.asarray(v) for v in (x, mean, mean + 1, mean + 1, mean)]
    assert ops.normalize(*moved).dtype == ops.normalize(x, mean, mean + 1, mean + 1, mean).dtype == np.float64


def test_a_nan_stays_one(double):
    maps = double.asarray(np.array([[[[np.nan, -1.0, 2.0]]]]))
    np.testing.assert_array_equal(to_host(Blend(maps, rectify=True).write())[0, 0, 0], [np.nan, 0, 2])
    ((_, rows),) = unfold(Blend(maps, rectify=True), slice(0, 1), slice(0, 1), 1, (1, 2), maps.dtype)
    np.testing.assert_array_equal(to_host(rows)[0, 0], [np.nan, 0, 2, 0, 0, 0])


@pytest.mark.parametrize("size", [500.0, -500.0, 0.0, -0.0])
def test_sigmoid_has_both_ends_on_a_device_too(double, size):
    x = np.array([[size]], np.float32)
    for f in (se.sigmoid, lambda x: ops.sigmoid_backward(x * 0 + 3, x)):
        np.testing.assert_allclose(to_host(f(double.asarray(x))), f(x), rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0, 0.2])
@pytest.mark.parametrize("dL", [0.7, np.array(0.7)], ids=["number", "array"])
def test_the_loss_on_a_device(double, smoothing, dL):
    x, labels = np.random.default_rng(0).standard_normal((5, 3)) * 9, np.array([0, 2, 1, 1, 0], np.uint8)
    there = double.asarray(x), double.asarray(labels)
    loss = ops.softmax_cross_entropy(*there, smoothing=smoothing)
    np.testing.assert_allclose(to_host(loss), ops.softmax_cross_entropy(x, labels, smoothing=smoothing), rtol=1e-12)
    dL_there = double.asarray(dL) if isinstance(dL, np.ndarray) else dL
    dx = ops.softmax_cross_entropy_backward(dL_there, *there, smoothing=smoothing)
    expected = ops.softmax_cross_entropy_backward(dL, x, labels, smoothing=smoothing)
    np.testing.assert_allclose(to_host(dx), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("sgd", [SGD(), SGD(nesterov=False), SGD(momentum=0.5, weight_decay=0.1)])
def test_sgd_is_one_launch(double, sgd):
    import cupy_double

    rng = np.random.default_rng(0)
    w, g, v = rng.standard_normal((3, 11))
    there = [double.asarray(a) for a in (w, g, v)]
    with cupy_double.counting() as (launches, _):
        sgd.step(*there, 0.3)
    assert len(launches) == 1
    sgd.step(w, g, v, 0.3)
    np.testing.assert_allclose(to_host(there[0]), w, rtol=1e-14)
    np.testing.assert_allclose(to_host(there[2]), v, rtol=1e-14)


def test_kernels_are_made_once(double):
    before = kernels.elementwise_kernel.cache_info().misses
    x = double.asarray(np.ones(3))
    squared(x, 1.0)
    squared(x, 2.0)
    assert kernels.elementwise_kernel.cache_info().misses <= before + 1


@pytest.mark.parametrize("T", ["float", "double"])
def test_every_kernel_of_a_training_step_compiles_for_a_gpu(double, T):
    """By NVRTC, CuPy's own compiler, which needs no GPU; skipped where CuPy or NVRTC are not installed."""
    nvrtc = NVRTC or pytest.skip("CuPy or NVRTC is not installed")
    kernels.elementwise_kernel.cache_clear()
    host_kernels.made.clear()
    learner = Learner(models.build("se_resnet8"), (8, 8, 3), seed=0, device="gpu")
    bytes_ = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    images = Images(bytes_, np.array([0, 1, 2, 9]), Normalisation.of(bytes_), "gpu")
    batch = images.batch(draw(np.random.default_rng(0), 4, augment=True), slice(0, 4))
    learner.step(*batch, SGD(weight_decay=5e-4), 0.1)
    assert len(host_kernels.made) >= 20
    for *kernel, name in host_kernels.made:
        program = nvrtc.createProgram(host_kernels.cuda(*kernel, T), f"{name}.cu", (), ())
        try:
            nvrtc.compileProgram(program, ("--gpu-architecture=sm_90", "-std=c++17"))
        except nvrtc.NVRTCError:
            pytest.fail(f"{name}: {nvrtc.getProgramLog(program)}")
