"""Grade a source in any declared form in this process, for tests."""

from contextlib import nullcontext
from functools import cache
from unittest.mock import patch

import numpy as np

from se_numpy.grading import grade
from se_numpy.grading.adapters import Adapter
from se_numpy.grading.assignment import find
from se_numpy.grading.compare import Expected
from se_numpy.grading.declarations import Form, call_lines, call_of, declared
from se_numpy.grading.layout import theirs
from se_numpy.grading.models import Reply
from se_numpy.grading.sandbox_worker import Refused, arrays, explain
from se_numpy.grading.source_parser import described


def in_form(source: str, task: str, form: Form | None = None, framework=None, named: bool = False):
    """Return the report on a task of a source, without a sandbox; mistakes get a name only if ``named``."""
    namespace, call, own = loaded(source, task, form)
    adapter = Adapter(namespace, {task: call}, np, framework, Refused)

    def reply(arguments, hyper) -> Reply:
        before = [a.tobytes() if isinstance(a, np.ndarray) else None for a in arguments]
        try:
            with np.errstate(all="ignore"):
                outputs = tuple(arrays(np.asarray, adapter.call(task, arguments, hyper)))
        except Exception as error:
            return Reply(**explain(error))
        changed = [k for k, (a, b) in enumerate(zip(arguments, before, strict=True)) if b and a.tobytes() != b]
        return Reply("ok", outputs, tuple(changed))

    no_search = {} if named else {"diagnose": lambda *_: (None, ()), "_counterexample": lambda *_: None}
    with patch.multiple(grade, **no_search) if no_search else nullcontext():
        return grade.grade_task(find(task), reply, seed=0, layout=own.layout, seconds=0.02, prepared=cases(task))


def reproduced(source: str, task: str):
    """Return the arrays that the code to reproduce prints for a case, and those that the adapter returns for it."""
    namespace, call, own = loaded(source, task)
    case = cases(task)[0].case
    given = {name: theirs(find(task), name, value, own.layout) for name, value in case.arguments.items()}
    scope = {**namespace, **given, **case.hyper, "print": lambda value: scope.update(printed=value)}
    exec("\n".join(call_lines(call, own, find(task), list(case.hyper))), scope)
    graded = Adapter(namespace, {task: call}, np, None, Refused).call(task, list(given.values()), case.hyper)
    return arrays(np.asarray, scope["printed"]), arrays(np.asarray, graded)


def loaded(source: str, task: str, form: Form | None = None):
    """Return a source's names, how its task is called, and its form."""
    parsed = described(source, "hw.py")
    own = declared(parsed["declared"], parsed["classes"], form)
    namespace: dict = {}
    exec(compile(source, "submission", "exec"), namespace)
    return namespace, call_of(find(task), [*parsed["functions"], *parsed["classes"]], own), own


@cache
def cases(task: str) -> list[Expected]:
    """Return the cases that tasks are graded on, with their right results."""
    return grade.prepare(find(task), 0)
