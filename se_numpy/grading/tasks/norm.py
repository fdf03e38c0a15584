"""Batch normalisation: in training, in evaluation, and its gradient."""

from collections.abc import Callable
from typing import Any

import numpy as np

from se_numpy import ops
from se_numpy.grading.task import Arguments, Mistake, Sizes, Special, Task

SIZES = {"N": (2, 4), "H": (2, 5), "W": (2, 5), "C": (2, 6)}
HYPER = {"eps": (1e-5, 0.1, 0.5)}  # large ones show where eps stands
FILL = {"x": "maps"}
SPECIALS = (
    Special("one image", {"N": 1}),
    Special("one channel", {"C": 1}),
    Special("maps of one pixel", {"N": 4, "H": 1, "W": 1}),
    Special("square maps", {"H": 3, "W": 3}),
    Special("the usual eps", {"eps": 1e-5}),
)
ALL = (0, 1, 2)


def _numbers(least: int) -> Callable[[Sizes], Sizes | None]:
    """A channel has so many numbers at least: of one alone nothing is left once its mean is taken off."""
    return lambda s: {} if s["N"] * s["H"] * s["W"] >= least else None


def _exact(x: np.ndarray) -> np.ndarray:
    """Numbers that single precision has too."""
    return x.astype(np.float32).astype(np.float64)


def _far_from_0(arguments: Arguments) -> Arguments:
    return {**arguments, "x": _exact(arguments["x"] + 1e3)}


def _one_flat_channel(arguments: Arguments) -> Arguments:
    x = arguments["x"].copy()
    x[..., 0] = 2
    return {**arguments, "x": x}


def _with_statistics(arguments: Arguments) -> Arguments:
    """mean and var are those of x."""
    mean, var = arguments["x"].mean(ALL), arguments["x"].var(ALL)
    return {**arguments, "mean": mean, "var": var}


def _then_statistics(change: Callable[[Arguments], Arguments]) -> Callable[[Arguments], Arguments]:
    return lambda arguments: _with_statistics(change(arguments))


def _mean_square(x: np.ndarray, axes: tuple[int, ...] = ALL) -> np.ndarray:
    return (x * x).mean(axes, keepdims=True)


# --------------------------------------------------------------------------------------------------- training


def _norm(
    mean: Callable[..., Any] = lambda x: x.mean(ALL),
    var: Callable[..., Any] = lambda x: x.var(ALL),
    root: Callable[..., Any] = lambda var, eps: np.sqrt(var + eps),
    end: Callable[..., Any] = lambda x_hat, gamma, beta: gamma * x_hat + beta,
) -> Callable[..., Any]:
    """batch_norm with one of its steps exchanged."""
    return lambda x, gamma, beta, eps: end((x - mean(x)) / root(var(x), eps), gamma, beta)


def _over(*axes: int) -> Callable[..., Any]:
    """batch_norm with its statistics over other axes."""
    return _norm(lambda x: x.mean(axes, keepdims=True), lambda x: x.var(axes, keepdims=True))


def _batch_norm(x, gamma, beta, eps):
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    x_hat = (x - mean) / np.sqrt(var + eps)
    return gamma * x_hat + beta


def _by_channel(x, gamma, beta, eps):
    """One channel at a time, its numbers in a row."""
    y = np.empty_like(x)
    for c in range(x.shape[-1]):
        numbers = x[..., c].ravel()
        off = numbers - numbers.sum() / numbers.size
        y[..., c] = (gamma[c] * off / np.sqrt(np.dot(off, off) / off.size + eps) + beta[c]).reshape(x.shape[:-1])
    return y


def _scale_and_shift(x, gamma, beta, eps):
    mean = np.einsum("nhwc->c", x) / x[..., 0].size
    off = x - mean
    a = gamma * (np.einsum("nhwc,nhwc->c", off, off) / x[..., 0].size + eps) ** -0.5
    return a * x + (beta - a * mean)


