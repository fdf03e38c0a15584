"""Feature maps that are computed where they are read.

The cost of a pass over large maps is the memory it moves, not the arithmetic. Batch norm, gates, residual sums and ReLU
are therefore stored as a few values per channel until the maps are read: by a convolution, as it unfolds their
windows, or by a final pass that writes them.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from se_numpy.arrays import Array, array_module
from se_numpy.engine.cuda import has_kernels, launch
from se_numpy.engine.lanes import LANE, as_lanes, pixels_per_lane, tile_channels
from se_numpy.engine.parallel import parallel_for
from se_numpy.engine.workspace import workspace

ALL = slice(None)


class Statistics(NamedTuple):
    """Statistics, factor and eps of the batch norm of some maps; its gradient is computed from them."""

    mean: Array
    var: Array
    gamma: Array
    eps: float


@dataclass(frozen=True, eq=False)
class AffineMaps:
    """Deferred maps a x + b y + c + d, optionally rectified: (N, H, W, C), not yet written to memory.

    x and y are maps; a, b, c and d hold one value per channel (C,), or per image and channel (N, C). A part that is
    None is left out. ``statistics`` are those of x, if a x + c is its batch norm. With ``clipped``, x is the output of
    a ReLU, and the node that computes its gradient may also apply that ReLU's mask.
    If x is a sum whose first term went through batch norm, ``summand`` is that term, where kernels can use it: its
    gradient is that of x.
    """

    x: Array
    a: Array | None = None
    y: Array | None = None
    b: Array | None = None
    c: Array | None = None
    d: Array | None = None
    rectify: bool = False
    statistics: Statistics | None = None
    clipped: bool = False
    summand: "AffineMaps | None" = None

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.x.shape
        return shape

    @cached_property
    def xp(self) -> ModuleType:
        return array_module(self.x)

    @cached_property
    def dtype(self) -> Any:
        if self.has_kernels:  # then all have the same
            return self.x.dtype
        return self.xp.result_type(*(v for v in (self.x, self.a, self.y, self.b, self.c, self.d) if v is not None))

    @property
    def by_image(self) -> bool:
        """True if a, b, c or d differ from image to image, as after a gate."""
        return any(v is not None and v.ndim == 2 for v in (self.a, self.b, self.c, self.d))

    @cached_property
    def lane(self) -> int:
        """The longest lane: one row if the factors differ between images, because longer lanes would fill the cache."""
        return 0 if self.by_image else LANE

    @cached_property
    def has_kernels(self) -> bool:
        """True if all arrays are on a device that runs the engine's kernels."""
        return self.xp is not np and has_kernels(self.xp, *self.parts.values())

    @cached_property
    def written(self) -> bool:
        """True if these are plain maps, with nothing left to compute."""
        return self.a is self.y is self.c is self.d is None and not self.rectify

    def read(self, n: slice, h: slice = ALL, name: str = "read") -> Array:
        """Return rows h of images n: a view if the maps are written, else computed in the workspace ``name``."""
        x = self.x[n, h]
        if self.written:
            return x
        out = workspace(self.xp, name, x.shape, self.dtype)
        self.into(out, n, h)
        return out

    def write(self) -> Array:
        """Return the maps in a new array, or x itself if nothing is left to compute."""
        if self.written:
            return self.x
        out = self.xp.empty(self.shape, self.dtype)
        moved = (2 if self.y is None else 3) * self.x[0].nbytes
        parallel_for(self.xp, lambda n: self.into(out[n], n), len(out), moved)
        return out

    def into(self, out: Array, n: slice, h: slice = ALL) -> None:
        """Write rows h of images n to ``out``, an array of their shape."""
        xp, x = self.xp, self.x[n, h]
        if self.written:
            out[...] = x
            return
        if self.has_kernels:
            self._launch(out, n, h)
            return
        if self.d is not None:
            replace(self, c=self.d if self.c is None else self.c + self.d, d=None).into(out, n, h)
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
            if not (direct or self.rectify):  # this sum has no tiled operand, so it can write to out directly
                xp.add(now.reshape(out.shape), second.reshape(out.shape), out=out)
                return
            now = xp.add(now, second, out=lane)
        if self.rectify:
            xp.maximum(now, _zeros(xp, now), out=lane)
        if not direct:
            out[...] = work

    @cached_property
    def parts(self) -> dict[str, Array]:
        """The arrays that are not None, by name."""
        return {k: v for k in "xaybcd" if (v := getattr(self, k)) is not None}

    @cached_property
    def expression(self) -> "Expression":
        """The maps as an expression of C."""
        by_image = tuple([v.ndim == 2 for name, v in self.parts.items() if name in "abcd"])
        return expression(tuple(self.parts), by_image, self.rectify)

    def _launch(self, out: Array, n: slice, h: slice) -> None:
        """Do what ``into`` does, in one launch."""
        pixels = [1] * (self.x.ndim - 2)
        arrays = [
            v[n, h] if name in "xy" else v[n].reshape(-1, *pixels, v.shape[-1]) if v.ndim == 2 else v
            for name, v in self.parts.items()
        ]
        c = self.expression
        launch("affine_maps", self.xp, *arrays, out, inputs=c.inputs, formula=c.formula)

    def _lane_by_lane(self, x: Array, factor: str, summand: str | None, n: slice, out: Array) -> Array:
        """Compute factor · x + summand on the lanes of x into ``out``; return the lanes themselves if both are None."""
        xp, now = self.xp, as_lanes(x, self.lane)
        if getattr(self, factor) is not None:
            now = xp.multiply(now, self._tiled(factor, x, n), out=out)
        if summand and getattr(self, summand) is not None:
            now = xp.add(now, self._tiled(summand, x, n), out=out)
        return now

    def _tiled(self, name: str, maps: Array, n: slice) -> Array:
        """Return a, b or c repeated along a lane of the maps; if all images share it, it is computed only once."""
        v = getattr(self, name)
        if v.ndim == 2:
            return tile_channels(maps, v, n, self.lane)
        key = name, pixels_per_lane(maps.shape, self.lane)
        if key not in self._tiles:
            self._tiles[key] = tile_channels(maps, v, limit=self.lane)
        return self._tiles[key]

    @cached_property
    def _tiles(self) -> dict[Any, Array]:
        return {}


