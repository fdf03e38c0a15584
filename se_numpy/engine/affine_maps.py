"""Feature maps that are computed where they are read.

A pass over big maps costs what it moves, not what it computes. So what batch norm, a gate, a residual sum and a ReLU do
to maps is kept as it is, a few numbers per channel, until the maps are read: by the convolution that unfolds their
windows, or by a last pass that writes them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
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
    """a x + b y + c, rectified or not: maps (N, H, W, C) that have not been written yet.

    x and y are maps; a, b and c have one number per channel (C,) or per channel and image (N, C). A factor or summand
    that is None is left out. ``mean`` (C,), where known, is what sums with x are centred by. ``clipped`` says that x is
    the result of a ReLU: whatever reads it may take its gradient through that ReLU at once.
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

    @cached_property
    def xp(self) -> ModuleType:
        return array_module(self.x)

    @cached_property
    def dtype(self) -> Any:
        return self.xp.result_type(*(v for v in (self.x, self.a, self.y, self.b, self.c) if v is not None))

    @property
    def by_image(self) -> bool:
        """Whether each image has numbers of its own, as behind a gate."""
        return any(v is not None and v.ndim == 2 for v in (self.a, self.b, self.c))

    @cached_property
    def lane(self) -> int:
        """How long a lane may be: one row if the factors differ by image, since longer lanes would fill the cache."""
        return 0 if self.by_image else LANE

    @cached_property
    def has_kernels(self) -> bool:
        """Whether all of it lies on a device that runs the engine's kernels."""
        return self.xp is not np and has_kernels(self.xp, *self.parts.values())

    @cached_property
    def written(self) -> bool:
        """Whether these are plain maps, with nothing left to compute."""
        return self.a is self.y is self.c is None and not self.rectify

    def read(self, n: slice, h: slice = ALL, name: str = "read") -> Array:
        """Return rows h of images n: a view of written maps, else computed into the workspace of this name."""
        x = self.x[n, h]
        if self.written:
            return x
        out = workspace(self.xp, name, x.shape, self.dtype)
        self.into(out, n, h)
        return out

    def write(self) -> Array:
        """Return all of it in a new array, or the maps themselves if nothing is left to compute."""
        if self.written:
            return self.x
        out = self.xp.empty(self.shape, self.dtype)
        moved = (2 if self.y is None else 3) * self.x[0].nbytes
        parallel_for(self.xp, lambda n: self.into(out[n], n), len(out), moved)
        return out

    def into(self, out: Array, n: slice, h: slice = ALL) -> None:
        """Compute rows h of images n into ``out``, which has their shape."""
        xp, x = self.xp, self.x[n, h]
        if self.written:
            out[...] = x
            return
        if self.has_kernels:
            self._launch(out, n, h)
            return
        direct = out.flags.c_contiguous
        work = out if direct else workspace(xp, "affine", out.shape, out.dtype)
        lane = as_lanes(work, self.lane)
        if self.y is None:
            now = self._lane_by_lane(x, "a", "c", n, lane)
        else:
            second = as_lanes(workspace(xp, "second", out.shape, out.dtype), self.lane)
            now = self._lane_by_lane(x, "a", None, n, lane)
            second = self._lane_by_lane(self.y[n, h], "b", "c", n, second)
            if not (direct or self.rectify):  # nothing repeats along this step: it can write where it belongs
                xp.add(now.reshape(out.shape), second.reshape(out.shape), out=out)
                return
            now = xp.add(now, second, out=lane)
        if self.rectify:
            xp.maximum(now, _zeros(xp, now), out=lane)
        if not direct:
            out[...] = work

    @property
    def parts(self) -> dict[str, Array]:
        """The arrays that are not None, by their letters."""
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

    def _lane_by_lane(self, x: Array, factor: str, summand: str | None, n: slice, out: Array) -> Array:
        """factor · x + summand on the lanes of x, in ``out``; the lanes themselves where both are left out."""
        xp, now = self.xp, as_lanes(x, self.lane)
        if getattr(self, factor) is not None:
            now = xp.multiply(now, self._tiled(factor, x, n), out=out)
        if summand and getattr(self, summand) is not None:
            now = xp.add(now, self._tiled(summand, x, n), out=out)
        return now

    def _tiled(self, name: str, maps: Array, n: slice) -> Array:
        """a, b or c repeated along a lane of the maps; where all images share it, made once."""
        v = getattr(self, name)
        if v.ndim == 2:
            return tile_channels(maps, v, n, self.lane)
        key = name, pixels_of_a_lane(maps.shape, self.lane)
        if key not in self._made:
            self._made[key] = tile_channels(maps, v, limit=self.lane)
        return self._made[key]

    @cached_property
    def _made(self) -> dict[Any, Array]:
        return {}


def _zeros(xp: ModuleType, x: Array) -> Any:
    """Zeros to compare lanes with.  A lane of them on a CPU: NumPy's loop against one number is three times slower."""
    return _lane_of_zeros(x.shape[-1], x.dtype) if xp is np else 0


@lru_cache(maxsize=64)
def _lane_of_zeros(size: int, dtype: Any) -> np.ndarray:
    return np.zeros(size, dtype)


def affine(x: Array, a: Array, b: Array | None = None) -> Array:
    """Return a x + b by channel, in one pass: x (N, ..., C); a and b (C,), or (N, C) with numbers for each image."""
    return AffineMaps(x, a, c=b).write()
