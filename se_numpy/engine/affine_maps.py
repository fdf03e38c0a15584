"""Feature maps that are computed where they are read, and their windows.

A pass over big maps costs what it moves, not what it computes. So what batch norm, a gate, a residual sum and a ReLU do
to maps is kept as what it is, a few numbers a channel, until somebody reads them: the convolution that unfolds their
windows, or a last pass that writes them down.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from se_numpy.arrays import Array, array_module
from se_numpy.engine.cuda import has_kernels, launch
from se_numpy.engine.lanes import LANE, as_lanes, pixels_of_a_lane, tile_channels
from se_numpy.engine.parallel import parallel_for
from se_numpy.engine.workspace import workspace

ALL = slice(None)


@dataclass(frozen=True, eq=False)
class AffineMaps:
    """a x + b y + c, rectified or not: maps (N, H, W, C) that nobody has written down yet.

    x and y are maps; a, b and c belong to a channel (C,) or to a channel of one image (N, C). What is None is left out,
    be it a factor or a summand. ``mean`` (C,) is what sums with x are centred by, where whoever made this knows it.
    ``clipped`` says that x came out of a ReLU, through which a reader may take its gradient along.
    """

    x: Array
    a: Array | None = None
    y: Array | None = None
    b: Array | None = None
    c: Array | None = None
    rectify: bool = False
    mean: Array | None = None
    clipped: bool = False

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
    def by_image(self) -> bool:
        """Whether each image has numbers of its own, as behind a gate."""
        return any(v is not None and v.ndim == 2 for v in (self.a, self.b, self.c))

    @cached_property
    def line(self) -> int:
        """How long a line may be: of one row where each image has a line of its own, or these would fill the cache."""
        return 0 if self.by_image else LANE

    @property
    def written(self) -> bool:
        """Whether these are plain maps, with nothing to compute."""
        return self.a is self.y is self.c is None and not self.rectify

    def read(self, n: slice, h: slice = ALL, name: str = "read") -> Array:
        """Rows h of images n: a view of written maps, else computed into a workspace called ``name``."""
        x = self.x[n, h]
        if self.written:
            return x
        out = workspace(self.xp, name, x.shape, self.dtype)
        self.into(out, n, h)
        return out

    def write(self) -> Array:
        """All of it, in memory of its own, or the maps themselves where there is nothing to compute."""
        if self.written:
            return self.x
        out = self.xp.empty(self.shape, self.dtype)
        moved = (2 if self.y is None else 3) * self.x[0].nbytes
        parallel_for(self.xp, lambda n: self.into(out[n], n), len(out), moved)
        return out

    def into(self, out: Array, n: slice, h: slice = ALL) -> None:
        """Rows h of images n, computed into ``out``, which has their shape."""
        xp, x = self.xp, self.x[n, h]
        if self.written:
            out[...] = x
            return
        if has_kernels(xp, *self.parts.values()):
            self._launch(out, n, h)
            return
        direct = out.flags.c_contiguous
        work = out if direct else workspace(xp, "blend", out.shape, out.dtype)
        line = as_lanes(work, self.line)
        if self.y is None:
            now = self._line_by_line(x, "a", "c", n, line)
        else:
            second = as_lanes(workspace(xp, "second", out.shape, out.dtype), self.line)
            now = self._line_by_line(x, "a", None, n, line)
            second = self._line_by_line(self.y[n, h], "b", "c", n, second)
            if not (direct or self.rectify):  # nothing repeats along this step: it can write where it belongs
                xp.add(now.reshape(out.shape), second.reshape(out.shape), out=out)
                return
            now = xp.add(now, second, out=line)
        if self.rectify:
            xp.maximum(now, _zeros(xp, now), out=line)
        if not direct:
            out[...] = work

    @property
    def parts(self) -> dict[str, Array]:
        """The arrays that are there, by their letters."""
        return {k: v for k in "xaybc" if (v := getattr(self, k)) is not None}

    def formula(self, index: Callable[[str], str] = lambda name: name) -> str:
        """One number of these maps in C, ``index`` telling how to get at one number of each part."""
        there = self.parts
        x, a, y, b, c = (index(name) if name in there else "" for name in "xaybc")
        value = " + ".join(part for part in (f"{a} * {x}" if a else x, f"{b} * {y}" if b else y, c) if part)
        return f"rectified({value})" if self.rectify else value

    def _launch(self, out: Array, n: slice, h: slice) -> None:
        """``into`` as one launch."""
        pixels = [1] * (self.x.ndim - 2)
        arrays = [
            v[n, h] if name in "xy" else v[n].reshape(-1, *pixels, v.shape[-1]) if v.ndim == 2 else v
            for name, v in self.parts.items()
        ]
        inputs = ", ".join(f"T {name}" for name in self.parts)
        launch("affine_maps", self.xp, *arrays, out, inputs=inputs, formula=self.formula())

    def _line_by_line(self, x: Array, factor: str, summand: str | None, n: slice, out: Array) -> Array:
        """factor · x + summand on the lines of x, in ``out``; the lines themselves where both are left out."""
        xp, now = self.xp, as_lanes(x, self.line)
        if getattr(self, factor) is not None:
            now = xp.multiply(now, self._tiled(factor, x, n), out=out)
        if summand and getattr(self, summand) is not None:
            now = xp.add(now, self._tiled(summand, x, n), out=out)
        return now

    def _tiled(self, name: str, maps: Array, n: slice) -> Array:
        """a, b or c repeated along a line of the maps; where all images share it, made once."""
        v = getattr(self, name)
        if v.ndim == 2:
            return tile_channels(maps, v, n, self.line)
        key = name, pixels_of_a_lane(maps.shape, self.line)
        if key not in self._made:
            self._made[key] = tile_channels(maps, v, limit=self.line)
        return self._made[key]

    @cached_property
    def _made(self) -> dict[Any, Array]:
        return {}


def _zeros(xp: ModuleType, x: Array) -> Any:
    """Zeros to compare lines with.  A line of them on a CPU: NumPy's loop against one number is three times slower."""
    return xp.zeros(x.shape[-1], x.dtype) if xp is np else 0


def affine(x: Array, a: Array, b: Array | None = None) -> Array:
    """a x + b by channel: x (N, ..., C); a and b (C,), or (N, C) for numbers of each image's own.  One pass."""
    return AffineMaps(x, a, c=b).write()
