"""Fast versions of single operations, with the names, arguments and results of the book.

Operations that treat every image separately call the book's function on blocks of images, on several threads. The
others are built from the same parts as compiled networks.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from se_numpy import ops, se, tree
from se_numpy.arrays import Array, array_module
from se_numpy.engine import conv, norm
from se_numpy.engine.affine_maps import AffineMaps, affine
from se_numpy.engine.context import enabled
from se_numpy.engine.cuda import gather, has_kernels, launch
from se_numpy.engine.lanes import add, elementwise, mask_gradient
from se_numpy.engine.parallel import parallel_for
from se_numpy.engine.sums import batch_sum, pixel_sum
from se_numpy.ops.conv import check_conv2d
from se_numpy.ops.loss import check_loss
from se_numpy.ops.norm import EPS
from se_numpy.ops.pool import check_pool
from se_numpy.shapes import check
from se_numpy.tree import Tree

F = TypeVar("F", bound=Callable[..., Any])
ENGINE = "The engine's version works on blocks in several threads and sums in the dtype of the arrays."
FUNCTIONS: dict[str, Callable[..., Any]] = {}  # the fast versions, by the names of the book's functions


def _fast_version_of(book: Callable[..., Any]) -> Callable[[F], F]:
    """Register the fast version of a function; while the engine is off, it calls the book's function."""

    def decorate(fast: F) -> F:
        @wraps(book)
        def call(*args: Any, **hyper: Any) -> Any:
            if not enabled():
                return book(*args, **hyper)
            with np.errstate(under="ignore"):
                return fast(*args, **hyper)

        call.__module__ = __name__
        summary, _, details = (book.__doc__ or "").partition("\n")
        call.__doc__ = f"{summary}\n\n    {ENGINE}\n{details or '    '}"
        FUNCTIONS[book.__name__] = call
        return cast(F, call)

    return decorate


def by_images(f: Callable[..., Any], *arrays: Array, **hyper: Any) -> Any:
    """Return f(*arrays, **hyper), computed on blocks of images in several threads; f must treat images separately."""
    xp = array_module(*arrays)
    if arrays[0].ndim == 0:
        return f(*arrays, **hyper)
    n = len(arrays[0])
    moved = sum(a.nbytes for a in arrays) / n

    def block(part: slice) -> Any:
        return f(*[a[part] for a in arrays], **hyper)

    parts = parallel_for(xp, block, n, 3 * moved)
    if len(parts) == 1:
        return parts[0]
    return xp.concatenate(parts)


# ------------------------------------------------------------------------------------------------------- convolution


@_fast_version_of(ops.conv2d)
def conv2d(X: Array, V: Array, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Array:
    _, _, stride, padding, groups = check_conv2d(X, V, stride, padding, groups)
    return conv.convolve(AffineMaps(X), V, stride=stride, padding=padding, groups=groups)[0]


@_fast_version_of(ops.conv2d_backward)
def conv2d_backward(
    dU: Array, X: Array, V: Array, *, stride: int = 1, padding: int = 0, groups: int = 1
) -> tuple[Array, Array]:
    H, W, stride, padding, groups = check_conv2d(X, V, stride, padding, groups)
    check("U: N H W C, dU: N H W C", (len(X), H, W, V.shape[-1]), dU)
    dX, dV, _ = conv.convolve_backward(AffineMaps(dU), AffineMaps(X), V, stride=stride, padding=padding, groups=groups)
    return dX, dV


# ---------------------------------------------------------------------------------------------- elementwise functions


@_fast_version_of(ops.relu)
def relu(x: Array) -> Array:
    check("x: ...", x)
    return elementwise(lambda y, x: array_module(x).maximum(x, 0, out=y), x)


@_fast_version_of(ops.relu_backward)
def relu_backward(dy: Array, x: Array) -> Array:
    check("x: ..., dy: ...", x, dy)
    return elementwise(lambda dx, dy, x: mask_gradient(dy, x, dx), dy, x, dtype=dy.dtype)


@_fast_version_of(ops.sigmoid)
def sigmoid(x: Array) -> Array:
    check("x: ...", x)
    xp = array_module(x)
    return launch("sigmoid", xp, x) if has_kernels(xp, x) else by_images(ops.sigmoid, x)


@_fast_version_of(ops.sigmoid_backward)
def sigmoid_backward(dy: Array, x: Array) -> Array:
    check("x: ..., dy: ...", x, dy)
    xp = array_module(dy, x)
    return launch("sigmoid_backward", xp, dy, x) if has_kernels(xp, dy, x) else by_images(ops.sigmoid_backward, dy, x)


# ------------------------------------------------------------------------------------------------ batch normalisation


@_fast_version_of(ops.batch_statistics)
def batch_statistics(x: Array) -> tuple[Array, Array]:
    check("x: N ... C", x)
    ones = array_module(x).ones(x.shape[-1], x.dtype)
    mean, var, *_ = norm.statistics(x, ones, ones, 1.0, single=True)
    return mean, var


@_fast_version_of(ops.normalize)
def normalize(x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float = EPS) -> Array:
    check("x: N ... C, mean: C, var: C, gamma: C, beta: C", x, mean, var, gamma, beta)
    return affine(x, *norm.scale_and_shift(mean, var, gamma, beta, eps))


@_fast_version_of(ops.batch_norm)
def batch_norm(x: Array, gamma: Array, beta: Array, *, eps: float = EPS) -> Array:
    check("x: N ... C, gamma: C, beta: C", x, gamma, beta)
    *_, a, c = norm.statistics(x, gamma, beta, eps, single=True)
    return affine(x, a, c)


@_fast_version_of(ops.batch_norm_backward)
def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, *, eps: float = EPS
) -> tuple[Array, Array, Array]:
    check("x: N ... C, gamma: C, beta: C, dy: N ... C", x, gamma, beta, dy)
    mean, var = batch_statistics(x)
    return norm.batch_norm_backward_from(dy, x, mean, var, gamma, eps, of_batch=True)


