# %% [markdown]
# # 9. Train it
#
# [![Open in Colab][badge]][colab] · [all tutorials](README.md) · [this one as a
# script](09_train.py)
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/OWNER/se_numpy/blob/main/tutorials/09_train.ipynb
#
# **You will** write a training loop, prove that it learns, find three bugs by their curves, and
# train a network on a question that it can only answer with a SE block. You write `sgd_momentum`
# and `se_resnet_step`.
#
# **You learn** what momentum and a schedule do, the first test of any loop, why a plain network
# fails here, how to choose an epoch, how to go on with a run that was cut, and how sure one run is.
#
# **You need** [tutorial 8](08_assemble_and_count.ipynb); a CPU; 75 minutes, of which it computes
# less than one.

# %%
# Fetches the library where it is missing: in Colab.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("se_numpy") is None:
    if "google.colab" not in sys.modules:
        sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" one folder up')
    library = "se-numpy[plot,grade] @ git+https://github.com/OWNER/se_numpy"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", library], check=True)

# %%
import io
import tempfile
from pathlib import Path

import numpy as np
import se_numpy as se
from se_numpy import engine, optim, tree
from se_numpy.data import builtin
from se_numpy.data.batches import Images, Normalisation, draw
from se_numpy.data.glyphs import PLAIN_BOUND
from se_numpy.grading.lessons import check, claim, exercise, figures, hint, solution
from se_numpy.grading.lessons.pictures import photographs
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
# `builtin()` draws pictures with a strip of colour on the left and six glyphs on the right, each in
# another colour. The class is the glyph that has the strip's colour. Two look alike to a network
# that sees only one side.

# %%
data = builtin(train=3840, test=1000)
figure, axes = figures.panels(1, 6, 1.5)
for image, label, axis in zip(data.train_images[:6], data.train_labels[:6], axes, strict=True):
    figures.picture(axis, image, data.classes[label])
figures.show()

# %% [markdown]
# The network is that of tutorial 8, made small: it begins with a stride, so it works on maps of a
# quarter of the size, and has two units instead of three. With `r` it has **one** SE block, in its
# first unit.


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
# ## One step, taken apart
#
# A step of training is four things: *forward*, from pictures to one score a class; *loss*, one
# number that says how bad the scores are; *backward*, the gradient of that number by every
# parameter; *update*, each parameter a little against its gradient.
#
# **Predict.** A network that knows nothing gives each of ten classes about the same probability.
# How large is its loss, $-\log p$ of the right class?

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

claim("To know nothing costs log 10, which is 2.303.", 10, np.log(10))
claim("The network begins with at least 2 and at most 4.", L, L)
after = se.softmax_cross_entropy(net.forward(params, state, X, train=True)[0], labels)
claim("After one step its loss on these images is lower: a change below 0.", after - L)

# %% [markdown]
# A first loss far from that is worth a look before anything else: wrong labels, pictures that were
# never normalised, a softmax taken twice.
#
# ## Momentum
#
# A step goes straight downhill. In a long valley, steep across and flat along, that is a poor
# direction: the step has to be small for the steep walls, and then the flat floor takes forever.
# *Momentum* keeps a velocity, in which steps to and fro cancel and steps along add up:
#
# $$v \leftarrow \mu v + g + \lambda w \qquad\qquad w \leftarrow w - \eta v$$
#
# $g$ is the gradient, $\eta$ the learning rate, $\mu$ the momentum, 0.9 as a rule. $\lambda$ is the
# *weight decay*, which pulls every parameter towards 0.
#
# **Predict.** The valley below is a hundred times steeper across than along. Which of the two ends
# nearer to the middle after 60 steps, and which looks worse on the way?

# %%
curvature = np.array([1.0, 100.0])  # along, across


def descend(lr, momentum, steps=60):
    w, v, path = np.array([-10.0, 1.0]), np.zeros(2), []
    for _ in range(steps):
        path.append(w)
        v = momentum * v + curvature * w
        w = w - lr * v
    return np.array(path)


