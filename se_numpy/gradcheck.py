"""Is this the gradient of that?  One checker for every pair f, f_backward: the library's own, and yours.

Along a random direction v the derivative of ⟨f(x), dy⟩ must be ⟨dx, v⟩. That takes a few calls of f, whatever its
size, and one wrong entry among thousands shows. dy is random too: with ones, batch norm's gradient is zero and a
mistake in it passes.

Everything is measured by its own size. An entry x moves by a share of |x|, so that it stays inside a domain that ends
at 0; the error is measured against ‖dx · x‖, the standard deviation of the derivative along v, which itself may cancel;
entries whose gradient is a thousandth of the largest, or less, are looked at again without the others.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np

from se_numpy.arrays import Array, array_module, to_host

TOLERANCE = 1e-6  # correct pairs stay below 1e-8 in float64, one entry of a thousand wrong by 1 % lies above 1e-5
STEPS = (1e-5, 1e-6, 1e-7)  # shares of an entry's size; the next where a kink lies within reach of the one before
LONG_STEP = 1e-3  # tried where rounding hides the gradient at the first of them
HIDING = 1e-3  # rounding above this share of a gradient's size could hide a mistake: a longer step is tried
LITTLE = 0.1  # rounding above this share leaves too little to see, and is warned of
BAND = 1e-3  # gradients smaller than the largest by this factor are compared among themselves, and so on
COARSE = 1e-12  # float64 leaves f's values more certain than this share, unless large numbers cancel in f
EPS = float(np.finfo(np.float64).eps)
EXPLAINED = 400  # so many entries of a wrong gradient are looked at one by one


class GradientError(AssertionError):
    """A backward pass that does not give the gradient of its forward pass; the message says where and by how much."""


class KinkError(ValueError):
    """No derivative to compare with: f has a kink (relu at 0, equal maxima) at the very point."""


class FunctionError(ValueError):
    """An f that no gradient can be checked against: random, writing into its arguments, in float32, or not finite."""


class HiddenGradientWarning(UserWarning):
    """Rounding of f's values hides the differences that a gradient makes: the check says little of it, or nothing."""


class Comparison(NamedTuple):
    """One argument's gradient along a random direction: how far off, relative to its norm, and both values."""

    argument: int
    relative: float
    analytic: float
    numeric: float


class Slope(NamedTuple):
    """d⟨f, dy⟩ numerically; how far from smooth; what rounding may do to it; the step; Σ|y dy| of what moved."""

    numeric: float
    kink: float
    noise: float
    h: float
    size: float


@dataclass(frozen=True)
class _Argument:
    """Argument ``k`` of f at the point: its gradient dx, the size of its entries, and f's values as it moves."""

    f: Callable[..., tuple[Array, ...]]
    args: tuple[Any, ...]
    ys: tuple[Array, ...]
    dys: tuple[Array, ...]
    k: int
    dx: Array
    scale: Array
    method: str

    def at(self, v: Array, t: complex) -> tuple[Array, ...]:
        """f's values where the argument is x + t · scale · v."""
        moved = [a + (t * self.scale) * v if i == self.k else a for i, a in enumerate(self.args)]
        return self.f(*moved)

    def changes(self, v: Array, t: float) -> list[Array]:
        """How far each of f's values moves: 0 where it does not depend on what moved, without any rounding."""
        return [y - here for y, here in zip(self.at(v, t), self.ys, strict=True)]

    def along(self, v: Array) -> float:
        """The derivative along scale · v that dx stands for."""
        return float((self.dx * self.scale * v).sum())

    def size(self, moved: Any = None) -> float:
        """Σ|y dy|, of which rounding takes its share; of the values that ``moved`` alone, if given."""
        parts = [abs(y * dy) for y, dy in zip(self.ys, self.dys, strict=True)]
        return float(sum((part if moved is None else part * moved[i]).sum() for i, part in enumerate(parts)))

    def usual(self) -> float:
        """The size of a gradient along a direction, dx's or that of a function that is neither steep nor flat."""
        steep = float(((self.dx * self.scale) ** 2).sum())
        return max(steep, float(sum((dy * dy).sum() for dy in self.dys) * (self.scale**2).mean())) ** 0.5

    def dot(self, ys: Any) -> float:
        """⟨f, dy⟩ for these values of f."""
        return float(sum((y * dy).sum() for y, dy in zip(ys, self.dys, strict=True)))


