# %% [markdown]
# # 1. Look at images as arrays
#
# [all tutorials](README.md) · [this one as a
# script](01_images_as_arrays.py)
#
# **You will** take pictures apart into numbers, and write two functions of one line each. They
# are two of the three steps of a Squeeze-and-Excitation block.
#
# **You learn** what the axes $(N, H, W, C)$ mean, how to average over some of them, how one
# number for each channel is applied to a whole picture, and why `reshape` is not `transpose`.
#
# **You need** Python and a little NumPy; a CPU; 25 minutes. These tutorials suit you after one
# lecture on neural networks, if you have heard of layers, a loss and gradients.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
import numpy as np
import se_numpy as se
from se_numpy.analysis.builtin_cue import group_by_cue
from se_numpy.data import builtin
from se_numpy.data.glyphs import COLOURS, GLYPHS, PLAIN_BOUND
from se_numpy.grading.lessons import check, claim, exercise, figures, hint, solution
from se_numpy.grading.lessons.pictures import boat, photographs
from se_numpy.grading.lessons.recorded import recorded_runs
from se_numpy.models import paper

figures.style()

# %% [markdown]
# ## What an SE-Net gains
#
# A Squeeze-and-Excitation block lets a network weigh its channels for each image anew: it squeezes
# every channel of the whole image to one number, computes one *gate* between 0 and 1 for each
# channel from these numbers, and multiplies. Here is what that gains. On the left is the small task
# of these tutorials (you will see its pictures below): the recorded accuracy of six training runs,
# three with SE blocks and three without. On the right are the paper's results on a million
# photographs, ImageNet, in its Table 2.

# %%
runs = recorded_runs("builtin")
nets = list(paper.table("2").rows)
errors = {kind: [paper.number("2", net, kind).value for net in nets]
          for kind in ("top-1", "SE top-1")}  # fmt: skip

figure, (left, right) = figures.panels(1, 2, 2.9, width_ratios=(1, 1.25))
for run in runs:
    colour, name = (figures.ORANGE, "with SE") if run.model[:2] == "se" else (figures.BLUE, "plain")
    epochs = range(1, len(run.validation) + 1)
    label = name if run.seed == 0 else None
    left.plot(epochs, 100 * run.validation, "o-", color=colour, label=label)
left.axhline(100 * PLAIN_BOUND, color=figures.GREY, ls="--", lw=1)
note = {"ha": "right", "color": figures.GREY, "fontsize": 8.5}
left.text(6.1, 100 * PLAIN_BOUND - 21, "bound for\nplain\nnetworks", **note)
left.set(xlabel="epoch", ylim=(0, 104), title="a task made for it: right, %")
left.legend(loc=(0.02, 0.66))
for y, (without, with_se) in enumerate(zip(*errors.values(), strict=True)):
    right.plot([without, with_se], [y, y], color=figures.GREY, lw=1)
    right.plot(without, y, "o", color=figures.BLUE)
    right.plot(with_se, y, "o", color=figures.ORANGE)
right.set_yticks(range(len(nets)), nets, fontsize=9)
right.set(xlabel="top-1 error, %", title="ImageNet, from the paper", ylim=(len(nets) - 0.5, -0.5))
figures.show(
    alt="Left: accuracy per epoch on the small task; three runs with SE blocks rise to the top, "
    "three plain ones stay near the bottom, far below a dashed bound. Right: for each network of "
    "the paper, the ImageNet error with SE is a little lower than the error without."
)

gated = [run.test for run in runs if run.model == "se_resnet8"]
plain = [run.test for run in runs if run.model == "resnet8"]
claim("Test accuracy with SE: at least 99 % in each of 3 runs.", min(gated), len(gated))
claim("Without: at most 20 % in each of 3 runs.", max(plain), len(plain))
claim("Without seeing both sides of a picture at once, none can exceed 60.4 %.", PLAIN_BOUND)
gains = [a - b for a, b in zip(*errors.values(), strict=True)]
claim("The paper's 8 networks gain between 0.48 and 1.80 points.",
      len(gains), min(gains), max(gains))  # fmt: skip

