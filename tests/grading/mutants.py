"""Prove the oracle by mutation: python tests/grading/mutants.py [--tasks NAMES] [--most N] [--out FILE].

Wrong versions of every task are made from its correct ones by changing one place of the syntax tree. Each that differs
from the truth on some legal input must be failed, and each sentence about it must hold on fresh inputs drawn here.
Results are appended to FILE, one line a mutant, so that an interrupted run can be continued; the summary is printed.
"""

import argparse
import ast
import copy
import inspect
import json
import re
import signal
import sys
import textwrap
import time
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from se_numpy.grading.compare import LENIENT, agree, compare, expect
from se_numpy.grading.conditions import conditions
from se_numpy.grading.explain import OPERATORS, RESULTS, Predictions, explanations, factors, fit
from se_numpy.grading.grade import grade_task, prepare
from se_numpy.grading.inprocess import caller
from se_numpy.grading.probes import Tried, draw_wide
from se_numpy.grading.task import attempt, fill
from se_numpy.grading.tasks import all_tasks

SEED = 77  # of the inputs drawn here; the oracle's have other seeds
SECONDS = 90  # for one mutant
FRESH = 40


class Alarm(BaseException):
    """A mutant takes too long."""


# --------------------------------------------------------------------------------------------- making mutants

SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mod,
         ast.MatMult: ast.Mult, ast.Mod: ast.FloorDiv}  # fmt: skip
COMPARISONS = {ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt,), ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt,),
               ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,)}  # fmt: skip
METHODS = {"sum": ("mean", "max"), "mean": ("sum", "max"), "max": ("min", "mean"), "min": ("max",), "var": ("std",),
           "maximum": ("minimum",), "minimum": ("maximum",), "argmax": ("argmin",), "zeros_like": ("ones_like",),
           "exp": ("exp2", "expm1"), "log": ("log2", "log1p"), "sqrt": ("square",), "tanh": ("sinh",), "abs": ("sign",),
           "zeros": ("ones",), "concatenate": ("stack",)}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A correct version: an expression or the functions that it needs, in the namespace of its module."""

    task: str
    module: str
    name: str  # of the function; "" for an expression
    nodes: tuple[ast.AST, ...]

    def build(self, nodes):
        """Return the function that these nodes define."""
        names = dict(vars(sys.modules[self.module]))
        if not self.name:
            tree = ast.fix_missing_locations(ast.Expression(nodes[0]))
            return eval(compile(tree, "<mutant>", "eval"), names)
        tree = ast.fix_missing_locations(ast.Module(list(nodes), []))
        exec(compile(tree, "<mutant>", "exec"), names)
        return names[self.name]


def _parsed(module):
    """Return the tree of a module; arrays that are not filled begin as 0, so that every mutant is repeatable."""
    text = inspect.getsource(module)
    return ast.parse(text.replace("empty_like(", "zeros_like(").replace("np.empty(", "np.zeros("))


def sources(task):
    """Return the correct versions of a task: the library's function with its helpers, and the alternatives."""
    found = []
    own = task.library or task.oracle
    if not own.__module__.startswith("se_numpy.grading") and task.library is None:
        found.append(_functions(task, own))
    for module in [m for name, m in sys.modules.items() if name.startswith("se_numpy.grading.tasks.")]:
        tree = _parsed(module)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Call)
                and getattr(node.targets[0], "id", "") == task.name
            ):
                (values,) = (k.value for k in node.value.keywords if k.arg == "alternates")
                for one in values.elts:
                    if isinstance(one, ast.Name):
                        found.append(_functions(task, getattr(module, one.id)))
                    elif not isinstance(one, ast.Starred):
                        found.append(Source(task.name, module.__name__, "", (one,)))
    return found


def _functions(task, function):
    function = inspect.unwrap(function)
    module = sys.modules[function.__module__]
    tree = _parsed(module)
    defined = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    needed, more = [], [function.__name__]
    while more:
        name = more.pop()
        if name not in [n.name for n in needed]:
            needed.append(defined[name])
            used = {n.id for n in ast.walk(defined[name]) if isinstance(n, ast.Name)}
            more += [n for n in used & set(defined) if not n.startswith("check")]
    return Source(task.name, module.__name__, function.__name__, tuple(needed))


