"""Is this the gradient of that?  One checker for every pair f, f_backward: the library's own, and yours.

Along a random direction v the derivative of ⟨f(x), dy⟩ must be ⟨dx, v⟩. That takes a few calls of f, whatever its
size, and one wrong entry among thousands shows. dy is random too: with ones, batch norm's gradient is zero and a
mistake in it passes. The error is measured against ‖dx‖, the standard deviation of ⟨dx, v⟩, which itself may cancel.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from se_numpy.arrays import Array, array_module, to_host

TOLERANCE = 1e-6  # correct pairs stay below 1e-8 in float64, one entry of a thousand wrong by 1 % lies above 1e-5
STEPS = (1e-5, 1e-6, 1e-7)  # the next one where a kink lies within reach of the one before
HIDING = 1e-3  # rounding above this share of a gradient's size could hide a mistake
EXPLAINED = 400  # so many entries of a wrong gradient are looked at one by one


class GradientError(AssertionError):
    """A backward pass that does not give the gradient of its forward pass; the message says where and by how much."""


class KinkError(ValueError):
    """No derivative to compare with: f has a kink (relu at 0, equal maxima) at the very point."""


class Comparison(NamedTuple):
    """One argument's gradient along a random direction: how far off, relative to its norm, and both values."""

    argument: int
    relative: float
    analytic: float
    numeric: float


def check_backward(
    f: Callable[..., Any], f_backward: Callable[..., Any], *args: Any,
    seed: int = 0, tolerance: float = TOLERANCE, method: str = "central", **hyper: Any,
) -> list[Comparison]:  # fmt: skip
    """Compare ``f_backward(dy, *args, **hyper)`` with the derivative of ``f(*args, **hyper)``, argument by argument.

    Arrays of floating point numbers are raised to float64 and each needs a gradient, in order; integers, masks and None
    are passed on as they are. A function with several results gets as many dy. ``method`` is "central" (differences;
    kinks are detected and another direction and a smaller step are tried) or "complex" (a complex step, exact to 1e-15,
    for functions that are analytic and take complex arrays).

    Raises GradientError where a gradient is off by more than ``tolerance`` relative to its norm, has the wrong shape or
    dtype, is missing or not finite; KinkError where there is no derivative; ValueError for an unknown method, or where
    f's values are so large that rounding hides a gradient of this size.
    """
    if method not in ("central", "complex"):
        raise ValueError(f"method is {method!r}; expected 'central' or 'complex'")
    rng = np.random.default_rng(seed)
    xp = array_module(*(a for a in args if hasattr(a, "dtype")))
    args = tuple(a.astype(np.float64) if _differentiable(a) else a for a in args)
    wanted = [k for k, a in enumerate(args) if _differentiable(a)]

    def value(*args: Any) -> tuple[Array, ...]:
        y = f(*args, **hyper)
        return tuple(map(xp.asarray, y if isinstance(y, tuple) else (y,)))

    def own(arrays: tuple[Any, ...]) -> list[Any]:
        return [a.copy() if hasattr(a, "dtype") else a for a in arrays]  # to spoil as they like

    dys = tuple(xp.asarray(rng.standard_normal(y.shape)) for y in value(*args))
    grads = f_backward(*own(dys), *own(args), **hyper)
    if grads is None:
        raise GradientError(f"{_name(f_backward)} returned None; expected {len(wanted)} gradients")
    grads = list(grads) if isinstance(grads, (tuple, list)) else [grads]
    if len(grads) != len(wanted):
        others = [f"argument {k} is {_kind(a)}" for k, a in enumerate(args) if k not in wanted]
        raise GradientError(
            f"{_name(f_backward)} returned {len(grads)} gradients; expected {len(wanted)}, one for each argument that "
            f"is an array of floating point numbers{' (' + ', '.join(others) + ')' if others else ''}"
        )
    errors = []
    for k, dx in zip(wanted, grads, strict=True):
        _check_form(f_backward, k, dx, args[k])
        error = _along_a_direction(value, args, dys, k, dx, rng, method)
        if not error.relative <= tolerance:  # so that NaN does not pass
            raise GradientError(_explain(f_backward, value, args, dys, dx, error, method))
        errors.append(error)
    return errors


