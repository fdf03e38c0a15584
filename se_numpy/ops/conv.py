"""Convolution, Eq. (1): every output pixel is the sum of products of one window of the image with all filters.

    X    (N, H', W', C')       input
    V    (k, k, C'/groups, C)  filters; a kernel need not be square: (kh, kw, C'/groups, C)
    U    (N, H, W, C)          output, H = (H' + 2 padding - kh) // stride + 1

One tap (a, b) of the filters meets, over all windows, a subsampled image X[pixels]; each tap is one matrix product.
"""

from se_numpy.arrays import Array, array_module
from se_numpy.ops.windows import taps
from se_numpy.shapes import check, whole

Shape = tuple[int, ...]


def conv2d(X: Array, V: Array, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Array:
    """Eq. (1): u_c = v_c ∗ X = Σ_s v_c^s ∗ x^s.       X (N, H', W', C'), V (k, k, C'/groups, C) -> U (N, H, W, C)

    ∗ is cross-correlation, as in every framework: u(i, j) = Σ_ab v(a, b) x(i·stride + a - p, j·stride + b - p), where p
    is ``padding`` and x is 0 outside the image. ``groups`` splits the channels into that many independent convolutions;
    groups = C' is depthwise. No bias: Eq. (1) omits it, and batch norm would remove it.

    Raises ValueError or TypeError, naming the argument, where shapes, dtypes or hyperparameters do not fit.
    """
    H, W, stride, p, groups = check_conv2d(X, V, stride, padding, groups)
    xp = array_module(X, V)
    if groups > 1:
        pairs = zip(xp.split(X, groups, -1), xp.split(V, groups, -1), strict=True)
        return xp.concatenate([conv2d(x, v, stride=stride, padding=p) for x, v in pairs], -1)
    X = xp.pad(X, ((0, 0), (p, p), (p, p), (0, 0)))
    return sum(xp.tensordot(X[pixels], V[tap], 1) for tap, pixels in taps(V.shape[:2], H, W, stride))


def conv2d_backward(
    dU: Array, X: Array, V: Array, *, stride: int = 1, padding: int = 0, groups: int = 1
) -> tuple[Array, Array]:
    """Each product u += x v sends back dx += du v and dv += du x.    -> dX (N, H', W', C'), dV (k, k, C'/groups, C)"""
    H, W, stride, p, groups = check_conv2d(X, V, stride, padding, groups)
    check("U: N H W C, dU: N H W C", (len(X), H, W, V.shape[-1]), dU)
    xp = array_module(dU, X, V)
    if groups > 1:
        triples = zip(*(xp.split(a, groups, -1) for a in (dU, X, V)), strict=True)
        parts = [conv2d_backward(*triple, stride=stride, padding=p) for triple in triples]
        return xp.concatenate([dX for dX, _ in parts], -1), xp.concatenate([dV for _, dV in parts], -1)
    dtype, (_, H_, W_, _) = xp.result_type(dU, X, V), X.shape
    X = xp.pad(X, ((0, 0), (p, p), (p, p), (0, 0)))
    dX, dV = xp.zeros(X.shape, dtype), xp.zeros(V.shape, dtype)
    for tap, pixels in taps(V.shape[:2], H, W, stride):
        dX[pixels] += xp.tensordot(dU, V[tap].T, 1)                    # windows overlap: their gradients add up
        dV[tap] = xp.tensordot(X[pixels], dU, ((0, 1, 2), (0, 1, 2)))  # all windows share the filters
    return dX[:, p : p + H_, p : p + W_], dV                           # without the border of zeros


def check_conv2d(
    X: Array | Shape, V: Array | Shape, stride: int, padding: int, groups: int
) -> tuple[int, int, int, int, int]:
    """Return (H, W, stride, padding, groups) of a convolution, the last three as ints.

    X and V may be shapes. Raises ValueError or TypeError, naming the argument, where they do not fit together.
    """
    stride, padding, groups = whole("stride", stride), whole("padding", padding, least=0), whole("groups", groups)
    _, H_, W_, C_, kh, kw, c, C = check("X: N H' W' C', V: kh kw C'/groups C", X, V)
    if C_ % groups or C % groups or c != C_ // groups:
        x, v = (a if isinstance(a, tuple) else tuple(a.shape) for a in (X, V))
        raise ValueError(
            f"V has shape {v} with groups={groups}; expected (kh, kw, C'/groups, C) where groups divides "
            f"C and the C' = {C_} of X {x}"
        )
    if H_ + 2 * padding < kh or W_ + 2 * padding < kw:
        raise ValueError(f"V's kernel {kh}x{kw} does not fit into X's images, {H_}x{W_} with padding {padding} around")
    return (H_ + 2 * padding - kh) // stride + 1, (W_ + 2 * padding - kw) // stride + 1, stride, padding, groups
