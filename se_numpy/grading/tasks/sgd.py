"""One step of stochastic gradient descent with momentum and weight decay."""

from collections.abc import Callable
from typing import Any

import numpy as np

from se_numpy.grading.task import Arguments, Mistake, Special, Task
from se_numpy.optim import SGD


def _step(
    w: np.ndarray, g: np.ndarray, v: np.ndarray, lr: float, momentum: float, weight_decay: float
) -> tuple[np.ndarray, np.ndarray]:
    """The library's step, which writes into its arguments, on copies."""
    w, g, v = w.copy(), g.copy(), v.copy()
    SGD(momentum=momentum, weight_decay=weight_decay, nesterov=False).step(w, g, v, lr)
    return w, v


def _sgd_momentum(w, g, v, lr, momentum, weight_decay):
    v = momentum * v + g + weight_decay * w
    w = w - lr * v
    return w, v


def _wrong(
    velocity: Callable[..., Any] = lambda w, g, v, lr, mu, decay: mu * v + g + decay * w,
    weights: Callable[..., Any] = lambda w, g, v, new, lr, mu, decay: w - lr * new,
    kept: Callable[..., Any] = lambda new, g, v, mu: new,
) -> Callable[..., Any]:
    """sgd_momentum with the velocity, the step or the velocity that is handed on exchanged."""

    def step(w, g, v, lr, momentum, weight_decay):
        new = velocity(w, g, v, lr, momentum, weight_decay)
        return weights(w, g, v, new, lr, momentum, weight_decay), kept(new, g, v, momentum)

    return step


def _nesterov(w, g, v, lr, momentum, weight_decay):
    w, g, v = w.copy(), g.copy(), v.copy()
    SGD(momentum=momentum, weight_decay=weight_decay, nesterov=True).step(w, g, v, lr)
    return w, v


def _number_by_number(w, g, v, lr, momentum, weight_decay):
    w, v = w.copy(), v.copy()
    for k in range(len(w)):
        v[k] = momentum * v[k] + (g[k] + weight_decay * w[k])
        w[k] -= lr * v[k]
    return w, v


def _in_place(w, g, v, lr, momentum, weight_decay):
    w, v = w.copy(), v.copy()
    v *= momentum
    v += g
    v += weight_decay * w
    w -= lr * v
    return w, v


def _at_rest(arguments: Arguments) -> Arguments:
    return {**arguments, "v": 0 * arguments["v"]}


