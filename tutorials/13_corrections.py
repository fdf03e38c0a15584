# %% [markdown]
# # 13. Correct the notes
#
# [all tutorials](README.md) ·
# [this one as a script](13_corrections.py)
#
# **You will** judge fourteen statements about SE-Nets from shared study notes, then run the proof
# and compare with the paper.
#
# **You learn** which details are lost between a paper and its summaries, which numbers of the
# paper must not be compared, and where the paper is inconsistent.
#
# **You need** [tutorial 7](07_squeeze_excite_scale.ipynb); a CPU; 35 minutes.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
import numpy as np
import se_numpy as se
from se_numpy import models
from se_numpy.complexity import cost, rows
from se_numpy.grading.lessons import check, claim, figures
from se_numpy.grading.lessons.pictures import boat
from se_numpy.layers import BatchNorm, Conv, GlobalAveragePool, ReLU, serial
from se_numpy.models import paper
from se_numpy.models.comparison import comparison

figures.style()
LARGE = (224, 224, 3)  # an image of ImageNet

# %% [markdown]
# ## How this works
#
# The statements are in our own words. They come from five sets of notes on the paper, which were
# written with care and are mostly right; so **some statements are true**. Before each proof is a
# cell such as
#
# ```python
# mine[1] = None
# ```
#
# Put `True` or `False` there, run it, then run the proof. The score is at the end. If you only
# want to read, leave it at `None`.
#
# The paper has several versions, which differ: arXiv v1 (2017), CVPR (2018), arXiv v3, and TPAMI
# (2019), which is arXiv v4. All printed numbers below come from `se_numpy.models.paper`, each
# with its version.

# %%
mine, truth = {}, {}
WORDS = {"true": True, "t": True, "yes": True, "1": True}
WORDS |= {"false": False, "f": False, "no": False, "0": False, "none": None}


def answer_to(number):
    """Return your answer to a statement: True, False, or None if it is missing or unclear."""
    word = str(mine.get(number)).strip().lower()
    if word not in WORDS:
        print(f"Statement {number}: cannot interpret {mine[number]!r}; put True or False.")
    return WORDS.get(word)


def verdict(number, right, why):
    """Print the right answer next to yours."""
    truth[number] = right
    answer = answer_to(number)
    you = (
        ""
        if answer is None
        else f" You answer {answer}{': right.' if answer is right else ': wrong.'}"
    )
    print(f"Statement {number} is {right}.{you}\n{why}")


def printed(table, column, *names):
    """Print and return numbers as printed in the paper."""
    found = [paper.number(table, name, column) for name in names]
    numbers = ", ".join(f"{n.row}: {n.value:.{n.digits}f}" for n in found)
    print(f"Table {table}, {column} - {numbers}  [{found[0].version}; {found[0].source}]")
    return [n.value for n in found]


# %% [markdown]
# ## Part one: what the block computes
#
# ### Statement 1
#
# *The squeeze takes the largest value of each channel.*
#
# **Predict.** True or false?

# %%
mine[1] = None


# %%
def largest(U):  #                                                    (N, H, W, C) -> (N, C)
    return U.max((1, 2))


verdict(1, False, "Eq. (2) is the mean over all pixels of a channel.")
printed("11", "top-1", "max", "avg")
check("squeeze", largest)

# %% [markdown]
# Maximum pooling is in the paper, as one row of an ablation: it does a little worse. (The numbers
# are errors in percent, so less is better. *Top-1* counts an image as wrong unless the first guess
# is right, *top-5* unless one of the first five is.)
#
# ### Statement 2
#
# *$W_1$ and $W_2$ both have the shape $C/r \times C$.*
#
# **Predict.** True or false?

# %%
mine[2] = None

# %%
rng = np.random.default_rng(0)
z = rng.standard_normal((2, 8))  #                                    (N, C)
W1, W2 = rng.standard_normal((2, 8)), rng.standard_normal((2, 8))  #  (C/r, C) twice
try:
    se.excite(z, W1, W2)
