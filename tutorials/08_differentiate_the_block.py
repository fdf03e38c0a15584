# %% [markdown]
# # 8. Differentiate the block
#
# [all tutorials](README.md) ·
# [this one as a script](08_differentiate_the_block.py)
#
# **You will** send a gradient back through a Squeeze-and-Excitation block, by hand and line by
# line, on both of its paths, and verify each of them. Then you write `excite_backward` and
# `se_block_backward`.
#
# **You learn** why a value that is used twice gets two gradients, what happens if either is left
# out, how large each path is, and how to verify every line of a derivation and not only its end.
#
# **You need** [tutorial 7](07_squeeze_excite_scale.ipynb), and the contract of
# [tutorial 3](03_gradients_through_convolution.ipynb); a CPU; 55 minutes.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
from textwrap import shorten

import numpy as np
import se_numpy as se
from se_numpy.analysis.paths import network_paths, path_share, two_paths
from se_numpy.grading import check as ask
from se_numpy.grading.lessons import check, claim, exercise, figures, hint, solution

figures.style()

# %% [markdown]
# ## Used twice
#
# $U$ is used in the block twice. It is scaled, and its mean determines by how much:
#
# $$\tilde{x}_c = s_c \, u_c \qquad s = \sigma(W_2 \, \delta(W_1 z)) \qquad
# z_c = \frac{1}{H W} \sum_{i,j} u_c(i, j)$$
#
# (Equations (4), (3) and (2), read from the end, as gradients are.) So its gradient comes back on
# two paths. Grey arrows lead forward; blue is the **direct** path, orange the one **through the
# gate**. (The cell only draws; skip its code if you like.)


# %%
def arrow(axes, start, end, colour, width):
    style = {"arrowstyle": "-|>", "color": colour, "lw": width, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=style)


figure, (axes,) = figures.panels(1, 1, 3.0)
places = {"U": (0, 0), "z": (2.2, 2.2), "s": (6.2, 2.2), "×": (8, 0), "X̃": (10.4, 0)}
for start, end, colour in (
    ("U", "z", figures.ORANGE),
    ("z", "s", figures.ORANGE),
    ("s", "×", figures.ORANGE),
    ("U", "×", figures.BLUE),
    ("×", "X̃", "black"),
):
    a, b = np.array(places[start]), np.array(places[end])
    along = (b - a) / np.hypot(*(b - a))
    across = 0.11 * np.array([-along[1], along[0]])
    first, last = a + 0.45 * along, b - 0.45 * along
    arrow(axes, first + across, last + across, figures.GREY, 0.9)
    arrow(axes, last - across, first - across, colour, 2.2)
box = {"boxstyle": "round,pad=0.35", "fc": "white", "ec": figures.GREY}
for name, (x, y) in places.items():
    axes.text(x, y, name, ha="center", va="center", bbox=box, zorder=3)
for x, y, text, colour in (
    (0.35, 1.55, "squeeze (2)", figures.GREY),
    (4.2, 2.6, "excite (3)", figures.GREY),
    (7.75, 1.55, "scale (4)", figures.GREY),
    (9.2, -0.4, "dX̃", "black"),
    (4.0, -0.42, "direct:  s · dX̃", figures.BLUE),
    (5.9, 0.95, "ds = Σ dX̃ · U", figures.ORANGE),
    (4.2, 1.75, "dz", figures.ORANGE),
    (1.95, 0.85, "dz / (H W)", figures.ORANGE),
):
    axes.text(x, y, text, ha="center", va="center", fontsize=9, color=colour)
axes.set(xlim=(-0.6, 11), ylim=(-0.75, 2.9), aspect="equal")
axes.axis("off")
figures.show(
    alt="Diagram of the block with arrows: grey ones forward, a blue one back along the direct "
    "path from X-tilde to U, and orange ones back through the scale, the excitation and the "
    "squeeze."
)

# %% [markdown]
# ## The product rule
#
# Take the smallest possible block: one image, one pixel, one channel, one hidden unit with $W_1 =
# 1$ and $W_2 = 2$. For a positive $u$ it computes $\tilde{x} = u \cdot \sigma(2u)$, and you know
# how to differentiate a product:
#
# $$\frac{d\tilde{x}}{du} = \underbrace{\sigma(2u)}_{\text{gate held}} \; + \;
# \underbrace{u \cdot 2\,\sigma'(2u)}_{\text{through the gate}}$$
#
# **Predict.** $\sigma(2) \approx 7/8$. Is the slope at $u = 1$ below 1, or above?