paths = {"without momentum": descend(0.018, 0.0), "with momentum 0.9": descend(0.018, 0.9)}

figure, (left, right) = figures.panels(1, 2, 2.7, width_ratios=(1.3, 1))
a, b = np.meshgrid(np.linspace(-11, 6, 90), np.linspace(-1.6, 1.6, 60))
height = (a**2 + 100 * b**2) / 2
left.contour(a, b, height, levels=np.geomspace(1, 180, 7), colors="#BBBBBB", linewidths=0.8)
for (name, path), colour in zip(paths.items(), (figures.BLUE, figures.ORANGE), strict=True):
    left.plot(*path.T, "o-", color=colour, ms=2.5, lw=1)
    right.semilogy(np.linalg.norm(path, axis=1), color=colour, label=name)
left.set(xlabel="along", ylabel="across", title="sixty steps")
right.set(xlabel="step", title="distance from the middle")
right.set_ylim(0.05, 60)
right.legend(loc="upper right")
figures.show()

far = [np.linalg.norm(path[-1]) for path in paths.values()]
claim("After 60 steps: 3.42 away without momentum, 0.295 with it.", 60, *far)

# %% [markdown]
# ## Exercise: `sgd_momentum` · easy, 10 minutes
#
# Write the two equations. Return new arrays; the oracle looks whether yours stay as they were.


# %%
@exercise
def sgd_momentum(w, g, v, lr=0.1, momentum=0.5, weight_decay=0.02):  # -> w (P,), v (P,)
    ...  # your lines here


check("sgd_momentum", sgd_momentum)

# %%
# Take one # away when you want help, and run the cell.
# hint("sgd_momentum")
# solution("sgd_momentum")

# %% [markdown]
# ## Where the learning rate stands
#
# Books differ on where $\eta$ stands: inside the velocity, $v \leftarrow \mu v + \eta g$, or
# outside as here. **Predict**: when is that the same?


# %%
def rate_inside(w, g, v, lr=0.1, momentum=0.5, weight_decay=0.02):
    v = momentum * v + lr * (g + weight_decay * w)
    return w - v, v


def outside(w, g, v, lr):
    v = 0.5 * v + g + 0.02 * w
    return w - lr * v, v


def apart(rates):
    """How far the two are from each other in the end, on the valley's slope."""
    one = two = np.array([-10.0, 1.0])
    v1 = v2 = np.zeros(2)
    for lr in rates:
        one, v1 = outside(one, curvature * one, v1, lr)
        two, v2 = rate_inside(two, curvature * two, v2, lr)
    return abs(one - two).max()


claim("With one learning rate they end less than 1e-12 apart.", apart([0.01] * 20))
falling = apart(np.linspace(0.01, 0, 20))
claim("With one that falls they are more than 0.1 apart.", falling)

check("sgd_momentum", rate_inside)

# %% [markdown]
# ## The first test of any loop: overfit one batch
#
# Before anything is trained for hours: take a few pictures, here 16, and step on these again and
# again. Nothing has to be understood for that, they can be learned by heart, and a loss that does
# **not** go to 0 is a bug. Here is the loop, and the same with one bug each. It runs the network by
# `engine.compile(net)`, which has the same `forward` and `backward` and gives the same numbers up
# to rounding, but faster: `net` runs the equations as they are written.
#
# **Predict.** Which curve belongs to which bug?
#
# - *Climbing*: `+=` in the update, where `-=` should be.
# - *Rebinding*: `p = p - lr * dp`. It looks like `p -= lr * dp`, but makes a new array under the
#   name `p` and leaves the parameter as it was.
# - *Shuffled apart*: before every step the labels are brought into a new order, and the pictures
#   are not.


# %%
def overfit(bug="", steps=40, lr=0.5):
    rng, losses = np.random.default_rng(0), []
    params, state = init(net, data.image_shape, rng)
    fast = engine.compile(net)
    for _ in range(steps):
        y = rng.permutation(labels) if bug == "shuffled apart" else labels
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


