# %% [markdown]
# # 4. Test a gradient
#
# [all tutorials](README.md) · [this one as a
# script](04_test_a_gradient.py)
#
# **You will** write a gradient checker of a dozen lines, run it on more than fifty wrong
# gradients of functions that you have written, and see which testing habits hide mistakes.
#
# **You learn** why ones, a batch of one, filters of one pixel and zero weights prove nothing, how
# small an error has to be, and how to test a test.
#
# **You need** [tutorial 3](03_gradients_through_convolution.ipynb); a CPU; 40 minutes.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
from functools import partial

import numpy as np
import se_numpy as se
from se_numpy.grading.lessons import check, claim, exercise, figures, hint, solution
from se_numpy.grading.tasks import all_tasks

figures.style()

# %% [markdown]
# ## A checker of a dozen lines
#
# `f_backward(dy, *args)` claims to return the gradients of $L = \langle f(\mathrm{args}), dy
# \rangle$, the sum of all products as in tutorial 3. Pick one argument, move it a little along a
# random direction $v$, and see how fast $L$ changes. It must be $\langle d\mathrm{arg}, v
# \rangle$: a single number to which every entry of the gradient contributes.


# %%
def error(f, f_backward, args, dy, seed=0, h=1e-6):
    """Return the worst error along a random direction, relative to the gradient's size."""
    rng, worst = np.random.default_rng(seed), 0.0
    gradients = f_backward(dy, *args)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    for k, (arg, gradient) in enumerate(zip(args, gradients, strict=True)):
        v = rng.standard_normal(arg.shape)

        def L(t, k=k, v=v):  # with argument k moved by t along v
            return (f(*(a + t * v if n == k else a for n, a in enumerate(args))) * dy).sum()

        measured, computed = (L(h) - L(-h)) / (2 * h), (gradient * v).sum()
        # For a gradient of 0 the size of dy is used, to avoid dividing by 0.
        size = max(np.linalg.norm(gradient), abs(measured), 1e-3 * np.linalg.norm(dy))
        worst = max(worst, abs(measured - computed) / size)
    return worst


rng = np.random.default_rng(0)
U, s = rng.standard_normal((3, 4, 5, 7)), rng.random((3, 7))  #       (N, H, W, C), (N, C)
dX_tilde = rng.standard_normal(U.shape)  #                            (N, H, W, C)
own = error(se.scale, se.scale_backward, (U, s), dX_tilde)
claim("The library's scale_backward is off by less than 1e-8.", own)

# %% [markdown]
# `se.check_backward` of the last tutorial does the same, and also handles corners, rounding and
# error messages.
#
# ## Wrong on purpose
#
# Does the checker find mistakes? To find out, give it wrong gradients. For each of its tasks the
# oracle has a list of common wrong versions. Here are some of the gradient of the convolution,
# which you have just written.

# %%
tasks = {
    name: all_tasks()[name] for name in ("conv2d_backward", "squeeze_backward", "scale_backward")
}
for mistake in tasks["conv2d_backward"].mistakes[:6]:
    print(f"{mistake.name}: {mistake.text}")
print("...")

known = sum(len(one.mistakes) for one in tasks.values())
claim("The gradients of conv2d, squeeze and scale have more than 50 known mistakes.", known)

# %% [markdown]
# **Predict.** The right gradient is off by about $10^{-9}$: rounding. How far off will the mildest
# mistake be: a billionth, a thousandth, a tenth of the gradient's size?


# %%
SIZES = {"N": 2, "H": 4, "W": 6, "C": 5, "P": 8, "Q": 7, "D": 3, "k": 4}  # P, Q, D: H', W', C'
SETTINGS = ({"stride": 2, "padding": 1}, {"stride": 1, "padding": 0}, {"stride": 2, "padding": 0})


def draw(task, seed, **sizes):
    """Draw random arguments and a random dy, with all sizes different unless given."""
    rng, setting = np.random.default_rng(seed), SETTINGS[seed] if task.hyper else {}
    case = task.draw(rng, "", "random", SIZES | setting | sizes)
    dy, *args = case.arguments.values()
    return args, dy, case.hyper


def off(task, f_backward, args, dy, hyper):
    """Return the error, or infinity if the shapes differ or the function fails."""
    try:
        with np.errstate(all="ignore"):
            return error(partial(task.forward, **hyper), partial(f_backward, **hyper), args, dy)
    except (ValueError, IndexError, TypeError):
        return np.inf


