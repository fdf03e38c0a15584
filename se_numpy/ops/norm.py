"""Batch normalisation (Ioffe and Szegedy, ICML 2015), split where its paper splits it.

    x            (..., C)   usually (N, H, W, C); statistics run over all axes but the last
    mean, var    (C,)       of this batch while training, of the past (running) afterwards
    gamma, beta  (C,)       the scale and the shift that are learned

Training is ``normalize(x, *batch_statistics(x), gamma, beta)``, evaluation the same ``normalize`` with the running
statistics: no equation carries a flag, and only ``update_running`` changes anything.

Conventions, PyTorch's: eps = 1e-5 stands under the root; the batch is normalised by its biased variance (divided by m),
the running variance collects the unbiased one (divided by m - 1); momentum 0.1 is the weight of the new.
"""

from se_numpy.backend import Array, array_module, channel_sum, over_blocks, scratch
from se_numpy.shapes import check

EPS = 1e-5
MOMENTUM = 0.1


def batch_statistics(x: Array) -> tuple[Array, Array]:
    """mean_c = 1/m Σ x_c,  var_c = 1/m Σ (x_c - mean_c)²,  m = x.size / C.                   x (..., C) -> (C,), (C,)

    Each block is centred on its own mean while it is in the cache, and the blocks are merged exactly (Chan, Golub and
    LeVeque, 1983): one pass over memory, without the cancellation of E[x²] - E[x]².
    """
    xp = array_module(x)
    N, C = _check(x)

    def block(n: slice) -> tuple[int, Array, Array]:
        m = x[n].size // C
        mean = channel_sum(xp, x[n]) / m
        lines = _lines(x[n])
        d = xp.subtract(lines, _along(lines, mean), out=scratch(xp, "centred", lines.shape, x.dtype))
        return m, mean, channel_sum(xp, xp.multiply(d, d, out=d).reshape(x[n].shape))

    parts = over_blocks(xp, block, N, 3 * x[0].nbytes)
    m = x.size // C
    mean = sum(m_b * mean_b for m_b, mean_b, _ in parts) / m
    var = sum(squares + m_b * (mean_b - mean) ** 2 for m_b, mean_b, squares in parts) / m
    return mean, var


