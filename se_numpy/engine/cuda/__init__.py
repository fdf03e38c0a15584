"""The engine's CUDA kernels: a table of kernels, and functions that launch them.

A launch costs several microseconds, however little it computes, and a NumPy formula needs one launch per operation. The
engine's formulas therefore exist a second time, as one kernel each. Read the NumPy version first.
"""

from se_numpy.engine.cuda.concatenation import gather
from se_numpy.engine.cuda.kernels import LIMIT, cuda_kernel, has_kernels, launch
from se_numpy.engine.cuda.reductions import image_kernel, sums
from se_numpy.engine.cuda.table import TABLE, Kernel, PerImage, Sums

__all__ = [
    "LIMIT",
    "TABLE",
    "Kernel",
    "PerImage",
    "Sums",
    "cuda_kernel",
    "gather",
    "has_kernels",
    "image_kernel",
    "launch",
    "sums",
]