def mutants(source):
    """Yield (description, function) for every change of one place."""
    seen = set()
    text = [ast.unparse(n) for n in source.nodes]
    for k, root in enumerate(source.nodes):
        names = _names(root)
        for place, _ in enumerate(_sites(root)):
            for kind in range(40):
                tree = copy.deepcopy(root)
                node, parent, field, index = _sites(tree)[place]
                new = _change(node, kind, names)
                if new is None:
                    break
                if new is False:
                    continue
                if index is None:
                    setattr(parent, field, new)
                elif new == "delete":
                    getattr(parent, field)[index] = ast.Pass()
                else:
                    getattr(parent, field)[index] = new
                try:
                    changed = ast.unparse(ast.fix_missing_locations(tree))
                except Exception:
                    continue
                if changed in seen or changed == text[k]:
                    continue
                seen.add(changed)
                yield _difference(text[k], changed), (source, k, tree)


def _names(root):
    own = [a.arg for n in ast.walk(root) if isinstance(n, ast.FunctionDef | ast.Lambda)
           for a in (*n.args.args, *n.args.kwonlyargs)]  # fmt: skip
    own += [n.id for n in ast.walk(root) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return sorted(set(own))


def _difference(old, new):
    a, b = old.split("\n"), new.split("\n")
    for x, y in zip(a, b, strict=False):
        if x != y:
            k = next((i for i, (p, q) in enumerate(zip(x, y, strict=False)) if p != q), 0)
            return f"{x.strip()[max(0, k - 40) : k + 50]}  ->  {y.strip()[max(0, k - 40) : k + 50]}"
    return "?"


def _sites(root):
    """Return (node, parent, field, index) for every node below root, docstrings and annotations left out."""
    found = []

    def visit(parent):
        for field, value in ast.iter_fields(parent):
            if field in ("annotation", "returns", "decorator_list", "args") and isinstance(
                    parent, ast.FunctionDef | ast.Lambda | ast.arg):  # fmt: skip
                continue
            for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
                if isinstance(child, ast.AST) and not isinstance(child, ast.expr_context | ast.operator | ast.cmpop):
                    if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                        continue
                    found.append((child, parent, field, index))
                    visit(child)

    visit(root)
    return found


def _change(node, kind, names):
    """Return the kind-th change of a node, False if it does not apply, or None after the last."""
    options = _options(node, names)
    return options[kind] if kind < len(options) else None


def _options(node, names):
    match node:
        case ast.BinOp():
            swap = SWAPS.get(type(node.op))
            more = [ast.BinOp(node.right, node.op, node.left)] if not isinstance(node.op, ast.Add | ast.Mult) else []
            if isinstance(node.op, ast.Mult):
                more.append(ast.BinOp(node.left, ast.Add(), node.right))
            if isinstance(node.op, ast.MatMult):
                more += [ast.BinOp(ast.Attribute(node.left, "T", ast.Load()), node.op, node.right),
                         ast.BinOp(node.left, node.op, ast.Attribute(node.right, "T", ast.Load()))]  # fmt: skip
            return [node.left, node.right, *more, *([ast.BinOp(node.left, swap(), node.right)] if swap else [])]
        case ast.UnaryOp():
            return [node.operand]
        case ast.Compare():
            swaps = COMPARISONS.get(type(node.ops[0]), ())
            return [ast.Compare(node.left, [op()], node.comparators) for op in swaps]
        case ast.Constant() if isinstance(node.value, bool):
            return [ast.Constant(not node.value)]
        case ast.Constant() if isinstance(node.value, int):
            return [ast.Constant(v) for v in (node.value + 1, node.value - 1, -node.value, 0) if v != node.value]
        case ast.Constant() if isinstance(node.value, float):
            return [ast.Constant(v) for v in (2 * node.value, 0.0, 0.9 * node.value, node.value + 1e-3, -node.value)]
        case ast.Tuple() if isinstance(node.ctx, ast.Load) and len(node.elts) > 1:
            shorter = [ast.Tuple(node.elts[:k] + node.elts[k + 1 :], node.ctx) for k in range(len(node.elts))]
            return [*shorter, ast.Tuple([node.elts[1], node.elts[0], *node.elts[2:]], node.ctx),
                    ast.Tuple([*node.elts[:-2], node.elts[-1], node.elts[-2]], node.ctx)]  # fmt: skip
        case ast.Attribute() if isinstance(node.ctx, ast.Load):
            if node.attr == "T":
                return [node.value]
            return [ast.Attribute(node.value, other, node.ctx) for other in METHODS.get(node.attr, ())]
        case ast.Call():
            found = []
            if len(node.args) > 1:
                found.append(ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords))
            if node.args and not isinstance(node.args[0], ast.Starred):
                found.append(node.args[0])
            if isinstance(node.func, ast.Attribute):
                found.append(node.func.value)
            found += [ast.Call(node.func, node.args, node.keywords[:k] + node.keywords[k + 1 :])
                      for k in range(len(node.keywords))]  # fmt: skip
            if isinstance(node.func, ast.Name) and node.func.id == "range":
                found.append(ast.Call(node.func, [ast.BinOp(node.args[-1], ast.Sub(), ast.Constant(1))], []))
                found.append(ast.Call(node.func, [ast.Constant(1), node.args[-1]], []))
            return found
        case ast.AugAssign():
            minus = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            return [ast.Assign([node.target], node.value), ast.AugAssign(node.target, minus, node.value), ast.Pass()]
        case ast.Assign():
            return [ast.Pass()]
        case ast.Slice():
            one = ast.Constant(1)
            found = [ast.Slice(None, node.upper, node.step)] if node.lower else []
            found += [ast.Slice(node.lower, None, node.step)] if node.upper else []
            found += [ast.Slice(node.lower, node.upper, None)] if node.step else []
            found += [ast.Slice(ast.BinOp(node.lower, ast.Add(), one), node.upper, node.step)] if node.lower else []
            found += [ast.Slice(node.lower, ast.BinOp(node.upper, ast.Sub(), one), node.step)] if node.upper else []
            return found
        case ast.Subscript() if isinstance(node.ctx, ast.Load):
            return [node.value]
        case ast.IfExp():
            return [node.body, node.orelse]
        case ast.Name() if isinstance(node.ctx, ast.Load) and node.id in names:
            at = names.index(node.id)
            return [ast.Name(names[(at + k) % len(names)], ast.Load()) for k in (1, 2) if len(names) > k]
        case ast.Return() if node.value is not None:
            return [ast.Return(ast.UnaryOp(ast.USub(), node.value)),
                    ast.Return(ast.BinOp(ast.Constant(2), ast.Mult(), node.value))]  # fmt: skip
    return []


