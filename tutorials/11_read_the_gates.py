# %% [markdown]
# # 11. Read the gates
#
# [all tutorials](README.md) · [this one as a
# script](11_read_the_gates.py)
#
# **You will** load trained networks, draw the paper's Figure 6 for them, replace their gates, and
# give one picture the gates of another.
#
# **You learn** which information gates contain, what they do, why these are two questions, how to
# answer each, and how much an answer depends on the seed.
#
# **You need** [tutorial 10](10_train.ipynb); a CPU; 40 minutes. The networks are trained already.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
from dataclasses import replace
from pathlib import Path

import numpy as np
from se_numpy import checkpoint
from se_numpy.analysis.builtin_cue import glyphs_in_sight, group_by_cue, transplanted
from se_numpy.analysis.gates import group_means, grouped, record, share_between
from se_numpy.analysis.interventions import donors, run_with
from se_numpy.analysis.network import load_gated
from se_numpy.data import builtin
from se_numpy.data.glyphs import COLOURS
from se_numpy.grading.lessons import claim, figures
from se_numpy.grading.lessons.pictures import boat, photographs
from se_numpy.grading.lessons.recorded import computed
from se_numpy.grading.lessons.toys import toy
from se_numpy.layers import init

figures.style()

# %% [markdown]
# ## Four trained networks
#
# They are in the folder `networks` next to this tutorial. One was trained on photographs,
# CIFAR-10; three on the glyphs of tutorial 10, with three seeds and the same settings.

# %%
folder = Path(globals().get("__file__", "here")).parent / "networks"
GLYPH_NETWORKS = (
    "se_resnet8_builtin",
    "se_resnet8_builtin_1",
    "se_resnet8_builtin_2",
)  # seeds 0, 1, 2
for name in ("se_resnet20_cifar10", "se_resnet20_cifar10_gates", *GLYPH_NETWORKS):
    if not (folder / f"{name}.npz").exists():
        sys.exit(f"networks/{name}.npz is missing; copy that folder next to this tutorial")

photo_network = load_gated(folder / "se_resnet20_cifar10.npz")
glyph_networks = [load_gated(folder / f"{name}.npz") for name in GLYPH_NETWORKS]
for network in (photo_network, *glyph_networks):
    print(network.config["model"], "with SE blocks", ", ".join(network.blocks.values()))

# %% [markdown]
# This project includes no picture of CIFAR, but it has one of a boat.
#
# **Predict.** The network has seen only photographs, of 32 × 32 pixels, and never a drawing.
# Which class does it predict? (The boat has 24 × 36 pixels. Convolutions and a mean accept any
# size.)

# %%
small = boat().reshape(24, 2, 36, 2, 3).mean((1, 3)).astype(np.uint8)  # (H, W, C), half as large
seen = record(photo_network, small[None])
predicted = photo_network.probabilities(small[None])[0]  #            (10,)

figure, (left, right) = figures.panels(1, 2, 2.4, width_ratios=(1, 1.4))
figures.picture(left, small, "24 × 36 pixels")
right.barh(range(10), 100 * predicted, color=figures.BLUE)
right.set_yticks(range(10), photo_network.classes, fontsize=9)
right.set(title="predicted probability, %", ylim=(9.5, -0.5))
figures.show(
    alt="The boat in a small version, and bars of the predicted probabilities of ten classes: ship "
    "is by far the longest."
)

# %%
claim(
    "It predicts a ship with a probability of more than 90 %.",
    predicted[photo_network.classes.index("ship")],
)

# %% [markdown]
# `record` keeps the gates of every block. Figure 6 of the paper shows such gates, averaged over
# the pictures of one class, and Figure 7 how they vary within a class.
#
# ## Gates by class: Figure 6
#
# The averages for 2,000 test pictures are in a file next to the network, so that you can read
# them without CIFAR. They were computed with `se-numpy excitations`.

# %%
kept, study = checkpoint.load(folder / "se_resnet20_cifar10_gates.npz")
classes = list(study["groups"]["class"])
blocks = [row["block"] for row in study["blocks"]]