def check_backward(
    f: Callable[..., Any], f_backward: Callable[..., Any], *args: Any,
    seed: int = 0, tolerance: float = TOLERANCE, method: str = "central", **hyper: Any,
) -> list[Comparison]:  # fmt: skip
    """Compare ``f_backward(dy, *args, **hyper)`` with the derivative of ``f(*args, **hyper)``, argument by argument.

    Arrays of floating point numbers are raised to float64 and each needs a gradient, in order; integers, masks and None
    are passed on as they are. A function with several results gets as many dy. ``method`` is "central" (differences;
    kinks are detected and another direction and a smaller step are tried) or "complex" (a complex step, exact to 1e-15,
    for functions that are analytic and take complex arrays). Entries move by shares of their own size, those at 0 by
    shares of their neighbours'.

    Raises GradientError where a gradient is off by more than ``tolerance`` relative to its norm, has the wrong shape or
    dtype, is missing or not finite, or where f_backward is random or writes into its arguments; FunctionError for such
    an f, and for one that computes in float32; KinkError where there is no derivative; ValueError for an unknown
    method, or where f's values are so large that rounding hides a gradient of usual size.

    Warns of HiddenGradientWarning where rounding hides a gradient that is small beside f's values: what is returned
    says little of it, or nothing. Where it hides some entries alone, these are held to the tolerance of all together.
    """
    if method not in ("central", "complex"):
        raise ValueError(f"method is {method!r}; expected 'central' or 'complex'")
    rng = np.random.default_rng(seed)
    xp = array_module(*(a for a in args if hasattr(a, "dtype")))
    args = tuple(a.astype(np.float64) if _differentiable(a) else a for a in args)
    wanted = [k for k, a in enumerate(args) if _differentiable(a)]
    hyper = dict(zip(hyper, _own(hyper.values()), strict=True))

    def value(*args: Any) -> tuple[Array, ...]:
        y = f(*args, **hyper)
        return tuple(xp.array(part) for part in (y if isinstance(y, tuple) else (y,)))  # f may use its buffer again

    ys = _steady_values(f, value, args, hyper)
    dys = tuple(xp.asarray(rng.standard_normal(y.shape)) for y in ys)
    grads = _steady_gradients(f_backward, dys, args, hyper, len(wanted))
    errors = []
    for k, dx in zip(wanted, grads, strict=True):
        one = _Argument(value, args, ys, dys, k, dx, _sizes(args[k]), method)
        for places in _bands(one):
            error = _along_a_direction(one, places, rng, tolerance)
            if not error.relative <= tolerance:  # so that NaN does not pass
                raise GradientError(_explain(f_backward, one, places, error))
            if places is None:
                errors.append(error)
    return errors


# ------------------------------------------------------------------------------ functions that can be differentiated


def _steady_values(f, value, args, hyper: dict[str, Any]) -> tuple[Array, ...]:
    """f's values at the point, or FunctionError unless they come again, in float64, and the arguments stay."""
    given, kept = _own(args), _own(hyper.values())
    ys = value(*given)
    if where := _written(given, args, [*hyper.values()], kept, hyper):
        raise FunctionError(f"{_name(f)} writes into {where}; expected a function that leaves its arguments alone")
    for y in ys:
        if y.dtype.kind == "f" and y.dtype.itemsize < 8:
            raise FunctionError(
                f"{_name(f)} returned {y.dtype} for arguments in float64, too coarse for differences: expected "
                "float64, the dtype of the arguments"
            )
        if not np.isfinite(to_host(y)).all():
            raise FunctionError(f"{_name(f)} is not finite at this point; expected a point inside its domain")
    again = value(*_own(args))
    if (off := _apart(ys, again)) is not None:
        raise FunctionError(
            f"{_name(f)} is random: two calls with the same arguments differ by {off:.1e}; expected the same values: "
            "draw once, outside, and pass what was drawn as an argument"
        )
    return ys


