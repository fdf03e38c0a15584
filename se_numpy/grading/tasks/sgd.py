"""One step of stochastic gradient descent with momentum and weight decay."""

from collections.abc import Callable
from typing import Any

import numpy as np

from se_numpy.grading.task import Arguments, Mistake, Special, Task
from se_numpy.optim import SGD


def _step(
    w: np.ndarray, g: np.ndarray, v: np.ndarray, lr: float, momentum: float, weight_decay: float
) -> tuple[np.ndarray, np.ndarray]:
    """Call the library's step on copies, because it modifies its arguments."""
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
    """Return sgd_momentum with the update of the velocity, the step or the returned velocity replaced."""

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
        Special("no momentum and no weight decay", {"momentum": 0.0, "weight_decay": 0.0}),
        Special("the first step", {}, _at_rest),
        Special("no gradient", {}, lambda a: {**a, "g": 0 * a["g"]}),
        Special("learning rate 1", {"lr": 1.0}),
        Special("one parameter", {"P": 1}),
    ),
    points=2,
    hint="η is lr, μ is momentum and λ is weight_decay. Return new arrays; do not modify w, g and v.",
    likely=("learning rate in the velocity", "decoupled weight decay", "weight decay twice", "running mean",
            "sign of the velocity", "old velocity returned", "v before w"),
    mistakes=(
        Mistake("Nesterov", "Nesterov's step w - η (g + λ w + μ v) was used; the step is w - η v.", _nesterov),
        Mistake("learning rate in the velocity", "v ← μ v + η (g + λ w) and w ← w - v were used; here η multiplies "
                "the velocity in the step, as in PyTorch.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + lr * (g + decay * w),
                                         lambda w, g, v, new, lr, mu, decay: w - new)),
        Mistake("learning rate and sign in the velocity", "v ← μ v - η (g + λ w) and w ← w + v were used; here -η "
                "multiplies the velocity in the step, as in PyTorch.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v - lr * (g + decay * w),
                       lambda w, g, v, new, lr, mu, decay: w + new)),
        Mistake("running mean", "v ← μ v + (1 - μ) (g + λ w) was used, a running mean; the gradient should be added "
                "without a factor.", _wrong(lambda w, g, v, lr, mu, decay: mu * v + (1 - mu) * (g + decay * w))),
        Mistake("running mean of g only", "v ← μ v + (1 - μ) g + λ w was used; the gradient g should be added without "
                "a factor.", _wrong(lambda w, g, v, lr, mu, decay: mu * v + (1 - mu) * g + decay * w)),
        Mistake("1 - momentum instead of momentum", "v ← (1 - μ) v + g + λ w was used; the old velocity should be "
                "multiplied by μ.", _wrong(lambda w, g, v, lr, mu, decay: (1 - mu) * v + g + decay * w)),
        Mistake("momentum on the gradient too", "v ← μ (v + g + λ w) was used; μ should multiply only the old "
                "velocity.", _wrong(lambda w, g, v, lr, mu, decay: mu * (v + g + decay * w))),
        Mistake("velocity not damped", "v ← v + g + λ w was used; the old velocity should be multiplied by μ.",
                _wrong(lambda w, g, v, lr, mu, decay: v + g + decay * w)),
        Mistake("momentum left out", "v ← g + λ w was used; μ v is missing.",
                _wrong(lambda w, g, v, lr, mu, decay: g + decay * w)),
        Mistake("momentum fixed at 0.9", "0.9 was used for the momentum; momentum is an argument.",
                _wrong(lambda w, g, v, lr, mu, decay: 0.9 * v + g + decay * w)),
        Mistake("momentum fixed at another constant", "A constant was used for the momentum; momentum is an argument.",
                _wrong(lambda w, g, v, lr, mu, decay: 0.95 * v + g + decay * w),
                family=lambda c: _wrong(lambda w, g, v, lr, mu, decay: c * v + g + decay * w)),
        Mistake("weight decay fixed at a constant", "A constant was used for the weight decay; weight_decay is an "
                "argument.", _wrong(lambda w, g, v, lr, mu, decay: mu * v + g + 5e-4 * w),
                family=lambda c: _wrong(lambda w, g, v, lr, mu, decay: mu * v + g + c * w)),
        Mistake("learning rate fixed at a constant", "A constant was used for the learning rate; lr is an argument.",
                _wrong(weights=lambda w, g, v, new, lr, mu, decay: w - 0.01 * new),
                family=lambda c: _wrong(weights=lambda w, g, v, new, lr, mu, decay: w - c * new)),
        Mistake("momentum and learning rate exchanged", "η was used for μ and μ for η: v ← η v + g + λ w and w ← w - μ "
                "v; v should be multiplied by μ, and the step by η.",
                _wrong(lambda w, g, v, lr, mu, decay: lr * v + g + decay * w,
                       lambda w, g, v, new, lr, mu, decay: w - mu * new)),
        Mistake("learning rate in the weight decay", "η λ w was added to the velocity; λ w should be added without η, "
                "because the step multiplies by η.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + g + lr * decay * w)),
        Mistake("weight decay on the new weights", "The new weights were multiplied by 1 - λ after the step; λ w "
                "belongs in the velocity.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + g,
                       lambda w, g, v, new, lr, mu, decay: (1 - decay) * (w - lr * new))),
        Mistake("learning rate and weight decay on the new weights", "The new weights were multiplied by 1 - η λ after "
                "the step; λ w belongs in the velocity.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + g,
                       lambda w, g, v, new, lr, mu, decay: (1 - lr * decay) * (w - lr * new))),
        Mistake("half the weight decay", "λ/2 w was added; the equation has λ w.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + g + 0.5 * decay * w)),
        Mistake("weight decay left out", "v ← μ v + g was used; λ w is missing.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + g)),
        Mistake("sign of the weight decay", "λ w was subtracted from the gradient, which makes the weights grow; it "
                "should be added.", _wrong(lambda w, g, v, lr, mu, decay: mu * v + g - decay * w)),
        Mistake("twice the weight decay", "2 λ w was added, the gradient of λ w²; the equation has λ w.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + g + 2 * decay * w)),
        Mistake("decoupled weight decay", "w is right, but v lacks λ w, as in AdamW or with v saved before the decay; "
                "λ w belongs in v; otherwise the next step is wrong.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + g,
                       lambda w, g, v, new, lr, mu, decay: w - lr * new - lr * decay * w)),
        Mistake("weight decay without the learning rate", "λ w was subtracted from w directly; it belongs in the "
                "velocity, which is multiplied by η.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v + g,
                       lambda w, g, v, new, lr, mu, decay: w - lr * new - decay * w)),
        Mistake("weight decay twice", "λ w was added to v, and η λ w was also subtracted from w; weight decay should "
                "be applied once.", _wrong(weights=lambda w, g, v, new, lr, mu, decay: w - lr * new - lr * decay * w)),
        Mistake("sign of the velocity", "v ← μ v - g - λ w and w ← w - η v were used, which increases the loss; v "
                "should add g and λ w.", _wrong(lambda w, g, v, lr, mu, decay: mu * v - g - decay * w)),
        Mistake("negated velocity", "v ← μ v - g - λ w and w ← w + η v were used; here v keeps the sign of the "
                "gradient, and the step subtracts η v.",
                _wrong(lambda w, g, v, lr, mu, decay: mu * v - g - decay * w,
                       lambda w, g, v, new, lr, mu, decay: w + lr * new)),
        Mistake("sign of the step", "w + η v was computed, which increases the loss; the step is w - η v.",
                _wrong(weights=lambda w, g, v, new, lr, mu, decay: w + lr * new)),
        Mistake("step by the old velocity", "w was updated with the old velocity; v should be updated first.",
                _wrong(weights=lambda w, g, v, new, lr, mu, decay: w - lr * v)),
        Mistake("step by the gradient", "w was updated with g + λ w; it should be updated with the velocity v.",
                _wrong(weights=lambda w, g, v, new, lr, mu, decay: w - lr * (g + decay * w))),
        Mistake("learning rate left out", "w - v was computed; the step is w - η v.",
                _wrong(weights=lambda w, g, v, new, lr, mu, decay: w - new)),
        Mistake("old velocity returned", "w is right, but the old velocity was returned; return the new one.",
                _wrong(kept=lambda new, g, v, mu: v)),
        Mistake("v before w", "Both results are right but in the wrong order; the correct order is w, v.",
                lambda *a, **h: _step(*a, **h)[::-1]),
        Mistake("w only", "Only w was returned; the next step needs v too.", lambda *a, **h: _step(*a, **h)[0]),
    ),
    written=_sgd_momentum,
    alternates=(_sgd_momentum, _number_by_number, _in_place,
                lambda w, g, v, lr, momentum, weight_decay: (
                    (1 - lr * weight_decay) * w - lr * g - lr * momentum * v, g + weight_decay * w + momentum * v)),
)  # fmt: skip

TASKS = (sgd_momentum,)
