# %% [markdown]
# # 10. Train it
#
# [all tutorials](README.md) · [this one as a
# script](10_train.py)
#
# **You will** write a training loop, verify that it learns, find three bugs by their curves, and
# train a network on a task that it can only solve with an SE block. You write `sgd_momentum` and
# `se_resnet_step`.
#
# **You learn** what momentum and a schedule do, the first test of any loop, why a plain network
# fails here, how to choose an epoch, how to resume an interrupted run, and how reliable one run
# is.
#
# **You need** [tutorial 9](09_assemble_and_count.ipynb); a CPU; 75 minutes, with less than one of
# computation, or a few in a browser.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
import io
import tempfile
from pathlib import Path

import numpy as np
import se_numpy as se
from se_numpy import engine, optim, tree
from se_numpy.analysis.builtin_cue import glyphs_in_sight
from se_numpy.data import builtin
from se_numpy.data.batches import Images, Normalisation, draw
from se_numpy.data.glyphs import PLAIN_BOUND
from se_numpy.grading.lessons import check, claim, exercise, figures, hint, solution
from se_numpy.grading.lessons.pictures import photographs
from se_numpy.grading.lessons.recorded import computed, recorded_runs
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
)
from se_numpy.train import Learner, Session, configure, split, stream, wilson
from se_numpy.train import train as run_training

figures.style()

# %% [markdown]
# ## The question
#
# `builtin()` draws pictures with a strip of colour on the left and six glyphs on the right, each
# in another colour. The class is the glyph in the strip's colour. A network that sees only one
# side cannot tell which glyph that is.

# %%
data = builtin(train=3840, test=1000)
figure, axes = figures.panels(1, 6, 1.5)
for image, label, axis in zip(data.train_images[:6], data.train_labels[:6], axes, strict=True):
    figures.picture(axis, image, data.classes[label])
figures.show(
    alt="Six pictures of the built-in task, each with a strip on the left, six glyphs on the "
    "right, and the answer as its title."
)

# %% [markdown]
# The network is a small version of that of tutorial 9: it begins with a stride, so its maps have
# a quarter of the size, and it has two units instead of three. With `r` it has **one** SE block,
# in its first unit.


# %%
def unit(C, stride, r=None):
    gate = (SE(r),) if r else ()
    branch = serial(Conv(C, 3, stride), BatchNorm(), ReLU(), Conv(C), BatchNorm(), *gate)
    shortcut = serial() if stride == 1 else serial(Conv(C, 1, stride), BatchNorm())
    return serial(residual(branch, shortcut), ReLU())


def tiny(r=None):
    body = serial(Conv(16, 3, 2), BatchNorm(), ReLU(), unit(16, 1, r), unit(32, 2))
    return serial(body, GlobalAveragePool(), Linear(10))


# %% [markdown]
# ## The parts of a step
#
# A training step has four parts: *forward*, from pictures to one score per class; *loss*, one
# number that measures how wrong the scores are; *backward*, the gradient of that number with
# respect to every parameter; *update*, which moves each parameter a little against its gradient.
#
# **Predict.** An untrained network gives each of ten classes about the same probability. How
# large is its loss, $-\log p$ of the right class?

# %%
normalise = Normalisation.of(data.train_images)  #                    mean and std of each channel
X = normalise(data.train_images[:16])  #                              (N, H, W, C)
labels = data.train_labels[:16]  #                                    (N,)

net = tiny()
params, state = init(net, data.image_shape, np.random.default_rng(0))
logits, cache = net.forward(params, state, X, train=True)  #          forward   (N, 10)
L = se.softmax_cross_entropy(logits, labels)  #                       loss      a number
dlogits = se.softmax_cross_entropy_backward(1.0, logits, labels)  #             (N, 10)
dX, grads = net.backward(params, cache, dlogits)  #                   backward  as X, as params
for (_, p), (_, dp) in zip(tree.leaves(params), tree.leaves(grads), strict=True):
    p -= 0.1 * dp  #                                                  update, in place

