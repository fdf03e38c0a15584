"""Executors that run work in local processes or on a Dask cluster."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from se_numpy.install_hints import install_command

PR_SET_PDEATHSIG = 1  # prctl(2): the signal that the system sends to a process when its parent ends


@contextmanager
def workers(jobs: int, dask: str | None = None, start: Callable[[], Any] | None = None) -> Iterator[Executor]:
    """Yield an executor with ``jobs`` local processes or, given an address, that of a Dask cluster (extra ``cluster``).

    ``start`` is called first in each local process. It is not called on a cluster, whose workers are set up separately.
    Local processes end with this one, however it ends.

    Raises
    ------
    ValueError
        If Dask is not installed or no scheduler answers at the address.
    """
    if dask is None:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=spawn, initializer=partial(_start, start)) as pool:
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


def _start(start: Callable[[], Any] | None) -> None:
    """Set up a worker process: it ends with its parent, also if that is killed and cannot end its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A thread waits for the end of the parent on every system, but only while no other thread holds the GIL.
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
        if sys.platform == "linux":
            with suppress(OSError, AttributeError):
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent.pid:  # it ended before the call
                os._exit(1)
    if start is not None:
        start()


def _end_after(parent: Any) -> None:
    """Wait until the parent process has ended, then end this one without cleaning up."""
    parent.join()
    os._exit(1)


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
