"""Eq. (3) and its gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np

from se_numpy import se
from se_numpy.grading.task import Mistake, Special, Task
from se_numpy.ops import relu, sigmoid, softmax

SIZES = {"N": (3, 5), "C": (5, 9), "R": (2, 4)}
FILL = {"z": "normal", "W1": "weights", "W2": "weights"}
SPECIALS = (
    Special("one image", {"N": 1}),
    Special("one hidden unit", {"R": 1}),
    Special("no reduction, r = 1", {"C": 6, "R": 6}),
    Special("as many images as channels", {"N": 5, "C": 5}),
    Special("zeros", {}, lambda a: {**a, "z": 0 * a["z"]}),
)


def _wide(arguments: dict[str, Any]) -> dict[str, Any]:
    """Pre-activations in the thousands: gates are 0 or 1."""
    return {**arguments, "z": 3e3 * arguments["z"]}


EXTREMES = (Special("very large squeezes", {}, _wide),)


def _gate(gate: Callable[[Any], Any], hidden: Callable[[Any], Any] = relu) -> Callable[..., Any]:
    return lambda z, W1, W2: gate(hidden(z @ W1.T) @ W2.T)


def _excite(z, W1, W2):
    h = np.maximum(z @ W1.T, 0)  # (N, C/r)
    a = h @ W2.T  # (N, C)
    return (1 + np.tanh(a / 2)) / 2  # σ(a) = 1 / (1 + e⁻ᵃ), without overflow


excite = Task(
    signature="excite(z, W1, W2) -> s",
    equation="Eq. (3): s = σ(W2 δ(W1 z))",
    title="Excitation: a gate for every channel",
    oracle=se.excite,
    axes="z: N C, W1: R C, W2: C R, s: N C",
    sizes=SIZES,
    fill=FILL,
    specials=SPECIALS,
    extremes=EXTREMES,
    likely=("no ReLU between the layers", "no sigmoid", "ReLU before the sigmoid", "W1 and W2 exchanged",
            "softmax over the channels"),
    mistakes=(
        Mistake("no ReLU between the layers", "Nothing stands between the two products; Eq. (3) has the ReLU δ there, "
                "without which they are one.", _gate(sigmoid, lambda a: a)),
        Mistake("sigmoid between the layers", "A sigmoid where Eq. (3) has δ, a ReLU.", _gate(sigmoid, sigmoid)),
        Mistake("tanh between the layers", "A tanh where Eq. (3) has δ, a ReLU.", _gate(sigmoid, np.tanh)),
        Mistake("leaky ReLU", "A leaky ReLU: δ in Eq. (3) is 0 for what is negative.",
                _gate(sigmoid, lambda a: np.where(a > 0, a, 0.01 * a))),
        Mistake("absolute value between the layers", "|a| between the layers; δ in Eq. (3) is max(a, 0).",
                _gate(sigmoid, np.abs)),
        Mistake("ReLU before the sigmoid", "A second ReLU in front of the sigmoid: no gate can be below 1/2.",
                _gate(lambda a: sigmoid(relu(a)))),
        Mistake("no sigmoid", "The sigmoid σ is missing: gates are not between 0 and 1.", _gate(lambda a: a)),
        Mistake("tanh for the sigmoid", "tanh is no gate: it lies between -1 and 1, σ between 0 and 1.",
                _gate(np.tanh)),
        Mistake("ReLU for the sigmoid", "A ReLU at the end; Eq. (3) has the sigmoid σ there.", _gate(relu)),
        Mistake("softmax over the channels", "Softmax makes channels compete; Eq. (3) has a sigmoid, so that several "
                "may be open.", _gate(softmax)),
        Mistake("softmax over the batch", "Softmax along the batch; Eq. (3) has a sigmoid, number by number.",
                _gate(lambda a: softmax(a.T).T)),
        Mistake("hard sigmoid", "A hard sigmoid, clip(a/6 + 1/2): Eq. (3) has σ itself.",
                _gate(lambda a: np.clip(a / 6 + 0.5, 0, 1))),
        Mistake("hard sigmoid of slope 1/5", "A hard sigmoid, clip(a/5 + 1/2): Eq. (3) has σ itself.",
                _gate(lambda a: np.clip(a / 5 + 0.5, 0, 1))),
        Mistake("clipped", "The pre-activation cut to 0..1; Eq. (3) has the sigmoid.",
                _gate(lambda a: np.clip(a, 0, 1))),
        Mistake("sigmoid of the negative", "σ(-a) = 1 - σ(a): the gates are turned round.",
                _gate(lambda a: sigmoid(-a))),
        Mistake("twice the sigmoid", "2 σ(a): gates lie between 0 and 1, not 2.", _gate(lambda a: 2 * sigmoid(a))),
        Mistake("W1 and W2 exchanged", "W1 was used where W2 belongs, transposed, and the other way round.",
                lambda z, W1, W2: sigmoid(relu(z @ W2) @ W1)),
        Mistake("ReLU on the squeeze", "The ReLU stands before W1; in Eq. (3) it stands after it.",
                lambda z, W1, W2: sigmoid(relu(z) @ W1.T @ W2.T)),
        Mistake("mean over the batch", "The gates of a mean image for all; every image has gates of its own.",
                lambda z, W1, W2: np.broadcast_to(se.excite(z.mean(0, keepdims=True), W1, W2), z.shape)),
        Mistake("normalised squeeze", "z was normalised over its channels first; Eq. (3) takes it as it is.",
                lambda z, W1, W2: se.excite((z - z.mean(1, keepdims=True)) / (z.std(1, keepdims=True) + 1e-5), W1, W2)),
    ),
    written=_excite,
    alternates=(
        _excite,
        lambda z, W1, W2: 1 / (1 + np.exp(-np.clip(np.maximum(z @ W1.T, 0) @ W2.T, -80, 80))),
        lambda z, W1, W2: 0.5 * (1 + np.tanh(0.5 * (np.einsum("nr,cr->nc", relu(np.einsum("nc,rc->nr", z, W1)), W2)))),
        lambda z, W1, W2: np.stack([sigmoid(W2 @ np.maximum(W1 @ row, 0)) for row in z]),
    ),
)  # fmt: skip


def _backward(
    da2: Callable[..., Any] = lambda ds, a2, s: ds * s * (1 - s),
    dh: Callable[..., Any] = lambda da2, W2: da2 @ W2,
    da1: Callable[..., Any] = lambda dh, a1, h: dh * (a1 > 0),
    dz: Callable[..., Any] = lambda da1, W1: da1 @ W1,
    dW1: Callable[..., Any] = lambda da1, z: da1.T @ z,
    dW2: Callable[..., Any] = lambda da2, h: da2.T @ h,
) -> Callable[..., Any]:
    """excite_backward with one piece exchanged."""

    def backward(ds: Any, z: Any, W1: Any, W2: Any) -> Any:
        a1 = z @ W1.T
        h = relu(a1)
        a2 = h @ W2.T
        g2 = da2(ds, a2, sigmoid(a2))
        g1 = da1(dh(g2, W2), a1, h)
        return dz(g1, W1), dW1(g1, z), dW2(g2, h)

    return backward


def _excite_backward(ds, z, W1, W2):
    h = np.maximum(z @ W1.T, 0)  # (N, C/r)
    a = h @ W2.T  # (N, C)
    s = (1 + np.tanh(a / 2)) / 2  # σ(a) = 1 / (1 + e⁻ᵃ), without overflow

    da = ds * s * (1 - s)
    dh, dW2 = da @ W2, da.T @ h
    dh = dh * (h > 0)
    dz, dW1 = dh @ W1, dh.T @ z
    return dz, dW1, dW2


def _loops(ds: Any, z: Any, W1: Any, W2: Any) -> Any:
    """Image by image, sums in another order."""
    dz, dW1, dW2 = np.zeros_like(z), np.zeros_like(W1), np.zeros_like(W2)
    for n in range(len(z)):
        h = np.maximum(W1 @ z[n], 0)
        s = sigmoid(W2 @ h)
        g2 = ds[n] * s * (1 - s)
        g1 = (W2.T @ g2) * (h > 0)
        dz[n], dW1, dW2 = W1.T @ g1, dW1 + np.outer(g1, z[n]), dW2 + np.outer(g2, h)
    return dz, dW1, dW2


excite_backward = Task(
    signature="excite_backward(ds, z, W1, W2) -> dz, dW1, dW2",
    equation="Eq. (3): s = σ(W2 δ(W1 z)), differentiated",
    title="The gradients of the excitation",
    oracle=se.excite_backward,
    forward=se.excite,
    axes="ds: N C, z: N C, W1: R C, W2: C R, dz: N C, dW1: R C, dW2: C R",
    sizes=SIZES,
    fill=FILL,
    specials=SPECIALS[:4],
    extremes=EXTREMES,
    points=3,
    likely=("σ' left out", "ReLU's mask left out", "mean over the batch once more", "dW2 with ds", "dW2 with a1",
            "transposed gradients", "dW1 and dW2 exchanged"),
    mistakes=(
        Mistake("σ' left out", "The derivative of the sigmoid, s (1 - s), is missing.",
                _backward(da2=lambda ds, a, s: ds)),
        Mistake("s for s (1 - s)", "σ' is s (1 - s); the factor 1 - s is missing.",
                _backward(da2=lambda ds, a, s: ds * s)),
        Mistake("1 - s for s (1 - s)", "σ' is s (1 - s); the factor s is missing.",
                _backward(da2=lambda ds, a, s: ds * (1 - s))),
        Mistake("a (1 - a) of the pre-activation", "σ' is s (1 - s) of the gate s, not of what went into the sigmoid.",
                _backward(da2=lambda ds, a, s: ds * a * (1 - a))),
        Mistake("derivative of tanh", "1 - s² is the derivative of tanh; that of σ is s (1 - s).",
                _backward(da2=lambda ds, a, s: ds * (1 - s * s))),
        Mistake("derivative of softmax", "This is the gradient of a softmax; Eq. (3) has a sigmoid.",
                _backward(da2=lambda ds, a, s: s * (ds - (ds * s).sum(1, keepdims=True)))),
        Mistake("ReLU's mask left out", "What the ReLU had cut off got a gradient: it passes only where a1 > 0.",
                _backward(da1=lambda dh, a, h: dh)),
        Mistake("ReLU's mask from the gradient", "The mask was taken from the gradient's own sign; it belongs to a1.",
                _backward(da1=lambda dh, a, h: np.maximum(dh, 0))),
        Mistake("ReLU's mask turned round", "The gradient passes where a1 < 0: it should where a1 > 0.",
                _backward(da1=lambda dh, a, h: dh * (a < 0))),
        Mistake("times h for the mask", "Multiplied by h itself; the derivative of the ReLU is 0 or 1.",
                _backward(da1=lambda dh, a, h: dh * h)),
        Mistake("mean over the batch once more", "dW1 and dW2 are sums over the batch; the loss has its 1/N already.",
                _backward(dW1=lambda g, z: g.T @ z / len(z), dW2=lambda g, h: g.T @ h / len(h))),
        Mistake("first image alone", "dW1 and dW2 are of the first image; they are sums over the batch.",
                _backward(dW1=lambda g, z: g[:1].T @ z[:1], dW2=lambda g, h: g[:1].T @ h[:1])),
        Mistake("dW2 with a1", "dW2 is of h, after the ReLU, not of a1 before it.",
                lambda ds, z, W1, W2: (*se.excite_backward(ds, z, W1, W2)[:2],
                                       (ds * _slope(z, W1, W2)).T @ (z @ W1.T))),
        Mistake("dW2 with ds", "dW2 takes ds as it came, before the sigmoid's derivative.",
                lambda ds, z, W1, W2: (*se.excite_backward(ds, z, W1, W2)[:2], ds.T @ relu(z @ W1.T))),
        Mistake("dW1 without the mask", "dW1 takes the gradient before the ReLU's mask, dz after it.",
                lambda ds, z, W1, W2: (se.excite_backward(ds, z, W1, W2)[0], ((ds * _slope(z, W1, W2)) @ W2).T @ z,
                                       se.excite_backward(ds, z, W1, W2)[2])),
        Mistake("transposed gradients", "dW1 and dW2 came out transposed: a gradient has the shape of its matrix.",
                lambda *a: tuple(x.T if k else x for k, x in enumerate(se.excite_backward(*a)))),
        Mistake("dW1 and dW2 exchanged", "The gradients are those asked for, in another order: dz, dW1, dW2.",
                lambda *a: tuple(se.excite_backward(*a)[k] for k in (0, 2, 1))),
        Mistake("sign", "The sign of every gradient is wrong.", lambda *a: tuple(-x for x in se.excite_backward(*a))),
        Mistake("ones for ds", "The gradient that arrives was ignored, as if ds were 1 everywhere.",
                lambda ds, *a: se.excite_backward(np.ones_like(ds), *a)),
    ),
    written=_excite_backward,
    alternates=(
        _excite_backward,
        _loops,
        _backward(da2=lambda ds, a2, s: ds * sigmoid(a2) * sigmoid(-a2), da1=lambda dh, a1, h: np.where(h > 0, dh, 0)),
    ),
)  # fmt: skip


def _slope(z: Any, W1: Any, W2: Any) -> Any:
    """σ' of every gate."""
    s = se.excite(z, W1, W2)
    return s * (1 - s)


TASKS = (excite, excite_backward)
