"""One training step on CuPy in host memory, for gpu_launches.py and gpu_kernels.py: counted, or timed on the host.

python benchmarks/gpu_step.py count|time MODEL BATCH SIZE prints JSON. The package is the first se_numpy in PYTHONPATH;
the tool that counts is always this checkout's.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent.parent / "tests"))

import cupy_on_host
from cupy_on_host.record import Launch

WARM, TIMED = 5, 30


def training_step(model: str, batch: int, size: int) -> Callable[[], None]:
    """Return a function that cuts a batch of (size, size, 3) images and trains on it, as ``se-numpy train`` does."""
    from se_numpy import models
    from se_numpy.data.batches import Images, Normalisation, draw
    from se_numpy.optim import SGD
    from se_numpy.train import Learner

    rng = np.random.default_rng(0)
    learner = Learner(models.build(model, classes=10), (size, size, 3), 0, "gpu")
    pictures = rng.integers(0, 256, (batch, size, size, 3), np.uint8)
    images = Images(pictures, rng.integers(0, 10, batch), Normalisation.of(pictures), "gpu")
    draws = draw(rng, batch, augment=True).to("gpu")
    optimiser = SGD(weight_decay=5e-4)

    def step() -> None:
        learner.step(*images.batch(draws, slice(0, batch)), optimiser, 0.1)

    return step


def count(model: str, batch: int, size: int) -> dict[str, Any]:
    """Return what one step asks of the device; nothing is computed."""
    cupy_on_host.install(execute=False, nvrtc=False)
    step = training_step(model, batch, size)
    for _ in range(2):  # the first steps make what later ones find
        step()
    with cupy_on_host.recording() as record:
        step()
    launches = [*record.launches, *record.gemms]
    return {
        "launches": [
            {"kernel": e.kernel, "blocks": e.blocks, "nbytes": e.nbytes, "flops": 0} if isinstance(e, Launch)
            else {"kernel": f"{e.routine} ({e.dtype})", "blocks": None, "nbytes": e.nbytes, "flops": e.flops}
            for e in launches
        ],
        "uploads": [copy.nbytes for copy in record.uploads],
        "downloads": [copy.nbytes for copy in record.downloads],
        "memsets": len(record.fills),
        "waits": [wait.name for wait in record.waits],
        "peak_bytes": record.peak_bytes,
    }  # fmt: skip


def host_times(model: str, batch: int, size: int) -> list[float]:
    """Return the milliseconds of this thread's CPU time for each of some steps, with calls that return at once."""
    cupy_on_host.install(stubs=True, nvrtc=False)
    step = training_step(model, batch, size)
    for _ in range(WARM):
        step()
    times = []
    for _ in range(TIMED):
        start = time.thread_time()
        step()
        times.append(1e3 * (time.thread_time() - start))
    return times


if __name__ == "__main__":
    what, model, batch, size = sys.argv[1:]
    print(json.dumps({"count": count, "time": host_times}[what](model, int(batch), int(size))))