# %% [markdown]
# Both are true, and they differ for a reason. The small task is made so that a channel's importance
# depends on a distant part of the image; there the block decides between failure and success. On
# photographs a convolutional network does well without it, and the block helps a little, at a small
# price, which [tutorial 9](09_assemble_and_count.ipynb) counts. In a short run on small photographs
# the gain can be too small to measure: see [all results](../docs/results.md).
#
# The dashed line is a bound. The question is on the left of each picture and the answer on the
# right, and a plain network of this size sees only one of them at a time. At the end it adds up
# what it has found, and such a sum cannot be right more often.
#
# The lines with `claim` are tests: `claim(sentence, values...)` compares every number in its
# sentence with a computed value, prints the sentence if they agree, and stops otherwise. You may
# skip them when you read code.
#
# ## A picture is an array
#
# `boat()` is a little picture, drawn by a few lines of arithmetic. It is 48 pixels high and 72
# wide, and every pixel has a colour.
#
# **Predict.** What is its shape: `(48, 72)`, `(72, 48, 3)`, `(48, 72, 3)`, `(3, 48, 72)`?

# %%
picture = boat()  #                                                   (H, W, C)
print("shape", picture.shape, "of", picture.dtype)
print("the pixel in row 20, column 35:", picture[20, 35])

# %% [markdown]
# Height first, then width, then the three channels: red, green, blue. Row $i$ counts **down**,
# column $j$ to the right, as in a matrix and unlike $x$ and $y$ on graph paper. Each number is a
# byte, 0 to 255.

# %%
figure, (left, right) = figures.panels(1, 2, 2.7, width_ratios=(1.9, 1))
left.imshow(picture)
left.set(xlabel="column j", ylabel="row i", title="(48, 72, 3)")
corner = slice(8, 12), slice(43, 48)
left.add_patch(figures.frame(*corner))
figures.picture(right, picture[corner], "the framed 4 × 5 pixels: red")
for (i, j), red in np.ndenumerate(picture[corner][:, :, 0]):
    right.text(
        j, i, red, ha="center", va="center", fontsize=9, color="white" if red < 110 else "black"
    )
figures.show(
    alt="The boat with a frame around a few pixels of a sail, and these pixels enlarged, each with "
    "its red value."
)

# %% [markdown]
# ## Three planes
#
# `picture[:, :, 0]` is the red plane: how much red there is in every pixel.
#
# **Predict.** One sail is white, the other red. In which of the three planes is only one of them
# **bright**?

# %%
figure, axes = figures.panels(1, 3, 1.7)
for c, name in enumerate(("red", "green", "blue")):
    figures.picture(axes[c], picture[:, :, c], f"channel {c}: {name}", vmin=0, vmax=255)
figures.show(
    alt="Three greyscale planes of the boat. The white sail is bright in all three, the red sail "
    "in the red plane only."
)

# %%
claim("The red sail has red 222, green 70, blue 60.", *picture[25, 38])
claim("The white sail has red 250, green 248, blue 240.", *picture[25, 50])

# %% [markdown]
# In green and in blue it is the white one. In the red plane both are bright, and so is the sky.
#
# Keep this in mind: **a channel is itself a picture**, and it answers one question about every
# pixel, here "how much red?". Deeper in a network there are hundreds of channels, and the
# questions are learned. A Squeeze-and-Excitation block decides which channels are important for
# the given image.