# %%
u = np.linspace(0.02, 3, 150)
s = se.sigmoid(2 * u)
direct, gate = s, u * 2 * s * (1 - s)

figure, (left, right) = figures.panels(1, 2, 2.5)
left.plot(u, u * s, color="black", lw=2.4, label="x̃ = u σ(2u)")
s1 = se.sigmoid(np.array(2.0))
near = np.array([0.2, 2])
left.plot(near, s1 + s1 * (near - 1), "--", color=figures.BLUE, label="slope with the gate held")
whole = s1 + 2 * s1 * (1 - s1)
left.plot(near, s1 + whole * (near - 1), "--", color=figures.ORANGE, label="the slope")
left.set(xlabel="u", ylabel="x̃", title="at u = 1: as u grows, so does its gate", xlim=(0, 2.1))
left.set(ylim=(-0.1, 2.2))
left.legend(loc="upper left")
right.fill_between(u, direct, color=figures.BLUE, alpha=0.75, lw=0, label="direct")
right.fill_between(u, direct, direct + gate, color=figures.ORANGE, alpha=0.75, lw=0, label="gate")
some, h = u[5::12], 1e-30
measured = ((some + 1j * h) / (1 + np.exp(-2 * (some + 1j * h)))).imag / h
right.plot(some, measured, "o", color="black", label="measured")
right.set(xlabel="u", ylabel="slope", title="the two add up to the measured slope", ylim=(0, 1.5))
right.legend(loc="upper center", ncols=3, columnspacing=1, handlelength=1)
figures.show(
    alt="Left, the curve u times sigma of 2u with two tangents: the one with the gate held is too "
    "flat. Right, the slope as the sum of a direct part and a gate part, with measured values "
    "on top."
)

# %%
claim(
    "There the slope is 0.881 directly and 0.210 through the gate, together above 1.",
    s1,
    2 * s1 * (1 - s1),
    whole,
)

# %% [markdown]
# ## Two pixels, by hand
#
# Now with two pixels, 1 and 3, one channel, $W_1 = 1$, $W_2 = 1/2$. Suppose the rest of the network
# looks at the **first** pixel only: $d\tilde{X} = (1, 0)$.
#
# **Predict.** The network does not look at the second pixel. Is its gradient 0?

# %%
U = np.array([1.0, 3.0]).reshape(1, 1, 2, 1)  #                       (N, H, W, C)
W1, W2 = np.array([[1.0]]), np.array([[0.5]])  #                      (C/r, C), (C, C/r)
dX_tilde = np.array([1.0, 0.0]).reshape(1, 1, 2, 1)  #                (N, H, W, C)

z = 2.0  # the mean of 1 and 3; h = δ(2) = 2, and W2 h = 1
s = se.sigmoid(np.array(1.0))
ds = 1 * 1 + 0 * 3  # dX̃ · U, summed over the pixels
dz = ds * s * (1 - s) * 0.5 * 1  # back through σ, W2, δ, W1
by_hand = [s * 1 + dz / 2, s * 0 + dz / 2]  # dU
by_library = se.se_block_backward(dX_tilde, U, W1, W2)[0].ravel()

# %%
claim("By hand: dU is 0.780 for the first pixel and 0.049 for the second.", *by_hand)
claim("The library differs by less than 1e-15.", abs(by_library - by_hand).max())

# %% [markdown]
# It is not 0. The second pixel raises the mean, the mean opens the gate, and the gate makes the
# first pixel larger. **Through the gate, every pixel affects all the others.**
#
# ## Back through the scale
#
# $\tilde{x}_c = s_c u_c$ is a product, so the gradient of each factor contains the other. One
# gate is used at all pixels of its map, so their gradients add up.
#
# $$dU^{\text{direct}}_c = s_c \, d\tilde{X}_c \qquad ds_c = \sum_{i,j} d\tilde{x}_c(i, j) \,
# u_c(i, j)$$

# %%
N, H, W, C, R = 2, 5, 7, 6, 3
rng = np.random.default_rng(0)
U = rng.standard_normal((N, H, W, C)) + 0.5  #                        (N, H, W, C)
W1 = rng.standard_normal((R, C))  #                                   (C/r, C)
W2 = rng.standard_normal((C, R))  #                                   (C, C/r)
dX_tilde = rng.standard_normal((N, H, W, C))  #                       (N, H, W, C)
z = se.squeeze(U)  #                                                  (N, C)
s = se.excite(z, W1, W2)  #                                           (N, C)

