"""The ground floor: what differs between NumPy and CuPy, between one core and two, lives here and nowhere above.

The array decides. A function that is handed NumPy arrays runs on the CPU, handed CuPy arrays on the GPU, by the same
lines. An operation says what happens to one block of images; how blocks are cut and shared is decided here.
"""

from se_numpy.backend.arrays import Array, array_module, as_strided, device_module, on_host, to_device, to_host
from se_numpy.backend.blocks import keep_freed_memory, over_bands, over_blocks, scratch, single_threaded_blas, threads
from se_numpy.backend.kernels import one_launch
from se_numpy.backend.maps import Blend, affine
from se_numpy.backend.passes import (
    Spread,
    add,
    along,
    column_line,
    elementwise,
    image_sums,
    lines,
    masked,
    masked_sum,
    pixel_sum,
    product,
    product_over_rows,
    slope_sums,
    spread,
)
from se_numpy.backend.windows import unfold

__all__ = [
    "Array",
    "Blend",
    "Spread",
    "add",
    "affine",
    "along",
    "array_module",
    "as_strided",
    "column_line",
    "device_module",
    "elementwise",
    "image_sums",
    "keep_freed_memory",
    "lines",
    "masked",
    "masked_sum",
    "on_host",
    "one_launch",
    "over_bands",
    "over_blocks",
    "pixel_sum",
    "product",
    "product_over_rows",
    "scratch",
    "single_threaded_blas",
    "slope_sums",
    "spread",
    "threads",
    "to_device",
    "to_host",
    "unfold",
]
