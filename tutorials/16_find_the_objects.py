# %% [markdown]
# # 16. Find the objects
#
# [all tutorials](README.md) · [this one as a script](16_find_the_objects.py)
#
# **You will** turn boxes into maps, write the focal loss and its gradient, check both, train a
# small detector, and turn its maps into boxes again.
#
# **You learn** how a network that returns maps can return boxes, why a heatmap needs another loss
# than a class, and what average precision measures.
#
# **You need** [tutorial 4](04_test_a_gradient.ipynb), the losses of
# [tutorial 6](06_rectify_pool_classify.ipynb), and `Learner` from [tutorial 10](10_train.ipynb);
# a CPU; 45 minutes.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
import numpy as np
import se_numpy as se
from se_numpy import detection, engine, models, train
from se_numpy.data import scenes
from se_numpy.data.batches import Normalisation
from se_numpy.detection.batches import BoxedImages
from se_numpy.gradcheck import GradientError, check_backward
from se_numpy.grading.lessons import check, claim, exercise, figures, hint, solution
from se_numpy.grading.lessons.recorded import IN_BROWSER
from se_numpy.models.detector import detector
from se_numpy.ops.detection import heatmap_focal_loss, heatmap_focal_loss_backward
from se_numpy.optim import AdamW
from se_numpy.train import Learner
from se_numpy.train.detecting import detections

figures.style()

# %% [markdown]
# ## Boxes
#
# A classifier answers once for a picture. A detector says what is where: a class, a box and a score
# for each object. The library draws scenes with up to six objects of six kinds, and knows their
# boxes. A box is $(x_0, y_0, x_1, y_1)$ in pixels, $x$ to the right, $y$ downwards.

# %%
few = scenes.draw(12, seed=3)
K = len(scenes.OBJECTS)
print(few.boxes, "of", ", ".join(scenes.OBJECTS))


def draw_boxes(axis, corners, classes, colour=figures.ORANGE):
    """Draw boxes with the names of their classes."""
    for (x0, y0, x1, y1), k in zip(corners, classes, strict=True):
        # frame() takes slices of pixels, rows first
        axis.add_patch(figures.frame(slice(y0, y1), slice(x0, x1), colour))
        label = {"color": "white", "bbox": {"fc": colour, "ec": "none", "pad": 1}}
        axis.text(x0, max(y0, 5), scenes.OBJECTS[k], fontsize=7, va="bottom", **label)


SHOWN = [n for n in range(12) if len(few.boxes.of(n)) >= 2][:3]
figure, axes = figures.panels(1, 3, 2.6)
for axis, n in zip(axes, SHOWN, strict=True):
    figures.picture(axis, few.images[n], scenes.SCENES[few.labels[n]])
    draw_boxes(axis, few.boxes.of(n).corners, few.boxes.of(n).classes)
figures.show(alt="Three drawn scenes; frames with names are around each object.")

# %% [markdown]
# The number of boxes differs from picture to picture, but a network returns arrays of one shape.
# How can boxes become maps? The answer of *CenterNet* ([Zhou et al.,
# 2019](https://arxiv.org/abs/1904.07850)): an object is its **centre**. On maps with a quarter of
# the picture's height and width there is
#
# - a *heatmap* for each class: one at the centres of its objects, falling off around them, zero
#   elsewhere;
# - two maps with the width and the height of an object, which count at the centres alone;
# - two maps with the *offset* of the centre within its cell, for a cell has four by four pixels.
#
# **Predict.** Of all numbers in the heatmaps of these twelve pictures, what share are centres?

# %%
normalise = Normalisation.of(few.images)
images = BoxedImages(few.images, few.boxes, normalise, stride=4, K=K)
X, truth = images.in_order(slice(0, 12))  #                           (N, H, W, 3), targets
for name, array in {"X": X, "heat": truth.heat, "sizes": truth.sizes, "mask": truth.mask}.items():
    print(f"{name:6}", array.shape)

n = SHOWN[0]
present = np.unique(few.boxes.of(n).classes)
figure, axes = figures.panels(1, 1 + len(present), 2.4)
figures.picture(axes[0], few.images[n], "picture")
for axis, k in zip(axes[1:], present, strict=True):
    figures.picture(axis, truth.heat[n, :, :, k], f"heatmap: {scenes.OBJECTS[k]}", vmin=0, vmax=1)
figures.show(
    alt="A scene and the heatmaps of the classes in it: black, with a white cell at the centre of "
    "each object."
)

# %%
centres = truth.heat == 1
claim("30 centres among 18,432 numbers, less than 0.2 %.",
      centres.sum(), centres.size, centres.mean())  # fmt: skip