# --------------------------------------------------------------------------------------------------- the truth


@cache
def legal(name):
    """Return the legal inputs of a task that are drawn here, as (Expected, whether extreme)."""
    task = TASKS[name]
    rng = np.random.default_rng([SEED, *name.encode()])
    found = []
    for _ in range(FRESH):
        sizes = {a: int(rng.integers(1, high + 1)) for a, (_, high) in task.sizes.items()}
        sizes |= {k: choices[rng.integers(len(choices))] for k, choices in task.hyper.items()}
        try:
            found.append(task.draw(rng, "legal", "random", sizes))
        except ValueError:
            continue
    for kind, specials in (("special", task.specials), ("extreme", task.extremes)):
        for special in specials:
            for _ in range(3):
                case = task.draw(rng, special.name, kind, special.fixed)
                found.append(replace(case, arguments=special.change(case.arguments), kind=kind))
    return [expect(task, case) for case in found]


@cache
def fresh(name):
    """Return inputs from a wide range that the oracle has not seen, to check its sentences on."""
    task = TASKS[name]
    rng = np.random.default_rng([SEED + 1, *name.encode()])
    drawn = [draw_wide(task, rng, {}, number) for number in range(FRESH)]
    return [expect(task, case) for case in drawn if case is not None]


def differs(task, function):
    """Return the first legal input on which a function is wrong, or None."""
    for expected in legal(task.name):
        reply = call(task, function, expected.case)
        if not right(task, expected, reply):
            return expected
    return None


def call(task, function, case):
    arguments = [a.copy() if isinstance(a, np.ndarray) else a for a in case.arguments.values()]
    return caller(function)(arguments, case.hyper)


def right(task, expected, reply):
    if reply.status != "ok" or reply.mutated:
        return False
    most = LENIENT if expected.case.kind == "extreme" else 1
    verdicts = compare(task, expected, reply.outputs, reply.listed)
    return all(not v.shape and not v.dtype and v.error <= most for v in verdicts)


# ----------------------------------------------------------------------------------------------- the sentences


