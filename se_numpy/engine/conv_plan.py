"""What the shapes of a convolution decide, computed once."""

from dataclasses import dataclass
from functools import lru_cache

from se_numpy.ops.conv import check_conv2d

NARROW = 16  # columns of a product below which OpenBLAS's kernels run half empty


@dataclass(frozen=True)
class ConvPlan:
    """Output sizes, how the forward and backward pass are cut into products, and where they are not products at all."""

    H: int
    W: int
    kernel: tuple[int, int]
    stride: int
    padding: int
    groups: int
    input_width: int
    by_lanes: bool  # depthwise, on a CPU
    tile: int  # columns of U that one row of a product makes: more than one where groups are narrow
    input_tile: int  # the same for dX at stride 1
    stack_kernel: tuple[int, int]  # of windows of dU, for a stack of stride x stride pixels of dX at once
    stack_before: tuple[int, int]
    offset: int  # zeros before the filters, so that stride divides padding + offset
    down: range  # which rows and columns of a stack are met by a window at all
    across: range

    @property
    def before(self) -> tuple[int, int]:
        """How far above and to the left of dX the windows of dU begin, at stride 1."""
        return self.kernel[0] - 1 - self.padding, self.kernel[1] - 1 - self.padding

    def row_bytes(self, W: int, channels: int, others: int, tile: int, itemsize: int) -> int:
        """Return the bytes one row of W output pixels touches: windows over ``channels``, and ``others`` per pixel."""
        if self.by_lanes:  # the maps are copied with a border, or for a stride column by column
            copies = 2 if self.stride == 1 else self.stride * (self.stride + self.kernel[1])
            return W * (copies * channels + others) * itemsize
        window = self.kernel[0] * ((tile - 1) * self.stride + self.kernel[1]) * channels
        return (-(-W // tile) * window + W * others) * itemsize

    def row_flop(self, W: int, channels: int, filters: int) -> int:
        """Return the operations for one row of W output pixels: windows of ``channels`` times ``filters``."""
        return 2 * W * self.kernel[0] * self.kernel[1] * channels * filters


@lru_cache(maxsize=1024)
def plan(
    X: tuple[int, ...], V: tuple[int, ...], stride: int, padding: int, groups: int, on_host: bool = True
) -> ConvPlan:
    """Return the plan for maps and filters of these shapes.

    Pixel i of X is at place a = i + padding - s u of the window of row u. With q = ``offset`` zeros before the filters
    the places a + q that pixel i of a stack was at are i, i + s, i + 2 s, ... A kernel of one pixel meets one row of a
    stack only. Raises as the book's ``conv2d`` where the shapes do not fit together.
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
