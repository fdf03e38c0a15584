"""The engine's CUDA kernels: one table of them, and how a function launches its row.

A launch costs a GPU several microseconds, however little it computes, and a formula in NumPy is a launch for every
operation sign in it. So the engine's formulas have a second form, one kernel each. The NumPy form is the one to read.
"""

from se_numpy.engine.cuda.kernels import cuda_kernel, dual_reduction, has_kernels, launch
from se_numpy.engine.cuda.table import TABLE, Kernel

__all__ = ["TABLE", "Kernel", "cuda_kernel", "dual_reduction", "has_kernels", "launch"]
