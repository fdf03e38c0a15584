# %% [markdown]
# # 15. Train on your own pictures
#
# [all tutorials](README.md) · [this one as a script](15_your_own_pictures.py)
#
# **You will** write a folder of pictures, load it, train a network on it from scratch and from
# trained weights, look at what the network looks at, and export it to ONNX.
#
# **You learn** how image files become a data set, why fine-tuning needs so few pictures, what
# freezing stages means, and what has to be the same in training and in use.
#
# **You need** [tutorial 10](10_train.ipynb) and the gates of [tutorial
# 11](11_read_the_gates.ipynb); a CPU; 40 minutes. No download: the pictures are drawn. With a
# folder of your own, loading and training work as they are; the lines with `claim` and the cells
# that draw new shapes are about these pictures.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
import atexit
import io
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from se_numpy import data, train, tree
from se_numpy.analysis import grad_cam
from se_numpy.analysis.network import load
from se_numpy.data.images import as_array, fit
from se_numpy.grading.lessons import check, claim, exercise, figures, hint, solution
from se_numpy.grading.lessons.recorded import IN_BROWSER, computed
from se_numpy.interop.onnx_file import contract, write_onnx
from se_numpy.interop.onnx_graph import to_graph
from se_numpy.interop.torch_files import MissingLibrary

if importlib.util.find_spec("PIL") is None:
    sys.exit("Reading image files needs Pillow, which is not installed; run: pip install pillow")
from PIL import Image

figures.style()

# %% [markdown]
# ## A folder of pictures
#
# The simplest layout has one folder for each class; the folders' names are the classes. Here are
# five shapes, forty pictures of each, in random colours, sizes and places. A picture has 48 rows
# and 64 columns.

# %%
H, W = 48, 64
CLASSES = "cross", "disc", "ring", "square", "triangle"


def draw_shape(
    name, rng, centre=None
):  #                            -> (H, W, 3) uint8, (H, W) bool
    """Draw a shape; return the picture, and the pixels of the shape."""
    R = rng.uniform(10, 16)
    y0, x0 = rng.uniform(R, H - R), rng.uniform(R + 8, W - R - 8)  # inside the middle 48 columns
    y, x = np.mgrid[:H, :W] - np.reshape((y0, x0 if centre is None else centre), (2, 1, 1))
    far, near = np.maximum(abs(y), abs(x)), np.minimum(abs(y), abs(x))
    inside = {
        "cross": (near < 0.25 * R) & (far < R),
        "disc": np.hypot(y, x) < R,
        "ring": abs(np.hypot(y, x) - 0.8 * R) < 0.2 * R,
        "square": far < 0.8 * R,
        "triangle": (abs(y) < 0.9 * R) & (abs(x) < (y + 0.9 * R) / 2),
    }[name]
    colours = [rng.uniform(0, 110, 3), rng.uniform(145, 255, 3)]
    rng.shuffle(colours)
    pixels = np.where(inside[..., None], *colours) + rng.normal(0, 12, (H, W, 3))
    return pixels.clip(0, 255).astype(np.uint8), inside


home = Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, home, ignore_errors=True)  # when the kernel stops
os.environ["XDG_CACHE_HOME"] = str(home / "cache")  # decoded images are kept there, not with yours
folder = home / "shapes"
rng = np.random.default_rng(0)
for name in CLASSES:
    (folder / name).mkdir(parents=True)
    for i in range(40):
        Image.fromarray(draw_shape(name, rng)[0]).save(folder / name / f"{i:02}.png")

# Real folders are never tidy: a note, a damaged file, and a picture of another size.
(folder / "disc" / "notes.txt").write_text("taken on Monday")
(folder / "disc" / "40.png").write_bytes(b"not a picture")
Image.fromarray(draw_shape("disc", rng)[0]).resize((96, 96)).save(folder / "disc" / "41.png")

# %% [markdown]
# **Predict.** What does `data.load(folder)` say to this folder?

# %%
try:
    data.load(folder)
except data.DataError as error:
    print(str(error).replace(str(folder), "shapes"))

# %% [markdown]
# A network needs pictures of one size. With `size=32`, each is cropped at its centre to a square
# and resized; nothing is stretched.

