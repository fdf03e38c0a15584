"""Softmax, the cross-entropy of it, and its gradient."""

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
    Special("all alike", {}, lambda a: {**a, "x": 0 * a["x"] + 2}),
    Special("far from zero", {}, lambda a: {**a, "x": a["x"] + 16}),
)
LABELLED = (
    *SPECIALS,
    Special("the first class everywhere", {}, lambda a: {**a, "labels": 0 * a["labels"]}),
    Special("the last class everywhere", {}, lambda a: {**a, "labels": 0 * a["labels"] + a["x"].shape[1] - 1}),
)


def _far_out(arguments: Arguments) -> Arguments:
    """Logits of 10⁴ and more, the first row's all far below the last one's; the first label is the least likely class,
    the last one the likeliest.
    """
    x = (1e4 * arguments["x"]).astype(np.float32).astype(np.float64)
    x[0], x[-1] = -np.abs(x[0]) - 1e3, np.abs(x[-1])
    if "labels" not in arguments:
        return {**arguments, "x": x}
    labels = arguments["labels"].copy()
    labels[-1], labels[0] = x[-1].argmax(), x[0].argmin()
    return {**arguments, "x": x, "labels": labels}


EXTREMES = (Special("logits of 10⁴", {}, _far_out),)


def _shares(e: np.ndarray) -> np.ndarray:
    return e / e.sum(1, keepdims=True)


def _one_hot(labels: np.ndarray, x: np.ndarray) -> np.ndarray:
    return (labels[:, None] == np.arange(x.shape[1])).astype(x.dtype)


