"""Match submissions to the roster's students, and keep the latest of several uploads."""

from dataclasses import replace

from se_numpy.grading.class_folder import ClassFolder, Entry
from se_numpy.grading.roster import Roster


def identified(members: ClassFolder, roster: Roster | None) -> ClassFolder:
    """Return the submissions with the roster's students, and without those that were uploaded again later.

    No file is dropped: an older upload is listed as passed over, and a submission without a student as unmatched.
    """
    latest: dict[tuple[str, str], Entry] = {}
    older, unmatched = [], []
    for entry in members.entries:
        if roster is not None:
            student, reason = roster.match(entry.download)
            entry = replace(entry, student=student.key if student else entry.student)
            if student is None:
                unmatched.append((entry.name, reason))
        key = (entry.student, entry.download.file) if entry.download.lms else ("", entry.folder)
        other = latest.get(key)
        if other is not None and other.download.attempt != entry.download.attempt:
            first, last = sorted((other, entry), key=lambda one: one.download.attempt)
            older.append((first.name, f"an older upload of {entry.download.file}; {last.name} is graded"))
            latest[key] = last
        else:
            latest[key if other is None else ("", entry.folder)] = entry
    order = [entry.path for entry in members.entries]
    kept = tuple(sorted(latest.values(), key=lambda entry: order.index(entry.path)))
    return ClassFolder(kept, (*members.passed_over, *older), tuple(unmatched))
