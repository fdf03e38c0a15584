# %% [markdown]
# # 9. Assemble a network and count it
#
# [all tutorials](README.md) · [this one as a
# script](09_assemble_and_count.py)
#
# **You will** build an SE-ResNet from layers, run it, and compute its cost before it has seen a
# picture: by hand, with the library, and compared with the paper's tables. You write
# `residual_block`.
#
# **You learn** what a residual unit is, the five places where the paper tried the SE block, what
# parameters and multiply-adds are, and what Equation (5) says.
#
# **You need** the block of [tutorial 7](07_squeeze_excite_scale.ipynb), and what a convolution and
# a batch norm do ([tutorials 2](02_convolve.ipynb) and [5](05_normalise.ipynb)); a CPU; 45 minutes.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
import numpy as np
import se_numpy as se
from se_numpy import models, tree
from se_numpy.complexity import cost, count_parameters, rows, stages
from se_numpy.grading.lessons import check, claim, exercise, figures, hint, solution
from se_numpy.layers import (
    SE,
    BatchNorm,
    Conv,
    GlobalAveragePool,
    Linear,
    ReLU,
    init,
    residual,
    serial,
    walk,
)
from se_numpy.models.paper import number

figures.style()
rng = np.random.default_rng(0)

# %% [markdown]
# ## A layer is a description
#
# `Conv(16)` contains no numbers. It describes sixteen filters of 3x3 pixels, stride 1, with
# padding that keeps the size. Its parameters are initialised for a given input shape.
#
# **Predict.** How many numbers does it learn for pictures with three channels? It has no biases,
# because the batch norm after it adds one to each channel anyway.

# %%
layer = Conv(16)
print(layer, "- equal to another Conv(16):", layer == Conv(16))
filters, state = init(layer, (32, 32, 3), rng)  # state: running statistics, if it has any
print("it learns", {name: array.shape for name, array in filters.items()})

# %%
claim(
    "3 times 3 pixels, 3 channels, 16 filters: 432 numbers.", *filters["V"].shape, filters["V"].size
)

# %% [markdown]
# Layers are *values*: you can compare them, print them, put them in a list, use one twice. Two
# functions join them.
#
# - `serial(a, b, c)`: one after the other.
# - `residual(branch, shortcut)`: both get the same input, and their results are **added**. Without
#   a shortcut the input itself is added.
#
# ## A residual unit with an SE block
#
# A residual unit does not compute a new map; it computes a **difference** to add to the old one.
# The block of tutorial 7 is at the end of that branch, before the sum:
#
# $$Y = \delta\bigl(X + \mathrm{SE}(F(X))\bigr) \qquad F = \mathrm{BN} \circ V_2 * {} \circ \delta
# \circ \mathrm{BN} \circ V_1 *$$
#
# **Predict.** In which of the lines below does the shape change?

# %%
branch = serial(Conv(16), BatchNorm(), ReLU(), Conv(16), BatchNorm(), SE(4))
block = serial(residual(branch), ReLU())
shape = (32, 32, 16)
for name, layer, given in walk(block, shape):
    print(f"{name:26}{given!s:>14} ->{layer.output_shape(given)!s:>14}   {layer}")

# %% [markdown]
# In none, because `residual` can only add maps of the same shape. `SE(4)` is the block with
# reduction ratio $r = 4$, so four hidden units for sixteen channels. The paper has $r = 16$ and
# hundreds of channels.

# %% [markdown]
# ## Exercise: `residual_block` · medium, 15 minutes
#
# $$Y = \delta\bigl(X + \mathrm{SE}(\mathrm{BN}(V_2 * \delta(\mathrm{BN}(V_1 * X))))\bigr)$$
#
# Both convolutions have stride 1 and padding 1; batch norm uses the statistics of the batch, as
# in training. You may use `se.conv2d`, `se.batch_norm`, `se.relu` and `se.se_block`, or your own
# functions. Where exactly is a ReLU needed, and where not?


# %%
@exercise
def residual_block(
    X, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2
):  #                                                                 -> Y (N, H, W, C)
    ...  # your lines here