right, wrong = {}, {}
for name, task in tasks.items():
    for seed in range(3):
        test = draw(task, seed)
        right[name, seed] = off(task, task.oracle, *test)
        for mistake in task.mistakes:
            key = name, mistake.name
            wrong[key] = max(wrong.get(key, 0), off(task, mistake.wrong, *test))

far = np.sort(list(wrong.values()))
misfits = np.isinf(far).sum()  # drawn at the top

figure, (axes,) = figures.panels(1, 1, 2.9)
axes.semilogy(far, "o", color=figures.ORANGE, label="mistakes, sorted")
ranks = range(len(far) - misfits, len(far))
axes.semilogy(ranks, [20] * misfits, "^", color=figures.ORANGE, label="wrong shape")
axes.semilogy(np.sort(list(right.values())), "o", color=figures.BLUE, label="the library, sorted")
axes.axhline(1e-5, color=figures.GREY, lw=1, ls="--")
axes.set(
    xlabel="rank",
    ylabel="relative error",
    title="right and wrong are far apart, with room for a tolerance",
)
axes.legend(loc="lower right")
figures.show(
    alt="Errors of all mistakes, sorted: about as large as the gradient, with those of the wrong "
    "shape at the top. The errors of the library are many orders of magnitude smaller, far under a "
    "dashed tolerance."
)

# %%
claim("The library is off by less than 1e-8.", max(right.values()))
claim("Every mistake is off by more than 0.1.", far.min())
claim("Less than 15 % of the mistakes do not have the right shape.", misfits / len(far))

# %% [markdown]
# Right and wrong are many orders of magnitude apart, so the tolerance need not be generous:
# choose one far below the mistakes and well above rounding, here $10^{-5}$. With random inputs of
# different sizes the checker catches all of them. **Then why do tests let mistakes through?**
# Because of their inputs.
#
# ## The blind-test matrix
#
# The first column below is the good test: three random inputs, with three settings of stride and
# padding. The others are seven common habits, used because they are easy to type or to follow by
# hand. Six change one thing about the good test. The last is the test that is easiest to type: ones
# everywhere, one image, one channel, a square map, stride 1.
#
# **Predict.** Which habit is the blindest? Which one lets the most mistakes in the *squeeze*
# through? (White in the figure is a mistake that passes.)

# %%
habits = {
    "random, all sizes different": draw,
    "ones as dy": lambda task, seed: replaced(draw(task, seed), dy=np.ones_like),
    "one image": lambda task, seed: draw(task, seed, N=1),
    "one pixel": lambda task, seed: draw(task, seed, H=1, W=1, k=1),  # maps, or filters
    "square maps": lambda task, seed: draw(task, seed, H=4, W=4, P=7, Q=7),
    "stride 1, padding 0": lambda task, seed: draw(task, seed, **simple(task)),
    "filters, gates of 0": lambda task, seed: replaced(draw(task, seed), last=np.zeros_like),
    "the easiest test": lambda task, seed: replaced(easy(task, seed), *[np.ones_like] * 3),
}


def same(array):
    return array


def replaced(test, dy=same, last=same, first=same):
    """Return a test with other arrays: dy, the last argument, and the first."""
    args, upstream, hyper = test
    *others, weights = args  # the squeeze has no weights
    if not others:
        return [first(weights)], dy(upstream), hyper
    return [first(others[0]), last(weights)], dy(upstream), hyper


def simple(task):
    return {"stride": 1, "padding": 0} if task.hyper else {}


def easy(task, seed):
    """Draw one image, square, with one channel, at stride 1 without padding."""
    return draw(task, seed, N=1, C=1, D=1, H=4, W=4, P=7, Q=7, **simple(task))


def caught(task, habit):
    """Return, for each known mistake, whether three tests with this habit find it."""
    tests = [habits[habit](task, seed) for seed in range(3)]
    assert all(off(task, task.oracle, *test) < 1e-5 for test in tests)
    return [any(not off(task, m.wrong, *test) < 1e-5 for test in tests) for m in task.mistakes]


matrix = {name: {habit: caught(task, habit) for habit in habits} for name, task in tasks.items()}

