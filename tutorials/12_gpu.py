# %% [markdown]
# # 12. Move it to a GPU
#
# [all tutorials](README.md) · [this one as a script](12_gpu.py)
#
# **You will** run familiar code on the available processor, and on a double of CuPy that counts
# what a GPU would do and refuses what CuPy refuses.
#
# **You learn** why the library's equations have one code path for NumPy and CuPy, what a launch
# is and why fewer are better, why a training step never calls `float(loss)`, and which
# differences remain.
#
# **You need** [tutorial 3](03_gradients_through_convolution.ipynb), and `Learner` and momentum
# from [tutorial 10](10_train.ipynb); 30 minutes. **No GPU** is needed: without one, the cells run
# on the CPU and print what would be different. This tutorial does not measure the speed of a GPU.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
import copy
import inspect
import re
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from unittest.mock import patch

import numpy as np
import se_numpy as se
from se_numpy import cupy_double as double
from se_numpy import models, tree
from se_numpy.data import builtin
from se_numpy.data.batches import Images, Normalisation, draw
from se_numpy.engine import cuda
from se_numpy.engine.affine_maps import AffineMaps
from se_numpy.engine.parallel import parallel_for
from se_numpy.engine.windows import unfold
from se_numpy.grading.lessons import check, claim, exercise, figures, hint, solution
from se_numpy.layers import init
from se_numpy.optim import SGD
from se_numpy.train import Learner
from se_numpy.train.config import choose_device

figures.style()

# %% [markdown]
# ## Choose a processor
#
# CuPy is NumPy for a GPU: the same names and shapes, in the GPU's memory. The library checks
# whether CuPy is installed and whether a small product runs on a GPU; if not, it prints the
# reason.

# %%
device, why = choose_device("auto")
print(f"This tutorial runs on the {device} ({why}).")

# %% [markdown]
# In Colab: *Runtime*, *Change runtime type*, choose a GPU, *Save*; then run all cells again. If
# the line above still says that CuPy is not installed, run `!pip install "cupy-cuda12x[ctk]"` in
# a separate cell. On your own machine: `pip install -e ".[plot,cuda12]"`, or `cuda13`, depending
# on the driver.

# %% [markdown]
# ## The array determines the module
#
# Functions of this library have no device argument. The arrays determine the module:
# `se.array_module` returns `numpy` or `cupy`, and the function calls that module.
#
# **Predict.** Which module does it return for a number and `None`, and what happens with a list?


# %%
def standardise(x):  #                                                (N, H, W, C) -> (N, H, W, C)
    xp = se.array_module(x)
    return (x - x.mean((0, 1, 2))) / xp.sqrt(x.var((0, 1, 2)) + 1e-5)


rng = np.random.default_rng(0)
x_host = rng.standard_normal((4, 8, 8, 3)).astype(np.float32)  #      (N, H, W, C)
print("an array:", se.array_module(x_host).__name__)
print("a number and None, which fit either module:", se.array_module(3.0, None).__name__)
try:
    se.array_module([1, 2, 3])
except TypeError as error:
    print("a list:", error)

x = se.to_device(x_host, device)  #                                   on the GPU, or unchanged
y = se.to_host(standardise(x))  #                                     always a NumPy array

# %%
claim("The spread is 1.000 afterwards, wherever it was computed.", y.std())

# %% [markdown]
# This needs no import: a CuPy array can exist only if CuPy has been imported, so it is enough to
# check that. How much of the library's code depends on the two kinds of arrays?

# %%
package = Path(se.__file__).parent
texts = [path.read_text(encoding="utf-8") for path in package.rglob("*.py")]
importing = [text for text in texts if re.search(r"^\s*import cupy", text, re.M)]
heart = re.findall(r"\bnp\b|\bcupy\b", (package / "se.py").read_text(encoding="utf-8"))
claim("CuPy is imported in 1 file; the block's equations name either module 0 times.",
      len(importing), len(heart))  # fmt: skip
print(inspect.getsource(se.squeeze))

# %% [markdown]
# The line with `mean` runs on either processor, and so does every other equation of the library.
# Yours also run on a GPU without a change if they use `xp`.

