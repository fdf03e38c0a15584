"""The engine's CUDA kernels: a table of kernels, and functions that launch them.

A launch costs several microseconds, however little it computes, and a NumPy formula needs one launch per operation. The
engine's formulas therefore exist a second time, as one kernel each. Read the NumPy version first.
"""

from se_numpy.engine.cuda.kernels import cuda_kernel, dual_reduction, has_kernels, launch
from se_numpy.engine.cuda.table import TABLE, Kernel

__all__ = ["TABLE", "Kernel", "cuda_kernel", "dual_reduction", "has_kernels", "launch"]
