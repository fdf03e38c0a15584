"""δ and σ of Eq. (3), and their gradients."""

from typing import Any

import numpy as np

from se_numpy import ops
from se_numpy.grading.task import Arguments, Mistake, Special, Task

SIZES = {"N": (3, 5), "C": (4, 8)}
SPECIALS = (
    Special("one number", {"N": 1, "C": 1}),
    Special("all negative", {}, lambda a: {**a, "x": -np.abs(a["x"])}),
    Special("all positive", {}, lambda a: {**a, "x": np.abs(a["x"])}),
)


def _some_zeros(arguments: Arguments) -> Arguments:
    """Every third x at 0, where ReLU has no slope and 0 is the convention."""
    x = arguments["x"].copy()
    x.flat[::3] = 0
    return {**arguments, "x": x}


def _far_out(arguments: Arguments) -> Arguments:
    """Every third x at 10⁴ and every third at -10⁴."""
    x = arguments["x"].copy()
    x.flat[::3], x.flat[1::3] = 1e4, -1e4
    return {**arguments, "x": x}


def _one_by_one(f: Any) -> Any:
    """f of numbers as a function of arrays, by a loop."""

    def loop(*arrays):
        y = np.empty_like(arrays[0])
        for place in np.ndindex(y.shape):
            y[place] = f(*(array[place] for array in arrays))
        return y

    return loop


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return ops.sigmoid(x)