def _steady_gradients(f_backward, dys, args, hyper: dict[str, Any], wanted: int) -> list[Array]:
    """The gradients, or GradientError unless they have the right form, come again, and the arguments stay."""
    name, given, kept = _name(f_backward), _own((*dys, *args)), _own(hyper.values())
    grads = f_backward(*given, **hyper)
    if grads is None:
        raise GradientError(f"{name} returned None; expected {wanted} gradients")
    grads = list(grads) if isinstance(grads, (tuple, list)) else [grads]
    places = [k for k, a in enumerate(args) if _differentiable(a)]
    if len(grads) != wanted:
        others = [f"argument {k} is {_kind(a)}" for k, a in enumerate(args) if k not in places]
        raise GradientError(
            f"{name} returned {len(grads)} gradients; expected {wanted}, one for each argument that "
            f"is an array of floating point numbers{' (' + ', '.join(others) + ')' if others else ''}"
        )
    if where := _written(given, (*dys, *args), [*hyper.values()], kept, hyper, upstream=len(dys)):
        raise GradientError(f"{name} writes into {where}, which others may share; expected it to write into a copy")
    for k, dx in zip(places, grads, strict=True):
        _check_form(name, k, dx, args[k])
    grads = _own(grads)
    again = f_backward(*_own((*dys, *args)), **hyper)
    again = list(again) if isinstance(again, (tuple, list)) else [again]
    if (off := _apart(grads, again)) is not None:
        raise GradientError(f"{name} is random: two calls with the same arguments differ by {off:.1e}")
    return grads


def _own(values: Any) -> list[Any]:
    return [a.copy() if hasattr(a, "dtype") else a for a in values]


def _written(given, args, hypers, kept, names, *, upstream: int = 0) -> str:
    """Which of the arguments changed, in words; "" if none did.  The first ``upstream`` are the dy."""
    for k, (a, b) in enumerate(zip(given, args, strict=True)):
        if hasattr(b, "dtype") and not _same(a, b):
            return f"argument {k - upstream}" if k >= upstream else "dy"
    return next((f"{name}" for name, a, b in zip(names, hypers, kept, strict=True)
                 if hasattr(b, "dtype") and not _same(a, b)), "")  # fmt: skip


def _same(a: Array, b: Array) -> bool:
    a, b = to_host(a), to_host(b)
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _apart(some: Any, others: Any) -> float | None:
    """How far two calls' arrays lie apart, if that is more than rounding in another order would do."""
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
        raise GradientError(f"{name}: the gradient of argument {k} has dtype {dx.dtype}; expected float64, as it has")
    if not np.isfinite(to_host(dx)).all():
        raise GradientError(f"{name}: the gradient of argument {k} is not finite everywhere")


# ------------------------------------------------------------------------------------------------------------ sizes


def _sizes(x: Array) -> Array:
    """|x| of each entry; for those at 0, the root mean square of the others."""
    sizes = np.abs(to_host(x))
    there = sizes > 0
    usual = np.sqrt(np.mean(sizes[there] ** 2)) if there.any() else 1.0
    return array_module(x).asarray(np.where(there, sizes, usual))


def _bands(one: _Argument) -> Iterator[np.ndarray | None]:
    """None, for all entries together; then those with small gradients, from one thousandth to the next."""
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
    """The derivative along random v, numerically and as ⟨dx, v⟩; steps shrink until no kink is in the way."""
    v, last = _direction(one, places, rng), 0.0
    norm = float(((one.dx * one.scale) ** 2 * (v != 0)).sum()) ** 0.5
    for h in STEPS:
        slope = _derivative(one, v, h, enough=-1.0 if places is None else tolerance * norm)
        if _hidden(slope, norm):
            slope = min(slope, _derivative(one, v, LONG_STEP), key=lambda s: (not _smooth(s, norm), s.noise))
        if one.method == "central" and slope.size == norm == 0 and _swallowed(one, v):
            slope = slope._replace(noise=8 * EPS * one.size() / LONG_STEP)
        error = _compare(one, v, slope, norm)
        bent = places is not None or slope.kink < last / 50  # which falls with h², where what a kink leaves stays
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
        _tell_what_is_hidden(one, places, slope, norm)
    return error