except ValueError as error:
    print("ValueError:", error)
s = se.excite(z, W1, W2.T)  #                                         (N, C)
print("with W2 of shape (C, C/r): s", s.shape)
verdict(2, False, "W1 reduces to C/r, W2 (C x C/r) expands again, so that there are C gates.")

# %% [markdown]
# ### Statement 3
#
# *There is a reason against a softmax: it should be possible to emphasise several channels at
# once.*
#
# **Predict.** True or false?

# %%
mine[3] = None

# %%
a2 = np.full((1, 16), -4.0)  #                                        (N, C)
a2[0, :8] = 4.0  # eight channels are emphasised
by_sigmoid, by_softmax = se.sigmoid(a2), se.softmax(a2)  #            (N, C)

figure, axes = figures.panels(1, 2, 1.9, sharey=True)
for axis, gates, title in zip(axes, (by_sigmoid, by_softmax), ("sigmoid", "softmax"), strict=True):
    axis.bar(range(16), gates[0], color=figures.BLUE)
    axis.set(title=f"{title}: the gates add up to {gates.sum():.1f}", xlabel="channel", ylim=(0, 1))
    axis.set_xticks(range(0, 16, 3))
axes[0].set_ylabel("gate")
figures.show(
    alt="Two bar charts of sixteen gates: with a sigmoid eight are open, with a softmax the same "
    "eight are low."
)

claim("Eight are emphasised: with a sigmoid each gate is 0.98, with a softmax 0.12.",
      by_sigmoid.max(), by_softmax.max())  # fmt: skip
verdict(3, True, "Section 3.2 requires it: not mutually exclusive, rather than one-hot.")

# %% [markdown]
# ### Statement 4
#
# *The gates are multiplied with the block's input $X$, each by a scalar product.*
#
# **Predict.** True or false? Note which array and which product.

# %%
mine[4] = None

# %%
X = boat()[None] / 255  #                                             (1, H, W, C')
V = rng.standard_normal((3, 3, 3, 8))  #                              (k, k, C', C)
U = se.conv2d(X, V, padding=1)  #                                     (1, H, W, C)
s = rng.random((1, 8))  #                                             (1, C)
try:
    se.scale(X, s)
except ValueError as error:
    print("ValueError:", error)
print("scale(U, s)", se.scale(U, s).shape, "- a scalar product would leave", s.shape)
verdict(4, False, "Eq. (4): x_c = s_c u_c, a map times one number; U is what F_tr made of X.")

# %% [markdown]
# One note also writes $F_{ex}(u_c, s_c)$ for this step. In the paper $F_{ex}$ is the excitation,
# Equation (3); this is $F_{scale}$.
#
# ### Statement 5
#
# *Without SE a network gives all channels the same weight when it adds them up.*
#
# **Predict.** True or false?

# %%
mine[5] = None

# %%
pictures = np.concatenate([X, 1 - X])  #                              (2, H, W, C') boat, negative
U = se.conv2d(pictures, V, padding=1)  #                              (2, H, W, C)
weights = np.linalg.norm(V[..., 0], axis=(0, 1))  #                   (C',) of the first filter
W1, W2 = rng.standard_normal((4, 8)), rng.standard_normal((8, 4))  #  (C/r, C), (C, C/r)
gates = se.excite(se.squeeze(U), W1, W2)  #                           (2, C)
print("the first filter weighs red, green, blue by", weights.round(2), "in any picture")
print("the first three gates: boat", gates[0, :3].round(2), " its negative", gates[1, :3].round(2))
verdict(
    5, False, "Filters weigh channels, v_c^s for each s; but by the same weights for every image."
)

# %% [markdown]
# A convolution does have weights; it lacks weights **that depend on the image**, and on all of
# it: section 3 of the paper calls its channel relations implicit and local. That is the true half
# of the statement.