relu = Task(
    signature="relu(x) -> y",
    equation="δ(x) = max(x, 0)",
    title="ReLU",
    oracle=ops.relu,
    axes="x: N C, y: N C",
    sizes=SIZES,
    specials=(*SPECIALS, Special("zeros", {}, lambda a: {**a, "x": 0 * a["x"]}),
              Special("large numbers", {"N": 5}, lambda a: {**a, "x": 16 * a["x"]})),
    extremes=(Special("numbers of ±10⁴", {}, _far_out),),
    points=1,
    likely=("identity", "step", "magnitude", "min", "largest of the array"),
    mistakes=(
        Mistake("min", "min(x, 0), the negative part; δ keeps the positive one.", lambda x: np.minimum(x, 0)),
        Mistake("leaky ReLU", "Negative numbers are made small (0.01 x); δ makes them 0.",
                lambda x: np.where(x > 0, x, 0.01 * x)),
        Mistake("very leaky ReLU", "Negative numbers are made smaller (0.1 x); δ makes them 0.",
                lambda x: np.where(x > 0, x, 0.1 * x)),
        Mistake("magnitude", "|x|: negative numbers turn positive; δ makes them 0.", np.abs),
        Mistake("identity", "x itself came back; δ makes negative numbers 0.", lambda x: x.copy()),
        Mistake("step", "1 where x is positive; δ is x there.", lambda x: (x > 0) * 1.0),
        Mistake("sign", "The sign of x; δ is x itself where it is positive.", np.sign),
        Mistake("ReLU6", "Cut off at 6; δ has no upper end.", lambda x: np.clip(x, 0, 6)),
        Mistake("cut off at 1", "Cut off at 1; δ has no upper end.", lambda x: np.clip(x, 0, 1)),
        Mistake("ELU", "e^x - 1 for negative x; δ is 0 there.",
                lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
        Mistake("softplus", "log(1 + e^x), a smooth ReLU; δ has a corner at 0.", lambda x: np.logaddexp(x, 0)),
        Mistake("swish", "x σ(x); δ is max(x, 0).", lambda x: x * _sigmoid(x)),
        Mistake("sigmoid", "σ instead of δ.", _sigmoid),
        Mistake("max with 1", "max(x, 1); δ is max(x, 0).", lambda x: np.maximum(x, 1)),
        Mistake("largest of the array", "One number came back, the largest of x; δ takes every number by itself.",
                lambda x: np.max(x)),
    ),
    alternates=(
        lambda x: np.where(x > 0, x, 0).astype(x.dtype),
        lambda x: x * (x > 0),
        lambda x: (x + np.abs(x)) / 2,
        _one_by_one(lambda x: max(x, 0.0)),
    ),
)  # fmt: skip

relu_backward = Task(
    signature="relu_backward(dy, x) -> dx",
    equation="δ(x) = max(x, 0), differentiated",
    title="The gradient of ReLU",
    oracle=ops.relu_backward,
    forward=ops.relu,
    axes="dy: N C, x: N C, dx: N C",
    sizes=SIZES,
    specials=(*SPECIALS, Special("zeros among them", {}, _some_zeros)),
    extremes=(Special("numbers of ±10⁴", {}, _far_out),),
    points=1,
    hint="At 0, where ReLU has a corner, the slope is taken as 0, as in every framework.",
    likely=("mask from dy", "no mask", "dy and x exchanged", "0 let through", "ones for dy", "times x"),
    mistakes=(
        Mistake("mask from dy", "dy was cut off where dy is negative; it passes where x was positive.",
                lambda dy, x: dy * (dy > 0)),
        Mistake("ReLU of dy, where x passed", "Negative gradients were dropped too; dy keeps its sign where x > 0.",
                lambda dy, x: np.maximum(dy, 0) * (x > 0)),
        Mistake("no mask", "dy passed everywhere, as with y >= 0 for a mask; where x is negative y does not "
                "move, and dx is 0.", lambda dy, x: dy.copy()),
        Mistake("0 let through", "dy passed where x is 0, as with x >= 0 for a mask; at the corner the slope is taken "
                "as 0.", lambda dy, x: dy * (x >= 0)),
        Mistake("dy and x exchanged", "x came back where dy is positive; it is dy, where x is positive.",
                lambda dy, x: x * (dy > 0)),
        Mistake("mask inverted", "dy passed where x is negative; it passes where x is positive.",
                lambda dy, x: dy * (x < 0)),
        Mistake("leaky", "A hundredth of dy passed where x is negative; ReLU is flat there.",
                lambda dy, x: np.where(x > 0, dy, 0.01 * dy)),
        Mistake("very leaky", "A tenth of dy passed where x is negative; ReLU is flat there.",
                lambda dy, x: np.where(x > 0, dy, 0.1 * dy)),
        Mistake("ones for dy", "The mask alone came back: the gradient that arrives, dy, was ignored.",
                lambda dy, x: (x > 0) * 1.0),
        Mistake("times x", "Multiplied by δ(x); the slope of ReLU is 1 where x > 0, not x.",
                lambda dy, x: dy * np.maximum(x, 0)),
        Mistake("sign of x", "Where x is negative dx is -dy, the gradient of |x|; ReLU's is 0 there.",
                lambda dy, x: dy * np.sign(x)),
        Mistake("mask at 1", "dy passed where x > 1; it passes where x > 0.", lambda dy, x: dy * (x > 1)),
        Mistake("sign", "The sign of dx is wrong.", lambda dy, x: -dy * (x > 0)),
        Mistake("ReLU of x", "δ(x) came back, the forward pass; dx is dy where x > 0.", lambda dy, x: np.maximum(x, 0)),
    ),
    alternates=(
        lambda dy, x: dy * (x > 0),
        lambda dy, x: dy * (np.maximum(x, 0) > 0),
        lambda dy, x: dy * np.heaviside(x, 0).astype(x.dtype),
        _one_by_one(lambda dy, x: dy if x > 0 else 0),
    ),
)  # fmt: skip

sigmoid = Task(
    signature="sigmoid(x) -> y",
    equation="σ(x) = 1 / (1 + e⁻ˣ)",
    title="Sigmoid",
    oracle=ops.sigmoid,
    axes="x: N C, y: N C",
    sizes=SIZES,
    specials=(*SPECIALS, Special("zeros", {}, lambda a: {**a, "x": 0 * a["x"]}),
              Special("wide", {}, lambda a: {**a, "x": 4 * a["x"]})),
    extremes=(Special("numbers of ±10⁴", {}, _far_out),),
    points=1,
    hint="e⁻ˣ overflows where x is very negative: there e^x / (1 + e^x) is the same, and safe.",
    mistakes=(
        Mistake("sign of the exponent", "1 / (1 + e^x), which falls; σ(x) = 1 / (1 + e⁻ˣ) rises.",
                lambda x: _sigmoid(-x)),
        Mistake("tanh", "tanh, which lies between -1 and 1; σ lies between 0 and 1.", np.tanh),
        Mistake("hard sigmoid", "x / 6 + 1/2 cut off at 0 and 1; σ is a curve.", lambda x: np.clip(x / 6 + 0.5, 0, 1)),
        Mistake("hard sigmoid of slope 1/5", "0.2 x + 1/2 cut off at 0 and 1; σ is a curve.",
                lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
        Mistake("cut off at 0 and 1", "x cut off at 0 and 1; σ is 1 / (1 + e⁻ˣ).", lambda x: np.clip(x, 0, 1)),
        Mistake("softmax", "A softmax, so that every row adds up to 1; σ takes each number by itself.",
                lambda x: ops.softmax(x)),
        Mistake("without 1 +", "1 / e⁻ˣ, which is e^x: the 1 in the denominator is missing.", np.exp),
        Mistake("e^x in the numerator and e⁻ˣ below", "e^x / (1 + e⁻ˣ) mixes the two forms: 1 / (1 + e⁻ˣ), or "
                "e^x / (1 + e^x).", lambda x: np.exp(x) / (1 + np.exp(-x))),
        Mistake("1 - e⁻ˣ", "1 / (1 - e⁻ˣ): the sign in the denominator is a plus.", lambda x: 1 / (1 - np.exp(-x))),
        Mistake("2σ - 1", "Stretched to lie between -1 and 1; σ lies between 0 and 1.", lambda x: 2 * _sigmoid(x) - 1),
        Mistake("power of 2", "1 / (1 + 2⁻ˣ): the base is e.", lambda x: _sigmoid(x * np.log(2))),
        Mistake("derivative", "σ (1 - σ), the slope; σ itself was asked for.", lambda x: _sigmoid(x) * _sigmoid(-x)),
        Mistake("ReLU first", "Negative numbers were made 0 first, so nothing is below 1/2.",
                lambda x: _sigmoid(np.maximum(x, 0))),
        Mistake("softsign", "x / (1 + |x|), moved to lie between 0 and 1; σ is 1 / (1 + e⁻ˣ).",
                lambda x: (x / (1 + np.abs(x)) + 1) / 2),
        Mistake("overflow at the upper end", "e^x / (1 + e^x) is right, but e^x overflows where x is large, and ∞/∞ is "
                "no number: take 1 / (1 + e⁻ˣ) there.", lambda x: np.exp(x) / (1 + np.exp(x))),
    ),
    alternates=(
        lambda x: 1 / (1 + np.exp(-x)),
        lambda x: (np.tanh(x / 2) + 1) / 2,
        lambda x: np.exp(-np.logaddexp(0, -x)),
        _one_by_one(lambda x: 1 / (1 + np.exp(-x)) if x >= 0 else np.exp(x) / (1 + np.exp(x))),
    ),
)  # fmt: skip

sigmoid_backward = Task(
    signature="sigmoid_backward(dy, x) -> dx",
    equation="σ(x) = 1 / (1 + e⁻ˣ), differentiated",
    title="The gradient of the sigmoid",
    oracle=ops.sigmoid_backward,
    forward=ops.sigmoid,
    axes="dy: N C, x: N C, dx: N C",
    sizes=SIZES,
    specials=(*SPECIALS, Special("wide", {}, lambda a: {**a, "x": 4 * a["x"]})),
    extremes=(Special("numbers of ±10⁴", {}, _far_out),),
    points=1,
    mistakes=(
        Mistake("σ alone", "Multiplied by σ; its slope is σ (1 - σ).", lambda dy, x: dy * _sigmoid(x)),
        Mistake("1 - σ alone", "Multiplied by 1 - σ, which is e⁻ˣ / (1 + e⁻ˣ); the slope of σ is σ (1 - σ), with a "
                "square in the denominator.", lambda dy, x: dy * _sigmoid(-x)),
        Mistake("x (1 - x)", "σ (1 - σ) was taken of x itself: x is what σ was given, not what it returned.",
                lambda dy, x: dy * x * (1 - x)),
        Mistake("1 - σ²", "1 - y² is the slope of tanh; that of σ is σ (1 - σ).",
                lambda dy, x: dy * (1 - _sigmoid(x) ** 2)),
        Mistake("tanh's slope", "1 - tanh², the slope of tanh; that of σ is σ (1 - σ).",
                lambda dy, x: dy * (1 - np.tanh(x) ** 2)),
        Mistake("σ (1 + σ)", "σ (1 + σ): the slope of σ is σ (1 - σ).",
                lambda dy, x: dy * _sigmoid(x) * (1 + _sigmoid(x))),
        Mistake("σ twice", "σ was taken twice: the slope is y (1 - y) with y = σ(x), not with σ(σ(x)).",
                lambda dy, x: dy * _sigmoid(_sigmoid(x)) * _sigmoid(-_sigmoid(x))),
        Mistake("dy ignored", "The slope alone came back: the gradient that arrives, dy, was ignored.",
                lambda dy, x: _sigmoid(x) * _sigmoid(-x)),
        Mistake("dy and x exchanged", "x times the slope at dy came back; it is dy times the slope at x.",
                lambda dy, x: x * _sigmoid(dy) * _sigmoid(-dy)),
        Mistake("no slope", "dy came back as it was; the slope of σ is missing.", lambda dy, x: dy.copy()),
        Mistake("always 1/4", "1/4 is the slope at 0 alone; elsewhere it is σ (1 - σ).", lambda dy, x: dy / 4),
        Mistake("slope squared", "The slope came in twice.", lambda dy, x: dy * (_sigmoid(x) * _sigmoid(-x)) ** 2),
        Mistake("divided by the slope", "dy was divided by σ (1 - σ); it is multiplied.",
                lambda dy, x: dy / (_sigmoid(x) * _sigmoid(-x))),
        Mistake("sign", "The sign of dx is wrong.", lambda dy, x: -dy * _sigmoid(x) * _sigmoid(-x)),
        Mistake("mask of ReLU", "dy passed where x > 0, the gradient of ReLU.", lambda dy, x: dy * (x > 0)),
        Mistake("overflow at the lower end", "e⁻ˣ / (1 + e⁻ˣ)² is right, but e⁻ˣ overflows where x is very negative, "
                "and ∞/∞ is no number: σ (1 - σ) is safe.", lambda dy, x: dy * np.exp(-x) / (1 + np.exp(-x)) ** 2),
    ),
    alternates=(
        lambda dy, x: dy * _sigmoid(x) * (1 - _sigmoid(x)),
        lambda dy, x: dy * _sigmoid(x) * _sigmoid(-x),
        lambda dy, x: dy * (1 - np.tanh(x / 2) ** 2) / 4,
        _one_by_one(lambda dy, x: dy / (2 + np.exp(-abs(x)) + np.exp(abs(x)))),
    ),
)  # fmt: skip

TASKS = (relu, relu_backward, sigmoid, sigmoid_backward)