def means(block):  #                                                  -> (1 + 10, C)
    """Return mean gates: first of all pictures, then of each class."""
    stage, _, part = block.partition(".")
    return kept["mean"][stage][part]


claim(
    "The network is right for 83.05 % of these 2,000 pictures.", study["accuracy"], study["images"]
)

# %% [markdown]
# **Predict.** The paper found: early blocks have the same gates for all classes, later ones differ.
# What do you expect in the last block of each of three stages here?

# %%
figure, axes = figures.panels(1, 3, 2.7)
for axis, block in zip(axes, ("stage1.block3", "stage2.block3", "stage3.block3"), strict=True):
    m = means(block)  #                                               (1 + 10, C)
    order = m[0].argsort()
    for name, stroke in (("airplane", "-"), ("cat", "--"), ("frog", "-."), ("truck", ":")):
        axis.plot(m[1 + classes.index(name), order], stroke, lw=1.4, label=name)
    axis.plot(m[0, order], color="black", lw=1.6, alpha=0.7, label="all")
    axis.set(xlabel="channel, sorted", title=block, ylim=(0.3, 1))
axes[0].set(ylabel="mean gate")
axes[0].legend(fontsize=8)
figures.show(
    alt="Mean gates by class in three blocks, channels sorted. In stages one and two the lines of "
    "four classes nearly coincide near one half; in stage three they are higher and differ."
)

# %% [markdown]
# Two things are visible. In the first two panels the lines nearly coincide, close to one half:
# these gates hardly **react** to the class. In the last panel they are open, and differ a little by
# class.
#
# Two conclusions would be wrong. First, that these gates do nothing: a branch at half its strength
# is not the same as a branch at full strength. Second, that they were never trained, because gates
# begin at $\sigma(0) = 1/2$: they do not. $W_1$ and $W_2$ begin at random. Here are the gates of
# the same network with new random weights and of the trained one, for parts of the boat. How far
# apart are the gates of a block, over its channels and images?

# %%
rng = np.random.default_rng(0)
corners = zip(rng.integers(0, 17, 64), rng.integers(0, 41, 64), strict=True)
crops = np.stack([boat()[i : i + 32, j : j + 32] for i, j in corners])  # (64, 32, 32, 3)
trained = {photo_network.blocks[k]: s.std() for k, s in record(photo_network, crops).gates.items()}
fresh = []
for seed in range(3):
    params, state = init(photo_network.net, photo_network.shape, np.random.default_rng(seed))
    untrained = replace(photo_network, params=params, state=state)
    fresh.append([s.std() for s in record(untrained, crops).gates.values()])
fresh = np.array(fresh)  #                                            (3 seeds, 9 blocks)

print("standard deviation of all gates of a block")
print(f"{'':16}trained   new, seeds 0 to 2")
for k, (block, value) in enumerate(trained.items()):
    print(f"{block:16}{value:7.3f}   " + "  ".join(f"{v:.3f}" for v in fresh[:, k]))

# %%
middle = np.median(fresh, 0)  #                                       (9,) of three seeds
less = sum(value < of_new for value, of_new in zip(trained.values(), middle, strict=True))
claim("In 9 of 9 blocks the trained gates vary less than new ones, in the median of 3 seeds.",
      less, len(middle), len(fresh))  # fmt: skip
costs = {(row["block"], row["gates"]): row for row in study["interventions"]}
claim("With all gates of stage1.block3 at one, the network loses 9.8 points.",
      100 * costs["stage1.block3", "one"]["cost"])  # fmt: skip

# %% [markdown]
# So training has moved the gates of the early blocks **towards** a common value and away from
# differences. (These are crops of one drawing. The point is only that gates near a half are not a
# leftover of the beginning.)
#
# To see how far gates react, draw the difference of each class from the mean instead of the gates.