class Judge:
    """Check the sentences about one function on inputs drawn here."""

    def __init__(self, task, function):
        self.task, self.function = task, function
        self.tried = [Tried(e, call(task, function, e.case)) for e in fresh(task.name)]
        self.all = self.tried + [Tried(e, call(task, function, e.case)) for e in legal(task.name)]
        self.usual = [t for t in self.all if not t.extreme]

    def of_mistake(self, mistake):
        """Return True if the function gives the results of a mistake on every input."""
        members = (mistake.wrong, *mistake.also)
        if mistake.family:
            members += tuple(self.fitted(mistake.family, None))
        return any(self.equals(f) for f in members)

    def fitted(self, family, k):
        """Return members of a family that agree on one of the first few inputs."""
        return [f for n in range(6) for f in fit(Predictions(self.task), family, self.all[n:], k)]

    def equals(self, f, names=None, then=lambda a, case: a):
        for t in self.all:
            theirs = attempt(self.task, t.expected.case, f)
            if (theirs is None) != (t.found is None):
                return False
            if theirs is None:
                continue
            if names is None and not agree(t.found, theirs, t.expected.tolerances):
                return False
            for k in names or ():
                with np.errstate(all="ignore"):
                    changed = np.asarray(then(theirs[k], t.expected.case), np.float64)
                near = max(LENIENT * t.expected.tolerances[k], 1e-15) if t.extreme else t.expected.tolerances[k]
                if len(t.found) != len(theirs) or not agree((t.found[k],), (changed,), (near,)):
                    return False
        return True

    def ok(self, t, names=None):
        if t.found is None:
            return False
        verdicts = compare(self.task, t.expected, t.found, t.reply.listed)
        return all(v.right and not v.shape for k, v in enumerate(verdicts) if names is None or k in names)

    def inside(self, clause):
        """Return replies to fresh inputs inside and outside a condition."""
        condition = next(c for c in conditions(self.task) if c.clause == clause)
        rng = np.random.default_rng([SEED + 2, *f"{self.task.name} {clause}".encode()])
        groups = ([], [])
        for number in range(40 * FRESH):
            within = len(groups[0]) < FRESH and number % 2 == 0
            case = draw_wide(self.task, rng, condition.fixed(number) if within else {}, number)
            if case is None:
                continue
            if within:
                case = replace(case, arguments=condition.change(case.arguments))
            group = groups[0] if condition.holds(case) else groups[1]
            if len(group) < FRESH:
                e = expect(self.task, case)
                group.append(self.ok(Tried(e, call(self.task, self.function, case))))
            if min(map(len, groups)) == FRESH:
                break
        return groups

    def true(self, sentence):
        """Return True if a sentence is true, False if not; a sentence that is not understood is an error."""
        if found := re.fullmatch(r"right only (.*)", sentence):
            within, without = self.inside(found[1])
            return all(within) and not any(without)
        if found := re.fullmatch(r"right (.*), wrong on many other inputs", sentence):
            within, without = self.inside(found[1])
            return all(within) and sum(without) < 0.9 * len(without)
        if found := re.fullmatch(r"wrong only (.*)", sentence):
            within, without = self.inside(found[1])
            return all(without) and not all(within)
        if found := re.fullmatch(r"the results do not depend on (.*)", sentence):
            return self.independent(found[1])
        found = re.fullmatch(r"(.+?) (is|are|differs|differ) (.*)", sentence)
        names = [self.task.outputs.index(n) for n in re.split(", | and ", found[1])]
        return self.about(names, found[3])

    def independent(self, name):
        rng = np.random.default_rng(SEED)
        for t in self.tried:
            case = t.expected.case
            other = fill(rng, self.task.fill.get(name, "normal"), case.arguments[name].shape, case.sizes)
            reply = call(self.task, self.function, replace(case, arguments={**case.arguments, name: other}))
            if t.found is None or reply.status != "ok" or not agree(t.found, reply.outputs, t.expected.tolerances):
                return False
        return True

    def about(self, names, text):
        task = self.task
        if "the result of this mistake" in text:
            head, told = text.split(": ", 1)
            text = head.replace("this mistake", f"this mistake: {told}")
        if text == "right on every input":
            return all(self.ok(t, names) for t in self.usual)
        for name in task.inputs:
            for sign, operator in OPERATORS.items():
                if text.endswith(f" {sign} {name}") and (base := self.base(text[: -len(f" {sign} {name}")], names)):
                    then = partial(lambda a, case, name, operator: operator(a, case.arguments[name]),
                                   name=name, operator=operator)  # fmt: skip
                    return any(all(self.equals(f, [k], then) for k in names) for f in base)
        for shape in ("{}", *(f"{f} times {{}}" for f in factors(task, self.all[0].expected.case.sizes)), "minus {}",
                      *RESULTS):  # fmt: skip
            begin, end = shape.split("{}")
            if not (text.startswith(begin) and text.endswith(end)) or len(text) < len(begin) + len(end):
                continue
            inner = text[len(begin) : len(text) - len(end)] if end else text[len(begin) :]
            base = self.base(inner, names)
            if base is not None:
                return any(all(self.equals(f, [k], self.then(shape)) for k in names) for f in base)
        if found := re.fullmatch(r"(-?[\d.e+-]+) times (.*)", text):
            factor = float(found[1])
            base = self.base(found[2], names)
            return any(all(self.equals(f, [k], lambda a, case: a * factor) for k in names) for f in base or ())
        return all(self.feature(k, text) for k in names)

    def then(self, shape):
        if shape in RESULTS:
            return lambda a, case: RESULTS[shape](a)
        if shape == "minus {}":
            return lambda a, case: -a
        if shape == "{}":
            return lambda a, case: a
        return lambda a, case: a * factors(self.task, case.sizes)[shape.removesuffix(" times {}")]

    def base(self, text, names):
        """Return the functions that a clause may mean, or None."""
        if text == "the correct result":
            return [self.task.oracle]
        for e in explanations(self.task):
            told = e.mistake.text.rstrip(".") if e.mistake else ""
            if text in (e.about, f"what this mistake gives: {told}", f"the result of this mistake: {told}"):
                family = self.fitted(e.family, names[0]) if e.family else []
                return [e.function, *(e.mistake.also if e.mistake else ()), *family]
        return None

    def feature(self, k, text):
        """Return True if a sentence of the table FEATURES holds for the k-th output."""
        letters = self.task.letters(self.task.outputs[k]) or ()
        wrong = [(t.found[k].astype(float), t.expected.right[k], t) if t.found is not None else None
                 for t in self.usual if not self.ok(t, [k])]  # fmt: skip
        if not wrong or None in wrong:
            return False
        near = lambda a, b, c: a.shape == b.shape and np.abs(a - b).max(initial=0) <= 1e-4 * np.abs(c).max(initial=0)  # noqa: E731
        parts = {"right except in the last row": np.s_[:, :-1], "right except in the last column": np.s_[:, :, :-1],
                 "right except in the last row and column": np.s_[:, :-1, :-1],
                 "right except in the first row and column": np.s_[:, 1:, 1:],
                 "right except at the border": np.s_[:, 1:-1, 1:-1],
                 "right only for the first image of a batch": np.s_[:1],
                 "right only for the last image of a batch": np.s_[-1:],
                 "right only in the first channel": np.s_[..., :1],
                 "right only in the last channel": np.s_[..., -1:]}  # fmt: skip
        if text in parts:
            return all(a.shape == b.shape and near(a[parts[text]], b[parts[text]], b) for a, b, _ in wrong)
        if found := re.fullmatch(r"right where (\w+) is (positive|negative|not 0)", text):
            signs = {"positive": np.greater, "negative": np.less, "not 0": np.not_equal}
            return all(near(a[m], b[m], b) for a, b, t in wrong
                       for m in [signs[found[2]](t.expected.case.arguments[found[1]], 0)])  # fmt: skip
        if text == "0 everywhere":
            return all(t.found is not None and not t.found[k].any() for t in self.usual)
        if text.startswith("proportional to"):
            return all(near(a, b * ((a * b).sum() / (b * b).sum()), a) for a, b, _ in wrong if b.any())
        if text.startswith("the correct result with a factor for each"):
            axes = {"image": (0,), "channel": (-1,), "channel of each image": (0, -1)}[text.split("each ", 1)[1]]
            assert letters
            others = [tuple(n for n in range(b.ndim) if n not in [x % b.ndim for x in axes]) for _, b, _ in wrong]
            return all(a.shape == b.shape and near(
                a, b * (a * b).sum(o, keepdims=True) / np.maximum((b * b).sum(o, keepdims=True), 1e-300), a)
                for (a, b, _), o in zip(wrong, others, strict=True))  # fmt: skip
        if text == "from the correct result by the same amount everywhere":
            return all(a.shape == b.shape and np.ptp(a - b) <= 1e-4 * np.abs(b).max() for a, b, _ in wrong)
        if text.startswith("right to five digits"):
            return all(a.shape == b.shape and np.abs(a - b).max() <= 1e-4 * np.abs(b).max() for a, b, _ in wrong)
        raise AssertionError(f"no meaning is known of {text!r}")


