"""The built-in tasks, in the order of the paper."""

from importlib import import_module

from se_numpy.grading.task import Task

# One file per subject; within a file, each of the TASKS builds on the previous ones.
SUBJECTS = (
    "convolution", "activation", "norm", "squeeze", "excite", "scale", "block", "pool", "loss", "sgd", "network",
)  # fmt: skip


def all_tasks() -> dict[str, Task]:
    """Return all tasks by name."""
    modules = [import_module(f"{__name__}.{subject}") for subject in SUBJECTS]
    return {task.name: task for module in modules for task in module.TASKS}
