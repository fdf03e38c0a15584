"""Softmax, softmax cross-entropy, and the gradient of the latter."""

from collections.abc import Callable
from typing import Any

import numpy as np

from se_numpy import ops
from se_numpy.grading.task import Arguments, Mistake, Special, Task

SIZES = {"N": (2, 5), "K": (3, 7)}
SPECIALS = (
    Special("one row", {"N": 1}),
    Special("two classes", {"K": 2}),
    Special("as many rows as classes", {"N": 4, "K": 4}),
    Special("equal logits", {}, lambda a: {**a, "x": 0 * a["x"] + 2}),
    Special("far from zero", {}, lambda a: {**a, "x": a["x"] + 16}),
)
LABELLED = (
    *SPECIALS,
    Special("every label is the first class", {}, lambda a: {**a, "labels": 0 * a["labels"]}),
    Special("every label is the last class", {}, lambda a: {**a, "labels": 0 * a["labels"] + a["x"].shape[1] - 1}),
)


def _far_out(arguments: Arguments) -> Arguments:
    """Scale logits to about 10⁴, with the first row far below the last.

    The first label is the least likely class, the last label the most likely one.
    """
    x = (1e4 * arguments["x"]).astype(np.float32).astype(np.float64)
    x[0], x[-1] = -np.abs(x[0]) - 1e3, np.abs(x[-1])
    if "labels" not in arguments:
        return {**arguments, "x": x}
    labels = arguments["labels"].copy()
    labels[-1], labels[0] = x[-1].argmax(), x[0].argmin()
    return {**arguments, "x": x, "labels": labels}


EXTREMES = (
    Special("logits of 10⁴", {}, _far_out),
    Special("logits around 10⁴", {}, lambda a: {**a, "x": _exact(a["x"] + 1e4)}),
    Special("logits around -10⁴", {}, lambda a: {**a, "x": _exact(a["x"] - 1e4)}),
)


def _exact(x: np.ndarray) -> np.ndarray:
    """Round to values that are exact in single precision."""
    return x.astype(np.float32).astype(np.float64)


def _shares(e: np.ndarray) -> np.ndarray:
    return e / e.sum(1, keepdims=True)


def _one_hot(labels: np.ndarray, x: np.ndarray) -> np.ndarray:
    return (labels[:, None] == np.arange(x.shape[1])).astype(x.dtype)