# %% [markdown]
# Around a centre the heatmap falls off over a distance that grows with the object, because a box
# that is shifted a little would still be right. These objects are so small that a spot is hardly
# wider than a cell.
#
# ## The focal loss
#
# Each number of a heatmap is a question with two answers: is here a centre of this class? With $p =
# \sigma(x)$, the cross-entropy of [tutorial 6](06_rectify_pool_classify.ipynb) would be $-\log p$
# at a centre and $-\log(1 - p)$ elsewhere. But for each centre there are hundreds of other cells,
# nearly all of them easy. Added up, they would be all of the loss. The *focal loss* multiplies each
# with the probability of the wrong answer, to the power $\alpha = 2$, and is mild around a centre,
# where $t$ is nearly one:
#
# $$L = \frac{-1}{M} \sum
# \begin{cases}
# (1 - p)^\alpha \log p & t = 1 \\
# (1 - t)^\beta \, p^\alpha \log(1 - p) & t < 1
# \end{cases}$$
#
# $M$ is the number of centres, $\beta = 4$.
#
# **Predict.** An untrained network says $p = 0.1$ everywhere. What share of the loss is from
# centres, with the cross-entropy and with the focal loss?


# %%
def focal(x, targets, alpha=2.0, beta=4.0):  #                        (N, H, W, K) twice -> same
    """Return the loss of each number; their sum divided by M is the loss."""
    p, centre = se.sigmoid(x), targets == 1
    at_centre = -((1 - p) ** alpha) * np.log(p)
    elsewhere = -((1 - targets) ** beta) * p**alpha * np.log(1 - p)
    return np.where(centre, at_centre, elsewhere)


t = truth.heat.astype(np.float64)
x = np.full(t.shape, np.log(0.1 / 0.9))  # σ(x) = 0.1
plain, focused = focal(x, t, alpha=0.0, beta=0.0), focal(x, t)
of_plain, of_focused = (one[centres].sum() / one.sum() for one in (plain, focused))
print("the focal loss gives centres the larger share:", bool(of_focused > of_plain))

# %%
claim("3.4 % of the cross-entropy are from centres, and 74.3 % of the focal loss.",
      of_plain, of_focused)  # fmt: skip
gap = abs(focused.sum() / centres.sum() - heatmap_focal_loss(x, targets=t))
claim("The sum over M differs from the library's loss by less than 1e-9.", gap)

# %% [markdown]
# ## Its gradient
#
# Both cases are one: with $u = -x$ at a centre and $u = x$ elsewhere, $\sigma(u)$ is the
# probability of the wrong answer, $\log(1 + e^u)$ is minus the logarithm of that of the right one,
# and each loss is $m \, \sigma(u)^\alpha \log(1 + e^u)$ with $m = 1$ or $(1 - t)^\beta$. By the
# product rule, with $\sigma' = \sigma (1 - \sigma)$:
#
# $$\frac{\partial L}{\partial u} = \frac{m}{M} \, \sigma^\alpha
# \left(\sigma + \alpha (1 - \sigma) \log(1 + e^u)\right)$$
#
# ## A common mistake: the factor as a constant
#
# It is tempting to see $\sigma^\alpha$ as a weight of each cell, and to differentiate only the
# logarithm. This is the first term alone.


# %%
def loss(x, targets):  #                                              -> 0-d
    return heatmap_focal_loss(x, targets=targets)


def with_constant_factor(dL, x, targets, alpha=2.0, beta=4.0):  #     -> dx (N, H, W, K)
    centre = targets == 1
    u, m = np.where(centre, -x, x), np.where(centre, 1, (1 - targets) ** beta)
    s = se.sigmoid(u)
    du = dL * m * s**alpha * s / centre.sum()
    return np.where(centre, -du, du)


