"""The grading oracle: grades submitted functions and names the mistake in a wrong one.

The library's own equations are the reference. Use ``check("squeeze", squeeze)`` in a notebook, ``assert_task`` in a
test, and ``se-numpy grade FILE`` for submissions, which never run in the grader's own process. ``hint("squeeze")`` and
``solution("squeeze")`` help students; ``lessons`` contains the helpers of the tutorials.
"""

from typing import Any

__all__ = ["assert_task", "check", "hint", "load_ipython_extension", "points", "solution"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that the command line starts fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("hint", "solution"):
        from se_numpy.grading.lessons import hints as module
    else:
        from se_numpy.grading import notebook as module  # type: ignore[no-redef]

    return getattr(module, name)
