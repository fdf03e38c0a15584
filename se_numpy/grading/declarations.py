"""The form in which work is written: what a submission's file and the assignment declare, and how tasks are called.

A form is never guessed. It is declared in the file (``STYLE``, ``FRAMEWORK``, ``CLASSES``, ``LAYOUT``) or in the
assignment, and the report repeats what was declared.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from se_numpy.grading.adapters import CS231N
from se_numpy.grading.layout import FILTERS, MAPS
from se_numpy.grading.task import Task
from se_numpy.grading.tasks import all_tasks

STYLES = ("plain", "cs231n")
FRAMEWORKS = ("numpy", "torch", "jax")
BACKWARD = "_backward"


@dataclass(frozen=True)
class Form:
    """The form of submissions, as the assignment or the command line declares it.

    ``file`` is the name of the file to grade in a folder or an archive, and ``folders`` is True if each folder with
    Python files is one submission. ``framework`` is the one that submissions may use; they must declare it, too.
    """

    file: str = ""
    folders: bool = False
    style: str = ""
    framework: str = ""
    classes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Declared:
    """The form in which a file is written, from its own declarations and the assignment's; its own take precedence."""

    layout: str = "NHWC"
    style: str = "plain"
    framework: str = "numpy"
    classes: Mapping[str, str] = field(default_factory=dict)  # name of a class -> name of its task
    methods: Mapping[str, Any] = field(default_factory=dict)  # class -> the parameters of __init__ and forward
    notes: tuple[str, ...] = ()  # remarks on declarations that have no effect

    @property
    def is_plain(self) -> bool:
        return self.style == "plain" and self.framework == "numpy" and not self.classes