# %% [markdown]
# ## Part two: where it is placed
#
# ### Statement 6
#
# *In a ResNet the block follows the whole residual unit and gates its output.*
#
# **Predict.** True or false?

# %%
mine[6] = None

# %%
for row in rows(models.build("se_resnet8"), (32, 32, 3)):
    if row.name.startswith("stage1"):
        print(f"{row.name.removeprefix('stage1.block1.'):24} {row.kind}")

# %% [markdown]
# The block is at the end of the *branch*, before the sum. What difference does that make? Set all
# gates to one tenth, and see what happens to the boat.

# %%
picture = X[0]  #                                                     (H, W, 3) through the shortcut
edges = np.zeros((3, 3, 3, 3))  #                                     (k, k, C', C)
edges[1, 0], edges[1, 2] = -np.eye(3), np.eye(3)  # in each colour: right minus left
F = se.conv2d(X, edges, padding=1)[0]  #                              (H, W, 3) the branch

figure, axes = figures.panels(1, 4, 1.6)
for axis, image, title in (
    (axes[0], picture, "X, the shortcut"),
    (axes[1], F / 2 + 0.5, "F(X), the branch"),
    (axes[2], picture + 0.1 * F, "before: X + s · F(X)"),
    (axes[3], 0.1 * (picture + F), "after: s · (X + F(X))"),
):
    figures.picture(axis, image.clip(0, 1), title)
figures.show(
    alt="The boat, its edges, the boat with its edges at a tenth, and a nearly black boat when the "
    "sum is gated."
)
printed("14", "top-1", "standard", "post")
verdict(6, False, "Squeeze and excitation act before the sum; after it is a variant, SE-POST.")

# %% [markdown]
# After the sum, the gates also scale the shortcut, so the identity on which residual networks are
# built is lost. The paper found that position worse. In an Inception network, on the other hand,
# $F_{tr}$ **is** the whole module, and the block follows its concatenation.
#
# ### Statement 7
#
# *Exactly three other positions were tried: before the unit, after the sum, and on the shortcut.*
#
# **Predict.** True or false?

# %%
mine[7] = None

# %%
others = [place for place in models.PLACEMENTS if place != "standard"]
print("tried:", ", ".join(others))
printed("14", "top-1", *paper.table("14").rows)
printed("15", "top-1", *paper.table("15").rows)
verdict(7, False, "These three are in Table 14; a fourth, inside the unit, is in Table 15.")

# %% [markdown]
# ### Statement 8
#
# *Right after the 3 × 3 convolution the block does about as well, with far fewer parameters.*
#
# **Predict.** True or false?

# %%
mine[8] = None

# %%
plain = cost(models.build("resnet50"), LARGE).parameters
added = {place: cost(models.build("se_resnet50", placement=place), LARGE).parameters - plain
         for place in ("standard", "3x3")}  # fmt: skip
claim("At the end of the branch 2,514,944 numbers, after the middle convolution 157,184.",
      added["standard"], added["3x3"])  # fmt: skip
claim("That is 16 times fewer.", added["standard"] / added["3x3"])
whole = plain + added["standard"]
claim("Of the whole network that is 8.4 %.", (added["standard"] - added["3x3"]) / whole)
end, inside = printed("15", "top-1", "standard", "3x3")
printed("15", "top-5", "standard", "3x3")
(baseline,) = printed("10", "top-1", "original")
claim("By top-1 it is 0.20 points worse: 20 % of what the block gains.", 1,
      inside - end, (inside - end) / (baseline - end))  # fmt: skip
verdict(
    8, True, "So says the paper: comparable accuracy with fewer parameters. By top-5 it is as good."
)

# %% [markdown]
# "About as well" is a judgement, and the paper's own. With one run per network and a fifth of the
# gain lost in one of two measures, "a little worse by top-1" would be as fair.
#
# ## Part three: what it costs
#
# ### Statement 9
#
# *With SE, ResNet-50 comes close to ResNet-101 at half the computation.*
#
# **Predict.** True or false?