dU_direct = s[:, None, None, :] * dX_tilde  #                         (N, H, W, C)
ds = (dX_tilde * U).sum((1, 2))  #                                    (N, C)

figure, axes = figures.panels(1, 3, 2.1)
product = dX_tilde * U
for axis, maps, title in zip(axes, (U, dX_tilde, product), ("U", "dX̃", "dX̃ · U"), strict=True):
    figures.heatmap(axis, maps[0, :, :, 0], title, limit=3)
axes[0].set_xlabel("orange above 0, violet below")
axes[2].set_xlabel(f"adds up to ds = {ds[0, 0]:.2f}".replace("-", "−"))
figures.show(
    alt="Three heatmaps of one map: U, the gradient of X-tilde, and their product, which adds up "
    "to the gate's gradient."
)

claim("The sum over this map, ds, is -6.00.", ds[0, 0])

# %% [markdown]
# Where $U$ and $d\tilde{X}$ have the same sign (orange on the right), a wider gate raises the
# loss $L$; elsewhere it lowers it. $ds = \partial L / \partial s$ is the sum over the map. Here
# it is below 0: $L$ falls if this gate opens.
#
# ## Back through the excitation, line by line
#
# Forward there are four lines: two products, a ReLU, a sigmoid. Backward there are the same four,
# **from the last to the first**:
#
# - $s = \sigma(a_2)$: the slope of $\sigma$ is $s\,(1 - s)$.
# - $a_2 = h W_2^{\mathsf T}$: a product again, so $dh = da_2 W_2$ and $dW_2 = da_2^{\mathsf T}
#   h$. Only one order of the factors has the right shape, and it sums over the batch.
# - $h = \delta(a_1)$: the gradient passes where $a_1 > 0$.
# - $a_1 = z W_1^{\mathsf T}$: as $a_2$.

# %% [markdown]
# ## Exercise: `excite_backward` · medium, 15 minutes
#
# $$s = \sigma(W_2 \, \delta(W_1 z))$$
#
# The function receives `ds` and returns three gradients. Compute $a_1$, $h$ and $s$ again from
# the arguments, then go back line by line. The next section writes the lines out.


# %%
@exercise
def excite_backward(ds, z, W1, W2):  #                                -> dz, dW1, dW2
    ...  # your lines here


check("excite_backward", excite_backward)

# %%
# For help, uncomment a line and run the cell.
# hint("excite_backward")
# hint("excite_backward", 2)
# solution("excite_backward")

# %% [markdown]
# ## The lines, written out

# %%
a1 = z @ W1.T  #                                                      (N, C/r)
h = np.maximum(a1, 0)  #                                              (N, C/r)
a2 = h @ W2.T  #                                                      (N, C)
s = 1 / (1 + np.exp(-a2))  #                                          (N, C)

da2 = ds * s * (1 - s)  #                                             (N, C)
dW2 = da2.T @ h  #                                                    (C, C/r)
dh = da2 @ W2  #                                                      (N, C/r)
da1 = dh * (a1 > 0)  #                                                (N, C/r)
dW1 = da1.T @ z  #                                                    (C/r, C)
dz = da1 @ W1  #                                                      (N, C)

# %% [markdown]
# Then through the squeeze: $z_c$ is a mean, and each of its $H W$ pixels has an equal share.
# Finally the two paths are added.
#
# ## Exercise: `se_block_backward` · medium, 10 minutes
#
# Put both paths together from `scale_backward`, `excite_backward` and `squeeze_backward`, the
# library's (`se.scale_backward` ...) or your own. Call them in the reverse order of the forward
# pass.


# %%
@exercise
def se_block_backward(dX_tilde, U, W1, W2):  #                        -> dU, dW1, dW2
    ...  # your lines here


check("se_block_backward", se_block_backward)

# %%
# hint("se_block_backward")
# hint("se_block_backward", 3)
# solution("se_block_backward")

# %% [markdown]
# ## The two paths, added

# %%
dU_gate = dz[:, None, None, :] / (H * W) + np.zeros((N, H, W, C))  #  (N, H, W, C)
dU = dU_direct + dU_gate  #                                           (N, H, W, C)

