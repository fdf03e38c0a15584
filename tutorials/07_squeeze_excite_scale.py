# %% [markdown]
# # 7. Squeeze, excite, scale
#
# [all tutorials](README.md) ·
# [this one as a script](07_squeeze_excite_scale.py)
#
# **You will** build a Squeeze-and-Excitation block one equation at a time, choose its weights by
# hand, and see it answer a question that no single pixel can answer. Then you write `excite` and
# `se_block`.
#
# **You learn** what Equations (2), (3) and (4) of the paper say, why a gate is a sigmoid, what
# the reduction ratio $r$ costs, and why the squeeze is needed.
#
# **You need** [tutorial 2](02_convolve.ipynb), and `squeeze` and `scale` from
# [tutorial 1](01_images_as_arrays.ipynb); a CPU; 45 minutes.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
import numpy as np
import se_numpy as se
from se_numpy.analysis.builtin_cue import glyphs_in_sight, group_by_cue
from se_numpy.data import builtin
from se_numpy.data.glyphs import COLOURS, GLYPHS, PLACE, ROWS, SHIFTS, STRIP
from se_numpy.grading.lessons import check, claim, exercise, figures, hint, solution
from se_numpy.grading.lessons.pictures import draw_block
from se_numpy.grading.lessons.toys import toy

figures.style()

# %% [markdown]
# ## A question that no single pixel can answer
#
# In the built-in pictures a faint strip on the left asks a question by its colour. On the right
# are six glyphs, one in each colour. The answer is the glyph **in the strip's colour**.

# %%
data = builtin(train=1, test=600)
images, labels = data.test_images, data.test_labels  #                (N, H, W, 3), (N,)
strips = group_by_cue(images).of  #                                            (N,) colours, 0 to 5

figure, axes = figures.panels(1, 5, 2.1)
for n, axis in enumerate(axes):
    figures.picture(axis, images[n], f"{COLOURS[strips[n]]}? {data.classes[labels[n]]}")
    axis.set(xticks=(0, 10, 20, 30), xlabel="column")
figures.show(
    alt="Five pictures with their answers: a faint strip on the left, six glyphs in six colours on "
    "the right."
)

# %% [markdown]
# **Predict.** How wide must a filter be to cover a pixel of the strip and one of a glyph?

# %%
needed = PLACE.start - (STRIP.stop - 1) + 1  # from the strip's last column to a glyph's first

# %%
claim("A filter has to be 24 pixels wide; the usual one has 3.", needed, 3)

# %% [markdown]
# And what the filter sees has to be **selected**: with one strip the red glyph counts and the
# others do not, with another strip another one does. Adding up the left and the right of the
# picture does not select anything. A Squeeze-and-Excitation block does both: it looks at the whole
# picture, and it multiplies.

# %% [markdown]
# ## The block on one page
#
# Here is all of it. $U$ contains the $C$ maps of any layer. $W_1$ reduces $C$ numbers to $C/r$,
# called $h$, and $W_2$ expands them to $C$ again; $r$ is the *reduction ratio*, two in the
# figure. In the small squares, and in the maps on the right, paler colours are smaller values.

# %%
draw_block()
figures.show(
    alt="Diagram of the block: U is squeezed to z, excited through a narrow layer h to the gates "
    "s, and U is multiplied by s."
)

# %% [markdown]
# $U$ is used **twice**: its mean determines the gates, and the gates scale it. This is why
# tutorial 8 sends two gradients back.
#
# ## Six maps
#
# Let us construct $U$ with known contents: six filters of a single pixel, one per colour, then
# ReLU. Map $c$ shows where the picture has colour $c$.

# %%
X = (images - 128.0) / 100  #                                         (N, H, W, 3) grey is 0
V = SHIFTS.T[None, None].astype(float)  #                             (1, 1, 3, C)
U = se.relu(se.conv2d(X, V))  #                                       (N, H, W, C)
N, H, W, C = U.shape
print("U", U.shape)
INKS = (128 + 100 * SHIFTS) / 255  # the six colours in the pictures

