# %% [markdown]
# # 5. Normalise the maps
#
# [all tutorials](README.md) · [this one as a
# script](05_normalise.py)
#
# **You will** see what random filters do to numbers in a deep network, normalise its maps, and
# differentiate batch norm twice, once step by step and once in one line.
#
# **You learn** why deep networks are normalised, what He initialisation is, what differs between
# training and evaluation, and how gradients come back through a mean and a variance.
#
# **You need** [tutorial 2](02_convolve.ipynb), the contract of [tutorial
# 3](03_gradients_through_convolution.ipynb); a CPU; 45 minutes.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
import numpy as np
import se_numpy as se
from se_numpy.data import builtin
from se_numpy.grading.lessons import check, claim, exercise, figures, hint, solution
from se_numpy.layers import update_running

figures.style()

# %% [markdown]
# ## Normalise: what happens to numbers in a deep network
#
# Send pictures through thirty convolutions with random filters, a ReLU after each. Filters whose
# numbers are a little small make the maps a little smaller, every time; those a little large make
# them larger. In between, at × 1, are filters with a standard deviation of $\sqrt{2 / (9 C')}$: a
# window has $9 C'$ numbers, and ReLU keeps about one half of the sum of their squares. This choice
# is called *He initialisation* (He et al., 2015).
#
# **Predict.** With filters a fifth too small: how large are the maps after thirty layers,
# compared with those of the first?

# %%
start = (builtin(train=8, test=1).train_images[:, ::4, ::4] - 128.0) / 50  #  (N, 8, 8, 3)
COLOURS = {0.8: figures.BLUE, 1.0: figures.GREEN, 1.2: figures.ORANGE}


def spread_by_depth(size, normalised, depth=30, C=16, border="constant", seed=0):
    """Return the standard deviation of the maps after each convolution."""
    rng, X, spreads = np.random.default_rng(seed), start, []
    for _ in range(depth):
        V = rng.standard_normal((3, 3, X.shape[-1], C)) * size * (2 / (9 * X.shape[-1])) ** 0.5
        X = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)), mode=border)
        U = se.conv2d(X, V)  #                                        (N, H, W, C)
        if normalised:
            U = se.normalize(U, *se.batch_statistics(U), np.ones(C), np.zeros(C))
        spreads.append(U.std())
        X = se.relu(U)  #                                             (N, H, W, C)
    return np.array(spreads)


plain = {size: spread_by_depth(size, normalised=False) for size in COLOURS}
normal = {size: spread_by_depth(size, normalised=True) for size in COLOURS}

figure, axes = figures.panels(1, 2, 2.6, sharey=True)
for size, colour in COLOURS.items():
    axes[0].semilogy(range(1, 31), plain[size], color=colour, label=f"filters × {size:g}")
    axes[1].semilogy(range(1, 31), normal[size], color=colour)
axes[0].set(xlabel="layer", ylabel="standard deviation of the maps", title="as they come")
axes[1].set(xlabel="layer", title="all three, normalised every time")
axes[0].legend()
figures.show(
    alt="Standard deviation of the maps over thirty layers, on a logarithmic axis. Left, without "
    "normalisation: three lines that fall or rise by orders of magnitude. Right, normalised: "
    "all at one."
)

# %%
small, fair, large = (spreads[-1] / spreads[0] for spreads in plain.values())
less, more, k = small / fair, large / fair, len(plain[1.0]) - 1
claim("Relative to × 1, a fifth too small leaves 0.15 %: 0.8 ** 29.", 1, less, less ** (1 / k), k)
claim("Relative to × 1, a fifth too large is 198 times: 1.2 ** 29.", 1, more, more ** (1 / k), k)
claim("× 1 itself falls to 15 %.", 1, fair)
claim("Overall a fifth too small leaves 0.024 %, a fifth too large gives 30 times.", small, large)
apart = max(abs(spreads - 1).max() for spreads in normal.values())
claim("Normalised, all maps have a standard deviation of one, to less than 0.01.", apart)