# --------------------------------------------------------------------------------------------------- fully connected


@_fast_version_of(ops.linear)
def linear(x: Array, W: Array, b: Array | None = None) -> Array:
    N, D, K, *_ = check("x: N D, W: K D, b: K", x, W, b)
    if array_module(x, W, b) is not np:
        return ops.linear(x, W, b)
    y = np.empty((N, K), np.result_type(*(a for a in (x, W, b) if a is not None)))

    def block(k: slice) -> None:
        np.matmul(x, W[k].T, out=y[:, k])
        if b is not None:
            y[:, k] += b[k]

    parallel_for(np, block, K, D * W.itemsize, 2 * N * D)
    return y


@_fast_version_of(ops.linear_backward)
def linear_backward(dy: Array, x: Array, W: Array, b: Array | None = None) -> tuple[Array, ...]:
    N, D, K, *_ = check("x: N D, W: K D, b: K, dy: N K", x, W, b, dy)
    if array_module(dy, x, W, b) is not np:
        dx, dW = ops.linear_backward(dy, x, W)
        return (dx, dW) if b is None else (dx, dW, batch_sum(dy))
    dx, dW = (np.empty(a.shape, np.result_type(dy, other)) for a, other in ((x, W), (W, x)))

    def block(d: slice) -> None:
        np.matmul(dy, W[:, d], out=dx[:, d])
        np.matmul(dy.T, x[:, d], out=dW[:, d])

    parallel_for(np, block, D, 2 * K * W.itemsize, 4 * N * K)
    return (dx, dW) if b is None else (dx, dW, dy.sum(0))


# ----------------------------------------------------------------------------------------------------------- pooling


@_fast_version_of(ops.max_pool2d)
def max_pool2d(x: Array, *, kernel: int, stride: int | None = None, padding: int = 0) -> Array:
    check_pool(x, kernel, stride, padding)
    return by_images(ops.max_pool2d, x, kernel=kernel, stride=stride, padding=padding)


@_fast_version_of(ops.max_pool2d_backward)
def max_pool2d_backward(dy: Array, x: Array, *, kernel: int, stride: int | None = None, padding: int = 0) -> Array:
    H, W, *_ = check_pool(x, kernel, stride, padding)
    check("y: N H W C, dy: N H W C", (len(x), H, W, x.shape[-1]), dy)
    return by_images(ops.max_pool2d_backward, dy, x, kernel=kernel, stride=stride, padding=padding)


@_fast_version_of(ops.avg_pool2d)
def avg_pool2d(x: Array, *, kernel: int, stride: int | None = None, padding: int = 0) -> Array:
    check_pool(x, kernel, stride, padding)
    return by_images(ops.avg_pool2d, x, kernel=kernel, stride=stride, padding=padding)


@_fast_version_of(ops.avg_pool2d_backward)
def avg_pool2d_backward(dy: Array, x: Array, *, kernel: int, stride: int | None = None, padding: int = 0) -> Array:
    H, W, *_ = check_pool(x, kernel, stride, padding)
    check("y: N H W C, dy: N H W C", (len(x), H, W, x.shape[-1]), dy)
    return by_images(ops.avg_pool2d_backward, dy, x, kernel=kernel, stride=stride, padding=padding)


