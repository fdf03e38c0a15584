# %% [markdown]
# # 14. From the book to the engine
#
# [all tutorials](README.md) · [this one as a script](14_from_the_book_to_the_engine.py)
#
# **You will** build a fast convolution in three steps, count the bytes that each step moves, and
# compile a whole network with `engine.compile`.
#
# **You learn** why the plain network takes several times as long as PyTorch although it computes
# the same sums, and what brings the engine to about one and a half times: memory traffic, blocks,
# threads, and fusion.
#
# **You need** [tutorial 2](02_convolve.ipynb), batch normalisation from
# [tutorial 5](05_normalise.ipynb), and the SE-ResNet of
# [tutorial 9](09_assemble_and_count.ipynb); a CPU; 45 minutes. You measure ratios of times on your
# own machine; the text contains no others, because they differ from machine to machine.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
import os
import tracemalloc
from collections import Counter
from time import perf_counter
from unittest.mock import patch

import numpy as np
import se_numpy as se
from numpy.lib.stride_tricks import as_strided
from se_numpy import engine, models, tree
from se_numpy.engine.parallel import parallel_for
from se_numpy.grading.lessons import check, claim, exercise, figures, hint, solution
from se_numpy.layers import init

figures.style()

# %% [markdown]
# ## Arithmetic and memory
#
# A processor computes fast and reads memory slowly: while one number arrives from memory, a core
# can do ten multiply-adds or more. Between the two is the *cache*, a few megabytes that are as fast
# as needed, and that hold what was used last. So an operation is limited by arithmetic if it does
# much with every number, and by memory if it does little. The measure is its *arithmetic
# intensity*: multiply-adds per number moved.
#
# **Predict.** What is the intensity of a 3x3 convolution from sixteen channels to sixteen, and of
# a ReLU, if all arrays are moved once?

# %%
N, H, W, C = 64, 32, 32, 16
rng = np.random.default_rng(0)
X = rng.standard_normal((N, H, W, C)).astype(np.float32)  #           (N, H, W, C')
V = rng.standard_normal((3, 3, C, C)).astype(np.float32)  #           (k, k, C', C)
U = se.conv2d(X, V, padding=1)  #                                     (N, H, W, C)

multiply_adds = U.size * V[..., 0].size  # for each number of U one window
of_conv = multiply_adds / (X.size + V.size + U.size)
of_relu = U.size / (U.size + U.size)

# %%
claim("The convolution does more than 70 multiply-adds per number, the ReLU 0.5 comparisons.",
      of_conv, of_relu)  # fmt: skip

# %% [markdown]
# So a convolution can run at the speed of arithmetic, *if* its arrays are moved only once. A ReLU,
# a batch normalisation, a scale or a residual sum cannot: the time of such an *elementwise* pass is
# the time of its traffic. A network has many of them.
#
# To see traffic, we count it. `touch` gets every array that a NumPy call reads or writes. An array
# that fits into the cache is fast; one that does not is moved from or to memory. The limit here is
# three megabytes. (A real cache has no such sharp limit; the ratios of the counts matter.)

# %%
CACHE = 3 << 20  # bytes
traffic = Counter()


def touch(*arrays):
    """Count the bytes of arrays, or of parts of arrays, that a NumPy call reads or writes."""
    for a in arrays:
        whole = a if a.base is None else a.base
        place = "memory" if whole.nbytes > CACHE else "cache"
        traffic[place] += min(a.nbytes, whole.nbytes)  # overlapping windows are moved once


def counted(f, *args):
    """Return f's result, and the bytes moved from and to memory in units of the maps X."""
    traffic.clear()
    return f(*args), traffic["memory"] / X.nbytes


# %% [markdown]
# ## The book's convolution
#
# `se.conv2d` is Equation (1), written to be read: for each of the nine *taps* of the filters it
# multiplies one shifted image, and it adds up the nine products. Here it is, for padding one and
# stride one, with its counts.
#
# **Predict.** How often are maps of the size of $X$ moved? Each tap copies the shifted image, so
# that the product can read it, multiplies, and adds.