# %% [markdown]
# Why does × 1 fall at all? There are two suspects: the padding, whose zeros take the place of
# pixels, and the number of channels. He et al. argue about the mean over many channels, and there
# are only sixteen. Here each is changed: in place of zeros, the image is continued periodically,
# and there are 64 channels in place of 16. Random filters differ, so take five seeds.

# %%
print(f"{'what is left after 30 layers':30}median   lowest   highest")
left_over = {}
for C in (16, 64):
    for border in ("constant", "wrap"):
        runs = [spread_by_depth(1.0, False, C=C, border=border, seed=k) for k in range(5)]
        left_over[C, border] = ratios = [spreads[-1] / spreads[0] for spreads in runs]
        name = f"{C} channels, {'zeros' if border == 'constant' else 'periodic'}"
        print(f"{name:30}{np.median(ratios):6.2f}{min(ratios):9.2f}{max(ratios):10.2f}")
middle = {setting: np.median(ratios) for setting, ratios in left_over.items()}
claim("With zeros and 16 channels 0.15 is left in the median, with zeros and 64 0.27,",
      16, middle[16, "constant"], 64, middle[64, "constant"])  # fmt: skip
claim("periodic with 16 channels 0.22, periodic with 64 0.83.",
      16, middle[16, "wrap"], 64, middle[64, "wrap"])  # fmt: skip

# %% [markdown]
# Both do it: in the median, most is left with many channels and no zeros. And with few channels the
# result depends much on the seed.
#
# ## Batch norm
#
# Tutorial 1 brought the channels of **images** to one scale. Batch normalisation does the same to
# the channels of every map inside, with the mean and the variance of the current batch. Then it
# scales and shifts each channel by learned numbers $\gamma_c$ and $\beta_c$.
#
# $$\hat{x} = \frac{x - \mathrm{mean}}{\sqrt{\mathrm{var} + \epsilon}} \qquad
# y = \gamma \, \hat{x} + \beta$$
#
# A channel's mean runs over $N$, $H$ and $W$: over all images and all pixels. (Ioffe and Szegedy,
# 2015; not from the paper on Squeeze-and-Excitation, but in each of its networks.)
#
# **Predict.** Four channels with different means and spreads go in. With $\gamma = 1$, $\beta = 0$,
# what will have changed about the **shapes** of their histograms?

# %%
rng = np.random.default_rng(0)
V = rng.standard_normal((3, 3, 3, 4)) * np.array([0.05, 0.1, 0.2, 0.1])  #  (k, k, C', C)
images = builtin(train=64, test=1).train_images / 255  #              (N, 32, 32, 3)
maps = se.conv2d(images, V)  #                                        (N, H, W, C)
normalised = se.batch_norm(maps, np.ones(4), np.zeros(4))  #          (N, H, W, C)

figure, axes = figures.panels(1, 2, 2.4)
for axis, values, title in ((axes[0], maps, "before"), (axes[1], normalised, "after")):
    for c in range(4):
        counts, edges = np.histogram(values[..., c], 60)
        axis.stairs(counts, edges, label=f"channel {c}", lw=1.5)
    axis.set(title=title, xlabel="value", yscale="log", ylabel="pixels", ylim=(0.7, 2e6))
axes[1].set_xlabel("standard deviations from the mean")
axes[0].legend(ncols=2, loc="upper center")
figures.show(
    alt="Histograms of four channels on a logarithmic axis: before batch norm with different "
    "centres and widths, afterwards all centred at zero with their shapes kept."
)

# %%
means = maps.mean((0, 1, 2))  #                                       (C,)
claim("Before, their means lie between -0.08 and 0.35.", means.min(), means.max())
claim("After, all means are below 1e-12.", abs(normalised.mean((0, 1, 2))).max())

