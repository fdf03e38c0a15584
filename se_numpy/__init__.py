"""Squeeze-and-Excitation Networks in NumPy, with every forward and backward pass written by hand.

The equations are functions of arrays, such as ``conv2d``, ``squeeze``, ``excite``, ``scale`` and ``se_block``, and the
gradient of each is a function called ``*_backward``. ``check_backward`` compares any such pair with finite differences;
``check_layer`` checks a layer of your own. The subpackages are imported on first use:

- ``layers``, ``models``: layers, combinators and the networks of the paper;
- ``engine``: ``engine.compile(net)`` runs a network faster, with the same results;
- ``data``, ``optim``, ``train``: data sets, SGD with its schedules, and the trainer;
- ``detection``: targets, decoding and average precision of detectors;
- ``interop``: weights in PyTorch's formats; ``checkpoint``: weights in this library's own;
- ``analysis``, ``ablation``, ``complexity``: the behaviour of trained networks, the paper's ablations, and counts of
  parameters and operations;
- ``grading``: checks students' implementations of the equations.
"""

from typing import TYPE_CHECKING

from se_numpy import lazy as _lazy
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

if TYPE_CHECKING:  # these are imported on first use
    from se_numpy import (
        ablation,
        analysis,
        checkpoint,
        complexity,
        data,
        detection,
        engine,
        grading,
        interop,
        layers,
        models,
        optim,
        train,
    )
    from se_numpy.layer_check import LayerCheck, LayerError, check_layer

__version__ = "0.1.0"

__all__ = [
    "FunctionError",
    "GradientError",
    "HiddenGradientWarning",
    "KinkError",
    "LayerCheck",
    "LayerError",
    "__version__",
    "ablation",
    "added_parameters",
    "analysis",
    "array_module",
    "check_backward",
    "check_layer",
    "checkpoint",
    "complexity",
    "data",
    "detection",
    "engine",
    "excite",
    "excite_backward",
    "grading",
    "interop",
    "layers",
    "models",
    "optim",
    "scale",
    "scale_backward",
    "se_block",
    "se_block_backward",
    "squeeze",
    "squeeze_backward",
    "to_device",
    "to_host",
    "train",
    *_operations,
]

_SUBMODULES = (
    "ablation", "analysis", "checkpoint", "complexity", "data", "detection", "engine", "grading", "interop", "layers",
    "models", "optim", "train",
)  # fmt: skip
if not TYPE_CHECKING:  # otherwise a type checker would accept any name as an attribute
    __getattr__, __dir__ = _lazy.attach(
        __name__, __all__, _SUBMODULES, dict.fromkeys(("LayerCheck", "LayerError", "check_layer"), "layer_check")
    )
