"""What a tutorial is made of: exercises that never raise, hints, solutions, sentences held to their numbers, figures.

    from se_numpy.grading.lessons import check, claim, exercise, hint, solution

In a plain script a card, a hint and a solution print themselves; in a notebook they are what their cell shows.
"""

from se_numpy.grading.lessons.checked_text import claim
from se_numpy.grading.lessons.exercises import check, exercise
from se_numpy.grading.lessons.hints import hint, solution

__all__ = ["check", "claim", "exercise", "hint", "solution"]
