"""Stochastic gradient descent, AdamW, clipping, averages of the parameters, and learning rate schedules.

A step works on flat vectors of all parameters and gradients, so its cost, a few passes over memory, does not depend on
the number of tensors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, inf, isfinite, pi, sqrt
from typing import Any

import numpy as np

from se_numpy.arrays import Array, array_module
from se_numpy.engine.cuda import cuda_kernel, has_kernels, launch, sums
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
        _check_below(self, momentum=1.0, weight_decay=inf)
        flag("nesterov of SGD", self.nesterov)

    def step(self, w: Array, g: Array, v: Array, lr: float, *, rates: Array | None = None) -> None:
        """Update the parameters w (P,) and the velocity v (P,) in place with the gradient g (P,); g is overwritten.

        ``rates`` (P,) multiply the learning rate of each parameter.

        Raises
        ------
        ValueError
            If the shapes differ.
        TypeError
            If an argument is not a float32 or float64 array.
        """
        _check_vectors(w=w, g=g, v=v, **_given(rates))
        _descend(g, lr, 1.0 if rates is None else rates, self.momentum, self.weight_decay, int(self.nesterov), w, v)


@cuda_kernel("sgd_step")
def _descend(
    g: Array, lr: float, rates: Array, momentum: float, decay: float, nesterov: int, w: Array, v: Array
) -> None:
    if decay:
        g += decay * w
    v *= momentum
    v += g
    if nesterov:
        g += momentum * v
        w -= lr * rates * g
    else:
        w -= lr * rates * v


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay; t counts the steps from 1.

    w ← (1 - η λ) w;  v ← β₁ v + (1 - β₁) g;  s ← β₂ s + (1 - β₂) g²;  w ← w - η v̂ / (√ŝ + ε), where v̂ = v / (1 - β₁ᵗ)
    and ŝ = s / (1 - β₂ᵗ).

    References
    ----------
    Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        _check_below(self, beta1=1.0, beta2=1.0, eps=inf, weight_decay=inf)

    def step(
        self, w: Array, g: Array, v: Array, lr: float, *, s: Array, t: int, rates: Array | None = None
    ) -> None:  # fmt: skip
        """Update the parameters w (P,) and the moments v and s (P,) in place with the gradient g (P,).

        t is the number of this step, from 1; ``rates`` (P,) multiply the learning rate of each parameter.

        Raises
        ------
        ValueError
            If the shapes differ, or t is less than 1.
        TypeError
            If an argument is not a float32 or float64 array, or t not an integer.
        """
        _check_vectors(w=w, g=g, v=v, s=s, **_given(rates))
        t = whole("t", t)
        scales = 1 - self.beta1**t, 1 - self.beta2**t
        settings = self.beta1, self.beta2, self.eps, self.weight_decay
        _adapt(g, lr, 1.0 if rates is None else rates, *settings, *scales, w, v, s)


@cuda_kernel("adamw_step")
def _adapt(
    g: Array, lr: float, rates: Array, beta1: float, beta2: float, eps: float, decay: float, scale1: float,
    scale2: float, w: Array, v: Array, s: Array,
) -> None:  # fmt: skip
    v += (1 - beta1) * (g - v)
    s *= beta2
    s += (1 - beta2) * g * g
    w -= lr * rates * (decay * w + (v / scale1) / (array_module(s).sqrt(s / scale2) + eps))


def clip_by_norm(g: Array, most: float) -> None:
    """Scale the gradient g (P,) in place so that its norm is at most ``most``, as PyTorch's ``clip_grad_norm_`` does.

    Raises
    ------
    ValueError
        Unless ``most`` is a number above 0.
    TypeError
        If g is not a float32 or float64 array.

    References
    ----------
    Pascanu et al., On the Difficulty of Training Recurrent Neural Networks, ICML 2013.
    """
    check("g: P", g)
    if not (is_real(most) and 0 < most < inf):
        raise ValueError(f"the largest norm of the gradient is {most!r}; expected a number above 0")
    xp = array_module(g)
    if has_kernels(xp, g):
        (square,) = sums("sum_of_squares", (g[:, None],), finish=True)
        launch("clip", xp, square, float(most), g)
    else:
        norm = sqrt(float(xp.square(g, dtype=np.float64).sum()))
        g *= min(1.0, most / (norm + 1e-6))


@dataclass(frozen=True)
class EMA:
    """An exponential moving average of the parameters and the running statistics:  a ← d a + (1 - d) w.

    Over n earlier updates d is min(``decay``, (1 + n) / (10 + n)), so that the first parameters are soon forgotten; the
    first update copies w.

    References
    ----------
    Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992.
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        _check_below(self, decay=1.0)

    def step(self, average: Array, w: Array, running: Array, n: int) -> None:
        """Update the average (P + S,) in place with w (P,) and the running statistics (S,) after n earlier updates.

        Raises
        ------
        ValueError
            If the sizes do not fit together, or n is negative.
        TypeError
            If an argument is not a float32 or float64 array, or n not an integer.
        """
        check("average: A, w: P, running: S", average, w, running if running.size else None)
        if average.size != w.size + running.size:
            raise ValueError(f"average has {average.size} elements; expected those of w and running, "
                             f"{w.size + running.size}")  # fmt: skip
        n = whole("n", n, least=0)
        _average(w, running, w.size, min(self.decay, (1 + n) / (10 + n)) if n else 0.0, average)


@cuda_kernel("ema_step")
def _average(w: Array, running: Array, P: int, decay: float, average: Array) -> None:
    for part, now in ((average[:P], w), (average[P:], running)):
        part -= now
        part *= decay
        part += now


def _given(rates: Array | None) -> dict[str, Array]:
    return {} if rates is None else {"rates": rates}


def _check_below(optimiser: Any, **limits: float) -> None:
    """Raise ValueError unless each of these settings is a number from 0 to below its limit."""
    for name, most in limits.items():
        value = getattr(optimiser, name)
        if not (is_real(value) and 0 <= value < most):
            kind = type(optimiser).__name__
            raise ValueError(f"{name} of {kind} is {value!r}; expected a number, at least 0 and less than {most:g}")


def _check_vectors(**vectors: Array) -> None:
    """Raise ValueError or TypeError unless the vectors are floating-point and have the same shape."""
    for name, vector in vectors.items():
        check(f"{name}: ...", vector)
    if len({vector.shape for vector in vectors.values()}) > 1:
        shapes = ", ".join(str(vector.shape) for vector in vectors.values())
        raise ValueError(f"{', '.join(vectors)} have shapes {shapes}; expected equal shapes")


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
