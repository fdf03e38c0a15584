"""The objects of the built-in scenes, as sprites of any height: how much each part of an object covers each pixel.

A shape is a condition on a point (u, v) of the unit square, u to the right and v down. A pixel's coverage by a part is
the number of its 8 x 8 points where the part is on top, divided by 64, so it is the same on every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

POINTS = 8  # points along each side of a pixel
Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Drawing:
    """One form of an object: its width over its height, and its parts from back to front, each with a palette."""

    aspect: float
    parts: tuple[tuple[Shape, str], ...]


def box(left: float, top: float, right: float, bottom: float) -> Shape:
    """Return a rectangle."""
    return lambda u, v: (left <= u) & (u < right) & (top <= v) & (v < bottom)


def ellipse(u0: float, v0: float, a: float, b: float) -> Shape:
    """Return an ellipse with centre (u0, v0) and half axes a and b."""
    return lambda u, v: ((u - u0) / a) * ((u - u0) / a) + ((v - v0) / b) * ((v - v0) / b) <= 1


def taper(top: float, bottom: float, at_top: tuple[float, float], at_bottom: tuple[float, float]) -> Shape:
    """Return a trapezoid or triangle between two heights, from left to right ``at_top`` and ``at_bottom``."""

    def inside(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        t = (v - top) / (bottom - top)
        left, right = (a + t * (b - a) for a, b in zip(at_top, at_bottom, strict=True))
        return (t >= 0) & (t < 1) & (left <= u) & (u < right)

    return inside


def both(*shapes: Shape) -> Shape:
    """Return the points that are in all shapes."""
    return lambda u, v: np.logical_and.reduce([shape(u, v) for shape in shapes])


def any_of(*shapes: Shape) -> Shape:
    """Return the points that are in one of the shapes."""
    return lambda u, v: np.logical_or.reduce([shape(u, v) for shape in shapes])


_ENVELOPE = any_of(both(ellipse(0.5, 0.38, 0.5, 0.38), box(0, 0, 1, 0.5)), taper(0.5, 0.82, (0.02, 0.98), (0.4, 0.6)))
_FIR = any_of(*(taper(top, foot, (0.5, 0.5), (0.5 - half, 0.5 + half))
               for top, foot, half in ((0, 0.4, 0.3), (0.22, 0.64, 0.4), (0.44, 0.88, 0.5))))  # fmt: skip

OBJECTS = ("sun", "balloon", "tree", "house", "boat", "person")
DRAWINGS: dict[str, tuple[Drawing, ...]] = {
    "sun": (Drawing(1.0, ((ellipse(0.5, 0.5, 0.5, 0.5), "sun"),)),),
    "balloon": (
        Drawing(0.76, (
            (box(0.38, 0.82, 0.62, 1), "wood"), (_ENVELOPE, "cloth"),
            (both(_ENVELOPE, any_of(box(0.16, 0, 0.36, 1), box(0.64, 0, 0.84, 1))), "sail"),
        )),
    ),
    "tree": (
        Drawing(0.72, (
            (box(0.42, 0.6, 0.58, 1), "wood"),
            (any_of(ellipse(0.5, 0.36, 0.42, 0.36), ellipse(0.28, 0.46, 0.28, 0.24), ellipse(0.72, 0.46, 0.28, 0.24)),
             "leaf"),
            (ellipse(0.42, 0.28, 0.24, 0.2), "bright leaf"),
        )),
        Drawing(0.56, (
            (box(0.42, 0.8, 0.58, 1), "wood"), (_FIR, "leaf"), (both(_FIR, box(0, 0, 0.5, 1)), "bright leaf"),
        )),
    ),
    "house": (
        Drawing(1.1, (
            (box(0.72, 0.04, 0.84, 0.4), "roof"), (box(0.08, 0.44, 0.92, 1), "wall"),
            (taper(0.08, 0.48, (0.24, 0.76), (0, 1)), "roof"), (box(0.44, 0.66, 0.58, 1), "wood"),
            (any_of(box(0.18, 0.6, 0.34, 0.8), box(0.68, 0.6, 0.84, 0.8)), "window"),
        )),
        Drawing(0.66, (
            (box(0.06, 0.3, 0.94, 1), "wall"), (taper(0, 0.32, (0.5, 0.5), (0, 1)), "roof"),
            (box(0.4, 0.8, 0.62, 1), "wood"),
            (any_of(*(box(u, v, u + 0.2, v + 0.13) for u in (0.18, 0.62) for v in (0.38, 0.6))), "window"),
        )),
    ),
    "boat": (
        Drawing(0.92, (
            (box(0.47, 0, 0.52, 0.78), "wood"), (taper(0.02, 0.68, (0.53, 0.53), (0.53, 0.95)), "sail"),
            (taper(0.12, 0.68, (0.45, 0.45), (0.12, 0.45)), "white"),
            (taper(0.74, 1, (0, 1), (0.18, 0.84)), "cloth"),
        )),
    ),
    "person": (
        Drawing(0.46, (
            (any_of(box(0.24, 0.58, 0.46, 1), box(0.54, 0.58, 0.76, 1)), "trousers"),
            (any_of(taper(0.25, 0.64, (0.14, 0.86), (0.22, 0.78)), box(0, 0.27, 0.14, 0.56), box(0.86, 0.27, 1, 0.56)),
             "cloth"),
            (ellipse(0.5, 0.13, 0.28, 0.13), "skin"),
        )),
        Drawing(0.6, (
            (any_of(taper(0.58, 1, (0.36, 0.52), (0.16, 0.36)), taper(0.58, 1, (0.48, 0.64), (0.64, 0.84))),
             "trousers"),
            (any_of(taper(0.25, 0.64, (0.26, 0.74), (0.3, 0.7)), taper(0.06, 0.36, (0, 0.12), (0.24, 0.4)),
                    taper(0.06, 0.36, (0.88, 1), (0.6, 0.76))), "cloth"),
            (ellipse(0.5, 0.13, 0.2, 0.13), "skin"),
        )),
    ),
}  # fmt: skip

PALETTES = {name: np.array(colours, np.float32) for name, colours in {
    "sun": [[1.0, 0.94, 0.66]],
    "wood": [[0.36, 0.24, 0.16], [0.30, 0.22, 0.20]],
    "cloth": [[0.86, 0.20, 0.18], [0.96, 0.72, 0.16], [0.20, 0.36, 0.76], [0.14, 0.60, 0.52], [0.92, 0.46, 0.66]],
    "sail": [[0.98, 0.96, 0.90], [0.98, 0.80, 0.34], [0.92, 0.42, 0.26]],
    "leaf": [[0.14, 0.38, 0.16], [0.22, 0.44, 0.14], [0.56, 0.34, 0.12]],
    "bright leaf": [[0.24, 0.52, 0.20], [0.36, 0.58, 0.18], [0.78, 0.50, 0.16]],
    "wall": [[0.96, 0.92, 0.82], [0.86, 0.74, 0.54], [0.82, 0.84, 0.88]],
    "roof": [[0.68, 0.24, 0.16], [0.38, 0.36, 0.42], [0.52, 0.30, 0.18]],
    "window": [[0.26, 0.32, 0.42]],
    "white": [[1.0, 0.98, 0.94]],
    "trousers": [[0.18, 0.20, 0.34], [0.32, 0.26, 0.22], [0.24, 0.30, 0.28]],
    "skin": [[0.92, 0.72, 0.56], [0.62, 0.42, 0.28], [0.42, 0.28, 0.20]],
}.items()}  # fmt: skip


def width_of(drawing: Drawing, height: int) -> int:
    """Return the width of a drawing of this height, in pixels."""
    return max(1, int(drawing.aspect * height + 0.5))


@cache
def sprite(kind: str, form: int, height: int, flipped: bool) -> np.ndarray:
    """Return the coverage (parts, height, width) float32 of each pixel by each part that is not behind another."""
    drawing = DRAWINGS[kind][form]
    width = width_of(drawing, height)
    u, v = ((np.arange(POINTS * n) + 0.5) / (POINTS * n) for n in (width, height))
    left = np.ones((height * POINTS, width * POINTS), bool)
    found = []
    for shape, _ in reversed(drawing.parts):
        on_top = left & shape((u[::-1] if flipped else u)[None], v[:, None])
        left &= ~on_top
        found.append(on_top.reshape(height, POINTS, width, POINTS).sum((1, 3)))
    return (np.stack(found[::-1]) / POINTS**2).astype(np.float32)


@cache
def puddle(width: int, height: int) -> np.ndarray:
    """Return the coverage (height, width) float32 of an ellipse: a shadow, an islet or a pond under an object."""
    u, v = ((np.arange(POINTS * n) + 0.5) / (POINTS * n) for n in (width, height))
    points = ellipse(0.5, 0.5, 0.5, 0.5)(u[None], v[:, None])
    return (points.reshape(height, POINTS, width, POINTS).sum((1, 3)) / POINTS**2).astype(np.float32)
