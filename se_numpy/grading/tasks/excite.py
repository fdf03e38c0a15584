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
    """Scale z so that pre-activations are in the thousands and gates are 0 or 1."""
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
    title="Excitation: a gate for each channel",
    oracle=se.excite,
    axes="z: N C, W1: R C, W2: C R, s: N C",
    sizes=SIZES,
    fill=FILL,
    specials=(*SPECIALS, Special("one channel", {"C": 1})),
    extremes=EXTREMES,
    likely=("no ReLU between the layers", "no sigmoid", "ReLU before the sigmoid", "W1 and W2 swapped",
            "softmax over the channels"),
    mistakes=(
        Mistake("no ReLU between the layers", "The two matrix products follow each other directly; Eq. (3) has the "
                "ReLU δ between them.", _gate(sigmoid, lambda a: a)),
        Mistake("sigmoid between the layers", "A sigmoid was used between the layers; Eq. (3) has the ReLU δ there.",
                _gate(sigmoid, sigmoid)),
        Mistake("tanh between the layers", "tanh was used between the layers; Eq. (3) has the ReLU δ there.",
                _gate(sigmoid, np.tanh)),
        Mistake("leaky ReLU", "A leaky ReLU was used between the layers; δ in Eq. (3) sets negative values to 0.",
                _gate(sigmoid, lambda a: np.where(a > 0, a, 0.01 * a))),
        Mistake("absolute value between the layers", "|a| was used between the layers; δ in Eq. (3) is max(a, 0).",
                _gate(sigmoid, np.abs)),
        Mistake("ReLU before the sigmoid", "A second ReLU was applied before the sigmoid, so no gate is below 1/2; "
                "Eq. (3) has no ReLU there.", _gate(lambda a: sigmoid(relu(a)))),
        Mistake("no sigmoid", "The sigmoid at the end is missing; Eq. (3) has σ, so gates are between 0 and 1.",
                _gate(lambda a: a)),
        Mistake("tanh instead of the sigmoid", "tanh, which ranges from -1 to 1, was used for the gates; σ in Eq. (3) "
                "ranges from 0 to 1.", _gate(np.tanh)),
        Mistake("ReLU instead of the sigmoid", "A ReLU was used at the end; Eq. (3) has the sigmoid σ there.",
                _gate(relu)),
        Mistake("softmax over the channels", "A softmax over the channels was used, which makes them compete; Eq. (3) "
                "has a separate sigmoid for each channel.", _gate(softmax)),
        Mistake("softmax over the batch", "A softmax over the batch was used; Eq. (3) applies a sigmoid to each "
                "element separately.", _gate(lambda a: softmax(a.T).T)),
        Mistake("hard sigmoid", "The hard sigmoid clip(a/6 + 1/2, 0, 1) was used; Eq. (3) has the sigmoid σ.",
                _gate(lambda a: np.clip(a / 6 + 0.5, 0, 1))),
        Mistake("hard sigmoid with slope 1/5", "The hard sigmoid clip(a/5 + 1/2, 0, 1) was used; Eq. (3) has the "
                "sigmoid σ.", _gate(lambda a: np.clip(a / 5 + 0.5, 0, 1))),
        Mistake("clipped", "The pre-activation was clipped to the range from 0 to 1; Eq. (3) has the sigmoid σ.",
                _gate(lambda a: np.clip(a, 0, 1))),
        Mistake("sign of the exponent", "σ(-a) = 1 - σ(a) was used, which inverts the gates; Eq. (3) has σ(a).",
                _gate(lambda a: sigmoid(-a))),
        Mistake("twice the sigmoid", "2 σ(a) was used, which ranges from 0 to 2; the gates of Eq. (3) are σ(a).",
                _gate(lambda a: 2 * sigmoid(a))),
        Mistake("leaky ReLU with another slope", "Negative values were multiplied by a constant between the layers; δ "
                "in Eq. (3) sets them to 0.", _gate(sigmoid, lambda a: np.where(a > 0, a, 0.1 * a)),
                family=lambda c: _gate(sigmoid, lambda a: np.where(a > 0, a, c * a))),
        Mistake("swish between the layers", "a σ(a) was used between the layers; δ in Eq. (3) is max(a, 0).",
                _gate(sigmoid, lambda a: a * sigmoid(a))),
        Mistake("softplus between the layers", "log (1 + e^a) was used between the layers; δ in Eq. (3) is max(a, 0).",
                _gate(sigmoid, lambda a: np.logaddexp(a, 0))),
        Mistake("sigmoid applied twice", "The sigmoid was applied twice; Eq. (3) applies it once.",
                _gate(lambda a: sigmoid(sigmoid(a)))),
        Mistake("W1 @ z", "W2 @ δ(W1 @ z) was computed, which takes the rows of z for its columns: it fails unless N = "
                "C, or mixes the images; z is (N, C), so write z @ W1.T, then h @ W2.T.",
                lambda z, W1, W2: sigmoid(W2 @ relu(W1 @ z))),
        Mistake("z @ W1", "z @ W1 was computed without transposing W1, which fails unless C/r = C; W1 is (C/r, C), so "
                "write z @ W1.T.", lambda z, W1, W2: sigmoid(relu(z @ W1) @ W2)),
        Mistake("W1 transposed only", "W1 was transposed but W2 was not, which fails unless C/r = C; W2 is (C, C/r), "
                "so write h @ W2.T.", lambda z, W1, W2: sigmoid(relu(z @ W1.T) @ W2)),
        Mistake("W2 transposed only", "W2 was transposed but W1 was not, which fails unless C/r = C; W1 is (C/r, C), "
                "so write z @ W1.T.", lambda z, W1, W2: sigmoid(relu(z @ W1) @ W2.T)),
        Mistake("W1 and W2 swapped", "W1 and W2 were swapped and transposed; Eq. (3) applies W1 first, then W2.",
                lambda z, W1, W2: sigmoid(relu(z @ W2) @ W1)),
        Mistake("ReLU on the squeeze", "The ReLU was applied to z, before W1; Eq. (3) applies it after W1.",
                lambda z, W1, W2: sigmoid(relu(z) @ W1.T @ W2.T)),
        Mistake("mean over the batch", "All images got the same gates, computed from the batch mean of z; every image "
                "should have its own.",
                lambda z, W1, W2: np.broadcast_to(se.excite(z.mean(0, keepdims=True), W1, W2), z.shape)),
        Mistake("normalised squeeze", "z was normalised over its channels first; Eq. (3) uses z itself.",
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
    """Return excite_backward with one of its steps replaced."""

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
    """Compute the gradients image by image, which changes the order of summation."""
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
    specials=(*SPECIALS[:4], Special("one channel", {"C": 1})),
    extremes=EXTREMES,
    points=3,
    likely=("σ' left out", "ReLU mask left out", "extra mean over the batch", "dW2 without σ'", "dW2 without the ReLU",
            "gradients transposed", "dW1 and dW2 swapped"),
    mistakes=(
        Mistake("σ' left out", "The derivative of the sigmoid was left out; ds should be multiplied by s (1 - s).",
                _backward(da2=lambda ds, a, s: ds)),
        Mistake("s instead of s (1 - s)", "ds was multiplied by s; the derivative of the sigmoid is s (1 - s).",
                _backward(da2=lambda ds, a, s: ds * s)),
        Mistake("1 - s instead of s (1 - s)", "ds was multiplied by 1 - s; the derivative of the sigmoid is s (1 - "
                "s).", _backward(da2=lambda ds, a, s: ds * (1 - s))),
        Mistake("s (1 + s) instead of s (1 - s)", "ds was multiplied by s (1 + s); the derivative of the sigmoid is s "
                "(1 - s).", _backward(da2=lambda ds, a, s: ds * s * (1 + s))),
        Mistake("(1 - s)² instead of s (1 - s)", "ds was multiplied by (1 - s)²; the derivative of the sigmoid is s (1 "
                "- s).", _backward(da2=lambda ds, a, s: ds * (1 - s) ** 2)),
        Mistake("s² instead of s (1 - s)", "ds was multiplied by s²; the derivative of the sigmoid is s (1 - s).",
                _backward(da2=lambda ds, a, s: ds * s * s)),
        Mistake("σ' and ReLU mask left out", "The derivative of the sigmoid and the ReLU mask were left out; ds should "
                "be multiplied by s (1 - s), and the gradient passed on only where W1 z > 0.",
                _backward(da2=lambda ds, a, s: ds, da1=lambda dh, a, h: dh)),
        Mistake("a (1 - a) of the pre-activation", "ds was multiplied by a (1 - a), where a is the input of the "
                "sigmoid; the derivative is s (1 - s), where s is its output.",
                _backward(da2=lambda ds, a, s: ds * a * (1 - a))),
        Mistake("derivative of tanh", "ds was multiplied by 1 - s², as for tanh; the derivative of the sigmoid is s "
                "(1 - s).", _backward(da2=lambda ds, a, s: ds * (1 - s * s))),
        Mistake("derivative of softmax", "The gradient of a softmax was computed; Eq. (3) has a sigmoid, whose "
                "derivative is s (1 - s).", _backward(da2=lambda ds, a, s: s * (ds - (ds * s).sum(1, keepdims=True)))),
        Mistake("ReLU mask left out", "The gradient was passed through the ReLU everywhere; it should be passed on "
                "only where W1 z > 0.", _backward(da1=lambda dh, a, h: dh)),
        Mistake("ReLU mask from the gradient", "The gradient was set to 0 where it is negative; it should be set to 0 "
                "where W1 z is negative.", _backward(da1=lambda dh, a, h: np.maximum(dh, 0))),
        Mistake("ReLU mask inverted", "The gradient was passed through the ReLU where W1 z < 0; it should be passed on "
                "where W1 z > 0.", _backward(da1=lambda dh, a, h: dh * (a < 0))),
        Mistake("h instead of the ReLU mask", "The gradient was multiplied by h = δ(W1 z); the derivative of the ReLU "
                "is 0 or 1.", _backward(da1=lambda dh, a, h: dh * h)),
        Mistake("extra mean over the batch", "dW1 and dW2 were divided by N; they should be sums over the batch, "
                "because the loss already contains 1/N.",
                _backward(dW1=lambda g, z: g.T @ z / len(z), dW2=lambda g, h: g.T @ h / len(h))),
        Mistake("first image only", "dW1 and dW2 were computed from the first image only; they should be sums over the "
                "batch.", _backward(dW1=lambda g, z: g[:1].T @ z[:1], dW2=lambda g, h: g[:1].T @ h[:1])),
        Mistake("dW2 without the ReLU", "dW2 was computed with W1 z; it should be computed with h = δ(W1 z).",
                lambda ds, z, W1, W2: (*se.excite_backward(ds, z, W1, W2)[:2],
                                       (ds * _slope(z, W1, W2)).T @ (z @ W1.T))),
        Mistake("dW2 without σ'", "dW2 was computed with ds; it should be computed with ds s (1 - s).",
                lambda ds, z, W1, W2: (*se.excite_backward(ds, z, W1, W2)[:2], ds.T @ relu(z @ W1.T))),
        Mistake("dW1 without the ReLU mask", "dW1 was computed without the ReLU mask; the gradient should be passed on "
                "only where W1 z > 0.",
                lambda ds, z, W1, W2: (se.excite_backward(ds, z, W1, W2)[0], ((ds * _slope(z, W1, W2)) @ W2).T @ z,
                                       se.excite_backward(ds, z, W1, W2)[2])),
        Mistake("gradients transposed", "dW1 and dW2 were transposed; each should have the shape of its matrix.",
                lambda *a: tuple(x.T if k else x for k, x in enumerate(se.excite_backward(*a)))),
        Mistake("dW1 and dW2 swapped", "dW1 and dW2 were returned in the wrong order; the correct order is dz, dW1, "
                "dW2.", lambda *a: tuple(se.excite_backward(*a)[k] for k in (0, 2, 1))),
        Mistake("sign", "All gradients have the wrong sign.", lambda *a: tuple(-x for x in se.excite_backward(*a))),
        Mistake("ds ignored", "The upstream gradient ds was taken as 1 everywhere; all gradients are proportional to "
                "ds.", lambda ds, *a: se.excite_backward(np.ones_like(ds), *a)),
    ),
    written=_excite_backward,
    alternates=(
        _excite_backward,
        _loops,
        _backward(da2=lambda ds, a2, s: ds * sigmoid(a2) * sigmoid(-a2), da1=lambda dh, a1, h: np.where(h > 0, dh, 0)),
    ),
)  # fmt: skip


def _slope(z: Any, W1: Any, W2: Any) -> Any:
    """Return the derivative of the sigmoid at every gate."""
    s = se.excite(z, W1, W2)
    return s * (1 - s)


TASKS = (excite, excite_backward)