# %% [markdown]
# ## Two memories
#
# A GPU computes on its own memory. The CPU's side is called the *host*, the GPU's the *device*,
# and an array is on one of them.

# %%
from matplotlib.patches import FancyBboxPatch

figure, (axes,) = figures.panels(1, 1, 2.3)
on_the_host = "numpy.ndarray\n\nrandom numbers, files,\nPython itself"
on_the_device = "cupy.ndarray\n\nimages, parameters,\ngradients, maps"
for left, title, lines, colour in (
    (0, "host: the CPU and its memory", on_the_host, figures.BLUE),
    (6.4, "device: the GPU and its memory", on_the_device, figures.ORANGE),
):
    style = {"boxstyle": "round,pad=0.05", "fc": colour, "alpha": 0.14, "ec": "none"}
    axes.add_patch(FancyBboxPatch((left, 0), 3.6, 2.2, **style))
    axes.text(left + 1.8, 2.5, title, ha="center", fontsize=10, color=colour)
    axes.text(left + 1.8, 1.1, lines, ha="center", va="center", fontsize=10)
for start, end, height, name in (
    (3.75, 6.25, 1.9, "se.to_device"),
    (6.25, 3.75, 1.2, "se.to_host: waits"),
    (3.75, 6.25, 0.5, "launches"),
):
    arrow = {"arrowstyle": "-|>", "color": figures.GREY, "lw": 1.4}
    axes.annotate("", (end, height), (start, height), arrowprops=arrow)
    axes.text(5, height + 0.1, name, ha="center", fontsize=9)
axes.set(xlim=(-0.2, 10.2), ylim=(-0.2, 2.9))
axes.axis("off")
figures.show(
    alt="Two boxes, the host and the device, with arrows between them: to_device and launches lead "
    "to the device, to_host leads back and waits."
)

# %% [markdown]
# Moved arrays stay on the device. Images are copied once, as bytes, with the border that crops
# need; the host decides how they are cropped and flipped, so that CPU and GPU see the same
# batches, and the device cuts out each batch.
#
# **Predict.** 600 images of 32 × 32 pixels and three colours, in bytes, get a border of four
# pixels on each side, and their labels are `int64`. For every epoch and image three `int64` are
# drawn, its position in the order and the two offsets of its crop, and one `bool` for the flip.
# How many bytes are copied once, and how many for each epoch?

# %%
data = builtin(train=600, test=1)
normalise = Normalisation.of(data.train_images)
images = Images(data.train_images, data.train_labels, normalise, device)
draws = draw(np.random.default_rng(0), len(images), augment=True)

once = images.padded.nbytes + images.labels.nbytes
every_epoch = sum(a.nbytes for a in (draws.order, draws.top, draws.left, draws.flip))
as_floats = 4 * data.train_images.nbytes

# %%
claim("Once 2,884,800 bytes, then 15,000 bytes per epoch; as floats, 7,372,800 per epoch.",
      once, every_epoch, as_floats)  # fmt: skip

# %% [markdown]
# ## A double of CuPy
#
# You may have no GPU, and even with one you cannot see its launches. The library has a double of
# CuPy, `se_numpy.cupy_double`, which its own tests use: it computes with NumPy, and behaves as CuPy
# does otherwise.
#
# 1. It counts **launches**: every operation that a GPU would execute.
# 2. It counts **waits**: every time that Python needs a number, which the GPU may not have
#    computed yet.
# 3. It refuses what CuPy refuses: arrays on the host among those on the device, and functions,
#    arguments and methods that CuPy does not have.
#
# `pretend(f, *args)` sends the arrays to this double, calls `f`, and returns the result with both
# counts.


# %%
def on_device(a):
    if isinstance(a, (list, tuple)):
        return type(a)(map(on_device, a))
    return double.asarray(a) if isinstance(a, np.ndarray) else a


def pretend(f, *args):
    """Return f's result for arrays on a simulated GPU, and its launches and waits."""
    given = on_device(args)
    with patch.dict(sys.modules, cupy=double.module), double.counting() as (launches, waits):
        result = f(*given)
        counts = len(launches), len(waits)
        return se.to_host(result) if isinstance(result, double.ndarray) else result, *counts