# %%
seen = np.array(list(matrix["conv2d_backward"].values())).T  #      (mistakes, habits)
figure, (axes,) = figures.panels(1, 1, 5.8)
axes.imshow(seen, cmap=figures.two_colours("white", figures.BLUE), aspect="auto", vmin=0, vmax=1)
axes.set_xticks(range(len(habits)), [habit.replace(" ", "\n") for habit in habits], fontsize=8)
axes.set_yticks(range(len(seen)), [m.name for m in tasks["conv2d_backward"].mistakes], fontsize=8)
axes.tick_params(length=0, labeltop=True, labelbottom=False)
axes.set_xticks(np.arange(-0.5, len(habits)), minor=True)
axes.set_yticks(np.arange(-0.5, len(seen)), minor=True)
axes.grid(which="minor", color="#BBBBBB", alpha=1, lw=0.8)
axes.tick_params(which="minor", length=0)
figure.suptitle(
    "conv2d_backward: blue is caught, white passes though it is wrong",
    x=0.01,
    ha="left",
    fontsize=10,
)
figures.show(
    alt="A table of mistakes in the convolution's gradient by testing habit. The column of random "
    "inputs is all blue, so it catches everything; each other column has white cells, mistakes "
    "that pass."
)

# %%
print(
    f"{'caught, of':30}"
    + "".join(f"{name.removesuffix('_backward'):>10}" for name in tasks)
    + "       all"
)
print(
    f"{'known mistakes':30}"
    + "".join(f"{len(task.mistakes):10}" for task in tasks.values())
    + f"{known:10}"
)
total = {}
for habit in habits:
    counts = [sum(matrix[name][habit]) for name in tasks]
    total[habit] = sum(counts)
    print(f"{habit:30}" + "".join(f"{count:10}" for count in counts) + f"{total[habit]:10}")

claim("Random inputs catch 100 % of them.", total["random, all sizes different"] / known)
of_squeeze = matrix["squeeze_backward"]["one pixel"]
single = {habit: total[habit] for habit in list(habits)[1:-1]}
print("The blindest single habit:", min(single, key=single.get))
claim("It catches 38 of 54, and 4 of the squeeze's 11.", min(single.values()), known,
      sum(of_squeeze), len(of_squeeze))  # fmt: skip
claim("The easiest test catches less than 50 %.", total["the easiest test"] / known)

# %% [markdown]
# ## Why they are blind
#
# **Ones as `dy`.** With `dy` 1 everywhere, a backward pass may ignore `dy` altogether. It gets
# worse if a function subtracts a mean, as batch norm will do in tutorial 5. Then the sum of its
# outputs does not depend on its input at all, so the gradient for ones is 0, and so is twice that
# gradient, or its negative.


# %%
def centre(x):  #                                                     (N, H, W, C) -> the same
    return x - x.mean((1, 2), keepdims=True)


def centre_backward(dy, x):
    return dy - dy.mean((1, 2), keepdims=True)


x, dy = rng.standard_normal((2, 3, 4, 5, 7))  #                       (N, H, W, C) each
claim("The gradient is right for a random dy, to less than 1e-8.",
      error(centre, centre_backward, (x,), dy))  # fmt: skip
dx = centre_backward(np.ones_like(x), x)
claim("For ones it is below 1e-14: any multiple of it passes.", abs(dx).max())

# %% [markdown]
# **One image.** A sum over the batch, its mean, and its first entry are the same.
#
# **One pixel.** With maps of one pixel $1/(HW) = 1$, so a squeeze that sums, or takes the largest
# pixel, is right too. With filters of one pixel nothing can be flipped or transposed, and no
# windows overlap.
#
# **Square maps.** $1/H^2$ and $1/(HW)$ are the same.
#
# **Stride 1, padding 0.** A function may ignore both, or cut off the wrong border.
#
# **Filters or gates of 0.** The gradient of the other factor is multiplied by 0. In the block of
# tutorial 7, weights of 0 hide a whole path of the gradient in this way.
#
# **The easiest test.** All numbers are equal: the maximum is the mean, a product equals each of
# its factors. And all other habits are there too.
#
# They have one thing in common: **right and wrong coincide**. A test needs an input on which they
# differ. This is why the oracle draws sizes that are all different, and rejects inputs that do
# not reveal the known mistakes.

# %% [markdown]
# ## A common mistake: `np.allclose`
#
# Gradients are often small: a pixel's share in the mean of a map of 224 × 224 pixels is tiny, and
# so is the gradient of a loss averaged over a batch. Suppose a function forgets to fill in its
# result:


# %%
def nothing(dz, U):
    return np.zeros_like(U)