figure, axes = figures.panels(1, 7, 1.35)
figures.picture(axes[0], images[0], "picture 0")
for c, name in enumerate(COLOURS):
    figures.picture(axes[c + 1], U[0, :, :, c], name, vmin=0, vmax=1)
figures.show(
    alt="A picture and its six maps, one for each colour. Each map contains one glyph; one of them "
    "also contains the strip."
)

# %% [markdown]
# Every map contains one glyph, and the map of the strip's colour also contains the strip. Nothing
# selects a map yet.
#
# ## Equation (2): squeeze
#
# One number for each map: its mean over all pixels.
#
# $$z_c = \frac{1}{H W} \sum_{i=1}^{H} \sum_{j=1}^{W} u_c(i, j)$$
#
# **Predict.** Which of the six bars will be longest: that of the strip's colour, or that of a
# bright glyph?

# %%
z = se.squeeze(U)  #                                                  (N, C)

figure, axes = figures.panels(1, 3, 1.9, sharey=True)
for n, axis in enumerate(axes):
    axis.bar(COLOURS, z[n], color=INKS)
    axis.set_title(f"picture {n}: {COLOURS[strips[n]]} strip")
    axis.tick_params(axis="x", rotation=60, labelsize=9)
axes[0].set_ylabel("z")
figures.show(
    alt="Three bar charts of z for six colours: in each the bar of the strip's colour is by far "
    "the longest."
)

# %%
asked = np.arange(C) == strips[:, None]  #                            (N, C)
claim(
    "The map of the strip has at least 0.07 on average, the others at most 0.03.",
    z[asked].min(),
    z[~asked].max(),
)

# %% [markdown]
# The strip is faint but long, a glyph bright but small, and all glyphs light seven pixels. So $z$
# contains the strip's colour, collected from the whole picture, and **it forgets where**: $z$
# does not say which glyph was in which row. That information is still in $U$.

# %% [markdown]
# ## Equation (3): excite
#
# $$s = \sigma(W_2 \, \delta(W_1 z)) \qquad W_1 \in \mathbb{R}^{C/r \times C}, \quad
# W_2 \in \mathbb{R}^{C \times C/r}$$
#
# A very small network, applied to every image's $z$: it turns *how much there is of each channel*
# into *how far each channel's gate is open*. $\delta$ is ReLU, and $\sigma$ maps each number to
# the range between 0 (closed) and 1 (open). The paper has no biases here.

# %% [markdown]
# ## Exercise: `excite` · easy, 10 minutes
#
# $$s = \sigma(W_2 \, \delta(W_1 z))$$
#
# In the paper $z$ is a column; here each image's $z$ is a **row**, so write `z @ W1.T`. You may
# use `se.relu` and `se.sigmoid`.


# %%
@exercise
def excite(z, W1, W2):  #                                             (N, C), ... -> (N, C)
    ...  # your line here


check("excite", excite)

# %%
# For help, uncomment a line and run the cell.
# hint("excite")
# solution("excite")

# %% [markdown]
# ### Weights chosen by hand
#
# A trained network learns $W_1$ and $W_2$. We choose them, with $r = 1$, so that each step has a
# meaning:
#
# - $W_1$: how much louder is channel $c$ than six fifths of the average channel?
# - $\delta$: if it is not louder, forget it.
# - $W_2$: open the gate of a loud channel, and close all others.

# %%
W1 = 100 * (np.eye(C) - 1.2 / C)  #                                   (C/r, C)
W2 = 9 * np.eye(C) - 3  #                                             (C, C/r)

a1 = z @ W1.T  #                                                      (N, C/r)
h = se.relu(a1)  #                                                    (N, C/r)
a2 = h @ W2.T  #                                                      (N, C)
s = se.sigmoid(a2)  #                                                 (N, C)
claim("The library's excite differs by less than 1e-15.", abs(s - se.excite(z, W1, W2)).max())

# %% [markdown]
# **Predict.** How many gates will be open in the last of the five plots?

