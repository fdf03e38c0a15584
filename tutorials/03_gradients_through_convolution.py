# %% [markdown]
# # 3. Send gradients back through a convolution
#
# [all tutorials](README.md) ·
# [this one as a script](03_gradients_through_convolution.py)
#
# **You will** measure a derivative in three ways, find a wrong one that has been widely copied,
# and write `relu_backward` and `conv2d_backward`.
#
# **You learn** the contract of every backward pass in this library, why gradients of shared
# values add up, and how to verify a gradient yourself.
#
# **You need** [tutorial 2](02_convolve.ipynb), derivatives and the chain rule; a CPU; 50 minutes.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
import numpy as np
import se_numpy as se
from se_numpy.grading.lessons import check, claim, exercise, figures, hint, solution

figures.style()

# %% [markdown]
# ## What goes back
#
# A network ends in one number, the loss $L$. To make it smaller, ask for every number inside how
# much $L$ would grow if that number grew a little. This is its gradient. We write `dU` for
# $\partial L / \partial U$: an array of the shape of `U`.
#
# Gradients are computed from the end: this is *backpropagation*. A function $y = f(x)$ in the
# middle receives `dy` from the functions after it and returns `dx`. It needs no other information
# about the rest. So every function of this library has a partner with the following contract:
#
# ```text
# y            = f(x, w)
# dx, dw       = f_backward(dy, x, w)        one gradient for each argument, in order, of its shape
# ```
#
# For a function of one number this is the chain rule: $dx = dy \cdot f'(x)$.
#
# ## Three ways to measure a slope
#
# How do you know a derivative is right? Measure it. Take $\sigma(x) = 1 / (1 + e^{-x})$, whose
# derivative is $\sigma(x)\,\sigma(-x)$, and
#
# - one step: $\;(f(x + h) - f(x)) / h$,
# - central: $\;(f(x + h) - f(x - h)) / 2h$,
# - complex: $\;\mathrm{Im} f(x + ih) / h$, a step to the side, into the complex numbers: because
#   $f(x + ih) = f(x) + ih f'(x) - \dots$, the imaginary part is the slope times $h$.
#
# **Predict.** In mathematics all three get better as $h$ gets smaller. On a computer, does a
# smaller step always help?


# %%
def sigma(x):  # of real and of complex numbers
    return 1 / (1 + np.exp(-x))


x = 0.7
truth = sigma(x) * sigma(-x)
steps = np.logspace(-15, 0, 61)
ways = {
    "one step": [(sigma(x + h) - sigma(x)) / h for h in steps],
    "central": [(sigma(x + h) - sigma(x - h)) / (2 * h) for h in steps],
    "complex": [sigma(x + 1j * h).imag / h for h in steps],
}
errors = {name: np.abs(np.array(slopes) / truth - 1) for name, slopes in ways.items()}

figure, (axes,) = figures.panels(1, 1, 3.2)
rings = {"central": {"ms": 7, "mfc": "none"}}  # stays visible under another marker
for name, error in errors.items():
    drawn = np.maximum(error, 1e-17)  # such an axis has no 0
    axes.loglog(steps, drawn, "o-", label=name, **rings.get(name, {}))
axes.set(
    xlabel="step h",
    ylabel="relative error",
    title="the error of a measured slope of σ at 0.7",
    ylim=(3e-18, 10),
)
axes.legend(loc=(0.02, 0.28))
axes.grid()
figures.show(
    alt="Errors of a measured slope against the step, on logarithmic axes: V-shaped for one step "
    "and central differences, and falling to zero for the complex step."
)

# %%
best = {name: error.min() for name, error in errors.items()}
claim("At its best one step is off by more than 1e-10.", best["one step"])
claim("At its best central is off by less than 1e-9.", best["central"])
claim("At its best complex is off by less than 1e-15.", best["complex"])
tiny = {name: error[12] for name, error in errors.items()}
claim("With a step of 1e-12 central is off by more than 1e-6.", steps[12], tiny["central"])
claim("With a step of 1e-12 complex is off by less than 1e-15.", steps[12], tiny["complex"])