class Expression(NamedTuple):
    """Deferred maps in C, for one element and, with ``raw`` inputs, for the element ``pixel`` of a window."""

    inputs: str
    formula: str
    raw_inputs: str
    raw_formula: str


@cache
def expression(parts: tuple[str, ...], by_image: tuple[bool, ...], rectify: bool) -> Expression:
    """Return the expression of maps with these parts; ``by_image`` says which of a, b, c and d differ by image."""
    own = dict(zip([name for name in parts if name in "abcd"], by_image, strict=True))
    at = {name: f"{name}[{('own' if own[name] else 'channel') if name in own else 'pixel'}]" for name in parts}

    def formula(names: dict[str, str]) -> str:
        x, a, y, b, c, d = (names.get(name, "") for name in "xaybcd")
        value = " + ".join(term for term in (f"{a} * {x}" if a else x, f"{b} * {y}" if b else y, c, d) if term)
        return f"rectified({value})" if rectify else value

    inputs, raw = (", ".join(f"{word}T {name}" for name in parts) for word in ("", "raw "))
    return Expression(inputs, formula({name: name for name in parts}), raw, formula(at))


def _zeros(xp: ModuleType, x: Array) -> Any:
    """Return zeros to compare lanes with: on a CPU a whole lane, because a scalar is three times slower."""
    return _lane_of_zeros(x.shape[-1], x.dtype) if xp is np else 0


@lru_cache(maxsize=64)
def _lane_of_zeros(size: int, dtype: Any) -> np.ndarray:
    return np.zeros(size, dtype)


def affine(x: Array, a: Array, b: Array | None = None) -> Array:
    """Return a x + b in one pass: x (N, ..., C); a and b (C,), or (N, C) for a different map for each image."""
    return AffineMaps(x, a, c=b).write()