def verdict(f_backward):
    """Compare a gradient of the focal loss with differences, as tutorial 4 does."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 4, 2))  #                          pairwise different sizes
    targets = rng.uniform(0, 0.9, x.shape)
    targets[0, 1, 2, 0] = targets[1, 0, 3, 1] = 1
    try:
        check_backward(
            lambda x: heatmap_focal_loss(x, targets=targets),
            lambda dL, x: f_backward(dL, x, targets), x,
        )  # fmt: skip
    except GradientError:
        return "the gradient is wrong"
    return "the gradient agrees with differences"


print("library:        ", verdict(lambda dL, x, t: heatmap_focal_loss_backward(dL, x, targets=t)))
print("constant factor:", verdict(with_constant_factor))

# %% [markdown]
# A training run raises no error with this gradient. A check shows it.
#
# **Your turn** (medium, ten minutes): add the second term; mind the sign where $u = -x$. Replace
# the body, and run the cell again.


# %%
def focal_backward(dL, x, targets, alpha=2.0, beta=4.0):  #           -> dx (N, H, W, K)
    ...  # your line here


try:
    returned = focal_backward(1.0, x, t)
    print("focal_backward returns nothing yet." if returned is None else verdict(focal_backward))
except Exception as stopped:  # any error of the function
    print(f"{type(stopped).__name__}: {stopped}")

# %% [markdown]
# ## Train a detector
#
# `detector(net, classes=K)` takes a network up to its global average pooling and puts two small
# branches of convolutions on its maps: one for the $K$ heatmaps, one for sizes and offsets. The
# loss is the focal loss, plus the mean absolute error of the offsets and a tenth of that of the
# sizes, both at the centres.
# `Learner` takes it as a *task*; all else is as in [tutorial 10](10_train.ipynb).
#
# With twelve pictures the network can only memorise, which is a good first test of any detector: if
# it cannot do that, something is wrong.
#
# The next cell takes a few seconds. In a browser it trains for half as many steps, for a minute or
# more.
#
# **Predict.** Afterwards, how good will it be on sixty new scenes?

# %%
STEPS = 30 if IN_BROWSER else 60
net = detector(models.build("se_resnet8"), classes=K)
learner = Learner(net, X.shape[1:], seed=0, task=train.Detection())
losses = []
for step in range(STEPS):
    rate = 0.004 * min(1, (step + 1) / 6) * (0.2 if step >= 0.75 * STEPS else 1)
    value, *_ = learner.step(X, truth, AdamW(), lr=rate)
    losses.append(float(value))

figure, (axes,) = figures.panels(1, 1, 2.2)
axes.plot(losses)
axes.set(xlabel="step", ylabel="loss", yscale="log")
figures.show(alt="The loss of the detector falls steadily over the steps, on a logarithmic axis.")

# %%
claim("The loss falls from above 2 to below 0.5.", losses[0], losses[-1])

# %% [markdown]
# ## From maps to boxes
#
# A *peak* of a heatmap is a cell that is not smaller than its 3x3 neighbours. There the offsets say
# where in the cell the box has its centre, and the sizes how far it extends. That is all of
# decoding; `detections` also removes a box that overlaps a better one of its class.


# %%
def peaks(p):  #                                                      (H, W) -> (H, W) bool
    """Return the cells that are the largest of their 3x3 neighbours."""
    around = np.pad(p, 1, constant_values=-np.inf)
    H, W = p.shape
    return p == np.max([around[a : a + H, b : b + W] for a in range(3) for b in range(3)], axis=0)


predict = engine.compile(net).predictor(learner.params, learner.state)
Y = predict(X)  #                                                     (N, H/4, W/4, K + 4)
found = detections(Y, threshold=0.3)
p = se.sigmoid(Y[..., :K])
strong = sum(int((peaks(p[n, :, :, k]) & (p[n, :, :, k] > 0.3)).sum())
             for n in range(12) for k in range(K))  # fmt: skip
print("at least as many peaks as boxes:", strong >= len(found.scores))

figure, axes = figures.panels(1, 3, 2.6)
for axis, n in zip(axes, SHOWN, strict=True):
    figures.picture(axis, few.images[n])
    mine = found.images == n
    draw_boxes(axis, found.corners[mine].round().astype(int), found.classes[mine], figures.BLUE)
figures.show(
    alt="The same three scenes with the boxes that the trained detector found, which nearly "
    "coincide with the true ones."
)

# %% [markdown]
# ## Average precision
#
# A detection is right if its class is right and its *overlap* with a true box, the area of the
# intersection over that of the union, is at least a half; a second detection of the same object
# is wrong. Sort all detections by score. After each, *precision* is the share of right ones so far,
# and *recall* the share of objects found so far. *Average precision*, here AP50, is the mean of the
# precision over all recalls: one number for all thresholds of the score.

# %%
new = scenes.draw(60, seed=4)
Y_new = predict(normalise(new.images))


def ap50(boxes, Y):
    """Return AP50 over all classes."""
    found = detection.average_precision(boxes, detections(Y), classes=K, areas={"all": (0, 1e10)})
    return found.ap(0.5)


memorised, on_new = ap50(few.boxes, Y), ap50(new.boxes, Y_new)

# %%
claim("AP50 is above 75 % on the twelve scenes, and below 30 % on new ones.", memorised, on_new)

# %% [markdown]
# Twelve pictures teach no more than twelve pictures. With five thousand, `se-numpy train --data
# scenes --task detect` takes minutes and finds nearly all objects of new scenes;
# [Detecting objects](../docs/detection.md) has the numbers, with and without SE.
#
# ## On your own
#
# - *Quick.* Two objects of a class have their centres in one cell. What do the maps say, and how
#   many boxes come out?
# - *Core.* Train with `with_constant_factor` in place of the library's gradient, with three seeds
#   each. Compare the loss after the same number of steps. (`patch`, from `unittest.mock`, replaces
#   `se_numpy.ops.heatmap_focal_loss_backward` inside a `with` block; the trainer passes targets and
#   weights as keywords. The weights are `None` here.)
# - *Open.* What does the squeeze see when a picture has six objects? Compare the gates of a scene
#   with one tree and with five, as in [tutorial 11](11_read_the_gates.ipynb).
#
# **Answers.** *Quick:* the heatmap is one there, with the size of one of the two; one box comes
# out. Smaller cells, a smaller stride, make this rarer. *Core:* expect a slower start; whether it
# matters in the end, your three seeds will say. *Open:* no answer is known to us. The squeeze
# averages over the picture, so it can count, but it cannot say where.
#
# This was the last one: [all tutorials](README.md).