# %%
mine[9] = None

# %%
printed("2", "SE top-1", "ResNet-50")
printed("2", "top-1", "ResNet-101")
small = cost(models.build("se_resnet50"), LARGE).multiply_adds()
large = cost(models.build("resnet101"), LARGE).multiply_adds()
claim("Counted here: 3.86e9 multiply-adds against 7.57e9, or 51 %.", small, large, small / large)
verdict(9, True, "The paper says so, and counting agrees.")

# %% [markdown]
# ### Statement 10
#
# *Most of the added parameters are in the last stage, where they can be left out.*
#
# **Predict.** True or false?

# %%
mine[10] = None

# %%
STAGES = [(3, 256), (4, 512), (6, 1024), (3, 2048)]  # blocks and channels: the paper's Table 1
by_stage = [se.added_parameters([stage], 16) for stage in STAGES]
claim(
    "The last of the stages has 62.5 % of 2,514,944.", by_stage[-1] / sum(by_stage), sum(by_stage)
)
claim("The network grows by 9.8 % with that stage's blocks, by 3.7 % without them.",
      sum(by_stage) / plain, sum(by_stage[:-1]) / plain)  # fmt: skip
verdict(
    10,
    True,
    "Eq. (5) grows with the square of the channels. Without these blocks, says the paper,\n"
    "the error grows by less than 0.1 %: top-1 in the CVPR version, top-5 in v3 and TPAMI.",
)

# %% [markdown]
# ### Statement 11
#
# *$r = 16$ is a good value; a larger $r$ gives more capacity, which does not help further.*
#
# **Predict.** True or false?

# %%
mine[11] = None

# %%
ratios = 2, 4, 8, 16, 32
ours = [cost(models.build("se_resnet50", reduction=r), LARGE).parameters / 1e6 for r in ratios]
errors = printed("10", "top-1", *map(str, ratios), "original")

figure, axes = figures.panels(1, 2, 2.4)
axes[0].plot(range(5), ours, "o-")
axes[0].axhline(plain / 1e6, color=figures.GREY, lw=1, ls="--")
axes[0].annotate("ResNet-50", (4, plain / 1e6), (4, plain / 1e6 - 1.8), ha="right", fontsize=9)
axes[0].set(title="parameters, in millions, counted", xlabel="r", ylim=(22, 48))
axes[1].plot(range(5), errors[:5], "o-", color=figures.ORANGE)
axes[1].axhline(errors[5], color=figures.GREY, lw=1, ls="--")
axes[1].annotate("ResNet-50", (4, errors[5]), (4, errors[5] - 0.12), ha="right", fontsize=9)
axes[1].set(title="top-1 error in percent, from the paper", xlabel="r")
for axis in axes:
    axis.set_xticks(range(5), ratios)
figures.show(
    alt="Parameters fall with r towards those of ResNet-50; the paper's error is flat from two to "
    "sixteen and rises at thirty-two, always below that of ResNet-50."
)
verdict(11, False, "A larger r means fewer hidden units. It is a smaller r that does not help.")

# %% [markdown]
# The first half is the paper's judgement: it calls 16 a good balance between accuracy and
# complexity. In the second half the notes exchanged the direction: it is **below** 16 that capacity
# grows, and the error stays the same. That is what was measured. Why, is a supposition, and the
# versions differ: v3 says that the block may overfit the channel dependencies; TPAMI left that out
# and calls the block robust to a range of ratios.
#
# ### Statement 12
#
# *tanh and ReLU in place of the sigmoid both increase the error.*
#
# **Predict.** True or false? And is one of them worse than no block at all?

# %%
mine[12] = None