# ------------------------------------------------------------------------------------------------------ the SE block


@_fast_version_of(se.squeeze)
def squeeze(U: Array) -> Array:
    _, H, W, _ = check("U: N H W C", U)
    return pixel_sum(U) / (H * W)


@_fast_version_of(se.scale)
def scale(U: Array, s: Array) -> Array:
    check("U: N H W C, s: N C", U, s)
    return affine(U, s)


@_fast_version_of(se.scale_backward)
def scale_backward(dX_tilde: Array, U: Array, s: Array) -> tuple[Array, Array]:
    check("U: N H W C, s: N C, dX_tilde: N H W C", U, s, dX_tilde)
    return affine(dX_tilde, s), pixel_sum(dX_tilde, U)


@_fast_version_of(se.se_block)
def se_block(U: Array, W1: Array, W2: Array, b1: Array | None = None, b2: Array | None = None) -> Array:
    return scale(U, se.excite(squeeze(U), W1, W2, b1, b2))


@_fast_version_of(se.se_block_backward)
def se_block_backward(
    dX_tilde: Array, U: Array, W1: Array, W2: Array, b1: Array | None = None, b2: Array | None = None
) -> tuple[Array, ...]:
    z = squeeze(U)
    return se_block_backward_from(dX_tilde, U, z, se.excite(z, W1, W2, b1, b2), (W1, W2, b1, b2))


def se_block_backward_from(
    dX_tilde: Array, U: Array, z: Array, s: Array, weights: tuple[Array | None, ...], gate: str = "sigmoid"
) -> tuple[Array, ...]:
    """Compute ``se_block_backward`` from cached z and s, with both parts of dU in one pass."""
    _, H, W, _ = check("U: N H W C, z: N C, s: N C, dX_tilde: N H W C", U, z, s, dX_tilde)
    dz, *dW = se.excite_backward(pixel_sum(dX_tilde, U), z, *weights, gate=gate)
    return affine(dX_tilde, s, dz / (H * W)), *dW


# -------------------------------------------------------------------------------------------------------------- trees


def flatten(leaves: Tree, out: Array | None = None) -> Array:
    """Do what ``tree.flatten`` does; on a GPU in one launch, to which nothing has to be sent."""
    parts = [leaf for _, leaf in tree.leaves(leaves)]
    xp = array_module(*parts)
    if not parts or not has_kernels(xp, *parts):
        return tree.flatten(leaves, out)
    return gather(parts, xp.empty(sum(part.size for part in parts), parts[0].dtype) if out is None else out)


# ----------------------------------------------------------------------------------------------------------- the loss


@_fast_version_of(ops.softmax_cross_entropy)
def softmax_cross_entropy(x: Array, labels: Array, *, smoothing: float = 0.0) -> Array:
    N, K = check_loss(x, labels, smoothing)
    xp = array_module(x, labels)
    if not has_kernels(xp, x):
        return ops.softmax_cross_entropy(x, labels, smoothing=smoothing)
    return batch_sum(launch("cross_entropy_rows", xp, labels, x, K, float(N), float(smoothing))[:, None])[0]


@_fast_version_of(ops.softmax_cross_entropy_backward)
def softmax_cross_entropy_backward(dL: Array, x: Array, labels: Array, *, smoothing: float = 0.0) -> Array:
    N, K = check_loss(x, labels, smoothing, dL)
    xp = array_module(x, labels)
    if not has_kernels(xp, x):
        return ops.softmax_cross_entropy_backward(dL, x, labels, smoothing=smoothing)
    number = isinstance(dL, (int, float))
    factor = float(dL if number else 1) / N
    totals = _log_sum_exp(x)[:, None]
    dx = launch("cross_entropy_backward", xp, x, totals, labels[:, None], K, float(smoothing), factor)
    return dx if number else dx * dL


def hits(x: Array, labels: Array) -> Array:
    """Return how many rows of x (N, K) have their largest value at the label (N,): a 0-d array."""
    xp = array_module(x, labels)
    if not has_kernels(xp, x):
        return (x.argmax(1) == labels).sum()
    return batch_sum(launch("hits", xp, x, labels, x.shape[1])[:, None])[0]


def _log_sum_exp(x: Array) -> Array:
    """Return log Σ_k e^{x_k} for each row, on a GPU; log p is x minus this."""
    totals = array_module(x).empty(len(x), x.dtype)
    launch("log_sum_exp", array_module(x), x, x.shape[1], totals)
    return totals


__all__ = ["FUNCTIONS", "add", "by_images", "flatten", "hits", *FUNCTIONS]