# %%
claim("Equal probabilities cost log 10, which is 2.303.", 10, np.log(10))
claim("The network begins with at least 2 and at most 4.", L, L)
after = se.softmax_cross_entropy(net.forward(params, state, X, train=True)[0], labels)
claim("After one step its loss on these images is lower: a change below 0.", after - L)

# %% [markdown]
# If the first loss is far from that, look for the cause first: wrong labels, pictures that were
# not normalised, a softmax applied twice.
#
# ## Momentum
#
# A step follows the steepest descent. In a long valley, steep across and flat along, that is a
# poor direction: the step has to be small because of the steep walls, and progress along the flat
# floor is slow. *Momentum* keeps a velocity, in which steps across the valley cancel and steps
# along it add up:
#
# $$v \leftarrow \mu v + g + \lambda w \qquad\qquad w \leftarrow w - \eta v$$
#
# $g$ is the gradient, $\eta$ the learning rate, $\mu$ the momentum, usually 0.9. $\lambda$ is the
# *weight decay*, which pulls every parameter towards 0.

# %% [markdown]
# ## Exercise: `sgd_momentum` · easy, 10 minutes
#
# Write the two equations. Return new arrays; the oracle checks that the arguments are unchanged.
# (`P` is the number of parameters.)


# %%
@exercise
def sgd_momentum(w, g, v, lr=0.1, momentum=0.5, weight_decay=0.02):  # -> w (P,), v (P,)
    ...  # your lines here


check("sgd_momentum", sgd_momentum)

# %%
# For help, uncomment a line and run the cell.
# hint("sgd_momentum")
# solution("sgd_momentum")

# %% [markdown]
# ## A long valley
#
# **Predict.** The valley below is a hundred times steeper across than along. Which of the two
# paths ends closer to the minimum after 60 steps, and which looks worse on the way?

# %%
curvature = np.array([1.0, 100.0])  # along, across


def descend(lr, momentum, steps=60):
    path, v = [np.array([-10.0, 1.0])], np.zeros(2)
    for _ in range(steps):
        v = momentum * v + curvature * path[-1]
        path.append(path[-1] - lr * v)
    return np.array(path)  #                                          (1 + steps, 2)


paths = {"without momentum": descend(0.018, 0.0), "with momentum 0.9": descend(0.018, 0.9)}

figure, (left, right) = figures.panels(1, 2, 2.7, width_ratios=(1.3, 1))
a, b = np.meshgrid(np.linspace(-11, 6, 90), np.linspace(-1.6, 1.6, 60))
height = (a**2 + 100 * b**2) / 2
left.contour(a, b, height, levels=np.geomspace(1, 180, 7), colors="#BBBBBB", linewidths=0.8)
for (name, path), colour in zip(paths.items(), (figures.BLUE, figures.ORANGE), strict=True):
    left.plot(*path.T, "o-", color=colour, ms=2.5, lw=1)
    right.semilogy(np.linalg.norm(path, axis=1), color=colour, label=name)
left.set(xlabel="along", ylabel="across", title="sixty steps")
right.set(xlabel="step", title="distance from the minimum")
right.set_ylim(0.05, 60)
right.legend(loc="upper right")
figures.show(
    alt="Left, two paths in a long valley: without momentum it zigzags and creeps, with momentum "
    "it swings and ends nearer. Right, the distance from the minimum: momentum ends lower, "
    "with bumps on the way."
)

# %%
far = [np.linalg.norm(path[-1]) for path in paths.values()]
made = len(paths["without momentum"]) - 1
claim("After 60 steps: 3.36 away without momentum, 0.234 with it.", made, *far)

# %% [markdown]
# ## The position of the learning rate
#
# Textbooks differ on the position of $\eta$: inside the velocity, $v \leftarrow \mu v + \eta g$,
# or outside as here. **Predict**: when is that the same?


# %%
def rate_inside(w, g, v, lr=0.1, momentum=0.5, weight_decay=0.02):
    v = momentum * v + lr * (g + weight_decay * w)
    return w - v, v


def outside(w, g, v, lr):
    v = 0.5 * v + g + 0.02 * w
    return w - lr * v, v


