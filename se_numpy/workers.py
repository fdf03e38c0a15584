"""Work spread over processes of this machine or over a Dask cluster: either is an executor to the one who submits."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from se_numpy.install_hints import install_command


@contextmanager
def workers(jobs: int, dask: str | None = None, start: Callable[[], Any] | None = None) -> Iterator[Executor]:
    """``jobs`` processes on this machine; or the executor of a Dask cluster at an address (extra ``cluster``).

    ``start`` is called first in each process of this machine; a cluster's workers are set up by who started them.
    """
    if dask is None:
        import multiprocessing

        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=start) as pool:
            with _deaf():
                for _ in range(jobs):  # a process is started when something is submitted, and not before
                    pool.submit(int)
            yield pool
        return
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(f"--dask needs Dask: {install_command('cluster')}") from None
    try:
        client = Client(dask, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        raise ValueError(f"there is no Dask scheduler at {dask} ({error}); expected tcp://HOST:PORT") from None
    with client, client.get_executor(pure=False) as pool:
        yield pool


@contextmanager
def _deaf() -> Iterator[None]:
    """Who is started in here never hears Ctrl-C, which is for the one process that people see to answer."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def ended_with(pool_of: Callable[[], Any]) -> Iterator[Any]:
    """The executor that ``pool_of`` gives; at Ctrl-C its processes are ended at once, not waited for.

    A cluster's workers forget what waits, and cannot be kept from ending what they are at.
    """
    import multiprocessing

    others = set(multiprocessing.active_children())
    with pool_of() as pool:
        try:
            yield pool
        except BaseException:
            ours = set(multiprocessing.active_children()) - others
            for child in ours:
                child.terminate()
            if not ours:
                pool.shutdown(wait=False)
            raise
