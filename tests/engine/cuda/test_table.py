"""The table of CUDA kernels: every row is used and equals the book; unsupported arguments use NumPy functions."""

import ast
import importlib
import re
from pathlib import Path

import faults
import host_kernels
import numpy as np
import pytest

import se_numpy
from se_numpy import engine, models, ops, se, to_host
from se_numpy.data.batches import Images, Normalisation, draw
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.cuda import TABLE, cuda_kernel
from se_numpy.engine.windows import unfold
from se_numpy.layers import update_running
from se_numpy.optim import EMA, SGD, AdamW, clip_by_norm
from se_numpy.train import Learner

try:  # before the double replaces the module cupy
    import cupy  # noqa: F401  (finds the libraries)
    from cupy_backends.cuda.libs import nvrtc as NVRTC

    NVRTC.getVersion()
except (ImportError, RuntimeError):
    NVRTC = None

PACKAGE = Path(se_numpy.__file__).parent
needs_compiler = pytest.mark.skipif(not host_kernels.available(), reason="no C++ compiler to run kernels on a CPU")


@pytest.mark.parametrize("name", TABLE)
def test_row_names_an_existing_function(name):
    module, _, function = TABLE[name].equals.rpartition(".")
    assert hasattr(importlib.import_module(f"se_numpy.{module}"), function)


def test_every_row_is_named_outside_the_table():
    """A row whose name no other file contains cannot be launched."""
    named = set()
    for path in PACKAGE.rglob("*.py"):
        if path.name != "table.py":
            tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            named |= {node.value for node in tree if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert set(TABLE) - named == set()


def test_no_c_code_outside_the_table():
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "cuda":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"\(T\)|_ind\.size\(\)|\braw T\b(?! \{)|long long|__global__", text), path


@pytest.fixture
def squared(monkeypatch):
    """Return a function with two operations: two launches in its NumPy form, one as a kernel."""
    monkeypatch.setitem(TABLE, "squared", TABLE["sigmoid"]._replace(
        inputs="T x, float64 k", outputs="T y", operation="y = x * x + k"))  # fmt: skip

    @cuda_kernel("squared")
    def squared(x, k):
        return x * x + k

    return squared


@needs_compiler
def test_kernel_is_one_launch(double, squared):
    import cupy_double

    x = np.linspace(-2, 2, 7, dtype=np.float32)
    on_device = double.asarray(x)
    with cupy_double.counting() as (launches, syncs):
        y = squared(on_device, 0.5)
    assert (launches, syncs) == (["squared"], [])
    np.testing.assert_array_equal(to_host(y), squared(x, 0.5))


@pytest.mark.parametrize("x", [np.array([1 + 2j]), np.array([3])], ids=["complex", "integers"])
def test_unsupported_dtypes_use_the_plain_function(double, squared, x):
    np.testing.assert_array_equal(to_host(squared(double.asarray(x), 0.5)), squared(x, 0.5))


def test_mixed_dtypes_use_the_plain_function(double):
    x, mean = np.ones((2, 3, 3, 2), np.float32), np.zeros(2)
    moved = [double.asarray(v) for v in (x, mean, mean + 1, mean + 1, mean)]
    assert engine.normalize(*moved).dtype == ops.normalize(x, mean, mean + 1, mean + 1, mean).dtype == np.float64


@needs_compiler
def test_nan_is_preserved(double):
    maps = double.asarray(np.array([[[[np.nan, -1.0, 2.0]]]]))
    np.testing.assert_array_equal(to_host(AffineMaps(maps, rectify=True).write())[0, 0, 0], [np.nan, 0, 2])
    ((_, rows),) = unfold(AffineMaps(maps, rectify=True), slice(0, 1), slice(0, 1), 1, (1, 2), maps.dtype)
    np.testing.assert_array_equal(to_host(rows)[0, 0], [np.nan, 0, 2, 0, 0, 0])