bugs = ("", "climbing", "rebinding", "shuffled apart")
with np.errstate(over="ignore"):
    curves = {bug: overfit(bug) for bug in bugs}

figure, (axes,) = figures.panels(1, 1, 2.7)
for (bug, losses), stroke in zip(curves.items(), ("-", "--", "-.", ":"), strict=True):
    axes.plot(losses, stroke, label=bug or "no bug")
axes.axhline(np.log(10), color=figures.GREY, lw=0.8)
axes.text(40, np.log(10) + 0.15, "log 10", color=figures.GREY, fontsize=9)
axes.set(xlabel="step", ylabel="loss", ylim=(0, 6), xlim=(0, 43), title="one batch, forty steps")
axes.legend(ncols=2, loc="upper right")
figures.show()

claim("Without a bug the loss falls below 0.1.", curves[""][-1])
claim("Rebinding: forty steps change it by at most 0.", np.ptp(curves["rebinding"]))
claim("Shuffled apart: it stays above 1.", min(curves["shuffled apart"]))
claim("Climbing: it ends above 4.", curves["climbing"][-1])

# %% [markdown]
# Half a minute, and it finds most of what can be wrong in a loop. What it cannot find: a gradient
# that is only nearly right (tutorials 3 and 4), and whether anything is learned about *other*
# pictures.
#
# ## Exercise: `se_resnet_step` · hard, 40 minutes
#
# All of it in one function: the block of tutorial 8, the mean $p$ of each channel, a classifier,
# the loss, all gradients, and for each parameter $w$ one step without momentum, $w \leftarrow w -
# \eta \, \partial L / \partial w$.
#
# As in `residual_block` both convolutions have padding 1, and batch norm is that of training,
# `se.batch_norm(x, gamma, beta)`. The classifier's `W` is $(K, C)$ and `b` is $(K)$, so the
# scores are `p @ W.T + b`. Write the forward pass with a name for everything, then walk back line
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
# Long steps get somewhere, short steps settle. So most schedules begin with long ones and end with
# short ones; one-cycle also begins with short ones, since nothing is in its place yet. The library
# has four schedules, functions of the step.

# %%
figure, axes = figures.panels(1, 4, 1.9, sharey=True)
for axis, (name, make) in zip(axes, optim.SCHEDULES.items(), strict=True):
    schedule = make(0.2, 600)
    axis.plot([schedule(k) for k in range(600)])
    axis.set(title=name, xlabel="step", xticks=(0, 300, 600))
axes[0].set(ylabel="learning rate", ylim=(0, 0.22))
figures.show()

# %% [markdown]
# *Step* divides the rate by 10, here at half and at three quarters of the run; the paper does so
# every 30 epochs. For runs of minutes *one-cycle* does well, and it is what `se-numpy train` takes.
#
# ## What a plain network cannot see
#
# Look at one position of the last map. Which pixels does it see? Do not trust arithmetic with
# strides; send a gradient back from that position and look where it arrives.
#
# **Predict.** Twice: for the network without a SE block, and with one.


# %%
def seen_from(net, row, column, seed=0):
    """(32, 32): how strongly each pixel acts on one position of the last map."""
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
figures.show()

sides = {j: [(seen_from(tiny(), 3, j) > 0)[:, part].any() for part in (slice(4), slice(26, 31))]
         for j in range(8)}  # fmt: skip
claim("Without SE 0 of 8 columns of positions see both the strip and the glyphs.",
      sum(strip and glyphs for strip, glyphs in sides.values()), len(sides))  # fmt: skip
whole = (seen_from(tiny(1), 3, 4) > 0).mean()
claim("With one SE block a single position sees more than 99 % of the picture.", whole)