# %%
with_gates = printed("12", "top-1", "sigmoid", "tanh", "relu")
(without,) = printed("10", "top-1", "original")
worse = sum(error > without for error in with_gates)
claim("Worse than the network without any block: 1 of 3.", worse, len(with_gates))
gates = np.array([-3.0, 0.0, 3.0])
print("gates for -3, 0, 3: sigmoid", se.sigmoid(gates).round(2), " ReLU", se.relu(gates))
verdict(12, True, "But ReLU is worse than no SE at all, and tanh is still better than that.")

# %% [markdown]
# ## Part four: what the gates do
#
# ### Statement 13
#
# *Only early layers gain much from the block.*
#
# **Predict.** True or false?

# %%
mine[13] = None

# %%
names = "stage 2", "stage 3", "stage 4", "all"
with_blocks = printed("13", "top-1", *names)
gains = np.array([without - error for error in with_blocks])
blocks = np.array([*(count for count, _ in STAGES[:3]), sum(count for count, _ in STAGES)])

figure, axes = figures.panels(1, 2, 2.0, sharey=True)
rows_of = [f"{name}: {count} blocks" for name, count in zip(names, blocks, strict=True)]
for axis, values, title in (
    (axes[0], gains, "gain in top-1, in points"),
    (axes[1], gains / blocks, "the same, per block"),
):
    bars = axis.barh(rows_of, values, color=figures.BLUE)
    axis.bar_label(bars, fmt="%.2f", padding=4, fontsize=9)
    axis.set(title=title, xlim=(0, 1.25 * values.max()))
axes[0].invert_yaxis()
figures.show(
    alt="Gain in top-1 for SE blocks in stage two, three, four or all. In total stage four gains "
    "most of the single stages; per block it and stage two gain most."
)
per_block = gains / blocks
claim("Per block stage 2 gains 0.09 points, stage 3 0.07, stage 4 0.10.", 2, per_block[0],
      3, per_block[1], 4, per_block[2])  # fmt: skip
verdict(
    13, False, "Of the stages that were tried alone, stage 4 gains most, and no less per block."
)

# %% [markdown]
# Stage 4 has twice the blocks of stage 2, so its gain alone does not say that later blocks are
# better: per block the two differ by little more than a hundredth of a point. A difference of a
# tenth between two runs would be enough for that. What is refuted is "only early".
#
# The paper reports no row for stage 5 alone. The note may have meant that in the **last blocks**
# of stage 5 the gates hardly depend on the image. That is a different statement, the next one.
#
# ### Statement 14
#
# *In the last block the gates are constant: it scales everything by one number.*
#
# **Predict.** True or false?

# %%
mine[14] = None

# %%
shortcut, U = rng.random((2, 5, 7, 7, 12))  #                         (N, H, W, C) each
s = se.sigmoid(rng.standard_normal(12))  #                            (C,) one profile for all
m, v, gamma, beta = rng.random((4, 12)) + 0.5  #                      (C,) each
A = rng.standard_normal((10, 12))  #                                  (classes, C) the classifier


def logits(gates, gamma, beta, A):  #       (C,), (C,), (C,), (classes, C) -> (N, classes)
    """Batch norm, gates, the sum with the shortcut, ReLU, mean and classifier of a network."""
    branch = se.scale(se.normalize(U, m, v, gamma, beta), np.tile(gates, (5, 1)))
    return se.squeeze(se.relu(shortcut + branch)) @ A.T


ones, truly = np.ones(12), logits(s, gamma, beta, A)  #               (C,), (N, classes)
before = abs(logits(ones, s * gamma, s * beta, A) - truly).max()
claim("Constant gates can be folded into the batch norm before the block, to less than 1e-12.",
      before)  # fmt: skip
behind = abs(logits(ones, gamma, beta, A * s) - truly).max()
claim("They cannot be folded into the classifier: there the error is more than 0.1.",
      behind)  # fmt: skip
flat = abs(logits(ones * s.mean(), gamma, beta, A) - truly).max()
claim("One number for all channels is not the same: the error is more than 0.1.", flat)
verdict(14, False, "The profile over channels is the same for all classes. It is not flat.")