def apart(rates):
    """Return the final distance between the two forms, on the valley."""
    one = two = np.array([-10.0, 1.0])
    v1 = v2 = np.zeros(2)
    for lr in rates:
        one, v1 = outside(one, curvature * one, v1, lr)
        two, v2 = rate_inside(two, curvature * two, v2, lr)
    return abs(one - two).max()


# %%
claim("With one learning rate they end less than 1e-12 apart.", apart([0.01] * 20))
falling = apart(np.linspace(0.01, 0, 20))
claim("With one that falls they are more than 0.1 apart.", falling)

check("sgd_momentum", rate_inside)

# %% [markdown]
# ## The first test of any loop: overfit one batch
#
# Before training for hours, take a few pictures, here 16, and train on these again and again. The
# network can memorise them, so a loss that does **not** go to 0 is a sign of a bug. Here is the
# loop, without a bug and with one of three bugs. It runs the network with `engine.compile(net)`,
# which has the same `forward` and `backward` and gives the same numbers up to rounding, but
# faster: `net` runs the equations as they are written.
#
# **Predict.** Which curve belongs to which bug?
#
# - *Climbing*: `+=` in the update instead of `-=`.
# - *Rebinding*: `p = p - lr * dp`. It looks like `p -= lr * dp`, but makes a new array under the
#   name `p` and leaves the parameter as it was.
# - *Shuffled labels*: before every step the labels are shuffled, and the pictures are not.


# %%
def overfit(bug="", steps=40, lr=0.5):
    rng, losses = np.random.default_rng(0), []
    params, state = init(net, data.image_shape, rng)
    fast = engine.compile(net)
    for _ in range(steps):
        y = rng.permutation(labels) if bug == "shuffled labels" else labels
        logits, cache = fast.forward(params, state, X, train=True)
        losses.append(float(se.softmax_cross_entropy(logits, y)))
        dlogits = se.softmax_cross_entropy_backward(1.0, logits, y)
        _, grads = fast.backward(params, cache, dlogits)
        for (_, p), (_, dp) in zip(tree.leaves(params), tree.leaves(grads), strict=True):
            if bug == "rebinding":
                p = p - lr * dp
            elif bug == "climbing":
                p += lr * dp
            else:
                p -= lr * dp
    return losses


bugs = ("", "climbing", "rebinding", "shuffled labels")
with np.errstate(over="ignore"):
    curves = {bug: overfit(bug) for bug in bugs}

figure, (axes,) = figures.panels(1, 1, 2.7)
for (bug, losses), stroke in zip(curves.items(), ("-", "--", "-.", ":"), strict=True):
    axes.plot(losses, stroke, label=bug or "no bug")
axes.axhline(np.log(10), color=figures.GREY, lw=0.8)
axes.text(40, np.log(10) + 0.15, "log 10", color=figures.GREY, fontsize=9)
axes.set(xlabel="step", ylabel="loss", ylim=(0, 6), xlim=(0, 43), title="one batch, forty steps")
axes.legend(ncols=2, loc="upper right")
figures.show(
    alt="Losses of one batch over forty steps: without a bug it falls to zero; climbing rises, "
    "rebinding stays constant, shuffled labels stay high."
)

# %%
claim("Without a bug the loss falls below 0.1.", curves[""][-1])
claim("Rebinding: forty steps change it by at most 0.", np.ptp(curves["rebinding"]))
claim("Shuffled labels: it stays above 1.", min(curves["shuffled labels"]))
claim("Climbing: it ends above 4.", curves["climbing"][-1])

# %% [markdown]
# This test takes less than a minute and finds most bugs in a training loop. It does not find a
# gradient that is only nearly right (tutorials 3 and 4), and does not show whether the network
# learns anything about *other* pictures.
#
# ## Exercise: `se_resnet_step` · hard, 40 minutes
#
# Write one function with the block of tutorial 9, the mean $z$ of each channel, a classifier, the
# loss, all gradients, and for each parameter $p$ one step without momentum, $p \leftarrow p -
# \eta \, \partial L / \partial p$.
#
# As in `residual_block`, both convolutions have padding 1, and batch norm is in training mode,
# `se.batch_norm(x, gamma, beta)`. The classifier's `W` is $(K, C)$ and `b` is $(K)$, so the
# scores are `z @ W.T + b`. Write the forward pass with a name for every value, then go back line
# by line. You may use all of `se`:
#
# - `se.linear_backward(dy, x, W, b)` returns `dx, dW, db`;
# - `se.batch_norm_backward(dy, x, gamma, beta)` returns `dx, dgamma, dbeta`;
# - `se.conv2d_backward(dy, x, V, padding=1)` returns `dx, dV`;
# - `se.softmax_cross_entropy_backward(1.0, logits, labels)`, `se.squeeze_backward`,
#   `se.relu_backward` and `se.se_block_backward` you know.