# %% [markdown]
# Blue is what is seen. Without a SE block every position sees the strip or glyphs, never both. Then
# come a mean over positions and a linear classifier, and the score of class $k$ is a **sum**,
#
# $$\mathrm{score}_k = f_k(\mathrm{strip}) + g_k(\mathrm{glyphs}),$$
#
# whatever the network learns. A sum cannot say "if the strip is red, then the red glyph". Deal four
# glyphs to four colours in two ways, and ask about each colour. Say that the network is right for
# every colour of the first deal: there the glyph that the first deal gives a colour scores above
# the one that the second deal gives it. Add up both sides over the colours. The $g$ are of the same
# four glyphs on both sides and cancel, so the sum of the $f$ is larger for the first deal than for
# the second. Were the network right for all of the second deal, too, that would say the opposite.
# So it is not. The full proof, ten lines in `se_numpy/data/glyphs.py`, counts on from here to a
# bound: a plain network is right in at most 29 of 48 cases, **whatever its size and however long it
# learns**.
#
# A SE block squeezes the **whole** map to $z$, so every position hears of the strip, and a gate
# **multiplies**: it can turn five colours down.

# %%
claim("The bound for plain networks is 60.4 %.", PLAIN_BOUND)

# %% [markdown]
# ## Train both
#
# Three sets of pictures: those to *learn from*; some of the training pictures *held out*, to look
# at while training; and the *test* set, to look at once. `Learner.step` is the four parts of above,
# with all parameters behind each other in one long vector, and with momentum in Nesterov's form (a
# variant of what you wrote). It runs on the engine, too.

# %%
learn_from, held_out = split(data, seed=0)
training = Images(data.train_images[learn_from], data.train_labels[learn_from], normalise)
validation = Images(data.train_images[held_out], data.train_labels[held_out], normalise)
test = Images(data.test_images, data.test_labels, normalise)
print(len(training), "to learn from,", len(validation), "held out,", len(test), "to test on")


def train(net, seed=0, epochs=6, lr=0.2, batch=32):
    """The trained network, and for each epoch: loss, accuracy, accuracy on held-out pictures."""
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
        history.append((loss, right, learner.evaluate(validation)[1]))
    return learner, np.array(history)


gated, gated_history = train(tiny(r=1))
plain, plain_history = train(tiny())

# %%
figure, (left, right) = figures.panels(1, 2, 2.8)
for history, name, colour in (
    (gated_history, "with SE", figures.ORANGE),
    (plain_history, "plain", figures.BLUE),
):
    epochs = np.arange(1, len(history) + 1)
    left.plot(epochs, history[:, 0], "o-", color=colour, label=name)
    right.plot(epochs, 100 * history[:, 2], "o-", color=colour, label=name)
right.axhline(100 * PLAIN_BOUND, color=figures.GREY, ls="--", lw=1)
below = 6, 100 * PLAIN_BOUND - 7
right.text(*below, "no plain network gets above", ha="right", color=figures.GREY, fontsize=9)
left.set(xlabel="epoch", title="loss", ylim=(0, None))
right.set(xlabel="epoch", title="right on held-out pictures, %", ylim=(0, 103))
left.legend(loc="lower left")
figures.show()

accuracy = gated.evaluate(test)[1], plain.evaluate(test)[1]
claim("On the test set SE is right for more than 65 %.", accuracy[0])
claim("The plain network is right for less than 30 %.", accuracy[1])
claim("To name one of six at random is right for 16.7 %.", 1 / 6)

# %% [markdown]
# For two epochs nothing seems to happen, in both. First the glyphs have to be told apart, which
# gets a network to "one of these six"; only then is there anything for gates to choose from. Many
# runs are stopped on such a plateau. The plain network stays there. The dashed bound is what no
# plain network can pass; what training finds is far below it, about one in six.
#
# ## A common mistake: choosing on the test set
#
# A run has many epochs, and one goes on record. Take the epoch, the run, the setting that does best
# on the **test** set, and its accuracy there is no measurement any more: you asked once for every
# epoch and report the best answer.
#
# How much is that worth? Here are forty "networks" that guess. **Predict**: the best of them on
# 200 test pictures is right for how many percent of these, and of the 800 others?

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
    xlabel="right on the pictures that the choice is made on, %", ylabel="on others, %",
    title="forty networks that guess; ringed: the one that is chosen",
)  # fmt: skip
figures.show()

