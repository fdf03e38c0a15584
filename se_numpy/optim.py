"""Stochastic gradient descent and learning rate schedules.

A step works on flat vectors of all parameters and gradients, so its cost, a few passes over memory, does not depend on
the number of tensors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Any

from se_numpy.arrays import Array
from se_numpy.engine.cuda import cuda_kernel
from se_numpy.shapes import check, flag, is_real, whole

Schedule = Callable[[int], float]  # step, from 0 -> learning rate; constant after the last step


@dataclass(frozen=True)
class SGD:
    """v ← μ v + (g + λ w);  w ← w - η v, or with Nesterov momentum  w ← w - η (g + λ w + μ v).

    μ is ``momentum``, λ ``weight_decay`` (the same for all parameters) and η the learning rate. As in PyTorch, the
    learning rate is not part of the velocity; in Sutskever et al., ICML 2013, it is.
    """

    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = True

    def __post_init__(self) -> None:
        for name, most in (("momentum", 1.0), ("weight_decay", float("inf"))):
            value = getattr(self, name)
            if not (is_real(value) and 0 <= value < most):
                raise ValueError(f"{name} of SGD is {value!r}; expected a number, at least 0 and less than {most:g}")
        flag("nesterov of SGD", self.nesterov)

    def step(self, w: Array, g: Array, v: Array, lr: float) -> None:
        """Update the parameters w (P,) and the velocity v (P,) in place with the gradient g (P,); g is overwritten.

        Raises
        ------
        ValueError
            If the shapes differ.
        TypeError
            If an argument is not a float32 or float64 array.
        """
        for name, vector in (("w", w), ("g", g), ("v", v)):
            check(f"{name}: ...", vector)
        if not w.shape == g.shape == v.shape:
            raise ValueError(f"w, g, v have shapes {w.shape}, {g.shape}, {v.shape}; expected equal shapes")
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
    """Return a schedule with the same learning rate at every step.

    Raises
    ------
    ValueError, TypeError
        Unless lr is a number >= 0 and steps an integer >= 1. Every schedule raises the same errors when it is called
        with a step that is not an integer >= 0.
    """
    return _constant_at_end(lr, steps, lambda step: lr)


def step(lr: float, steps: int, *, milestones: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1) -> Schedule:
    """Return a schedule that multiplies the learning rate by ``factor`` at each milestone, a fraction of all steps.

    Raises
    ------
    ValueError, TypeError
        As ``constant`` does, and unless ``factor`` and the milestones are numbers >= 0.

    References
    ----------
    He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """
    for name, value in (("factor", factor), *((f"milestones[{i}]", m) for i, m in enumerate(milestones))):
        _check_number(name, value)
    return _constant_at_end(lr, steps, lambda step: lr * factor ** sum(step >= m * steps for m in milestones))


def cosine(lr: float, steps: int) -> Schedule:
    """Return the schedule lr · (1 + cos(π t)) / 2, with t from 0 to 1 over all steps.

    Raises
    ------
    ValueError, TypeError
        As ``constant`` does.

    References
    ----------
    Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017.
    """
    return _constant_at_end(lr, steps, lambda step: lr * (1 + cos(pi * step / steps)) / 2)


def one_cycle(lr: float, steps: int, *, warmup: float = 0.25) -> Schedule:
    """Return a schedule that rises linearly from lr/25 to lr, then falls linearly towards 0.

    ``warmup`` is the fraction of the steps in which it rises. This is the triangular form of the one-cycle policy.

    Raises
    ------
    ValueError, TypeError
        As ``constant`` does, and unless 0 <= warmup <= 1.

    References
    ----------
    Smith and Topin, Super-Convergence, 2018.
    """
    _check_number("warmup", warmup, most=1)
    steps = whole("steps", steps)
    peak = max(1.0, warmup * steps)

    def at(step: int) -> float:
        up = 1 / 25 + (1 - 1 / 25) * step / peak
        down = (steps - step) / max(1.0, steps - peak)
        return lr * min(up, down)

    return _constant_at_end(lr, steps, at)


def _constant_at_end(lr: float, steps: int, at: Schedule) -> Schedule:
    """Check the arguments and return the schedule ``at``, held constant after its last step."""
    last = whole("steps", steps) - 1
    _check_number("lr", lr)
    return lambda step: at(min(whole("step", step, least=0), last))


def _check_number(name: str, value: Any, *, most: float = float("inf")) -> None:
    try:
        fits = 0 <= value <= most and isfinite(value)
    except (TypeError, ValueError):  # a string, or an array with several elements
        raise TypeError(f"{name} is {value!r}; expected a number") from None
    if not fits:
        upper = "" if most == float("inf") else f" and at most {most:g}"
        raise ValueError(f"{name} is {value}; expected a number, at least 0{upper}")


SCHEDULES: dict[str, Callable[[float, int], Schedule]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "one-cycle": one_cycle,
}
