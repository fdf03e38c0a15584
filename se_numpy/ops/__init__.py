"""Operations of the network, each with its backward pass directly below it.

The contract of every pair: ``f_backward(dy, *arguments of f, *, same hyperparameters)`` returns one gradient for each
positional argument that is a floating-point array, in order. A single gradient is not wrapped in a tuple.
"""

from se_numpy.ops.activation import (
    dropout,
    dropout_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
)
from se_numpy.ops.conv import conv2d, conv2d_backward
from se_numpy.ops.detection import (
    heatmap_focal_loss,
    heatmap_focal_loss_backward,
    masked_l1_loss,
    masked_l1_loss_backward,
)
from se_numpy.ops.linear import linear, linear_backward
from se_numpy.ops.loss import softmax, softmax_backward, softmax_cross_entropy, softmax_cross_entropy_backward
from se_numpy.ops.norm import (
    batch_norm,
    batch_norm_backward,
    batch_statistics,
    batch_statistics_backward,
    normalize,
    normalize_backward,
)
from se_numpy.ops.pool import (
    avg_pool2d,
    avg_pool2d_backward,
    global_max_pool2d,
    global_max_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_statistics",
    "batch_statistics_backward",
    "conv2d",
    "conv2d_backward",
    "dropout",
    "dropout_backward",
    "global_max_pool2d",
    "global_max_pool2d_backward",
    "heatmap_focal_loss",
    "heatmap_focal_loss_backward",
    "linear",
    "linear_backward",
    "masked_l1_loss",
    "masked_l1_loss_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "normalize",
    "normalize_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "tanh",
    "tanh_backward",
]