# %%
@exercise
def se_resnet_step(
    X, labels, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2, W, b, lr=1.0
):  #                        -> loss, then V1, gamma1, beta1, V2, gamma2, beta2, W1, W2, W, b anew
    ...  # your lines here


check("se_resnet_step", se_resnet_step)

# %%
# hint("se_resnet_step")
# hint("se_resnet_step", 3)
# solution("se_resnet_step")

# %% [markdown]
# ## A learning rate that changes
#
# Long steps make progress, short steps converge. So most schedules begin with long steps and end
# with short ones; one-cycle also begins with short ones, because the initial gradients are
# unreliable. The library has four schedules, functions of the step.

# %%
figure, axes = figures.panels(1, 4, 1.9, sharey=True)
for axis, (name, make) in zip(axes, optim.SCHEDULES.items(), strict=True):
    schedule = make(0.2, 600)
    axis.plot([schedule(k) for k in range(600)])
    axis.set(title=name, xlabel="step", xticks=(0, 300, 600))
axes[0].set(ylabel="learning rate", ylim=(0, 0.22))
figures.show(
    alt="Four learning rate schedules over the steps: constant, in steps, cosine and one-cycle."
)

# %% [markdown]
# *Step* divides the rate by 10, here at half and at three quarters of the run; the paper does so
# every 30 epochs. For runs of minutes *one-cycle* works well, and it is the default of `se-numpy
# train`.
#
# ## What a plain network cannot see
#
# Consider one position of the last map. Which pixels does it see? Instead of computing with
# strides, send a gradient back from that position and look where it arrives.
#
# **Predict** this for the network without an SE block, and with one.


# %%
def seen_from(net, row, column, seed=0):
    """Return how strongly each pixel affects one position of the last map: (32, 32)."""
    body = dict(net.parts)["serial1"]
    params, state = init(body, data.image_shape, np.random.default_rng(seed))
    maps, cache = body.forward(params, state, X[:1])  #               (1, 8, 8, 32), evaluation
    dmaps = np.zeros_like(maps)
    dmaps[:, row, column] = 1
    dX, _ = body.backward(params, cache, dmaps)  #                    (1, 32, 32, 3)
    return abs(dX[0]).sum(-1)


figure, axes = figures.panels(1, 3, 2.5)
figures.picture(axes[0], data.train_images[0], "the picture")
for axis, r, title in (
    (axes[1], None, "seen from (3, 4): plain"),
    (axes[2], 1, "with one SE block"),
):
    figures.picture(axis, seen_from(tiny(r), 3, 4) > 0, title, cmap="Blues", vmin=0, vmax=1.6)
for axis in axes:
    axis.add_patch(figures.frame(slice(0, 32), slice(0, 4)))
    axis.add_patch(figures.frame(slice(0, 32), slice(26, 31)))
figures.show(
    alt="A picture, and the pixels seen from one position of the last map: a square around it for "
    "a plain network, everything with an SE block."
)

# %%
sides = {j: [(seen_from(tiny(), 3, j) > 0)[:, part].any() for part in (slice(4), slice(26, 31))]
         for j in range(8)}  # fmt: skip
claim("Without SE 0 of 8 columns of positions see both the strip and the glyphs.",
      sum(strip and glyphs for strip, glyphs in sides.values()), len(sides))  # fmt: skip
whole = (seen_from(tiny(1), 3, 4) > 0).mean()
claim("With one SE block a single position sees more than 99 % of the picture.", whole)

