"""All tasks, in the order of the paper and of a course."""

from importlib import import_module

from se_numpy.grading.task import Task

# One file a subject; a file's TASKS are in the order in which they build on each other.
SUBJECTS = (
    "convolution", "activation", "norm", "squeeze", "excite", "scale", "block", "pool", "loss", "sgd", "network",
)  # fmt: skip


def all_tasks() -> dict[str, Task]:
    """name -> task."""
    modules = [import_module(f"{__name__}.{subject}") for subject in SUBJECTS]
    return {task.name: task for module in modules for task in module.TASKS}