# %%
dataset = data.load(folder, size=32)
print(dataset)
print("found:", dataset.found)
for line in dataset.unreadable:
    print("left out:", line.replace(str(folder), "shapes"))

# %%
read = len(dataset.train_labels) + len(dataset.test_labels)
claim("201 pictures can be read; 39 of them are for the test.", read, len(dataset.test_labels))

# %% [markdown]
# Read this line before you train: most mistakes in data show here, as a class too many, a number
# that is not what you expect, or files left out. And look at the pictures as the network gets them:

# %%
figure, axes = figures.panels(2, 5, 3.0)
for k, name in enumerate(dataset.classes):
    for axis, n in zip(axes[:, k], np.flatnonzero(dataset.train_labels == k), strict=False):
        figures.picture(axis, dataset.train_images[n], name)
figures.show(
    alt="Two pictures of each of the five classes, in random colours: cross, disc, ring, square "
    "and triangle."
)

# %% [markdown]
# ## From scratch
#
# `train.configure` fills in settings for a data set, and `train.train` runs them; on the command
# line that is `se-numpy train --data shapes --size 32`. The trainer holds out a tenth of the
# training pictures to choose the best epoch, and uses the test pictures once, at the end.
#
# **Predict.** There are about 145 pictures to train on, in five classes. How many of the test
# pictures does an SE-ResNet-20 get right after three epochs, if it starts from random weights?


# %%
def runs(name, seeds=(0, 1, 2), **settings):
    """Train a network with each seed and return the runs."""
    found = []
    for seed in seeds:
        config = train.configure(
            dataset, model="se_resnet20", epochs=3, batch_size=32, lr=0.1, augment="flip",
            seed=seed, out=str(home / f"{name} {seed}"), **settings,
        )  # fmt: skip
        found.append(train.train(dataset, config, io.StringIO()))
    return found


def curves(found):
    """Return the accuracies of runs: on the test set, and of each epoch on held-out pictures."""
    held_out = [[row["val_accuracy"] for row in run.history] for run in found]
    test = [run.result["test_accuracy"] for run in found]
    return {"test": np.array(test), "held-out": np.array(held_out)}  # (runs,), (runs, epochs)


from_scratch = computed(15, lambda: curves(runs("scratch")))
print("every run right on more than half:", bool((from_scratch["test"] > 0.5).all()))

# %% [markdown]
# ## Fine-tuning
#
# The folder `networks` contains an SE-ResNet-20 that was trained on the photographs of CIFAR-10. It
# has never seen these shapes, and its ten classes are others. But its filters, edges, corners and
# textures, are not only of use for airplanes and cats. `init` copies all arrays that fit. The
# classifier does not: it stays new.
#
# The first stages are the most general ones. `freeze` leaves them as they are: stage 0 is all that
# comes before stage 1.
#
# The next cell trains three networks, for some seconds each; in a browser one, for minutes.
#
# **Predict.** And now, with the same pictures and the same number of steps?

# %%
here = Path(globals().get("__file__", "here")).parent
SOURCE = here / "networks" / "se_resnet20_cifar10.npz"
SEEDS = (0,) if IN_BROWSER else (0, 1, 2)
networks = runs("fine-tuned", SEEDS, init=str(SOURCE), freeze=(0, 1))
fine_tuned = curves(networks)
print("every run right on more than half:", bool((fine_tuned["test"] > 0.5).all()))

# %%
claim("From scratch each run is right on less than 50 % of the test, fine-tuned on more than 75 %.",
      from_scratch["test"].max(), fine_tuned["test"].min())  # fmt: skip

figure, (axes,) = figures.panels(1, 1, 2.6)
for found, name, colour in (
    (from_scratch, "from scratch", figures.BLUE),
    (fine_tuned, "fine-tuned from CIFAR-10", figures.ORANGE),
):
    lines = axes.plot(range(1, 4), 100 * found["held-out"].T, "o-", color=colour)
    lines[0].set_label(name)