# %%
def by_taps(X, V):  #                             (N, H, W, C'), (3, 3, C', C) -> (N, H, W, C)
    _, H, W, _ = X.shape
    padded = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))
    touch(X, padded)
    U = np.zeros((*X.shape[:3], V.shape[3]), X.dtype)
    for a in range(3):
        for b in range(3):
            shifted = np.ascontiguousarray(padded[:, a : a + H, b : b + W])
            touch(padded[:, a : a + H, b : b + W], shifted)
            product = shifted @ V[a, b]
            touch(shifted, product)
            U += product
            touch(product, U, U)  # read twice, written once
    return U


U_taps, moved_by_taps = counted(by_taps, X, V)
print("largest difference below 1e-4:", bool(abs(U_taps - U).max() < 1e-4))

# %%
claim("It moves 65.1 times the bytes of X; reading X and writing U once would be 2.",
      moved_by_taps, (X.nbytes + U.nbytes) / X.nbytes)  # fmt: skip

# %% [markdown]
# That is thirty times the least possible. Nothing in the *equation* demands it; it is the price of
# a form that can be read.
#
# ## Step 1: one product for all taps
#
# Nine products and eight sums can be a single product. Write every window of $X$ as a row of
# $k \cdot k \cdot C'$ numbers; then each row times the filters, reshaped to a matrix, is one pixel
# of $U$. The rows are known as *im2col*. With channels last they need no loop: `as_strided`
# describes windows as a view with overlapping entries, and one copy writes them out.


# %%
def windows(padded):  #                           (N, H + 2, W + 2, C') -> (N, H, W, 3, 3, C')
    """Return a view of all 3x3 windows; it copies nothing."""
    N, H, W, C = padded.shape
    n, h, w, c = padded.strides
    return as_strided(padded, (N, H - 2, W - 2, 3, 3, C), (n, h, w, h, w, c))


def multiply(padded, V, rows, U):
    """Write the convolution of padded maps to U; rows is the memory for their windows."""
    rows[...] = windows(padded)
    touch(padded, rows)
    np.matmul(rows.reshape(-1, 9 * V.shape[2]), V.reshape(-1, V.shape[3]),
              out=U.reshape(-1, V.shape[3]))  # fmt: skip
    touch(rows, U)


def at_once(X, V):  #                             (N, H, W, C'), (3, 3, C', C) -> (N, H, W, C)
    N, H, W, C_ = X.shape
    padded = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))
    touch(X, padded)
    U = np.empty((N, H, W, V.shape[3]), X.dtype)
    multiply(padded, V, np.empty((N, H, W, 3, 3, C_), X.dtype), U)
    return U


# %% [markdown]
# **Predict.** How much traffic is left? How much memory do the windows take?

# %%
U_at_once, moved_at_once = counted(at_once, X, V)
print("largest difference below 1e-4:", bool(abs(U_at_once - U).max() < 1e-4))

# %%
enlarged = windows(np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))).size / X.size
claim("It moves 22.3 times the bytes of X, and its windows take 9 times the memory of X.",
      moved_at_once, enlarged)  # fmt: skip

# %% [markdown]
# A third of the traffic, but nearly all that is left is for the windows: written once, read once,
# and thrown away.
#
# ## Step 2: blocks of images
#
# The windows of one image do not depend on the other images. So take a few images at a time, and
# reuse the memory for their windows: a *workspace* that stays in the cache.


# %%
def workspaces(images, X):
    """Return memory for the padded maps and for the windows of a few images."""
    _, H, W, C_ = X.shape
    padded = np.zeros((images, H + 2, W + 2, C_), X.dtype)
    return padded, np.empty((images, H, W, 3, 3, C_), X.dtype)