def _at_label(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return x[np.arange(len(x)), labels]


def _log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def _plus(c: float) -> Callable[..., Any]:
    def shares(x):
        e = np.exp(x - x.max(1, keepdims=True))
        return e / (e.sum(1, keepdims=True) + c)

    return shares


def _row_by_row(x):
    return np.stack([np.exp(row - max(row)) / sum(np.exp(row - max(row))) for row in x])


softmax = Task(
    signature="softmax(x) -> p",
    equation="p_k = e^{x_k} / Σ_j e^{x_j}",
    title="Softmax",
    oracle=ops.softmax,
    axes="x: N K, p: N K",
    sizes=SIZES,
    specials=SPECIALS,
    extremes=EXTREMES,
    points=1,
    hint="Subtract the maximum of each row first: p stays the same, and nothing overflows.",
    likely=("overflow", "over the batch", "over the whole array", "maximum of the whole batch", "no sum"),
    mistakes=(
        Mistake("over the batch", "The sum runs over the batch, so that columns sum to 1; it should run over the "
                "classes of each row.", lambda x: np.exp(x) / np.exp(x).sum(0), also=(lambda x: ops.softmax(x.T).T,)),
        Mistake("over the whole array", "The sum runs over the whole array; it should run over the classes of each "
                "row.", lambda x: np.exp(x) / np.exp(x).sum(),
                also=(lambda x: ops.softmax(x.reshape(1, -1)).reshape(x.shape),)),
        Mistake("a constant in the denominator", "A constant was added to the sum, so that the rows do not sum to 1; "
                "e^x should be divided by the sum itself.", _plus(1e-2), family=lambda c: _plus(c)),
        Mistake("mean instead of the maximum", "The mean of each row was subtracted, so that e^x can still overflow, "
                "and ∞/∞ is NaN; subtract the maximum of each row.",
                lambda x: _shares(np.exp(x - x.mean(1, keepdims=True)))),
        Mistake("no sum", "e^x was returned; it should be divided by its sum over the classes.", lambda x: np.exp(x)),
        Mistake("mean instead of the sum", "e^x was divided by its mean over the classes; it should be divided by its "
                "sum.", lambda x: np.exp(x) / np.exp(x).mean(1, keepdims=True)),
        Mistake("divided by the maximum", "e^x was divided by the maximum of its row; it should be divided by the sum "
                "of its row.", lambda x: np.exp(x - x.max(1, keepdims=True))),
        Mistake("no exponential", "x was divided by the sum of x; softmax divides e^x by the sum of e^x.", _shares),
        Mistake("absolute values", "|x| was divided by the sum of |x|; softmax divides e^x by the sum of e^x.",
                lambda x: _shares(np.abs(x))),
        Mistake("sign of the exponent", "e⁻ˣ was used, so that the smallest x gets the largest probability; softmax "
                "uses e^x.", lambda x: ops.softmax(-x)),
        Mistake("powers of 2", "2^x was used; the base should be e.", lambda x: ops.softmax(x * np.log(2))),
        Mistake("squares", "x² was divided by the sum of x²; softmax divides e^x by the sum of e^x.",
                lambda x: _shares(x * x)),
        Mistake("sigmoid", "A sigmoid was applied to each element separately; softmax divides by the sum over the "
                "classes, so that each row sums to 1.", lambda x: ops.sigmoid(x)),
        Mistake("logarithm", "log p was returned; the result should be p.", _log_softmax),
        Mistake("one-hot maximum", "1 was returned at the maximum and 0 elsewhere; softmax gives every class a "
                "probability.", lambda x: (x == x.max(1, keepdims=True)) * 1.0),
        Mistake("softmax twice", "Softmax was applied twice; it should be applied once.",
                lambda x: ops.softmax(ops.softmax(x))),
        Mistake("overflow", "e^x overflows for large x, and ∞/∞ is NaN; subtract the maximum of each row first.",
                lambda x: _shares(np.exp(x))),
        Mistake("maximum of the whole batch", "The maximum of the whole batch was subtracted, so that e^x is 0 in a "
                "row far below it, and 0/0 is NaN; subtract the maximum of each row.",
                lambda x: _shares(np.exp(x - x.max()))),
    ),
    alternates=(
        lambda x: np.exp(_log_softmax(x)),
        _row_by_row,
        lambda x: 1 / np.exp(np.minimum(x[:, None, :] - x[:, :, None], x.dtype.type(80))).sum(2),
    ),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------- the loss


def _of_shares(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the mean of f(p), where p is the probability of the label."""
    return lambda x, labels: np.mean(f(_at_label(ops.softmax(x), labels)))


def _cross_entropy(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return ops.softmax_cross_entropy(x, labels)


def _clipped(c: float, upper: bool) -> Callable[..., Any]:
    return _of_shares(lambda p: -np.log(np.clip(p, c, 1 - c if upper else 1)))


def _raised(c: float) -> Callable[..., Any]:
    return _of_shares(lambda p: -np.log(p + c))


def _binary(x, labels):
    p, q = ops.softmax(x), _one_hot(labels, x)
    return -np.mean((np.log(np.where(q > 0, p, 1 - p))).sum(1))


def _binary_bounded(x, labels):
    p, q = ops.softmax(x), _one_hot(labels, x)
    return -np.mean((q * np.log(p + 1e-12) + (1 - q) * np.log(1 - p + 1e-12)).sum(1))


def _softmax_cross_entropy(x, labels):
    x = x - x.max(1, keepdims=True)  # avoids overflow without changing p
    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    return -log_p[np.arange(len(x)), labels].mean()


def _sum_of_logs(x, labels):
    total = np.logaddexp.reduce(x, 1) - _at_label(x, labels)
    return total.sum() / len(x)


softmax_cross_entropy = Task(
    signature="softmax_cross_entropy(x, labels) -> L",
    equation="L = -1/N Σ_n log p_n,  p_n = softmax(x_n) at the label",
    title="Softmax cross-entropy",
    oracle=ops.softmax_cross_entropy,
    axes="x: N K, labels: N",
    sizes=SIZES,
    fill={"labels": "labels"},
    specials=LABELLED,
    extremes=EXTREMES,
    points=2,
    hint="log p = x - log Σ e^x; subtract the maximum of each row first, so that nothing overflows.",
    likely=("sum over the batch", "sign", "labels of all rows", "maximum subtracted on one side", "overflow",
            "logarithm of 0"),
    mistakes=(
        Mistake("sum over the batch", "The losses of the rows were summed; L is their mean.",
                lambda x, labels: _cross_entropy(x, labels) * len(x)),
        Mistake("mean over the classes too", "The loss was divided by N·K; L is the mean over the N rows.",
                lambda x, labels: _cross_entropy(x, labels) / x.shape[1]),
        Mistake("sign", "The loss has the wrong sign; L is the mean of -log p.",
                lambda x, labels: -_cross_entropy(x, labels)),
        Mistake("one loss per row", "The loss of every row was returned; L is their mean, a single number.",
                lambda x, labels: -_at_label(_log_softmax(x), labels)),
        Mistake("first row only", "The loss of the first row was returned; L is the mean over all rows.",
                lambda x, labels: _cross_entropy(x[:1], labels[:1])),
        Mistake("logarithm to base 2", "log₂ was used; the loss uses the natural logarithm.",
                _of_shares(lambda p: -np.log2(p))),
        Mistake("logarithm to base 10", "log₁₀ was used; the loss uses the natural logarithm.",
                _of_shares(lambda p: -np.log10(p))),
        Mistake("labels counted from 1", "The class before the label was used; classes are numbered from 0.",
                lambda x, labels: _cross_entropy(x, (labels - 1) % x.shape[1])),
        Mistake("class after the label", "The class after the label was used; classes are numbered from 0.",
                lambda x, labels: _cross_entropy(x, (labels + 1) % x.shape[1])),
        Mistake("no logarithm", "-p was averaged; the loss is -log p.", _of_shares(np.negative)),
        Mistake("1 - p", "1 - p was averaged; the loss is -log p.", _of_shares(lambda p: 1 - p)),
        Mistake("-log (1 - p)", "-log (1 - p) of the label was averaged; the loss is -log p.",
                _of_shares(lambda p: -np.log(1 - p))),
        Mistake("p log p", "-p log p of the label was averaged; the loss is -log p.",
                _of_shares(lambda p: -p * np.log(p))),
        Mistake("labels of all rows", "log p[:, labels] takes the labels of all rows for every row; use log "
                "p[np.arange(N), labels].", lambda x, labels: -_log_softmax(x)[:, labels].mean()),
        Mistake("all classes", "-log p was averaged over all classes; only the class of the label counts.",
                lambda x, labels: -_log_softmax(x).mean()),
        Mistake("squared error", "The squared difference from the one-hot label was used; cross-entropy is -log p.",
                lambda x, labels: ((ops.softmax(x) - _one_hot(labels, x)) ** 2).sum(1).mean()),
        Mistake("sigmoid instead of softmax", "-log σ(x) of the label was averaged; p is a softmax over the classes.",
                lambda x, labels: np.logaddexp(0, -_at_label(x, labels)).mean()),
        Mistake("softmax over the batch", "The softmax runs over the batch; it should run over the classes of each "
                "row.", lambda x, labels: -_at_label(_log_softmax(x.T).T, labels).mean()),
        Mistake("softmax twice", "Softmax was applied twice; x contains logits, not probabilities.",
                lambda x, labels: _cross_entropy(ops.softmax(x), labels)),
        Mistake("logit only", "-x of the label was averaged; log Σ e^x is missing.",
                lambda x, labels: -_at_label(x, labels).mean()),
        Mistake("log-sum only", "log Σ e^x was averaged; the logit of the label should be subtracted from it.",
                lambda x, labels: np.logaddexp.reduce(x, 1).mean()),
        Mistake("maximum instead of log-sum", "The logit of the label was subtracted from the maximum; it should be "
                "subtracted from log Σ e^x.", lambda x, labels: (x.max(1) - _at_label(x, labels)).mean()),
        Mistake("maximum subtracted on one side", "The maximum was subtracted in log Σ e^x but not from the logit of "
                "the label; subtract it from both.", lambda x, labels: (_cross_entropy(x, labels) - x.max(1).mean())),
        Mistake("overflow", "e^x overflows for large x, and ∞/∞ is NaN; subtract the maximum of each row first.",
                lambda x, labels: -np.log(_at_label(_shares(np.exp(x)), labels)).mean()),
        Mistake("overflow in log Σ e^x", "e^x overflows for large x, so that log Σ e^x is ∞; subtract the maximum of "
                "each row first.", lambda x, labels: (np.log(np.exp(x).sum(1)) - _at_label(x, labels)).mean(),
                also=(lambda x, labels: -_at_label(x - np.log(np.exp(x).sum(1, keepdims=True)), labels).mean(),)),
        Mistake("logarithm of 0", "p is 0 where x is far below the maximum, and log 0 is -∞; use log p = x - log Σ "
                "e^x, which does not need p.", _of_shares(lambda p: -np.log(p))),
        Mistake("maximum of the whole batch", "The maximum of the whole batch was subtracted, so that e^x is 0 in a "
                "row far below it, and log 0 is -∞; subtract the maximum of each row.",
                lambda x, labels: (np.log(np.exp(x - x.max()).sum(1)) - _at_label(x - x.max(), labels)).mean()),
        Mistake("p bounded below", "A small number was added to p, or p was clipped, which bounds the loss; use log p "
                "= x - log Σ e^x, which does not need p.", _of_shares(lambda p: -np.log(p + 1e-12))),
        Mistake("a constant added to p", "A constant was added to p, which bounds the loss and changes every value; "
                "use log p = x - log Σ e^x, which does not need p.", _of_shares(lambda p: -np.log(p + 1e-3)),
                family=lambda c: _of_shares(lambda p: -np.log(p + abs(c)))),
        Mistake("p clipped", "p was clipped, which bounds the loss; use log p = x - log Σ e^x, which does not need p.",
                _of_shares(lambda p: -np.log(np.clip(p, 1e-3, 1 - 1e-3))),
                family=lambda c: _of_shares(lambda p: -np.log(np.clip(p, abs(c), 1 - abs(c)))),
                also=tuple(_clipped(10.0**-n, upper) for n in range(4, 17) for upper in (True, False))),
        Mistake("a tiny constant added to p", "A tiny constant was added to p, which bounds the loss; use log p = x - "
                "log Σ e^x, which does not need p.", _of_shares(lambda p: -np.log(p + 1e-8)),
                also=tuple(_raised(10.0**-n) for n in range(5, 21))),
        Mistake("binary cross-entropy", "The binary cross-entropy of every class was summed; the loss is -log p of the "
                "label alone.", _binary, also=(_binary_bounded,)),
        Mistake("maximum subtracted on the other side", "The maximum was subtracted from the logit of the label but "
                "not in log Σ e^x; subtract it from both.",
                lambda x, labels: np.mean(np.log(np.exp(x).sum(1)) - _at_label(x - x.max(1, keepdims=True), labels))),
    ),
    written=_softmax_cross_entropy,
    alternates=(
        _softmax_cross_entropy,
        _sum_of_logs,
        lambda x, labels: -np.sum(_one_hot(labels, x) * _log_softmax(x)) / len(x),
        lambda x, labels: x.dtype.type(
            sum(np.log(np.exp(row - max(row)).sum()) + max(row) - row[k] for row, k in zip(x, labels, strict=True))
            / len(x)),
    ),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------- backward


def _less_one_hot(p: Callable[..., Any] = ops.softmax, q: Callable[..., Any] = _one_hot) -> Callable[..., Any]:
    """Return dL (p - q) / N with p or q replaced."""
    return lambda dL, x, labels: dL * (p(x) - q(labels, x)) / len(x)


def _backward(dL: float, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return ops.softmax_cross_entropy_backward(dL, x, labels)


def _smoothed(labels: np.ndarray, x: np.ndarray) -> np.ndarray:
    return 0.9 * _one_hot(labels, x) + 0.1 / x.shape[1]


def _softmax_cross_entropy_backward(dL, x, labels):
    e = np.exp(x - x.max(1, keepdims=True))
    dx = e / e.sum(1, keepdims=True)  # p
    dx[np.arange(len(x)), labels] -= 1  # p - q
    return dx * (dL / len(x))


def _entry_by_entry(dL, x, labels):
    dx = np.exp(_log_softmax(x))
    for n, k in np.ndindex(x.shape):
        dx[n, k] = dL / len(x) * (dx[n, k] - (1 if labels[n] == k else 0))
    return dx


def _both_derivatives(dL, x, labels):
    """Multiply the Jacobian of softmax by the gradient of -log p; the factor p at the label cancels."""
    p, q = ops.softmax(x), _one_hot(labels, x)
    return dL / len(x) * np.einsum("nkj,nj->nk", p[:, :, None] - np.eye(x.shape[1], dtype=x.dtype), q)


softmax_cross_entropy_backward = Task(
    signature="softmax_cross_entropy_backward(dL, x, labels) -> dx",
    equation="L = -1/N Σ_n log p_n,  p_n = softmax(x_n) at the label, differentiated",
    title="The gradient of softmax cross-entropy",
    oracle=ops.softmax_cross_entropy_backward,
    forward=ops.softmax_cross_entropy,
    axes="x: N K, labels: N, dx: N K",
    sizes=SIZES,
    fill={"labels": "labels", "dL": "positive"},
    specials=(*LABELLED, Special("dL negative", {}, lambda a: {**a, "dL": -a["dL"]})),
    extremes=EXTREMES,
    points=2,
    hint="dL is the upstream gradient of L, a number; it is 1 if L is the final result.",
    likely=("without 1/N", "dL ignored", "p only", "1 subtracted at the labels of all rows",
            "extra derivative of softmax", "sign"),
    mistakes=(
        Mistake("without 1/N", "p - q was not divided by N; L is the mean over the N rows.",
                lambda dL, x, labels: _backward(dL, x, labels) * len(x)),
        Mistake("1/(N·K)", "p - q was divided by N·K; L is the mean over the N rows.",
                lambda dL, x, labels: _backward(dL, x, labels) / x.shape[1]),
        Mistake("1/K instead of 1/N", "p - q was divided by K instead of N; L is the mean over the N rows.",
                lambda dL, x, labels: _backward(dL, x, labels) * len(x) / x.shape[1]),
        Mistake("1/N²", "p - q was divided by N twice; L is the mean over the N rows.",
                lambda dL, x, labels: _backward(dL, x, labels) / len(x)),
        Mistake("dL ignored", "The upstream gradient dL was ignored; the result should be multiplied by it.",
                lambda dL, x, labels: _backward(1.0, x, labels)),
        Mistake("sign", "q - p was used; the gradient is p - q.", lambda dL, x, labels: -_backward(dL, x, labels)),
        Mistake("p only", "The one-hot label q was not subtracted; the gradient is p - q.",
                _less_one_hot(q=lambda labels, x: 0)),
        Mistake("-q only", "The probability p is missing; the gradient is p - q.", _less_one_hot(p=lambda x: 0)),
        Mistake("1 subtracted everywhere", "1 was subtracted at every class; it should be subtracted only at the "
                "label.", _less_one_hot(q=lambda labels, x: 1)),
        Mistake("label only", "Only the class of the label got a gradient; the other classes should get p, because q "
                "is 0 there.", lambda dL, x, labels: _backward(dL, x, labels) * _one_hot(labels, x)),
        Mistake("1 subtracted at the labels of all rows", "dx[:, labels] -= 1 subtracts 1 at the labels of all rows "
                "for every row; use dx[np.arange(N), labels].",
                _less_one_hot(q=lambda labels, x: _one_hot(labels, x).max(0))),
        Mistake("labels counted from 1", "1 was subtracted at the class before the label; classes are numbered from 0.",
                lambda dL, x, labels: _backward(dL, x, (labels - 1) % x.shape[1])),
        Mistake("class after the label", "1 was subtracted at the class after the label; classes are numbered from 0.",
                lambda dL, x, labels: _backward(dL, x, (labels + 1) % x.shape[1])),
        Mistake("no softmax", "x - q was used; the gradient is p - q with p = softmax(x).",
                _less_one_hot(p=lambda x: x)),
        Mistake("sign, and dL ignored", "q - p was used, and the upstream gradient dL was ignored; the gradient is dL "
                "(p - q) / N.", lambda dL, x, labels: -_backward(1.0, x, labels)),
        Mistake("without 1/N, and dL ignored", "p - q was neither divided by N nor multiplied by dL; the gradient is "
                "dL (p - q) / N.", lambda dL, x, labels: _backward(1.0, x, labels) * len(x)),
        Mistake("1 subtracted from e^x", "1 was subtracted from e^x at the label, before dividing by the sum; it "
                "should be subtracted from p.",
                lambda dL, x, labels: dL * (np.exp(x - x.max(1, keepdims=True)) - _one_hot(labels, x))
                / np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True) / len(x)),
        Mistake("sigmoid instead of softmax", "σ(x) - q was used, as for independent classes; p is a softmax.",
                _less_one_hot(p=ops.sigmoid)),
        Mistake("softmax over the batch", "The softmax runs over the batch; it should run over the classes of each "
                "row.", _less_one_hot(p=lambda x: ops.softmax(x.T).T)),
        Mistake("softmax twice", "Softmax was applied twice; x contains logits, not probabilities.",
                _less_one_hot(p=lambda x: ops.softmax(ops.softmax(x)))),
        Mistake("extra derivative of softmax", "The gradient was multiplied by p (1 - p); p - q already contains the "
                "derivative of softmax.",
                lambda dL, x, labels: _backward(dL, x, labels) * ops.softmax(x) * (1 - ops.softmax(x))),
        Mistake("gradient with respect to p", "-q/p was used, the gradient with respect to p = softmax(x); the result "
                "should be the gradient with respect to x.",
                lambda dL, x, labels: -dL * _one_hot(labels, x) / ops.softmax(x) / len(x)),
        Mistake("gradient of the squared error", "2 (p - q) p was used, part of the gradient of the squared error; "
                "that of cross-entropy is p - q.", lambda dL, x, labels: 2 * _backward(dL, x, labels) * ops.softmax(x)),
        Mistake("labels smoothed", "The labels were smoothed by 0.1; q should be 1 at the label and 0 elsewhere.",
                _less_one_hot(q=_smoothed)),
        Mistake("summed over the batch", "The gradients of the rows were summed; every row of x has its own gradient.",
                lambda dL, x, labels: _backward(dL, x, labels).sum(0)),
        Mistake("overflow", "e^x overflows for large x, and ∞/∞ is NaN; subtract the maximum of each row first.",
                _less_one_hot(p=lambda x: _shares(np.exp(x)))),
    ),
    written=_softmax_cross_entropy_backward,
    alternates=(_softmax_cross_entropy_backward, _less_one_hot(), _entry_by_entry, _both_derivatives),
)  # fmt: skip

TASKS = (softmax, softmax_cross_entropy, softmax_cross_entropy_backward)
