"""The card a notebook shows below a cell: one task's verdict, and its plain-text twin for a terminal."""

from dataclasses import dataclass

from se_numpy.grading.models import TaskReport
from se_numpy.grading.report import text
from se_numpy.grading.report.html_parts import one_line, paragraph, pill, style, task_body
from se_numpy.grading.report.terminal import task_lines, wrap


@dataclass(frozen=True, repr=False)
class Card:
    """One task's verdict for a notebook; ``note`` is a last line, such as how far the grading was isolated."""

    task: TaskReport
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.task.status == "passed"

    def _repr_html_(self) -> str:
        """The card as HTML.  It brings its style along and takes its colour from the notebook, light or dark."""
        task = self.task
        earned = f'<span class="quiet">{text.points(task.points)} of {text.points(task.max_points)} points</span>'
        head = f"<h2>{one_line(task.task)} {pill(task.status)} {earned}</h2>"
        inside = "\n".join(filter(None, [head, paragraph(text.line(task.title)), task_body(task),
                                         paragraph(self.note, "quiet")]))  # fmt: skip
        return f'<div class="se-report"><style>{style("style.css")}</style><div class="card">{inside}</div></div>'

    def __repr__(self) -> str:
        lines = [*task_lines(self.task), *([""] if self.note else []), *wrap(self.note)]
        return "\n".join(lines)