drawn = np.random.default_rng(0)  # its own, so that the cell can be run again
large = drawn.standard_normal((1, 224, 224, 3))  #                    (N, H, W, C)
small = 1e-4 * drawn.standard_normal((1, 3))  #                       (N, C)
close = np.allclose(nothing(small, large), se.squeeze_backward(small, large))
print("np.allclose finds zeros close to the gradient:", close)
assert close
relative = error(se.squeeze, nothing, (large,), small, h=1e-3)  # linear: any step is exact
claim("The checker: off by 100 % of its size.", relative)

check("squeeze_backward", nothing)

# %% [markdown]
# `np.allclose(a, b)` lets $|a - b| \le 10^{-8} + 10^{-5} |b|$ pass. Where everything is smaller
# than $10^{-8}$, everything passes, zeros included. An error is meaningful only **relative to the
# size of the array**, and of the whole array, because single entries may happen to be 0.
#
# The opposite happens too: a right gradient that a test calls wrong. ReLU has a corner at 0.
# Within one step of it the central difference mixes both sides.

# %%
corner = np.array([1e-9, 1.0, -1.0])
wrongly = error(se.relu, se.relu_backward, (corner,), np.ones(3))
claim("This close to the corner a right gradient looks wrong by more than 1 %.", wrongly)
try:
    se.check_backward(se.relu, se.relu_backward, np.array([0.0, 1.0, -1.0]))
except se.KinkError as kink:
    print("check_backward:", kink)

# %% [markdown]
# So draw inputs away from corners, or let the checker detect them, as `se.check_backward` does.
#
# ## Exercise: `squeeze_backward` · easy, 5 minutes
#
# $z_c$ is the mean of $H \cdot W$ pixels. How much of `dz` does each of them get?
#
# $$du_c(i, j) = \; ? \; \cdot dz_c$$
#
# `U` is needed only for its shape. Test it yourself before you ask the oracle, on an input that is
# not blind: two images, sizes that are all different, a random `dz`.

# %%
U = rng.standard_normal((2, 4, 5, 7))  #                              (N, H, W, C)
dz = rng.standard_normal((2, 7))  #                                   (N, C)
# error(se.squeeze, squeeze_backward, (U,), dz)   # in a new cell, once you have written it


# %%
@exercise
def squeeze_backward(dz, U):  #                                       (N, C), (N, H, W, C) -> as U
    ...  # your line here


check("squeeze_backward", squeeze_backward)

# %%
# For help, uncomment a line and run the cell.
# hint("squeeze_backward")
# solution("squeeze_backward")

# %% [markdown]
# ## Exercise: `scale_backward` · medium, 10 minutes
#
# $\tilde{x}_c = s_c u_c$ is a product, so the gradient of each factor contains the other. One
# gate is used at every pixel of its map, so the gradients from all pixels add up.
#
# $$du_c(i, j) = \; ? \; \cdot d\tilde{x}_c(i, j) \qquad ds_c = \sum_{i, j} \; ?$$


# %%
@exercise
def scale_backward(dX_tilde, U, s):  #                                -> dU (N, H, W, C), ds (N, C)
    ...  # your lines here


check("scale_backward", scale_backward)

# %%
# hint("scale_backward")
# solution("scale_backward")

# %% [markdown]
# ## On your own
#
# - *Quick.* `error` looks along one random direction. Could a gradient with a single wrong entry
#   among a thousand slip through? Try it.
# - *Core.* In the matrix, which mistakes do filters of one pixel hide, and why? Which mistakes need
#   a picture with a leftover row? Find out by other `SIZES` and `SETTINGS`.
# - *Open.* Is there a smallest good test: the fewest numbers with which all mistakes are caught?
#   The oracle looks for the smallest input on which **one** function is wrong; what would it take
#   for all at once?
#
# **Answers.** *Quick:* yes, if the direction is nearly 0 there, but that is improbable: the error
# grows with the direction's entry, and a second seed gives another one. *Core:* all that concern
# the order of a filter's rows and columns, because there is one of each, and all that concern
# overlaps. "Leftover rows dropped" needs a leftover row, so a stride above 1. *Open:* start from
# the smallest input that reveals each mistake and cover all of them with few inputs: this is a set
# cover problem. `hint(name, 2)` shows such an input for the most common mistakes.
#
# Next: [5. Normalise the maps](05_normalise.ipynb).
