"""Work spread over processes of this machine or over a Dask cluster: either is an executor to the one who submits."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any


@contextmanager
def workers(jobs: int, dask: str | None = None, start: Callable[[], Any] | None = None) -> Iterator[Executor]:
    """``jobs`` processes on this machine; or the executor of a Dask cluster at an address (extra ``cluster``).

    ``start`` is called first in each process of this machine; a cluster's workers are set up by who started them.
    """
    if dask is None:
        import multiprocessing

        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=start) as pool:
            yield pool
        return
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("--dask needs Dask: pip install 'se-numpy[cluster]'") from None
    try:
        client = Client(dask, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        raise ValueError(f"there is no Dask scheduler at {dask} ({error}); expected tcp://HOST:PORT") from None
    with client, client.get_executor(pure=False) as pool:
        yield pool