# %%
figure, axes = figures.panels(1, 5, 1.9)
titles = "z", "W₁ z", "δ(W₁ z)", "W₂ δ(W₁ z)", "s"
for axis, values, title in zip(axes, (z, a1, h, a2, s), titles, strict=True):
    axis.bar(range(C), values[0], color=INKS)
    axis.axhline(0, color=figures.GREY, lw=0.8)
    axis.set(title=title, xticks=range(C), xticklabels=[name[0] for name in COLOURS])
    axis.tick_params(labelsize=8)
figures.show(
    alt="Five bar charts of one picture: z, W1 z, the same after ReLU with one bar left, then W2 "
    "applied with one bar above zero, and the gates: one is open."
)

# %%
claim(
    "In every picture one gate is above 0.999 and five are below 0.001.",
    s[asked].min(),
    s[~asked].max(),
)

# %% [markdown]
# ### Why a sigmoid and not a softmax
#
# The paper has two requirements for the excitation: it must be able to learn a nonlinear
# interaction between channels, and a relation that is **not mutually exclusive**, so that several
# channels can be emphasised at once. Give one picture two strips, half and half.
#
# **Predict.** How far open will the two gates be with a sigmoid, how far with a softmax?

# %%
two = X[:1].copy()  #                                                 (1, H, W, 3)
other = int(np.argmax(strips != strips[0]))
two[:, 16:, STRIP] = X[other, 16:, STRIP]  # the lower half has another colour
both = se.relu(se.squeeze(se.relu(se.conv2d(two, V))) @ W1.T) @ W2.T  # (1, C)

figure, axes = figures.panels(1, 3, 2.0, width_ratios=(1, 1.3, 1.3))
figures.picture(axes[0], (two[0] + 1.28) / 2.56, "two questions")
for axis, gate in zip(axes[1:], (se.sigmoid, se.softmax), strict=True):
    axis.bar(COLOURS, gate(both)[0], color=INKS)
    axis.set(title=gate.__name__, ylim=(0, 1), ylabel="s")
    axis.tick_params(axis="x", rotation=60, labelsize=9)
figures.show(
    alt="A picture with a strip in two colours; sigmoid gates, two of them open; softmax gates, "
    "which share one opening."
)

# %%
pair = [strips[0], strips[other]]
claim("The sigmoid opens both gates by more than 0.9.", se.sigmoid(both)[0, pair].min())
claim("With the softmax all gates stay below 0.7.", se.softmax(both).max())

# %% [markdown]
# The numbers of a softmax add up to 1: opening a second gate closes the first a little.
#
# ## Equation (4): scale
#
# $$\tilde{x}_c = s_c \, u_c$$
#
# **Predict.** The six maps show seven objects, six glyphs and a strip. How many will be left?

# %%
X_tilde = se.scale(U, s)  #                                           (N, H, W, C)


def show_maps(rows, alt, n=0):
    """Draw the six maps of picture n, one row per entry."""
    _, axes = figures.panels(len(rows), 6, 1.3 * len(rows))
    for line, (title, maps) in zip(axes, rows.items(), strict=True):
        for c, axis in enumerate(line):
            figures.picture(axis, maps[n, :, :, c], vmin=0, vmax=1)
        line[0].set_ylabel(title)
    for axis, name in zip(axes[0], COLOURS, strict=True):
        axis.set_title(name)
    figures.show(alt=alt)


show_maps(
    {"U": U, "X̃": X_tilde},
    "Six maps before and after scaling: before, every map has a glyph; afterwards only the map of "
    "the strip's colour is left, with its glyph and the strip.",
)

# %% [markdown]
# Two: the requested glyph and the strip. Now even a reader that ignores colour can answer: add up
# the six maps, compare with the ten glyphs, and choose the one that fits best.


# %%
def read(maps):  #                                                    (N, H, W, C) -> (N,) glyphs
    """Return the glyph that fits best on the right, in the sum of all maps."""
    right = maps.sum(-1)[:, :, PLACE]  #                              (N, H, 5)
    places = np.stack([right[:, rows] for rows in ROWS], 1)  #        (N, 6, 3, 5)
    glyphs = GLYPHS - GLYPHS.mean((1, 2), keepdims=True)  #           (10, 3, 5)
    return np.einsum("nrij,kij->nk", places, glyphs).argmax(1)


