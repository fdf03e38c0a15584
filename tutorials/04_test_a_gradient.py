# %% [markdown]
# # 4. Test a gradient
#
# [all tutorials](README.md) · [this one as a
# script](04_test_a_gradient.py)
#
# **You will** write a gradient checker of a dozen lines, run it on more than sixty wrong
# gradients, and see which testing habits hide mistakes.
#
# **You learn** why ones, a batch of one, maps of one pixel and zero weights prove nothing, how
# small an error has to be, and how to test a test.
#
# **You need** [tutorial 3](03_gradients_through_convolution.ipynb); a CPU; 40 minutes. The
# equations of the block appear here as something to be tested; tutorials 6 and 7 explain them.

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
# oracle has a list of common wrong versions. Here are those of the gradient of the whole block,
# Equations (2) to (4).

# %%
task = all_tasks()["se_block_backward"]
for mistake in task.mistakes[:6]:
    print(f"{mistake.name}: {mistake.text}")
print("...")

block = ["squeeze_backward", "excite_backward", "scale_backward", "se_block_backward"]
tasks = {name: all_tasks()[name] for name in block}
known = sum(len(one.mistakes) for one in tasks.values())
claim("The block's four gradients have more than 60 known mistakes.", known)

# %% [markdown]
# **Predict.** The right gradient is off by about $10^{-9}$: rounding. How far off will the mildest
# mistake be: a billionth, a thousandth, a tenth of the gradient's size?


# %%
def draw(task, seed, **sizes):
    """Draw random arguments and a random dy, with all sizes different unless given."""
    rng = np.random.default_rng(seed)
    case = task.draw(rng, "", "random", {"N": 3, "H": 4, "W": 5, "C": 7, "R": 4} | sizes)
    dy, *args = case.arguments.values()
    return args, dy


def off(task, f_backward, args, dy):
    """Return the error, or infinity if the shapes differ or the function fails."""
    try:
        with np.errstate(all="ignore"):
            return error(task.forward, f_backward, args, dy)
    except (ValueError, IndexError, TypeError):
        return np.inf


right, wrong = {}, {}
for name, task in tasks.items():
    for seed in range(3):
        args, dy = draw(task, seed)
        right[name, seed] = off(task, task.oracle, args, dy)
        for mistake in task.mistakes:
            key = name, mistake.name
            wrong[key] = max(wrong.get(key, 0), off(task, mistake.wrong, args, dy))

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
figures.show()

claim("The library is off by less than 1e-8.", max(right.values()))
claim("Every mistake is off by more than 0.01.", far.min())
claim("Less than 10 % of the mistakes do not have the right shape.", misfits / len(far))

# %% [markdown]
# Right and wrong are many orders of magnitude apart, so the tolerance need not be generous:
# choose one far below the mistakes and well above rounding, here $10^{-5}$. With random inputs of
# different sizes the checker catches all of them. **Then why do tests let mistakes through?**
# Because of their inputs.
#
# ## The blind-test matrix
#
# The first column below is the good test, and the others are six common habits, used because they
# are easy to type or to follow by hand. Five change one thing about the good test; the last
# changes everything.
#
# **Predict.** Which habit is the blindest? Which one lets the most mistakes in the *squeeze*
# through? (White in the figure is a mistake that passes. Tutorial 7 explains the names.)

# %%
habits = {
    "random, all sizes different": lambda task, seed: draw(task, seed),
    "ones as dy": lambda task, seed: (draw(task, seed)[0], np.ones_like(draw(task, seed)[1])),
    "one image": lambda task, seed: draw(task, seed, N=1),
    "maps of one pixel": lambda task, seed: draw(task, seed, H=1, W=1),
    "square maps": lambda task, seed: draw(task, seed, H=4, W=4),
    "weights of 0": lambda task, seed: (zeros(task, draw(task, seed)[0]), draw(task, seed)[1]),
    "ones everywhere": lambda task, seed: tuple(map(all_ones, draw(task, seed))),
}


def zeros(task, args):
    return [
        0 * arg if name.startswith("W") else arg
        for name, arg in zip(task.inputs[1:], args, strict=True)
    ]


def all_ones(arrays):
    return [np.ones_like(a) for a in arrays] if isinstance(arrays, list) else np.ones_like(arrays)


def caught(task, habit):
    """Return, for each known mistake, whether three tests with this habit find it."""
    tests = [habits[habit](task, seed) for seed in range(3)]
    assert all(off(task, task.oracle, args, dy) < 1e-5 for args, dy in tests)
    return [
        any(not off(task, m.wrong, args, dy) < 1e-5 for args, dy in tests) for m in task.mistakes
    ]


