"""Channels-first submissions: arrays turned round on their way in and out, nowhere else.

Maps are (N, H, W, C) here and (N, C, H, W) there; filters (k, k, C', C) here and (C, C', k, k) there.
"""

from typing import Any

import numpy as np

from se_numpy.grading.task import Task

LAYOUTS = ("NHWC", "NCHW")
MAPS, FILTERS = (0, 3, 1, 2), (3, 2, 0, 1)


def theirs(task: Task, name: str, value: Any, layout: str) -> Any:
    """An argument or an expected result as the submission has it."""
    return np.ascontiguousarray(value.transpose(_order(task, name))) if _turns(value, layout) else value


def ours(task: Task, name: str, value: Any, layout: str) -> Any:
    """What a submission returned, as the library has it."""
    return np.ascontiguousarray(value.transpose(np.argsort(_order(task, name)))) if _turns(value, layout) else value


def _turns(value: Any, layout: str) -> bool:
    return layout == "NCHW" and isinstance(value, np.ndarray) and value.ndim == 4


def _order(task: Task, name: str) -> tuple[int, ...]:
    return FILTERS if task.is_filter(name) else MAPS