without, with_gates = read(U) == labels, read(X_tilde) == labels
claim(
    "Of 600 pictures this reader gets 15.8 % right without gates, and 100 % with them.",
    N,
    without.mean(),
    with_gates.mean(),
)

# %% [markdown]
# Nothing was trained. Without gates the reader sees six glyphs and has to guess; the gates remove
# the other five. (`np.einsum` above multiplies arrays and sums over the letters that are missing
# after its arrow.)
#
# **Play.** Be the excitation yourself: set the six gates by hand, then let $W_1$ and $W_2$ set
# them, and change a weight. (GitHub does not show the page; the documentation and Jupyter do.)

# %%
toy("excitation")

# %% [markdown]
# ## Is a wide filter enough?
#
# Does it take a block to select? Here is a convolution without one: for each colour a filter of one
# row and 31 columns, with a 1 on a pixel and a share of the strip's weight on the pixels at least
# 23 columns to its left; then a constant is subtracted, and ReLU follows. The strip alone or a
# glyph alone does not reach the constant.
#
# **Predict.** How many of these pictures does the same reader get?

# %%
reach, weight, constant = 31, 2.0, 1.2
v = np.zeros(reach)  #                                                one row of the filter
v[-1], v[:8] = 1, weight / 4  # the pixel itself, and the strip's four columns, wherever they are
padded = np.pad(U, ((0, 0), (0, 0), (reach - 1, 0), (0, 0)))
wide = sum(v[b] * padded[:, :, b : b + W] for b in np.flatnonzero(v))  #  (N, H, W, C)
by_wide = read(se.relu(wide - constant)) == labels
print(f"right: {by_wide.mean():.0%}")

# %%
claim("A filter of 31 columns, a constant and a ReLU: 100 %.", reach, by_wide.mean())

# %% [markdown]
# All of them: a bias and a ReLU can select as well. So it is **only its reach** that stops a plain
# ResNet-8, the small network of 3x3 convolutions of [tutorial 9](09_assemble_and_count.ipynb). No
# position of its last map sees both the strip and a glyph, and after the last map it can only add.
# For such a network it does not matter how long it is trained: [tutorial 10](10_train.ipynb) has
# the idea of the proof, and `print(se.data.glyphs.__doc__)` shows all of it. A block reaches the
# whole picture in one step, with a few numbers per channel and without knowing where the strip is.
#
# ## Exercise: `se_block` · easy, 5 minutes
#
# Equations (2), (3) and (4) in a row. Use the library's `se.squeeze`, `se.excite` and `se.scale`,
# or your own.


# %%
@exercise
def se_block(U, W1, W2):  #                                           -> X_tilde (N, H, W, C)
    ...  # your lines here


check("se_block", se_block)

# %%
# hint("se_block")
# solution("se_block")

# %% [markdown]
# ## Why the excitation is needed
#
# Is Equation (3) needed? $z$ is largest where the strip is. Scale by $z$ itself, then.
#
# **Predict.** How many does the reader get?

# %%
scaled = read(se.scale(U, z)) == labels
print(f"right: {scaled.mean():.0%}")

# %%
claim("Scaled by z: 100 %.", scaled.mean())

# %% [markdown]
# All of them: scaling by $z$ is enough if the loudest channel is the right one. Now change the
# rules. A red strip asks for the **cyan** glyph, a green one for the magenta one, and so on,
# always for the opposite colour.
#
# **Predict.** How many now, scaled by $z$? And how should $W_1$ or $W_2$ change?

# %%
opposite = np.array([3, 4, 5, 0, 1, 2])  # red-cyan, green-magenta, blue-yellow
new_labels = glyphs_in_sight(images)[np.arange(N), opposite[strips]]  #    (N,)
W2_opposite = W2[opposite]  # row c opens the gate of channel c         (C, C/r)

by_z = read(se.scale(U, z)) == new_labels
by_s = read(se.scale(U, se.excite(z, W1, W2_opposite))) == new_labels

# %%
claim("Opposite colours: 0 % scaled by z, 100 % after an excitation.", by_z.mean(), by_s.mean())

