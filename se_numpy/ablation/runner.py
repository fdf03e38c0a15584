"""Train runs with any executor: finished runs are skipped, and a failed run does not stop the others."""

import io
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
from se_numpy.data import Dataset, load, reading
from se_numpy.data.file_lock import Busy
from se_numpy.train import Config, complete, run_dir
from se_numpy.train.console import duration
from se_numpy.wrapping import wrap_text


def prepare(threads: int) -> None:
    """Prepare a worker process on this machine: limit its threads and ignore Ctrl-C.

    The parent process handles Ctrl-C and terminates its workers.
    """
    from tqdm import tqdm

    from se_numpy.engine import keep_freed_memory

    tqdm.set_lock(threading.RLock())  # tqdm's own lock is shared, and a terminated process would never release it
    os.environ["SE_NUMPY_THREADS"] = str(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()


def run_one(settings: dict[str, Any]) -> dict[str, Any]:
    """Train one run, given the fields of its Config; return {"accuracy": ...} or {"failed": the reason}.

    Arguments and results are plain values, so that any executor can pass them. A finished run is not repeated.
    """
    config, log = Config(**settings), io.StringIO()
    try:
        if state(config) != DONE:
            _train(config, log)
        return {"accuracy": result(config)["test_accuracy"]}
    except Busy as error:  # the other process writes to the folder
        return {"failed": str(error)}
    except Exception as error:  # an error in one run must not stop the others
        expected = isinstance(error, ValueError | ArithmeticError | RuntimeError | OSError | MemoryError)
        sentence = str(error) if expected and str(error) else f"{type(error).__name__}: {error}"
        _keep_failure(config, sentence, log.getvalue() + traceback.format_exc())
        return {"failed": sentence}


def _train(config: Config, log: io.StringIO) -> None:
    """Train a run, or resume it if it was interrupted."""
    complete(_dataset(config.data, **reading(asdict(config))), config, log)
    folder = Path(config.out or "")
    (folder / "log.txt").write_text(log.getvalue(), encoding="utf-8")
    (folder / FAILURE).unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _dataset(source: str, **options: Any) -> Dataset:
    """Load a data set once per process."""
    return load(source, **options)


def _keep_failure(config: Config, sentence: str, log: str) -> None:
    folder = Path(config.out or "")
    with suppress(OSError, ValueError):  # ValueError: the folder holds something else and must not be changed
        state(config)
        folder.mkdir(parents=True, exist_ok=True)
        with run_dir.locked(folder):
            run_dir.write_json(folder / "config.json", asdict(config))
            run_dir.write_json(folder / FAILURE, {"failed": sentence})
            (folder / "log.txt").write_text(log, encoding="utf-8")


def run_all(
    configs: Sequence[Config], pool: Executor, say: Callable[[str], Any], weights: Sequence[float] | None = None
) -> dict[str, str]:
    """Train these runs and report each as it ends; return the reasons for failures by run name.

    ``weights`` are the relative durations of the runs, for the estimate of the remaining time.
    """
    weight = dict(zip((c.out for c in configs), weights or [1.0] * len(configs), strict=True))
    total, finished, failed = sum(weight.values()), 0.0, {}
    width, started = max((len(run_name(c)) for c in configs), default=0), time.perf_counter()
    futures = {pool.submit(run_one, asdict(config)): config for config in configs}
    for i, future in enumerate(as_completed(futures), start=1):
        config = futures[future]
        outcome = _outcome(future, config)
        finished += weight[config.out]
        left = duration((time.perf_counter() - started) * (total - finished) / finished)
        if "failed" in outcome:
            failed[run_name(config)] = outcome["failed"]
            text = f"failed: {outcome['failed']}"
        else:
            text = f"accuracy {100 * outcome['accuracy']:6.2f} %"
        say(wrap_text(f"{i:>4}/{len(configs)}  {run_name(config):{width}s}  {text}  left {left}", 6))
    return failed


def _outcome(future: Any, config: Config) -> dict[str, Any]:
    try:
        outcome = future.result()
    except BrokenProcessPool:
        raise RuntimeError(
            "a worker was killed, possibly because memory ran out; finished runs are kept: repeat the command to "
            "continue, with fewer --jobs if necessary"
        ) from None
    if "failed" not in outcome and state(config) != DONE:
        return {"failed": f"its worker finished, but {config.out} does not exist here; give --out a folder that all "
                          "workers share"}  # fmt: skip
    return outcome
