# %% [markdown]
# # 6. Rectify, pool, classify
#
# [all tutorials](README.md) · [this one as a
# script](06_rectify_pool_classify.py)
#
# **You will** build what stands between convolutions and after the last: ReLU, pooling, softmax
# and the loss.
#
# **You learn** why there must be a nonlinear function, which pixels get the gradient of a pooled
# pixel, why the gradient of the loss is simple, and how to handle logits of a thousand.
#
# **You need** [tutorial 2](02_convolve.ipynb), the contract of [tutorial
# 3](03_gradients_through_convolution.ipynb), batch norm from [tutorial
# 5](05_normalise.ipynb); a CPU; 30 minutes.

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
from se_numpy.grading.lessons.pictures import boat

figures.style()

# %% [markdown]
# ## Rectify: ReLU
#
# $\delta(x) = \max(x, 0)$. Between two convolutions there must be a nonlinear function: two
# linear maps in a row are one linear map, and so are a hundred.
#
# **Predict.** After batch norm with $\beta = 0$, about what share of the numbers does ReLU set to
# 0?

# %%
edges = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])[:, :, None, None] / 3 + np.zeros((3, 1))
maps = se.conv2d(boat()[None] / 255, edges)  #                        (1, H, W, 1)
rectified = se.relu(maps)  #                                          (1, H, W, 1)

figure, axes = figures.panels(1, 2, 2.5)
figures.heatmap(axes[0], maps[0, :, :, 0], "upright edges, of both signs", limit=2)
figures.heatmap(axes[1], rectified[0, :, :, 0], "after ReLU: from dark to bright only", limit=2)
figures.show(
    alt="Left, upright edges of the boat with positive and negative values. Right, after ReLU, the "
    "positive ones only."
)

# %%
rng = np.random.default_rng(0)
halves = (se.relu(rng.standard_normal((16, 32, 32, 16))) == 0).mean()
claim("Of normally distributed numbers 50 % are gone.", halves)

# %% [markdown]
# ## Exercise: `relu` · easy, 2 minutes
#
# $$\delta(x) = \max(x, 0)$$
#
# Apply it to each number separately, for any shape. (You wrote its gradient in tutorial 3.)


# %%
@exercise
def relu(x):  #                                                       any shape -> the same
    ...  # your line here


check("relu", relu)

# %%
# hint("relu")
# solution("relu")

# %% [markdown]
# ## Pool: the largest, or the mean
#
# Pooling makes maps smaller: each window becomes one number, its maximum or its mean. Below, the
# windows are 4 × 4 pixels, side by side.
#
# **Predict.** The map of edges has thin lines on a dark background. Which pooling keeps a line
# bright?

# %%
strength = abs(maps)  #                                               (1, H, W, 1)
largest = se.max_pool2d(strength, kernel=4)  #                        (1, H/4, W/4, 1) rounded down
average = se.avg_pool2d(strength, kernel=4)  #                        as largest

figure, axes = figures.panels(1, 3, 1.8)
titles = "edges {}", "largest {}", "mean {}"
for axis, pooled, title in zip(axes, (strength, largest, average), titles, strict=True):
    size = f"{pooled.shape[1]} × {pooled.shape[2]}"
    figures.picture(axis, pooled[0, :, :, 0], title.format(size), vmin=0, vmax=2)
figures.show(
    alt="Edges of the boat, their maximum in windows of four by four pixels, which keeps lines "
    "bright, and their mean, which is dim."
)

# %%
claim("On average the largest are 3.5 times the means.", largest.mean() / average.mean())

# %% [markdown]
# ## Which pixels get the gradient
#
# In max pooling only the largest pixel affects the result, so it gets all of the gradient; a
# pixel that is the maximum of several windows gets the sum. In mean pooling every pixel gets an
# equal share.
#
# **Predict.** Windows of 3 × 3, two pixels apart, so that they overlap; `dy` is 1 everywhere.
# Which numbers are possible below, for the maximum and for the mean?

# %%
x = rng.permutation(49).reshape(1, 7, 7, 1) * 1.0  #                  (N, H', W', C)
dy = np.ones((1, 3, 3, 1))  #                                         (N, H, W, C)
to_winners = se.max_pool2d_backward(dy, x, kernel=3, stride=2)  #     (N, H', W', C)
shares = 9 * se.avg_pool2d_backward(dy, x, kernel=3, stride=2)  #     (N, H', W', C)