# %% [markdown]
# Without an excitation a channel can only affect itself. With one, **any channel can open any
# other's gate**: $W_1$ detects what is present, and $W_2$ decides which gates to open. The paper
# calls this modelling the dependencies between channels.
#
# ## Why the squeeze is needed
#
# Leave Equation (2) out, and apply the same excitation to every pixel: the gates of pixel $(i,
# j)$ come from the $C$ numbers of that pixel. The parameters are the same, and there are more
# gates.
#
# **Predict.** Which glyphs will be left?

# %%
rows = U.reshape(-1, C)  #                                            (N H W, C)
s_pixel = se.excite(rows, W1, W2).reshape(U.shape)  #                 (N, H, W, C)
show_maps(
    {"X̃": X_tilde, "no squeeze": U * s_pixel},
    "Six maps with the block: one is left. Six without a squeeze: all glyphs remain.",
)

alone = read(U * s_pixel) == labels

# %%
claim("Without a squeeze the reader gets 16.7 % right, one of 6.", alone.mean(), len(ROWS))

# %% [markdown]
# All six. A pixel of the red glyph is red, so it opens the red gate, without any information
# about the strip. **The squeeze brings information from the left of the picture to the right.**
# (Without gates or without a squeeze, the reader is right about once in six: the same guess.)
#
# The paper made the same experiment on photographs (its Table 16): ResNet-50 has an error of
# 23.30 %, with gates but no squeeze 22.93 %, with both 22.28 % (the paper's numbers).
#
# ## How narrow: the reduction ratio
#
# $W_1$ and $W_2$ have $2 C^2 / r$ numbers together. The paper takes $r = 16$.

# %%
print("channels C" + "".join(f"{f'r = {r}':>12}" for r in (1, 4, 16)))
for channels in (64, 256, 2048):
    counts = [se.added_parameters([(1, channels)], r) for r in (1, 4, 16)]
    print(f"{channels:10}" + "".join(f"{count:12,}" for count in counts))

channels, r = 256, 16
filters, added = 3 * 3 * channels**2, se.added_parameters([(1, channels)], r)
claim(
    "A convolution of 256 channels has 589,824 numbers; at r = 16 the block adds 1.4 % to it.",
    channels,
    filters,
    r,
    added / filters,
)

# %% [markdown]
# What is the price of few hidden units? Train the excitation on our six questions, for each of
# four ratios: question $c$ is a $z$ that is loud in channel $c$, and gate $c$ should open. The loss
# of a question is the mean over the gates of $-\log s$ for the one that should open and of
# $-\log(1 - s)$ for the others. At $a_2$, before $\sigma$, its gradient is $(s - 1) / C$ and
# $s / C$; the rest is that of tutorial 8. The figure shows the best of twenty random starts each.
#
# **Predict.** Six channels go through $6/r$ hidden units: 6, 3, 2, 1. How few are enough to open
# each of the six gates separately?

# %%
questions = np.stack([z[strips == c].mean(0) for c in range(C)]) * 10  #  (6, C)