check("residual_block", residual_block)

# %%
# For help, uncomment a line and run the cell.
# hint("residual_block")
# hint("residual_block", 3)
# solution("residual_block")

# %% [markdown]
# ## Layer and equation
#
# Does this layer compute the equation? Here is the same with the functions that you have written.

# %%
params, state = init(block, shape, rng)
X = rng.standard_normal((4, *shape)).astype(np.float32)  #            (N, H, W, C)
Y, cache = block.forward(params, state, X, train=True)  #             (N, H, W, C)
# (cache: the values that the backward pass needs)

p = params["sum1"]["branch"]
H = se.relu(se.batch_norm(se.conv2d(X, p["conv1"]["V"], padding=1), **p["batchnorm1"]))
A = se.batch_norm(se.conv2d(H, p["conv2"]["V"], padding=1), **p["batchnorm2"])
by_hand = se.relu(X + se.se_block(A, **p["se1"]))  #                  (N, H, W, C)
claim("Layer and equation agree to less than 1e-5.", abs(Y - by_hand).max())

# %% [markdown]
# ## Five places for the block: Figure 5
#
# The paper tried other positions (Figure 5, Tables 14 and 15). With layers as values each is one
# line. The numbers in the figure are the paper's: top-1 error of SE-ResNet-50 in percent, which
# is 23.30 without any block. (`bias=True` gives $W_1$ and $W_2$ the biases `b1` and `b2`.
# Equation (3) has none; below, `b2` will close the gates.)

# %%
F, gate = serial(Conv(16), BatchNorm(), ReLU(), Conv(16), BatchNorm()), SE(4, bias=True)
places = {
    "standard": serial(residual(serial(F, gate)), ReLU()),
    "pre": serial(residual(serial(gate, F)), ReLU()),
    "post": serial(residual(F), ReLU(), gate),
    "identity": serial(residual(F, gate), ReLU()),
    "3x3": serial(
        residual(serial(Conv(16), BatchNorm(), gate, ReLU(), Conv(16), BatchNorm())), ReLU()
    ),
}


def diagram(axis, title, left, right=(), above=()):
    """Draw X at the bottom, branch on the left, shortcut on the right, and the rest above."""
    axis.plot([0, 0, 1, 1, 0], [0.55, 6, 6, 0.9, 0.9], color=figures.GREY, lw=1.2, zorder=0)
    axis.plot([0, 0], [6, 9.2], color=figures.GREY, lw=1.2, zorder=0)
    spots = [
        *zip(np.linspace(1.9, 4.9, len(left) + 2)[1:-1], left, [0] * len(left), strict=True),
        *((3.4, text, 1) for text in right),
        (6, "+", 0),
        *zip((7.3, 8.5), above, (0, 0), strict=False),
    ]
    for height, text, x in spots:
        colour = figures.ORANGE if text == "SE" else "white"
        box = {"boxstyle": "circle" if text == "+" else "round", "fc": colour, "ec": figures.GREY}
        ink = "white" if text == "SE" else "black"
        axis.text(x, height, text, ha="center", va="center", fontsize=9, color=ink, bbox=box)
    for height, letter in ((0, "X"), (9.6, "Y")):
        axis.text(0, height, letter, ha="center", va="center", fontsize=10)
    axis.set(xlim=(-0.8, 1.6), ylim=(-0.4, 10), title=title)
    axis.set_axis_off()


figure, axes = figures.panels(1, 5, 3.1)
error = {name: number("15" if name == "3x3" else "14", name, "top-1").value for name in places}
diagram(axes[0], f"standard: {error['standard']:.2f}", ["F", "SE"], above=["δ"])
diagram(axes[1], f"pre: {error['pre']:.2f}", ["SE", "F"], above=["δ"])
diagram(axes[2], f"post: {error['post']:.2f}", ["F"], above=["δ", "SE"])
diagram(axes[3], f"identity: {error['identity']:.2f}", ["F"], ["SE"], ["δ"])
diagram(axes[4], f"3x3: {error['3x3']:.2f}", ["conv", "SE", "conv"], above=["δ"])
figures.show(
    alt="Five diagrams of a residual unit, with the SE block at the end of the branch, at its "
    "start, after the sum, on the shortcut, and inside the branch, each with the paper's "
    "error."
)

