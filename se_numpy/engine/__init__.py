"""The engine: fast networks (``compile(net)``) and single operations that compute the same numbers as the book.

The book (``ops``, ``se``, ``layers``) defines what is computed and never imports this package. Threads, blocks,
windows, deferred affine maps, fusion and CUDA kernels are confined to this package, and one contract test checks all of
it against the book. ``SE_NUMPY_ENGINE=off``, or ``with engine.off():``, runs the plain networks instead.
"""

from se_numpy.engine.blas import single_threaded_blas
from se_numpy.engine.compiled import Compiled, Predictor, compile, explain
from se_numpy.engine.context import enabled, off
from se_numpy.engine.folding import fold
from se_numpy.engine.functions import (
    FUNCTIONS,
    add,
    avg_pool2d,
    avg_pool2d_backward,
    batch_norm,
    batch_norm_backward,
    batch_statistics,
    conv2d,
    conv2d_backward,
    flatten,
    hits,
    linear,
    linear_backward,
    max_pool2d,
    max_pool2d_backward,
    normalize,
    relu,
    relu_backward,
    scale,
    scale_backward,
    se_block,
    se_block_backward,
    sigmoid,
    sigmoid_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
    squeeze,
)
from se_numpy.engine.norm import move_running
from se_numpy.engine.parallel import threads
from se_numpy.engine.workspace import keep_freed_memory

__all__ = [
    "FUNCTIONS",
    "Compiled",
    "Predictor",
    "add",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_statistics",
    "compile",
    "conv2d",
    "conv2d_backward",
    "enabled",
    "explain",
    "flatten",
    "fold",
    "hits",
    "keep_freed_memory",
    "linear",
    "linear_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "move_running",
    "normalize",
    "off",
    "relu",
    "relu_backward",
    "scale",
    "scale_backward",
    "se_block",
    "se_block_backward",
    "sigmoid",
    "sigmoid_backward",
    "single_threaded_blas",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "squeeze",
    "threads",
]
