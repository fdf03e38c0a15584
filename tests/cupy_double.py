"""The package's stand-in for CuPy, and with it the engine's kernels, compiled for the host."""

import host_kernels

from se_numpy.cupy_double import _call, asarray, counting, launches, module, ndarray, syncs, uploads

__all__ = ["asarray", "counting", "launches", "module", "ndarray", "syncs", "uploads"]


def _kernel(of_host):
    """The class that makes one launch of each call; the host's kernels do the computing."""

    class Kernel(of_host):
        def __call__(self, *args, **kwargs):
            return _call(super().__call__, getattr(self, "__name__", "kernel"), args, kwargs)

    return Kernel


if host_kernels.compiler():  # else the plain forms of the same functions run
    module.ElementwiseKernel = _kernel(host_kernels.Elementwise)
    module.ReductionKernel = _kernel(host_kernels.Reduction)
