"""The ground floor: whose array, which device, how work is cut, and what an import costs."""

import os
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from se_numpy.backend import blocks

from se_numpy import backend, conv2d, conv2d_backward, to_device, to_host


def test_array_module_follows_the_array(xp):
    assert backend.array_module(xp.asarray(np.ones(2)), None, 3.0) is xp


def test_arrays_of_both_kinds_are_refused(device_xp):
    here, there = np.ones(2), device_xp.asarray(np.ones(2))
    with pytest.raises(TypeError, match=r"1 of the arrays are NumPy's.*to_device"):
        backend.array_module(here, there)


def test_something_else_than_an_array_is_refused():
    with pytest.raises(TypeError, match="got list"):
        backend.array_module([1.0, 2.0])


def test_to_device_and_back(device_xp):
    x = np.arange(6.0).reshape(2, 3)
    there = to_device(x, "gpu")
    assert isinstance(there, device_xp.ndarray)
    assert to_device(there, "gpu") is there
    np.testing.assert_array_equal(to_host(there), x)
    assert to_host(x) is x


def test_unknown_device_and_missing_gpu(monkeypatch):
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        to_device(np.ones(2), "tpu")
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed
    with pytest.raises(RuntimeError, match="CuPy is not installed"):
        to_device(np.ones(2), "gpu")


@given(n=st.integers(1, 200), bytes_per_item=st.integers(1, 10**8))
def test_blocks_cover_everything_once_and_in_order(n, bytes_per_item):
    blocks = backend.over_blocks(np, lambda part: list(range(n))[part], n, bytes_per_item)
    assert [i for block in blocks for i in block] == list(range(n))
    assert all(blocks)


def test_cut_does_not_depend_on_the_number_of_threads(monkeypatch):
    cuts = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("SE_NUMPY_THREADS", threads)
        cuts.append(backend.over_blocks(np, lambda part: part, 37, 10**7))
    assert cuts[0] == cuts[1] == cuts[2]
    assert len(cuts[0]) > 4


def test_blocks_are_shared_by_threads(monkeypatch):
    monkeypatch.setenv("SE_NUMPY_THREADS", "2")
    together = threading.Barrier(2, timeout=20)  # passes only if two blocks are under way at once
    backend.over_blocks(np, lambda part: together.wait(), 4, 10**8)


def test_a_device_gets_one_block(double):
    assert backend.over_blocks(double, lambda part: part, 1000, 10**9) == [slice(0, 1000)]


def test_an_error_in_any_block_reaches_the_caller(monkeypatch):
    monkeypatch.setenv("SE_NUMPY_THREADS", "3")
    for bad in range(8):
        with pytest.raises(ZeroDivisionError):
            backend.over_blocks(np, lambda part, bad=bad: 1 / (part.start - bad), 8, 10**7)
    assert backend.over_blocks(np, lambda part: part.start, 8, 10**7) == list(range(8))


def test_a_block_may_itself_be_cut(monkeypatch):
    monkeypatch.setenv("SE_NUMPY_THREADS", "2")
    inner = backend.over_blocks(np, lambda part: sum(backend.over_blocks(np, lambda p: p.start, 6, 10**7)), 6, 10**7)
    assert inner == [15] * 6


def test_number_of_threads_must_be_a_number(monkeypatch):
    monkeypatch.setenv("SE_NUMPY_THREADS", "many")
    with pytest.raises(ValueError, match="SE_NUMPY_THREADS is 'many'"):
        backend.threads()


def test_blas_gets_its_threads_back():
    from threadpoolctl import threadpool_info

    def blas_threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = blas_threads()
    with backend.single_threaded_blas(), backend.single_threaded_blas():
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_blas_gets_its_threads_back_after_an_error_too():
    from threadpoolctl import threadpool_info

    before = [pool["num_threads"] for pool in threadpool_info()]
    with pytest.raises(ZeroDivisionError):
        backend.over_blocks(np, lambda part: 1 / 0, 8, 10**7)
    assert [pool["num_threads"] for pool in threadpool_info()] == before


