"""The grading oracle: proves right answers right, and says by name what is wrong.

The library's own equations are the truth. ``check("squeeze", squeeze)`` in a notebook, ``assert_task`` in a test,
``se-numpy grade FILE`` for submissions of others, which never run in the grader's own process. ``hint("squeeze")`` and
``solution("squeeze")`` help; ``lessons`` is what the tutorials are made of.
"""

from typing import Any

__all__ = ["assert_task", "check", "hint", "load_ipython_extension", "points", "solution"]


def __getattr__(name: str) -> Any:
    """What ``__all__`` names, looked up when it is asked for: the command line is not to wait for all of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("hint", "solution"):
        from se_numpy.grading.lessons import hints as module
    else:
        from se_numpy.grading import notebook as module  # type: ignore[no-redef]

    return getattr(module, name)