def in_blocks(X, V, images=4):  #                 (N, H, W, C'), (3, 3, C', C) -> (N, H, W, C)
    U = np.empty((*X.shape[:3], V.shape[3]), X.dtype)
    padded, rows = workspaces(images, X)
    for start in range(0, len(X), images):
        part = slice(start, start + images)
        n = len(X[part])  # the last block may be smaller
        padded[:n, 1:-1, 1:-1] = X[part]  # the border stays zero
        touch(X[part], padded[:n])
        multiply(padded[:n], V, rows[:n], U[part])
    return U


# %% [markdown]
# **Predict.** How much traffic now? And what if a block has thirty-two images instead of four?

# %%
U_in_blocks, moved_in_blocks = counted(in_blocks, X, V)
print("largest difference below 1e-4:", bool(abs(U_in_blocks - U).max() < 1e-4))
moved_by_images = {images: counted(in_blocks, X, V, images)[1] for images in (1, 4, 32)}
for images, moved in moved_by_images.items():
    print(f"{images:2} images at a time: {moved:4.1f} times the bytes of X")

# %%
claim("In blocks of four images it moves 2.0 times the bytes of X, the least possible.",
      moved_in_blocks)  # fmt: skip

# %% [markdown]
# Blocks of one image need no more traffic, but four times as many NumPy calls, each with a fixed
# cost. So a block should fill a good part of the cache: the engine takes windows of three
# megabytes.
#
# ## A common mistake: cut without the neighbours
#
# A large image is cut into bands of rows. This version cuts the padded image in two, if the stride
# is one and the image is large enough, and completes the upper band with zeros:


# %%
def conv2d_in_bands(X, V, stride, padding):
    p, k = padding, len(V)
    X = np.pad(X, ((0, 0), (p, p), (p, p), (0, 0)))
    bands = [X]
    if stride == 1 and X.shape[1] >= 2 * k:
        upper, lower = np.array_split(X, 2, axis=1)
        bands = np.pad(upper, ((0, 0), (0, k - 1), (0, 0), (0, 0))), lower
    return np.concatenate([se.conv2d(band, V, stride=stride) for band in bands], 1)


check("conv2d", conv2d_in_bands)

# %% [markdown]
# The last windows of the upper band need the first rows of the lower band, not zeros. Images may be
# separated; bands of rows overlap by the size of the kernel minus one. The engine reads bands with
# those neighbours.
#
# ## Exercise: `conv2d` · medium, 15 minutes
#
# You wrote it in tutorial 2, probably with loops. Now write it with **one** matrix product, for any
# stride and padding. `at_once` does it for stride one and filters of 3x3: in the view of the
# windows, which strides grow, and how many windows are there? (`solution` shows the library's form,
# with a product for each tap.)
#
# $$U(n, i, j, c) = \sum_{a, b, s} X(n, \; i \cdot \mathrm{stride} + a - \mathrm{padding}, \;
# j \cdot \mathrm{stride} + b - \mathrm{padding}, \; s) \; V(a, b, s, c)$$


# %%
@exercise
def conv2d(X, V, stride, padding):  #             (N, H', W', C'), (kh, kw, C', C) -> (N, H, W, C)
    ...  # your line here


check("conv2d", conv2d)

# %%
# For help, uncomment a line and run the cell.
# hint("conv2d")
# solution("conv2d")

# %% [markdown]
# ## Threads
#
# Blocks of images do not need each other, so several cores can work on them. Python runs one line
# at a time, because of its interpreter lock, but NumPy releases the lock inside a large copy or
# product: while one thread waits for a product, another one can start its own. The engine uses one
# thread for each core. Inside, it limits BLAS, NumPy's library for matrix products, to one thread,
# since its threads would compete with ours for the same cores.
#
# `parallel_for` is the engine's loop over blocks. Each call makes its own workspaces, because two
# threads must not write to the same memory.