def _direction(one: _Argument, places: np.ndarray | None, rng: np.random.Generator) -> Array:
    """A random direction without small entries, in which a mistake could hide; 0 outside of ``places``."""
    v = rng.uniform(0.5, 1.5, one.dx.shape) * rng.choice([-1.0, 1.0], one.dx.shape)
    return array_module(one.dx).asarray(v if places is None else v * places)


def _derivative(one: _Argument, v: Array, h: float, *, enough: float = -1.0) -> Slope:
    """d⟨f, dy⟩ along scale · v: from steps h and h/2, so that the error falls with h⁴.

    Where f is smooth, halving h halves the difference of the two one-sided slopes and leaves their mean alone. A kink
    at the point keeps the difference, one within reach changes the mean. Where one step comes within ``enough`` of what
    dx says, the second is saved.
    """
    if one.method == "complex":
        parts = [y.imag for y in one.at(v, 1e-30j)]
        size = float(sum(abs(part * dy).sum() for part, dy in zip(parts, one.dys, strict=True))) / 1e-30
        return Slope(one.dot(parts) / 1e-30, 0.0, 8 * EPS * size, h, size)
    up, down = one.changes(v, h), one.changes(v, -h)
    size, whole = one.size([(a != 0) | (b != 0) for a, b in zip(up, down, strict=True)]), one.size()
    if 0 < abs(one.along(v)) * h < EPS * whole:  # too little to move f's values, which then look as if nothing could
        size = whole
    noise, U, D = 8 * EPS * size / h, one.dot(up), one.dot(down)
    mean, bend = (U - D) / (2 * h), (U + D) / h
    if abs(mean - one.along(v)) <= enough:
        return Slope(mean, 0.0, noise, h, size)
    U, D = one.dot(one.changes(v, h / 2)), one.dot(one.changes(v, -h / 2))
    half_mean, half_bend = (U - D) / h, (U + D) / (h / 2)
    return Slope((4 * half_mean - mean) / 3, max(abs(mean - half_mean), abs(bend - 2 * half_bend)), noise, h, size)


def _compare(one: _Argument, v: Array, slope: Slope, norm: float) -> Comparison:
    """Relative to dx's norm along v; what rounding may have done is tolerable, however small the norm."""
    analytic = one.along(v)
    off, size = abs(analytic - slope.numeric), max(norm, abs(slope.numeric), 1e-300)
    tolerable = max(slope.noise, 64 * EPS * one.usual())  # dx has rounding too: 1 - tanh² far out has few digits
    if off <= tolerable:
        size = max(size, tolerable / TOLERANCE)
    return Comparison(one.k, off / size, analytic, slope.numeric)


def _smooth(slope: Slope, norm: float) -> bool:
    return slope.kink <= TOLERANCE / 4 * max(norm, abs(slope.numeric)) + slope.noise


def _hidden(slope: Slope, norm: float) -> bool:
    return slope.noise > HIDING * max(norm, abs(slope.numeric))


# --------------------------------------------------------------------------------------- where differences say nothing


def _raise_no_derivative(one: _Argument, slope: Slope) -> NoReturn:
    near = f"within {STEPS[-1]:g} of the point"
    if not np.isfinite(slope.numeric):
        raise FunctionError(f"argument {one.k}: f is not finite {near}; expected a point inside its domain")
    raise KinkError(
        f"argument {one.k}: f has no derivative here (a kink as of relu at 0, or of equal maxima, {near}); move the "
        "point a little"
    )


def _refuse_coarse(one: _Argument, v: Array, slope: Slope, miss: float) -> float:
    """The rounding in a slope, measured; FunctionError if it is more than float64's and explains what is amiss."""
    if one.method == "complex":
        return 0.0
    if _in_float32(one, v):
        raise FunctionError(
            f"argument {one.k}: f rounds its values to float32, too coarse for differences; expected float64 "
            "throughout: compute in the dtype of the arguments"
        )
    far, near = _rounding(one, v, STEPS[0]), _rounding(one, v, STEPS[-1])
    if not far <= 30 * near:  # a kink: what it leaves shrinks with the step
        return 0.0
    rounding = 10 * far / slope.h
    if miss <= rounding and near > COARSE * slope.size:
        raise FunctionError(
            f"argument {one.k}: f's values are certain to {near / slope.size:.0e} of their size alone, too coarse for "
            "differences; expected float64 throughout, without large numbers that cancel"
        )
    return rounding