axes.set(xlabel="epoch", ylabel="right, of the held-out, %", xticks=(1, 2, 3), ylim=(0, 103))
axes.axhline(20, color=figures.GREY, lw=1, ls="--")
axes.text(1.1, 13.6, "by chance", fontsize=9, color=figures.GREY)
axes.legend(loc="center right")
figures.show(
    alt="Accuracy on held-out pictures over three epochs: the runs that start from trained weights "
    "rise quickly, those from scratch stay near a fifth, as by chance."
)

# %% [markdown]
# The spread is that of the seeds, and of only sixteen held-out pictures: each counts six points.
# From scratch, the network would get there too, with more epochs and more pictures. Fine-tuning
# saves both, and that is what matters with pictures of your own.
#
# What did freezing do? Compare the arrays of the source with those of the fine-tuned network.

# %%
trained = load(networks[0].folder)
before, after = dict(tree.leaves(load(SOURCE).params)), dict(tree.leaves(trained.params))
unchanged = [name for name in after if np.array_equal(before[name], after[name])]
share = sum(after[name].size for name in unchanged) / tree.size(trained.params)

# %%
claim("27 of 83 arrays are unchanged, 5.3 % of all parameters.",
      len(unchanged), len(after), share)  # fmt: skip
print("stages with unchanged arrays:", sorted({name.split(".")[0] for name in unchanged}))

# %% [markdown]
# Early stages have few parameters, so freezing them saves little memory. It protects what they have
# learned: a new classifier is random, and its first gradients are large and point anywhere. A
# gentler way is `lr_scale=0.1`: what was loaded learns, but ten times more slowly.
#
# ## What does it look at?
#
# Grad-CAM weights the network's last maps by the gradient of the answer's score, and draws where
# they are positive. If a network answers rightly for a wrong reason, such as the background, it
# shows here.
#
# **Predict.** The shapes cover about a sixth of the square. What share of Grad-CAM falls on them?

# %%
fresh = [draw_shape(name, rng) for name in CLASSES for _ in range(10)]  # never seen in training
labels = np.repeat(np.arange(5), 10)  #                               (N,)


def as_network_input(
    pictures,
):  #                                    N of (H, W, 3) -> (N, 32, 32, 3)
    return np.stack([as_array(fit(Image.fromarray(p), 32, 32)) for p in pictures])


images = as_network_input([picture for picture, _ in fresh])
explanation = grad_cam.explain(trained, images)
heat = explanation.stretched(H, H)  #                                 (N, H, H) of the square crop
inside = np.stack([mask[:, 8:56] for _, mask in fresh])  #            (N, H, H)
on_shapes = (heat * inside).sum() / heat.sum()
print("more than by chance:", bool(on_shapes > inside.mean()))

figure, axes = figures.panels(2, 5, 3.0)
for k, name in enumerate(CLASSES):
    n = 10 * k
    figures.picture(axes[0, k], images[n], name)
    figures.picture(axes[1, k], images[n], dataset.classes[explanation.classes[n]])
    axes[1, k].imshow(
        grad_cam.stretch(explanation.maps[n : n + 1], 32, 32)[0], cmap="magma", alpha=0.6
    )
figures.show(
    alt="Top: one new picture of each class. Bottom: the same with the map of Grad-CAM over it, "
    "bright around the shape, and the network's answer as the title."
)

# %%
claim("The shapes cover 16.4 % of the squares; more than 30 % of Grad-CAM falls on them.",
      inside.mean(), on_shapes)  # fmt: skip

# %% [markdown]
# A map without any relation to the picture would have as large a share on the shapes as their area.
# The last maps have eight rows and columns, so that the bright regions are coarse and reach beyond
# the shapes: inside the ring, its hole is bright too.
#
# ## A common mistake: other pictures in use than in training
#
# In training, all shapes were inside the square that the crop leaves. Now a user takes pictures
# with the shape at the left or right edge. Nothing fails; there is just less of the shape to see.
#
# **Predict.** What is better for these: to crop at the centre as before, or to add borders above
# and below, so that the square contains the whole picture?

# %%
off_centre = [
    draw_shape(name, rng, centre=(7, W - 7)[i % 2])[0] for name in CLASSES for i in range(10)
]
bordered = [np.pad(p, ((8, 8), (0, 0), (0, 0)), mode="edge") for p in off_centre]  # (W, W, 3)


