"""Feature maps that are computed where they are read, and their windows.

A pass over big maps costs what it moves, not what it computes. So what batch norm, a gate, a residual sum and a ReLU do
to maps is kept as what it is, a few numbers a channel, until somebody reads them: the convolution that unfolds their
windows, or a last pass that writes them down.
"""

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from se_numpy.backend.arrays import Array, array_module
from se_numpy.backend.blocks import over_blocks, scratch
from se_numpy.backend.passes import along, lines, pixels_of_a_line

ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Blend:
    """a x + b y + c, rectified or not: maps (N, H, W, C) that nobody has written down yet.

    x and y are maps; a, b and c belong to a channel (C,) or to a channel of one image (N, C). What is None is left out,
    be it a factor or a summand. ``mean`` (C,) is what sums with x are centred by, where whoever made this knows it.
    """

    x: Array
    a: Array | None = None
    y: Array | None = None
    b: Array | None = None
    c: Array | None = None
    rectify: bool = False
    mean: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.x.shape

    @property
    def xp(self) -> ModuleType:
        return array_module(self.x)

    @property
    def dtype(self) -> Any:
        return self.xp.result_type(*(v for v in (self.x, self.a, self.y, self.b, self.c) if v is not None))

    @property
    def written(self) -> bool:
        """Whether these are plain maps, with nothing to compute."""
        return self.a is self.y is self.c is None and not self.rectify

    def read(self, n: slice, h: slice = ALL, name: str = "read") -> Array:
        """Rows h of images n: a view of written maps, else computed into scratch memory called ``name``."""
        x = self.x[n, h]
        return x if self.written else self.into(scratch(self.xp, name, x.shape, self.dtype), n, h)

    def write(self) -> Array:
        """All of it, in memory of its own, or the maps themselves where there is nothing to compute."""
        if self.written:
            return self.x
        out = self.xp.empty(self.shape, self.dtype)
        moved = (2 if self.y is None else 3) * self.x[0].nbytes
        over_blocks(self.xp, lambda n: self.into(out[n], n), len(out), moved)
        return out

    def into(self, out: Array, n: slice, h: slice = ALL) -> Array:
        """Rows h of images n, computed into ``out``: contiguous, of their shape."""
        xp, result, now = self.xp, lines(out), lines(self.x[n, h])
        if self.a is not None:
            now = xp.multiply(now, self._along("a", out, n), out=result)
        if self.y is not None:
            y = lines(self.y[n, h])
            if self.b is not None:
                y = xp.multiply(y, self._along("b", out, n), out=scratch(xp, "second", y.shape, out.dtype))
            now = xp.add(now, y, out=result)
        if self.c is not None:
            now = xp.add(now, self._along("c", out, n), out=result)
        if self.rectify:
            xp.maximum(now, _zeros(xp, now), out=result)
        return out

    def _along(self, name: str, maps: Array, n: slice) -> Array:
        """a, b or c repeated along a line of the maps; for all images alike, made once."""
        v = getattr(self, name)
        if v.ndim == 2:
            return along(maps, v, n)
        key = name, pixels_of_a_line(maps.shape)
        if key not in self._made:
            self._made[key] = along(maps, v)
        return self._made[key]

    @cached_property
    def _made(self) -> dict[Any, Array]:
        return {}


def _zeros(xp: ModuleType, x: Array) -> Any:
    """Zeros to compare lines with.  A line of them on a CPU: NumPy's loop against one number is three times slower."""
    return xp.zeros(x.shape[-1], x.dtype) if xp is np else 0


def affine(x: Array, a: Array, b: Array | None = None) -> Array:
    """a x + b by channel: x (N, ..., C); a and b (C,), or (N, C) for numbers of each image's own.  One pass."""
    return Blend(x, a, c=b).write()