@pytest.mark.parametrize("size", [500.0, -500.0, 0.0, -0.0])
def test_sigmoid_of_extreme_numbers_on_device(double, size):
    x = np.array([[size]], np.float32)
    for f, book in ((engine.sigmoid, se.sigmoid), (lambda x: engine.sigmoid_backward(x * 0 + 3, x),
                                                    lambda x: ops.sigmoid_backward(x * 0 + 3, x))):  # fmt: skip
        np.testing.assert_allclose(to_host(f(double.asarray(x))), book(x), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_masked_infinite_gradients_become_zero(xp, bad):
    dy, x = np.array([bad, bad, 1.0, bad]), np.array([-1.0, 0.0, 2.0, 3.0])
    found = to_host(engine.relu_backward(xp.asarray(dy), xp.asarray(x)))
    np.testing.assert_array_equal(found, [0, 0, 1, bad])


@pytest.mark.parametrize("smoothing", [0, 0.2])
@pytest.mark.parametrize("dL", [0.7, np.array(0.7)], ids=["number", "array"])
def test_loss_on_device(double, smoothing, dL):
    x, labels = np.random.default_rng(0).standard_normal((5, 3)) * 9, np.array([0, 2, 1, 1, 0], np.uint8)
    on_device = double.asarray(x), double.asarray(labels)
    loss = engine.softmax_cross_entropy(*on_device, smoothing=smoothing)
    np.testing.assert_allclose(to_host(loss), ops.softmax_cross_entropy(x, labels, smoothing=smoothing), rtol=1e-12)
    dL_on_device = double.asarray(dL) if isinstance(dL, np.ndarray) else dL
    dx = engine.softmax_cross_entropy_backward(dL_on_device, *on_device, smoothing=smoothing)
    expected = ops.softmax_cross_entropy_backward(dL, x, labels, smoothing=smoothing)
    np.testing.assert_allclose(to_host(dx), expected, rtol=1e-12, atol=1e-15)


@needs_compiler
@pytest.mark.parametrize("sgd", [SGD(), SGD(nesterov=False), SGD(momentum=0.5, weight_decay=0.1)])
def test_sgd_is_one_launch(double, sgd):
    import cupy_double

    rng = np.random.default_rng(0)
    w, g, v = rng.standard_normal((3, 11))
    on_device = [double.asarray(a) for a in (w, g, v)]
    with cupy_double.counting() as (launches, _):
        sgd.step(*on_device, 0.3)
    assert len(launches) == 1
    sgd.step(w, g, v, 0.3)
    np.testing.assert_allclose(to_host(on_device[0]), w, rtol=1e-14)
    np.testing.assert_allclose(to_host(on_device[2]), v, rtol=1e-14)


@needs_compiler
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 11, 70_000])
def test_optimisers_are_one_launch_each_and_clipping_two(double, dtype, size):
    """They equal the NumPy form, also with rates, and nothing waits for the GPU."""
    import cupy_double

    rng = np.random.default_rng(0)
    w, g, v, s, rates = rng.random((5, size)).astype(dtype)
    running, average = rng.random(3).astype(dtype), rng.random(size + 3).astype(dtype)
    cases = [
        (SGD(weight_decay=0.1).step, (w, g, v, 0.3), {"rates": rates}, 1),
        (AdamW(weight_decay=0.1).step, (w, g, v, 0.3), {"s": s, "t": 2}, 1),
        (AdamW(eps=0.1).step, (w, g, v, 0.3), {"s": s, "t": 7, "rates": rates}, 1),
        (EMA(0.7).step, (average, w, running, 0), {}, 1),
        (EMA(0.7).step, (average, w, running, 5), {}, 1),
        (EMA(0.7).step, (w.copy(), w, running[:0], 5), {}, 1),
        (clip_by_norm, (g, 0.1), {}, 2),
        (clip_by_norm, (g, 1e9), {}, 2),
    ]

    def moved(value, to):
        return to(value) if hasattr(value, "shape") else value

    for f, args, more, wanted in cases:
        host, device = (
            ([moved(a, to) for a in args], {k: moved(a, to) for k, a in more.items()})
            for to in (np.copy, double.asarray)
        )
        with cupy_double.counting() as (launches, syncs):
            f(*device[0], **device[1])
        assert (len(launches), syncs) == (wanted, []), launches
        f(*host[0], **host[1])
        for ours, theirs in zip((*host[0], *host[1].values()), (*device[0], *device[1].values()), strict=True):
            if hasattr(ours, "shape") and ours.ndim and (f is clip_by_norm or ours is not host[0][1]):  # g is used up
                np.testing.assert_allclose(to_host(theirs), ours, rtol=1e3 * np.finfo(dtype).eps)


@needs_compiler
def test_running_statistics_are_updated_in_one_launch(double):
    import cupy_double

    batch, running = np.random.default_rng(0).standard_normal((2, 7))
    on_device = double.asarray(batch), double.asarray(running)
    with cupy_double.counting() as (launches, _):
        engine.move_running(on_device[0], 0.3, on_device[1])
    assert len(launches) == 1
    update_running(running, batch, momentum=0.3)
    np.testing.assert_allclose(to_host(on_device[1]), running, rtol=1e-14)


@needs_compiler
def test_kernels_are_created_once(double, squared):
    before = len(host_kernels.made)
    x = double.asarray(np.ones(3))
    squared(x, 1.0)
    squared(x, 2.0)
    assert len(host_kernels.made) <= before + 1


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kernel_of_a_training_step_compiles_for_a_gpu(double, dtype):
    """Compile with NVRTC, which CuPy uses and which needs no GPU; skipped if CuPy or NVRTC is not installed."""
    nvrtc = NVRTC or pytest.skip("CuPy or NVRTC is not installed")
    faults.clear_caches()
    host_kernels.made.clear()
    learner = Learner(models.build("se_resnet8"), (8, 8, 3), seed=0, device="gpu")
    bytes_ = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    images = Images(bytes_, np.array([0, 1, 2, 9]), Normalisation.of(bytes_), "gpu")
    batch = images.batch(draw(np.random.default_rng(0), 4, augment=True), slice(0, 4))
    learner.w = learner.w.astype(dtype)
    learner.step(batch[0].astype(dtype), batch[1], SGD(weight_decay=5e-4), 0.1)
    learner.step(batch[0].astype(dtype), batch[1], AdamW(), 0.1, clip_norm=1.0, ema=EMA())
    assert len(host_kernels.made) >= 20
    for text, name in host_kernels.made:
        program = nvrtc.createProgram(text, f"{name}.cu", (), ())
        try:
            nvrtc.compileProgram(program, ("--gpu-architecture=sm_90", "-std=c++17"))
        except nvrtc.NVRTCError:
            pytest.fail(f"{name}: {nvrtc.getProgramLog(program)}")
