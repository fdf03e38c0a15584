"""Random geometries of convolutions, including kernels and images of one pixel, and kernels larger than images."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """One convolution: sizes, stride, padding, groups, and the seed of its arrays."""

    N: int
    H: int
    W: int
    c: int
    kh: int
    kw: int
    filters: int
    stride: int
    padding: int
    groups: int
    seed: int

    @property
    def hyper(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "groups": self.groups}

    def arrays(self, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return X, V and dU."""
        rng = np.random.default_rng(self.seed)
        X = rng.standard_normal((self.N, self.H, self.W, self.c * self.groups))
        V = rng.standard_normal((self.kh, self.kw, self.c, self.filters * self.groups))
        H, W = ((n + 2 * self.padding - k) // self.stride + 1 for n, k in ((self.H, self.kh), (self.W, self.kw)))
        dU = rng.standard_normal((self.N, H, W, self.filters * self.groups))
        return X.astype(dtype), V.astype(dtype), dU.astype(dtype)


def drawn(seed: int, number: int) -> Iterator[Geometry]:
    """Yield ``number`` valid geometries; images and kernels often have a side of one pixel."""
    rng = np.random.default_rng(seed)
    made = 0
    while made < number:
        side = [int(rng.choice([1, rng.integers(1, 9)])) for _ in "HW"]
        kernel = [int(rng.choice([1, rng.integers(1, 7)])) for _ in "HW"]
        stride, padding, groups = (int(rng.integers(low, high)) for low, high in ((1, 5), (0, 5), (1, 4)))
        if any(n + 2 * padding < k for n, k in zip(side, kernel, strict=True)):
            continue
        N, c, filters = (int(rng.integers(1, 4)) for _ in range(3))
        made += 1
        yield Geometry(N, *side, c, *kernel, filters, stride, padding, groups, int(rng.integers(2**31)))
