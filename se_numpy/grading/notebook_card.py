"""A graded task as a card for notebooks, and as plain text for terminals."""

from dataclasses import dataclass

from se_numpy.grading.models import TaskReport
from se_numpy.grading.report import text
from se_numpy.grading.report.html_parts import one_line, paragraph, pill, task_body
from se_numpy.grading.report.terminal import task_lines, wrap
from se_numpy.pages import stylesheet


@dataclass(frozen=True, repr=False)
class Card:
    """A graded task for a notebook; ``note`` is its last line, for example the isolation level."""

    task: TaskReport
    note: str = ""

    @property
    def passed(self) -> bool:
        """True if the task passed."""
        return self.task.status == "passed"

    def _repr_html_(self) -> str:
        """Return the card as HTML with its stylesheet; its colours follow the notebook's light or dark theme."""
        task = self.task
        earned = f'<span class="quiet">{text.points(task.points)} of {text.points(task.max_points)} points</span>'
        head = f"<h2>{one_line(task.task)} {pill(task.status)} {earned}</h2>"
        inside = "\n".join(filter(None, [head, paragraph(text.line(task.title)), task_body(task),
                                         paragraph(self.note, "quiet")]))  # fmt: skip
        return f'<div class="se-report"><style>{stylesheet("task.css")}</style><div class="card">{inside}</div></div>'

    def __repr__(self) -> str:
        lines = [*task_lines(self.task), *([""] if self.note else []), *wrap(self.note)]
        return "\n".join(lines)