# %% [markdown]
# The paper says of this block (SE_5_3: stage 5, third block) that its gates are similar for all
# classes, up to a modest change in scale, which the classifier could make. That is not quite
# possible: between the gates and the classifier are the sum with $X$ and a ReLU. But the batch
# norm before the block can absorb constant gates into its $\gamma$ and $\beta$, as the cell
# shows. So the block is dispensable. Of the previous block, SE_5_2, the paper says that most
# gates are close to one. All this holds only for gates that do **not depend on the image**. Other
# gates cannot be folded into weights, unlike batch norm. [Tutorial 11](11_read_the_gates.ipynb)
# looks at the gates of trained networks.

# %% [markdown]
# ## Your score

# %%
answers = {n: answer_to(n) for n in truth}
given = {n: answer for n, answer in answers.items() if answer is not None}
right = [n for n, answer in given.items() if answer is truth[n]]
wrong = [n for n in given if n not in right]
if given:
    print(f"{len(right)} of {len(given)} right.", f"Look again at: {wrong}" if wrong else "")
else:
    print("Not attempted yet: put True or False into the cells that start with mine.")
claim("Of the 14 statements 5 are true.", len(truth), sum(truth.values()))

# %% [markdown]
# ## All ablations in one figure
#
# All of these networks are ResNet-50 and were trained in the same way.

# %%
settings = [("10", "32"), ("10", "2"), ("12", "relu"), ("12", "tanh"), ("11", "max"),
            ("13", "stage 2"), ("13", "stage 3"), ("13", "stage 4"), ("14", "post"), ("14", "pre"),
            ("14", "identity"), ("15", "3x3"), ("16", "NoSqueeze")]  # fmt: skip
label = {"10": "r = {}", "11": "squeeze: {}", "12": "gate: {}", "13": "only {}",
         "14": "place: {}", "15": "place: {}", "16": "{}"}  # fmt: skip
found = sorted((paper.number(t, row, "top-1").value, label[t].format(row)) for t, row in settings)
figure, (axes,) = figures.panels(1, 1, 3.6)
axes.plot([error for error, _ in found], range(len(found)), "o", ms=6)
axes.set_yticks(range(len(found)), [name for _, name in found])
standard = paper.number("10", "16", "top-1").value
for at, name, colour in ((standard, "as in Eqs. (2) to (4), r = 16", figures.GREEN),
                         (without, "no SE", figures.ORANGE)):  # fmt: skip
    axes.axvline(at, color=colour, lw=1.5)
    axes.text(at + 0.01, len(found) - 0.3, name, color=colour, fontsize=9)
axes.set(xlabel="top-1 error on ImageNet in percent, as printed", ylim=(-0.7, len(found) + 0.5))
axes.grid(axis="y")
figures.show(
    alt="Errors of thirteen variants, and lines for standard SE and no SE. Ten are between them; "
    "placed before the unit or on the shortcut SE is as good; ReLU gates are worse than no SE."
)

# %% [markdown]
# The paper prints no spread between runs, so differences of a few hundredths say little.

# %% [markdown]
# ## A common mistake: numbers from two tables
#
# How much does SE improve ResNet-50? Suppose you take the error with SE from one table and the
# one without from another.
#
# **Predict.** What is the result?

# %%
table_2 = paper.table("2").rows["ResNet-50"]
table_10 = paper.table("10").rows
first_base, with_se = table_2["top-1"].value, table_2["SE top-1"].value
base, last_with_se = table_10["original"]["top-1"].value, table_10["16"]["top-1"].value

# %%
claim("With SE from one table 23.29, without from the other 23.30: a gain of 0.01?",
      with_se, base, base - with_se)  # fmt: skip
claim("Within Table 2: 24.80 becomes 23.29, a gain of 1.51.",
      2, first_base, with_se, first_base - with_se)  # fmt: skip