# %% [markdown]
# *Pre* and *identity* do as well as the standard position, *3x3* a little worse. (*3x3* also
# saves parameters: in the paper's units, which are called *bottlenecks*, the middle convolution
# has a quarter of the channels of the input and output. Ours have the same number everywhere.)
# *Post* differs most. Here is one difference: give the gates a bias so low that all of them
# close, $s = 0$.
#
# **Predict.** What does each block return then: $\delta(X)$, as if there were no branch? Something
# without $X$? Zeros? And does it matter whether batch norm's $\beta$ is 0, as in a new network, or
# has been learned?


# %%
def shut(name, beta, X=X):
    """Return the result of the block at this position when all its gates are 0."""
    net, rng = places[name], np.random.default_rng(1)
    params, state = init(net, shape, rng)
    for name_of, array in tree.leaves(params):  # each array with its name, as "sum1.branch.se1.b2"
        if name_of.endswith("b2"):  # the bias inside the sigmoid
            array[...] = -30  # σ(-30) is practically 0
        if name_of.endswith("beta"):
            array[...] = beta * rng.standard_normal(array.shape)
    return net.forward(params, state, X, train=True)[0]


def verdict(Y, for_another):
    """Say what is left; ``for_another`` is the result for X + 1."""
    if abs(Y - se.relu(X)).max() < 1e-6:
        return "δ(X)"
    if abs(Y).max() < 1e-6:
        return "zeros"
    both = (Y > 0) & (for_another > 0)  # where ReLU passes both
    constant = abs(for_another - Y - 1)[both].max() < 1e-3
    return "δ(X + a constant map)" if constant else "only the branch"


found = {}
print(f"{'':10}{'β = 0':18}β learned")
for name in places:
    found[name] = [verdict(shut(name, beta), shut(name, beta, X + 1)) for beta in (0, 1)]
    print(f"{name:10}{found[name][0]:18}{found[name][1]}")

# %%
claim("With β at 0, 3 of 5 positions hand X on;",
      0, sum(beginning == "δ(X)" for beginning, _ in found.values()), len(places))  # fmt: skip
claim("with a learned β 1 of 5.",
      sum(learned == "δ(X)" for _, learned in found.values()), len(places))  # fmt: skip
assert found["standard"] == ["δ(X)"] * 2
claim("After the sum, closed gates leave values below 1e-9.", abs(shut("post", 1)).max())

# %% [markdown]
# Only *standard* passes $X$ on unchanged whenever its gates are closed, and gradients pass back the
# same way. In *pre* and *3x3* the gates stand before a batch norm: from zeros it makes its $\beta$,
# so the unit adds a map that is the same for every image. *Identity* loses $X$ and keeps the
# branch. *Post* scales everything. This is what *can* happen; it does not explain why the errors
# differ. (*Identity* loses $X$, too, and has the lowest error of all.)
#
# ## A whole network
#
# Residual networks for small pictures (He et al., 2016) have three stages. From one to the next
# the map is halved and the channels double; there the shortcut has to change the shape too, with
# a 1x1 convolution. With one unit per stage this makes a path of eight layers with weights.


# %%
def unit(C, stride, r):
    gate = (SE(r),) if r else ()
    branch = serial(Conv(C, 3, stride), BatchNorm(), ReLU(), Conv(C), BatchNorm(), *gate)
    shortcut = serial() if stride == 1 else serial(Conv(C, 1, stride), BatchNorm())
    return serial(residual(branch, shortcut), ReLU())


def resnet8(r=None):
    units = [unit(C, stride, r) for C, stride in ((16, 1), (32, 2), (64, 2))]
    return serial(Conv(16), BatchNorm(), ReLU(), *units, GlobalAveragePool(), Linear(10))