# %% [markdown]
# Nothing: a histogram is only moved and stretched. $\epsilon$ avoids a division by 0 in a channel
# without variance.
#
# ## Exercise: `batch_norm` · easy, 10 minutes
#
# $$y = \gamma \, \frac{x - \mathrm{mean}}{\sqrt{\mathrm{var} + \epsilon}} + \beta$$
#
# Batch norm as in training, with the statistics of the batch. The variance is divided by $m = N H
# W$ (not by $m - 1$), as in NumPy's `var`. Return only $y$.


# %%
@exercise
def batch_norm(x, gamma, beta, eps):  #                               -> y (N, H, W, C)
    ...  # your lines here


check("batch_norm", batch_norm)

# %%
# For help, uncomment a line and run the cell.
# hint("batch_norm")
# solution("batch_norm")

# %% [markdown]
# ## Training and evaluation
#
# In training an image's numbers depend on the other images in its batch. That is a problem when
# the network is used: a prediction should not depend on other images. So during training the
# network collects *running* means and variances, and in evaluation it uses them in place of those
# of the batch.
#
# **Predict.** Take one picture forty times, each time in a batch with different pictures. How
# much does one number of it vary after batch norm: with three others, with thirty-one, and in
# evaluation?

# %%
ones, zeros = np.ones(4), np.zeros(4)
running_mean, running_var = np.zeros(4), np.ones(4)  # initial values, soon replaced
for _ in range(200):
    batch = maps[rng.choice(64, 32, replace=False)]
    batch_mean, batch_var = se.batch_statistics(batch)
    update_running(running_mean, batch_mean)  # a tenth of the new, nine tenths of the old
    update_running(running_var, batch_var)

seen = {}
for size in (4, 32):
    seen[f"training, batch of {size}"] = [
        se.normalize(batch, *se.batch_statistics(batch), ones, zeros)[0, 5, 5, 0]
        for batch in (maps[[0, *rng.choice(np.arange(1, 64), size - 1, False)]] for _ in range(40))
    ]
evaluated = se.normalize(maps[:1], running_mean, running_var, ones, zeros)[0, 5, 5, 0]
seen["evaluation"] = [evaluated] * 40

figure, (axes,) = figures.panels(1, 1, 1.9)
for row, values in enumerate(seen.values()):
    axes.plot(values, row + rng.uniform(-0.2, 0.2, 40), "o", alpha=0.6)
axes.set_yticks(range(3), seen)
axes.set(xlabel="the same pixel of the same picture, after batch norm", ylim=(2.5, -0.5))
axes.grid(axis="x")
figures.show(
    alt="One pixel after batch norm in forty batches: widely scattered in batches of four, less in "
    "batches of thirty-two, and a single value in evaluation."
)

# %%
gap = abs(running_mean - means) / maps.std((0, 1, 2))
claim("The running means are off by less than 5 % of a standard deviation.", gap.max())
spread = [np.ptp(values) for values in seen.values()]
claim("With three others it varies by more than 0.2, in evaluation by 0.", spread[0], spread[2])

# %% [markdown]
# In training every number is a little different each time, and in a small batch very different.
# In evaluation the result is always the same.
#
# ## A common mistake: statistics of the batch in evaluation
#
# The network was switched to evaluation, but batch norm was not. On a large test set, in large
# batches, the effect is hardly visible; on single pictures the network fails.


# %%
def forgot_to_switch(x, mean, var, gamma, beta, eps):
    return gamma * (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + eps) + beta


check("normalize", forgot_to_switch)

# %% [markdown]
# ## Back through batch norm, step by step
#
# The mean and the variance are computed from $x$ too, so several gradients come back to it. Write
# the forward pass so that every line does one thing, then differentiate the lines from the last
# to the first. A value that is used in two lines gets a gradient from both, and they add up.
#
# **Predict.** Of `x` and the six arrays on the way from it to `y`, two are used in two lines.
# Which?

