"""The plan of a convolution: everything that follows from its shapes, computed once."""

from dataclasses import dataclass
from functools import lru_cache

from se_numpy.ops.conv import check_conv2d

NARROW = 16  # with fewer columns, OpenBLAS's kernels run half empty


@dataclass(frozen=True)
class ConvPlan:
    """Output sizes, and how both passes are split into products or computed along lanes."""

    H: int
    W: int
    kernel: tuple[int, int]
    stride: int
    padding: int
    groups: int
    input_width: int
    by_lanes: bool  # depthwise, on a CPU
    tile: int  # columns of U that one row of a product computes: more than one if groups are narrow
    input_tile: int  # the same for dX at stride 1
    stack_kernel: tuple[int, int]  # size of the windows of dU that give a stack of stride x stride pixels of dX
    stack_before: tuple[int, int]
    offset: int  # zeros inserted before the filters, so that stride divides padding + offset
    down: range  # the rows and columns of a stack that at least one window meets
    across: range

    @property
    def before(self) -> tuple[int, int]:
        """Rows above and columns to the left of dX at which the windows of dU begin, at stride 1."""
        return self.kernel[0] - 1 - self.padding, self.kernel[1] - 1 - self.padding

    def row_bytes(self, W: int, channels: int, others: int, tile: int, itemsize: int) -> int:
        """Return the bytes touched by one row of W output pixels: its windows, and ``others`` values per pixel."""
        if self.by_lanes:  # the maps are copied with a border, or column by column if strided
            copies = 2 if self.stride == 1 else self.stride * (self.stride + self.kernel[1])
            return W * (copies * channels + others) * itemsize
        window = self.kernel[0] * ((tile - 1) * self.stride + self.kernel[1]) * channels
        return (-(-W // tile) * window + W * others) * itemsize

    def row_flop(self, W: int, channels: int, filters: int) -> int:
        """Return the number of operations for one row of W output pixels: ``channels`` in, ``filters`` out."""
        return 2 * W * self.kernel[0] * self.kernel[1] * channels * filters


@lru_cache(maxsize=1024)
def plan(
    X: tuple[int, ...], V: tuple[int, ...], stride: int, padding: int, groups: int, on_host: bool = True
) -> ConvPlan:
    """Return the plan for maps and filters of these shapes.

    Pixel i of X has index a = i + padding - s u in the window of row u. With q = ``offset`` zeros before the filters,
    the indices a + q of pixel i of a stack are i, i + s, i + 2 s, ... A kernel of one pixel meets only one row of a
    stack.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not fit together, as in the book's ``conv2d``.
    """
    H, W, s, padding, groups = check_conv2d(X, V, stride, padding, groups)
    (kh, kw, c, C), q = V, -padding % s
    Kh, Kw = -(-(kh + q) // s), -(-(kw + q) // s)
    down, across = (range(q, q + 1) if k == 1 else range(s) for k in (kh, kw))
    first = (padding + q) // s
    by_lanes = on_host and 1 < groups == C == X[3]
    tiled = on_host and groups > 1 and not by_lanes
    tile, input_tile = (
        max(1, min(NARROW // channels, width)) if tiled else 1 for channels, width in ((C // groups, W), (c, X[2]))
    )
    return ConvPlan(
        H, W, (kh, kw), s, padding, groups, X[2], by_lanes, tile, input_tile,
        (Kh, Kw), (Kh - 1 - first, Kw - 1 - first), q, down, across,
    )  # fmt: skip