claim("Within Table 10: 23.30 becomes 22.28, a gain of 1.02.",
      10, base, last_with_se, base - last_with_se)  # fmt: skip

# %% [markdown]
# Both tables are right. The networks of Table 10 and later were trained longer, and in TPAMI with
# label smoothing; the first version of the paper had other numbers there. **Compare within a
# table, and name the version.**

# %% [markdown]
# ## Inconsistencies in the paper
#
# Not every mistake is in the notes.
#
# **Counts.** This library counts every network of the paper and compares the results with the
# printed numbers.

# %%
compared = comparison()
plainly = [one for one in compared if one.rule == "plain"]
never = [one for one in compared if not one.reproduced]
claim("Of 62 printed counts 38 follow the plain rule; for 4 no rule was found.",
      len(compared), len(plainly), len(never))  # fmt: skip
for one in compared:
    if one.printed.table == "10":
        n = one.printed
        print(f"Table 10, r = {n.row:8} printed {n.value:.1f} million, counted {one.plain:.2f}"
              f"{'' if one.rule == 'plain' else f': {one.ours:.2f} with {one.rule}'}")  # fmt: skip

# %% [markdown]
# The plain rule: learned numbers, and multiply-adds of convolutions and fully connected layers.
# For the rest another rule may have been used; this is only a possible explanation. (The paper's
# FLOPs are multiply-adds, not separate additions and multiplications.)
#
# **Biases.** Equation (3) has none. The networks that the authors released have some. TPAMI says
# in section 6 that leaving them out helps, on ResNets. So the authors used both, and none of the
# five notes mentions it.

# %%
for bias in (False, True):
    count = cost(models.build("se_resnet50", bias=bias), LARGE).parameters
    print(f"SE-ResNet-50 {'with' if bias else 'without'} biases: {count:,} parameters")
released = int(paper.number("counts", "SE-ResNet-50", "parameters").value)
claim("The released network has 28,088,024.", released)
assert released == count

# %% [markdown]
# **Versions.** Apart from the last stage (statement 10): v3 says of SE_5_2 that the gates that
# are not near one are near zero; TPAMI dropped the zeros. The detection results on COCO were
# recomputed for TPAMI with a longer schedule, and the gains are larger.
#
# ## Small slips
#
# There is nothing to compute here, but these are worth knowing when you read or write notes.
#
# | notes | paper |
# |---|---|
# | the activations of five classes were compared | four classes, and the mean over all thousand |
# | the learned filters are called $U$ | filters are $V$, their output maps are $U$ |
# | a link to arXiv `1911.09070` | that is EfficientDet; SE-Nets are `1709.01507` |
# | the excitation is a couple of networks | one small network of two layers |
# | pooling is part of what is learned | Equation (2) has no parameters |
# | the block has four functions, $F_{tr}$ among them | $F_{tr}$ is given; the block is three |
# | gates are general early on, specific later | so up to SE_5_1; then they saturate or agree |
#
# ## On your own
#
# - *Quick.* Take a blog post about SE-Nets, or the answer of a language model. Which of the
#   fourteen statements does it get wrong?
# - *Core.* Pick a network of the four counts that no rule gives (`never`), and look for the rule.
#   `se-numpy summary shufflenet` shows what is counted.
# - *Open.* Which of the paper's ablations would you repeat first, on what data, with how many
#   seeds? `se-numpy ablate` repeats them on small images; what can it not show about ImageNet?
#
# **Answers.** *Quick:* statements 1, 2, 6 and 14 are good candidates; check each with the cell
# here. *Core:* no answer is known to us: the rules that `se-numpy complexity` tries do not give
# them. *Open:* small images show which parts a network can do without on small images. They cannot
# show the size of effects on ImageNet, nor anything about fifty layers.
#
# Next: [14. From the book to the engine](14_from_the_book_to_the_engine.ipynb).