# ------------------------------------------------------------------------------------------------------ a run

TASKS = all_tasks()
CASES = cache(lambda name, seed: prepare(TASKS[name], seed))


def outcome(task, function, seed=0):
    """Return what became of one mutant: equivalent, missed, named, told, silent, error or slow; and false sentences."""
    report = grade_task(task, caller(function), seed=seed, prepared=CASES(task.name, seed), seconds=0.0)
    if report.status == "passed":
        return ("equivalent" if differs(task, function) is None else "missed"), [], report
    if report.status != "failed":
        return "error", [], report
    judge, false = Judge(task, function), []
    if report.diagnosis:
        mistake = next(m for m in task.mistakes if m.name == report.diagnosis.mistake)
        if not judge.of_mistake(mistake):
            false.append(mistake.name)
        return "named", false, report
    false = [sentence for sentence in report.features if not judge.true(sentence)]
    return ("told" if report.features else "silent"), false, report


def _ring(*_):
    raise Alarm


def run_one(task, made):
    source, k, tree = made
    nodes = [tree if i == k else n for i, n in enumerate(source.nodes)]
    signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return outcome(task, source.build(nodes))
    except Alarm:
        return "slow", [], None
    except (SyntaxError, ValueError, NameError, TypeError) as error:  # the definition itself fails
        if isinstance(error, SyntaxError) or not _inside_oracle(error):
            return "invalid", [], None
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _inside_oracle(error):
    trace = error.__traceback__
    while trace is not None:
        if "grade" in Path(trace.tb_frame.f_code.co_filename).name or "diagnose" in trace.tb_frame.f_code.co_filename:
            return True
        trace = trace.tb_next
    return False


