"""Kernels in which the threads of a block work together: sums over the pixels of maps, and gates image by image.

A sum over large maps is computed by many blocks, each on a part of the pixels. The block that finishes last adds up
their partial sums, a few hundred whatever the size of the batch, always in the same order, and computes the results. A
block of 256 threads reads up to 32 channels of several pixels at a time.
"""

import re
from functools import cache
from math import prod
from threading import get_ident
from types import ModuleType
from typing import Any, NamedTuple, cast

import numpy as np

from se_numpy.arrays import Array, array_module
from se_numpy.engine.cuda.table import TABLE, PerImage, Sums
from se_numpy.engine.cuda.text import THREADS, TYPES, Param, parsed

BLOCKS = 264  # at least, for large maps: two for each of an H100's 132 multiprocessors
WIDTH = 32  # channels that a block reads together
PIXELS = 4  # at least, for each thread
MOST_TILES = 4096  # more channels than 131,072 do not occur

SUMS = """typedef {T} T;
{switches}
__device__ void add_up(double* first, double* second, const unsigned lane) {{  // over the lanes of a channel
    for (unsigned n = {lanes}u; n > 1; n = (n + 1) / 2) {{
        __syncthreads();
        if (lane < n / 2) {{
            first[threadIdx.x] += first[threadIdx.x + (n + 1) / 2 * {width}u];
            second[threadIdx.x] += second[threadIdx.x + (n + 1) / 2 * {width}u];
        }}
    }}
    __syncthreads();
}}

extern "C" __global__ void {name}({declared}, double* const partial, unsigned* const counters, const unsigned images,
        const unsigned each, const unsigned pixels, const unsigned share) {{
    __shared__ double first[{threads}], second[{threads}];
    __shared__ bool last;
    const unsigned lane = threadIdx.x / {width}u, column = threadIdx.x % {width}u;
    const unsigned channel = blockIdx.y * {width}u + column, C = {C}u;
    const bool active = channel < C && lane < {lanes}u;
    const unsigned from = blockIdx.x * share, to = from + share < pixels ? from + share : pixels;
    const unsigned image_end = (blockIdx.z + 1) * each < images ? (blockIdx.z + 1) * each : images;
    double sum_u = 0, sum_v = 0;
    {start}
    for (unsigned image = blockIdx.z * each; image < image_end; ++image) {{
        T u_total = 0, v_total = 0;
        if (active) for (unsigned p = from + lane; p < to; p += {lanes}u) {{
            const unsigned i = (image * pixels + p) * C + channel;
            T u, v;
            {values}
            u_total += u;
            v_total += v;
        }}
        sum_u += u_total;
        sum_v += v_total;
#ifdef BY_IMAGE
        __syncthreads();
        first[threadIdx.x] = u_total;
        second[threadIdx.x] = v_total;
        add_up(first, second, lane);
        if (active && lane == 0) {{
            const unsigned k = (image * gridDim.x + blockIdx.x) * C + channel;
            const double count = to - from;
            {by_image}
        }}
#endif
    }}
#ifdef FINISH
    const unsigned parts = gridDim.x * gridDim.z, part = blockIdx.z * gridDim.x + blockIdx.x;
    __syncthreads();
    first[threadIdx.x] = sum_u;
    second[threadIdx.x] = sum_v;
    add_up(first, second, lane);
    if (active && lane == 0) {{
        const double count = (double)(to - from) * (image_end - blockIdx.z * each);
        double s = first[threadIdx.x], t = second[threadIdx.x];
        {part}
        partial[part * C + channel] = s;
        partial[(parts + part) * C + channel] = t;
        partial[(2 * parts + part) * C + channel] = count;
    }}
    THREADFENCE();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(counters + blockIdx.y, 1u) == parts - 1;
    __syncthreads();
    if (!last) return;
    THREADFENCE();
    double sum = 0, square = 0;
    if (active) for (unsigned g = lane; g < parts; g += {lanes}u) {{
        sum += partial[g * C + channel];
        square += partial[(parts + g) * C + channel];
    }}
    first[threadIdx.x] = sum;
    second[threadIdx.x] = square;
    add_up(first, second, lane);
    sum = first[column];
    square = second[column];
    const double m = (double)images * pixels;
    {combine}
    if (active && lane == 0) {{
        const unsigned i = channel;
        {finish};
    }}
    if (threadIdx.x == 0) counters[blockIdx.y] = 0;
#endif
}}
"""
# Where the sums are of squares about the mean of each part: add those of the parts' means about the mean of all.
ABOUT_MEANS = """
    __syncthreads();
    first[threadIdx.x] = second[threadIdx.x] = 0;
    if (active) for (unsigned g = lane; g < parts; g += {lanes}u) {{
        const double n = partial[(2 * parts + g) * C + channel], d = partial[g * C + channel] / n - sum / m;
        first[threadIdx.x] += n * d * d;
    }}
    add_up(first, second, lane);
    square += first[column];
"""
FENCE = """#ifdef __CUDA_ARCH__
#define THREADFENCE() __threadfence()
#else
#define THREADFENCE()
#endif
"""

