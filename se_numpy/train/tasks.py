"""The tasks by name, as the settings of a run name them."""

from collections.abc import Mapping
from typing import Any

from se_numpy.train.detecting import Detection
from se_numpy.train.task import Classification, Task

TASKS: dict[str, Task] = {task.name: task for task in (Classification(), Detection())}


def task_of(config: Mapping[str, Any]) -> Task:
    """Return the task that the settings of a run name; older runs name none and classify.

    Raises
    ------
    ValueError
        If there is no such task.
    """
    name = config.get("task", Classification.name)
    if name not in TASKS:
        raise ValueError(f"task is {name!r}; expected one of {', '.join(TASKS)}")
    return TASKS[name]