of_library = se.se_block_backward(dX_tilde, U, W1, W2)
gaps = [abs(a - b).max() for a, b in zip((dU, dW1, dW2), of_library, strict=True)]
claim("All three gradients agree with the library's to less than 1e-13.", max(gaps))

figure, axes = figures.panels(1, 3, 2.1)
for axis, part, title in zip(
    axes, (dU_direct, dU_gate, dU), ("direct", "through the gate", "dU, the sum"), strict=True
):
    figures.heatmap(axis, part[0, :, :, 0], title, limit=abs(dU[0, :, :, 0]).max())
axes[0].set_xlabel("orange above 0, violet below")
figures.show(
    alt="Three heatmaps of one map: the direct part of the gradient, the gate's part, which is one "
    "constant, and their sum."
)

# %% [markdown]
# The direct part has the pattern of $d\tilde{X}$. The gate's part is **one number for the whole
# map**: it raises or lowers all pixels alike.
#
# ## Verify every line
#
# A wrong result does not say which line is wrong. So verify each line separately. The gradient of
# $h$, for example, is the change of $L = \langle \tilde{X}, d\tilde{X} \rangle$ when $h$ is
# nudged and **everything after** $h$ is computed again. Nudge by the imaginary number $i \cdot
# 10^{-30}$, which avoids rounding errors (tutorial 3).


# %%
def L(**nudge):
    """Return the loss, with a nudge to any line of the forward pass."""

    def line(name, value):
        return value + nudge.get(name, 0)

    U_squeezed, U_scaled = line("U squeezed", U), line("U scaled", U)  # the two uses of U
    z = line("z", U_squeezed.mean((1, 2)))
    a1 = line("a1", z @ line("W1", W1).T)
    h = line("h", np.where(a1.real > 0, a1, 0))
    a2 = line("a2", h @ line("W2", W2).T)
    s = line("s", 1 / (1 + np.exp(-a2)))
    return (U_scaled * s[:, None, None, :] * dX_tilde).sum()


def off_by(name, gradient):
    """Return the difference between a gradient and its measured value along a random direction."""
    v = np.random.default_rng(1).standard_normal(gradient.shape)
    measured = L(**{name: 1e-30j * v}).imag / 1e-30
    return abs((gradient * v).sum() - measured) / np.linalg.norm(gradient)


by_line = {
    "s": ds,
    "a2": da2,
    "W2": dW2,
    "h": dh,
    "a1": da1,
    "W1": dW1,
    "z": dz,
    "U squeezed": dU_gate,
    "U scaled": dU_direct,
}
errors = {name: off_by(name, gradient) for name, gradient in by_line.items()}
for name, gradient in by_line.items():
    verdict = "right" if errors[name] < 1e-14 else "WRONG"
    print(f"{name:11} {gradient.shape!s:14} {verdict}")
claim("All 9 lines are off by less than 1e-14.", len(errors), max(errors.values()))

# %% [markdown]
# The two paths are verified separately: once the $U$ of the squeeze is nudged and that of the
# scale is not, and once the other way round. Try it in a notebook: change a line above, for
# example to `da1 = dh`, and run the cells from there to the table one by one. The claims stop, as
# they should; the table lists the wrong lines, that one and those computed from it.
#
# ## How large is each path?
#
# **Predict.** A map has $H W$ pixels, and the gate's part is divided by $H W$. Does the gate's
# path vanish on large maps?
#
# `path_share` compares the norms of the two parts:
#
# $$\mathrm{share} = \frac{\lVert \mathrm{gate} \rVert}{\lVert \mathrm{direct} \rVert +
# \lVert \mathrm{gate} \rVert}$$
#
# Below are random blocks, each with maps of growing size, and two kinds of $d\tilde{X}$: one
# random at every pixel, and one that is the same at all pixels of a channel, as from a global
# average pooling after the block.


# %%
def mean_share(size, same, blocks=20, C=16, R=4):
    """Return the gate's share of the gradient, over random blocks with square maps."""
    shares = []
    for block in range(blocks):
        rng = np.random.default_rng(block)  # the same weights at every size
        W1, W2 = rng.standard_normal((R, C)) / C**0.5, rng.standard_normal((C, R)) / R**0.5
        side = 1 if same else size
        dX_tilde = rng.standard_normal((4, side, side, C))
        U = se.relu(rng.standard_normal((4, size, size, C)))  #       (N, H, W, C)
        dX_tilde = dX_tilde + np.zeros(U.shape)  #                    (N, H, W, C)
        shares.append(path_share(two_paths(dX_tilde, U, 2 * W1, 2 * W2)).share)
    return np.mean(shares)


