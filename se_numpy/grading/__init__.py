"""The grading oracle: grades submitted functions and names the mistake in incorrect ones.

The library's own equations are the reference. Use ``check("squeeze", squeeze)`` in a notebook, ``assert_task`` in a
test, and ``se-numpy grade FILE`` for submissions, which never run in the grader's own process. ``hint("squeeze")`` and
``solution("squeeze")`` help students; ``lessons`` contains helpers for the tutorials.
"""

from typing import TYPE_CHECKING

from se_numpy import lazy as _lazy

if TYPE_CHECKING:  # at run time, these are imported on first use
    from se_numpy.grading.lessons.hints import hint, solution
    from se_numpy.grading.notebook import assert_task, check, load_ipython_extension, points

__all__ = ["assert_task", "check", "hint", "load_ipython_extension", "points", "solution"]

if not TYPE_CHECKING:  # a type checker would accept any attribute
    __getattr__, __dir__ = _lazy.attach(
        __name__,
        __all__,
        attributes=dict.fromkeys(("hint", "solution"), "lessons.hints")
        | dict.fromkeys(("assert_task", "check", "load_ipython_extension", "points"), "notebook"),
    )
