"""The pixels under each tap of a kernel, in all windows at once, for convolution and pooling."""

from collections.abc import Iterator

Tap = tuple[int, int]


def taps(kernel: tuple[int, int], H: int, W: int, stride: int) -> Iterator[tuple[Tap, tuple[slice, ...]]]:
    """Yield each tap (a, b) of a kh x kw kernel and the pixels under it in all windows: X[pixels] is (N, H, W, C').

    Window (i, j) begins at pixel (i · stride, j · stride), so its tap (a, b) is at (i · stride + a, j · stride + b).
    """
    kh, kw = kernel
    for a in range(kh):
        for b in range(kw):
            yield (a, b), (slice(None), slice(a, a + stride * H, stride), slice(b, b + stride * W, stride))