sizes = [1, 2, 4, 8, 16, 32]
differs, same = ([mean_share(size, kind) for size in sizes] for kind in (False, True))

figure, (axes,) = figures.panels(1, 1, 2.5)
axes.plot(sizes, same, "o-", color=figures.ORANGE, label="the same at every pixel")
axes.plot(sizes, differs, "o--", color=figures.GREEN, label="random at every pixel")
axes.set(
    xscale="log",
    xticks=sizes,
    xticklabels=sizes,
    xlabel="height and width of the maps",
    ylabel="share of the gate's path",
    ylim=(0, None),
)
axes.minorticks_off()
axes.legend(loc="lower left", title="dX̃ is", alignment="left")
figures.show(
    alt="Share of the gate's path against the size of the maps: nearly constant if the upstream "
    "gradient is the same at every pixel, falling towards zero if it is random."
)

# %%
claim(
    "On the largest maps its share is below 0.05 where dX̃ is random, above 0.2 where it is not.",
    differs[-1],
    same[-1],
)

# %% [markdown]
# It depends on whether the pixels agree. $ds$ is a sum over $H W$ pixels: with random signs it
# grows as $\sqrt{H W}$, more slowly than the divisor, and with equal signs it grows as $H W$,
# which cancels the division.
#
# So in a network the gate's path should be largest in the last blocks, whose maps are small and are
# averaged right after. Here is the ResNet-8 of tutorial 9, with a block in each of three stages and
# with its random initial weights, on 32 pictures. (`Learner`, of tutorial 10, holds a network and
# its weights.)

# %%
from se_numpy.data import builtin
from se_numpy.data.batches import Images, Normalisation, draw
from se_numpy.models import resnet
from se_numpy.train import Learner

data = builtin(train=32, test=1)
pictures = Images(data.train_images, data.train_labels, Normalisation.of(data.train_images))
batch = pictures.batch(draw(np.random.default_rng(0), 32, augment=False), slice(0, 32))
learner = Learner(resnet(8, reduction=4), data.image_shape, seed=0)
paths = network_paths(learner.net, learner.params, learner.state, *batch, train=True)

shares = []
for name, parts in paths.items():
    shares.append(path_share(parts).share)
    print(f"{name.partition('.')[0]}: maps {parts.direct.shape[1:]}, gate's share {shares[-1]:.1%}")
claim("From first to last the share grows by more than 3 times.", shares[-1] / shares[0])

# %% [markdown]
# ## A common mistake: leaving out the gate's path
#
# Suppose the gates are treated as constants. The weights get their gradients, but $dU$ contains
# only the direct part. Does training reveal it? Here is the block of tutorial 7 with its six
# filters, trained from four random starts: filters, $W_1$ and $W_2$, once with each gradient. (In a
# browser this takes half a minute or more.)


# %%
def forgotten(dX_tilde, U, W1, W2):
    z = se.squeeze(U)  #                                              (N, C)
    dU, ds = se.scale_backward(dX_tilde, U, se.excite(z, W1, W2))  #  (N, H, W, C), (N, C)
    _, dW1, dW2 = se.excite_backward(ds, z, W1, W2)
    return dU, dW1, dW2  # dz is dropped


# %%
from se_numpy.data.glyphs import GLYPHS, PLACE, ROWS, STRIP

data = builtin(train=512, test=1)
X = (data.train_images - 128.0) / 100  #                              (N, 32, 32, 3)
X = np.concatenate([X[:, :, STRIP], X[:, :, PLACE]], 2)  #            (N, 32, 9, 3) strip and glyphs
reader = np.zeros((32, 9, 10))  # compares every glyph at every position
for place in ROWS:
    reader[place, 4:] += (GLYPHS - GLYPHS.mean((1, 2), keepdims=True)).transpose(1, 2, 0)


