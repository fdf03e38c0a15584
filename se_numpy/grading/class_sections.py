"""The sections of a class's view that are tables: grades by hand, what changed, submissions that are alike, and lists.

Text and pages are made from the same sections.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from se_numpy.grading.grades import Grade
from se_numpy.grading.history import Change
from se_numpy.grading.report.text import line
from se_numpy.grading.similarity import Alike

SHOWN = 100  # rows of a table; the files have all
ABOUT_ALIKE = (
    "Only what is rare in the class counts. Equal code has many causes, among them work in pairs, a public source, and "
    "short functions that come out the same; the table cannot tell them apart. The weight grows with the rarity."
)


@dataclass(frozen=True)
class Section:
    """A heading, a sentence, and a table of text."""

    heading: str
    about: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def lines(self) -> list[str]:
        """Return the rows as text: the first column, then the others, with their headings if there are several."""
        several = len(self.head) > 2
        names = [f"{name.lower()} " if several else "" for name in self.head[1:]]
        return [
            f"{row[0]}: " + "; ".join(name + cell for name, cell in zip(names, row[1:], strict=True) if cell)
            for row in self.rows
        ]


def labels_of(grades: Sequence[Grade]) -> dict[str, str]:
    """Return the names of the students of the submissions that count, with the key where two have the same name."""
    count = Counter(grade.name for grade in grades)
    return {
        line(g.submission): line(g.name if count[g.name] == 1 else f"{g.name} ({g.student})")
        for g in grades
        if g.submission
    }


def grading_sections(
    grades: Sequence[Grade], unmatched: Sequence[tuple[str, str]], changes: Sequence[Change], alike: Sequence[Alike],
) -> list[Section]:  # fmt: skip
    """Return the sections that have rows."""
    names, labels = {grade.student: line(grade.name) for grade in grades}, labels_of(grades)
    nothing = [grade for grade in grades if not grade.submission]
    pairs = [
        (*(labels.get(name, name) for name in (row.first, row.second)), "; ".join(row.shared), f"{row.weight:.1f} bits")
        for row in alike[:SHOWN]
    ]
    made = [
        Section("Nothing submitted", "", ("Student", "ID"), tuple((line(g.name), line(g.student)) for g in nothing)),
        Section("Submissions of no student on the roster", "They are graded; correct the roster or their names.",
                ("Submission", "Reason"), tuple((line(name), line(why)) for name, why in unmatched)),
        Section("Comments and points by hand", "", ("Student", "Comment"),
                tuple((line(g.name), line("; ".join(g.comments), 1000)) for g in grades if g.comments)),
        Section("Changes since the earlier run", "", ("Student", "Task", "Before", "Now"),
                tuple(_changed(change, names) for change in changes[:SHOWN])),
        Section("Submissions that are alike", ABOUT_ALIKE, ("Submission", "Other submission", "In common", "Weight"),
                tuple(pairs)),
    ]  # fmt: skip
    return [section for section in made if section.rows]


def _changed(change: Change, names: dict[str, str]) -> tuple[str, ...]:
    after = f"{change.after} (the same file)" if change.same_file else change.after
    return (names.get(change.student, line(change.name)), line(change.task) or "all", change.before, after)