# %% [markdown]
# ## A batch of images
#
# Networks process many images at once, so a fourth axis comes first. In this library maps always
# have the axes
#
# | letter | axis | counts |
# |---|---|---|
# | $N$ | 0 | images |
# | $H$ | 1 | rows |
# | $W$ | 2 | columns |
# | $C$ | 3 | channels |
#
# This is the paper's $H \times W \times C$ with a batch in front. `builtin()` draws a data set:
# the colour of the strip on the left asks for a glyph, and the answer is the glyph in that colour
# among the six on the right. (`group_by_cue` finds the colour of each strip.) There are ten glyphs:

# %%
figure, axes = figures.panels(1, 10, 0.9)
for number, (axis, glyph) in enumerate(zip(axes, GLYPHS, strict=True)):
    figures.picture(axis, np.pad(glyph, 1), str(number), cmap="Blues", vmax=1.3)
figures.show(
    alt="The ten glyphs, numbered 0 to 9: small patterns of seven pixels in three rows and "
    "five columns."
)

# %% [markdown]
# In a picture their colours vary, and six of them are on the right, one in each of six colours.

# %%
data = builtin(train=600, test=10)
images = data.train_images  #                                         (N, H, W, C)
print("images", images.shape, "of", images.dtype, "- labels", data.train_labels.shape)

strips = group_by_cue(images).of  #                                            (N,) colours, 0 to 5

figure, axes = figures.panels(1, 3, 2.6)
for n, axis in enumerate(axes):
    glyph = data.classes[data.train_labels[n]]
    figures.picture(axis, images[n], f"{COLOURS[strips[n]]}? {glyph}")
figures.show(
    alt="Three pictures of the built-in task: a faint strip of colour on the left, six small "
    "coloured glyphs on the right."
)

# %% [markdown]
# With CIFAR on your disk, set the environment variable `SE_NUMPY_DATA` to its folder, and the next
# cell shows photographs of the same shape. Without it, as in a browser, it shows nothing.

# %%
photos = photographs()
if photos is not None:
    figure, axes = figures.panels(2, 6, 2.7)
    for image, label, axis in zip(
        photos.train_images[:12], photos.train_labels, axes.flat, strict=False
    ):
        figures.picture(axis, image, photos.classes[label])
    figures.show(alt="Twelve photographs of CIFAR with their classes.")

# %% [markdown]
# ## Bytes wrap round
#
# **Predict.** A pixel has the value 200. Make it brighter by 100: what does the array contain?

# %%
byte = np.array([200], np.uint8)
brighter = byte + np.uint8(100)

# %%
claim("In bytes, 200 and 100 make 44.", byte[0], 100, brighter[0])

# %% [markdown]
# A byte counts to 255 and starts again at 0. So the first thing to do with images is to convert
# bytes to floating point, and the second is to bring all channels to the same scale: mean 0,
# standard deviation 1, over all images and all pixels.
#
# You will need two features of NumPy again. `None` in an index makes an axis of length 1:
# `picture[None]` is a batch of one image, and `s[:, None]` has the shape `(N, 1, C)` if `s` has
# the shape `(N, C)`. And `mean` takes a tuple of axes: it averages over these axes and keeps the
# others.

# %%
x = picture[None].astype(np.float64) / 255  #                         (N, H, W, C), a batch of one
mean, std = x.mean((0, 1, 2)), x.std((0, 1, 2))  #                    (C,), (C,)
normal = (x - mean) / std  #                                          (N, H, W, C)

print("before: mean", mean.round(3), " std", std.round(3))
print("after:  mean", abs(normal.mean((0, 1, 2))).round(3), " std", normal.std((0, 1, 2)).round(3))
claim("Sunset: the red channel's mean is 0.634, the blue one's 0.394.", mean[0], mean[2])

# %%
figure, axes = figures.panels(1, 2, 2.4, sharey=True)
colours = {"red": figures.ORANGE, "green": figures.GREEN, "blue": figures.BLUE}
for axis, values in zip(axes, (x, normal), strict=True):
    edges = np.histogram_bin_edges(values, 32)  # the same for all three
    for c, (name, colour) in enumerate(colours.items()):
        counts, _ = np.histogram(values[..., c], edges)
        axis.stairs(counts, edges, color=colour, label=name, linewidth=1.8)