def train(block_backward, seed, steps=120, lr=0.1):
    rng = np.random.default_rng(seed)
    weights = [
        rng.standard_normal((1, 1, 3, 6)),
        rng.standard_normal((6, 6)) * 2,
        rng.standard_normal((6, 6)),
    ]
    velocity, losses = [0, 0, 0], []
    for step in range(steps):
        now = slice(128 * (step % 4), 128 * (step % 4) + 128)
        V, *W = weights
        A = se.conv2d(X[now], V)  #                                   (N, H, W, C)
        U = se.relu(A)  #                                             (N, H, W, C)
        summed = se.se_block(U, *W).sum(-1)  #                        (N, H, W)
        logits = np.einsum("nhw,hwk->nk", summed, reader)  #          (N, 10)
        losses.append(se.softmax_cross_entropy(logits, data.train_labels[now]))
        d = se.softmax_cross_entropy_backward(1.0, logits, data.train_labels[now])
        dX_tilde = np.einsum("nk,hwk->nhw", d, reader)[..., None] + np.zeros(6)
        dU, *dW = block_backward(dX_tilde, U, *W)
        _, dV = se.conv2d_backward(se.relu_backward(dU, A), X[now], V)
        for k, gradient in enumerate((dV, *dW)):
            velocity[k] = 0.9 * velocity[k] - lr * gradient
            weights[k] = weights[k] + velocity[k]
    return losses


seeds = range(4)
right, wrong = ([train(f, seed=k) for k in seeds] for f in (se.se_block_backward, forgotten))

figure, (axes,) = figures.panels(1, 1, 2.4)
axes.plot(np.transpose(right), color=figures.BLUE, lw=1, label=["both paths", *[None] * 3])
axes.plot(np.transpose(wrong), "--", color=figures.ORANGE, lw=1,
          label=["without the gate's path", *[None] * 3])  # fmt: skip
axes.set(xlabel="step", ylabel="loss", ylim=(0, None), title="which of the two is wrong?")
axes.legend()
figures.show(
    alt="Losses of four runs with the right gradient and four without the gate's path; all fall, "
    "and the two kinds overlap."
)

first = [losses[0] for losses in (*right, *wrong)]
last = {
    kind: [losses[-1] for losses in runs] for kind, runs in (("right", right), ("wrong", wrong))
}
claim("All fall below 0.6, from above 2.", max(last["right"] + last["wrong"]), min(first))
better = sum(b < a for a, b in zip(*last.values(), strict=True))
claim("The wrong one ends lower with 3 of 4 seeds.", better, len(seeds))

# %% [markdown]
# Training does not reveal it, and with some seeds the wrong one does better. As in tutorial 3: **a
# falling loss proves nothing about a gradient.** The oracle sees it at once.

# %%
check("se_block_backward", forgotten)

# %% [markdown]
# ## More mistakes, and the tests that hide them
#
# Here are three more common mistakes. For these and the missing path, the table shows the
# oracle's diagnosis and the error of the gradient: with our $U$ and $W_1, W_2$, on maps of one
# pixel, and with $W_2 = 0$, a possible initial value.
#
# **Predict.** Which of the four are right on maps of one pixel? Which are right with $W_2 = 0$?


# %%
def no_slope(dX_tilde, U, W1, W2):  # σ' left out
    z = se.squeeze(U)
    dU, ds = se.scale_backward(dX_tilde, U, se.excite(z, W1, W2))
    a1 = z @ W1.T
    h = se.relu(a1)
    da1 = se.relu_backward(ds @ W2, a1)
    return dU + se.squeeze_backward(da1 @ W1, U), da1.T @ z, ds.T @ h


def no_share(dX_tilde, U, W1, W2):  # 1/(H W) left out
    z = se.squeeze(U)
    dU, ds = se.scale_backward(dX_tilde, U, se.excite(z, W1, W2))
    dz, dW1, dW2 = se.excite_backward(ds, z, W1, W2)
    return dU + dz[:, None, None, :], dW1, dW2


def mean_for_sum(dX_tilde, U, W1, W2):  # ds as a mean
    z = se.squeeze(U)
    dU, ds = se.scale_backward(dX_tilde, U, se.excite(z, W1, W2))
    dz, dW1, dW2 = se.excite_backward(ds / (U.shape[1] * U.shape[2]), z, W1, W2)
    return dU + se.squeeze_backward(dz, U), dW1, dW2


def off(block_backward, U, W1, W2):
    """Return the worst error of the three gradients, relative to their size."""
    d = np.random.default_rng(2).standard_normal(U.shape)
    expected, found = se.se_block_backward(d, U, W1, W2), block_backward(d, U, W1, W2)
    size = [np.linalg.norm(t) or 1.0 for t in expected]
    return max(np.linalg.norm(b - t) / n for t, b, n in zip(expected, found, size, strict=True))