# %% [markdown]
# On the right the step is too long and the curve bends away, equally for central and complex:
# there the dots are inside the rings. On the left two nearly equal numbers are subtracted, and
# their difference is mostly rounding. In between is a good step for the central difference, about
# the cube root of the rounding error. The complex step subtracts nothing, so it can be as small
# as you like (the lowest dots are errors of 0); but it needs functions that accept complex
# numbers and are differentiable.
#
# ## Exercise: `relu_backward` · easy, 5 minutes
#
# $\delta(x) = \max(x, 0)$ has slope 1 where $x > 0$ and slope 0 where $x < 0$. At 0 itself it has
# a corner and no slope; by convention the slope there is 0, also for the oracle.


# %%
@exercise
def relu_backward(dy, x):  #                                          dy, x: one shape -> that shape
    ...  # your line here


check("relu_backward", relu_backward)

# %%
# For help, uncomment a line and run the cell.
# hint("relu_backward")
# solution("relu_backward")

# %% [markdown]
# ## A common mistake, and the story of it
#
# This derivative of ReLU is in a well-made tutorial on NumPy that has been read for years, and
# before that in the code of a well-liked book (sources below):
#
# ```python
# def relu2deriv(output):
#     return output >= 0
# ```
#
# Its argument is the **output** of ReLU. **Predict** its result for these eight numbers.

# %%
numbers = np.array([2.1, -0.3, 0.5, 1.7, -1.2, -0.8, 0.9, 3.0])
output = np.maximum(numbers, 0)
print("what it says:", (output >= 0).astype(int))
print("the truth:   ", (numbers > 0).astype(int))

# %%
claim("It is wrong for 3 of 8 numbers.", ((output >= 0) != (numbers > 0)).sum(), len(numbers))

# %% [markdown]
# The output of ReLU is never negative, so `>= 0` is always true: the "derivative" is 1
# everywhere, as if there were no ReLU. With `>` in place of `>=` it would be right.
#
# Why was it not noticed? Because the network learns anyway. Here is a small one, trained twice
# from the same start on the same data, once with each derivative. (Tutorial 8 explains the
# gradients of its matrix products.)

# %%
rng = np.random.default_rng(0)
inputs = rng.standard_normal((256, 10))  #                            (N, 10)
wanted = np.sin(inputs @ rng.standard_normal((10, 1)))  #             (N, 1)
start = rng.standard_normal((10, 32)) / 10**0.5, rng.standard_normal((32, 1)) / 32**0.5


def train(derivative, steps=2000, lr=0.1):
    W1, W2 = (W.copy() for W in start)
    losses = []
    for _ in range(steps):
        hidden = np.maximum(inputs @ W1, 0)  #                        (N, 32)
        error = hidden @ W2 - wanted  #                               (N, 1)
        losses.append((error**2).mean() / 2)
        d_error = error / len(inputs)  #                              (N, 1)
        d_hidden = (d_error @ W2.T) * derivative(hidden)  #           (N, 32)
        W1 -= lr * inputs.T @ d_hidden
        W2 -= lr * hidden.T @ d_error
    return losses


right, wrong = train(lambda out: out > 0), train(lambda out: out >= 0)

figure, (axes,) = figures.panels(1, 1, 2.6)
axes.plot(wrong, color=figures.ORANGE, label="derivative 1 everywhere")
axes.plot(right, color=figures.BLUE, label="the gradient")
axes.set(
    xlabel="step",
    ylabel="loss",
    ylim=(0, None),
    title="both go down; nothing raises, nothing looks broken",
)
axes.legend()
figures.show(
    alt="Two loss curves over two thousand steps. Both fall; the one with the right gradient falls "
    "further."
)

claim("With the wrong derivative the loss falls from 0.348 to 0.212.", wrong[0], wrong[-1])
claim("With the right one it falls to 0.058.", right[-1])

# %% [markdown]
# A wrong gradient still points more or less downhill, as long as most of it is right. **A falling
# loss proves nothing about a gradient.** The NumPy tutorial is run from end to end on three
# operating systems whenever it is changed, so running the code does not prove anything either: no
# line of it compares a derivative with a measured one.
#
# What does the oracle say?


# %%
def from_output(dy, x):
    output = np.maximum(x, 0)
    return dy * (output >= 0)


check("relu_backward", from_output)

