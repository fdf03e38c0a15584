"""Batch normalisation: in training, in evaluation, and its gradient."""

from collections.abc import Callable
from typing import Any

import numpy as np

from se_numpy import ops
from se_numpy.grading.task import Arguments, Mistake, Sizes, Special, Task

SIZES = {"N": (2, 4), "H": (2, 5), "W": (2, 5), "C": (2, 6)}
HYPER = {"eps": (1e-5, 0.1, 0.5)}  # large values reveal a misplaced eps
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
    """Reject sizes with fewer values per channel: a single value minus its mean is always 0."""
    return lambda s: {} if s["N"] * s["H"] * s["W"] >= least else None


def _exact(x: np.ndarray) -> np.ndarray:
    """Round to values that are exact in single precision."""
    return x.astype(np.float32).astype(np.float64)


def _far_from_0(arguments: Arguments) -> Arguments:
    return {**arguments, "x": _exact(arguments["x"] + 1e3)}


def _one_flat_channel(arguments: Arguments) -> Arguments:
    x = arguments["x"].copy()
    x[..., 0] = 2
    return {**arguments, "x": x}


def _with_statistics(arguments: Arguments) -> Arguments:
    """Set mean and var to the statistics of x."""
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
    """Return batch_norm with one of its steps replaced."""
    return lambda x, gamma, beta, eps: end((x - mean(x)) / root(var(x), eps), gamma, beta)


def _over(*axes: int) -> Callable[..., Any]:
    """Return batch_norm with its statistics computed over other axes."""
    return _norm(lambda x: x.mean(axes, keepdims=True), lambda x: x.var(axes, keepdims=True))


def _batch_norm(x, gamma, beta, eps):
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    x_hat = (x - mean) / np.sqrt(var + eps)
    return gamma * x_hat + beta