# %% [markdown]
# Blue pixels are seen. Without an SE block every position sees the strip or glyphs, never both. A
# mean over positions and a linear classifier follow, so the score of class $k$ is a **sum**,
#
# $$\mathrm{score}_k = f_k(\mathrm{strip}) + g_k(\mathrm{glyphs}),$$
#
# whatever the network learns. A sum cannot say "if the strip is red, then the red glyph". Assign
# four glyphs to four colours in two ways, and ask about each colour. Suppose that the network is
# right for every colour of the first assignment: there the glyph that the first assignment gives
# to a colour scores above the one that the second assignment gives to it. Add up both sides over
# the colours. The $g$ are the same on both sides and cancel, so the sum of the $f$ is larger for
# the first assignment than for the second. If the network were right for all of the second
# assignment too, the opposite would hold. So it cannot be right for both. The full proof, ten
# lines of `print(se.data.glyphs.__doc__)`, continues from here to a bound: if no position sees both
# sides, a network is right in at most 29 of 48 cases, **whatever its weights, however many its
# channels and however long it learns**.
#
# An SE block squeezes the **whole** map to $z$, so every position receives information about the
# strip, and a gate **multiplies**: it can suppress five colours.

# %%
claim("The bound for plain networks is 60.4 %.", PLAIN_BOUND)

# %% [markdown]
# ## Train both
#
# There are three sets of pictures: the *training* set; the *held-out* set, a part of the training
# pictures for measurements during training; and the *test* set, used once at the end.
# `Learner.step` has the four parts described above, with all parameters in one long vector, and
# with Nesterov momentum, a variant of the momentum that you wrote: it steps by $\mu v + g$ in place
# of $v$. It also runs on the engine. (`computed` calls `both`; in a browser, where training takes
# too long, it returns what was recorded.)

# %%
learn_from, held_out = split(data, seed=0)
training = Images(data.train_images[learn_from], data.train_labels[learn_from], normalise)
validation = Images(data.train_images[held_out], data.train_labels[held_out], normalise)
test = Images(data.test_images, data.test_labels, normalise)
X_held_out = normalise(data.train_images[held_out])  #                (N, H, W, C)
print(len(training), "for training,", len(validation), "held out,", len(test), "for testing")