def chosen(task, most):
    """Return up to ``most`` mutants of a task, evenly spread over its sources."""
    made = [one for source in sources(task) for one in mutants(source)]
    step = max(1.0, len(made) / most)
    return [made[int(k * step)] for k in range(min(most, len(made)))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--summary", type=Path, help="write the numbers of each task to this JSON file")
    args = parser.parse_args()
    done = {}
    if args.out.exists():
        done = {(r["task"], r["about"]): r for r in map(json.loads, args.out.read_text().splitlines())}
    for name in args.tasks:
        task, start = TASKS[name], time.perf_counter()
        for about, made in chosen(task, args.most):
            if (name, about) in done:
                continue
            kind, false, report = run_one(task, made)
            words = list(report.features) if report else []
            words += [report.diagnosis.mistake] if report and report.diagnosis else []
            row = {"task": name, "about": about, "kind": kind, "false": false, "words": words}
            done[name, about] = row
            with args.out.open("a") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        numbers = summary(r for r in done.values() if r["task"] == name)
        print(f"{name:32} {numbers} {time.perf_counter() - start:.0f} s", flush=True)
    if args.summary:
        tasks = {name: summary(r for r in done.values() if r["task"] == name) for name in args.tasks}
        whole = {key: sum(task[key] for task in tasks.values()) for key in KINDS}
        args.summary.write_text(json.dumps({"all": whole, "tasks": tasks}, indent=1) + "\n")
        print(whole)


# What became of the mutants: "raised" ones raise on every input, "told" ones get a sentence, "silent" ones neither.
KINDS = ("mutants", "equivalent", "missed", "false sentences", "named", "told", "silent", "raised", "slow")


def summary(rows):
    """Return the numbers of one task."""
    rows = [row for row in rows if row["kind"] != "invalid"]
    kinds = Counter(row["kind"].replace("error", "raised") for row in rows)
    whole = {"mutants": len(rows), "false sentences": sum(len(row["false"]) for row in rows)}
    return {kind: whole.get(kind, kinds[kind]) for kind in KINDS}


if __name__ == "__main__":
    print(textwrap.dedent(__doc__).strip().split("\n")[0])
    main()