# %%
def in_threads(X, V):  #                          (N, H, W, C'), (3, 3, C', C) -> (N, H, W, C)
    U = np.empty((*X.shape[:3], V.shape[3]), X.dtype)

    def work(images):
        U[images] = in_blocks(X[images], V)

    windows_of_an_image = 9 * X[0].nbytes
    parallel_for(np, work, len(X), windows_of_an_image)
    return U


# %% [markdown]
# **Predict.** Do the numbers depend on the number of threads, which differs between machines?

# %%
with patch.dict(os.environ, SE_NUMPY_THREADS="1"):
    U_in_one = in_threads(X, V)
U_in_threads = in_threads(X, V)
print("the same in one thread and in all, in every bit:", np.array_equal(U_in_one, U_in_threads))
print("largest difference below 1e-4:", bool(abs(U_in_threads - U).max() < 1e-4))

# %% [markdown]
# Which images are in a block depends on their number and size alone, not on the number of threads.
# So the results, also those of sums over blocks, are the same on any number of cores; only then can
# a run be repeated elsewhere.
#
# ## Step 3: a deferred map
#
# Between two convolutions of a network stand batch normalisation and ReLU. Once the statistics are
# known, a batch normalisation is $a \cdot u + c$ with two numbers for each channel:
#
# $$a = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}, \qquad c = \beta - a \mu$$
#
# Written as separate operations, this takes three passes: multiply, add, compare.


# %%
def normalised(X, a, c):  #                       (N, H, W, C), (C,), (C,) -> (N, H, W, C)
    product = a * X
    touch(X, product)
    shifted = product + c
    touch(product, shifted)
    Y = np.maximum(shifted, 0)
    touch(shifted, Y)
    return Y


gamma, beta = rng.standard_normal((2, C)).astype(np.float32)  #       (C,) each
a = gamma / np.sqrt(X.var((0, 1, 2)) + np.float32(1e-5))
c = beta - a * X.mean((0, 1, 2))
expected = se.conv2d(se.relu(se.batch_norm(X, gamma, beta, eps=1e-5)), V, padding=1)

# %% [markdown]
# The engine does not write the normalised maps at all. It keeps $X$, $a$ and $c$, and computes
# $\delta(a \cdot x + c)$ where the next convolution reads its block: in the workspace.
#
# **Predict.** Two ways to do it: apply $a$, $c$ and $\delta$ before the padding, or afterwards, to
# the whole padded block. Which is right?


# %%
def deferred(X, a, c, V, images=4, *, padding_first=False):  #        -> (N, H, W, C)
    U = np.empty((*X.shape[:3], V.shape[3]), X.dtype)
    padded, rows = workspaces(images, X)
    for start in range(0, len(X), images):
        part = slice(start, start + images)
        n = len(X[part])
        block = padded[:n] if padding_first else padded[:n, 1:-1, 1:-1]
        padded[:n, 1:-1, 1:-1] = X[part]
        np.multiply(block, a, out=block)
        np.add(block, c, out=block)
        np.maximum(block, 0, out=block)
        touch(X[part], padded[:n])  # the passes that follow stay in the cache
        for _ in ("multiply", "add", "compare"):
            touch(padded[:n], padded[:n])
        multiply(padded[:n], V, rows[:n], U[part])
    return U


for padding_first in (False, True):
    gap = abs(deferred(X, a, c, V, padding_first=padding_first) - expected).max(axis=(0, 3))
    inner, border = bool((gap[1:-1, 1:-1] < 1e-3).all()), bool((gap[0] < 1e-3).all())
    print(
        f"padding first: {padding_first!s:5}  inner pixels right: {inner}, border right: {border}"
    )

# %% [markdown]
# The zeros around a map stand for missing *normalised* pixels. If the map is applied to them, they
# become $\delta(c)$, and in the next block also the border is no longer zero.

