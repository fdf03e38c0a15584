"""CuPy on host memory computes and records; in the suite, the tests for a GPU run on it.

These tests run under ``pytest -p cupy_on_host.plugin``, as do those that need a GPU. Without the plugin, one slow test
starts that command.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cupy_on_host
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
INSTALLED = importlib.util.find_spec("cupy") is not None and shutil.which("g++") is not None
MOST_LAUNCHES = 256  # of a step of SE-ResNet-20
on_host = pytest.mark.cupy_host


@pytest.fixture(autouse=True)
def cupy(request):
    """Return CuPy on host memory, for the tests with the marker."""
    if request.node.get_closest_marker("cupy_host") is None:
        return None
    if not cupy_on_host.installed():
        pytest.skip("only with -p cupy_on_host.plugin")
    return importlib.import_module("cupy")


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED or cupy_on_host.installed(), reason="needs CuPy and g++, without the plugin")
def test_all_tests_for_a_gpu_pass_on_host_memory():
    path = os.pathsep.join(filter(None, [str(ROOT / "tests"), str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest", "-p", "cupy_on_host.plugin", "-m", "gpu or cupy_host", "-n", "2"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@on_host
def test_products_sums_and_functions(cupy, dtype):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape).astype(dtype) for shape in ((5, 7, 3), (5, 3, 4)))
    X, Y = cupy.asarray(x), cupy.asarray(y)
    pairs = [
        (X @ Y, x @ y),
        (X[0] @ Y[0], x[0] @ y[0]),
        (X[0].T @ X[0], x[0].T @ x[0]),
        (X[0] @ Y[0][:, 0], x[0] @ y[0][:, 0]),
        (cupy.vdot(X, X), np.vdot(x, x)),
        (X.sum(1), x.sum(1)),
        (cupy.exp(X), np.exp(x)),
    ]
    for there, here in pairs:
        np.testing.assert_allclose(there.get(), here, 1e-4, 1e-4)


@on_host
def test_threads_of_a_block_meet_at_a_barrier(cupy):
    kernel = cupy.RawKernel(
        r"""extern "C" __global__ void turn(float* x) {
            __shared__ float block[64];
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            block[threadIdx.x] = i;
            __syncthreads();
            x[i] = block[blockDim.x - 1 - threadIdx.x];
        }""",
        "turn",
    )
    x = cupy.empty(128, np.float32)
    kernel((2,), (64,), (x,))
    assert x.get().tolist() == [*range(63, -1, -1), *range(127, 63, -1)]


@on_host
def test_new_memory_is_full_of_nan(cupy):
    cupy.get_default_memory_pool().free_all_blocks()
    assert np.isnan(cupy.empty(1000, np.float32).get()).all()


@on_host
def test_unknown_functions_and_too_much_memory_raise(cupy):
    with pytest.raises((cupy.cuda.compiler.CompileException, RuntimeError)):
        cupy.ElementwiseKernel("T x", "T y", "y = nothing(x)", "broken")(cupy.ones(3))
    with pytest.raises(MemoryError):
        cupy.empty(1 << 50)


@on_host
def test_events_and_streams(cupy):
    start, end, stream = cupy.cuda.Event(), cupy.cuda.Event(), cupy.cuda.Stream()
    with stream:
        start.record()
        end.record()
    end.synchronize()
    assert end.done
    assert cupy.cuda.get_elapsed_time(start, end) >= 0


@on_host
def test_record(cupy):
    with cupy_on_host.recording() as record:
        x = cupy.asarray(np.ones((8, 4), np.float32))
        float((x @ x.T).sum())
    (gemm,), (launch,) = record.gemms, record.launches
    assert (gemm.m, gemm.n, gemm.k, gemm.flops) == (8, 8, 4, 2 * 8 * 8 * 4)
    assert (launch.kernel, launch.blocks, launch.nbytes) == ("cupy_sum", 1, 4 * (64 + 1))
    assert [copy.nbytes for copy in record.uploads + record.downloads] == [128, 4]
    assert [wait.name for wait in record.waits] == ["streamSynchronize"]
    assert record.peak_bytes > 0


@on_host
def test_exit_status_is_the_programs_own(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys, cupy\nkept = [cupy.arange(5), cupy.cuda.Stream()]\nsys.exit(int(kept[0].sum()) - 3)")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-m", "cupy_on_host", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (7, "")


@on_host
def test_bytes_of_a_raw_kernel_are_those_of_its_arrays(cupy):
    kernel = cupy.RawKernel(
        'extern "C" __global__ void twice(float* x, int n) { if (!threadIdx.x) x[n] *= 2; }', "twice"
    )
    x = cupy.ones((3, 4), np.float32)
    with cupy_on_host.recording() as record:
        kernel((1,), (1,), (cupy.broadcast_to(x[:, None], (3, 5, 4)), np.int32(2)))
    (launch,) = record.launches
    assert (launch.kernel, launch.nbytes) == ("twice", 48)


@on_host
def test_a_training_step_uploads_nothing_and_waits_for_nothing(cupy):
    from gpu_step import training_step

    step = training_step("se_resnet20", 4, 8)
    step()
    with cupy_on_host.recording() as record:
        step()
    assert record.uploads == record.downloads == record.waits == []
    assert len(record.launches) + len(record.gemms) <= MOST_LAUNCHES