# %% [markdown]
# *Sources:* the function `relu2deriv` in
# [numpy/numpy-tutorials](https://github.com/numpy/numpy-tutorials),
# `content/tutorial-deep-learning-on-mnist.md`, and in
# [iamtrask/Grokking-Deep-Learning](https://github.com/iamtrask/Grokking-Deep-Learning), where
# readers reported it in 2018 and 2019 (issue 9, pull request 13). Both are otherwise good
# teaching. Readers found the mistake after years; a measurement finds it at once.
#
# ## Back through a convolution
#
# Now Equation (1), first with one row of pixels, one channel, one filter: $u_i = \sum_a v_a x_{i +
# a}$. Every product $v_a x_{i+a}$ has two factors, and the gradient of each factor is the other one
# times $du_i$:
#
# $$dv_a = \sum_i du_i \, x_{i + a} \qquad\qquad dx_m = \sum_{i + a = m} du_i \, v_a$$
#
# The filter is used at **every** position, and a pixel in **several** windows. A value that is
# used several times gets the sum of the gradients from all its uses.


# %%
def row_backward(du, x, v):  #                                        -> dx (W',), dv (k,)
    dx, dv = np.zeros_like(x), np.zeros_like(v)
    for i in range(len(du)):  # every place of the filter
        window = slice(i, i + len(v))
        dv += du[i] * x[window]
        dx[window] += du[i] * v
    return dx, dv


x, v = np.array([1.0, 2, 0, -1, 3]), np.array([2.0, -1, 1])
du = np.array([1.0, 0, -2])
dx, dv = row_backward(du, x, v)
print("dx", dx, " dv", dv)
first, last = du[0] * v[2], du[2] * v[0]
claim("The middle pixel gets 1 from the first window, -4 from the last: -3.", first, last, dx[2])

# %% [markdown]
# **Predict.** An image of 6 × 8 pixels, filters of 3 × 3, no padding. Let `dU` and `V` be 1
# everywhere: then `dX` counts the windows that contain each pixel. What is the number in the
# corner, and in the middle? And with stride 2?

# %%
ones = np.ones((1, 6, 8, 1)), np.ones((3, 3, 1, 1))  #                X and V
figure, axes = figures.panels(1, 3, 2.1)
for axis, (stride, padding) in zip(axes, [(1, 0), (1, 1), (2, 0)], strict=True):
    U = se.conv2d(*ones, stride=stride, padding=padding)
    dX, _ = se.conv2d_backward(np.ones_like(U), *ones, stride=stride, padding=padding)
    title = f"stride {stride}, padding {padding}"
    figures.heatmap(axis, dX[0, :, :, 0], title, form=".0f", limit=12)
figures.show(
    alt="Three heatmaps that count the windows containing each pixel: small in the corners, "
    "largest in the middle, zero in a leftover row and column at stride two."
)

# %% [markdown]
# With stride 2 the last row and the last column are outside every window: their gradient is 0,
# but they are still part of `dX`, which has the shape of `X`. With padding, windows also cover
# zeros outside the image; the gradient of those is dropped.
#
# ## Three tests for one gradient
#
# You do not need an oracle to test a gradient. Here are three ways, with the library's
# `conv2d_backward`.
#
# **1. Measure.** `se.check_backward(f, f_backward, *arguments)` moves each argument along a
# random direction and compares the measured slope with the result of the backward pass.

# %%
X = rng.standard_normal((2, 6, 7, 3))  #                              (N, H', W', C')
V = rng.standard_normal((3, 3, 3, 4))  #                              (k, k, C', C)
results = se.check_backward(se.conv2d, se.conv2d_backward, X, V, stride=2, padding=1)
worst = max(result.relative for result in results)
claim("Measured: off by less than 1e-8 of the gradient's size.", worst)

# %% [markdown]
# **2. Use linearity.** Write $\langle A, B \rangle$ for the sum of all products, each number of
# $A$ times the one of $B$ in its place. Take any `dU`: $L = \langle \mathrm{conv}(X), dU \rangle$
# is a loss that sends back just this `dU`, so `dX` is its gradient. But $L$ is linear in `X`:
# every number of `X` times a factor of its own, added up. Those factors are the gradient, and
# therefore $L = \langle X, dX \rangle$, up to rounding and without a step. It is linear in `V` as
# well.

# %%
U = se.conv2d(X, V, stride=2, padding=1)  #                           (N, H, W, C)
dU = rng.standard_normal(U.shape)  #                                  (N, H, W, C)
dX, dV = se.conv2d_backward(dU, X, V, stride=2, padding=1)  #         as X, as V
print(f"<U, dU> {(U * dU).sum():.6f}   <X, dX> {(X * dX).sum():.6f}   <V, dV> {(V * dV).sum():.6f}")
gap = max(abs((U * dU).sum() - (X * dX).sum()), abs((U * dU).sum() - (V * dV).sum()))
claim("All agree to less than 1e-12.", gap)

