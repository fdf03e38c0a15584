"""Squeeze-and-Excitation Networks in NumPy, every forward and backward pass written by hand.

The equations are at the top: ``conv2d``, ``squeeze``, ``excite``, ``scale``, ``se_block``, each with ``_backward``.
``check_backward`` proves a pair, yours too. Networks are in ``se_numpy.models``, what they are made of in
``se_numpy.layers``, data in ``se_numpy.data``, the trainer and trained networks in ``se_numpy.train``.
"""

from se_numpy.arrays import array_module, to_device, to_host
from se_numpy.gradcheck import FunctionError, GradientError, HiddenGradientWarning, KinkError, check_backward
from se_numpy.ops import *  # noqa: F403
from se_numpy.ops import __all__ as _operations
from se_numpy.se import (
    added_parameters,
    excite,
    excite_backward,
    scale,
    scale_backward,
    se_block,
    se_block_backward,
    squeeze,
    squeeze_backward,
)

__version__ = "0.1.0"

__all__ = [
    "FunctionError",
    "GradientError",
    "HiddenGradientWarning",
    "KinkError",
    "__version__",
    "added_parameters",
    "array_module",
    "check_backward",
    "excite",
    "excite_backward",
    "scale",
    "scale_backward",
    "se_block",
    "se_block_backward",
    "squeeze",
    "squeeze_backward",
    "to_device",
    "to_host",
    *_operations,
]