matrix = {name: {habit: caught(task, habit) for habit in habits} for name, task in tasks.items()}

# %%
seen = np.array(list(matrix["se_block_backward"].values())).T  #      (mistakes, habits)
figure, (axes,) = figures.panels(1, 1, 5.8)
axes.imshow(seen, cmap=figures.two_colours("white", figures.BLUE), aspect="auto", vmin=0, vmax=1)
axes.set_xticks(range(len(habits)), [habit.replace(" ", "\n") for habit in habits], fontsize=9)
axes.set_yticks(range(len(seen)), [m.name for m in tasks["se_block_backward"].mistakes], fontsize=9)
axes.tick_params(length=0, labeltop=True, labelbottom=False)
axes.set_xticks(np.arange(-0.5, len(habits)), minor=True)
axes.set_yticks(np.arange(-0.5, len(seen)), minor=True)
axes.grid(which="minor", color="#BBBBBB", alpha=1, lw=0.8)
axes.tick_params(which="minor", length=0)
figure.suptitle(
    "se_block_backward: blue is caught, white passes though it is wrong",
    x=0.01,
    ha="left",
    fontsize=10,
)
figures.show()

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
claim("With weights of zero, less than 50 % are caught.", total["weights of 0"] / known)
claim("With ones everywhere, less than 50 % are caught.", total["ones everywhere"] / known)

# %% [markdown]
# ## Why they are blind
#
# **Ones as `dy`.** With `dy` 1 everywhere, a backward pass may ignore `dy` altogether. It gets
# worse: batch norm (tutorial 5) subtracts the mean, so the sum of its outputs does not depend on
# its input at all. The gradient for ones is 0, and so is twice that gradient, or its negative.

# %%
x = rng.standard_normal((3, 4, 5, 7))  #                              (N, H, W, C)
dx, *_ = se.batch_norm_backward(np.ones_like(x), x, np.ones(7), np.zeros(7))
claim("Batch norm's gradient for ones is below 1e-14: any multiple of it passes.", abs(dx).max())

# %% [markdown]
# **One image.** A sum over the batch, its mean, and its first entry are the same.
#
# **Maps of one pixel.** $1/(HW) = 1$, so a squeeze that sums, or takes the largest pixel, is
# right too.
#
# **Square maps.** $1/H^2$ and $1/(HW)$ are the same, and rows may be taken for columns.
#
# **Weights of 0.** With $W_2 = 0$ every gate is $\sigma(0) = 1/2$ for every image, and the
# gradient through the gates is multiplied by 0. The whole second path of the gradient can be
# missing.
#
# **Ones everywhere.** All numbers are equal: the maximum is the mean, a product equals each of
# its factors, and channels can be exchanged. It is the easiest test to type.
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


U = rng.standard_normal((1, 224, 224, 3))  #                          (N, H, W, C)
dz = 1e-4 * rng.standard_normal((1, 3))  #                            (N, C)
same = np.allclose(nothing(dz, U), se.squeeze_backward(dz, U))
print("np.allclose finds zeros close to the gradient:", same)
assert same
relative = error(se.squeeze, nothing, (U,), dz, h=1e-3)  # linear: any step is exact
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
except se.KinkError as known:
    print("check_backward:", known)

# %% [markdown]
# So draw inputs away from corners, or let the checker detect them, as `se.check_backward` does.
#
# ## Exercise: `squeeze_backward` · easy, 5 minutes
#
# $z_c$ is the mean of $H \cdot W$ pixels. How much of `dz` does each of them get?
#
# $$du_c(i, j) = \; ? \; \cdot dz_c$$
#
# `U` is needed only for its shape. Test it yourself before you ask the oracle, with
# `error(se.squeeze, squeeze_backward, (U,), dz)` on inputs of your choice.


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
# - *Core.* Make the matrix for `conv2d_backward`, whose sizes are `N, P, Q, D, C, k` and which
#   also takes `stride` and `padding`. Which mistakes do filters of 1 × 1 pixels hide, and which
#   do strides? Which mistakes need a picture with a leftover row?
# - *Open.* Is there a smallest good test: the fewest numbers with which all mistakes are caught?
#   The oracle looks for the smallest input on which **one** function is wrong; what would it take
#   for all at once?
#
# Next: [5. Normalise, rectify, pool, classify](05_normalise_rectify_pool_classify.ipynb).
