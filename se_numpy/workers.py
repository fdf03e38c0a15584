"""Executors that run work in local processes or on a Dask cluster."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from se_numpy.install_hints import install_command


@contextmanager
def workers(jobs: int, dask: str | None = None, start: Callable[[], Any] | None = None) -> Iterator[Executor]:
    """Yield an executor with ``jobs`` local processes or, given an address, that of a Dask cluster (extra ``cluster``).

    ``start`` is called first in each local process. It is not called on a cluster, whose workers are set up separately.

    Raises
    ------
    ValueError
        If Dask is not installed or no scheduler answers at the address.
    """
    if dask is None:
        import multiprocessing

        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=start) as pool:
            with _ignoring_sigint():
                for _ in range(jobs):  # the pool starts a process only when a task is submitted
                    pool.submit(int)
            yield pool
        return
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(f"--dask needs Dask, which is not installed; run {install_command('cluster')}") from None
    try:
        client = Client(dask, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        raise ValueError(f"no Dask scheduler answers at {dask} ({error}); expected tcp://HOST:PORT") from None
    with client, client.get_executor(pure=False) as pool:
        yield pool


@contextmanager
def _ignoring_sigint() -> Iterator[None]:
    """Make processes started in this context ignore Ctrl-C, which the main process handles for all of them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def terminate_on_error(make_pool: Callable[[], Any]) -> Iterator[Any]:
    """Yield the executor of ``make_pool`` and, on an exception such as Ctrl-C, terminate its processes at once.

    A cluster drops the tasks that have not started; those already running cannot be stopped.
    """
    import multiprocessing

    others = set(multiprocessing.active_children())
    with make_pool() as pool:
        try:
            yield pool
        except BaseException:
            ours = set(multiprocessing.active_children()) - others
            for child in ours:
                child.terminate()
            if not ours:
                pool.shutdown(wait=False)
            raise