axes[0].set(title="as it is", xlabel="brightness, 0 to 1", ylabel="pixels")
axes[1].set(title="one scale for all channels", xlabel="standard deviations from the mean")
axes[1].legend(loc="upper right")
figures.show(
    alt="Histograms of red, green and blue: before normalisation at different places, afterwards "
    "around zero with the same width."
)

# %% [markdown]
# `x - mean` subtracts an array of shape `(3,)` from one of shape `(1, 48, 72, 3)`. NumPy aligns
# shapes **from the right**; an axis that is missing, or has length 1, is repeated:
#
# ```text
# x       (1, 48, 72, 3)
# mean               (3)
# ```
#
# This is broadcasting, and it applies one number for each channel to a whole picture.

# %% [markdown]
# ## A common mistake: `reshape` for `transpose`
#
# Other libraries put channels first, $(N, C, H, W)$. To move an axis, use `transpose`; `reshape`
# leaves all numbers where they are in memory and only divides them into other axes.
#
# **Predict.** What will the first "channel" look like after `reshape(3, 48, 72)`?

# %%
moved = picture.transpose(2, 0, 1)  #                                 (C, H, W)
counted = picture.reshape(3, 48, 72)  #                               (C, H, W), says its shape

figure, axes = figures.panels(1, 2, 2.5)
figures.picture(axes[0], moved[0], "transpose(2, 0, 1)[0]: the red plane")
figures.picture(axes[1], counted[0], "reshape(3, 48, 72)[0]: colours as columns")
figures.show(
    alt="Left, the red plane of the boat after transpose. Right, the result of reshape: stripes "
    "without a recognisable picture."
)

# %% [markdown]
# The shape is right and nothing complains. In a program the mistake looks like this: a function
# for the mean of each channel treats channels-last maps as if channels came first. Ask the
# oracle:

# %%


def mean_of_every_channel(U):  #                                      (N, H, W, C) -> (N, C)
    N, H, W, C = U.shape
    return U.reshape(N, C, H * W).mean(2)


card = check("squeeze", mean_of_every_channel)
card

# %% [markdown]
# The oracle calls the function with images of many sizes and compares the results with its own.
# It shows the smallest input on which the two differ. Here that is one image of two pixels and
# three channels, small enough to check in your head.
#
# How to read such a card: the heading of each table says what it shows; in `U[0, :, 0, :]` rows
# are pixels and columns are channels. Differences are marked. If your results are those of a known
# mistake, the card names it, and says on how many inputs: it counts those on which this mistake
# gives a wrong result. Errors are given relative to the tolerance, so those of a right function
# are below one. Points are for courses and do not matter here.

# %%
example = card.task.counterexample.arguments["U"]
claim("It is wrong on an input of only 6 numbers.", example.size)

one_channel = np.random.default_rng(0).random((20, 4, 5, 1))
right = np.isclose(mean_of_every_channel(one_channel), se.squeeze(one_channel)).sum()
claim("It is right on 20 of 20 grey pictures, which do not reveal the mistake.", right, 20)

# %% [markdown]
# ## Exercise: `squeeze` · easy, 5 minutes
#
# Compute the **average** of each channel of every image: one number per channel, $C$ numbers per
# image.
#
# $$z_c = \frac{1}{H W} \sum_{i=1}^{H} \sum_{j=1}^{W} u_c(i, j)$$
#
# This is Equation (2) of the paper, the *squeeze*. Here $U$ contains images; in a network it
# contains the maps that a convolution returns.


# %%
@exercise
def squeeze(U):  #                                                    (N, H, W, C) -> (N, C)
    ...  # your line here


check("squeeze", squeeze)

# %%
# For help, uncomment a line and run the cell.
# hint("squeeze")
# solution("squeeze")