net, picture = resnet8(r=4), (32, 32, 3)
for row in rows(net, picture):
    size = " × ".join(map(str, row.output))
    print(f"{row.kind:26}{size:>13}{row.cost.parameters:>9,}{row.cost.products:>12,}")

# %% [markdown]
# Each line is a layer: its kind, its output shape, its number of parameters and its number of
# multiply-adds. `sum` adds a branch and its shortcut.
#
# The height of each box is that of the map, and its width grows with the channels:

# %%
outline = [("picture", 32, 3, ""), ("conv", 32, 16, "")]
outline += [(f"unit {k + 1}", 32 >> k, 16 << k, "SE") for k in range(3)]
outline += [("mean", 1, 64, ""), ("classifier", 1, 10, "")]

figure, (axes,) = figures.panels(1, 1, 2.9)
left = 0.0
for name, size, C, gated in outline:
    width = C / 2 + 1
    colour = figures.SKY if size > 1 else figures.GREY
    axes.bar(left + width / 2, size, width, 16 - size / 2, color=colour, ec="black", lw=0.6)
    text = f"{name}\n{size} × {size}\n× {C}" if size > 1 else f"{name}\n{C}"
    axes.text(left + width / 2, -2, text, ha="center", va="top", fontsize=8.5)
    if gated:
        axes.bar(left + width + 1.2, size, 1.6, 16 - size / 2, color=figures.ORANGE)
        axes.text(left + width + 1.2, 17 + size / 2, "SE", ha="center", color=figures.ORANGE)
    left += max(width + 8, 28)
axes.set(xlim=(-3, left), ylim=(-11, 36))
axes.set_axis_off()
figures.show(
    alt="The network as boxes: the picture, a convolution, three units with an SE block each, ever "
    "smaller and with more channels, a mean and a classifier."
)

# %% [markdown]
# The library has this network under the name `se_resnet8`. With the same random initial weights,
# the two must give the same results.

# %%
images = rng.standard_normal((5, *picture)).astype(np.float32)  #     (N, H, W, C)
logits = []
for one in (net, models.build("se_resnet8")):
    params, state = init(one, picture, np.random.default_rng(7))
    logits.append(one.forward(params, state, images)[0])  #           (N, 10)
claim("Ours and the library's differ by at most 0.", abs(logits[0] - logits[1]).max())

# %% [markdown]
# ## Count it by hand
#
# *Parameters* are the numbers that are learned. *Multiply-adds* are the products of convolutions
# and fully connected layers for one picture, each with its addition: what the paper calls FLOPs.
#
# | layer | parameters | multiply-adds |
# |---|---|---|
# | convolution, $k \times k$, $C'$ to $C$ channels | $k^2 C' C$ | that, at each of $H W$ places |
# | batch norm | $2C$ | not counted |
# | SE block | $2C \cdot C/r$ | the same: once an image |
# | fully connected, $C$ to $K$ | $C K + K$ | $C K$ |
#
# **Predict.** Stage 3 has four times the weights of stage 2 in every convolution. Does it also do
# four times the work?