batch_norm = Task(
    signature="batch_norm(x, gamma, beta, eps) -> y",
    equation="y = gamma (x - mean) / √(var + eps) + beta",
    title="Batch norm in training",
    oracle=ops.batch_norm,
    axes="x: N H W C, gamma: C, beta: C, y: N H W C",
    sizes=SIZES,
    hyper=HYPER,
    fill=FILL,
    derive=_numbers(2),
    specials=SPECIALS,
    extremes=(
        Special("a channel without variance", {"C": 3, "eps": 1e-5}, _one_flat_channel),
        Special("numbers around 1000", {"eps": 1e-5}, _far_from_0),
    ),
    points=2,
    likely=("statistics of each image", "statistics over the batch alone", "eps outside the root",
            "variance divided by m - 1", "divided by the variance"),
    hint="mean and var are the batch's own, over N, H and W; var is the biased one, divided by m = N·H·W.",
    mistakes=(
        Mistake("variance divided by m - 1", "The variance was divided by m - 1; the batch is normalised by its biased "
                "variance, divided by m.", _norm(var=lambda x: x.var(ALL, ddof=1) if x[..., 0].size > 1 else 0 * x)),
        Mistake("variance not divided", "The sum of the squares was taken; the variance is their mean.",
                _norm(var=lambda x: x.var(ALL) * x[..., 0].size)),
        Mistake("mean of x² for the variance", "The variance was taken about 0; it is about the mean.",
                _norm(var=_mean_square)),
        Mistake("mean magnitude for the deviation", "Divided by the mean of |x - mean|; the equation has the root "
                "of the mean square.", _norm(var=lambda x: np.abs(x - x.mean(ALL)).mean(ALL) ** 2)),
        Mistake("statistics of each image", "Every image was normalised by itself (instance norm); batch norm takes "
                "its statistics over the batch too.", _over(1, 2)),
        Mistake("statistics of each image, all channels", "Every image was normalised over its channels too "
                "(layer norm); batch norm takes each channel by itself.", _over(1, 2, 3)),
        Mistake("statistics over the batch alone", "Every pixel has statistics of its own; those of a channel run over "
                "N, H and W.", _over(0)),
        Mistake("statistics over everything", "All channels share one mean and variance; each has its own.",
                _over(0, 1, 2, 3)),
        Mistake("statistics over channels", "Every pixel was normalised over its channels; each channel is normalised "
                "over N, H and W.", _over(3)),
        Mistake("channels taken for the second axis", "The statistics ran over axes 0, 2 and 3, as for channels-first "
                "maps; here channels are the last axis.", _over(0, 2, 3)),
        Mistake("statistics of the first image", "Mean and variance are those of the first image; they run over all.",
                _norm(lambda x: x[0].mean((0, 1)), lambda x: x[0].var((0, 1)))),
        Mistake("eps outside the root", "√var + eps; eps stands under the root.",
                _norm(root=lambda var, eps: np.sqrt(var) + eps)),
        Mistake("eps left out", "√var without eps; it keeps a channel without variance from dividing by 0.",
                _norm(root=lambda var, eps: np.sqrt(var))),
        Mistake("eps of 10⁻⁵ whatever was given", "eps is an argument; 10⁻⁵ was used.",
                _norm(root=lambda var, eps: np.sqrt(var + 1e-5))),
        Mistake("divided by the variance", "Divided by var + eps; the equation has its root.",
                _norm(root=lambda var, eps: var + eps)),
        Mistake("mean not taken off", "x / √(var + eps): the mean is taken off first.", _norm(mean=lambda x: 0)),
        Mistake("not divided", "Only the mean was taken off; x - mean is divided by √(var + eps).",
                _norm(root=lambda var, eps: 1)),
        Mistake("gamma forgotten", "gamma is missing.", _norm(end=lambda x_hat, gamma, beta: x_hat + beta)),
        Mistake("beta forgotten", "beta is missing.", _norm(end=lambda x_hat, gamma, beta: gamma * x_hat)),
        Mistake("gamma and beta exchanged", "gamma is the factor, beta the summand.",
                _norm(end=lambda x_hat, gamma, beta: beta * x_hat + gamma)),
        Mistake("gamma times beta too", "gamma (x̂ + beta): beta is added after gamma.",
                _norm(end=lambda x_hat, gamma, beta: gamma * (x_hat + beta))),
        Mistake("1 + gamma", "The factor is 1 + gamma; the equation has gamma.",
                _norm(end=lambda x_hat, gamma, beta: (1 + gamma) * x_hat + beta)),
    ),
    written=_batch_norm,
    alternates=(
        _batch_norm,
        lambda x, gamma, beta, eps: (x - x.mean((0, 1, 2))) * (gamma / np.sqrt(x.var((0, 1, 2)) + eps)) + beta,
        _by_channel,
        _scale_and_shift,
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------------------- evaluation

normalize = Task(
    signature="normalize(x, mean, var, gamma, beta, eps) -> y",
    equation="y = gamma (x - mean) / √(var + eps) + beta",
    title="Batch norm in evaluation",
    oracle=ops.normalize,
    axes="x: N H W C, mean: C, var: C, gamma: C, beta: C, y: N H W C",
    sizes=SIZES,
    hyper=HYPER,
    fill={"x": "maps", "mean": "maps", "var": "positive"},
    specials=SPECIALS,
    extremes=(
        Special("variance 0", {"eps": 0.1}, lambda a: {**a, "var": 0 * a["var"]}),
        Special("numbers around 1000", {}, lambda a: {**_far_from_0(a), "mean": _exact(a["mean"] + 1e3)}),
    ),
    points=1,
    hint="mean and var are given, those of the past; the batch's own are not looked at.",
    mistakes=(
        Mistake("the batch's own statistics", "Mean and variance of the batch were taken; in evaluation those that are "
                "given stand in their place.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - x.mean(ALL)) / np.sqrt(x.var(ALL) + eps) + beta),
        Mistake("the batch's own mean", "The mean of the batch was taken off, not the one that is given.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - x.mean(ALL)) / np.sqrt(var + eps) + beta),
        Mistake("the batch's own variance", "The variance of the batch was taken, not the one that is given.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) / np.sqrt(x.var(ALL) + eps) + beta),
        Mistake("eps outside the root", "√var + eps; eps stands under the root.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) / (np.sqrt(var) + eps) + beta),
        Mistake("eps left out", "√var without eps.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) / np.sqrt(var) + beta),
        Mistake("eps of 10⁻⁵ whatever was given", "eps is an argument; 10⁻⁵ was used.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) / np.sqrt(var + 1e-5) + beta),
        Mistake("divided by the variance", "Divided by var + eps; the equation has its root.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) / (var + eps) + beta),
        Mistake("multiplied by the root", "Multiplied by √(var + eps); the equation divides.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) * np.sqrt(var + eps) + beta),
        Mistake("mean not taken off", "x / √(var + eps): the mean is taken off first.",
                lambda x, mean, var, gamma, beta, eps: gamma * x / np.sqrt(var + eps) + beta),
        Mistake("mean added", "x + mean; the equation has x - mean.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x + mean) / np.sqrt(var + eps) + beta),
        Mistake("x alone divided", "gamma x / √(var + eps) - mean + beta: mean and x are divided together.",
                lambda x, mean, var, gamma, beta, eps: gamma * x / np.sqrt(var + eps) - mean + beta),
        Mistake("gamma forgotten", "gamma is missing.",
                lambda x, mean, var, gamma, beta, eps: (x - mean) / np.sqrt(var + eps) + beta),
        Mistake("beta forgotten", "beta is missing.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) / np.sqrt(var + eps)),
        Mistake("gamma and beta exchanged", "gamma is the factor, beta the summand.",
                lambda x, mean, var, gamma, beta, eps: beta * (x - mean) / np.sqrt(var + eps) + gamma),
        Mistake("gamma times beta too", "gamma (x̂ + beta): beta is added after gamma.",
                lambda x, mean, var, gamma, beta, eps: gamma * ((x - mean) / np.sqrt(var + eps) + beta)),
        Mistake("mean and variance exchanged", "The variance was taken off and the root of the mean divided by.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - var) / np.sqrt(np.abs(mean) + eps) + beta),
    ),
    alternates=(
        lambda x, mean, var, gamma, beta, eps: gamma * ((x - mean) / np.sqrt(var + eps)) + beta,
        lambda x, mean, var, gamma, beta, eps: (x - mean) * (var + eps) ** -0.5 * gamma + beta,
        lambda x, mean, var, gamma, beta, eps: np.stack(
            [gamma[c] / np.sqrt(var[c] + eps) * (x[..., c] - mean[c]) + beta[c] for c in range(x.shape[-1])], -1),
        lambda x, mean, var, gamma, beta, eps: x * (a := gamma / np.sqrt(var + eps)) + (beta - a * mean),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------------------- the gradient


def _oracle(
    dy: np.ndarray, x: np.ndarray, mean: np.ndarray, var: np.ndarray, gamma: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The library's gradients. The library computes mean and var from x, and asks for beta as well."""
    return ops.batch_norm_backward(dy, x, gamma, np.zeros_like(gamma), eps=eps)


def _batch_norm_backward(dy, x, mean, var, gamma, eps):
    N, H, W, _ = x.shape
    m = N * H * W
    x_hat = (x - mean) / np.sqrt(var + eps)
    dgamma = (dy * x_hat).sum((0, 1, 2))
    dbeta = dy.sum((0, 1, 2))
    dx = gamma / np.sqrt(var + eps) * (dy - dbeta / m - x_hat * dgamma / m)
    return dx, dgamma, dbeta


def _wrong(
    of_mean: float = 1, of_var: float = 1, m: Callable[..., int] = lambda x: x[..., 0].size, factor: Any = None,
    dgamma: Callable[..., Any] = lambda dy, x_hat, x: (dy * x_hat).sum(ALL),
    dbeta: Callable[..., Any] = lambda dy: dy.sum(ALL),
    root: Callable[..., Any] = lambda var, eps: np.sqrt(var + eps),
) -> Callable[..., Any]:
    """batch_norm_backward with one of its pieces exchanged; ``of_mean`` and ``of_var`` weigh the statistics' parts."""

    def backward(dy, x, mean, var, gamma, eps):
        x_hat = (x - mean) / root(var, eps)
        dx = dy - of_mean * dy.sum(ALL) / m(x) - of_var * x_hat * (dy * x_hat).sum(ALL) / m(x)
        scale = gamma / root(var, eps) if factor is None else factor(gamma, var, eps)
        return scale * dx, dgamma(dy, x_hat, x), dbeta(dy)

    return backward


def _through_every_line(dy, x, mean, var, gamma, eps):
    """Each line of the forward pass undone by itself: x̂, then the variance, then the mean."""
    m, off, root = x[..., 0].size, x - mean, np.sqrt(var + eps)
    dx_hat = dy * gamma
    dvar = -0.5 * (dx_hat * off).sum(ALL) / root**3
    dmean = -dx_hat.sum(ALL) / root - 2 * dvar * off.sum(ALL) / m
    return dx_hat / root + 2 * dvar * off / m + dmean / m, (dy * off).sum(ALL) / root, dy.sum(ALL)


def _times_m(dy, x, mean, var, gamma, eps):
    """The same with sums for means: everything times m, and divided by it once."""
    m = x[..., 0].size
    x_hat = (x - mean) / np.sqrt(var + eps)
    dgamma, dbeta = np.einsum("nhwc,nhwc->c", dy, x_hat), np.einsum("nhwc->c", dy)
    return gamma / (m * np.sqrt(var + eps)) * (m * dy - dbeta - x_hat * dgamma), dgamma, dbeta


def _as_a_matrix(dy, x, mean, var, gamma, eps):
    """One channel at a time, by the matrix of all dx̂/dx."""
    m, dx = x[..., 0].size, np.empty_like(x)
    dgamma, dbeta = np.empty_like(gamma), np.empty_like(gamma)
    for c in range(x.shape[-1]):
        d, x_hat = dy[..., c].ravel(), ((x[..., c] - mean[c]) / np.sqrt(var[c] + eps)).ravel()
        jacobian = np.eye(m, dtype=x.dtype) - 1 / m - np.outer(x_hat, x_hat) / m
        dx[..., c] = (jacobian @ d * (gamma[c] / np.sqrt(var[c] + eps))).reshape(x.shape[:-1])
        dgamma[c], dbeta[c] = d @ x_hat, d.sum()
    return dx, dgamma, dbeta


batch_norm_backward = Task(
    signature="batch_norm_backward(dy, x, mean, var, gamma, eps) -> dx, dgamma, dbeta",
    equation="y = gamma (x - mean) / √(var + eps) + beta, mean and var those of x, differentiated",
    title="The gradients of batch norm in training",
    oracle=_oracle,
    library=ops.batch_norm_backward,
    axes="dy: N H W C, x: N H W C, mean: C, var: C, gamma: C, dx: N H W C, dgamma: C, dbeta: C",
    sizes=SIZES,
    hyper=HYPER,
    fill={"x": "maps", "dy": "maps"},
    derive=_numbers(3),
    prepare=_with_statistics,
    specials=SPECIALS,
    extremes=(
        Special("a channel without variance", {"C": 3, "eps": 0.1}, _then_statistics(_one_flat_channel)),
        Special("numbers around 1000", {"eps": 1e-5}, _then_statistics(_far_from_0)),
    ),
    points=4,
    likely=("mean and variance held constant", "variance held constant", "mean held constant", "m = N",
            "gamma forgotten in dx", "dgamma from x", "dgamma as a mean"),
    hint="mean and var are the batch's own, so they move when x does: x̂ = (x - mean) / √(var + eps), ⟨·⟩ is the mean "
    "over N, H and W.",
    mistakes=(
        Mistake("mean and variance held constant", "dx = gamma dy / √(var + eps) would hold if mean and variance were "
                "constants; they are the batch's own, and each x moves them.", _wrong(of_mean=0, of_var=0)),
        Mistake("variance held constant", "The part of dx through the variance, -x̂ ⟨dy x̂⟩, is missing.",
                _wrong(of_var=0)),
        Mistake("mean held constant", "The part of dx through the mean, -⟨dy⟩, is missing.", _wrong(of_mean=0)),
        Mistake("sign of the variance's part", "The part through the variance is -x̂ ⟨dy x̂⟩, with a minus.",
                _wrong(of_var=-1)),
        Mistake("sign of the mean's part", "The part through the mean is -⟨dy⟩, with a minus.", _wrong(of_mean=-1)),
        Mistake("half the variance's part", "The part through the variance is half of what it is: the square in var "
                "has a slope of 2 (x - mean).", _wrong(of_var=0.5)),
        Mistake("twice the variance's part", "The part through the variance is twice what it is: the root has a slope "
                "of 1/2.", _wrong(of_var=2)),
        Mistake("m = N", "Divided by N; the means run over N·H·W numbers of a channel.", _wrong(m=len)),
        Mistake("m = H·W", "Divided by H·W; the means run over N·H·W numbers of a channel.",
                _wrong(m=lambda x: x[0, ..., 0].size)),
        Mistake("m = N·H·W·C", "Divided by the number of all entries; a channel has N·H·W.", _wrong(m=np.size)),
        Mistake("m - 1", "Divided by m - 1; the batch's variance is the biased one, divided by m.",
                _wrong(m=lambda x: x[..., 0].size - 1)),
        Mistake("sums for means", "⟨·⟩ are sums; they are means, divided by m = N·H·W.", _wrong(m=lambda x: 1)),
        Mistake("gamma forgotten in dx", "dx has lost its factor gamma.",
                _wrong(factor=lambda gamma, var, eps: 1 / np.sqrt(var + eps))),
        Mistake("root forgotten in dx", "dx has lost its factor 1 / √(var + eps).",
                _wrong(factor=lambda gamma, var, eps: gamma)),
        Mistake("dx divided by the variance", "dx was divided by var + eps; the equation has its root.",
                _wrong(factor=lambda gamma, var, eps: gamma / (var + eps))),
        Mistake("eps outside the root", "√var + eps; eps stands under the root, on the way back too.",
                _wrong(root=lambda var, eps: np.sqrt(var) + eps)),
        Mistake("eps left out", "√var without eps; it stands under the root, on the way back too.",
                _wrong(root=lambda var, eps: np.sqrt(var))),
        Mistake("dgamma from x", "dgamma = Σ dy x; gamma multiplies x̂, so it is Σ dy x̂.",
                _wrong(dgamma=lambda dy, x_hat, x: (dy * x).sum(ALL))),
        Mistake("dgamma without x̂", "dgamma is Σ dy x̂; x̂ is missing.",
                _wrong(dgamma=lambda dy, x_hat, x: dy.sum(ALL))),
        Mistake("dgamma as a mean", "dgamma was divided by m; gamma's gradient is the sum of dy x̂.",
                _wrong(dgamma=lambda dy, x_hat, x: (dy * x_hat).mean(ALL))),
        Mistake("dbeta as a mean", "dbeta was divided by m; beta's gradient is the sum of dy.",
                _wrong(dbeta=lambda dy: dy.mean(ALL))),
        Mistake("dgamma and dbeta as means", "dgamma and dbeta were divided by m; both are sums.",
                _wrong(dgamma=lambda dy, x_hat, x: (dy * x_hat).mean(ALL), dbeta=lambda dy: dy.mean(ALL))),
        Mistake("dgamma and dbeta over the batch alone", "dgamma and dbeta were summed over N alone; all pixels of a "
                "channel share its gamma and beta.",
                _wrong(dgamma=lambda dy, x_hat, x: (dy * x_hat).sum(0), dbeta=lambda dy: dy.sum(0))),
        Mistake("dgamma and dbeta exchanged", "dgamma = Σ dy x̂ comes before dbeta = Σ dy.",
                lambda *a, **h: (lambda grads: (grads[0], grads[2], grads[1]))(_oracle(*a, **h))),
        Mistake("ones for dy", "The gradient that arrives was ignored, as if dy were 1 everywhere.",
                lambda dy, *a, **h: _oracle(np.ones_like(dy), *a, **h)),
    ),
    written=_batch_norm_backward,
    alternates=(_batch_norm_backward, _through_every_line, _times_m, _as_a_matrix),
)  # fmt: skip

TASKS = (batch_norm, normalize, batch_norm_backward)