# %%
figure, axes = figures.panels(1, 2, 2.6)
for axis, block in zip(axes, ("stage3.block2", "stage3.block3"), strict=True):
    m = means(block)
    order = m[0].argsort()
    drawn = figures.heatmap(axis, (m[1:] - m[0])[:, order], block)
    axis.set_aspect("auto")
    axis.set_yticks(range(10), classes, fontsize=8)
    axis.set(xlabel="channel, sorted by its mean gate")
    figure.colorbar(drawn, ax=axis, shrink=0.9)
axes[0].set_title("stage3.block2, minus the mean of all")
figures.show(
    alt="Two heatmaps of gates by class minus the mean of all classes, the left one with "
    "differences of hundredths, the right one of tenths; on the right whole rows have one "
    "colour."
)


def of_one_profile(block):
    """Return the share of the differences in one direction, and that with its class's sign."""
    difference = means(block)[1:] - means(block)[0]  #                (10, C)
    strength = np.linalg.svd(difference, compute_uv=False) ** 2
    sign = np.sign(difference.sum(1, keepdims=True))
    return strength[0] / strength.sum(), (np.sign(difference) == sign).mean()


left, right = of_one_profile("stage3.block2"), of_one_profile("stage3.block3")
claim("A class moves 70 % of the channels the same way on the left, and 99 % on the right;",
      left[1], right[1])  # fmt: skip
claim("one profile is 94 % and 99 % of the differences.", left[0], right[0])

# %% [markdown]
# Note the two scales: in both, the gates distinguish classes, but on the left by hundredths and
# on the right by tenths. On the right a class moves nearly all channels the same way: one profile,
# stronger or weaker, which is what the paper saw in its last block, SE_5_3.
#
# Colours can mislead, so compute a number.
#
# ## How much of the variance is due to the class?
#
# Take a block's gates $s$ of all pictures. They vary; part of that is between classes, the rest
# between pictures of one class:
#
# $$\mathrm{share} = \frac{\sum_k N_k \lVert m_k - m \rVert^2}{\sum_n \lVert s_n - m \rVert^2}$$
#
# with $m_k$ the mean of class $k$. It is 1 if the class determines the gates, and 0.5 percent on
# average, for ten classes and 2,000 pictures, if the class has no effect on them.

# %%
share = np.array([row["between"]["class"] for row in study["blocks"]])
spread = np.array([row["spread"] for row in study["blocks"]])
chance = study["blocks"][0]["chance"]["class"]
claim("By chance it would be 0.5 %.", chance)

figure, (left, right) = figures.panels(1, 2, 2.8)
left.plot(100 * share, "o-", color=figures.BLUE)
left.axhline(100 * chance, color=figures.GREY, ls="--", lw=1)
left.set(title="share of the variance between classes, %", ylim=(0, 60))
right.plot(spread, "o-", color=figures.ORANGE)
right.set(title="standard deviation of a gate", ylim=(0, None))
for axis in (left, right):
    axis.set_xticks(range(9), [b.replace("stage", "").replace(".block", ".") for b in blocks])
    axis.set(xlabel="stage.block")
figures.show(
    alt="By block: the share of the variance between classes, rising with depth, and the standard "
    "deviation of a gate, which goes up and down."
)

most = blocks[share.argmax()]
print("The most class-specific block is", most)
claim("It is 28.5 % in the first block, 48.9 % in the last, and 52.6 % in the highest.",
      share[0], share[-1], share.max())  # fmt: skip
beyond = max(row["low"] + row["high"] for row in study["blocks"])
claim("Saturated, below 0.05 or above 0.95, are at most 0.4 % of a block's gates.",
      0.05, 0.95, beyond)  # fmt: skip

# %% [markdown]
# In this network the gates become more class-specific with depth, as in the paper. In contrast to
# the paper, where a block near the end, SE_5_2, saturates near 1, none does here. The paper's
# network had fifty layers and was trained for a hundred epochs on a million pictures. All that is
# said about photographs here comes from **one** run of eight epochs: another seed may differ, as
# you will see below. Report what *your* networks do, and how you measured it.

