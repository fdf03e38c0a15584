"""Stochastic gradient descent and its schedules.  The only code that writes to parameters.

A step works on the flat vectors that all parameters and all gradients live in, so its cost is a few passes over memory
however many tensors there are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Any

from se_numpy.arrays import Array
from se_numpy.engine.cuda import cuda_kernel
from se_numpy.shapes import check, whole

Schedule = Callable[[int], float]  # step, counted from 0 -> learning rate; after the last step it stays what it was


@dataclass(frozen=True)
class SGD:
    """v ← μ v + (g + λ w);  w ← w - η v, or with Nesterov  w ← w - η (g + λ w + μ v).

    μ ``momentum``, λ ``weight_decay`` (on all parameters alike), η the learning rate of the step. PyTorch's form: the
    learning rate stands outside the velocity (Sutskever et al., ICML 2013, have it inside).
    """

    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = True

    def step(self, w: Array, g: Array, v: Array, lr: float) -> None:
        """One step, in place: w, g, v (P,) are parameters, gradients and velocity; g is overwritten.

        Raises ValueError if their shapes differ, TypeError for something that is not an array of float32 or float64.
        """
        for name, vector in (("w", w), ("g", g), ("v", v)):
            check(f"{name}: ...", vector)
        if not w.shape == g.shape == v.shape:
            raise ValueError(f"w, g, v have shapes {w.shape}, {g.shape}, {v.shape}; expected the same")
        _descend(g, lr, self.momentum, self.weight_decay, int(self.nesterov), w, v)


@cuda_kernel("sgd_step")
def _descend(g: Array, lr: float, momentum: float, decay: float, nesterov: int, w: Array, v: Array) -> None:
    if decay:
        g += decay * w
    v *= momentum
    v += g
    if nesterov:
        g += momentum * v
        w -= lr * g
    else:
        w -= lr * v


def constant(lr: float, steps: int) -> Schedule:
    """The same learning rate at every step.

    Raises, as every schedule, ValueError or TypeError unless lr is a number of at least 0 and steps a whole number of
    at least 1; the schedule itself refuses a step that is not a whole number of at least 0.
    """
    return _held(lr, steps, lambda step: lr)


def step(lr: float, steps: int, *, milestones: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1) -> Schedule:
    """lr, times ``factor`` at each milestone, a share of all steps: half and three quarters, as in He et al., 2016.

    Raises as ``constant``, also unless ``factor`` and the milestones are numbers of at least 0.
    """
    for name, value in (("factor", factor), *((f"milestones[{i}]", m) for i, m in enumerate(milestones))):
        _check_number(name, value)
    return _held(lr, steps, lambda step: lr * factor ** sum(step >= m * steps for m in milestones))


def cosine(lr: float, steps: int) -> Schedule:
    """lr · (1 + cos(π t)) / 2, t from 0 to 1 over all steps (Loshchilov and Hutter, ICLR 2017).

    Raises as ``constant``.
    """
    return _held(lr, steps, lambda step: lr * (1 + cos(pi * step / steps)) / 2)


def one_cycle(lr: float, steps: int, *, warmup: float = 0.25) -> Schedule:
    """Linearly up from lr/25 to lr over the share ``warmup`` of the steps, then linearly down towards 0.

    The one-cycle policy of Smith and Topin, 2018, in the triangular form.
    Raises as ``constant``, also unless 0 <= warmup <= 1.
    """
    _check_number("warmup", warmup, most=1)
    steps = whole("steps", steps)
    peak = max(1.0, warmup * steps)

    def at(step: int) -> float:
        up = 1 / 25 + (1 - 1 / 25) * step / peak
        down = (steps - step) / max(1.0, steps - peak)
        return lr * min(up, down)

    return _held(lr, steps, at)


def _held(lr: float, steps: int, at: Schedule) -> Schedule:
    """The schedule ``at``, which after its last step stays at the value it had there."""
    last = whole("steps", steps) - 1
    _check_number("lr", lr)
    return lambda step: at(min(whole("step", step, least=0), last))


def _check_number(name: str, value: Any, *, most: float = float("inf")) -> None:
    try:
        fits = 0 <= value <= most and isfinite(value)
    except (TypeError, ValueError):  # text, or an array of several numbers
        raise TypeError(f"{name} is {value!r}; expected a number") from None
    if not fits:
        upper = "" if most == float("inf") else f" and at most {most:g}"
        raise ValueError(f"{name} is {value}; expected a number of at least 0{upper}")


SCHEDULES: dict[str, Callable[[float, int], Schedule]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "one-cycle": one_cycle,
}