# %% [markdown]
# **3. Take a complex step.** A convolution is differentiable and accepts complex numbers, so the
# complex step is exact.

# %%
results = se.check_backward(
    se.conv2d, se.conv2d_backward, X, V, stride=2, padding=1, method="complex"
)
claim("By the complex step: off by less than 1e-14.", max(result.relative for result in results))

# %% [markdown]
# ## Exercise: `conv2d_backward` · hard, 25 minutes
#
# With stride $t$ and padding $p$,
#
# $$dV_{a b s c} = \sum_{n, i, j} dU_{n i j c} \; X_{n,\; i t + a - p,\; j t + b - p,\; s}$$
#
# and `dX` is, for every pixel, the sum of the gradients from all windows that contain it. There
# are two ways:
#
# - window by window, as `row_backward` above. For one window of pixels `w (N, k, k, C')` and the
#   gradients `d (N, C)` of its results, two functions of NumPy sum over shared axes:
#   `np.tensordot(w, d, (0, 0))` multiplies and sums over the images, which leaves `(k, k, C', C)`;
#   `np.einsum("nc,absc->nabs", d, V)` says the same with a letter for each axis: letters missing
#   after the arrow are summed over.
# - tap by tap (a *tap* is one place $(a, b)$ in the filter): all pixels under it are the slice
#   `X[:, a : a + stride * H : stride, b : b + stride * W : stride]` of the padded image. Their
#   channels and those of `dU` are joined by a matrix product.
#
# Begin with zeros of the **padded** image's shape, and cut the padding off at the end.


# %%
@exercise
def conv2d_backward(dU, X, V, *, stride=1, padding=0):  #             -> dX as X, dV as V
    ...  # your lines here


check("conv2d_backward", conv2d_backward)

# %%
# hint("conv2d_backward")
# hint("conv2d_backward", 2)
# hint("conv2d_backward", 3)  # common mistakes
# solution("conv2d_backward")

# %% [markdown]
# ## A common mistake: overwriting instead of adding
#
# With `=` in place of `+=`, the gradient from one window overwrites that from another, and only
# the one written last remains. If windows do not overlap, the mistake does not show. (`np.s_[...]`
# is an index with a name, so that it can be used twice; `P, Q` are $H', W'$.)


# %%
def written_over(dU, X, V, *, stride=1, padding=0):
    N, H, W, _ = dU.shape
    k, P, Q = len(V), *X.shape[1:3]
    dX = np.zeros((N, P + 2 * padding, Q + 2 * padding, X.shape[3]))
    for a in range(k):
        for b in range(k):  # all pixels that lay under tap (a, b) of the filters
            under = np.s_[:, a : a + stride * H : stride, b : b + stride * W : stride]
            dX[under] = dU @ V[a, b].T  #                             here
    dV = se.conv2d_backward(dU, X, V, stride=stride, padding=padding)[1]
    return dX[:, padding : padding + P, padding : padding + Q], dV


U3 = se.conv2d(X, V, stride=3)
truth, _ = se.conv2d_backward(U3, X, V, stride=3)
apart = abs(written_over(U3, X, V, stride=3)[0] - truth).max()
claim("At stride three no windows overlap, and it is right to less than 1e-13.", apart)

check("conv2d_backward", written_over)

# %% [markdown]
# ## On your own
#
# - *Quick.* Why is `dX` of a convolution at stride 1 a convolution of `dU` with the filters turned
#   by 180°?
# - *Core.* Check your own `conv2d_backward` against your own `conv2d` of tutorial 2 with
#   `se.check_backward`. If both are wrong in the same way, what is the result? Which of the two
#   would the oracle report?
# - *Open.* The backward pass needs `X` again. A network keeps it from the forward pass: how many
#   numbers is that for one layer, and what could be done without keeping them?
#
# **Answers.** *Quick:* a pixel $m$ gets $du_i$ times $v_a$ for all $i + a = m$. Along the windows
# $i$ of that pixel, the filter's index $a = m - i$ runs backwards. *Core:* `check_backward`
# compares the two functions with each other only, so it finds nothing if both are wrong in the same
# way; the oracle reports both. *Open:* $N H' W' C'$ numbers for each layer. They could be computed
# again from an earlier layer (this is called *checkpointing*).
#
# Next: [4. Test a gradient](04_test_a_gradient.ipynb).
