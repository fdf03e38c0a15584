"""Call trusted functions in the current process, in a notebook or in a test.

Replies are the same as from a sandboxed call, because both use the functions of ``sandbox_worker``.
"""

import contextlib
import importlib
import inspect
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from se_numpy.grading.adapters import Adapter
from se_numpy.grading.declarations import BACKWARD, FRAMEWORKS, Declared, call_of
from se_numpy.grading.isolation.frameworks import framework_missing
from se_numpy.grading.models import Reply
from se_numpy.grading.sandbox_worker import Refused, apply, arrays, explain
from se_numpy.grading.task import Task


def adapted(function: Any, task: Task, layout: str, framework: str) -> Callable[..., Any]:
    """Return a function that calls a class, or a function of tensors, as the grader does if that form is declared.

    Raises
    ------
    ValueError
        If the framework is unknown or not installed.
    """
    if framework not in FRAMEWORKS:
        raise ValueError(f"framework is {framework!r}; expected {' or '.join(FRAMEWORKS)}")
    if problem := framework_missing(framework):
        raise ValueError(problem)
    layer = inspect.isclass(function)
    name = function.__name__ if layer else task.name
    form = Declared(layout, framework=framework, classes={name: task.name.removesuffix(BACKWARD)} if layer else {})
    library = None if framework == "numpy" else importlib.import_module(framework)
    adapter = Adapter({name: function}, {task.name: call_of(task, [name], form)}, np, library, Refused)

    def call(*arguments: Any, **hyper: Any) -> Any:
        return adapter.call(task.name, arguments, hyper)

    call.__wrapped__ = getattr(function, "forward", function)  # type: ignore[attr-defined]  # for the lines of its errors
    return call


def caller(function: Callable[..., Any]) -> Callable[[Sequence[Any], Mapping[str, Any]], Reply]:
    """Return ``call(arguments, hyper)``, which calls the function in this process and returns a reply."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    file = code.co_filename if code else ""

    def call(arguments: Sequence[Any], hyper: Mapping[str, Any]) -> Reply:
        before = [a.tobytes() if isinstance(a, np.ndarray) else None for a in arguments]
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed), np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                returned = apply(function, arguments, hyper)
            outputs = tuple(np.array(part) for part in arrays(np.asarray, returned))
        except (Exception, SystemExit) as error:  # exit() must not end the notebook
            return Reply(**explain(error, file), stdout=printed.getvalue()[:65536])
        mutated = tuple(
            k for k, (a, b) in enumerate(zip(arguments, before, strict=True)) if b is not None and a.tobytes() != b
        )
        return Reply("ok", outputs, mutated, stdout=printed.getvalue()[:65536], listed=isinstance(returned, list))

    return call