GATES = """typedef {T} T;
extern "C" __global__ void {name}({declared}) {{
    const unsigned C = {C}u, R = {R}u, parts = {parts}u, n = blockIdx.x;
    __shared__ T over_channels[C], over_hidden[R];
    {body}
}}
"""


class Grid(NamedTuple):
    """A division of the pixels of maps into parts of each image, tiles of channels, and groups of images."""

    parts: int
    tiles: int
    groups: int
    each: int  # images in a group
    share: int  # pixels of an image in a part

    @property
    def blocks(self) -> int:
        return self.parts * self.tiles * self.groups


def grid(images: int, pixels: int, channels: int) -> Grid:
    """Divide maps so that large ones keep a GPU busy, and small ones give every thread a few pixels."""
    width = min(channels, WIDTH)
    tiles, lanes = -(-channels // WIDTH), THREADS // width
    wanted = -(-BLOCKS // tiles)
    groups = min(images, wanted)
    each = images // groups
    groups = -(-images // each)
    parts = max(1, min(-(-wanted // groups), pixels // (PIXELS * lanes)))
    share = -(-pixels // parts)
    return Grid(-(-pixels // share), tiles, groups, each, share)


def sums(
    name: str, maps: tuple[Array, ...], channels: tuple[Any, ...] = (), *, by_image: bool = False, finish: bool = False
) -> tuple[Array, ...]:
    """Launch a sum of the table over the pixels of ``maps``, which are (N, ..., C).

    ``channels`` are the row's arrays (C,) and numbers. With ``by_image`` the results begin with the sums of each image
    in parts, (N, parts, C); with ``finish`` they end with the outputs of the row, (C,).
    """
    xp = array_module(*maps)
    x = maps[0]
    call = _prepared(xp, name, x.shape, x.dtype, by_image, finish)
    passed = [_passed(name, v, x.dtype) for v in (*maps, *channels[: call.channels])]
    outputs = [xp.empty(shape, x.dtype) for shape in call.outputs]
    call.kernel(call.grid, (THREADS,), (*passed, *outputs, *scratch(xp, call.partial), *call.counts))
    return tuple(outputs)


def _passed(name: str, value: Any, dtype: Any) -> Any:
    """Return a number or an array as a kernel takes it, which reads only contiguous memory of one dtype."""
    if isinstance(value, (int, float)):
        return float(value)
    if value.dtype != dtype:
        raise TypeError(f"kernel {name} got arrays of {dtype} and {value.dtype}; expected one dtype")
    return value if value.flags.c_contiguous else array_module(value).ascontiguousarray(value)


class Call(NamedTuple):
    """A sum prepared for maps of one shape."""

    kernel: Any
    grid: tuple[int, int, int]
    counts: tuple[np.uint32, ...]
    channels: int | None  # how many of the row's arrays and numbers are passed
    outputs: tuple[tuple[int, ...], ...]  # their shapes
    partial: int  # how many partial sums are kept


@cache
def _prepared(xp: ModuleType, name: str, shape: tuple[int, ...], dtype: Any, by_image: bool, finish: bool) -> Call:
    row, N, C = cast(Sums, TABLE[name]), shape[0], shape[-1]
    images, pixels = (N, prod(shape[1:-1])) if by_image else (1, prod(shape[:-1]))
    where = grid(images, pixels, C)
    of_images: list[tuple[int, ...]] = [(N, where.parts, C)] * (by_image * len(parsed(row.images)))
    results: list[tuple[int, ...]] = [(C,)] * (finish * len(parsed(row.outputs)))
    counts = tuple(map(np.uint32, (images, where.each, pixels, where.share)))
    return Call(
        _compiled(xp, name, dtype, C, by_image, finish), (where.parts, where.tiles, where.groups), counts,
        None if finish else row.needed, (*of_images, *results), 3 * where.parts * where.groups * C * finish,
    )  # fmt: skip


@cache
def _compiled(xp: ModuleType, name: str, dtype: Any, C: int, by_image: bool, finish: bool) -> Any:
    row = cast(Sums, TABLE[name])
    channels = parsed(row.channels)[: None if finish else row.needed]
    outputs = parsed(row.images) * by_image + parsed(row.outputs) * finish
    width = min(C, WIDTH)
    lanes = THREADS // width
    text = SUMS.format(
        T=TYPES[dtype.name], C=C, name=name, threads=THREADS, width=width, lanes=lanes,
        switches=FENCE + "#define BY_IMAGE\n" * by_image + "#define FINISH\n" * finish,
        declared=", ".join(map(_declared, parsed(row.maps) + channels + outputs)), start=row.start, values=row.values,
        by_image=row.of_image, part=row.part, combine=ABOUT_MEANS.format(lanes=lanes) if row.about_means else "",
        finish=row.finish,
    )  # fmt: skip
    return xp.RawKernel(text, name)


def _declared(p: Param) -> str:
    return f"const double {p.name}" if p.kind == "float64" else f"T* const {p.name}"


_scratch: dict[tuple[Any, ...], tuple[Array, Array]] = {}


def scratch(xp: ModuleType, size: int) -> tuple[Array, Array]:
    """Return memory for partial sums, and zeros in which blocks count those that have finished.

    Every kernel leaves zeros behind. Kernels that run at the same time, on other streams, need other arrays.
    """
    key = xp, get_ident(), xp.cuda.Device().id, xp.cuda.get_current_stream().ptr
    if key not in _scratch:
        _scratch[key] = xp.empty(size, np.float64), xp.zeros(MOST_TILES, np.uint32)
    partial, counters = _scratch[key]
    if partial.size < size:
        _scratch[key] = xp.empty(size, np.float64), counters
    return _scratch[key]


def image_kernel(name: str, arrays: tuple[Any, ...], R: int, parts: int = 1) -> tuple[Array, ...]:
    """Launch a kernel of the table with one block for each image; return its outputs (N, C), or (N, R) for the first.

    ``arrays`` are its inputs, the first of them (N, parts, C) or (N, C). An integer stands for an array that is filled
    with it.
    """
    row, x = cast(PerImage, TABLE[name]), arrays[0]
    xp = array_module(x)
    N, C = len(x), x.shape[-1]
    inputs = parsed(row.inputs)
    pairs = list(zip(inputs, arrays, strict=True))
    constants = tuple((p.name, a) for p, a in pairs if p.kind == "T" and isinstance(a, int))
    outputs = [xp.empty((N, R if p.kind == "R" else C), x.dtype) for p in parsed(row.outputs)]
    passed = [_passed(name, a, x.dtype) for p, a in pairs if p.name not in dict(constants)]
    _per_image(xp, name, x.dtype, C, R, parts, constants)((N,), (THREADS,), (*passed, *outputs))
    return tuple(outputs)


@cache
def _per_image(
    xp: ModuleType, name: str, dtype: Any, C: int, R: int, parts: int, constants: tuple[tuple[str, int], ...]
) -> Any:  # fmt: skip
    row = cast(PerImage, TABLE[name])
    declared = [_declared(p) for p in parsed(row.inputs) + parsed(row.outputs) if p.name not in dict(constants)]
    body = row.operation
    for constant, value in constants:
        body = re.sub(rf"\b{constant}\[\w+\]", str(value), body)
    text = GATES.format(T=TYPES[dtype.name], name=name, declared=", ".join(declared), C=C, R=R, parts=parts, body=body)
    return xp.RawKernel(text, name)


def forget() -> None:
    """Forget all kernels, for tests that change the table."""
    _prepared.cache_clear()
    _compiled.cache_clear()
    _per_image.cache_clear()
