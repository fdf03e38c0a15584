"""Runs, through any executor: one is made where it is missing, and what failed is told without ending the others."""

import io
import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from se_numpy.ablation.study import DONE, FAILURE, result, run_name, state
from se_numpy.data import Dataset, load
from se_numpy.train import Config, complete
from se_numpy.train.console import duration


def prepare(threads: int) -> None:
    """What a process of this machine does before its first run: it takes its share of the cores, no more.

    Ctrl-C is left to the process that started it, which ends this one.
    """
    from tqdm import tqdm

    from se_numpy.engine import keep_freed_memory

    tqdm.set_lock(threading.RLock())  # its own is shared between processes, and who is ended cannot give it back
    os.environ["SE_NUMPY_THREADS"] = str(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()


def make(settings: dict[str, Any]) -> dict[str, Any]:
    """One run, told by the fields of its Config: {"accuracy": ...}, or {"failed": a sentence}, whatever happens.

    Plain values in and out, so that any executor can carry it. A run that is done is not made again.
    """
    config, log = Config(**settings), io.StringIO()
    try:
        if state(config) != DONE:
            _make(config, log)
        return {"accuracy": result(config)["test_accuracy"]}
    except Exception as error:  # a run's mistake, of whatever kind, must not end the others
        expected = isinstance(error, ValueError | ArithmeticError | RuntimeError | OSError | MemoryError)
        sentence = str(error) if expected and str(error) else f"{type(error).__name__}: {error}"
        _keep_failure(config, sentence, log.getvalue() + traceback.format_exc())
        return {"failed": sentence}


def _make(config: Config, log: io.StringIO) -> None:
    """Train; a run that was interrupted goes on from where it was."""
    complete(_dataset(config.data), config, log)
    folder = Path(config.out or "")
    (folder / "log.txt").write_text(log.getvalue(), encoding="utf-8")
    (folder / FAILURE).unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _dataset(source: str) -> Dataset:
    """Read once in a process, for all of its runs."""
    return load(source)


def _keep_failure(config: Config, sentence: str, log: str) -> None:
    folder = Path(config.out or "")
    with suppress(OSError, ValueError):  # ValueError: something else lies there, which is left alone
        state(config)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n")
        (folder / FAILURE).write_text(json.dumps({"failed": sentence}) + "\n")
        (folder / "log.txt").write_text(log, encoding="utf-8")


def make_all(
    configs: Sequence[Config], pool: Executor, say: Callable[[str], Any], weights: Sequence[float] | None = None
) -> dict[str, str]:
    """Make these runs, a line each as they end; returns what failed, by the run's name, and why.

    ``weights`` say how long each takes beside the others, for the time that is left.
    """
    weight = dict(zip((c.out for c in configs), weights or [1.0] * len(configs), strict=True))
    total, through, failed = sum(weight.values()), 0.0, {}
    wide, started = max((len(run_name(c)) for c in configs), default=0), time.perf_counter()
    futures = {pool.submit(make, asdict(config)): config for config in configs}
    for i, future in enumerate(as_completed(futures), start=1):
        config = futures[future]
        outcome = _outcome(future, config)
        through += weight[config.out]
        left = duration((time.perf_counter() - started) * (total - through) / through)
        if "failed" in outcome:
            failed[run_name(config)] = outcome["failed"]
        ended = f"failed: {outcome['failed']}" if "failed" in outcome else f"{100 * outcome['accuracy']:6.2f} % right"
        say(f"{i:>4}/{len(configs)}  {run_name(config):{wide}s}  {ended}  left {left}")
    return failed


def _outcome(future: Any, config: Config) -> dict[str, Any]:
    try:
        outcome = future.result()
    except BrokenProcessPool:
        raise RuntimeError(
            "a worker was ended from outside, perhaps for want of memory; finished runs are kept: "
            "the same command goes on, with fewer --jobs if need be"
        ) from None
    if "failed" not in outcome and state(config) != DONE:
        return {"failed": f"it was made, but {config.out} is not to be seen here; expected a folder that all workers "
                          "share"}  # fmt: skip
    return outcome