def train(net, seed=0, epochs=6, lr=0.2, batch=32):
    """Train; return the network and, per epoch, loss, accuracy, the same held out, and in sight."""
    learner, history = Learner(net, data.image_shape, seed), []
    sgd = optim.SGD(momentum=0.9)
    per_epoch = -(-len(training) // batch)
    schedule = optim.one_cycle(lr, epochs * per_epoch)
    for epoch in range(epochs):
        draws = draw(stream(seed, "epoch", epoch), len(training), augment=False)  # a new order
        loss = right = 0.0
        for k in range(per_epoch):
            X, y = training.batch(draws, slice(k * batch, (k + 1) * batch))
            L, hits = learner.step(X, y, sgd, schedule(epoch * per_epoch + k))
            loss, right = loss + float(L) / per_epoch, right + int(hits) / len(training)
        logits = learner.compiled.predictor(learner.params, learner.state)(X_held_out)  # (N, 10)
        answers = logits.argmax(1)[:, None]  #                        (N, 1)
        among_six = (glyphs_in_sight(data.train_images[held_out]) == answers).any(1).mean()
        history.append((loss, right, learner.evaluate(validation)[1], among_six))
    return learner, np.array(history)


def both():
    """Train with SE and without; return the histories (epochs, 4) and the two test accuracies."""
    (gated, gated_history), (plain, plain_history) = train(tiny(r=1)), train(tiny())
    accuracy = [learner.evaluate(test)[1] for learner in (gated, plain)]
    return {"gated": gated_history, "plain": plain_history, "accuracy": np.array(accuracy)}


found = computed(10, both)
gated_history, plain_history = found["gated"], found["plain"]

# %%
figure, (left, right) = figures.panels(1, 2, 2.8)
for history, name, colour in (
    (gated_history, "with SE", figures.ORANGE),
    (plain_history, "plain", figures.BLUE),
):
    epochs = np.arange(1, len(history) + 1)
    left.plot(epochs, history[:, 0], "o-", color=colour, label=name)
    right.plot(epochs, 100 * history[:, 2], "o-", color=colour)
    right.plot(epochs, 100 * history[:, 3], ":", color=colour)
right.axhline(100 * PLAIN_BOUND, color=figures.GREY, ls="--", lw=1)
right.text(1, 100 * PLAIN_BOUND - 8, "bound without SE", color=figures.GREY, fontsize=9)
left.set(xlabel="epoch", title="loss", ylim=(0, None))
right.set(xlabel="epoch", title="held-out, %: right; dotted, in sight", ylim=(0, 103))
left.legend(loc="lower left")
figures.show(
    alt="Loss and held-out accuracy per epoch. With SE the accuracy rises above the dashed bound; "
    "the plain network stays near one in six. Dotted: in both, nearly all answers come to name a "
    "glyph in sight."
)

accuracy = found["accuracy"]
claim("On the test set SE is right for more than 65 %.", accuracy[0])
claim("The plain network is right for less than 30 %.", accuracy[1])
claim("Choosing one of six at random is right for 16.7 %.", 1 / 6)
after_two = max(gated_history[1, 2], plain_history[1, 2])
claim("After 2 epochs both are right for less than 25 % of the held-out pictures.", 2, after_two)
claim("By then more than 70 % of their answers are in sight; of random answers it would be 60 %.",
      min(gated_history[1, 3], plain_history[1, 3]), 6 / 10)  # fmt: skip
claim("At the end more than 90 % of the plain network's are.", plain_history[-1, 3])

# %% [markdown]
# For two epochs hardly anything changes in the share of right answers. But something is learned:
# the dotted lines are answers that name **one of the six glyphs in sight**, right or wrong. Both
# networks learn to recognise the glyphs. The plain one then knows six candidates and not which is
# asked for; with SE, gates select one. No plain network can exceed the dashed bound; training ends
# far below it, at about one in six.
#
# ## Does the plain network stop learning?
#
# Its loss still falls at the end. Here is the same network with thirty epochs in place of six. This
# takes minutes and was recorded: `train(tiny(), epochs=30)`.
#
# **Predict.** After thirty epochs, how accurate is it on the pictures that it was trained on, and
# on those that were held out?

# %%
(longer,) = recorded_runs("tutorial 10")

figure, (axes,) = figures.panels(1, 1, 2.4)
epochs = np.arange(1, len(longer.training) + 1)
axes.plot(epochs, 100 * longer.training, color=figures.GREEN, label="training pictures")
axes.plot(epochs, 100 * longer.validation, "--", color=figures.BLUE, label="held-out pictures")
axes.axhline(100 * PLAIN_BOUND, color=figures.GREY, ls="--", lw=1)
axes.set(xlabel="epoch", title="a plain network, right in %", ylim=(0, 103))
axes.legend(loc="upper left")
figures.show(
    alt="A plain network over thirty epochs: accuracy on training pictures rises to the top, on "
    "held-out pictures it stays flat, far below the bound."
)

# %%
claim("After 30 epochs it is right for 99.2 % of the training pictures,",
      len(epochs), longer.training[-1])  # fmt: skip
claim("for 14.8 % of the held-out ones, and at most for 19.8 % in any epoch.",
      longer.validation[-1], longer.validation.max())  # fmt: skip

# %% [markdown]
# It does not stop: it **memorises**. Pictures carry noise, by which a sum can recognise each of a
# few thousand known pictures. The bound is about all pictures of this kind, and for new ones memory
# does not help.
#
# ## A common mistake: choosing on the test set
#
# A run has many epochs, and one of them is reported. If you choose the epoch, the run or the
# setting that does best on the **test** set, its accuracy there is no longer an unbiased
# measurement: you measured every epoch and report the best.
#
# How large is the effect? Here are forty "networks" that guess. **Predict**: the best of them on
# 200 test pictures is right on how many percent of these, and of the 800 others?

# %%
guesses = np.random.default_rng(0).integers(0, 10, (40, 1000))  #     (networks, pictures)
right = guesses == data.test_labels
chosen_on, others = right[:, :200].mean(1), right[:, 200:].mean(1)  # (40,), (40,)
best = chosen_on.argmax()

figure, (axes,) = figures.panels(1, 1, 2.9)
axes.plot(100 * chosen_on, 100 * others, "o", color=figures.BLUE)
axes.plot(100 * chosen_on[best], 100 * others[best], "o", ms=11, mfc="none", color=figures.ORANGE)
axes.axhline(10, color=figures.GREY, lw=0.8)
axes.axvline(10, color=figures.GREY, lw=0.8)
axes.set(
    xlabel="right on the pictures used for the choice, %", ylabel="on others, %",
    title="forty networks that guess; the ring marks the chosen one",
)  # fmt: skip
figures.show(
    alt="Forty dots, accuracy on the chosen pictures against accuracy on others, without relation; "
    "the chosen one is far right and not high."
)

# %%
claim("The best of 40 guessers gets 15.5 % right where it was chosen, 7.9 % elsewhere.",
      len(guesses), chosen_on[best], others[best])  # fmt: skip

# %% [markdown]
# The held-out pictures may be used often. Their accuracy is biased by that, as it was here; that
# of the test set is not if it is used once. Public code for SE networks on CIFAR usually reports
# the best *test* epoch; `se-numpy train` chooses the epoch on held-out training pictures.
#
# ## Interrupt and resume
#
# A run that is interrupted and resumed should give the **same** numbers, or the result cannot be
# reproduced. That takes more than the parameters: running statistics, the velocity, the position
# in the schedule, and the random numbers that order the pictures. Here all random numbers are
# computed from the seed and their purpose, so a checkpoint needs only the position in the run.

# %%
few = builtin(train=100, test=50)
config = configure(few, model="se_resnet8", epochs=1, batch_size=15)


def nothing():
    pass


def session():
    return Session(few, config, "cpu")


def go_on(path, *, forget_velocity=False):
    """Run from the checkpoint to the end of the epoch."""
    run = session()
    run.restore(path)
    if forget_velocity:
        run.learner.v[:] = 0
    run.epoch(nothing, None, watch=True)
    return run


uncut, cut = session(), session()
uncut.epoch(nothing, None, watch=True)

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "last.npz"

    def power_failure():
        if cut.position.step == 3:
            cut.save(path)
            raise KeyboardInterrupt

    try:
        cut.epoch(power_failure, None, watch=True)
    except KeyboardInterrupt:
        print("interrupted after", cut.position.step, "of", cut.per_epoch, "steps")
    resumed, forgetful = go_on(path), go_on(path, forget_velocity=True)

w = uncut.learner.w
differ = int((w != resumed.learner.w).sum())
claim("After resuming, 0 of 80,730 numbers differ, to the last bit.", differ, len(w))
without = (w != forgetful.learner.w).mean()
claim("Without the velocity more than 90 % of them differ.", without)

# %% [markdown]
# On the command line, after Ctrl-C or a power cut, resume `se-numpy train` with
#
# ```sh
# se-numpy train --resume last
# ```
#
# ## How reliable is one run?
#
# There are two questions, which are often confused.
#
# *How accurate is this network on all such pictures?* The test set is a sample; `wilson` computes
# the 95 % interval for 1,000 pictures, which misses the true accuracy in about five of a hundred
# such samples.
#
# *How accurate is this recipe?* A recipe gives a different network for every seed. Here are six
# runs of each of two recipes, the block with $r = 1$ and with $r = 4$, everything else as above.
# They took some minutes and were run once, with
#
# ```python
# [train(tiny(r), seed)[0].evaluate(test)[1] for seed in range(6)]
# ```
#
# **Predict.** Your run above was seed 0. How far from it is the worst of six?

# %%
runs = {
    "r = 1": np.array([1.000, 0.990, 1.000, 0.992, 0.799, 1.000]),
    "r = 4": np.array([0.991, 0.850, 0.345, 0.999, 1.000, 0.548]),
}
T = 2.571  # Student's t for six runs: the 95 % interval of a mean is this times its standard error


def interval(values):
    half = T * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


figure, (axes,) = figures.panels(1, 1, 2.5)
for row, shares in enumerate(runs.values()):
    axes.plot(100 * shares, np.full(6, row), "o", color=figures.BLUE, alpha=0.7)
    low, high = interval(100 * shares)
    axes.plot([low, min(high, 100)], [row + 0.25, row + 0.25], color=figures.ORANGE, lw=4)
    low, high = wilson(shares[0], 1000)
    axes.plot([100 * low, 100 * high], [row - 0.25, row - 0.25], color="black", lw=4)
axes.axvline(100 * PLAIN_BOUND, color=figures.GREY, ls="--", lw=1)
bound = f"no plain network gets above {100 * PLAIN_BOUND:.1f}"
axes.text(100 * PLAIN_BOUND - 1, -0.5, bound, ha="right", color=figures.GREY, fontsize=9)
axes.set_yticks([0, 1], list(runs))
axes.set(xlabel="right on the test set, %", ylim=(-0.6, 1.6), xlim=(0, 102),
         title="dots: runs; orange: interval of their mean; black: of seed 0's test")  # fmt: skip
figures.show(
    alt="Test accuracies of six runs each for two reduction ratios, with a wide interval of the "
    "mean and a narrow interval of one test."
)

# %%
one, four = runs.values()
claim("Seed 0 of r = 4 is right for 99.1 %; of all such pictures for 98.3 % to 99.5 %.",
      0, 4, four[0], *wilson(four[0], 1000))  # fmt: skip
claim("The worst of its six runs is right for 34.5 %.", four.min())
means = one.mean(), four.mean()
claim("The means of six are 96.4 % and 78.9 %.", *means)
low, high = interval(one - four)
claim("Their difference, seed by seed: 17.5 points, with an interval from -16 to 51.",
      100 * (means[0] - means[1]), 100 * low, 100 * high)  # fmt: skip

# %% [markdown]
# The interval of a test set is narrow, and says nothing about the next seed. That of the seeds is
# wide: is $r = 1$ better than $r = 4$ here? By 17.5 points on average, but six runs are not
# enough to decide, because the interval of the difference contains 0. From seed 0 alone the two
# look equal; from seed 2 alone the difference looks conclusive.
#
# SE against plain is different: every plain run must stay below the bound. Without a bound, use
# several seeds, intervals, and the same number of runs for both sides.
#
# ## On photographs
#
# With CIFAR on your disk (`SE_NUMPY_DATA`, see tutorial 1) the next cell trains for one epoch on
# a few of its pictures, by the same function that `se-numpy train` calls: with crops, flips, an
# epoch chosen on held-out pictures, and a folder for all results.

# %%
photos = photographs()
if photos is not None:
    with tempfile.TemporaryDirectory() as folder:
        short = configure(photos, model="se_resnet8", epochs=1, subset=2560, out=folder)
        done = run_training(photos, short, out=io.StringIO())
        print("written:", ", ".join(sorted(path.name for path in done.folder.iterdir())))
    low, high = wilson(done.result["test_accuracy"], len(photos.test_labels))
    print(f"after one short epoch {low:.1%} to {high:.1%} of the test pictures are right")

# %% [markdown]
# For a full run of twenty minutes on two cores:
#
# ```sh
# se-numpy train --data FOLDER --model se_resnet20 --epochs 8
# ```
#
# ## On your own
#
# - *Quick.* Give `overfit` labels in random order, the same order at every step. Does the test
#   find that bug? Which test would?
# - *Core.* Take $r = 4$ and a batch of 64. Which learning rate does best, on held-out pictures?
#   How many seeds do you need to be sure? (Train on your own machine: a run takes many minutes in a
#   browser.)
# - *Open.* A plain network cannot pass the bound because it averages over positions and reads out
#   linearly. Which is the smallest change, other than SE, that would let it pass? Try it.
#
# **Answers.** *Quick:* no: it memorises any labels, as long as they do not change. Held-out
# pictures would reveal it, and before that a look at some pictures with their labels. *Core:* try
# rates a factor of two apart, three seeds each, and compare seed by seed; the figure above shows
# how wide intervals are. *Open:* anything that brings the strip to the glyphs: larger strides or
# filters, more layers, or the mean of each channel added to every position. A bias and a ReLU can
# then select.
#
# Next: [11. Read the gates](11_read_the_gates.ipynb).