def batch_statistics_backward(dmean: Array, dvar: Array, x: Array) -> Array:
    """dx = (dmean + 2 (x - mean) dvar) / m: each number has a share in both.           dmean, dvar (C,) -> dx (..., C)"""
    check("x: ...", x)
    _check(x, dmean=dmean, dvar=dvar)
    mean, _ = batch_statistics(x)
    return (dmean + 2 * dvar * (x - mean)) / (x.size // x.shape[-1])


def normalize(
    x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float = EPS, out: Array | None = None
) -> Array:
    """y = gamma (x - mean) / √(var + eps) + beta, as one multiplication and one addition a number.    x (..., C) -> y

    mean, var, gamma, beta: (C,).  ``out`` may be x itself.
    """
    xp = array_module(x, mean, var, gamma, beta, out)
    N, _ = _check(x, mean=mean, var=var, gamma=gamma, beta=beta)
    a = gamma / xp.sqrt(var + eps)
    b = beta - mean * a
    y = xp.empty(x.shape, xp.result_type(x, a, b)) if out is None else out

    def block(n: slice) -> None:
        lines = xp.multiply(_lines(x[n]), _along(_lines(x[n]), a), out=_lines(y[n]))
        lines += _along(lines, b)

    over_blocks(xp, block, N, 3 * x[0].nbytes)
    return y


def normalize_backward(
    dy: Array, x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float = EPS
) -> tuple[Array, Array, Array, Array, Array]:
    """The statistics held apart, as when they are frozen.                   -> dx (..., C); dmean, dvar, dgamma, dbeta (C,)"""
    xp = array_module(dy, x, mean, var, gamma, beta)
    _check(x, mean=mean, var=var, gamma=gamma, beta=beta)
    check("x: ...", x)
    root = 1 / xp.sqrt(var + eps)
    dbeta = channel_sum(xp, dy)
    dgamma = channel_sum(xp, dy * (x - mean)) * root
    return dy * (gamma * root), -gamma * root * dbeta, -0.5 * gamma * root**2 * dgamma, dgamma, dbeta


def batch_norm_backward(
    dy: Array, x: Array, mean: Array, var: Array, gamma: Array, *, eps: float = EPS, out: Array | None = None
) -> tuple[Array, Array, Array]:
    """dx = gamma/√(var + eps) (dy - ⟨dy⟩ - x̂ ⟨dy x̂⟩), ⟨·⟩ the mean over the batch: normalize_backward and
    batch_statistics_backward in one, for mean and var that are x's own.          -> dx (..., C), dgamma (C,), dbeta (C,)

    dy's mean and its component along x̂ are taken out, for no change of them can reach y.  ``out`` may be dy itself.
    """
    xp = array_module(dy, x, mean, var, gamma, out)
    N, C = _check(x, mean=mean, var=var, gamma=gamma)
    if dy.shape != x.shape:
        raise ValueError(f"dy has shape {dy.shape}; expected the shape of x, {x.shape}")
    m = x.size // C
    root = 1 / xp.sqrt(var + eps)
    dx = xp.empty(x.shape, xp.result_type(dy, x)) if out is None else out

    def sums(n: slice) -> tuple[Array, Array]:
        lines = _lines(x[n])
        d = xp.subtract(lines, _along(lines, mean), out=scratch(xp, "centred", lines.shape, dx.dtype))
        d *= _lines(dy[n])
        return channel_sum(xp, dy[n]), channel_sum(xp, d.reshape(x[n].shape))

    parts = over_blocks(xp, sums, N, 3 * x[0].nbytes)
    dbeta = sum(dbeta_b for dbeta_b, _ in parts)
    dgamma = sum(dgamma_b for _, dgamma_b in parts) * root

    a = gamma * root  # dx = a dy + b x + c
    b = -a * root * dgamma / m
    c = -a * dbeta / m - b * mean

    def block(n: slice) -> None:
        lines = _lines(x[n])
        bx = xp.multiply(lines, _along(lines, b), out=scratch(xp, "centred", lines.shape, dx.dtype))
        bx += _along(lines, c)
        ady = xp.multiply(_lines(dy[n]), _along(lines, a), out=_lines(dx[n]))
        ady += bx

    over_blocks(xp, block, N, 4 * x[0].nbytes)
    return dx, dgamma, dbeta


def update_running(
    running_mean: Array, running_var: Array, mean: Array, var: Array, m: int, *, momentum: float = MOMENTUM
) -> None:
    """running ← (1 - momentum) running + momentum · batch, in place; the variance made unbiased by m / (m - 1).

    ``m`` is how many numbers each mean was taken over, N·H·W.
    """
    running_mean *= 1 - momentum
    running_mean += momentum * mean
    running_var *= 1 - momentum
    running_var += momentum * m / max(m - 1, 1) * var


def _check(x: Array, **vectors: Array) -> tuple[int, int]:
    """(N, C) of x (N, ..., C), after a look at the vectors."""
    if getattr(x, "ndim", 2) < 2:
        raise ValueError(f"x has shape {x.shape}; expected (N, ..., C), at least two axes")
    check("x: N ...", x)
    for name, v in vectors.items():
        check(f"x: C, {name}: C", x.shape[-1:], v)
    return len(x), x.shape[-1]


def _lines(x: Array) -> Array:
    """x (n, ..., W, C) as lines of W·C numbers, so that NumPy's inner loop has more than C of them to work on."""
    return x.reshape(-1, x.shape[-1] * x.shape[-2] if x.ndim > 2 else x.shape[-1])


def _along(lines: Array, v: Array) -> Array:
    """v (C,) repeated to the length of a line."""
    xp = array_module(v)
    return v if lines.shape[-1] == len(v) else xp.tile(v, lines.shape[-1] // len(v))