def accuracies(pictures):  #                                          -> (networks,)
    """Return every fine-tuned network's share of right answers."""
    X = as_network_input(pictures)
    loaded = (load(run.folder) for run in networks)
    return np.array([(one.probabilities(X).argmax(1) == labels).mean() for one in loaded])


as_before, cropped, whole = map(accuracies, ([p for p, _ in fresh], off_centre, bordered))
print("for every network the whole picture is better:", bool((whole > cropped).all()))

# %%
claim("Of new pictures like those in training each network gets more than 80 % right;",
      as_before.min())  # fmt: skip
claim("with the shape at the edge less than 75 % if cropped, and more than 65 % with borders.",
      cropped.max(), whole.min())  # fmt: skip

# %% [markdown]
# A test set from the same folder cannot find this: it has the same habits as the training set.
# Collect test pictures as they will come in use. The library keeps the other half of the promise:
# size, crop, colours and normalisation are saved with the network, and `predict` uses the same
# ones.
#
# ## Export to ONNX
#
# ONNX is a file format for networks that other programs run: on a phone, in a web page, without
# this library. The file has to say what input it expects. This one takes bytes as they are in an
# image file, and normalises them itself; its metadata say so:

# %%
for key, value in contract(trained, "pixels", fold=True).items():
    if key not in ("mean", "std"):  # numbers of these pictures
        print(f"{key:14} {value}")

# %% [markdown]
# **Predict.** Which operators does the file contain, and why no batch normalisation?

# %%
graph = to_graph(trained.net, trained.shape, trained.params, trained.state,
                 fold=True, normalise=trained.normalise)  # fmt: skip
operators = Counter(node.op for node in graph.nodes)
for name, number in operators.most_common(8):
    print(f"{number:3} {name}")

# %%
claim("21 convolutions, 0 batch normalisations.",
      operators["Conv"], operators["BatchNormalization"])  # fmt: skip

# %% [markdown]
# Batch normalisation is folded into the filters, as in [tutorial
# 14](14_from_the_book_to_the_engine.ipynb): once the statistics are fixed, it is a factor and a
# summand for each channel. Writing the file needs the package `onnx` (`pip install onnx`); without
# it, the next cell says so in its figure and goes on.

# %%
try:
    write_onnx(home / "shapes.onnx", trained)
    status = f"shapes.onnx was written: {(home / 'shapes.onnx').stat().st_size / 1e6:.1f} MB"
except MissingLibrary:
    status = "no file was written: the package onnx is not installed"

figure, (axes,) = figures.panels(1, 1, 2.6)
names, numbers = zip(*operators.most_common(8), strict=True)
axes.bar_label(axes.barh(names, numbers, color=figures.BLUE), padding=4, fontsize=9)
axes.invert_yaxis()
axes.set(xlabel="operators in the file", title=status)
figures.show(
    alt="Bars of the number of operators in the ONNX file by kind; ReLU, 28, and Conv, 21, lead."
)

# %% [markdown]
# On the command line, all of this tutorial is:
#
# ```sh
# se-numpy data verify shapes                      # unreadable files, images by class
# se-numpy train --data shapes --size 32 --model se_resnet20 --init WEIGHTS --freeze 0,1
# se-numpy predict last photo.jpg --explain        # the answer, with Grad-CAM
# se-numpy export last --onnx shapes.onnx
# ```

# %% [markdown]
# ## On your own
#
# - *Quick.* Fine-tune without `freeze`, and with `freeze=(0, 1, 2, 3)`. Which arrays can still
#   change in the second case?
# - *Core.* How many pictures are needed? Fine-tune on five, ten and twenty of each class, with
#   three seeds each, and draw the accuracy on the fifty new pictures.
# - *Open.* Replace the folder by photographs of your own, of two kinds of thing. Collect a test set
#   on another day, in another light. By how much do the two accuracies differ?
#
# **Answers.** *Quick:* with all stages frozen only the classifier learns, and the running
# statistics of batch normalisation still follow the new pictures. *Core:* the accuracy rises
# steeply at first; with few pictures the spread between seeds is as large as the gain, which is why
# one run proves nothing. *Open:* usually by more than between two networks. The day and the light
# are part of what was learned.
#
# Next: [16. Find the objects](16_find_the_objects.ipynb).
