"""What convolution and pooling share: which pixels of all windows lie under one tap of a kernel."""

from collections.abc import Iterator

Tap = tuple[int, int]


def taps(kernel: tuple[int, int], H: int, W: int, stride: int) -> Iterator[tuple[Tap, tuple[slice, ...]]]:
    """Yield each place (a, b) of a kh x kw kernel and the pixels under it: X[pixels] is (N, H, W, C').

    Window (i, j) begins at pixel (i · stride, j · stride), so its tap (a, b) lies on (i · stride + a, j · stride + b).
    """
    kh, kw = kernel
    for a in range(kh):
        for b in range(kw):
            yield (a, b), (slice(None), slice(a, a + stride * H, stride), slice(b, b + stride * W, stride))