# %%
photos = photographs()  # None unless SE_NUMPY_DATA names a folder with CIFAR
if photos is not None and photos.classes == photo_network.classes:
    seen = record(photo_network, photos.test_images[:1000])
    own = grouped("class", photos.classes, photos.test_labels[:1000])
    print("on your copy:", f"{(seen.answers == photos.test_labels[:1000]).mean():.1%} right")
    for name, s in seen.gates.items():
        print(f"  {photo_network.blocks[name]:14} {share_between(s, own):.1%} between classes")

# %% [markdown]
# ## What gates contain and what they do
#
# **Predict.** `stage3.block2` is the most class-specific block of all. Replace each of its gates
# by a constant, its mean over all pictures, so that it no longer depends on the class. How much
# accuracy does that cost?

# %%
kinds = {"one": "all gates at 1", "mean": "each at its mean", "shuffled": "another picture's"}

figure, axes = figures.panels(1, 3, 3.0, sharey=True)
for axis, (kind, title) in zip(axes, kinds.items(), strict=True):
    for y, block in enumerate([*blocks, "all blocks"]):
        row = costs[block, kind]
        colour = figures.ORANGE if block in (most, "all blocks") else figures.BLUE
        axis.plot([100 * row["low"], 100 * row["high"]], [y, y], color=colour, lw=1.5)
        axis.plot(100 * row["cost"], y, "o", color=colour)
    axis.axvline(0, color=figures.GREY, lw=0.8)
    axis.set(title=title, xlabel="accuracy lost, points")
axes[0].set_yticks(range(10), [*blocks, "all blocks"], fontsize=8.5)
axes[0].set_ylim(9.6, -0.6)
for axis in axes[1:]:
    axis.set_xlim(-1, 7)
figures.show(
    alt="Accuracy lost by block for three replacements, with intervals: large for gates at one; "
    "near zero for means except in a few blocks; a little more for another picture's gates."
)

# %%
row = costs[most, "mean"]
claim("The most class-specific block at its mean costs 0.15 points,", 100 * row["cost"])
claim(
    "with a 95 % interval from -0.09 to 0.39, which includes none.",
    0.95,
    100 * row["low"],
    100 * row["high"],
)
row, other = costs["all blocks", "mean"], costs["stage2.block1", "mean"]
claim("All blocks at their means: 2.1 points; one block alone, stage two's first: 1.4.",
      100 * row["cost"], 100 * other["cost"])  # fmt: skip
varies = dict(zip(blocks, spread, strict=True))
claim("A gate there varies by 0.069, one of the most class-specific block by 0.008.",
      varies["stage2.block1"], varies[most])  # fmt: skip
row = costs["stage3.block3", "mean"]
claim("One of the last block varies by 0.070; its means cost between -0.16 and 0.36 points.",
      varies["stage3.block3"], 100 * row["low"], 100 * row["high"])  # fmt: skip
claim("All blocks at one: 55 points.", 100 * costs["all blocks", "one"]["cost"])

# %% [markdown]
# Each of the three panels answers a different question.
#
# - *At 1* (note the scale) the accuracy collapses. The reason is that most gates here are near a
#   half, so this makes a branch twice as strong as in training. That the network needs the
#   **level** of its gates says nothing about gates that **react** to the image.
# - *At the mean* keeps the level and removes the reaction. Reacting gates are worth two points in
#   this run, in all blocks together; constant gates could be multiplied into $\gamma$ and $\beta$
#   of the batch norm before the block.
# - *Another picture's* gates keep everything except the match between picture and gates.
#
# ## A common mistake: inferring use from information
#
# The gates of the most class-specific block could be replaced by constants without loss, and
# those of a less specific block could not. The first has the larger share, but of very little
# variance: its gates hardly vary, as the figure of standard deviations shows. Variation alone is
# not enough either: the gates of the last block vary as much as those of the first block of stage
# two, and their means have no measurable cost. A picture of gates by class shows which
# information they **contain**. Whether the network **uses** it is another question, and only an
# experiment answers it. Papers and blog posts often show the picture and draw conclusions about
# use.
#
# On photographs the right gates are unknown, so this is hard to pursue. So take a task where they
# are known, and three networks in place of one.
#
# ## Gates that we can understand
#
# In the task of the glyph networks, the strip's colour is the question and the glyph in that
# colour is the answer.
#
# **Predict.** Group the gates by class, that is by the answer, and by cue, the strip's colour. In
# the first block, which of the two determines them?