# %%
m = 3 * 4 * 5  # numbers per channel
x = rng.standard_normal((3, 4, 5, 2)) * [1, 3] + [0, 2]  #            (N, H, W, C)
gamma, beta = np.array([1.5, -0.5]), np.array([0.2, 1.0])  #          (C,), (C,)
dy = rng.standard_normal(x.shape) + 0.6 + 0.3 * x  #                  (N, H, W, C)
eps, nhw = 1e-5, (0, 1, 2)

mean = x.mean(nhw)  #                                                (C,)
off = x - mean  #                                                     (N, H, W, C)
square = off**2  #                                                    (N, H, W, C)
var = square.mean(nhw)  #                                            (C,)
root = (var + eps) ** -0.5  #                                         (C,)
x_hat = off * root  #                                                 (N, H, W, C)
y = gamma * x_hat + beta  #                                           (N, H, W, C)

# and back
dbeta = dy.sum(nhw)  #                                               (C,)
dgamma = (dy * x_hat).sum(nhw)  #                                    (C,)
dx_hat = dy * gamma  #                                                (N, H, W, C)
droot = (dx_hat * off).sum(nhw)  #                                   (C,)
dvar = droot * -0.5 * (var + eps) ** -1.5  #                          (C,)
dsquare = dvar / m + np.zeros(x.shape)  #                             (N, H, W, C)
doff = dx_hat * root + dsquare * 2 * off  #                           (N, H, W, C)
dmean = -doff.sum(nhw)  #                                            (C,)
dx = doff + dmean / m  #                                              (N, H, W, C)

# %% [markdown]
# `x` is used in `mean` and in `off`, and `off` in `square` and in `x_hat`: `dx` and `doff` have two
# terms each.
#
# Is each of these lines right? The gradient of `var`, for example, is the change of $L = \langle
# y, dy \rangle$ when `var` is nudged and **everything after** it is computed again. Batch norm
# accepts complex numbers, so the nudge can be imaginary (tutorial 3), without rounding errors.


# %%
def L(**nudge):
    """Return the loss, with a nudge to any line of the forward pass."""

    def line(name, value):
        return value + nudge.get(name, 0)

    x_ = line("x", x)
    off = line("off", x_ - line("mean", x_.mean(nhw)))
    var = line("var", line("square", off**2).mean(nhw))
    x_hat = line("x_hat", off * line("root", (var + eps) ** -0.5))
    return ((line("gamma", gamma) * x_hat + line("beta", beta)) * dy).sum()


by_hand = {
    "beta": dbeta,
    "gamma": dgamma,
    "x_hat": dx_hat,
    "root": droot,
    "var": dvar,
    "square": dsquare,
    "off": doff,
    "mean": dmean,
    "x": dx,
}
errors = {}
for name, gradient in by_hand.items():
    v = np.random.default_rng(1).standard_normal(gradient.shape)
    measured = L(**{name: 1e-30j * v}).imag / 1e-30
    size = max(np.linalg.norm(gradient), np.linalg.norm(dy) * 1e-3)
    errors[name] = abs((gradient * v).sum() - measured) / size
    print(f"d{name:8} {gradient.shape!s:14} {'right' if errors[name] < 1e-12 else 'WRONG'}")
claim("All 9 are off by less than 1e-12.", len(errors), max(errors.values()))

# %% [markdown]
# ## The same in one line
#
# Substitute the lines into each other, and most terms cancel:
#
# - `off` adds up to 0, so only the first term of `doff` contributes to `dmean`, which is
#   `-(dx_hat * root).sum(nhw)`;
# - `droot`, `dvar` and `dsquare` put together, `dsquare * 2 * off` is
#   `-root * x_hat * (dx_hat * x_hat).mean(nhw)`.
#
# The result, with means over $N$, $H$ and $W$, is
#
# $$dx = \frac{\gamma}{\sqrt{\mathrm{var} + \epsilon}} \Bigl( dy - \mathrm{mean}(dy) - \hat{x}
# \; \mathrm{mean}(dy \, \hat{x}) \Bigr)$$
#
# It has a meaning: adding the same number to all $x$, or stretching all $x$, does not change $y$.
# So $dx$ has no component along either: `dy` loses its mean and its component along $\hat{x}$.

