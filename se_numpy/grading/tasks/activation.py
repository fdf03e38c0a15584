"""δ and σ of Eq. (3), and their gradients."""

from typing import Any

import numpy as np

from se_numpy import ops
from se_numpy.grading.task import Arguments, Mistake, Special, Task

SIZES = {"N": (3, 5), "C": (4, 8)}
SPECIALS = (
    Special("a single value", {"N": 1, "C": 1}),
    Special("all negative", {}, lambda a: {**a, "x": -np.abs(a["x"])}),
    Special("all positive", {}, lambda a: {**a, "x": np.abs(a["x"])}),
)


def _some_zeros(arguments: Arguments) -> Arguments:
    """Set every third value of x to 0, where ReLU has no derivative and 0 is used by convention."""
    x = arguments["x"].copy()
    x.flat[::3] = 0
    return {**arguments, "x": x}


def _far_out(arguments: Arguments) -> Arguments:
    """Set a third of the values of x to 10⁴ and a third to -10⁴."""
    x = arguments["x"].copy()
    x.flat[::3], x.flat[1::3] = 1e4, -1e4
    return {**arguments, "x": x}


def _one_by_one(f: Any) -> Any:
    """Return a function that applies f to arrays, one element at a time."""

    def loop(*arrays):
        y = np.empty_like(arrays[0])
        for index in np.ndindex(y.shape):
            y[index] = f(*(array[index] for array in arrays))
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
              Special("large values", {"N": 5}, lambda a: {**a, "x": 16 * a["x"]})),
    extremes=(Special("values of ±10⁴", {}, _far_out),),
    points=1,
    likely=("identity", "step", "absolute value", "min", "maximum of the array"),
    mistakes=(
        Mistake("min", "min(x, 0), the negative part, was returned; δ keeps the positive part, max(x, 0).",
                lambda x: np.minimum(x, 0)),
        Mistake("leaky ReLU", "Negative values were multiplied by 0.01; δ sets them to 0.",
                lambda x: np.where(x > 0, x, 0.01 * x)),
        Mistake("very leaky ReLU", "Negative values were multiplied by 0.1; δ sets them to 0.",
                lambda x: np.where(x > 0, x, 0.1 * x)),
        Mistake("leaky with another slope", "Negative values were multiplied by a constant; δ sets them to 0.",
                lambda x: np.where(x > 0, x, 0.2 * x), family=lambda c: lambda x: np.where(x > 0, x, c * x)),
        Mistake("clipped from above", "The result was clipped at a constant; δ has no upper bound.",
                lambda x: np.clip(x, 0, 2), family=lambda c: lambda x: np.minimum(np.maximum(x, 0), c)),
        Mistake("threshold other than 0", "x was returned only above a threshold other than 0; δ returns every "
                "positive x.", lambda x: np.where(x > 0.5, x, 0), family=lambda c: lambda x: np.where(x > c, x, 0)),
        Mistake("absolute value", "|x| was returned, which makes negative values positive; δ sets them to 0.", np.abs),
        Mistake("identity", "x was returned unchanged; δ sets negative values to 0.", lambda x: x.copy()),
        Mistake("step", "1 was returned where x is positive; δ returns x itself there.", lambda x: (x > 0) * 1.0),
        Mistake("sign", "The sign of x was returned; δ returns x itself where it is positive.", np.sign),
        Mistake("ReLU6", "The result was clipped at 6; δ has no upper bound.", lambda x: np.clip(x, 0, 6)),
        Mistake("clipped at 1", "The result was clipped at 1; δ has no upper bound.", lambda x: np.clip(x, 0, 1)),
        Mistake("ELU", "e^x - 1 was returned for negative x; δ is 0 there.",
                lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
        Mistake("softplus", "The smooth function log(1 + e^x) was used; δ is max(x, 0), with a corner at 0.",
                lambda x: np.logaddexp(x, 0)),
        Mistake("swish", "x σ(x) was computed; δ is max(x, 0).", lambda x: x * _sigmoid(x)),
        Mistake("sigmoid", "The sigmoid σ was used; δ is the ReLU.", _sigmoid),
        Mistake("max with 1", "max(x, 1) was computed; δ is max(x, 0).", lambda x: np.maximum(x, 1)),
        Mistake("maximum of the array", "The maximum of the whole array was returned; δ applies to each element "
                "separately.", lambda x: np.max(x)),
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
    specials=(*SPECIALS, Special("some zeros", {}, _some_zeros)),
    extremes=(Special("values of ±10⁴", {}, _far_out),),
    points=1,
    hint="At 0, where ReLU is not differentiable, the derivative is taken as 0, as in other frameworks.",
    likely=("mask from dy", "no mask", "dy and x swapped", "gradient passed on at 0", "dy ignored", "times x"),
    mistakes=(
        Mistake("mask from dy", "dy was set to 0 where dy is negative; the mask comes from x, so dx should be dy where "
                "x > 0.", lambda dy, x: dy * (dy > 0)),
        Mistake("negative gradients dropped", "Negative gradients were set to 0; they should be kept where x > 0.",
                lambda dy, x: np.maximum(dy, 0) * (x > 0)),
        Mistake("no mask", "dy was passed on everywhere, as with the mask y >= 0; dx should be 0 where x is negative, "
                "because y is constant there.", lambda dy, x: dy.copy()),
        Mistake("gradient passed on at 0", "dy was passed on where x is 0, as with the mask x >= 0; the gradient at 0 "
                "is 0 by convention.", lambda dy, x: dy * (x >= 0)),
        Mistake("dy and x swapped", "x was returned where dy is positive; the result should be dy where x is positive.",
                lambda dy, x: x * (dy > 0)),
        Mistake("mask inverted", "dy was passed on where x is negative; it should be passed on where x is positive.",
                lambda dy, x: dy * (x < 0)),
        Mistake("leaky", "A hundredth of dy was passed on where x is negative; the gradient of ReLU is 0 there.",
                lambda dy, x: np.where(x > 0, dy, 0.01 * dy)),
        Mistake("very leaky", "A tenth of dy was passed on where x is negative; the gradient of ReLU is 0 there.",
                lambda dy, x: np.where(x > 0, dy, 0.1 * dy)),
        Mistake("leaky with another slope", "A part of dy was passed on where x is negative; the gradient of ReLU is 0 "
                "there.", lambda dy, x: np.where(x > 0, dy, 0.2 * dy),
                family=lambda c: lambda dy, x: np.where(x > 0, dy, c * dy)),
        Mistake("half of dy at 0", "Half of dy was passed on where x is 0; the gradient at 0 is 0 by convention.",
                lambda dy, x: dy * np.heaviside(x, 0.5)),
        Mistake("mask at another value", "dy was passed on where x is above a number other than 0; it should be passed "
                "on where x > 0.", lambda dy, x: dy * (x > 0.5), family=lambda c: lambda dy, x: dy * (x > c)),
        Mistake("dy ignored", "Only the mask was returned; it should be multiplied by the upstream gradient dy.",
                lambda dy, x: (x > 0) * 1.0),
        Mistake("times x", "dy was multiplied by δ(x); the derivative of ReLU is 1 where x > 0.",
                lambda dy, x: dy * np.maximum(x, 0)),
        Mistake("sign of x", "dx is -dy where x is negative, as for |x|; the gradient of ReLU is 0 there.",
                lambda dy, x: dy * np.sign(x)),
        Mistake("mask at 1", "dy was passed on where x > 1; it should be passed on where x > 0.",
                lambda dy, x: dy * (x > 1)),
        Mistake("sign", "dx has the wrong sign; it should be dy where x > 0.", lambda dy, x: -dy * (x > 0)),
        Mistake("ReLU of x", "The forward result δ(x) was returned; dx is dy where x > 0.",
                lambda dy, x: np.maximum(x, 0)),
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
              Special("a wide range", {}, lambda a: {**a, "x": 4 * a["x"]})),
    extremes=(Special("values of ±10⁴", {}, _far_out),),
    points=1,
    hint="e⁻ˣ overflows for very negative x; use the equivalent e^x / (1 + e^x) there.",
    mistakes=(
        Mistake("sign of the exponent", "1 / (1 + e^x) was computed, which decreases; σ(x) is 1 / (1 + e⁻ˣ).",
                lambda x: _sigmoid(-x)),
        Mistake("tanh", "tanh was used, which ranges from -1 to 1; σ ranges from 0 to 1.", np.tanh),
        Mistake("hard sigmoid", "x / 6 + 1/2 was clipped to the range from 0 to 1; σ(x) is 1 / (1 + e⁻ˣ).",
                lambda x: np.clip(x / 6 + 0.5, 0, 1)),
        Mistake("hard sigmoid with slope 1/5", "0.2 x + 1/2 was clipped to the range from 0 to 1; σ(x) is 1 / (1 + "
                "e⁻ˣ).", lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
        Mistake("clipped at 0 and 1", "x was clipped to the range from 0 to 1; σ(x) is 1 / (1 + e⁻ˣ).",
                lambda x: np.clip(x, 0, 1)),
        Mistake("softmax", "A softmax was used, which makes every row sum to 1; σ applies to each element separately.",
                lambda x: ops.softmax(x)),
        Mistake("without 1 +", "1 / e⁻ˣ was computed, which is e^x; the denominator of σ is 1 + e⁻ˣ.", np.exp),
        Mistake("two forms mixed", "e^x / (1 + e⁻ˣ) was computed, which mixes two forms; σ is 1 / (1 + e⁻ˣ) or e^x / "
                "(1 + e^x).", lambda x: np.exp(x) / (1 + np.exp(-x))),
        Mistake("1 - e⁻ˣ", "1 / (1 - e⁻ˣ) was computed; the denominator of σ is 1 + e⁻ˣ.",
                lambda x: 1 / (1 - np.exp(-x))),
        Mistake("2σ - 1", "2 σ(x) - 1 was computed, which ranges from -1 to 1; σ ranges from 0 to 1.",
                lambda x: 2 * _sigmoid(x) - 1),
        Mistake("power of 2", "1 / (1 + 2⁻ˣ) was computed; the base should be e.", lambda x: _sigmoid(x * np.log(2))),
        Mistake("another base", "A base other than e was used; σ(x) is 1 / (1 + e⁻ˣ).",
                lambda x: _sigmoid(x * np.log(10)), family=lambda c: lambda x: _sigmoid(c * x)),
        Mistake("1 + e⁻ˣ", "1 + e⁻ˣ was returned; σ(x) is 1 / (1 + e⁻ˣ).", lambda x: 1 + np.exp(-x)),
        Mistake("x clipped", "x was clipped first, which bounds the result away from 0 and 1; σ applies to every x, "
                "and e⁻ˣ / (1 + e⁻ˣ) does not overflow for positive x.", lambda x: _sigmoid(np.clip(x, -5, 5)),
                family=lambda c: lambda x: _sigmoid(np.clip(x, -abs(c), abs(c)))),
        Mistake("derivative", "The derivative σ (1 - σ) was returned; the result should be σ itself.",
                lambda x: _sigmoid(x) * _sigmoid(-x)),
        Mistake("ReLU first", "Negative values were set to 0 first, so no result is below 1/2; σ applies to x itself.",
                lambda x: _sigmoid(np.maximum(x, 0))),
        Mistake("softsign", "x / (1 + |x|) was rescaled to the range from 0 to 1; σ(x) is 1 / (1 + e⁻ˣ).",
                lambda x: (x / (1 + np.abs(x)) + 1) / 2),
        Mistake("overflow for large x", "e^x / (1 + e^x) was computed, but e^x overflows for large x, and ∞/∞ is NaN; "
                "use 1 / (1 + e⁻ˣ) there.", lambda x: np.exp(x) / (1 + np.exp(x))),
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
    specials=(*SPECIALS, Special("a wide range", {}, lambda a: {**a, "x": 4 * a["x"]})),
    extremes=(Special("values of ±10⁴", {}, _far_out),),
    points=1,
    mistakes=(
        Mistake("σ only", "dy was multiplied by σ; the derivative is σ (1 - σ).", lambda dy, x: dy * _sigmoid(x)),
        Mistake("1 - σ only", "dy was multiplied by 1 - σ = e⁻ˣ / (1 + e⁻ˣ); the derivative is σ (1 - σ) = e⁻ˣ / (1 + "
                "e⁻ˣ)².", lambda dy, x: dy * _sigmoid(-x)),
        Mistake("x (1 - x)", "dy was multiplied by x (1 - x), as if x were the output of σ; the derivative is y (1 - "
                "y) with y = σ(x).", lambda dy, x: dy * x * (1 - x)),
        Mistake("1 - σ²", "dy was multiplied by 1 - y² with y = σ(x), as for tanh; the derivative of σ is y (1 - y).",
                lambda dy, x: dy * (1 - _sigmoid(x) ** 2)),
        Mistake("derivative of tanh", "dy was multiplied by 1 - tanh²(x), the derivative of tanh; that of σ is σ (1 - "
                "σ).", lambda dy, x: dy * (1 - np.tanh(x) ** 2)),
        Mistake("parentheses left out", "dy σ · 1 - σ was computed, without parentheses; the derivative is σ (1 - σ).",
                lambda dy, x: dy * _sigmoid(x) * 1 - _sigmoid(x)),
        Mistake("σ²", "dy was multiplied by σ²; the derivative is σ (1 - σ).", lambda dy, x: dy * _sigmoid(x) ** 2),
        Mistake("(1 - σ)²", "dy was multiplied by (1 - σ)²; the derivative is σ (1 - σ).",
                lambda dy, x: dy * _sigmoid(-x) ** 2),
        Mistake("σ (1 + σ)", "dy was multiplied by σ (1 + σ); the derivative is σ (1 - σ).",
                lambda dy, x: dy * _sigmoid(x) * (1 + _sigmoid(x))),
        Mistake("σ twice", "σ was applied twice; the derivative is y (1 - y) with y = σ(x), not y = σ(σ(x)).",
                lambda dy, x: dy * _sigmoid(_sigmoid(x)) * _sigmoid(-_sigmoid(x))),
        Mistake("dy ignored", "Only the derivative was returned; it should be multiplied by the upstream gradient dy.",
                lambda dy, x: _sigmoid(x) * _sigmoid(-x)),
        Mistake("dy and x swapped", "x times the derivative at dy was returned; the result should be dy times the "
                "derivative at x.", lambda dy, x: x * _sigmoid(dy) * _sigmoid(-dy)),
        Mistake("no derivative", "dy was returned unchanged; it should be multiplied by σ (1 - σ).",
                lambda dy, x: dy.copy()),
        Mistake("always 1/4", "dy was multiplied by 1/4, the derivative at 0; elsewhere the derivative is σ (1 - σ).",
                lambda dy, x: dy / 4),
        Mistake("derivative squared", "dy was multiplied by the derivative twice; it should be multiplied once.",
                lambda dy, x: dy * (_sigmoid(x) * _sigmoid(-x)) ** 2),
        Mistake("divided by the derivative", "dy was divided by σ (1 - σ); it should be multiplied by σ (1 - σ).",
                lambda dy, x: dy / (_sigmoid(x) * _sigmoid(-x))),
        Mistake("sign", "dx has the wrong sign; it should be dy σ (1 - σ).",
                lambda dy, x: -dy * _sigmoid(x) * _sigmoid(-x)),
        Mistake("mask of the ReLU", "dy was passed on where x > 0, as for ReLU; the derivative of σ is σ (1 - σ).",
                lambda dy, x: dy * (x > 0)),
        Mistake("overflow for very negative x", "e⁻ˣ / (1 + e⁻ˣ)² was computed, but e⁻ˣ overflows for very negative "
                "x, and ∞/∞ is NaN; use σ (1 - σ).", lambda dy, x: dy * np.exp(-x) / (1 + np.exp(-x)) ** 2),
    ),
    alternates=(
        lambda dy, x: dy * _sigmoid(x) * (1 - _sigmoid(x)),
        lambda dy, x: dy * _sigmoid(x) * _sigmoid(-x),
        lambda dy, x: dy * (1 - np.tanh(x / 2) ** 2) / 4,
        _one_by_one(lambda dy, x: dy / (2 + np.exp(-abs(x)) + np.exp(abs(x)))),
    ),
)  # fmt: skip

TASKS = (relu, relu_backward, sigmoid, sigmoid_backward)