# %%
data = builtin(train=10, test=360)
images, labels = data.test_images, data.test_labels
by_class, by_cue = grouped("class", data.classes, labels), group_by_cue(images)
runs = [record(network, images) for network in glyph_networks]  # one for each seed
stages = glyph_networks[0].blocks  # from a block's full name to its short one

shares = np.array(
    [
        [[share_between(seen.gates[name], by) for by in (by_class, by_cue)] for name in stages]
        for seen in runs
    ]
)  # fmt: skip     (seeds, stages, 2)
print("share of the variance, lowest to highest of three seeds")
for stage, low, high in zip(stages.values(), shares.min(0), shares.max(0), strict=True):
    of_class, of_cue = (f"{a:4.0%} to {b:4.0%}" for a, b in zip(low, high, strict=True))
    print(f"{stage:8} by class {of_class}   by cue {of_cue}")

# %%
accuracy = [(seen.answers == labels).mean() for seen in runs]
claim("Each of the 3 networks is right for 100 % of 360 pictures.",
      len(runs), min(accuracy), len(labels))  # fmt: skip
claim("In the first block the cue explains more than 99 %, the class less than 1 %, in each.",
      shares[:, 0, 1].min(), shares[:, 0, 0].max())  # fmt: skip

# %%
figure, axes = figures.panels(2, 3, 4.4, height_ratios=(6, 10))
for column, (name, s) in enumerate(runs[0].gates.items()):
    m = group_means(s, by_cue)  #                                     (6, C)
    order = np.lexsort((-m.max(0), m.argmax(0)))  # by the colour that opens it most
    for axis, groups in zip(axes[:, column], (by_cue, by_class), strict=True):
        shade = axis.imshow(group_means(s, groups)[:, order], cmap="Blues", vmin=0, vmax=1)
        axis.set_aspect("auto")
        axis.set_yticks([])
    axes[0, column].set_title(f"{stages[name]}, seed 0")
    axes[1, column].set_xlabel("channel")
axes[0, 0].set_yticks(range(6), by_cue.names, fontsize=8)
axes[1, 0].set_yticks(range(10), by_class.names, fontsize=8)
figure.colorbar(shade, ax=axes[:, 2], label="mean gate")
figures.show(
    alt="Mean gates of three stages by cue, above, and by class, below. In stages one and two rows "
    "differ by cue only; in stage three by class."
)

# %% [markdown]
# The upper row is grouped by cue, the lower row by class. In stage 1 each colour opens some
# channels and closes others, for every class. The gates of stage 2 depend on the colour too; those
# of stage 3 depend on the **answer** and hardly on the question. That much is the same for all
# three seeds.
#
# ## Replace the gates
#
# `run_with(network, images, gates)` runs the network with gates from outside in the blocks you
# name: `gates` is a dict from a block's full name, as `network.blocks` and `record` have it, to its
# gates $(N, C)$, a row for each picture.
#
# **Predict.** The gates of stage 2 depend on the cue nearly as much as those of stage 1, and
# those of stage 3 depend on the class. For each stage, what does it cost to set its gates to
# their means? And is that the same for three seeds?

# %%
one_group = np.zeros(len(images), int)  # any picture may be the donor of any other
donor = donors(one_group, np.random.default_rng(0))  #                (N,) another picture each
substitutes = {
    "one": np.ones_like,
    "mean": lambda s: np.broadcast_to(s.mean(0), s.shape),
    "class mean": lambda s: group_means(s, by_class)[by_class.of].astype(s.dtype),
    "cue mean": lambda s: group_means(s, by_cue)[by_cue.of].astype(s.dtype),
    "another's": lambda s: s[donor],
}
places = {short: [name] for name, short in stages.items()} | {"all": list(stages)}