sgd_momentum = Task(
    signature="sgd_momentum(w, g, v, lr, momentum, weight_decay) -> w, v",
    equation="v ← μ v + g + λ w;  w ← w - η v",
    title="A step of SGD with momentum",
    oracle=_step,
    axes="w: P, g: P, v: P",
    sizes={"P": (4, 9)},
    hyper={"lr": (0.1, 0.3, 0.7), "momentum": (0.5, 0.9, 0.8), "weight_decay": (0.02, 0.1, 0.25)},
    specials=(
        Special("no momentum", {"momentum": 0.0}),
        Special("no weight decay", {"weight_decay": 0.0}),
        Special("neither", {"momentum": 0.0, "weight_decay": 0.0}),
        Special("the first step", {}, _at_rest),
        Special("no gradient", {}, lambda a: {**a, "g": 0 * a["g"]}),
        Special("learning rate 1", {"lr": 1.0}),
        Special("one parameter", {"P": 1}),
    ),
    points=2,
    hint="η is lr, μ momentum, λ weight_decay. Return new arrays: w, g and v stay as they are.",
    likely=("learning rate in the velocity", "weight decay apart", "weight decay twice", "running mean",
            "sign of the velocity", "old velocity handed on", "v before w"),
    mistakes=(
        Mistake("Nesterov", "This is Nesterov's step, w - η (g + λ w + μ v); w moves by η v.", _nesterov),
        Mistake("learning rate in the velocity", "v ← μ v + η (g + λ w), w ← w - v: here η stands outside the "
                "velocity, as in PyTorch.", _wrong(lambda w, g, v, lr, mu, decay: mu * v + lr * (g + decay * w),
                                         lambda w, g, v, new, lr, mu, decay: w - new)),
        Mistake("learning rate in the velocity, sign too", "v ← μ v - η (g + λ w), w ← w + v: here η and the minus "
                "stand outside the velocity, as in PyTorch.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v - lr * (g + decay * w),
                       lambda w, g, v, new, lr, mu, decay: w + new)),
        Mistake("running mean", "v ← μ v + (1 - μ) (g + λ w) is a running mean; the gradient comes in whole.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + (1 - mu) * (g + decay * w))),
        Mistake("running mean of g alone", "v ← μ v + (1 - μ) g + λ w: the gradient comes in whole.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + (1 - mu) * g + decay * w)),
        Mistake("momentum and 1 - momentum exchanged", "v ← (1 - μ) v + g + λ w: the velocity keeps the share μ.",
                _wrong(lambda w, g, v, lr, mu, decay: (1 - mu) * v + g + decay * w)),
        Mistake("momentum on the gradient too", "v ← μ (v + g + λ w): μ multiplies the old velocity alone.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * (v + g + decay * w))),
        Mistake("velocity not damped", "v ← v + g + λ w: the old velocity is multiplied by μ.",
                _wrong(lambda w, g, v, lr, mu, decay: v + g + decay * w)),
        Mistake("momentum left out", "v ← g + λ w: μ v is missing.",
                _wrong(lambda w, g, v, lr, mu, decay: g + decay * w)),
        Mistake("momentum 0.9 whatever was given", "momentum is an argument; 0.9 was used.",
                _wrong(lambda w, g, v, lr, mu, decay: 0.9 * v + g + decay * w)),
        Mistake("weight decay left out", "v ← μ v + g: λ w is missing.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + g)),
        Mistake("sign of the weight decay", "λ w was taken off the gradient, so that weights grow; it is added.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + g - decay * w)),
        Mistake("twice the weight decay", "2 λ w is the gradient of λ w²; the equation has λ w.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + g + 2 * decay * w)),
        Mistake("weight decay apart", "w is right this time, but v lacks λ w: w was shrunk beside the velocity (as in "
                "AdamW), or v was kept from before the decay. The next step will be wrong.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + g,
                       lambda w, g, v, new, lr, mu, decay: w - lr * new - lr * decay * w)),
        Mistake("weight decay without the learning rate", "w was shrunk by λ w beside the velocity; λ w belongs "
                "into it.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + g,
                       lambda w, g, v, new, lr, mu, decay: w - lr * new - decay * w)),
        Mistake("weight decay twice", "λ w is in v, and w was shrunk by η λ w once more.",
                _wrong(weights=lambda w, g, v, new, lr, mu, decay: w - lr * new - lr * decay * w)),
        Mistake("sign of the velocity", "v ← μ v - g - λ w with w - η v: the two signs cancel, and w climbs.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v - g - decay * w)),
        Mistake("velocity with its minus", "v ← μ v - g - λ w, w ← w + η v: here the minus stands at the step, and v "
                "goes on with the sign of the gradient.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v - g - decay * w,
                       lambda w, g, v, new, lr, mu, decay: w + lr * new)),
        Mistake("sign of the step", "w + η v climbs; w - η v descends.",
                _wrong(weights=lambda w, g, v, new, lr, mu, decay: w + lr * new)),
        Mistake("step by the old velocity", "w moved by the velocity from before; v is renewed first.",
                _wrong(weights=lambda w, g, v, new, lr, mu, decay: w - lr * v)),
        Mistake("step by the gradient", "w moved by η g: the velocity was renewed, but not used.",
                _wrong(weights=lambda w, g, v, new, lr, mu, decay: w - lr * (g + decay * w))),
        Mistake("learning rate left out", "w - v: the learning rate is missing.",
                _wrong(weights=lambda w, g, v, new, lr, mu, decay: w - new)),
        Mistake("old velocity handed on", "w is right, but the velocity that came back is the old one.",
                _wrong(kept=lambda new, g, v, mu: v)),
        Mistake("v before w", "Both are right, but in the wrong order: w, then v.",
                lambda *a, **h: _step(*a, **h)[::-1]),
        Mistake("w alone", "Only w came back; the next step needs v too.", lambda *a, **h: _step(*a, **h)[0]),
    ),
    written=_sgd_momentum,
    alternates=(_sgd_momentum, _number_by_number, _in_place,
                lambda w, g, v, lr, momentum, weight_decay: (
                    (1 - lr * weight_decay) * w - lr * g - lr * momentum * v, g + weight_decay * w + momentum * v)),
)  # fmt: skip

TASKS = (sgd_momentum,)
