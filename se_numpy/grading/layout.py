"""Convert between the library's layout and that of channels-first submissions.

Maps are (N, H, W, C) in the library and (N, C, H, W) in a channels-first submission; filters are (k, k, C', C) and
(C, C', k, k).
"""

from typing import Any

import numpy as np

from se_numpy.grading.task import Task

LAYOUTS = ("NHWC", "NCHW")
MAPS, FILTERS = (0, 3, 1, 2), (3, 2, 0, 1)


def theirs(task: Task, name: str, value: Any, layout: str) -> Any:
    """Convert an argument or an expected result to the submission's layout."""
    return np.ascontiguousarray(value.transpose(_order(task, name))) if _turns(value, layout) else value


def ours(task: Task, name: str, value: Any, layout: str) -> Any:
    """Convert an output of the submission to the library's layout."""
    return np.ascontiguousarray(value.transpose(np.argsort(_order(task, name)))) if _turns(value, layout) else value


def _turns(value: Any, layout: str) -> bool:
    return layout == "NCHW" and isinstance(value, np.ndarray) and value.ndim == 4


def _order(task: Task, name: str) -> tuple[int, ...]:
    return FILTERS if task.is_filter(name) else MAPS