# %%
_, moved_separately = counted(lambda: in_blocks(normalised(X, a, c), V))
_, moved_deferred = counted(deferred, X, a, c, V)
claim("Separate passes and a convolution in blocks move 8.0 times the bytes of X; deferred, 2.0.",
      moved_separately, moved_deferred)  # fmt: skip

# %% [markdown]
# A whole step of the network has become as cheap as reading it once and writing it once. This is
# *fusion*: fewer passes over memory, the same arithmetic.
#
# ## Measure it
#
# Now to the clock. `ratios` runs functions in turn, several times, and takes the fastest time of
# each, because other programs on your machine can only add time. BLAS is limited to one thread, so
# that all versions have the same arithmetic.


# %%
def ratios(functions, times=5):
    """Return every function's shortest time, divided by that of the first function."""
    best = dict.fromkeys(functions, np.inf)
    with engine.single_threaded_blas():
        for _ in range(times):
            for name, f in functions.items():
                start = perf_counter()
                f()
                best[name] = min(best[name], perf_counter() - start)
    first = next(iter(best.values()))
    return {name: seconds / first for name, seconds in best.items()}


def draw(measured, moved, title):
    """Draw measured ratios, and in the second panel, row by row, counted ones."""
    _, axes = figures.panels(1, 2, 2.5, sharey=True)
    panels = (measured, title), (moved, "bytes moved by the first three, counted")
    for axis, (values, name) in zip(axes, panels, strict=True):
        bars = axis.barh(list(values), list(values.values()), color=figures.BLUE)
        axis.bar_label(bars, fmt="%.2f", padding=4, fontsize=9)
        axis.set(title=name, xlim=(0, 1.25 * max(values.values())))
    axes[0].invert_yaxis()  # of both panels


steps = {
    "book": lambda: se.conv2d(X, V, padding=1),
    "one product": lambda: at_once(X, V),
    "blocks": lambda: in_blocks(X, V),
    "blocks, threads": lambda: in_threads(X, V),
    "engine.conv2d": lambda: engine.conv2d(X, V, padding=1),
}
moved = {"book": 1, "one product": moved_at_once / moved_by_taps,
         "blocks": moved_in_blocks / moved_by_taps}  # fmt: skip
draw(ratios(steps), moved, "time, relative to the book")
figures.show(
    alt="Left: bars of the times of five convolutions relative to the book's, measured on the "
    "machine that ran this. Right: the bytes moved by three of them, falling from 1 to 0.03."
)

# %% [markdown]
# The left panel shows the machine that ran this notebook last; run it on yours. The time falls less
# than the traffic: the products remain, and no form of the code makes them cheaper. On a machine
# with a large cache the bars differ less. One product for all images can even be slower than the
# book's nine: the memory for its windows is new in every call, and the system has to provide it
# page by page. Threads help only if other programs leave cores free. In a browser NumPy has neither
# BLAS nor threads: the products take nearly all of the time, and the bars may be in another order.
#
# ## A whole network
#
# The engine does all this to a network, without being told how. `engine.explain` says which parts
# it fuses.

# %%
net = models.build("se_resnet8")
print(engine.explain(net))
lines = engine.explain(net).splitlines()

# %% [markdown]
# **Predict.** `engine.compile(net)` takes the same parameters and returns the same gradients. By
# how much may they differ from the plain network's in float32?

# %%
fast = engine.compile(net)
params, state = init(net, (32, 32, 3), np.random.default_rng(0))
pictures = rng.standard_normal((16, 32, 32, 3)).astype(np.float32)  # (N, H, W, 3)
dY = rng.standard_normal((16, 10)).astype(np.float32)  #              (N, classes)


def step(network):
    """Run forward and backward; return the scores and the gradients as one vector."""
    Y, cache = network.forward(params, state, pictures, train=True)
    _, grads = network.backward(params, cache, dY)
    return Y, tree.flatten(grads)