def _along_a_direction(value, args, dys, k: int, dx: Array, rng: np.random.Generator, method: str) -> Comparison:
    """The derivative along random v, numerically and as ⟨dx, v⟩; steps shrink until no kink is in the way."""
    xp = array_module(dx)
    for h in STEPS:
        v = xp.asarray(rng.standard_normal(dx.shape))
        numeric, kink, noise = _derivative(value, args, dys, k, v, h, method)
        analytic = float((dx * v).sum())
        norm = float((dx * dx).sum()) ** 0.5
        size = max(norm, abs(numeric), 1e-300)
        upstream = float(sum((dy * dy).sum() for dy in dys)) ** 0.5  # the size of a gradient that is not steep
        if noise > HIDING * max(size, upstream):
            raise ValueError(
                f"argument {k}: rounding of f's large values hides a gradient of this size ({analytic:.3g}, within "
                f"{noise:.1g}); take a constant off f, or use method='complex'"
            )
        size = max(size, noise / TOLERANCE)
        if not kink > TOLERANCE / 4 * size + noise:
            return Comparison(k, abs(analytic - numeric) / size, analytic, numeric)
    raise KinkError(
        f"argument {k}: f has no derivative here (a kink as of relu at 0, or of equal maxima, "
        f"within {STEPS[-1]:g} of the point); move the point a little"
    )


def _derivative(value, args, dys, k: int, v: Array, h: float, method: str) -> tuple[float, float, float]:
    """d⟨f, dy⟩/dv numerically; how far from smooth it is; how much of it rounding may be.

    Where f is smooth, halving h halves the difference of the two one-sided slopes and leaves their mean alone. A kink
    at the point keeps the difference, one within reach changes the mean.
    """

    def at(t: complex) -> Any:
        moved = [a + t * v if i == k else a for i, a in enumerate(args)]
        return sum((y * dy).sum() for y, dy in zip(value(*moved), dys, strict=True))

    if method == "complex":
        return float(at(1e-30j).imag) / 1e-30, 0.0, 0.0
    here = float(at(0.0))
    magnitude = float(sum(abs(y * dy).sum() for y, dy in zip(value(*args), dys, strict=True)))
    up, down, half_up, half_down = (float(at(t)) for t in (h, -h, h / 2, -h / 2))
    mean, half_mean = (up - down) / (2 * h), (half_up - half_down) / h
    bend, half_bend = (up - 2 * here + down) / h, (half_up - 2 * here + half_down) / (h / 2)
    noise = 8 * np.finfo(np.float64).eps * magnitude / h
    return mean, max(abs(mean - half_mean), abs(bend - 2 * half_bend)), noise


def _check_form(f_backward, k: int, dx: Any, x: Array) -> None:
    name = _name(f_backward)
    if not hasattr(dx, "dtype") or dx.shape != x.shape:
        found = f"shape {dx.shape}" if hasattr(dx, "dtype") else f"type {type(dx).__name__}"
        raise GradientError(f"{name}: the gradient of argument {k} has {found}; expected an array of shape {x.shape}")
    if dx.dtype != np.float64:
        raise GradientError(f"{name}: the gradient of argument {k} has dtype {dx.dtype}; expected float64, as it has")
    if not np.isfinite(to_host(dx)).all():
        raise GradientError(f"{name}: the gradient of argument {k} is not finite everywhere")


def _explain(f_backward, value, args, dys, dx: Array, error: Comparison, method: str) -> str:
    """Which entry is furthest off, found by moving entries one at a time."""
    xp, k = array_module(dx), error.argument
    places = np.arange(dx.size)
    if dx.size > EXPLAINED:
        places = np.random.default_rng(0).choice(dx.size, EXPLAINED, replace=False)
    worst = (0, 0.0, 0.0)
    for place in places:
        v = np.zeros(dx.size)
        v[place] = 1
        numeric, _, _ = _derivative(value, args, dys, k, xp.asarray(v.reshape(dx.shape)), STEPS[0], method)
        analytic = float(to_host(dx).ravel()[place])
        if abs(analytic - numeric) > abs(worst[1] - worst[2]):
            worst = (int(place), analytic, numeric)
    place, analytic, numeric = worst
    entry = tuple(int(i) for i in np.unravel_index(place, dx.shape))
    return (
        f"{_name(f_backward)}: the gradient of argument {k}, shape {dx.shape}, is off by {error.relative:.1e} of its "
        f"norm along a random direction (analytic {error.analytic:.6g}, numeric {error.numeric:.6g}); of {len(places)} "
        f"entries looked at, {entry} is furthest off: analytic {analytic:.6g}, numeric {numeric:.6g}"
    )


def _differentiable(a: Any) -> bool:
    return hasattr(a, "dtype") and a.dtype.kind == "f"


def _kind(a: Any) -> str:
    return f"an array of {a.dtype}" if hasattr(a, "dtype") else f"a {type(a).__name__}"


def _name(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", repr(f))
