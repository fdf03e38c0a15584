"""Convolution, Eq. (1): each output value is the sum of the products of one window of the image with one filter.

    X    (N, H', W', C')       input
    V    (k, k, C'/groups, C)  filters, or (kh, kw, C'/groups, C) if not square
    U    (N, H, W, C)          output, H = (H' + 2 padding - kh) // stride + 1

Across all windows, each tap (a, b) of the filters multiplies one subsampled image, X[pixels]. The convolution is
therefore a sum of matrix products, one for each tap.

As in every framework, "convolution" means cross-correlation. Eq. (1) has no bias; batch normalisation would cancel it.
"""

from se_numpy.arrays import Array, array_module
from se_numpy.ops.windows import taps
from se_numpy.shapes import check, whole

Shape = tuple[int, ...]


def conv2d(X: Array, V: Array, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Array:
    """Eq. (1): u_c = v_c ∗ X = Σ_s v_c^s ∗ x^s.            X (N, H', W', C'), V (k, k, C'/groups, C) -> U (N, H, W, C).

    Here (v ∗ x)(i, j) = Σ_ab v(a, b) x(i·stride + a - padding, j·stride + b - padding), and x is 0 outside the image.
    ``groups`` splits the channels into that many independent convolutions; groups = C' is a depthwise convolution.

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array, or a hyperparameter is not an integer.
    ValueError
        If the shapes and hyperparameters do not fit together.
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
    """Return dX and dV: each product x v in u adds du v to dx and x du to dv.            dU (N, H, W, C) -> dX, dV."""
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
        dX[pixels] += xp.tensordot(dU, V[tap].T, 1)                    # windows overlap: gradients add up
        dV[tap] = xp.tensordot(X[pixels], dU, ((0, 1, 2), (0, 1, 2)))  # all windows share the filters
    return dX[:, p : p + H_, p : p + W_], dV                           # without the padding


def check_conv2d(
    X: Array | Shape, V: Array | Shape, stride: int, padding: int, groups: int
) -> tuple[int, int, int, int, int]:
    """Return (H, W, stride, padding, groups) of a convolution as ints.  X and V may be arrays or shapes.

    Raises
    ------
    TypeError
        If an argument is not a float32 or float64 array, or a hyperparameter is not an integer.
    ValueError
        If the shapes and hyperparameters do not fit together.
    """
    stride, padding, groups = whole("stride", stride), whole("padding", padding, least=0), whole("groups", groups)
    _, H_, W_, C_, kh, kw, c, C = check("X: N H' W' C', V: kh kw C'/groups C", X, V)
    if C_ % groups or C % groups or c != C_ // groups:
        x, v = (a if isinstance(a, tuple) else tuple(a.shape) for a in (X, V))
        raise ValueError(
            f"V has shape {v} with groups={groups}; expected (kh, kw, C'/groups, C), where groups divides "
            f"C and C' = {C_}, the channels of X {x}"
        )
    if H_ + 2 * padding < kh or W_ + 2 * padding < kw:
        raise ValueError(f"a {kh}x{kw} kernel does not fit into images X of {H_}x{W_} with padding {padding}")
    return (H_ + 2 * padding - kh) // stride + 1, (W_ + 2 * padding - kw) // stride + 1, stride, padding, groups
