"""The losses of CenterNet: a focal loss for the heatmaps of centres, and L1 for sizes and offsets at the centres."""

from se_numpy.arrays import Array, array_module, check_array, check_plain, harmless_underflow
from se_numpy.ops.activation import sigmoid
from se_numpy.shapes import check


@harmless_underflow
def heatmap_focal_loss(
    x: Array, *, targets: Array, weights: Array | None = None, alpha: float = 2.0, beta: float = 4.0
) -> Array:
    """Return L = 1/M Σ w m σ(u)^α log(1 + e^u), where u = -x, m = 1 at a centre, and u = x, m = (1 - t)^β elsewhere.

    x (N, H, W, K) logits, targets t (N, H, W, K), weights w (N, H, W) or None -> L, 0-d

    A pixel is a centre of class k if t = 1 there; M is the number of centres, at least 1. σ(u) is the probability of
    the wrong answer and log(1 + e^u) the negative logarithm of that of the right one.

    Raises
    ------
    TypeError
        If an array is not of float32 or float64.
    ValueError
        If the shapes do not fit together, or α or β is not a number of at least 0.

    References
    ----------
    Law and Deng, ECCV 2018, Eq. (1); Zhou et al., "Objects as Points", 2019, Eq. (1).
    """
    centre, m, M = _heatmap(x, targets, weights, alpha, beta)
    xp = array_module(x, targets)
    u = xp.where(centre, -x, x)
    losses = m * sigmoid(u) ** alpha * (xp.maximum(u, 0) + xp.log1p(xp.exp(xp.where(u.real > 0, -u, u))))
    return losses.sum(dtype=xp.result_type(losses, xp.float64)).astype(losses.dtype)[()] / M


@harmless_underflow
def heatmap_focal_loss_backward(
    dL: Array, x: Array, *, targets: Array, weights: Array | None = None, alpha: float = 2.0, beta: float = 4.0
) -> Array:
    """Return du = dL w m σ^α (σ + α (1 - σ) log(1 + e^u)) / M; dx = -du at a centre.           dL, 0-d -> dx as x."""
    centre, m, M = _heatmap(x, targets, weights, alpha, beta, dL)
    xp = array_module(dL, x, targets)
    u = xp.where(centre, -x, x)
    s, softplus = sigmoid(u), xp.maximum(u, 0) + xp.log1p(xp.exp(-xp.abs(u)))
    du = dL * (m * s**alpha * (s + alpha * (1 - s) * softplus) / M)
    return xp.where(centre, -du, du)


def _heatmap(
    x: Array, t: Array, weights: Array | None, alpha: float, beta: float, dL: Array = 1.0
) -> tuple[Array, Array, Array]:
    """Return the mask of centres, the factor m of each loss with its weight, and M, after checking the arguments."""
    check("x: N H W K, targets: N H W K, weights: N H W", x, t, weights)
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} is {value!r}; expected a number, at least 0")
    _check_upstream(dL)
    centre, xp = t == 1, array_module(x, t, weights)
    m = xp.where(centre, t.dtype.type(1), (1 - t) ** beta)
    M = xp.maximum(centre.sum(), 1).astype(x.real.dtype)
    return centre, m if weights is None else m * weights[..., None], M


def masked_l1_loss(x: Array, *, targets: Array, mask: Array) -> Array:
    """Return L = 1/M Σ ``|x - t|`` over the M pixels of the mask.    x, targets (N, H, W, D), mask (N, H, W) -> L, 0-d.

    Without such a pixel, L is 0. Zhou et al. use it for the sizes of objects and for the offsets of their centres.

    Raises
    ------
    TypeError
        If x or the targets are not of float32 or float64, or the mask is not boolean.
    ValueError
        If the shapes do not fit together.

    References
    ----------
    Zhou et al., "Objects as Points", 2019, Eqs. (2) and (3).
    """
    d, M = _differences(x, targets, mask)
    xp = array_module(d)
    return xp.where(d.real < 0, -d, d).sum(dtype=xp.result_type(d, xp.float64)).astype(d.dtype)[()] / M


def masked_l1_loss_backward(dL: Array, x: Array, *, targets: Array, mask: Array) -> Array:
    """Return dx = dL sign(x - t) / M at the pixels of the mask, and 0 elsewhere.               dL, 0-d -> dx as x."""
    d, M = _differences(x, targets, mask, dL)
    return dL * (array_module(d).sign(d) / M)


def _differences(x: Array, t: Array, mask: Array, dL: Array = 1.0) -> tuple[Array, Array]:
    """Return x - t at the pixels of the mask and 0 elsewhere, and M, after checking the arguments."""
    N, H, W, _ = check("x: N H W D, targets: N H W D", x, t)
    if getattr(getattr(mask, "dtype", None), "kind", "") != "b":
        raise TypeError(f"mask has type {getattr(mask, 'dtype', type(mask).__name__)}; expected a boolean array")
    check_plain("mask", mask)
    if mask.shape != (N, H, W):
        raise ValueError(f"mask has shape {mask.shape}; expected (N, H, W) = {(N, H, W)}")
    _check_upstream(dL)
    xp = array_module(x, t, mask)
    return xp.where(mask[..., None], x - t, x.dtype.type(0)), xp.maximum(mask.sum(), 1).astype(x.real.dtype)


def _check_upstream(dL: Array) -> None:
    """Raise TypeError or ValueError unless dL is a number or a 0-d array."""
    if hasattr(dL, "dtype"):
        check_array("dL", dL, "()")
    if getattr(dL, "ndim", 0):
        raise ValueError(f"dL has shape {dL.shape}; expected a number or a 0-d array")