def declared(found: Mapping[str, Any], classes: Mapping[str, Any], form: Form | None = None) -> Declared:
    """Return a file's form: ``found`` is what it declares, and ``classes`` are as in ``source_parser.described``."""
    form, notes = form or Form(), []

    def chosen(name: str, known: tuple[str, ...], default: str) -> str:
        value = found.get(name)
        if value is None or value in known:
            return value or default or known[0]
        notes.append(f'{name} = "{value}" has no effect; expected {" or ".join(known)}')
        return default or known[0]

    style, framework = chosen("STYLE", STYLES, form.style), chosen("FRAMEWORK", FRAMEWORKS, "")
    own = found.get("CLASSES", {})
    pairs, tasks = {**form.classes, **(own if isinstance(own, dict) else {})}, all_tasks()
    for kind, task in pairs.items():
        if kind in classes and task not in tasks:
            near = get_close_matches(task, tasks, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            notes.append(f'CLASSES = {{"{kind}": "{task}"}} has no effect: {task} is not a task{hint}')
    kept = {kind: task for kind, task in pairs.items()
            if task in tasks and not task.endswith(BACKWARD) and (kind in classes or kind in own)}  # fmt: skip
    return Declared(found.get("LAYOUT", "NHWC"), style, framework, kept, classes, tuple(notes))


def function_of(task: str, functions: Collection[str], form: Declared) -> str:
    """Return the name of the function or class that solves a task, as far as a file defines it; "" if it does not.

    In the style cs231n, names such as conv_forward_naive and relu_forward come before the task's own.
    """
    base = task.removesuffix(BACKWARD)
    for kind, solved in form.classes.items():
        if solved == base:
            return kind
    names = [task]
    if form.style == "cs231n" and _is_cached(task):
        own = f"{base}_forward" if base == task else task
        rows = CS231N[task].removeprefix("spatial_") if "batchnorm" in CS231N.get(task, "") else ""
        names = [*filter(None, (CS231N.get(task), rows)), own, task]
    return next((name for name in names if name in functions), "")


def call_of(task: Task, functions: Collection[str], form: Declared) -> dict[str, Any]:
    """Return how ``adapters.Adapter`` calls a task, as plain values for the sandbox."""
    base = task.name.removesuffix(BACKWARD)
    in_style = form.style == "cs231n" and _is_cached(task.name)
    name = function_of(task.name, functions, form)
    name = name or (f"{base}_forward" if in_style and base == task.name else task.name)
    forward = all_tasks().get(base, task)
    upstream = [n for n in task.inputs if n not in forward.inputs] if forward is not task else []
    upstream = [n for n in upstream if n.startswith("d")]
    common = {"task": task.name, "inputs": task.inputs, "upstream": upstream, "outputs": task.outputs,
              "hyper": list(task.hyper)}  # fmt: skip
    if name in form.classes:
        axes = {n: _axes(task, n, form.layout) for n in task.inputs if n in forward.inputs}
        return {"kind": "layer", "class": name, "forward": [*forward.inputs, *forward.hyper], "axes": axes, **common}
    if in_style:
        backward = name if upstream else ""
        first = function_of(base, functions, form) if upstream else name
        kinds = {"conv2d": "conv", "max_pool2d": "pool", "batch_norm": "norm", "normalize": "norm"}
        rows = (1 if form.layout == "NCHW" else 3) if first == "batchnorm_forward" else 0
        return {"kind": "cached", "forward": first or f"{base}_forward", "backward": backward, "rows": rows,
                "parameters": kinds.get(base, ""), "test": base == "normalize",
                "filters": 0 if form.layout == "NCHW" else -1, **common}  # fmt: skip
    return {"kind": "function", "function": name, **common}


def _is_cached(task: str) -> bool:
    """Return True for tasks that the style cs231n changes: forward, backward, and batch norm's test mode."""
    base = task.removesuffix(BACKWARD)
    return task in CS231N or f"{base}{BACKWARD}" in all_tasks()


def _axes(task: Task, name: str, layout: str) -> list[str]:
    letters = task.letters(name) or ()
    if layout == "NCHW" and len(letters) == 4:
        order = FILTERS if task.is_filter(name) else MAPS
        return [letters[k] for k in order]
    return list(letters)


def needed(call: Mapping[str, Any]) -> str:
    """Return a sentence on the function or class that is missing for a task, in the declared form."""
    if call["kind"] == "layer":
        return f"the class {call['class']}, declared for {call['task']}, is missing"
    given = ", ".join(name for name in call["inputs"] if name not in call["upstream"])
    if call["backward"]:
        return f"the function {call['backward']} is missing; expected def {call['backward']}(dout, cache)"
    return f"the function {call['forward']} is missing; expected it to take {given} and to return out, cache"


def described(calls: Sequence[Mapping[str, Any]], form: Declared) -> list[str]:
    """Return sentences on the form in which tasks were called, for the report."""
    notes: list[str] = []
    classes: dict[str, list[str]] = {}
    for call in calls:
        if call["kind"] == "layer":
            classes.setdefault(call["class"], []).append(call["task"])
    for kind, tasks in classes.items():
        notes.append(f"{', '.join(tasks)}: the methods forward and backward of the class {kind}.")
    if form.style == "cs231n":
        pairs = [(call["task"], call["backward"] or call["forward"]) for call in calls if call["kind"] == "cached"]
        others = ", ".join(f"{name} for {task}" for task, name in pairs if name != task)
        notes.append("Style cs231n: forward functions return out, cache; backward functions take dout, cache"
                     + (f". Graded: {others}." if others else "."))  # fmt: skip
    if notes:
        last = 'last, (N, H, W, C); LAYOUT = "NCHW" declares (N, C, H, W)'
        first = "first, (N, C, H, W)" if form.layout == "NCHW" else last
        notes.append(f"Maps are channels-{first}.")
    if form.framework != "numpy":
        modules = "" if form.framework == "jax" or not classes else (
            " The weights of a torch.nn.Module are set in the order in which its layers are registered, its biases are "
            "0, and its gradients are those of autograd.")  # fmt: skip
        notes.append(f"Arguments and results are arrays of {form.framework}, converted from and to NumPy's.{modules}")
    return notes


def framework_of(declares: str, form: Form) -> str:
    """Return the framework that a submission declares, if the assignment or the command line allows it.

    Raises
    ------
    ValueError
        If it is not allowed.
    """
    if declares not in ("numpy", form.framework):
        raise ValueError(f'the submission declares FRAMEWORK = "{declares}", which is not allowed here; an instructor '
                         f'allows it with --framework or, in the assignment, framework = "{declares}"')  # fmt: skip
    return declares


def call_lines(call: Mapping[str, Any] | None, form: Declared, task: Task, hyper: Sequence[str]) -> list[str]:
    """Return Python lines that call a task's function on variables of the names in its signature."""
    keywords = [f"{name}={name}" for name in hyper]
    if call is None or call["kind"] == "function":
        name = task.name if call is None else call["function"]
        return [f"print({name}({', '.join([*_tensors(task.inputs, form), *keywords])}))"]
    upstream = ", ".join(call["upstream"])
    if call["kind"] == "cached":
        given = [n for n in call["inputs"] if n not in call["upstream"]]
        first = ", ".join(_style_arguments(call, given, list(hyper)))
        lines = [f"out, cache = {call['forward']}({first})"]
        return [*lines, f"print({call['backward']}({upstream}, cache))" if upstream else "print(out)"]
    return [*_layer_lines(call, form), f"print(layer.backward({upstream}))" if upstream else "print(out)"]


def _layer_lines(call: Mapping[str, Any], form: Declared) -> list[str]:
    """Return the lines that construct a layer and call forward, as far as the parameters of its methods tell."""
    methods, arguments = form.methods.get(call["class"], {}), list(call["forward"])
    constructor, forward = (methods.get(name, {"required": [], "optional": []}) for name in ("__init__", "forward"))
    taken = [name for name in arguments if name in constructor["required"] + constructor["optional"]]
    if form.framework == "torch" and taken != constructor["required"]:  # a module's constructor takes sizes
        return [f"layer = {call['class']}(...)  # then set its weights", "out = layer(...)"]
    left = [name for name in arguments if name not in taken]
    keywords = [name for name in left if name in forward["optional"]]
    left = [name for name in left if name not in keywords]
    required = forward["required"]
    first = required if set(required) <= set(left) else left[: len(required)]
    lines = [f"layer = {call['class']}({', '.join(f'{name}={name}' for name in taken)})"]
    lines += [f"layer.{name} = {name}" for name in left if name not in first]
    return [*lines, f"out = layer.forward({', '.join([*first, *(f'{name}={name}' for name in keywords)])})"]


def _tensors(names: Collection[str], form: Declared) -> list[str]:
    wrap = {"torch": "torch.as_tensor({})", "jax": "jax.numpy.asarray({})"}.get(form.framework, "{}")
    return [wrap.format(name) for name in names]


def _style_arguments(call: Mapping[str, Any], given: list[str], hyper: list[str]) -> list[str]:
    kind = call["parameters"]
    if kind == "conv":
        return ["X", "V", f"np.zeros(V.shape[{call['filters']}])", '{"stride": stride, "pad": padding}']
    if kind == "pool":
        return ["x", '{"pool_height": kernel, "pool_width": kernel, "stride": stride}']
    if kind == "norm":
        test = ', "running_mean": mean, "running_var": var' if call["test"] else ""
        beta = "beta" if "beta" in given else "0 * gamma"
        return ["x", "gamma", beta, f'{{"mode": "{"test" if call["test"] else "train"}", "eps": eps{test}}}']
    return [*given, *hyper]