def _by_channel(x, gamma, beta, eps):
    """Normalise one channel at a time, as a vector."""
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
        Special("values around 1000", {"eps": 1e-5}, _far_from_0),
    ),
    points=2,
    likely=("statistics of each image", "statistics over the batch only", "eps outside the root",
            "variance divided by m - 1", "divided by the variance"),
    hint="mean and var are the statistics of the batch, over N, H and W; var is biased, divided by m = N·H·W.",
    mistakes=(
        Mistake("variance divided by m - 1", "The variance was divided by m - 1; batch norm uses the biased variance, "
                "divided by m.", _norm(var=lambda x: x.var(ALL, ddof=1) if x[..., 0].size > 1 else 0 * x)),
        Mistake("variance not divided", "The squares were summed; the variance is their mean.",
                _norm(var=lambda x: x.var(ALL) * x[..., 0].size)),
        Mistake("mean of x² as variance", "The mean of x² was used; the variance is the mean of (x - mean)².",
                _norm(var=_mean_square)),
        Mistake("mean absolute deviation", "The mean of |x - mean| was used; the standard deviation is the square root "
                "of the mean of (x - mean)².", _norm(var=lambda x: np.abs(x - x.mean(ALL)).mean(ALL) ** 2)),
        Mistake("statistics of each image", "Each image was normalised separately (instance norm); batch norm "
                "computes its statistics over the batch too.", _over(1, 2)),
        Mistake("statistics of each image, all channels", "Each image was normalised over all its channels (layer "
                "norm); batch norm normalises each channel separately over the batch.", _over(1, 2, 3)),
        Mistake("statistics over the batch only", "Each pixel was normalised over the batch; each channel should be "
                "normalised over N, H and W.", _over(0)),
        Mistake("statistics over the whole array", "All channels share one mean and variance; each channel should have "
                "its own.", _over(0, 1, 2, 3)),
        Mistake("statistics over channels", "Each pixel was normalised over its channels; each channel should be "
                "normalised over N, H and W.", _over(3)),
        Mistake("channels as the second axis", "The statistics were computed over axes 0, 2 and 3, as for "
                "channels-first maps; here channels are the last axis.", _over(0, 2, 3)),
        Mistake("statistics of the first image", "The mean and variance were computed from the first image only; they "
                "should be computed over all images.", _norm(lambda x: x[0].mean((0, 1)), lambda x: x[0].var((0, 1)))),
        Mistake("eps outside the root", "√var + eps was used; eps belongs inside the root, √(var + eps).",
                _norm(root=lambda var, eps: np.sqrt(var) + eps)),
        Mistake("eps left out", "√var was used without eps, which divides by 0 in a constant channel; the equation "
                "has √(var + eps).", _norm(root=lambda var, eps: np.sqrt(var))),
        Mistake("eps fixed at 10⁻⁵", "10⁻⁵ was used for eps; eps is an argument.",
                _norm(root=lambda var, eps: np.sqrt(var + 1e-5))),
        Mistake("another constant for eps", "A constant was used in place of eps; eps is an argument.",
                _norm(root=lambda var, eps: np.sqrt(var + 1e-3)),
                family=lambda c: _norm(root=lambda var, eps: np.sqrt(var + c))),
        Mistake("eps inside and outside the root", "√(var + eps) + eps was used; eps belongs only inside the root.",
                _norm(root=lambda var, eps: np.sqrt(var + eps) + eps)),
        Mistake("eps squared", "√(var + eps²) was used; the equation has √(var + eps).",
                _norm(root=lambda var, eps: np.sqrt(var + eps**2))),
        Mistake("range instead of the root", "x - mean was divided by the range, maximum - minimum; it should be "
                "divided by √(var + eps).",
                lambda x, gamma, beta, eps: gamma * (x - x.mean(ALL)) / (x.max(ALL) - x.min(ALL) + eps) + beta),
        Mistake("statistics over batch and height", "The statistics were computed over axes 0 and 1 only; each channel "
                "should be normalised over N, H and W.", _over(0, 1)),
        Mistake("statistics over height only", "The statistics were computed over the height only; each channel should "
                "be normalised over N, H and W.", _over(1)),
        Mistake("squares divided by N", "The squares were summed over N, H and W but divided by N; the variance is "
                "their mean, divided by m = N·H·W.", _norm(var=lambda x: x.var(ALL) * x[0, ..., 0].size)),
        Mistake("squares divided by H·W", "The squares were summed over N, H and W but divided by H·W; the variance is "
                "their mean, divided by m = N·H·W.", _norm(var=lambda x: x.var(ALL) * len(x))),
        Mistake("divided by the variance", "x - mean was divided by var + eps; it should be divided by √(var + eps).",
                _norm(root=lambda var, eps: var + eps)),
        Mistake("mean not subtracted", "x / √(var + eps) was computed; the mean should be subtracted first.",
                _norm(mean=lambda x: 0)),
        Mistake("not divided", "Only the mean was subtracted; x - mean should also be divided by √(var + eps).",
                _norm(root=lambda var, eps: 1)),
        Mistake("gamma left out", "gamma was left out; the normalised x should be multiplied by gamma.",
                _norm(end=lambda x_hat, gamma, beta: x_hat + beta)),
        Mistake("beta left out", "beta was left out; it should be added at the end.",
                _norm(end=lambda x_hat, gamma, beta: gamma * x_hat)),
        Mistake("gamma and beta swapped", "gamma and beta were swapped; gamma is the factor, and beta is added.",
                _norm(end=lambda x_hat, gamma, beta: beta * x_hat + gamma)),
        Mistake("beta times gamma", "gamma (x̂ + beta) was computed; beta should be added after the multiplication by "
                "gamma.", _norm(end=lambda x_hat, gamma, beta: gamma * (x_hat + beta))),
        Mistake("1 + gamma", "The factor is 1 + gamma; it should be gamma.",
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


def _given(root: Callable[..., Any]) -> Callable[..., Any]:
    """Return normalize with another root."""
    return lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) / root(x, var, eps) + beta


def _corrected(x: np.ndarray) -> float:
    m = x[..., 0].size
    return m / max(1, m - 1)


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
        Special("values around 1000", {}, lambda a: {**_far_from_0(a), "mean": _exact(a["mean"] + 1e3)}),
    ),
    points=1,
    hint="mean and var are given, usually running averages; the statistics of the batch are not used.",
    mistakes=(
        Mistake("statistics of the batch", "The batch mean and variance were used; evaluation uses the given ones.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - x.mean(ALL)) / np.sqrt(x.var(ALL) + eps) + beta),
        Mistake("mean of the batch", "The batch mean was subtracted; it should be the given mean.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - x.mean(ALL)) / np.sqrt(var + eps) + beta),
        Mistake("variance of the batch", "The batch variance was used; it should be the given variance.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) / np.sqrt(x.var(ALL) + eps) + beta),
        Mistake("eps outside the root", "√var + eps was used; eps belongs inside the root, √(var + eps).",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) / (np.sqrt(var) + eps) + beta),
        Mistake("eps left out", "√var was used without eps; the equation has √(var + eps).",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) / np.sqrt(var) + beta),
        Mistake("eps fixed at 10⁻⁵", "10⁻⁵ was used for eps; eps is an argument.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) / np.sqrt(var + 1e-5) + beta),
        Mistake("another constant for eps", "A constant was used in place of eps; eps is an argument.",
                _given(lambda x, var, eps: np.sqrt(var + 1e-3)),
                family=lambda c: _given(lambda x, var, eps: np.sqrt(var + c))),
        Mistake("variance corrected again", "var was multiplied by m / (m - 1); the given variance should be used as "
                "it is.", _given(lambda x, var, eps: np.sqrt(var * _corrected(x) + eps))),
        Mistake("variance corrected by N", "var was multiplied by N / (N - 1); the given variance should be used as "
                "it is.", _given(lambda x, var, eps: np.sqrt(var * len(x) / max(1, len(x) - 1) + eps))),
        Mistake("variance divided by m / (m - 1)", "var was multiplied by (m - 1) / m; the given variance should be "
                "used as it is.", _given(lambda x, var, eps: np.sqrt(var / _corrected(x) + eps))),
        Mistake("var as a standard deviation", "var was squared, as if it were a standard deviation; it is a variance "
                "already.", _given(lambda x, var, eps: np.sqrt(var**2 + eps))),
        Mistake("running averages updated first", "mean and var were updated with the statistics of the batch before "
                "they were used; evaluation uses the given ones.",
                lambda x, mean, var, gamma, beta, eps: ops.normalize(
                    x, 0.9 * mean + 0.1 * x.mean(ALL), 0.9 * var + 0.1 * x.var(ALL), gamma, beta, eps=eps),
                family=lambda c: lambda x, mean, var, gamma, beta, eps: ops.normalize(
                    x, (1 - c) * mean + c * x.mean(ALL), (1 - c) * var + c * x.var(ALL), gamma, beta, eps=eps)),
        Mistake("eps added at the end", "eps was added to the result; it belongs inside the root, √(var + eps).",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) / np.sqrt(var) + beta + eps),
        Mistake("divided by the variance", "x - mean was divided by var + eps; it should be divided by √(var + eps).",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) / (var + eps) + beta),
        Mistake("multiplied by the root", "x - mean was multiplied by √(var + eps); it should be divided by it.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) * np.sqrt(var + eps) + beta),
        Mistake("mean not subtracted", "x / √(var + eps) was computed; the mean should be subtracted first.",
                lambda x, mean, var, gamma, beta, eps: gamma * x / np.sqrt(var + eps) + beta),
        Mistake("mean added", "The mean was added to x; it should be subtracted.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x + mean) / np.sqrt(var + eps) + beta),
        Mistake("only x divided", "gamma x / √(var + eps) - mean + beta was computed; the mean should be subtracted "
                "before the division.",
                lambda x, mean, var, gamma, beta, eps: gamma * x / np.sqrt(var + eps) - mean + beta),
        Mistake("gamma left out", "gamma was left out; the normalised x should be multiplied by gamma.",
                lambda x, mean, var, gamma, beta, eps: (x - mean) / np.sqrt(var + eps) + beta),
        Mistake("beta left out", "beta was left out; it should be added at the end.",
                lambda x, mean, var, gamma, beta, eps: gamma * (x - mean) / np.sqrt(var + eps)),
        Mistake("gamma and beta swapped", "gamma and beta were swapped; gamma is the factor, and beta is added.",
                lambda x, mean, var, gamma, beta, eps: beta * (x - mean) / np.sqrt(var + eps) + gamma),
        Mistake("beta times gamma", "gamma (x̂ + beta) was computed; beta should be added after the multiplication by "
                "gamma.", lambda x, mean, var, gamma, beta, eps: gamma * ((x - mean) / np.sqrt(var + eps) + beta)),
        Mistake("mean and variance swapped", "The mean and variance were swapped; subtract the mean, then divide by "
                "√(var + eps).",
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
    """Call the library's function, which computes mean and var from x and also takes beta."""
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
    of_mean: float = 1,
    of_var: float = 1,
    m: Callable[..., int] = lambda x: x[..., 0].size,
    factor: Any = None,
    dgamma: Callable[..., Any] = lambda dy, x_hat, x: (dy * x_hat).sum(ALL),
    dbeta: Callable[..., Any] = lambda dy: dy.sum(ALL),
    root: Callable[..., Any] = lambda var, eps: np.sqrt(var + eps),
) -> Callable[..., Any]:
    """Return batch_norm_backward with one step replaced; ``of_mean`` and ``of_var`` scale two terms of dx."""

    def backward(dy, x, mean, var, gamma, eps):
        x_hat = (x - mean) / root(var, eps)
        dx = dy - of_mean * dy.sum(ALL) / m(x) - of_var * x_hat * (dy * x_hat).sum(ALL) / m(x)
        scale = gamma / root(var, eps) if factor is None else factor(gamma, var, eps)
        return scale * dx, dgamma(dy, x_hat, x), dbeta(dy)

    return backward


def _times_gamma(dx, dgamma, dbeta, gamma):
    return dx, gamma * dgamma, dbeta


def _dgamma_is(gradients, dgamma):
    return gradients[0], dgamma, gradients[2]


def _through_every_line(dy, x, mean, var, gamma, eps):
    """Differentiate each line of the forward pass separately: x̂, then the variance, then the mean."""
    m, off, root = x[..., 0].size, x - mean, np.sqrt(var + eps)
    dx_hat = dy * gamma
    dvar = -0.5 * (dx_hat * off).sum(ALL) / root**3
    dmean = -dx_hat.sum(ALL) / root - 2 * dvar * off.sum(ALL) / m
    return dx_hat / root + 2 * dvar * off / m + dmean / m, (dy * off).sum(ALL) / root, dy.sum(ALL)


def _times_m(dy, x, mean, var, gamma, eps):
    """Use sums instead of means, and divide by m once."""
    m = x[..., 0].size
    x_hat = (x - mean) / np.sqrt(var + eps)
    dgamma, dbeta = np.einsum("nhwc,nhwc->c", dy, x_hat), np.einsum("nhwc->c", dy)
    return gamma / (m * np.sqrt(var + eps)) * (m * dy - dbeta - x_hat * dgamma), dgamma, dbeta


def _as_a_matrix(dy, x, mean, var, gamma, eps):
    """Multiply by the Jacobian of x̂ with respect to x, one channel at a time."""
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
    equation="y = gamma (x - mean) / √(var + eps) + beta, with mean and var of x, differentiated",
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
        Special("values around 1000", {"eps": 1e-5}, _then_statistics(_far_from_0)),
    ),
    points=4,
    likely=("mean and variance held constant", "variance held constant", "mean held constant", "m = N",
            "gamma left out of dx", "dgamma from x", "dgamma as a mean"),
    hint="mean and var are computed from x, so dx includes their gradients. Notation: x̂ = (x - mean) / √(var + eps), "
    "and ⟨·⟩ is the mean over N, H and W.",
    mistakes=(
        Mistake("mean and variance held constant", "dx = gamma dy / √(var + eps) treats the mean and variance as "
                "constants; they are computed from x, so dx includes their gradients.", _wrong(of_mean=0, of_var=0)),
        Mistake("variance held constant", "The variance was treated as constant; dx should include the term -x̂ ⟨dy "
                "x̂⟩.", _wrong(of_var=0)),
        Mistake("mean held constant", "The mean was treated as constant; dx should include the term -⟨dy⟩.",
                _wrong(of_mean=0)),
        Mistake("sign of the variance term", "The variance term of dx has the wrong sign; it should be -x̂ ⟨dy x̂⟩.",
                _wrong(of_var=-1)),
        Mistake("sign of the mean term", "The mean term of dx has the wrong sign; it should be -⟨dy⟩.",
                _wrong(of_mean=-1)),
        Mistake("half the variance term", "The variance term of dx is half as large as it should be; the square in "
                "the variance has the derivative 2 (x - mean).", _wrong(of_var=0.5)),
        Mistake("twice the variance term", "The variance term of dx is twice as large as it should be; the derivative "
                "of the root has the factor 1/2.", _wrong(of_var=2)),
        Mistake("m = N", "The sums were divided by N; the means are taken over the N·H·W values of a channel.",
                _wrong(m=len)),
        Mistake("m = H·W", "The sums were divided by H·W; the means are taken over the N·H·W values of a channel.",
                _wrong(m=lambda x: x[0, ..., 0].size)),
        Mistake("m = N·H·W·C", "The sums were divided by N·H·W·C; the means are taken over the N·H·W values of a "
                "channel.", _wrong(m=np.size)),
        Mistake("m - 1", "The sums were divided by m - 1; they should be divided by m, because batch norm uses the "
                "biased variance.", _wrong(m=lambda x: x[..., 0].size - 1)),
        Mistake("sums instead of means", "Sums were used for ⟨·⟩; they should be means, divided by m = N·H·W.",
                _wrong(m=lambda x: 1)),
        Mistake("gamma left out of dx", "gamma was left out of dx; dx should have the factor gamma / √(var + eps).",
                _wrong(factor=lambda gamma, var, eps: 1 / np.sqrt(var + eps))),
        Mistake("root left out of dx", "√(var + eps) was left out of dx; dx should have the factor gamma / √(var + "
                "eps).", _wrong(factor=lambda gamma, var, eps: gamma)),
        Mistake("dx divided by the variance", "dx was divided by var + eps; it should be divided by √(var + eps).",
                _wrong(factor=lambda gamma, var, eps: gamma / (var + eps))),
        Mistake("eps outside the root", "√var + eps was used; eps belongs inside the root in the backward pass too.",
                _wrong(root=lambda var, eps: np.sqrt(var) + eps)),
        Mistake("eps left out", "√var was used without eps; the backward pass uses √(var + eps) too.",
                _wrong(root=lambda var, eps: np.sqrt(var))),
        Mistake("another constant for eps", "A constant was used in place of eps; eps is an argument.",
                _wrong(root=lambda var, eps: np.sqrt(var + 1e-3)),
                family=lambda c: _wrong(root=lambda var, eps: np.sqrt(var + c))),
        Mistake("gamma twice in dx", "dx has the factor gamma²; it should have gamma / √(var + eps).",
                _wrong(factor=lambda gamma, var, eps: gamma**2 / np.sqrt(var + eps))),
        Mistake("dgamma with gamma", "dgamma was multiplied by gamma; it should be Σ dy x̂.",
                lambda dy, x, mean, var, gamma, eps: _times_gamma(*_oracle(dy, x, mean, var, gamma, eps), gamma)),
        Mistake("dgamma without the root", "dgamma = Σ dy (x - mean) was computed; gamma multiplies x̂, so dgamma is Σ "
                "dy x̂, divided by √(var + eps) too.",
                lambda dy, x, mean, var, gamma, eps: _dgamma_is(
                    _oracle(dy, x, mean, var, gamma, eps), (dy * (x - mean)).sum(ALL))),
        Mistake("dgamma from x", "dgamma = Σ dy x was computed; gamma multiplies x̂, so dgamma is Σ dy x̂.",
                _wrong(dgamma=lambda dy, x_hat, x: (dy * x).sum(ALL))),
        Mistake("dgamma without x̂", "dgamma = Σ dy was computed; it should be Σ dy x̂.",
                _wrong(dgamma=lambda dy, x_hat, x: dy.sum(ALL))),
        Mistake("dgamma as a mean", "dgamma was divided by m; it should be the sum of dy x̂.",
                _wrong(dgamma=lambda dy, x_hat, x: (dy * x_hat).mean(ALL))),
        Mistake("dbeta as a mean", "dbeta was divided by m; it should be the sum of dy.",
                _wrong(dbeta=lambda dy: dy.mean(ALL))),
        Mistake("dgamma and dbeta as means", "dgamma and dbeta were divided by m; both should be sums.",
                _wrong(dgamma=lambda dy, x_hat, x: (dy * x_hat).mean(ALL), dbeta=lambda dy: dy.mean(ALL))),
        Mistake("dgamma and dbeta over the batch only", "dgamma and dbeta were summed over N only; all pixels of a "
                "channel share gamma and beta, so they should be summed over N, H and W.",
                _wrong(dgamma=lambda dy, x_hat, x: (dy * x_hat).sum(0), dbeta=lambda dy: dy.sum(0))),
        Mistake("dgamma and dbeta swapped", "dgamma and dbeta were returned in the wrong order; the correct order is "
                "dx, dgamma, dbeta.", lambda *a, **h: (lambda grads: (grads[0], grads[2], grads[1]))(_oracle(*a, **h))),
        Mistake("dy ignored", "The upstream gradient dy was taken as 1 everywhere; all gradients are proportional to "
                "it.", lambda dy, *a, **h: _oracle(np.ones_like(dy), *a, **h)),
    ),
    written=_batch_norm_backward,
    alternates=(_batch_norm_backward, _through_every_line, _times_m, _as_a_matrix),
)  # fmt: skip

TASKS = (batch_norm, normalize, batch_norm_backward)