(Y, grads), (Y_fast, grads_fast) = step(net), step(fast)
apart = float(np.linalg.norm(grads_fast - grads) / np.linalg.norm(grads))
print("scores agree to below 1e-3:", bool(abs(Y_fast - Y).max() < 1e-3))

# %%
claim("The gradients differ by less than 1e-4 of their length.", apart)
claim("Of 14 parts 12 are fused.", len(lines), sum(" fused:" in line and "not" not in line
                                                   for line in lines))  # fmt: skip

# %% [markdown]
# Deferred maps are not written, and so they are not kept for the backward pass either. It computes
# them again where it reads them. NumPy reports its memory to Python's `tracemalloc`, which shows
# how much is held between the two passes:


# %%
def held(network):
    """Return the bytes held for the backward pass, workspaces apart."""
    step(network)  # makes the workspaces
    tracemalloc.start()
    kept = network.forward(params, state, pictures, train=True)
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return held_bytes


share = held(fast) / held(net)

# %%
claim("The engine holds less than 85 % of what the plain network holds.", share)

# %% [markdown]
# And the clock: a step of the plain network and of the engine. In a browser the engine gains
# nothing, and may even be slower: it saves traffic and uses cores, and there the products count.

# %%
measured = ratios({"plain": lambda: step(net), "engine": lambda: step(fast)}, times=3)
figure, (axes,) = figures.panels(1, 1, 1.5)
bars = axes.barh(list(measured), list(measured.values()), color=figures.BLUE)
axes.bar_label(bars, fmt="%.2f", padding=4, fontsize=9)
axes.invert_yaxis()
axes.set(xlabel="time of a step of SE-ResNet-8, relative to the plain network")
axes.set_xlim(0, 1.2 * max(measured.values()))
figures.show(
    alt="Two bars: the times of a training step of the plain network and of the compiled network, "
    "measured on the machine that ran this."
)

# %% [markdown]
# What remains between the engine and PyTorch? PyTorch's kernels add up all nine taps in registers,
# where the engine writes windows, if only to the cache; they fuse more passes into a product; and
# no Python runs between two calls. [Optimisations](../benchmarks/NOTES.md) lists which ideas were
# tried, accepted and rejected, with times; `python benchmarks/step.py`, in the repository, compares
# a step with PyTorch's.
#
# The book stays as it is. With `engine.off()` or `SE_NUMPY_ENGINE=off` the plain network runs, for
# debugging and for tests: the engine is trusted because it is compared with the book.

# %%
with engine.off():
    Y_off, grads_off = step(fast)
print("with the engine off, the same as the plain network in every bit:",
      np.array_equal(Y_off, Y) and np.array_equal(grads_off, grads))  # fmt: skip

# %% [markdown]
# ## On your own
#
# - *Quick.* Convolve with a kernel of one pixel. What is its arithmetic intensity, and which of
#   the steps above are of no use?
# - *Core.* Write the backward pass in blocks. For stride one, $dX$ is a convolution of $dU$ with
#   flipped filters. Can the windows of $dU$ also serve for $dV$?
# - *Open.* Batch normalisation needs the mean of all of $U$ before the first pixel can be
#   normalised. Which pass over memory can therefore not be saved, and how would you compute the
#   mean and the variance without one of their own?
#
# **Answers.** *Quick:* with sixteen channels it does eight multiply-adds per number, a ninth;
# its windows are the pixels themselves, so that neither one product nor blocks save traffic.
# *Core:* yes: windows of $dU$ times $X$ give $dV$, flipped; `backward_at_stride_1` in
# `se_numpy/engine/by_windows.py` does it. *Open:* $U$ is written before it is normalised and read
# again afterwards. The sums for mean and variance can be taken block by block, right after the
# product, while the block is in the cache; only a few numbers for each block are then combined.
#
# Next: [15. Train on your own pictures](15_your_own_pictures.ipynb).
