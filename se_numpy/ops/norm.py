"""Batch normalisation (Ioffe and Szegedy, ICML 2015), split where its paper splits it.

    x            (..., C)   usually (N, H, W, C); statistics run over all axes but the last
    mean, var    (C,)       of this batch while training, of the past (running) afterwards
    gamma, beta  (C,)       the scale and the shift that are learned

Training is ``normalize(x, *batch_statistics(x), gamma, beta)``, evaluation the same ``normalize`` with the running
statistics: no equation carries a flag, and only ``update_running`` changes anything.

Conventions, PyTorch's: eps = 1e-5 stands under the root; the batch is normalised by its biased variance (divided by m),
the running variance collects the unbiased one (divided by m - 1); momentum 0.1 is the weight of the new.
"""

from types import ModuleType

from se_numpy.backend import Array, affine, along, array_module, channel_sum, lines, over_blocks, scratch
from se_numpy.shapes import check, check_like

EPS = 1e-5
MOMENTUM = 0.1


def batch_statistics(x: Array) -> tuple[Array, Array]:
    """mean_c = 1/m Σ x_c,  var_c = 1/m Σ (x_c - mean_c)²,  m = x.size / C.                 x (N, ..., C) -> (C,), (C,)

    Each block is centred on its own mean while it is in the cache, and the blocks are merged exactly (Chan, Golub and
    LeVeque, 1983): one pass over memory, without the cancellation of E[x²] - E[x]².
    """
    xp = array_module(x)
    N, C = _check(x)

    def block(n: slice) -> tuple[int, Array, Array]:
        m = x[n].size // C
        mean = channel_sum(x[n]) / m
        d = xp.subtract(lines(x[n]), along(x[n], mean), out=_scratch(xp, x[n], x.dtype))
        d *= d
        return m, mean, channel_sum(d.reshape(x[n].shape))

    parts = over_blocks(xp, block, N, 3 * x[0].nbytes)
    m = x.size // C
    mean = sum(m_b * mean_b for m_b, mean_b, _ in parts) / m
    var = sum(squares + m_b * (mean_b - mean) ** 2 for m_b, mean_b, squares in parts) / m
    return mean, var


def batch_statistics_backward(dmean: Array, dvar: Array, x: Array) -> Array:
    """dx = (dmean + 2 (x - mean) dvar) / m: each number has a share in both.     dmean, dvar (C,) -> dx (N, ..., C)"""
    _check(x, dmean=dmean, dvar=dvar)
    mean, _ = batch_statistics(x)
    m = x.size // x.shape[-1]
    return affine(x, 2 * dvar / m, (dmean - 2 * dvar * mean) / m)


def normalize(x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float = EPS) -> Array:
    """y = gamma (x - mean) / √(var + eps) + beta, as one factor and one summand a channel.

    x (N, ..., C); mean, var, gamma, beta (C,) -> y (N, ..., C).
    """
    _check(x, mean=mean, var=var, gamma=gamma, beta=beta)
    a = gamma / array_module(x, var).sqrt(var + eps)
    return affine(x, a, beta - mean * a)


def normalize_backward(
    dy: Array, x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float = EPS
) -> tuple[Array, Array, Array, Array, Array]:
    """The statistics as arguments of their own, constants of the network once it is trained.

    -> dx (N, ..., C), dmean (C,), dvar (C,), dgamma (C,), dbeta (C,)
    """
    _check(x, mean=mean, var=var, gamma=gamma, beta=beta)
    check_like("dy", dy, "x", x.shape)
    root = 1 / array_module(dy, var).sqrt(var + eps)
    dbeta, dgamma = _sums(dy, x, mean)
    dgamma = dgamma * root
    return affine(dy, gamma * root), -gamma * root * dbeta, -0.5 * gamma * root**2 * dgamma, dgamma, dbeta


def batch_norm_backward(
    dy: Array, x: Array, mean: Array, var: Array, gamma: Array, *, eps: float = EPS
) -> tuple[Array, Array, Array]:
    """dx = gamma / √(var + eps) · (dy - ⟨dy⟩ - x̂ ⟨dy x̂⟩),  x̂ = (x - mean) / √(var + eps),  ⟨·⟩ the mean over the batch.

    normalize_backward and batch_statistics_backward in one, for mean and var that are x's own: dy loses its mean and
    its part along x̂, for no change of those can reach y.
    -> dx (N, ..., C), dgamma (C,), dbeta (C,)
    """
    xp = array_module(dy, x, mean, var, gamma)
    N, C = _check(x, mean=mean, var=var, gamma=gamma)
    check_like("dy", dy, "x", x.shape)
    m = x.size // C
    root = 1 / xp.sqrt(var + eps)
    dbeta, dgamma = _sums(dy, x, mean)
    dgamma = dgamma * root

    a = gamma * root  # dx = a dy + b x + c
    b = -a * root * dgamma / m
    c = -a * dbeta / m - b * mean
    dx = xp.empty(x.shape, xp.result_type(dy, x))

    def block(n: slice) -> None:
        bx_c = xp.multiply(lines(x[n]), along(x[n], b), out=_scratch(xp, x[n], dx.dtype))
        bx_c += along(x[n], c)
        dx_n = xp.multiply(lines(dy[n]), along(x[n], a), out=lines(dx[n]))
        dx_n += bx_c

    over_blocks(xp, block, N, 4 * x[0].nbytes)
    return dx, dgamma, dbeta


def _sums(dy: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    """Σ dy and Σ dy (x - mean) over all but the channels, in one pass.                               -> (C,), (C,)"""
    xp = array_module(dy, x, mean)

    def block(n: slice) -> tuple[Array, Array]:
        d = xp.subtract(lines(x[n]), along(x[n], mean), out=_scratch(xp, x[n], xp.result_type(dy, x)))
        d *= lines(dy[n])
        return channel_sum(dy[n]), channel_sum(d.reshape(x[n].shape))

    parts = over_blocks(xp, block, len(x), 3 * x[0].nbytes)
    return sum(first for first, _ in parts), sum(second for _, second in parts)


def _scratch(xp: ModuleType, x: Array, dtype: object) -> Array:
    return scratch(xp, "norm", lines(x).shape, dtype)


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