def _in_float32(one: _Argument, v: Array) -> bool:
    """Whether all values that move are numbers of float32, as float64's are by chance one time in 2²⁹."""
    for t in (STEPS[0], 10 * LONG_STEP):
        ys = [(to_host(y), to_host(here)) for y, here in zip(one.at(v, t), one.ys, strict=True)]
        moved = np.concatenate([y[np.isfinite(y) & (y != here)] for y, here in ys] or [np.zeros(0)])
        if moved.size:
            return bool((moved == moved.astype(np.float32)).all() and (moved != np.rint(moved)).any())
    return False


def _swallowed(one: _Argument, v: Array) -> bool:
    """Whether f does depend on the argument, but by less than rounding takes away from a step."""
    far = [abs(change) for change in one.changes(v, 0.1)]
    moved = sum(float((change * abs(dy)).sum()) for change, dy in zip(far, one.dys, strict=True))
    return 0 < moved * STEPS[0] / 0.1 < EPS * one.size()


def _rounding(one: _Argument, v: Array, h: float) -> float:
    """The standard deviation of ⟨f, dy⟩'s rounding: what fourth differences leave of nine values, h apart."""
    values = [one.dot(one.changes(v, t * h)) for t in range(-4, 5)]
    return float(np.sqrt(np.mean(np.diff(values, 4) ** 2) / 70))  # 70: fourth differences of noise of variance 1


def _tell_what_is_hidden(one: _Argument, places: np.ndarray | None, slope: Slope, norm: float) -> None:
    """Warn, or raise ValueError where even a gradient that is not small beside dy could not be seen."""
    number = one.dx.size if places is None else int(places.sum())
    whole = float(((one.dx * one.scale) ** 2).sum()) ** 0.5
    if slope.noise <= LITTLE * norm:
        return
    if places is not None and not TOLERANCE * whole < slope.noise <= LITTLE * whole:
        return  # a mistake in the small entries is within the tolerance of the whole; or all is hidden, and was told
    if places is None and slope.noise > HIDING * max(abs(slope.numeric), one.usual()):
        raise ValueError(
            f"argument {one.k}: rounding of f's large values hides a gradient of this size ({norm:.3g}, within "
            f"{slope.noise:.1g}); take a constant off f, or use method='complex'"
        )
    which = "the gradient" if places is None else f"the gradient of {number} of {one.dx.size} entries"
    warnings.warn(
        f"argument {one.k}: rounding of f's values hides {which} ({norm:.1g} beside {slope.noise:.1g}, times the size "
        "of an entry), so the check says little of it, or nothing; take off f what does not depend on it, or use "
        "method='complex'",
        HiddenGradientWarning, stacklevel=4,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------ explanations


def _explain(f_backward, one: _Argument, places: np.ndarray | None, error: Comparison) -> str:
    """Which entry is furthest off, found by moving entries one at a time."""
    xp, shape, scale = array_module(one.dx), one.dx.shape, to_host(one.scale).ravel()
    looked_at = np.arange(one.dx.size) if places is None else np.flatnonzero(places)
    among = "" if places is None else f", among {looked_at.size} entries of a size,"
    if looked_at.size > EXPLAINED:
        looked_at = np.random.default_rng(0).choice(looked_at, EXPLAINED, replace=False)
    worst, furthest = (0, 0.0, 0.0), 0.0
    for place in looked_at:
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
        f"{looked_at.size} entries looked at, {entry} is furthest off: analytic {analytic:.6g}, numeric {numeric:.6g}"
    )


def _differentiable(a: Any) -> bool:
    return hasattr(a, "dtype") and a.dtype.kind == "f"


def _kind(a: Any) -> str:
    return f"an array of {a.dtype}" if hasattr(a, "dtype") else f"a {type(a).__name__}"


def _name(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", repr(f))