# %% [markdown]
# ## Exercise: `batch_norm_backward` · hard, 20 minutes
#
# Write $dx$ by this formula, not by the nine lines above, and add $d\gamma$ and $d\beta$. `mean`
# and `var` of `x` are given, so you need not compute them again. (The library's
# `se.batch_norm_backward(dy, x, gamma, beta)` computes them from `x`: its arguments are `dy` and
# those of `se.batch_norm`.)


# %%
@exercise
def batch_norm_backward(dy, x, mean, var, gamma, eps):  #             -> dx, dgamma, dbeta
    ...  # your lines here


check("batch_norm_backward", batch_norm_backward)

# %%
# hint("batch_norm_backward")
# hint("batch_norm_backward", 3)
# solution("batch_norm_backward")

# %% [markdown]
# ## Does the formula agree with the nine lines?
#
# The library's `se.batch_norm_backward` uses the formula. The figure shows its three terms for one
# channel of one image, and their sum.

# %%
first = abs(dmean + (dx_hat * root).sum(nhw)).max()
second = abs(dsquare * 2 * off + root * x_hat * (dx_hat * x_hat).mean(nhw)).max()
claim("The two substitutions are right to less than 1e-12.", max(first, second))

closed = se.batch_norm_backward(dy, x, gamma, beta)[0]  #             (N, H, W, C)
claim("Step by step and in one line: a difference below 1e-14.", abs(closed - dx).max())

figure, axes = figures.panels(1, 4, 1.7)
parts = {
    "dy": dy,
    "− mean(dy)": -dy.mean(nhw) + 0 * dy,
    "− x̂ mean(dy x̂)": -x_hat * (dy * x_hat).mean(nhw),
    "their sum": dx / (gamma * root),
}
for axis, (title, part) in zip(axes, parts.items(), strict=True):
    figures.heatmap(axis, part[0, :, :, 1], title, limit=4)
figures.show(
    alt="Four heatmaps: dy, minus its mean, minus its component along x-hat, and the sum of the "
    "three."
)

claim("Over a channel dx adds up to less than 1e-13.", abs(dx.sum(nhw)).max())
along = abs((dx * off).sum(nhw)) / np.linalg.norm(dx) / np.linalg.norm(off)
claim("Its part along x is less than 1e-4 of its size; it is due to ϵ alone.", along.max())

# %% [markdown]
# ## A common mistake: mean and variance as constants
#
# In evaluation they are constants, and $dx = \gamma \, dy / \sqrt{\mathrm{var} + \epsilon}$. In
# training they are not.


# %%
def as_constants(dy, x, mean, var, gamma, eps):
    x_hat = (x - mean) / np.sqrt(var + eps)
    dx = gamma * dy / np.sqrt(var + eps)
    return dx, (dy * x_hat).sum((0, 1, 2)), dy.sum((0, 1, 2))


check("batch_norm_backward", as_constants)

# %% [markdown]
# ## On your own
#
# - *Quick.* A convolution with a bias before batch norm: what does the bias change? (Networks here
#   have none there.)
# - *Core.* Differentiate batch norm as it is in evaluation, `se.normalize` with given mean and
#   variance, and test your gradients with `se.check_backward`. Which of the nine lines are left?
# - *Open.* Batch norm is one thing in training and another in evaluation, and suffers from small
#   batches. Which axes could one average over instead, and what would be lost?
#
# **Answers.** *Quick:* nothing; batch norm subtracts each channel's mean, and the bias with it.
# *Core:* `dbeta`, `dgamma`, `dx_hat`, and, each without its second term, `doff` and `dx`: the mean
# and the variance are constants, so only the path through `off` and `x_hat` is left.
# *Open:* over the channels and pixels of one image (layer norm), or over groups of channels (group
# norm): then images do not depend on each other, but channels of one image do.
#
# Next: [6. Rectify, pool, classify](06_rectify_pool_classify.ipynb).