def _at_label(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return x[np.arange(len(x)), labels]


def _log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


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
    hint="Take the largest x of each row off first: p stays the same, and nothing overflows.",
    likely=("overflow", "over the batch", "over everything", "largest of the whole batch", "no sum"),
    mistakes=(
        Mistake("over the batch", "Columns add up to 1: the sum runs over the classes of one row, not over the batch.",
                lambda x: np.exp(x) / np.exp(x).sum(0)),
        Mistake("over everything", "All numbers together add up to 1; each row does.",
                lambda x: np.exp(x) / np.exp(x).sum()),
        Mistake("no sum", "e^x was not divided by the sum over the classes.", lambda x: np.exp(x)),
        Mistake("mean for the sum", "e^x was divided by the mean over the classes; rows add up to 1 with the sum.",
                lambda x: np.exp(x) / np.exp(x).mean(1, keepdims=True)),
        Mistake("divided by the largest", "e^x was divided by the largest of its row; it is divided by the sum.",
                lambda x: np.exp(x - x.max(1, keepdims=True))),
        Mistake("no exponential", "x was divided by the sum of x; softmax has e^x in both places.", _shares),
        Mistake("magnitudes", "|x| was divided by the sum of |x|; softmax has e^x in both places.",
                lambda x: _shares(np.abs(x))),
        Mistake("sign of the exponent", "e⁻ˣ was taken, so that the smallest x has the largest share.",
                lambda x: ops.softmax(-x)),
        Mistake("powers of 2", "2^x was taken; the base is e.", lambda x: ops.softmax(x * np.log(2))),
        Mistake("squares", "x² was divided by the sum of x²; softmax has e^x in both places.",
                lambda x: _shares(x * x)),
        Mistake("sigmoid", "σ of every number by itself; a softmax lets classes compete, so that rows add up to 1.",
                lambda x: ops.sigmoid(x)),
        Mistake("logarithm", "log p came back; p was asked for.", _log_softmax),
        Mistake("the largest alone", "1 at the largest and 0 elsewhere; softmax gives every class a share.",
                lambda x: (x == x.max(1, keepdims=True)) * 1.0),
        Mistake("twice", "Softmax was taken of softmax.", lambda x: ops.softmax(ops.softmax(x))),
        Mistake("overflow", "e^x overflows where x is large, and ∞/∞ is no number: take the largest x of each row off "
                "first.", lambda x: _shares(np.exp(x))),
        Mistake("largest of the whole batch", "The largest x of the batch was taken off: in a row that lies far below "
                "it every e^x is 0, and 0/0 is no number. Take the largest of each row.",
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
    """A loss made of p at the label."""
    return lambda x, labels: np.mean(f(_at_label(ops.softmax(x), labels)))


def _cross_entropy(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return ops.softmax_cross_entropy(x, labels)


def _softmax_cross_entropy(x, labels):
    x = x - x.max(1, keepdims=True)  # changes no probability, and nothing overflows
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
    hint="log p = x - log Σ e^x; with the largest x of each row taken off first nothing overflows.",
    likely=("sum over the batch", "sign", "labels of all rows", "largest taken off on one side", "overflow",
            "logarithm of 0"),
    mistakes=(
        Mistake("sum over the batch", "The losses of the rows were summed; L is their mean.",
                lambda x, labels: _cross_entropy(x, labels) * len(x)),
        Mistake("mean over the classes too", "Divided by N·K; L is a mean over the N rows.",
                lambda x, labels: _cross_entropy(x, labels) / x.shape[1]),
        Mistake("sign", "The sign is wrong: L = -log p is positive.", lambda x, labels: -_cross_entropy(x, labels)),
        Mistake("one loss a row", "Every row's loss came back; L is their mean, one number.",
                lambda x, labels: -_at_label(_log_softmax(x), labels)),
        Mistake("the first row alone", "The loss of the first row; L is the mean over all.",
                lambda x, labels: _cross_entropy(x[:1], labels[:1])),
        Mistake("logarithm to base 2", "log₂ was taken; log is the natural one.", _of_shares(lambda p: -np.log2(p))),
        Mistake("logarithm to base 10", "log₁₀ was taken; log is the natural one.", _of_shares(lambda p: -np.log10(p))),
        Mistake("labels counted from 1", "The class before the label was taken: labels count from 0.",
                lambda x, labels: _cross_entropy(x, (labels - 1) % x.shape[1])),
        Mistake("the class after the label", "The class after the label was taken: labels count from 0.",
                lambda x, labels: _cross_entropy(x, (labels + 1) % x.shape[1])),
        Mistake("no logarithm", "-p was averaged; the loss is -log p.", _of_shares(np.negative)),
        Mistake("1 - p", "1 - p was averaged; the loss is -log p.", _of_shares(lambda p: 1 - p)),
        Mistake("-log (1 - p)", "-log (1 - p) of the label was averaged; the loss is -log p.",
                _of_shares(lambda p: -np.log(1 - p))),
        Mistake("entropy of the prediction", "-p log p was averaged, with p where the label's 1 belongs.",
                _of_shares(lambda p: -p * np.log(p))),
        Mistake("labels of all rows", "log p[:, labels] takes every row at the labels of all; each row has a label of "
                "its own: log p[np.arange(N), labels].", lambda x, labels: -_log_softmax(x)[:, labels].mean()),
        Mistake("all classes", "-log p was averaged over all classes; only the label's counts.",
                lambda x, labels: -_log_softmax(x).mean()),
        Mistake("squared error", "The squared difference to a one-hot label; cross-entropy is -log p.",
                lambda x, labels: ((ops.softmax(x) - _one_hot(labels, x)) ** 2).sum(1).mean()),
        Mistake("sigmoid for softmax", "-log σ(x) of the label; the classes compete in a softmax.",
                lambda x, labels: np.logaddexp(0, -_at_label(x, labels)).mean()),
        Mistake("softmax over the batch", "The softmax ran over the batch; it runs over the classes of one row.",
                lambda x, labels: -_at_label(_log_softmax(x.T).T, labels).mean()),
        Mistake("softmax twice", "Softmax was taken twice: x are logits, not probabilities.",
                lambda x, labels: _cross_entropy(ops.softmax(x), labels)),
        Mistake("the logit alone", "-x of the label: log Σ e^x is missing.",
                lambda x, labels: -_at_label(x, labels).mean()),
        Mistake("log-sum alone", "log Σ e^x: the logit of the label has to be taken off.",
                lambda x, labels: np.logaddexp.reduce(x, 1).mean()),
        Mistake("distance to the largest", "The largest logit less the label's; the loss has log Σ e^x.",
                lambda x, labels: (x.max(1) - _at_label(x, labels)).mean()),
        Mistake("largest taken off on one side", "The largest x was taken off in log Σ e^x, but not off the label's "
                "logit: add it again.",
                lambda x, labels: (_cross_entropy(x, labels) - x.max(1).mean())),
        Mistake("overflow", "e^x overflows where x is large, and ∞/∞ is no number: take the largest x of each row off "
                "first.", lambda x, labels: -np.log(_at_label(_shares(np.exp(x)), labels)).mean()),
        Mistake("logarithm of 0", "p itself is 0 where x lies far below the largest, and log 0 is -∞: "
                "log p = x - log Σ e^x does not need p.", _of_shares(lambda p: -np.log(p))),
        Mistake("largest of the whole batch", "The largest x of the batch was taken off: in a row that lies far below "
                "it every e^x is 0, and log 0 is -∞. Take the largest of each row.",
                lambda x, labels: (np.log(np.exp(x - x.max()).sum(1)) - _at_label(x - x.max(), labels)).mean()),
        Mistake("p kept from 0", "A small number was added to p before the logarithm, or p cut off there: no loss can "
                "be larger than its logarithm. log p = x - log Σ e^x needs neither.",
                _of_shares(lambda p: -np.log(p + 1e-12))),
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
    """dL (p - q) / N with its p or its q exchanged."""
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
    """Through p: the Jacobian of softmax, p (1 at the diagonal - p), times -1/p at the label, whose p cancels."""
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
    hint="dL is a number: what the rest of a program would send back, 1 where nothing follows.",
    likely=("without 1/N", "dL ignored", "p alone", "1 taken off at the labels of all rows",
            "derivative of softmax once more", "sign"),
    mistakes=(
        Mistake("without 1/N", "p - q was not divided by N; L is a mean over the N rows.",
                lambda dL, x, labels: _backward(dL, x, labels) * len(x)),
        Mistake("1/(N·K)", "Divided by N·K; L is a mean over the N rows alone.",
                lambda dL, x, labels: _backward(dL, x, labels) / x.shape[1]),
        Mistake("1/K for 1/N", "Divided by K; L is a mean over the N rows.",
                lambda dL, x, labels: _backward(dL, x, labels) * len(x) / x.shape[1]),
        Mistake("1/N²", "Divided by N twice.", lambda dL, x, labels: _backward(dL, x, labels) / len(x)),
        Mistake("dL ignored", "The gradient that arrives, dL, was ignored.",
                lambda dL, x, labels: _backward(1.0, x, labels)),
        Mistake("sign", "q - p: the gradient is p - q.", lambda dL, x, labels: -_backward(dL, x, labels)),
        Mistake("p alone", "The label was not taken off: the gradient is p - q.", _less_one_hot(q=lambda labels, x: 0)),
        Mistake("-q alone", "p is missing: the gradient is p - q.", _less_one_hot(p=lambda x: 0)),
        Mistake("1 taken off everywhere", "p - 1 in every class; 1 is taken off at the label alone.",
                _less_one_hot(q=lambda labels, x: 1)),
        Mistake("at the label alone", "Only the label's class has a gradient; the others have p.",
                lambda dL, x, labels: _backward(dL, x, labels) * _one_hot(labels, x)),
        Mistake("1 taken off at the labels of all rows", "dx[:, labels] -= 1 takes 1 off at the labels of all rows; "
                "each row has one of its own: dx[np.arange(N), labels].",
                _less_one_hot(q=lambda labels, x: _one_hot(labels, x).max(0))),
        Mistake("labels counted from 1", "1 was taken off at the class before the label: labels count from 0.",
                lambda dL, x, labels: _backward(dL, x, (labels - 1) % x.shape[1])),
        Mistake("the class after the label", "1 was taken off at the class after the label: labels count from 0.",
                lambda dL, x, labels: _backward(dL, x, (labels + 1) % x.shape[1])),
        Mistake("no softmax", "x - q: the gradient has p = softmax(x), not x.", _less_one_hot(p=lambda x: x)),
        Mistake("sigmoid for softmax", "σ(x) - q belongs to a loss of independent classes; p is a softmax.",
                _less_one_hot(p=ops.sigmoid)),
        Mistake("softmax over the batch", "The softmax ran over the batch; it runs over the classes of one row.",
                _less_one_hot(p=lambda x: ops.softmax(x.T).T)),
        Mistake("softmax twice", "Softmax was taken twice: x are logits, not probabilities.",
                _less_one_hot(p=lambda x: ops.softmax(ops.softmax(x)))),
        Mistake("derivative of softmax once more", "Multiplied by p (1 - p); p - q has the derivative of softmax in it "
                "already.", lambda dL, x, labels: _backward(dL, x, labels) * ops.softmax(x) * (1 - ops.softmax(x))),
        Mistake("gradient of p, not of x", "-q/p is the gradient of p = softmax(x); x was asked for.",
                lambda dL, x, labels: -dL * _one_hot(labels, x) / ops.softmax(x) / len(x)),
        Mistake("gradient of the squared error", "2 (p - q) p: that is of squared differences, and without the sum "
                "over the classes.", lambda dL, x, labels: 2 * _backward(dL, x, labels) * ops.softmax(x)),
        Mistake("labels smoothed", "Labels were smoothed by 0.1; q is 1 at the label and 0 elsewhere.",
                _less_one_hot(q=_smoothed)),
        Mistake("summed over the batch", "The rows were summed; every row of x has its own gradient.",
                lambda dL, x, labels: _backward(dL, x, labels).sum(0)),
        Mistake("overflow", "e^x overflows where x is large, and ∞/∞ is no number: take the largest x of each row off "
                "first.", _less_one_hot(p=lambda x: _shares(np.exp(x)))),
    ),
    written=_softmax_cross_entropy_backward,
    alternates=(_softmax_cross_entropy_backward, _less_one_hot(), _entry_by_entry, _both_derivatives),
)  # fmt: skip

TASKS = (softmax, softmax_cross_entropy, softmax_cross_entropy_backward)