claim("The best of 40 guessers has 15.5 % where it was chosen, 7.9 % elsewhere.",
      len(guesses), chosen_on[best], others[best])  # fmt: skip

# %% [markdown]
# The held-out pictures are there to be asked often. They are spent by that, as these were; the test
# set is not, if it is asked once. In public code for SE networks on CIFAR the best *test* epoch is
# what is reported as a rule; `se-numpy train` chooses on held-out training pictures.
#
# ## Cut and go on
#
# A run that is cut should go on to the **same** numbers, or nobody can say afterwards what was
# trained. That takes more than the parameters: running statistics, the velocity, the place in the
# schedule, and the random numbers that order the pictures. Here all random numbers come from the
# seed and what they are for, so the position in the run is all that has to be kept.

# %%
few = builtin(train=300, test=100)
config = configure(few, model="se_resnet8", epochs=1, batch_size=45)


def nothing():
    pass


def session():
    return Session(few, config, "cpu")


def go_on(path, *, forget_velocity=False):
    """The run from its checkpoint to the end of its epoch."""
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
        print("cut after", cut.position.step, "of", cut.per_epoch, "steps")
    resumed, forgetful = go_on(path), go_on(path, forget_velocity=True)

w = uncut.learner.w
differ = int((w != resumed.learner.w).sum())
claim("Gone on with, 0 of 80,730 numbers differ, to the last bit.", differ, len(w))
without = (w != forgetful.learner.w).mean()
claim("Without the velocity more than 90 % of them do.", without)

# %% [markdown]
# On the command line this is `se-numpy train`, Ctrl-C or a power cut, and
#
# ```sh
# se-numpy train --resume last
# ```
#
# ## How sure is one run?
#
# Two questions, and they are often mixed up.
#
# *How well does this network do on all such pictures?* The test set is a sample; 1,000 pictures
# leave an interval, which `wilson` gives: of a hundred such samples it misses the truth in five.
#
# *How well does this recipe do?* A recipe makes another network from every seed. Here are six runs
# of each of two recipes, the block with $r = 1$ and with $r = 4$, everything else as above. They
# took some minutes and were made once, by
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
figures.show()

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
# wide: is $r = 1$ better than $r = 4$ here? By 17.5 points on average, and six runs cannot tell,
# for the interval of the difference holds 0. Who had run seed 0 alone would have called them equal;
# who had run seed 2 alone would have written a paper.
#
# SE against plain is another matter: every one of the plain runs has to stay below the bound. Where
# there is no bound, there are seeds, intervals, and the same number of tries for both sides.
#
# ## On photographs
#
# With CIFAR on your disk (`SE_NUMPY_DATA`, see tutorial 1) the next cell trains for one epoch on a
# few of its pictures, by the same function that `se-numpy train` calls: with crops, flips, an epoch
# chosen on held-out pictures, and a folder that holds everything.

# %%
photos = photographs()
if photos is not None:
    with tempfile.TemporaryDirectory() as folder:
        config = configure(photos, model="se_resnet8", epochs=1, subset=2560, out=folder)
        done = run_training(photos, config, out=io.StringIO())
        print("written:", ", ".join(sorted(path.name for path in done.folder.iterdir())))
    low, high = wilson(done.result["test_accuracy"], len(photos.test_labels))
    print(f"after one short epoch {low:.1%} to {high:.1%} of the test pictures are right")

# %% [markdown]
# In earnest, twenty minutes on two cores:
#
# ```sh
# se-numpy train --data FOLDER --model se_resnet20 --epochs 8
# ```
#
# ## On your own
#
# - *Quick.* Give `overfit` labels in random order, the same order at every step. Does it find that
#   bug? What would?
# - *Core.* Take $r = 4$ and a batch of 64. Which learning rate does best, on held-out pictures? How
#   many seeds do you need before you believe it?
# - *Open.* A plain network cannot pass the bound because it averages over positions and reads out
#   linearly. Which smallest change, other than SE, would let it pass? Try it.
#
# Next: [10. Read the gates](10_read_the_gates.ipynb).