def train(r, starts=20, steps=3000, lr=0.2):
    """Train many excitations at once; return the gates and the loss of the best."""
    rng = np.random.default_rng(0)
    W1 = rng.standard_normal((starts, C // r, C))
    W2 = rng.standard_normal((starts, C, C // r))
    v1, v2 = 0, 0
    for _ in range(steps):
        a1 = questions @ W1.swapaxes(1, 2)  #                         (starts, 6, C/r)
        h = np.maximum(a1, 0)
        s = se.sigmoid(h @ W2.swapaxes(1, 2))  #                      (starts, 6, C)
        da2 = (s - np.eye(C)) / C  #                                  (starts, 6, C)
        da1 = (da2 @ W2) * (a1 > 0)  #                                (starts, 6, C/r)
        v1 = 0.9 * v1 - lr * da1.swapaxes(1, 2) @ questions
        v2 = 0.9 * v2 - lr * da2.swapaxes(1, 2) @ h
        W1, W2 = W1 + v1, W2 + v2
    loss = -np.log(np.where(np.eye(C) == 1, s, 1 - s)).mean((1, 2))
    return s[loss.argmin()], loss.min()


figure, axes = figures.panels(1, 4, 2.1)
lost = {}
for axis, r in zip(axes, (1, 2, 3, 6), strict=True):
    gates, lost[r] = train(r)
    axis.imshow(gates, cmap="Blues", vmin=0, vmax=1)
    axis.set(title=f"r = {r}: {C // r} hidden", xlabel="gate")
    axis.set_xticks(range(C), [name[0] for name in COLOURS])
    axis.set_yticks(range(C), [name[0] for name in COLOURS])
axes[0].set_ylabel("question")
figures.show(
    alt="Trained gates for six questions and four reduction ratios: a clean diagonal with six and "
    "three hidden units, confusion with two and one."
)

# %%
claim("Six and three hidden units: a loss below 0.01.", max(lost[1], lost[2]))
claim("Two and one: a loss above 0.1.", min(lost[3], lost[6]))

# %% [markdown]
# Three hidden units are enough for six gates. With two, even the best of twenty starts confuses
# questions. So **a smaller $r$ can distinguish more and costs more**. The best value is found by
# experiment: in the paper's Table 10 the error is nearly the same for $r$ of 2, 4, 8 and 16, and
# rises at 32.

# %% [markdown]
# ## A common mistake: gates that compete
#
# Softmax also returns numbers between 0 and 1, and is available everywhere. What does the oracle
# say?


# %%
def competing(z, W1, W2):  #                                          (N, C), ... -> (N, C)
    return se.softmax(se.relu(z @ W1.T) @ W2.T)


check("excite", competing)

# %% [markdown]
# ## A common mistake: one squeeze for all
#
# Batch norm takes its means over $N$, $H$ and $W$, and it is easy to do the same in the squeeze.
#
# **Predict.** With a batch of one image, is it right? And which gates will be open if all the
# pictures come in one batch?


# %%
def of_the_batch(U, W1, W2):  #                                       -> X_tilde (N, H, W, C)
    z = U.mean((0, 1, 2))[None] + np.zeros((len(U), 1))  #            (N, C)
    return se.scale(U, se.excite(z, W1, W2))


one = of_the_batch(U[:1], W1, W2) - se.se_block(U[:1], W1, W2)  #     (1, H, W, C)

# %%
claim("For one image it is right to less than 1e-12.", abs(one).max())
gates = se.excite(z.mean(0)[None], W1, W2)  #                          (1, C)
claim("For 600 at once all 6 gates are 0.5.", N, (gates == 0.5).sum(), gates.min())
mixed = read(of_the_batch(U, W1, W2)) == labels
claim("The reader gets 15.8 % right, as without gates.", mixed.mean())

# %% [markdown]
# The mean of all strips has no dominant colour: no channel is louder than six fifths of the
# average one, the output of the ReLU is 0, and every gate is $\sigma(0)$, one half.

# %%
check("se_block", of_the_batch)

# %% [markdown]
# ## On your own
#
# - *Quick.* With $W_2 = 0$, what does the block do to $U$? And if all of $W_1 z$ is negative?
# - *Core.* Two hidden units failed. Did training fail, or is there no solution $W_1$, $W_2$? Draw
#   the six $h$ in the plane. Which of the six directions can a gate pick out, if its number has
#   to be positive for one and negative for all others?
# - *Open.* The squeeze keeps the mean and forgets where. Invent a question of strips and glyphs
#   that a block cannot answer, and say what it would have to squeeze to be able to.
#
# **Answers.** *Quick:* every gate is one half, so it halves $U$. If all of $W_1 z$ is negative, $h$
# is 0, and the same happens. *Core:* there is no solution. After the ReLU the six $h$ lie in a
# quadrant of the plane, and a gate is positive on one side of a line through the origin. Six
# directions in a quarter turn have two at the ends, and only these can be separated from all
# others. *Open:* for example, "which glyph is in the row where the strip is interrupted?" It would
# take a squeeze that keeps rows, $H$ numbers per channel.
#
# Next: [8. Differentiate the block](08_differentiate_the_block.ipynb).
