"""Gradient checking: compare f_backward with the numerical derivative of f.  It works for any pair of functions.

Along a random direction v, the derivative of ⟨f(x), dy⟩ must equal ⟨dx, v⟩. This takes a few calls of f, whatever the
size of x, and detects one wrong entry among thousands. dy is random too: with dy = 1, the gradient of batch norm is
zero, and a mistake in it would pass.

All comparisons are relative. An entry x moves by a fraction of |x|, so that it stays inside a domain that ends at 0.
The error is measured relative to ‖dx · x‖, the standard deviation of the derivative along v, because the derivative
itself may cancel. Entries whose gradient is at most a thousandth of the largest are compared again on their own.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np

from se_numpy.arrays import Array, array_module, to_host

TOLERANCE = 1e-6  # correct pairs stay below 1e-8 in float64; one entry in a thousand wrong by 1 % gives more than 1e-5
STEPS = (1e-5, 1e-6, 1e-7)  # fractions of an entry; the next one is used if a kink is within reach of the previous one
LONG_STEP = 1e-3  # tried if rounding hides the gradient at the first step
HIDING = 1e-3  # rounding above this fraction of a gradient could hide a mistake, so a longer step is tried
LITTLE = 0.1  # rounding above this fraction of a gradient leaves the check inconclusive and causes a warning
BAND = 1e-3  # gradients below this fraction of the largest are compared among themselves, and so on
COARSE = 1e-12  # float64 values are more precise than this fraction, unless large numbers cancel in f
EPS = float(np.finfo(np.float64).eps)
EXPLAINED = 400  # at most this many entries of a wrong gradient are examined one by one

Function = Callable[..., Any]


class GradientError(AssertionError):
    """A backward pass that does not return the gradient of its forward pass; the message says where and by how much."""


class KinkError(ValueError):
    """A point at which f has no derivative, because of a kink such as relu at 0 or equal maxima."""


class FunctionError(ValueError):
    """A function whose gradient cannot be checked: random, modifying its arguments, using float32, or not finite."""


class HiddenGradientWarning(UserWarning):
    """A warning that the rounding of f hides the effect of a gradient, so that the check is inconclusive."""


class Comparison(NamedTuple):
    """The derivative with respect to one argument along a random direction: its relative error and both values."""

    argument: int
    relative: float
    analytic: float
    numeric: float


class Slope(NamedTuple):
    """A numerical d⟨f, dy⟩, its deviation from smoothness, rounding error and step, and Σ|y dy| of changed values."""

    numeric: float
    kink: float
    noise: float
    h: float
    size: float


@dataclass(frozen=True)
class _Argument:
    """Argument ``k`` of f at the point: its gradient dx, the size of its entries, and the values of f as it moves."""

    f: Callable[..., tuple[Array, ...]]
    args: tuple[Any, ...]
    ys: tuple[Array, ...]
    dys: tuple[Array, ...]
    k: int
    dx: Array
    scale: Array
    method: str

    def at(self, v: Array, t: complex) -> tuple[Array, ...]:
        """Return the values of f at x + t · scale · v."""
        moved = [a + (t * self.scale) * v if i == self.k else a for i, a in enumerate(self.args)]
        return self.f(*moved)

    def changes(self, v: Array, t: float) -> list[Array]:
        """Return the change in each value of f, which is exactly 0 for values that do not depend on the argument."""
        return [y - here for y, here in zip(self.at(v, t), self.ys, strict=True)]

    def along(self, v: Array) -> float:
        """Return the derivative along scale · v according to dx."""
        return float((self.dx * self.scale * v).sum())

    def size(self, moved: Any = None) -> float:
        """Return Σ|y dy| over all values, or over those marked in ``moved``; rounding error is proportional to it."""
        parts = [abs(y * dy) for y, dy in zip(self.ys, self.dys, strict=True)]
        return float(sum((part if moved is None else part * moved[i]).sum() for i, part in enumerate(parts)))

    def usual(self) -> float:
        """Return the norm of dx or, if it is larger, that of the gradient of a function with slope 1."""
        steep = float(((self.dx * self.scale) ** 2).sum())
        flat = float(sum((dy * dy).sum() for dy in self.dys) * (self.scale**2).mean())
        return math.sqrt(max(steep, flat))

    def dot(self, ys: Any) -> float:
        """Return ⟨f, dy⟩ for these values of f."""
        return float(sum((y * dy).sum() for y, dy in zip(ys, self.dys, strict=True)))


def check_backward(
    f: Function, f_backward: Function, *args: Any,
    seed: int = 0, tolerance: float = TOLERANCE, method: str = "central", **hyper: Any,
) -> list[Comparison]:  # fmt: skip
    """Compare ``f_backward(dy, *args, **hyper)`` with the derivative of ``f(*args, **hyper)`` for each argument.

    Floating-point arrays are converted to float64, and f_backward must return one gradient for each of them, in order.
    Integers, masks and None are passed unchanged. If f returns several arrays, f_backward is given one dy for each.
    ``method`` is "central" (central differences; kinks are detected, and smaller steps are tried) or "complex" (a
    complex step, exact to 1e-15, for analytic functions that accept complex arrays). Each entry moves by a fraction of
    its own size. An entry of 0 moves by a fraction of the root mean square of the others.

    Returns
    -------
    list of Comparison
        One for each floating-point array.

    Raises
    ------
    GradientError
        If a gradient is off by more than ``tolerance`` relative to its norm, is missing or not finite, or has the wrong
        shape or dtype; or if f_backward is random or modifies its arguments.
    FunctionError
        If f is random, modifies its arguments, computes in float32 or is not finite.
    KinkError
        If f has no derivative at the point.
    ValueError
        If the method is unknown, or if f is so large that rounding hides a gradient of typical size.

    Warns
    -----
    HiddenGradientWarning
        If rounding hides a gradient that is small compared with the values of f, so that the comparison is
        inconclusive. If it hides only some entries, the tolerance for these is relative to the whole gradient.
    """
    if method not in ("central", "complex"):
        raise ValueError(f"method is {method!r}; expected 'central' or 'complex'")
    rng = np.random.default_rng(seed)
    xp = array_module(*(a for a in args if hasattr(a, "dtype")))
    args = tuple(a.astype(np.float64) if _differentiable(a) else a for a in args)
    wanted = [k for k, a in enumerate(args) if _differentiable(a)]
    hyper = dict(zip(hyper, _copies(hyper.values()), strict=True))

    def value(*args: Any) -> tuple[Array, ...]:
        y = f(*args, **hyper)
        return tuple(xp.array(part) for part in (y if isinstance(y, tuple) else (y,)))  # f may reuse its buffer

    ys = _steady_values(f, value, args, hyper)
    dys = tuple(xp.asarray(rng.standard_normal(y.shape)) for y in ys)
    grads = _steady_gradients(f_backward, dys, args, hyper, len(wanted))
    errors = []
    for k, dx in zip(wanted, grads, strict=True):
        one = _Argument(value, args, ys, dys, k, dx, _sizes(args[k]), method)
        for places in _bands(one):
            error = _along_a_direction(one, places, rng, tolerance)
            if not error.relative <= tolerance:  # written so that NaN fails
                raise GradientError(_explain(f_backward, one, places, error))
            if places is None:
                errors.append(error)
    return errors


# --------------------------------------------------------------------------------------- checks of f and f_backward


def _steady_values(f: Function, value: Function, args: tuple[Any, ...], hyper: dict[str, Any]) -> tuple[Array, ...]:
    """Return the values of f at the point after checking that they are float64, finite and reproducible."""
    given, kept = _copies(args), _copies(hyper.values())
    ys: tuple[Array, ...] = value(*given)
    if where := _modified(given, args, [*hyper.values()], kept, hyper):
        raise FunctionError(f"{_name(f)} modifies {where}; expected a function that does not modify its arguments")
    for y in ys:
        if y.dtype.kind == "f" and y.dtype.itemsize < 8:
            raise FunctionError(
                f"{_name(f)} returned {y.dtype} for float64 arguments, which is too coarse for differences; expected "
                "float64"
            )
        if not np.isfinite(to_host(y)).all():
            raise FunctionError(f"{_name(f)} is not finite at this point; expected a point inside its domain")
    again = value(*_copies(args))
    if (off := _difference(ys, again)) is not None:
        raise FunctionError(
            f"{_name(f)} is random: two calls with the same arguments differ by {off:.1e}; draw random numbers "
            "outside the function and pass them as an argument"
        )
    return ys


def _steady_gradients(
    f_backward: Function, dys: tuple[Array, ...], args: tuple[Any, ...], hyper: dict[str, Any], wanted: int
) -> list[Array]:
    """Return the gradients after checking that their number and form are right and that they are reproducible."""
    name, given, kept = _name(f_backward), _copies((*dys, *args)), _copies(hyper.values())
    grads = f_backward(*given, **hyper)
    if grads is None:
        raise GradientError(f"{name} returned None; expected {_gradients(wanted)}")
    grads = list(grads) if isinstance(grads, (tuple, list)) else [grads]
    places = [k for k, a in enumerate(args) if _differentiable(a)]
    if len(grads) != wanted:
        others = [f"argument {k} is {_kind(a)}" for k, a in enumerate(args) if k not in places]
        raise GradientError(
            f"{name} returned {_gradients(len(grads))}; expected {wanted}, one for each floating-point array"
            f"{' (' + ', '.join(others) + ')' if others else ''}"
        )
    if where := _modified(given, (*dys, *args), [*hyper.values()], kept, hyper, upstream=len(dys)):
        raise GradientError(f"{name} modifies {where}, which may be used elsewhere; modify a copy instead")
    for k, dx in zip(places, grads, strict=True):
        _check_form(name, k, dx, args[k])
    grads = _copies(grads)
    again = f_backward(*_copies((*dys, *args)), **hyper)
    again = list(again) if isinstance(again, (tuple, list)) else [again]
    if (off := _difference(grads, again)) is not None:
        raise GradientError(f"{name} is random: two calls with the same arguments differ by {off:.1e}")
    return grads


def _copies(values: Any) -> list[Any]:
    return [a.copy() if hasattr(a, "dtype") else a for a in values]


def _modified(
    given: Sequence[Any], args: Sequence[Any], hypers: list[Any], kept: list[Any], names: Iterable[str], *,
    upstream: int = 0,
) -> str:  # fmt: skip
    """Return the name of the first argument that has changed, or "" if none has.  The first ``upstream`` are the dy."""
    for k, (a, b) in enumerate(zip(given, args, strict=True)):
        if hasattr(b, "dtype") and not _same(a, b):
            return f"argument {k - upstream}" if k >= upstream else "dy"
    return next((f"{name}" for name, a, b in zip(names, hypers, kept, strict=True)
                 if hasattr(b, "dtype") and not _same(a, b)), "")  # fmt: skip


def _same(a: Array, b: Array) -> bool:
    a, b = to_host(a), to_host(b)
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _difference(some: Any, others: Any) -> float | None:
    """Return the largest difference between the arrays of two calls, or None if rounding explains it."""
    for a, b in zip(some, others, strict=True):
        a, b = to_host(a), to_host(b)
        off = np.abs(a - b).max(initial=0)
        if not off <= 64 * EPS * np.abs(a).max(initial=0):
            return float(off)
    return None


def _check_form(name: str, k: int, dx: Any, x: Array) -> None:
    if not hasattr(dx, "dtype") or dx.shape != x.shape:
        found = f"shape {dx.shape}" if hasattr(dx, "dtype") else f"type {type(dx).__name__}"
        raise GradientError(f"{name}: the gradient of argument {k} has {found}; expected an array of shape {x.shape}")
    if dx.dtype != np.float64:
        raise GradientError(f"{name}: the gradient of argument {k} has dtype {dx.dtype}; expected float64")
    if not np.isfinite(to_host(dx)).all():
        raise GradientError(f"{name}: the gradient of argument {k} is not finite everywhere")


# ------------------------------------------------------------------------------------------------------------ sizes


def _sizes(x: Array) -> Array:
    """Return |x| for each entry or, where it is 0, the root mean square of the other entries."""
    sizes = np.abs(to_host(x))
    nonzero = sizes > 0
    rms = np.sqrt(np.mean(sizes[nonzero] ** 2)) if nonzero.any() else 1.0
    return array_module(x).asarray(np.where(nonzero, sizes, rms))


def _bands(one: _Argument) -> Iterator[np.ndarray | None]:
    """Yield None, for all entries together, and then a mask for each band of small gradients (``BAND``)."""
    yield None
    claims = np.abs(to_host(one.dx)) * to_host(one.scale)
    high = BAND * claims.max(initial=0)
    for low in (BAND * high, BAND**2 * high, BAND**3 * high, 0.0):
        places = (claims < high) & (claims >= low)
        if places.any():
            yield places
        high = low


# ------------------------------------------------------------------------------------------------------- derivatives


def _along_a_direction(
    one: _Argument, places: np.ndarray | None, rng: np.random.Generator, tolerance: float
) -> Comparison:
    """Compare the numerical derivative along a random v with ⟨dx, v⟩, using smaller steps near a kink."""
    v, last = _direction(one, places, rng), 0.0
    norm = float(((one.dx * one.scale) ** 2 * (v != 0)).sum()) ** 0.5
    for h in STEPS:
        slope = _derivative(one, v, h, enough=-1.0 if places is None else tolerance * norm)
        if _hidden(slope, norm):
            slope = min(slope, _derivative(one, v, LONG_STEP), key=lambda s: (not _smooth(s, norm), s.noise))
        if one.method == "central" and slope.size == norm == 0 and _swallowed(one, v):
            slope = slope._replace(noise=8 * EPS * one.size() / LONG_STEP)
        error = _compare(one, v, slope, norm)
        bent = places is not None or slope.kink < last / 50  # curvature falls with h², kinks do not
        if _smooth(slope, norm) or (bent and error.relative <= tolerance):
            break
        last = slope.kink
    else:
        if not slope.kink <= _refuse_coarse(one, v, slope, slope.kink):
            _raise_no_derivative(one, slope)
    if not error.relative <= tolerance:
        rounding = _refuse_coarse(one, v, slope, abs(error.analytic - error.numeric))
        slope = slope._replace(noise=max(slope.noise, rounding))
        error = _compare(one, v, slope, norm)
    if _hidden(slope, norm) and error.relative <= tolerance:
        _report_hidden_gradient(one, places, slope, norm)
    return error


def _direction(one: _Argument, places: np.ndarray | None, rng: np.random.Generator) -> Array:
    """Return a random direction that is 0 outside ``places`` and has no small entries, where a mistake could hide."""
    v = rng.uniform(0.5, 1.5, one.dx.shape) * rng.choice([-1.0, 1.0], one.dx.shape)
    return array_module(one.dx).asarray(v if places is None else v * places)


def _derivative(one: _Argument, v: Array, h: float, *, enough: float = -1.0) -> Slope:
    """Return d⟨f, dy⟩ along scale · v from the steps h and h/2, so that the error falls with h⁴.

    If f is smooth, halving h halves the difference of the two one-sided slopes and does not change their mean. A kink
    at the point preserves the difference, and a kink within reach changes the mean. The second step is skipped if the
    first agrees with dx to within ``enough``.
    """
    if one.method == "complex":
        parts = [y.imag for y in one.at(v, 1e-30j)]
        size = float(sum(abs(part * dy).sum() for part, dy in zip(parts, one.dys, strict=True))) / 1e-30
        return Slope(one.dot(parts) / 1e-30, 0.0, 8 * EPS * size, h, size)
    up, down = one.changes(v, h), one.changes(v, -h)
    size, whole = one.size([(a != 0) | (b != 0) for a, b in zip(up, down, strict=True)]), one.size()
    if 0 < abs(one.along(v)) * h < EPS * whole:  # the step is too small to change f, which then seems constant
        size = whole
    noise, U, D = 8 * EPS * size / h, one.dot(up), one.dot(down)
    mean, bend = (U - D) / (2 * h), (U + D) / h
    if abs(mean - one.along(v)) <= enough:
        return Slope(mean, 0.0, noise, h, size)
    U, D = one.dot(one.changes(v, h / 2)), one.dot(one.changes(v, -h / 2))
    half_mean, half_bend = (U - D) / h, (U + D) / (h / 2)
    return Slope((4 * half_mean - mean) / 3, max(abs(mean - half_mean), abs(bend - 2 * half_bend)), noise, h, size)


def _compare(one: _Argument, v: Array, slope: Slope, norm: float) -> Comparison:
    """Compare dx with a slope, relative to the norm of dx along v; an error within rounding is always tolerated."""
    analytic = one.along(v)
    off, size = abs(analytic - slope.numeric), max(norm, abs(slope.numeric), 1e-300)
    tolerable = max(slope.noise, 64 * EPS * one.usual())  # dx is rounded too, for example 1 - tanh² far from 0
    if off <= tolerable:
        size = max(size, tolerable / TOLERANCE)
    return Comparison(one.k, off / size, analytic, slope.numeric)


def _smooth(slope: Slope, norm: float) -> bool:
    return slope.kink <= TOLERANCE / 4 * max(norm, abs(slope.numeric)) + slope.noise


def _hidden(slope: Slope, norm: float) -> bool:
    return slope.noise > HIDING * max(norm, abs(slope.numeric))


# ------------------------------------------------------------------------------- where differences are inconclusive


def _raise_no_derivative(one: _Argument, slope: Slope) -> NoReturn:
    near = f"within {STEPS[-1]:g} of the point"
    if not np.isfinite(slope.numeric):
        raise FunctionError(f"argument {one.k}: f is not finite {near}; expected a point inside its domain")
    raise KinkError(
        f"argument {one.k}: f has no derivative here (a kink, such as relu at 0 or equal maxima, {near}); move the "
        "point slightly"
    )


def _refuse_coarse(one: _Argument, v: Array, slope: Slope, miss: float) -> float:
    """Measure the rounding error of a slope, or raise FunctionError if f is coarse enough to explain ``miss``."""
    if one.method == "complex":
        return 0.0
    if _in_float32(one, v):
        raise FunctionError(
            f"argument {one.k}: f rounds its values to float32, which is too coarse for differences; compute in "
            "float64 throughout"
        )
    far, near = _rounding(one, v, STEPS[0]), _rounding(one, v, STEPS[-1])
    if not far <= 30 * near:  # a kink, whose effect shrinks with the step
        return 0.0
    rounding = 10 * far / slope.h
    if miss <= rounding and near > COARSE * slope.size:
        raise FunctionError(
            f"argument {one.k}: the values of f are precise only to {near / slope.size:.0e} of their size, which is "
            "too coarse for differences; compute in float64 throughout and avoid large numbers that cancel"
        )
    return rounding


def _in_float32(one: _Argument, v: Array) -> bool:
    """Return True if all values that change fit float32 exactly; one in 2²⁹ float64 values does so by chance."""
    for t in (STEPS[0], 10 * LONG_STEP):
        ys = [(to_host(y), to_host(here)) for y, here in zip(one.at(v, t), one.ys, strict=True)]
        moved = np.concatenate([y[np.isfinite(y) & (y != here)] for y, here in ys] or [np.zeros(0)])
        if moved.size:
            return bool((moved == moved.astype(np.float32)).all() and (moved != np.rint(moved)).any())
    return False


def _swallowed(one: _Argument, v: Array) -> bool:
    """Return True if f depends on the argument but changes by less than its rounding error in one step."""
    far = [abs(change) for change in one.changes(v, 0.1)]
    moved = sum(float((change * abs(dy)).sum()) for change, dy in zip(far, one.dys, strict=True))
    return 0 < moved * STEPS[0] / 0.1 < EPS * one.size()


def _rounding(one: _Argument, v: Array, h: float) -> float:
    """Estimate the standard deviation of ⟨f, dy⟩'s rounding error from fourth differences of nine values h apart."""
    values = [one.dot(one.changes(v, t * h)) for t in range(-4, 5)]
    return float(np.sqrt(np.mean(np.diff(values, 4) ** 2) / 70))  # 70: the variance of fourth differences of unit noise