figure, axes = figures.panels(1, 3, 2.4)
figures.heatmap(axes[0], x[0, :, :, 0], "x", form=".0f", limit=90)
figures.heatmap(axes[1], to_winners[0, :, :, 0], "largest: dx", form=".0f", limit=4)
figures.heatmap(axes[2], shares[0, :, :, 0], "mean: dx, in ninths", form=".0f", limit=4)
figures.show(
    alt="A map of numbers, the gradient after max pooling, which is zero at most pixels, and the "
    "gradient after mean pooling, which is largest where windows overlap."
)

# %%
claim(
    "The maxima get 9 in all, the shares 9 too: one per window.", to_winners.sum(), shares.sum() / 9
)
claim("With max pooling at least 40 of 49 pixels get nothing.", (to_winners == 0).sum(), 49)

# %% [markdown]
# A pixel where windows overlap is in two or four of them: with the mean it gets a share from
# each; with the maximum it may be the largest in all four, or in none.
#
# At the very end of a residual network there is a mean over the **whole** map, one number for
# each channel. You wrote it in tutorial 1: it is Equation (2), the squeeze.
#
# ## Exercise: `max_pool2d` · medium, 10 minutes
#
# $$y(i, j) = \max_{a, b} \; x(i \cdot \mathrm{stride} + a, \; j \cdot \mathrm{stride} + b) \qquad
# 0 \le a, b < \mathrm{kernel}$$
#
# The window at position $(i, j)$ begins at row $i \cdot$ stride, column $j \cdot$ stride; there
# are $(H' - \mathrm{kernel}) / \mathrm{stride} + 1$ positions along the height, with the quotient
# rounded down. Two loops over positions are enough.


# %%
@exercise
def max_pool2d(x, kernel, stride):  #                                 (N, H', W', C) -> (N, H, W, C)
    ...  # your lines here


check("max_pool2d", max_pool2d)

# %%
# hint("max_pool2d")
# solution("max_pool2d")

# %% [markdown]
# ## Classify: from numbers to a decision
#
# A network ends in $K$ numbers, one for each class: the *logits*. Softmax converts them to
# probabilities, and the loss is the negative log-probability of the true class:
#
# $$p_k = \frac{e^{x_k}}{\sum_j e^{x_j}} \qquad L = -\frac{1}{N} \sum_n \log p_n^{\text{label}}$$
#
# Its gradient is simple. The loss of one image is $\log \sum_j e^{x_j} - x_{\mathrm{label}}$. The
# derivative of the first term with respect to $x_k$ is $e^{x_k} / \sum_j e^{x_j} = p_k$, and that
# of $x_{\mathrm{label}}$ is $q_k$: 1 at the label and 0 elsewhere. So $dx = (p - q) / N$: the
# prediction minus the target.
#
# **Predict.** Three classes, logits 2, 1, $-1$, the label is the second. In which direction does a
# step against the gradient move each logit?

# %%
x, label = np.array([[2.0, 1, -1]]), np.array([1])  #                 (N, K), (N,)
p = se.softmax(x)  #                                                  (N, K)
dx = se.softmax_cross_entropy_backward(1.0, x, label)  #              (N, K)

figure, axes = figures.panels(1, 3, 1.9)
for axis, values, title in zip(axes, (x, p, dx), ("logits x", "p", "dx = p − q"), strict=True):
    axis.bar(range(3), values[0], color=[figures.BLUE, figures.ORANGE, figures.BLUE])
    axis.axhline(0, color=figures.GREY, lw=0.8)
    axis.set(title=title, xticks=range(3), xticklabels=["class 0", "the label", "class 2"])
    axis.tick_params(axis="x", labelsize=8)
figures.show(
    alt="Three bar charts for three classes: the logits, the probabilities, and the gradient, "
    "negative for the label and positive for the others."
)

# %%
claim(
    "The three are 0.71, 0.26 and 0.04 likely, so the label gets a gradient of -0.74.",
    *p[0],
    dx[0, 1],
)
claim("The gradient adds up to less than 1e-15: only differences of logits count.", abs(dx.sum()))