# %% [markdown]
# **Predict.** Which of these lines run on a GPU? `x` is on the device; `xp` is CuPy.

# %%
LINES = (
    "x + 1",
    "x + np.ones(3)",
    "xp.ones(3) + x",
    "np.asarray(x)",
    "xp.sum(x, where=x > 0)",
    "xp.vecdot(x, x)",
    "xp.einsum('i,i->', x, x)",
    "x.flags.writeable",
)


def tried(line):
    """Return what becomes of a line on the simulated GPU."""
    try:
        pretend(lambda x: eval(line, {"np": np, "xp": double.module, "x": x}), np.arange(3.0))
    except (AttributeError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "runs"


for line in LINES:
    print(f"{line:26} {shorten(tried(line), 70, placeholder=' ...')}")

# %%
claim("3 of 8 run.", sum(tried(line) == "runs" for line in LINES), len(LINES))

# %% [markdown]
# ## Launches
#
# For every computation the host *launches* a kernel: a small program that the GPU runs for every
# entry of an array at once. A launch has a fixed cost, however small the computation; on small
# arrays it dominates, as [CuPy's
# guide](https://docs.cupy.dev/en/stable/user_guide/performance.html) shows. So on small arrays
# the number of launches matters more than the number of multiplications.
#
# Here is Equation (3), written directly: $s = \sigma(W_2 \, \delta(W_1 z))$.
#
# **Predict.** How many launches? Count operation signs.


# %%
def excite(z, W1, W2):  #                                             (N, C) -> (N, C)
    xp = se.array_module(z)
    h = xp.maximum(z @ W1.T, 0)  #                                    (N, C/r)
    return 1 / (1 + xp.exp(-(h @ W2.T)))  #                           (N, C)


z, W1, W2 = rng.standard_normal((8, 32)), rng.standard_normal((4, 32)), rng.standard_normal((32, 4))
s, *counted = pretend(excite, z, W1, W2)  # launches, waits

# %%
claim("7 launches and 0 waits.", *counted)
claim("It agrees with the library to less than 1e-12.", abs(s - se.excite(z, W1, W2)).max())

# %% [markdown]
# Two products, the ReLU, and four for the sigmoid: minus, exp, plus, divide. But **one** launch
# can compute a whole formula for each entry. CuPy compiles such a kernel from a line of C.
#
# The equations of this library, `se_numpy/ops` and `se_numpy/se.py`, contain no C: they are
# written once, for readability, and run on NumPy and CuPy. `se_numpy.engine` computes the same,
# but faster. Its kernels are in a table. Each row has the arguments, the result, the C code for
# one entry, and the name of the equivalent Python function:

# %%
row = cuda.TABLE["sigmoid"]
print(f"{row.inputs} -> {row.outputs}: {row.operation}")
print(f"equals {row.equals}:\n\n{inspect.getsource(se.sigmoid)}")

_, launches, _ = pretend(se.sigmoid, z)
claim("The equation takes 8 launches; the kernel is one.", launches)

# %% [markdown]
# `T` stands for the arrays' type. (The equation takes more launches than our four, because it
# avoids overflow: it computes $e^{-|x|}$.) This is how to write your own kernel:


# %%
def scaled_relu(x, a, b):  #                      (N, H, W, C), (C,), (C,) -> (N, H, W, C)
    """y = δ(a x + b)."""
    return se.array_module(x).maximum(a * x + b, 0)


def scaled_relu_in_one(x, a, b):
    """Return the same as scaled_relu, in one launch on a GPU."""
    xp = se.array_module(x)
    if not cuda.has_kernels(xp, x, a, b):  # on a CPU, or for several types of numbers
        return scaled_relu(x, a, b)
    code = "T v = a * x + b; y = v < 0 ? (T)0 : v"
    return xp.ElementwiseKernel("T x, T a, T b", "T y", code, "scaled_relu")(x, a, b)


a, b = rng.standard_normal((2, 3)).astype(np.float32)  #              (C,) each
_, launches, _ = pretend(scaled_relu, x_host, a, b)
claim("The equation takes 3 launches; the kernel is one.", launches)

a, b = se.to_device(a, device), se.to_device(b, device)
gap = se.to_host(abs(scaled_relu_in_one(x, a, b) - scaled_relu(x, a, b)).max())
claim("The two forms differ by less than 1e-6.", gap)
if device == "cpu":
    print("(As expected: on a CPU both are the equation.)")

# %% [markdown]
# The two forms could diverge. So the library's tests compare every kernel of the table with its
# function: on a GPU if there is one, and otherwise with the C code compiled for the CPU, if a C++
# compiler is available.

# %% [markdown]
# ## One vector for all parameters
#
# SGD with momentum does the same to every number of a network: add the gradient and a little of
# the weight to the velocity, and subtract a part of the velocity from the weight. But a network's
# numbers are in many arrays.
#
# **Predict.** SE-ResNet-20 has 280,538 numbers. In how many arrays are they? How many launches
# does one update take, array by array?

# %%
net = models.build("se_resnet20")
params, _ = init(net, (32, 32, 3), np.random.default_rng(0))
arrays = [leaf for _, leaf in tree.leaves(params)]


def update(weights, gradients, velocities):
    for w, g, v in zip(weights, gradients, velocities, strict=True):
        SGD(momentum=0.9, weight_decay=5e-4).step(w, g, v, lr=0.1)


_, one_by_one, _ = pretend(update, arrays, arrays, arrays)
flat = tree.flatten(params)  #                                        (P,)
_, at_once, _ = pretend(update, [flat], [flat], [flat])

# %%
claim("280,538 numbers in 83 arrays; an update takes 664 launches array by array, 8 at once.",
      flat.size, len(arrays), one_by_one, at_once)  # fmt: skip

figure, (axes,) = figures.panels(1, 1, 1.7)
names = "array by array", "one flat vector", "one flat vector, one kernel"
bars = axes.barh(names, [one_by_one, at_once, 1], color=figures.BLUE)
axes.bar_label(bars, padding=4, fontsize=9)
axes.invert_yaxis()
axes.set(xlabel="launches for one update of SE-ResNet-20", xlim=(0, 750))
axes.set_title("one launch updates all numbers")
figures.show(
    alt="Three bars of launches for one update: long array by array, short for one flat vector, a "
    "single one for one kernel."
)

# %% [markdown]
# So all parameters are in **one** vector, and each layer's arrays are views into it. No copies
# are needed: the layer sees every change that the optimiser makes to the vector.

# %%
views = tree.unflatten(flat, params)
filters = views["conv"]["V"]  #                                       (k, k, C', C)
flat[:] = 0
claim("After the vector was set to zero the largest filter entry is 0.", abs(filters).max())
assert np.shares_memory(filters, flat)

# %% [markdown]
# A CPU uses the same vector, in the same few passes.

# %% [markdown]
# ## Why a step never calls `float`
#
# A launch does not wait. The host puts the kernel into a queue and continues; the GPU works
# through the queue. As long as the host is ahead, the GPU is never idle. But `print(float(loss))`
# needs a number at the end of the queue, so the host **waits** until all of it is done; and when
# it has the number, the queue is empty, and the GPU waits for the host.
#
# The picture is drawn, not measured: a launch takes the host one unit of time, a kernel takes the
# GPU one and a half.


# %%
def timeline(kernels, wait_after):
    """Return (start, length) of the host's work, its waits, and the GPU's work."""
    host, waits, gpu, now, free = [], [], [], 0.0, 0.0
    for k in range(kernels):
        host.append((now, 1))
        now += 1
        free = max(now, free)
        gpu.append((free, 1.5))
        free += 1.5
        if wait_after and (k + 1) % wait_after == 0:
            waits.append((now, free - now))
            now = free
    return host, waits, gpu


figure, axes = figures.panels(1, 2, 2.1, sharex=True)
ends = []
cases = (0, "without float(loss)"), (4, "float(loss) after every four")
for axis, (wait_after, title) in zip(axes, cases, strict=True):
    host, waiting, gpu = timeline(12, wait_after)
    axis.broken_barh(host, (1.1, 0.7), fc=figures.BLUE, ec="white")
    axis.broken_barh(waiting, (1.1, 0.7), fc="#DDDDDD", ec="white")
    for start, length in waiting:
        axis.text(start + length / 2, 1.45, "waits", ha="center", va="center", fontsize=8)
    axis.broken_barh(gpu, (0.1, 0.7), fc=figures.ORANGE, ec="white")
    axis.set(title=title, yticks=(0.45, 1.45), yticklabels=("GPU", "host"), xlabel="time, in units")
    ends.append(gpu[-1][0] + 1.5)
figures.show(
    alt="Two timelines of host and GPU. Without float(loss) the GPU works without gaps; with it "
    "the host waits, and the GPU has gaps."
)

claim("In the drawing twelve kernels end after 19 units, and after 21 if the host waits.", *ends)

# %% [markdown]
# White gaps in the GPU's row are lost time. Which lines make the host wait?
#
# **Predict.** `float(loss)`, `if loss > 10:`, `loss.shape`, `print(loss)`, `dx[dx > 0] = 0`,
# `len(x)`: which four?

# %%
loss = np.array(2.5)
mask_me = np.ones(5)


def write_masked(dx):
    dx[dx > 0] = 0


questions = {
    "float(loss)": (float, loss),
    "if loss > 10:": (lambda v: bool(v > 10), loss),
    "loss.shape": (lambda v: v.shape, loss),
    "len(x)": (len, mask_me),
    "dx[dx > 0] = 0": (write_masked, mask_me),
}
for line, (f, value) in questions.items():
    print(f"{line:18} {'waits' if pretend(f, value)[2] else 'does not'}")

# %% [markdown]
# (`print` turns numbers into text, so it waits as well.) Shapes are known on the host. A boolean
# mask has to be counted before anything can be selected; `xp.where` or a product avoids that.
#
# To report the loss without waits, keep it on the device, add it up there, and read it **once**:


# %%
def train(w, X, y, ask_each_time):
    """Run 50 steps of gradient descent on least squares; return the mean loss."""
    total = 0.0
    for _ in range(50):
        off = X @ w - y  #                                            (N,)
        loss = (off * off).sum() / len(y)  #                          0-d, on the device
        total += float(loss) if ask_each_time else loss
        w -= 0.1 / len(y) * (X.T @ off)
    return float(total) / 50


X_lines = rng.standard_normal((40, 5))
y_lines = X_lines @ np.arange(5.0)
asked, _, waits_asked = pretend(train, np.zeros(5), X_lines, y_lines, True)
kept, _, waits_kept = pretend(train, np.zeros(5), X_lines, y_lines, False)
claim(
    "Read at every step the loss takes 50 waits, read at the end it takes 1.",
    waits_asked,
    waits_kept,
)
claim("The two losses differ by less than 1e-12.", abs(asked - kept))

# %% [markdown]
# `Learner.step` does the same: it returns the loss as an array without dimensions, on its device.
# On a GPU the trainer reads it at the end of an epoch, and when it redraws its progress bar. Does
# the rest of a step avoid waits too? Here are forward, loss, backward and SGD for SE-ResNet-20:
#
# **Predict.** How many launches, how many waits?

# %%
learner = Learner(net, data.image_shape, seed=0)
X_batch, labels = images.batch(draws, slice(0, 4))  #                (B, H, W, C), (B,)
batch = se.to_host(X_batch), se.to_host(labels)


def one_step(w, running, X, labels):
    """Run the learner's step on other parameters and running statistics."""
    other = copy.copy(learner)
    other.w, other.running = w, running  # the step runs on the device of w
    return other.step(X, labels, SGD(), lr=0.1)[0]


vectors = learner.w.copy(), learner.running.copy()
loss, launched, waited = pretend(one_step, *vectors, *batch)

# %%
claim("More than 1,000 launches, 0 waits.", launched, waited)
claim(
    "The loss computed on the CPU differs by less than 1e-4.",
    abs(loss - one_step(*vectors, *batch)),
)

# %% [markdown]
# This is a whole training step on a simulated GPU, with the NumPy form of every operation. With the
# kernels it takes a fraction of these launches: [a test](../tests/train/test_train.py) counts them,
# and fails if there are more than its limit, or if anything waits.

# %% [markdown]
# ## Remaining differences
#
# **Blocks.** A CPU is fast as long as its data fit the cache, so the engine divides work into
# blocks of a few megabytes, which the threads share. A GPU needs few launches with much work
# each, so there is one block. A function of the engine processes one block; `parallel_for`
# divides the work. The equations use no blocks.
#
# **Predict.** 128 maps of one megabyte each: how many blocks are there on a CPU?

# %%
not_numpy = ModuleType("cupy")
cuts = {
    "CPU": parallel_for(np, lambda block: block, 128, 1 << 20),
    "GPU": parallel_for(not_numpy, lambda block: block, 128, 1 << 20),
}

# %%
claim("128 maps are 16 blocks on a CPU and 1 on a GPU.", 128, len(cuts["CPU"]), len(cuts["GPU"]))

# %% [markdown]
# **Windows.** In the engine a convolution is a product of windows with filters (tutorial 2). On a
# CPU the windows are written for a few images at a time and used at once. On a GPU **all**
# windows are written in one launch, which also computes the maps that they come from. That takes
# memory temporarily:

# %%
U = np.zeros((64, 32, 32, 16), np.float32)  #                         (N, H, W, C)
pieces = unfold(AffineMaps(U), slice(0, 64), slice(0, 32), 32, (3, 3), U.dtype, before=(1, 1))
largest = max(rows.nbytes for _, rows in pieces)
all_at_once = 9 * U.nbytes
claim("Maps of 4 MiB: at most 4 MiB of windows at a time on a CPU, 36 MiB at once on a GPU.",
      U.nbytes / 2**20, largest / 2**20, all_at_once / 2**20)  # fmt: skip

# %% [markdown]
# **Memory.** CuPy does not return freed memory, but keeps it in [a
# pool](https://docs.cupy.dev/en/stable/user_guide/memory.html) for the next array of that size.
# So a step allocates freely, and tools that show a GPU's memory report more than is in use.
#
# **Sums.** A GPU adds numbers in a different order, many partial sums at once, and rounding
# depends on the order. Expect agreement to about six digits in float32, not to the last bit. You
# can see that without a GPU:

# %%
values = rng.standard_normal(100_000).astype(np.float32) + 1  #       (100000,)
in_order = np.cumsum(values)[-1]  # one after the other
in_groups = values.reshape(32, -1).sum(1).sum()  # 32 partial sums first
exact = values.sum(dtype=np.float64)
off = abs(in_order - in_groups) / exact
claim("The same numbers, summed in two orders, differ by more than 1e-8 and less than 1e-4 of the "
      "sum.", off, off)  # fmt: skip

# %% [markdown]
# **Scalars.** `x.sum()` is a number in NumPy. In CuPy it is an array without dimensions, because
# it is on the device.
#
# **Indices.** A label of 10 among ten classes stops NumPy with an error. On a GPU nothing stops: an
# index in CuPy [wraps around](https://docs.cupy.dev/en/stable/user_guide/difference.html), and a
# kernel reads memory outside its array. So labels are checked once, on the host, when the data are
# read.

# %% [markdown]
# ## A common mistake: `np.` in the middle
#
# This gradient of the squeeze, Equation (2), passes the oracle:


# %%
def share(
    dz, U
):  #                                                  (N, C), (N, H, W, C) -> (N, H, W, C)
    _, H, W, _ = U.shape
    return np.ones(U.shape) * dz[:, None, None] / (H * W)


check("squeeze_backward", share)

# %% [markdown]
# **Predict.** What happens on a GPU?

# %%
dz, U = rng.standard_normal((4, 3)), rng.standard_normal((4, 5, 6, 3))  # (N, C), (N, H, W, C)
try:
    pretend(share, dz, U)
except TypeError as error:
    print("TypeError:", error)

# %% [markdown]
# `np.ones` makes an array on the host, whatever `U` is. (A NumPy function with a CuPy argument,
# as in `np.where(x > 0, dy, 0)`, calls CuPy's version if there is one; the double is stricter and
# refuses it, because it is better not to rely on it. `np.ones` has no such argument.) The
# oracle cannot find this: it calls functions with NumPy arrays, for which the code is right. **A
# test finds only mistakes in the cases that it runs.** That is why this library's tests run the
# same code on NumPy, on this double, and on CuPy if there is a GPU.
#
# To fix it, use `xp = se.array_module(U)` and `xp.ones(U.shape, U.dtype)`, or better, avoid the
# ones. The type matters too: `np.ones` returns float64, so the result takes twice the memory that
# it should.

# %% [markdown]
# ## Exercise: `relu_backward` · easy, 10 minutes
#
# You wrote it in tutorial 3. Write it again, so that it would also run on a GPU: no arrays from
# `np`, no waits, at most two launches.
#
# $$dx = dy \cdot [x > 0]$$


# %%
@exercise
def relu_backward(dy, x):  #                                          (N, H, W, C) twice -> the same
    ...  # your line here


check("relu_backward", relu_backward)

# %% [markdown]
# The oracle checks whether it is right; `pretend` checks whether it is suitable for a GPU:

# %%
try:
    dx, launches, waits = pretend(relu_backward, *rng.standard_normal((2, 3, 4, 5, 6)))
    if dx is None:
        print("relu_backward returns nothing yet.")
    else:
        print(f"relu_backward: launches {launches} (at most 2), waits {waits} (none allowed)")
except Exception as stopped:  # for example an array on the host
    print(f"{type(stopped).__name__}: {stopped}")

# %%
# For help, uncomment a line and run the cell.
# hint("relu_backward")
# solution("relu_backward")

# %% [markdown]
# ## Train on either device
#
# Here is the same training loop for either processor. Only the argument `device` differs.
# In a browser its thirty steps take a minute or more.

# %%
small = Learner(models.build("se_resnet8"), data.image_shape, seed=0, device=device)
order = draw(np.random.default_rng(0), len(images), augment=False).to(device)
X_batch, labels = images.batch(order, slice(0, 32))  #                (B, H, W, C), (B,)
losses = [small.step(X_batch, labels, SGD(), lr=0.2)[0] for _ in range(30)]  # no waits
losses = [float(loss) for loss in losses]  # waits once
print(f"The loss on 32 images, in thirty steps on the {device}:")
claim("from above 2 to below 0.5.", losses[0], losses[-1])

# %% [markdown]
# On the command line:
#
# ```sh
# se-numpy train --device gpu        # prints what is missing if there is no GPU
# se-numpy train                     # uses a GPU if CuPy finds one, and prints its choice
# python benchmarks/gpu.py           # tests, differences and speed on your GPU, in one command
# ```
#
# In Colab, write `!` before a command. A run's `env.json` records the GPU. A run that was started
# on one processor can be resumed on the other: `--resume RUN --device cpu`.
#
# **If you measure times**, remember the queue: timing a call measures only the *launch*.
# `cupyx.profiler.benchmark` waits for the result.
#
# ## On your own
#
# - *Quick.* How many launches have `se.se_block` and `se.se_block_backward`? Which of the block's
#   three equations has the most, and why more than `excite` above?
# - *Core.* Write Equations (3) and (4) with your own kernels. Which operations cannot be done
#   entry by entry, because an entry of the result needs many entries of an argument? Look up how
#   the rows `excite_hidden` and `excite_gates` of `cuda.TABLE` do it with `raw`. How many
#   launches are left?
# - *Open.* A GPU is idle while the host decides. What would it take to have it run a whole step, or
#   a whole epoch, from one launch? What could then no longer change from step to step?
#
# **Answers.** *Quick:* `pretend(se.se_block, rng.random((8, 5, 6, 32)), W1, W2)` counts those of
# the first: `W1` and `W2` of `excite` above are for 32 channels. The excitation has the most: its
# sigmoid avoids overflow. *Core:* the two matrix products need whole rows. The table's kernels loop
# over such a row inside, with `raw` arguments: two launches for the excitation, one for the scale.
# *Open:* a graph of kernels, recorded once and replayed (CUDA graphs). Then shapes, addresses and
# the order of the kernels can no longer change; values in memory, such as the learning rate, can.
#
# Next: [13. Correct the notes](13_corrections.ipynb).