table = {}
print(f"{'':14}{'here':>8}{'1 pixel':>9}{'W2 = 0':>8}   the oracle says")
for wrong in (forgotten, no_slope, no_share, mean_for_sum):
    inputs = (U, W1, W2), (U[:, :1, :1], W1, W2), (U, W1, 0 * W2)
    table[wrong.__name__] = [off(wrong, *args) for args in inputs]
    name = ask("se_block_backward", wrong).task.diagnosis.mistake
    numbers = "{:8.2f}{:9.2f}{:8.2f}".format(*table[wrong.__name__])
    print(f"{wrong.__name__:14}{numbers}   {name}")

mildest = min(row[0] for row in table.values())

# %%
claim("With random inputs even the mildest is off by more than 3 %.", mildest)
claim(
    "On one pixel no_share and mean_for_sum are right, to less than 1e-12.",
    max(table["no_share"][1], table["mean_for_sum"][1]),
)
claim(
    "With W2 at zero forgotten and no_share are right, to less than 1e-12.",
    max(table["forgotten"][2], table["no_share"][2]),
)
slope = se.sigmoid(np.array(0.0)) * (1 - se.sigmoid(np.array(0.0)))
claim(
    "There no_slope is off by 3.00: its dW2 is 4 times too large, as σ' is 0.25 everywhere.",
    *(table["no_slope"][2], 1 / slope, slope),
)

# %% [markdown]
# All but `no_slope` pass one of these tests. On maps of one pixel a mean and a sum are the same.
# With $W_2 = 0$ the gradient through the gate is 0, so mistakes in it do not show; $dW_2$ itself
# is not 0, and reveals a wrong $ds$ or $\sigma'$. That is why the oracle uses maps larger than a
# pixel, weights that are not 0, and gradients that are not 1.

# %% [markdown]
# You do not have to trust the oracle. The complex step uses neither the library's gradient nor
# yours; it only runs the block **forward**. Here is the test of your function.


# %%
def complex_block(U, W1, W2):
    """Compute Equations (2) to (4) for complex arrays; ReLU uses the real part."""
    a1 = U.mean((1, 2)) @ W1.T  #                                     (N, C/r)
    a2 = np.where(a1.real > 0, a1, 0) @ W2.T  #                       (N, C)
    return U / (1 + np.exp(-a2))[:, None, None, :]  #                 (N, H, W, C)


def before_the_judge(block_backward):
    try:
        results = se.check_backward(complex_block, block_backward, U, W1, W2, method="complex")
    except (se.GradientError, se.KinkError) as refused:
        return str(refused)
    except Exception as stopped:  # the function itself raised
        return f"{type(stopped).__name__}: {stopped}"
    worst = max(result.relative for result in results)
    return f"right: off by {'less than 1e-14' if worst < 1e-14 else worst}"


print("the library's:", before_the_judge(se.se_block_backward))
print("forgotten:    ", shorten(before_the_judge(forgotten), 92, placeholder=" ..."))
print("yours:        ", before_the_judge(se_block_backward))

# %% [markdown]
# The numbers differ from those of the table, because this test uses another $d\tilde{X}$ and one
# random direction.

# %% [markdown]
# ## On your own
#
# - *Quick.* For which $U$ is the gate's part 0 although no weight is 0? Name the reason in
#   $\delta$, and one in $\sigma$ for which it is only nearly 0.
# - *Core.* Replace the mean of Equation (2) by the largest pixel. Which one of the nine lines
#   changes, and how? Prove it with `L` and `off_by`; then look at the layer `SEVariant` in
#   `se_numpy.layers`.
# - *Open.* With a residual connection, $Y = X + \text{block}(F(X))$, a third path comes back. When
#   the gates are shut, which of the three is left, and what does that mean for training?
#
# **Answers.** *Quick:* if all of $W_1 z$ is negative, ReLU passes nothing back. If all gates are
# near 0 or 1, $s (1 - s)$ is nearly 0. *Core:* `dU_gate`: all of $dz_c$ goes to the largest pixel
# of the map, and none to the others. *Open:* the path along the shortcut. With the gates shut, $Y =
# X$ and $dX = dY$: a deep stack of such units passes gradients on unchanged.
#
# Next: [9. Assemble a network and count it](09_assemble_and_count.ipynb).
