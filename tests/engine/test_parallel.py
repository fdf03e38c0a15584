"""Splitting work into blocks and threads, and the state of BLAS, NumPy and forked children afterwards."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from se_numpy.engine import parallel, single_threaded_blas, threads
from se_numpy.engine.parallel import parallel_for, parallel_for_rows


@given(n=st.integers(1, 200), bytes_per_item=st.integers(1, 10**8))
def test_blocks_cover_everything_once_and_in_order(n, bytes_per_item):
    cut = parallel_for(np, lambda part: list(range(n))[part], n, bytes_per_item)
    assert [i for block in cut for i in block] == list(range(n))
    assert all(cut)


def test_blocks_do_not_depend_on_the_number_of_threads(monkeypatch):
    cuts = []
    for number in ("1", "2", "5"):
        monkeypatch.setenv("SE_NUMPY_THREADS", number)
        cuts.append(parallel_for(np, lambda part: part, 37, 10**7))
    assert cuts[0] == cuts[1] == cuts[2]
    assert len(cuts[0]) > 4


def test_blocks_are_shared_by_threads(monkeypatch):
    monkeypatch.setenv("SE_NUMPY_THREADS", "2")
    together = threading.Barrier(2, timeout=300)  # passes only if two blocks run at the same time
    parallel_for(np, lambda part: together.wait(), 4, 10**8)


def test_device_gets_one_block(double):
    assert parallel_for(double, lambda part: part, 1000, 10**9) == [slice(0, 1000)]


def test_error_in_any_block_reaches_the_caller(monkeypatch):
    monkeypatch.setenv("SE_NUMPY_THREADS", "3")
    for bad in range(8):
        with pytest.raises(ZeroDivisionError):
            parallel_for(np, lambda part, bad=bad: 1 / (part.start - bad), 8, 10**7)
    assert parallel_for(np, lambda part: part.start, 8, 10**7) == list(range(8))


def test_blocks_can_be_nested(monkeypatch):
    monkeypatch.setenv("SE_NUMPY_THREADS", "2")
    inner = parallel_for(np, lambda part: sum(parallel_for(np, lambda p: p.start, 6, 10**7)), 6, 10**7)
    assert inner == [15] * 6


def test_invalid_number_of_threads_is_refused(monkeypatch):
    monkeypatch.setenv("SE_NUMPY_THREADS", "many")
    with pytest.raises(ValueError, match="SE_NUMPY_THREADS is 'many'"):
        threads()


def test_blas_threads_are_restored():
    from threadpoolctl import threadpool_info

    def blas_threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = blas_threads()
    with single_threaded_blas(), single_threaded_blas():
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_blas_threads_are_restored_after_an_error():
    from threadpoolctl import threadpool_info

    before = [pool["num_threads"] for pool in threadpool_info()]
    with pytest.raises(ZeroDivisionError):
        parallel_for(np, lambda part: 1 / 0, 8, 10**7)
    assert [pool["num_threads"] for pool in threadpool_info()] == before


@pytest.mark.parametrize("number", ["1", "2"])
def test_blocks_run_with_one_blas_thread_and_the_callers_settings(monkeypatch, number):
    from threadpoolctl import threadpool_info

    monkeypatch.setenv("SE_NUMPY_THREADS", number)
    buffer = np.getbufsize()

    def settings(part):
        blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
        return blas, np.geterr()["over"], np.getbufsize()

    with np.errstate(over="ignore"):
        seen = parallel_for(np, settings, 8, 10**7)
    assert all(blas == {1} and over == "ignore" and size == parallel.BUFFER for blas, over, size in seen)
    assert np.getbufsize() == buffer


@given(n=st.integers(1, 5), rows=st.integers(1, 40), bytes_per_row=st.integers(1, 3 * 10**6))
def test_bands_cover_every_row_once_and_in_order(n, rows, bytes_per_row):
    cuts = parallel_for_rows(np, lambda i, h: (i, h), n, rows, bytes_per_row)
    covered = [(i, h) for images, band in cuts for i in range(n)[images] for h in range(rows)[band]]
    assert covered == [(i, h) for i in range(n) for h in range(rows)]
    for images, band in cuts:
        assert images.stop - images.start == 1 or band == slice(0, rows)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_threads_work_in_a_forked_child(monkeypatch):
    monkeypatch.setenv("SE_NUMPY_THREADS", "2")
    code = (
        "import os, numpy as np; from se_numpy.engine import conv2d\n"
        "X, V = np.ones((64, 16, 16, 8), 'f'), np.ones((3, 3, 8, 8), 'f')\n"
        "conv2d(X, V)\n"
        "pid = os.fork()\n"
        "conv2d(X, V)\n"
        "if pid == 0: os._exit(0)\n"
        "print(os.waitpid(pid, 0)[1])"
    )
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, timeout=600
    )
    assert out.stdout.strip() == "0"


FORKED = """
import os, sys
from threadpoolctl import threadpool_info
from se_numpy.engine import single_threaded_blas
import numpy as np
np.ones((3, 3)) @ np.ones((3, 3))
threads = lambda: [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]
before = threads()
with single_threaded_blas():
    inside = threads()
    pid = os.fork()
    if pid == 0:
        right = threads() == before
        with single_threaded_blas():
            right &= threads() == inside
        right &= threads() == before
        os._exit(0 if right else 1)
    child = os.waitpid(pid, 0)[1]
    assert threads() == inside
assert threads() == before
print(child, inside != before)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_blas_threads_are_restored_in_a_forked_child():
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, timeout=600, env=environment,
        check=False,
    )  # fmt: skip
    assert out.stdout.split() == ["0", "True"], out.stderr


def test_a_single_thread_starts_no_others():
    code = (
        "import threading, numpy as np; from se_numpy import engine\n"
        "X, V = np.ones((64, 16, 16, 8), 'f'), np.ones((3, 3, 8, 8), 'f')\n"
        "engine.conv2d_backward(engine.conv2d(X, V, padding=1), X, V, padding=1)\n"
        "print(threading.active_count())"
    )
    environment = {**os.environ, "SE_NUMPY_THREADS": "1"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.strip() == "1"