@pytest.mark.parametrize("threads", ["1", "2"])
def test_blocks_run_with_one_blas_thread_and_the_callers_settings(monkeypatch, threads):
    from threadpoolctl import threadpool_info

    monkeypatch.setenv("SE_NUMPY_THREADS", threads)
    buffer = np.getbufsize()

    def look(part):
        blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
        return blas, np.geterr()["over"], np.getbufsize()

    with np.errstate(over="ignore"):
        seen = backend.over_blocks(np, look, 8, 10**7)
    assert all(blas == {1} and over == "ignore" and size == blocks.BUFFER for blas, over, size in seen)
    assert np.getbufsize() == buffer


@given(n=st.integers(1, 5), rows=st.integers(1, 40), bytes_per_row=st.integers(1, 3 * 10**6))
def test_bands_cover_every_row_once_and_in_order(n, rows, bytes_per_row):
    cuts = backend.over_bands(np, lambda i, h: (i, h), n, rows, bytes_per_row)
    covered = [(i, h) for images, band in cuts for i in range(n)[images] for h in range(rows)[band]]
    assert covered == [(i, h) for i in range(n) for h in range(rows)]
    for images, band in cuts:
        assert images.stop - images.start == 1 or band == slice(0, rows)


def test_one_large_image_is_cut_too():
    X, V = np.ones((1, 192, 192, 16), np.float32), np.ones((3, 3, 16, 16), np.float32)
    conv2d(X, V, padding=1)
    tracemalloc.start()
    U = conv2d(X, V, padding=1)
    conv2d_backward(U, X, V, padding=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < U.nbytes + X.nbytes + 9 * X.nbytes / 2


def test_scratch_is_reused_by_name_and_thread():
    a = backend.scratch(np, "test", (4, 5), np.float32)
    assert np.shares_memory(a, backend.scratch(np, "test", (10,), np.float64))
    assert not np.shares_memory(a, backend.scratch(np, "other", (4, 5), np.float32))
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(backend.scratch(np, "test", (4, 5), np.float32)))
    thread.start()
    thread.join()
    assert not np.shares_memory(a, elsewhere[0])


@pytest.mark.parametrize(("R", "K", "M"), [(1, 3, 2), (700, 144, 16), (1031, 288, 32), (77, 576, 64), (300, 2, 1500)])
def test_products_in_tiles_are_products(R, K, M):
    rng = np.random.default_rng(R)
    rows, matrix, other = rng.standard_normal((R, K)), rng.standard_normal((K, M)), rng.standard_normal((R, M))
    out = np.empty((R, 2 * M))[:, :M]
    backend.product(np, rows, matrix, out=out)
    np.testing.assert_allclose(out, rows @ matrix, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(backend.product_over_rows(np, rows, other), rows.T @ other, rtol=1e-10, atol=1e-10)


def test_convolution_never_holds_all_windows():
    rng = np.random.default_rng(0)
    X, V = rng.standard_normal((64, 32, 32, 16), np.float32), rng.standard_normal((3, 3, 16, 16), np.float32)
    all_windows = 9 * X.nbytes
    conv2d_backward(conv2d(X, V, padding=1), X, V, padding=1)  # scratch is made, by one thread at least
    tracemalloc.start()
    U = conv2d(X, V, padding=1)
    conv2d_backward(U, X, V, padding=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < U.nbytes + X.nbytes + all_windows / 3


IMPORT = """
import sys, numpy
before = set(sys.modules)
import se_numpy
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new & {"cupy", "matplotlib", "tqdm", "threadpoolctl", "concurrent", "torch"}))
"""


def test_import_brings_in_nothing_heavy():
    out = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_threads_work_in_a_forked_child(monkeypatch):
    monkeypatch.setenv("SE_NUMPY_THREADS", "2")
    code = (
        "import os, numpy as np; from se_numpy import conv2d\n"
        "X, V = np.ones((64, 16, 16, 8), 'f'), np.ones((3, 3, 8, 8), 'f')\n"
        "conv2d(X, V)\n"
        "pid = os.fork()\n"
        "conv2d(X, V)\n"
        "if pid == 0: os._exit(0)\n"
        "print(os.waitpid(pid, 0)[1])"
    )
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert out.stdout.strip() == "0"