def _report_hidden_gradient(one: _Argument, places: np.ndarray | None, slope: Slope, norm: float) -> None:
    """Warn that a gradient is hidden, or raise ValueError if even a gradient of typical size would be."""
    number = one.dx.size if places is None else int(places.sum())
    whole = float(((one.dx * one.scale) ** 2).sum()) ** 0.5
    if slope.noise <= LITTLE * norm:
        return
    if places is not None and not TOLERANCE * whole < slope.noise <= LITTLE * whole:
        return  # within the tolerance of the whole gradient, or already reported with it
    if places is None and slope.noise > HIDING * max(abs(slope.numeric), one.usual()):
        raise ValueError(
            f"argument {one.k}: rounding of the large values of f hides a gradient of this size ({norm:.3g}, with a "
            f"rounding error of {slope.noise:.1g}); subtract a constant from f, or use method='complex'"
        )
    which = "the gradient" if places is None else f"the gradient of {number} of {one.dx.size} entries"
    warnings.warn(
        f"argument {one.k}: rounding of the values of f hides {which} ({norm:.1g} with a rounding error of "
        f"{slope.noise:.1g}, both multiplied by the size of an entry), so the check is inconclusive; subtract from f "
        "the terms that do not depend on the argument, or use method='complex'",
        HiddenGradientWarning, stacklevel=4,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------ explanations


def _explain(f_backward: Function, one: _Argument, places: np.ndarray | None, error: Comparison) -> str:
    """Return a message that names the entry that is furthest off, found by moving entries one at a time."""
    xp, shape, scale = array_module(one.dx), one.dx.shape, to_host(one.scale).ravel()
    examined = np.arange(one.dx.size) if places is None else np.flatnonzero(places)
    among = "" if places is None else f", among {examined.size} entries of similar size,"
    if examined.size > EXPLAINED:
        examined = np.random.default_rng(0).choice(examined, EXPLAINED, replace=False)
    worst, furthest = (0, 0.0, 0.0), 0.0
    for place in examined:
        v = np.zeros(one.dx.size)
        v[place] = 1
        numeric = _derivative(one, xp.asarray(v.reshape(shape)), STEPS[0]).numeric / scale[place]
        analytic = float(to_host(one.dx).ravel()[place])
        if (off := abs(analytic - numeric) * scale[place]) > furthest:
            worst, furthest = (int(place), analytic, numeric), off
    place, analytic, numeric = worst
    entry = tuple(int(i) for i in np.unravel_index(place, shape))
    return (
        f"{_name(f_backward)}: the gradient of argument {one.k}, shape {shape}, is off by {error.relative:.1e} of its "
        f"norm along a random direction{among} (analytic {error.analytic:.6g}, numeric {error.numeric:.6g}); of "
        f"{examined.size} entries examined, {entry} is furthest off: analytic {analytic:.6g}, numeric {numeric:.6g}"
    )


def _differentiable(a: Any) -> bool:
    return hasattr(a, "dtype") and bool(a.dtype.kind == "f")


def _gradients(number: int) -> str:
    return f"{number} gradient{'' if number == 1 else 's'}"


def _kind(a: Any) -> str:
    return f"an array of {a.dtype}" if hasattr(a, "dtype") else f"a {type(a).__name__}"


def _name(f: Function) -> str:
    return str(getattr(f, "__name__", repr(f)))