# %% [markdown]
# ## Exercise: `scale` · easy, 5 minutes
#
# Now the way back: every image comes with one number for each channel, its *gate*, and every pixel
# of a channel is multiplied by it.
#
# $$\tilde{x}_c = s_c \, u_c$$
#
# This is Equation (4). `U * s` is wrong: aligned from the right, `(N, H, W, C)` and `(N, C)`
# match the images of `s` with the columns of `U`. If $N = W$ or $W = 1$ it even runs, with wrong
# results; with one image, $N = 1$, it happens to be right, and tests often use one image.


# %%
@exercise
def scale(U, s):  #                                                   (N, H, W, C), (N, C) -> as U
    ...  # your line here


check("scale", scale)

# %%
# hint("scale")
# solution("scale")

# %% [markdown]
# ## What you have now
#
# `se.squeeze` and `se.scale` are the library's functions; yours do the same once they pass.
# Squeeze the boat, then scale it by four rows of gates.
#
# **Predict.** With the gates $(1, 0, 0)$, which sail is brighter?

# %%
U = boat()[None] / 255  #                                             (1, H, W, C)
z = se.squeeze(U)  #                                                  (1, C)
print("z", z.round(2))

gates = np.array([[1, 1, 1], [1, 0, 0], [0.4, 0.4, 1], [1, 1, 0.2]])  # (4, C)
X_tilde = se.scale(np.repeat(U, 4, axis=0), gates)  #                 (4, H, W, C)

figure, axes = figures.panels(1, 4, 1.5)
for axis, image, s in zip(axes, X_tilde, gates, strict=True):
    figures.picture(axis, image, "s = ({:g}, {:g}, {:g})".format(*s))
figures.show(
    alt="Four boats: unchanged; only red, in which both sails look alike; mostly blue; and "
    "yellowish without most of the blue."
)

# %%
both = X_tilde[1, 25, [38, 50], 0] * 255
claim("With the red channel alone the sails are 222 and 250 bright: hard to tell apart.", *both)
claim("On average the boat's picture is 0.63 red, 0.49 green, 0.39 blue.", *z[0])

# %% [markdown]
# Now play: change the three numbers and run the cell again, as often as you like.

# %%
mine = 0.2, 0.6, 1.0  #                                               three gates: red, green, blue
try:
    image = se.scale(U, np.array([mine], float))[0].clip(0, 1)  #     (H, W, C)
except (TypeError, ValueError) as error:
    print("Three numbers are needed:", error)
else:
    figure, (axis,) = figures.panels(1, 1, 2.2)
    figures.picture(axis, image, f"s = {mine}")
    figures.show(alt="The boat with the gates chosen in the cell.")

# %% [markdown]
# A Squeeze-and-Excitation block does what you just did, on the maps inside a network: squeeze,
# gates, scale. The missing step in between is Equation (3): **the network itself computes the
# gates from the squeeze**, for each image. You will write it in [tutorial
# 7](07_squeeze_excite_scale.ipynb).
#
# ## On your own
#
# - *Quick.* What does `squeeze` give for a picture of one colour? Why does such a picture let
#   `U.max((1, 2))` pass, and not `U.sum((1, 2))`?
# - *Core.* Write `squeeze` for arrays with channels first and have it checked:
#   `check("squeeze", yours, layout="NCHW")`.
# - *Open.* Two pictures with the same squeeze can look entirely different. What does the block
#   lose by knowing only $z$? The authors chose the mean; which other number would you keep?
#
# **Answers.** *Quick:* the colour itself. The largest pixel of a constant channel is its mean; the
# sum is $H W$ times as large. *Core:* `U.mean((2, 3))`, for `U` of shape $(N, C, H, W)$. *Open:*
# the positions of everything, and also the spread. Keeping the largest pixel as well is an obvious
# choice; the paper's Table 11 compares the mean with the maximum.
#
# Next: [2. Convolve an image](02_convolve.ipynb).