# %%
def unit_by_hand(C_in, C, size, r):
    """Return (parameters, multiply-adds) of a unit whose result is size × size × C."""
    weights = 9 * C_in * C + 9 * C * C  #                             two convolutions
    batch_norms = 2 * C + 2 * C
    if C_in != C:
        weights += C_in * C  #                                        the shortcut's
        batch_norms += 2 * C
    gates = 2 * C * (C // r)  #                                       W1 and W2
    return weights + batch_norms + gates, size * size * weights + gates


by_hand = [
    (9 * 3 * 16 + 2 * 16, 32 * 32 * 9 * 3 * 16),
    unit_by_hand(16, 16, 32, 4),
    unit_by_hand(16, 32, 16, 4),
    unit_by_hand(32, 64, 8, 4),
    (64 * 10 + 10, 64 * 10),
]
parameters, products = map(sum, zip(*by_hand, strict=True))
counted = cost(net, picture)
assert (parameters, products) == (counted.parameters, counted.products)

# %%
claim("By hand and with the library: 80,730 parameters.", parameters)
claim("By hand and with the library: 12,504,320 multiply-adds.", products)
two, three = by_hand[2], by_hand[3]
claim("Stage 3 has 4.0 times the parameters of stage 2,", 3, three[0] / two[0], 2)
claim("and 1.0 times its work: a quarter of the places.", three[1] / two[1])

# %% [markdown]
# Most parameters are at the end of the network, where there are many channels; the work is spread
# evenly. Distinguish the two: "SE costs ten percent" means nothing without saying of what.
#
# ## Equation (5)
#
# How many parameters does SE add? With $N_s$ blocks of $C_s$ channels in stage $s$ and two
# matrices per block, it adds
#
# $$\frac{2}{r} \sum_{s=1}^{S} N_s \, C_s^2$$
#
# **Predict.** In percent of the plain network, how much does SE add to the parameters, and how
# much to the work?

# %%
plain = cost(resnet8(), picture)
added = se.added_parameters([(1, 16), (1, 32), (1, 64)], r=4)

# %%
claim("Eq. (5) says 2,688,", added)
claim("and so do the two counts: 2,688.", counted.parameters - plain.parameters)
more = added / plain.parameters, counted.products / plain.products - 1
claim("That is 3.4 % more parameters and 0.02 % more work.", *more)

# %%
names = ["stem", "stage1", "stage2", "stage3", "classifier"]
library = stages(models.build("se_resnet8"), picture)
library["stem"] = sum(
    (library.pop(name) for name in ("conv", "norm", "relu")), start=cost(serial(), picture)
)
gates_of = {"stage1": 16, "stage2": 32, "stage3": 64}

figure, axes = figures.panels(1, 2, 2.6)
for axis, what, unit_name in ((axes[0], "parameters", 1e3), (axes[1], "products", 1e6)):
    whole = np.array([getattr(library[name], what) for name in names]) / unit_name
    gates = np.array([2 * gates_of.get(name, 0) ** 2 / 4 for name in names]) / unit_name
    axis.bar(range(5), whole - gates, color=figures.BLUE, label="without SE")
    axis.bar(range(5), gates, bottom=whole - gates, color=figures.ORANGE, label="SE blocks")
    axis.set_xticks(range(5), names, fontsize=8.5)
axes[0].set(title="parameters, in thousands")
axes[1].set(title="multiply-adds, in millions; SE: too thin to see")
axes[0].legend(loc="upper left")
figures.show(
    alt="Bars by stage. Parameters grow from stage to stage, with a thin layer for SE; "
    "multiply-adds are spread evenly, and SE is too thin to see."
)

# %% [markdown]
# ## Comparison with the paper's numbers
#
# Table 10 is the paper's study of $r$ on SE-ResNet-50: 3, 4, 6 and 3 blocks of 256, 512, 1024 and
# 2048 channels (Table 1). The paper numbers these stages 2 to 5, after the first convolution.

# %%
large = [(3, 256), (4, 512), (6, 1024), (3, 2048)]
base = count_parameters(models.build("resnet50"), (224, 224, 3))
print("  r     Eq. (5)   all parameters   paper, millions   paper's top-1 error")
for r in (2, 4, 8, 16, 32):
    ours = count_parameters(models.build("se_resnet50", reduction=r), (224, 224, 3))
    assert ours == base + se.added_parameters(large, r)
    printed, top1 = (number("10", str(r), column).value for column in ("parameters", "top-1"))
    print(f"{r:3}{ours - base:12,}{ours:17,}{printed:18.1f}{top1:22.2f}")
print(f"  -           0{base:17,}{number('10', 'original', 'parameters').value:18.1f}"
      f"{number('10', 'original', 'top-1').value:22.2f}")  # fmt: skip

# %% [markdown]
# Compare the two columns: they round to the same for $r = 2$, $16$ and without SE, and differ in
# the last digit for 4, 8 and 32. Counting batch norm's running statistics too, which are kept but
# not learned, would explain two of those; `se-numpy complexity` tries such rules on every count
# of the paper and reports those that it cannot explain. Papers seldom state their counting rules.

# %%
r = np.array([2, 4, 8, 16, 32])
million = np.array([se.added_parameters(large, k) for k in r]) / 1e6
top1 = [number("10", str(k), "top-1").value for k in r]
by_stage = np.array([se.added_parameters([one], 16) for one in large])

figure, (left, right) = figures.panels(1, 2, 2.7)
left.plot(million, top1, "o", color=figures.ORANGE)
for x, y, k in zip(million, top1, r, strict=True):
    left.annotate(f"r = {k}", (x, y), (0, 7), textcoords="offset points", ha="center", fontsize=9)
left.set_xscale("log")
left.set_xticks(million, [f"{x:.1f}" for x in million])
left.minorticks_off()
left.axhline(number("10", "original", "top-1").value, color=figures.GREY, ls="--", lw=1)
left.text(23, 23.27, "without SE", ha="right", va="top", color=figures.GREY, fontsize=9)
left.set(xlabel="added parameters, millions", ylabel="top-1 error, %", xlim=(0.8, 28),
         ylim=(22, 23.5), title="paper, Table 10: cost and error")  # fmt: skip
right.bar(range(4), by_stage / 1e6, color=figures.ORANGE)
right.set_xticks(
    range(4), [f"stage {k}\n{N} × {C}" for k, (N, C) in enumerate(large, 2)], fontsize=9
)
right.set(title="by stage, r = 16, in millions")
figures.show(
    alt="Left, the paper's error against the parameters added for five reduction ratios: nearly "
    "flat except at thirty-two, all below the line without SE. Right, added parameters by "
    "stage: most are in the last."
)

share = by_stage / by_stage.sum()
claim("The last stage has 62.5 % of the added parameters.", share[-1])
claim("All of them are 9.8 % of the plain network; without the last stage 3.7 %.",
      by_stage.sum() / base, by_stage[:-1].sum() / base)  # fmt: skip
work = [
    cost(models.build(name), (224, 224, 3)).products / 1e9 for name in ("resnet50", "se_resnet50")
]
claim("Multiply-adds, in billions: 3.858 without, 3.860 with SE.", *work)

# %% [markdown]
# The paper says so too: about 10 percent more parameters, and blocks in the last stage can be
# left out at little loss in accuracy, for 4 percent. Between $r = 2$ and $r = 16$ the error
# hardly changes while the cost falls by a factor of eight; so the paper uses 16.
# (The paper states 3.86 and 3.87 billion multiply-adds; the second includes the additions of the
# squeeze and the products of the scaling.)
#
# ## A common mistake: gates after the sum
#
# "The block goes at the end." But at the end of the branch or of the unit?


# %%
def gated_sum(X, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2):
    H = se.relu(se.batch_norm(se.conv2d(X, V1, padding=1), gamma1, beta1))
    A = se.batch_norm(se.conv2d(H, V2, padding=1), gamma2, beta2)
    return se.relu(se.se_block(X + A, W1, W2))


check("residual_block", gated_sum)

# %% [markdown]
# The shape and the number of parameters are right, and it would train. Neither counting nor a
# falling loss reveals such a mistake. The oracle names it.

# %% [markdown]
# ## On your own
#
# - *Quick.* With $r = 16$ this little network would have one hidden unit in stage 1. What do the
#   gates do for an image on which that unit's ReLU is off?
# - *Core.* `SE` inside a bottleneck, directly after its 3x3 convolution, sees a quarter of the
#   channels. What does Equation (5) become? How many times fewer parameters? Compare it with
#   `models.build("se_resnet50", placement="3x3")`.
# - *Open.* You may spend 3 percent more parameters on a network of fifty layers. Where do you put
#   them: more channels, more units, SE blocks in some stages? What would you have to measure, and
#   how often, to be sure?
#
# **Answers.** *Quick:* they are all one half, whatever the image: $h = 0$, so $W_2 h = 0$. *Core:*
# with a quarter of the channels, each block has a sixteenth of the parameters. *Open:* there is no
# general answer. Compare at equal cost, on held-out images, over several seeds, and look at the
# interval of the differences (tutorial 10).
#
# Next: [10. Train it](10_train.ipynb).