def with_other_gates():
    """Return the answers (N,) by place, kind and seed."""
    answers = {}
    for place, names in places.items():
        for kind, substitute in substitutes.items():
            for seed, (network, seen) in enumerate(zip(glyph_networks, runs, strict=True)):
                given = {name: substitute(seen.gates[name]) for name in names}
                answers[f"{place}, {kind}, {seed}"] = run_with(network, images, given)
    return answers


answers = computed(11, with_other_gates)  # in a browser, what was recorded
right = {key: (answer == labels).mean() for key, answer in answers.items()}

figure, (axes,) = figures.panels(1, 1, 2.6)
by_seed = {(place, kind): [right[f"{place}, {kind}, {seed}"] for seed in range(3)]
          for place in places for kind in substitutes}  # fmt: skip
shades = np.array([[np.mean(by_seed[place, kind]) for kind in substitutes] for place in places])
axes.imshow(shades, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
axes.set_xticks(range(len(substitutes)), substitutes)
axes.set_yticks(range(len(places)), places)
axes.tick_params(length=0)
for i, place in enumerate(places):
    for j, kind in enumerate(substitutes):
        text = "  ".join(f"{value:.0%}".rstrip("%") for value in by_seed[place, kind])
        axes.text(j, i, text, ha="center", va="center", fontsize=9)
axes.set_title("right answers with other gates, %: in which block, which gates, for seeds 0, 1, 2")
figures.show(
    alt="A table of accuracies for three seeds with replaced gates. Replacing stage three costs "
    "nothing; replacing stage one or all costs most; stage two differs between seeds."
)

# %%
low = {key: min(values) for key, values in by_seed.items()}
high = {key: max(values) for key, values in by_seed.items()}
claim("All stages at their means: between 14 % and 18 %; a guess among six is 17 %.",
      low["all", "mean"], high["all", "mean"], 1 / 6)  # fmt: skip
claim("Stage 1 at its mean leaves 18 %, 25 % and 40 %,", 1, *by_seed["stage1", "mean"])
claim("stage 2 at its mean 100 %, 68 % and 75 %,", 2, *by_seed["stage2", "mean"])
claim("stage 3 at its mean 100 % in each.", 3, low["stage3", "mean"])
claim("With the mean gates of its cue in all stages, each is right for more than 98 %;",
      low["all", "cue mean"])  # fmt: skip
claim("with those of the true class in all stages, for less than 25 %.", high["all", "class mean"])

# %% [markdown]
# With the gates of stage 3 it is the same for every seed: they contain the answer **because it is
# already in the maps**, and do not contribute to it. The class means say the same from the other
# side: to know the true class's gates does not help, and to know the cue's gates is enough.
#
# Stages 1 and 2 share the work, and each network shares it in its own way. With seed 0, the gates
# of stage 2 contain the cue and are not needed; with the other two seeds their means cost a quarter
# of the answers or more. Had we looked at seed 0 only, we would have concluded that only stage 1
# matters. **One network tells what that network does.** A sentence about the architecture has to
# hold for several.
#
# ## Transplant
#
# Now the strongest test: give picture A the gates of picture B. If gates carry the question, the
# network should answer B's question about A's glyphs, although it sees A's strip.
#
# **Predict.** What is its answer: A's glyph, the glyph of A in B's colour, or something else?

# %%
sight = glyphs_in_sight(
    images
)  #                                    (N, 6): A's glyph in each colour
moved = {
    place: [
        transplanted(answers[f"{place}, another's, {k}"], by_cue, sight, donor) for k in range(3)
    ]
    for place in places
}
colour = by_cue.of
n = next(n for n in range(len(images)) if colour[n] != colour[donor[n]])
asked, theirs = COLOURS[colour[n]], COLOURS[colour[donor[n]]]
answer = int(answers["all, another's, 0"][n])

figure, axes = figures.panels(1, 3, 2.5, width_ratios=(1, 1, 1.3))
figures.picture(axes[0], images[n], f"A asks for {asked}: glyph {labels[n]}")
figures.picture(axes[1], images[donor[n]], f"B asks for {theirs}")
for seed, found in enumerate(moved["all"]):
    parts = found[:4]  # own, donor, other, unseen; the fifth is how many pictures
    offset = np.arange(4) + 0.27 * (seed - 1)
    axes[2].bar(offset, [100 * part for part in parts], 0.25, label=f"seed {seed}")
axes[2].set_xticks(
    range(4),
    ["A's\nglyph", "A's in B's\ncolour", "another\nin sight", "one not\nin sight"],
    fontsize=8.5,
)
axes[2].legend(fontsize=8)
axes[2].set(title="A with B's gates: answers, %", ylim=(0, 105))
figures.show(
    alt="Picture A, picture B, and bars of A's answers with B's gates for three seeds: nearly all "
    "are A's glyph in B's colour."
)

print(
    f"A's own answer: glyph {labels[n]}; with B's gates: glyph {answer},", f"A's glyph in {theirs}."
)
assert answer == sight[n, colour[donor[n]]]

# %%
by_donor = {place: [found.donor for found in moved[place]] for place in places}
claim("With all of B's gates they answer B's question in at least 96 % of cases,",
      min(by_donor["all"]))  # fmt: skip
claim("with those of stage 1 alone in 98 %, 60 % and 61 %,", 1, *by_donor["stage1"])
claim("with those of stage 2 alone in 1 %, 23 % and 20 %,", 2, *by_donor["stage2"])
claim("with those of stage 3 alone in 0 %.", 3, max(by_donor["stage3"]))

# %% [markdown]
# The gates **are** the question. The network sees A's strip, but information from it affects the
# answer almost only through the gates, with every seed. Through which block differs.
#
# This is a measured example of "a block that models dependencies between channels". On
# photographs all nine blocks together were worth two points in our one network: the task may need
# them less, or eight epochs were too few to learn to use them.
#
# **Play.** Choose A and B yourself, and the blocks whose gates are exchanged. The second page shows
# how the gates came to know the strip's colour, epoch by epoch.

# %%
toy("transplant")

# %%
toy("epochs")

# %% [markdown]
# ## Summary
#
# 1. *Look*, at gates by group, and at their scale.
# 2. *Count*: the share of variance between groups, compared with chance.
# 3. *Intervene*: mean, not 1; with an interval; in one block and in all.
# 4. *Transplant* gates if you can predict how the answer should change.
# 5. *Repeat* it with several seeds, and report the spread.
#
# `se-numpy excitations runs/RUN` does all four for your own network and writes a page with the
# results.
#
# ## On your own
#
# - *Quick.* Set all of the photo network's gates to their means for the boat, `small[None]`. The
#   gates of `name, block in photo_network.blocks.items()` are then `means(block)[:1]`, of shape
#   $(1, C)$, under `name`. Is it still a ship?
# - *Core.* Is there one channel in stage 1 that matters most? Set the gates one channel at a time
#   to their mean, and compare with how far each varies. (In a browser take fewer pictures, say 60:
#   all of them, in 16 channels and three networks, take many minutes there.)
# - *Open.* Train `resnet20` and `se_resnet20` on CIFAR for as long as you can afford. Which
#   result would convince you that SE's gates *react usefully* there, and are not merely a better
#   scaling?
#
# **Answers.** *Quick:* yes. *Core:* with each seed most channels cost nothing alone, and a few cost
# up to a fifth of the answers. How far a gate varies says little about that: with seed 1 the most
# costly channel varies less than most. *Open:* SE should beat the same network with its gates at
# their means, trained further with constant gates, over several seeds and with an interval that
# does not contain zero.
#
# Next: [12. Move it to a GPU](12_gpu.ipynb).