# %% [markdown]
# A step against the gradient raises the label's logit and lowers both others, the more likely one
# more.
#
# ## A common mistake: logits of a thousand
#
# Computed directly from the formula, it works for small logits.
#
# **Predict.** Add the same number to all logits. According to the formula $p$ stays the same. For
# which numbers is that true on a computer?


# %%
def as_it_stands(x, labels):
    with np.errstate(all="ignore"):  # the warnings are expected
        p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
        return -np.log(p[np.arange(len(x)), labels]).mean()


added = np.arange(-1000, 1001, 20)
naive = np.array([as_it_stands(x + a, label) for a in added])
careful = np.array([se.softmax_cross_entropy(x + a, label) for a in added])

figure, (axes,) = figures.panels(1, 1, 1.9)
axes.plot(added, careful, color=figures.BLUE, lw=5, alpha=0.5, label="the library")
axes.plot(added, naive, ".", color=figures.ORANGE, label="direct formula")
axes.set(xlabel="added to all logits", ylabel="loss", ylim=(0, 2))
for place in (-870, 850):
    axes.text(place, 0.85, "direct formula:\nNaN", ha="center", color=figures.ORANGE, fontsize=9)
axes.legend(loc="lower center", ncols=2)
figures.show(
    alt="Loss against a number added to all logits: constant for the library; the direct formula "
    "agrees in the middle and is NaN on both sides."
)

# %%
alive = added[np.isfinite(naive)]
claim("The direct formula is finite from -740 to 700.", alive.min(), alive.max())
claim("The library's loss is the same everywhere, to less than 1e-12.", np.ptp(careful))

# %% [markdown]
# `exp` overflows a little above 700, and ∞/∞ is NaN; for very negative logits every `exp` is 0, and
# 0/0 is NaN too. The library subtracts each row's maximum from its logits first, which changes
# nothing in the formula; then the largest `exp` is 1. The function $\log \sum_j e^{x_j}$ is known
# as *log-sum-exp*, and this way to compute it as the log-sum-exp trick.
#
# The oracle tries logits of ten thousand:

# %%
check("softmax_cross_entropy", as_it_stands)

# %% [markdown]
# A common fix is to subtract the maximum only in the softmax, and to add a small number inside
# the logarithm, which also avoids NaN. **Predict.** What is the largest loss that this can
# return?


# %%
def kept_from_zero(x, labels):
    return -np.log(se.softmax(x)[np.arange(len(x)), labels] + 1e-12).mean()


far = np.array([[0.0, 50]]), np.array([0])
losses = se.softmax_cross_entropy(*far), kept_from_zero(*far)

# %%
claim("A loss of 50 has become 27.6, and will not be larger.", *losses)

# %% [markdown]
# ## Exercise: `softmax_cross_entropy` · medium, 10 minutes
#
# $$L = -\frac{1}{N} \sum_n \log p_n^{\text{label}}$$
#
# $\log p = x - \log \sum_j e^{x_j}$ does not need $p$. Subtract the maximum of each row first,
# from both terms.


# %%
@exercise
def softmax_cross_entropy(x, labels):  #                              (N, K), (N,) -> a number
    ...  # your lines here


check("softmax_cross_entropy", softmax_cross_entropy)

# %%
# hint("softmax_cross_entropy")
# solution("softmax_cross_entropy")

# %% [markdown]
# ## On your own
#
# - *Quick.* Two images have equal logits up to a constant. What differs between their losses, if
#   both have the same label?
# - *Core.* Write `max_pool2d_backward(dy, x, kernel, stride)` and have it checked; no two pixels
#   of a map are equal there, so every window has one maximum. What does the oracle say if you
#   write `=` for `+=`, and at which strides does the mistake not show?
# - *Open.* The loss of a confident and wrong network is large, without a bound. Is that useful?
#   What would change if the target were $0.9$ at the label, with the other $0.1$ shared by the
#   other classes, in place of 1 and 0?
#
# **Answers.** *Quick:* nothing: only differences of logits count. *Core:* with `=` a pixel that is
# the maximum of two windows gets the gradient of one of them. At strides of at least the kernel's
# size windows do not overlap, and the mistake does not show. *Open:* one wrong label can then
# dominate a batch. With softer targets, known as *label smoothing*, the best logits are finite, and
# the gradient pulls back logits that are larger.
#
# Next: [7. Squeeze, excite, scale](07_squeeze_excite_scale.ipynb).
