"""Helpers for the tutorials: exercises that never raise, hints, solutions, checked sentences and figures.

    from se_numpy.grading.lessons import check, claim, exercise, hint, solution

In a plain script, cards, hints and solutions are printed; in a notebook, the cell displays them.
"""

from se_numpy.grading.lessons.checked_text import claim
from se_numpy.grading.lessons.exercises import check, exercise
from se_numpy.grading.lessons.hints import hint, solution

__all__ = ["check", "claim", "exercise", "hint", "solution"]
