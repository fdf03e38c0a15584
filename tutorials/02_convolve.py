# %% [markdown]
# # 2. Convolve an image
#
# [all tutorials](README.md) · [this one as a
# script](02_convolve.py)
#
# **You will** slide small filters over a picture, find its edges, find the red sail, and write
# `conv2d`, the operation in which a network does most of its work.
#
# **You learn** what Equation (1) of the paper says, how large the result is, what stride and
# padding do, and why a convolution is one matrix product.
#
# **You need** [tutorial 1](01_images_as_arrays.ipynb); a CPU; 35 minutes.

# %%
# Stops if the library is not installed.
import importlib.util
import sys

if importlib.util.find_spec("se_numpy") is None:
    sys.exit('se_numpy is not installed; run: pip install -e ".[plot,grade]" in the repository')

# %%
import numpy as np
import se_numpy as se
from numpy.lib.stride_tricks import sliding_window_view
from se_numpy.grading.lessons import check, claim, exercise, figures, hint, solution
from se_numpy.grading.lessons.pictures import boat, photographs

figures.style()
X = boat()[None] / 255  #                                             (1, H', W', C')
grey = X[0].mean(-1)  #                                               (H', W')

# %% [markdown]
# ## One window, one number
#
# A *filter* is a small array of numbers. Place it on a window of the picture, multiply each pixel
# by the number of the filter on it, and add up: the result is one number. This filter subtracts
# the column on its left from the column on its right.
#
# A prime marks what goes **into** a convolution: images `X` have $H' \times W'$ pixels and $C'$
# channels; the result `U` has $H \times W$ pixels and $C$ channels. (In code, where a name cannot
# have a prime, `P, Q` are $H', W'$.)
#
# **Predict.** The mast is dark and the sky is bright. The window in the frame has sky in its left
# column and the mast in its right one. Will the number be positive, negative, or near 0? (Where a
# figure shows numbers of both signs, orange is positive and violet negative.)

# %%
v = np.array([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]])  #                 (k, k)
i, j = 8, 42
window = grey[i : i + 3, j : j + 3]  #                                (k, k)
u = (window * v).sum()

# %%
claim("The window gives -1.19: it gets darker from left to right.", u)

figure, axes = figures.panels(1, 3, 2.4, width_ratios=(1.7, 1, 1))
figures.picture(axes[0], grey[4:14, 34:52], "the top of the mast", extent=(33.5, 51.5, 13.5, 3.5))
axes[0].add_patch(figures.frame(slice(i, i + 3), slice(j, j + 3)))
figures.heatmap(axes[1], v, "the filter v", form=".0f", limit=2)
figures.heatmap(axes[2], window * v, "window · v, in all −1.19", form=".2f", limit=1)
figures.show(
    alt="The top of the mast with a framed window, the filter with minus ones on its left and ones "
    "on its right, and their product."
)

# %% [markdown]
# ## All windows, one map
#
# Do that at every position, and the numbers form a picture again: a *map* of where the filter
# responds. It takes two loops.
#
# **Predict.** The last of the four filters below has eight zeros, and a 1 in the middle. What will
# its map show?


# %%
def one_map(x, v):  #                                                 (H', W'), (k, k) -> (H, W)
    k = len(v)
    H, W = x.shape[0] - k + 1, x.shape[1] - k + 1  #                  places for the window
    u = np.zeros((H, W))
    for i in range(H):
        for j in range(W):
            u[i, j] = (x[i : i + k, j : j + k] * v).sum()
    return u


dot = np.zeros((3, 3))  #                                             (k, k)
dot[1, 1] = 1
filters = {"left to right": v, "above to below": v.T, "mean": np.full((3, 3), 1 / 9), "dot": dot}
maps = {name: one_map(grey, one) for name, one in filters.items()}

# %%
claim("A picture of 48 by 72 pixels gives maps of 46 by 70.", *grey.shape, *maps["mean"].shape)

figure, axes = figures.panels(2, 2, 3.9)
figures.heatmap(axes[0, 0], maps["left to right"], "left to right: upright edges")
figures.heatmap(axes[0, 1], maps["above to below"], "above to below: level edges")
figures.picture(axes[1, 0], maps["mean"], "mean: a blur")
figures.picture(axes[1, 1], maps["dot"], "eight zeros and a 1")
figures.show(
    alt="Four maps of the boat: upright edges, level edges, a blurred boat, and the boat unchanged."
)

gap = abs(maps["dot"] - grey[1:-1, 1:-1]).max()
claim("The last differs from the picture without its border by 0.", gap)

# %% [markdown]
# The horizon shows in the second map only, the mast in the first only, and a slanted sail in
# both. The last filter changes nothing, except that it cannot be centred on the border.
#
# In signal processing this is called *cross-correlation*; a *convolution* would turn the filter
# by 180° first. Networks learn their filters, so it makes no difference to them, and deep
# learning frameworks call this operation a convolution.

# %% [markdown]
# ## Stride and padding
#
# Two numbers define the positions of the windows. The *stride* $t$ is the distance in pixels from
# one window to the next. The *padding* $p$ is the number of zeros on each side of the picture, so
# that a window can also be centred on its border. Along an axis of $H'$ pixels there are
#
# $$H = \left\lfloor \frac{H' + 2p - k}{t} \right\rfloor + 1$$
#
# positions for a filter of $k$ pixels: one at the start, and one more for every whole stride that
# fits.
#
# **Predict.** A row of 7 pixels, filters of 3. How many positions are there for each of the four
# settings below?


# %%
def places(size, k, stride, padding):
    return (size + 2 * padding - k) // stride + 1


figure, axes = figures.panels(1, 4, 2.1, sharey=True)
for axis, (stride, padding) in zip(axes, [(1, 0), (2, 0), (1, 1), (3, 0)], strict=True):
    for at in range(-padding, 7 + padding):
        inside = 0 <= at < 7
        axis.plot(at, 0, "s", ms=9, color=figures.BLUE if inside else "white", mec=figures.BLUE)
    number = places(7, 3, stride, padding)
    for one in range(number):
        start = one * stride - padding
        axis.plot(
            [start - 0.3, start + 2.3],
            [one + 1, one + 1],
            color=figures.ORANGE,
            lw=5,
            solid_capstyle="butt",
        )
    axis.set(
        title=f"stride {stride}, padding {padding}: {number}", xlim=(-1.8, 7.8), ylim=(8, -0.8)
    )
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
figures.show(
    alt="Rows of seven pixels with padding and, below, bars for the places of a filter, for four "
    "settings of stride and padding."
)

# %%
same, half = places(48, 3, 1, 1), places(48, 3, 2, 1)
claim("Filters of three, padding one: 48 rows stay 48, at stride two they are 24.", 48, same, half)

# %% [markdown]
# Blue squares are pixels, white ones are padding, and every orange bar is one position of the
# filter. At stride 3 the last pixel is outside every window, so it does not affect the result.
# This will matter for gradients.

# %% [markdown]
# ## Many channels in, many out: Equation (1)
#
# A picture has channels, and so has a filter: $v_c$ consists of one $k \times k$ array $v_c^s$
# for each input channel $x^s$. All products add up to **one** map $u_c$; the number of maps is
# the number of filters. ($s$ is the paper's letter here; its gates, which you met in tutorial 1,
# are another $s$.)
#
# $$u_c = v_c * X = \sum_{s=1}^{C'} v_c^s * x^s$$
#
# In arrays, `X (N, H', W', C')` and `V (k, k, C', C)` give `U (N, H, W, C)`. Note what the sum
# does: it mixes the channels with fixed weights, the same at every position and for every image.
# A Squeeze-and-Excitation block adds weights that depend on the image.
#
# **Predict.** Here is a filter of a single pixel: red minus half of green minus half of blue.
# Where in the picture will the result be largest?

# %%
V = np.zeros((1, 1, 3, 2))  #                                         (k, k, C', C)
V[0, 0, :, 0] = 1, -0.5, -0.5  #                                      v_1: red
V[0, 0, :, 1] = -0.5, -0.5, 1  #                                      v_2: blue
U = se.conv2d(X, V)  #                                                (1, H, W, C)

figure, axes = figures.panels(1, 3, 1.75)
figures.picture(axes[0], X[0], "X: three channels")
for c, title in enumerate(("u₁: red", "u₂: blue")):
    figures.heatmap(axes[c + 1], U[0, :, :, c], title, limit=0.75)
figures.show(
    alt="The boat in colour; a map in which the red sail and the sky stand out; a map in which the "
    "sea stands out."
)

# %%
sail, sea, white = U[0, [25, 45, 25], [38, 2, 50], 0]
claim("In the red map the red sail has 0.62, the sea -0.16, the white sail 0.02.", sail, sea, white)

# %% [markdown]
# With photographs of your own (`SE_NUMPY_DATA`, see tutorial 1) the next cell shows edges in some
# of them.

# %%
photos = photographs()
if photos is not None:
    some = photos.train_images[:6] / 255
    edges = np.stack([v, v.T], -1)[:, :, None] * np.ones((3, 1)) / 3  #    (k, k, C', C)
    strength = np.hypot(*np.moveaxis(se.conv2d(some, edges), -1, 0))  #    (N, H, W)
    figure, axes = figures.panels(2, 6, 2.6)
    for above, below, image, edge in zip(*axes, some, strength, strict=True):
        figures.picture(above, image)
        figures.picture(below, edge)
    figures.show(alt="Six photographs of CIFAR, and below each its edges.")

# %% [markdown]
# ## Windows as rows: one matrix product
#
# Loops are slow in Python. Write every window as one row of a matrix, and every filter as one
# column of another; their product contains every window times every filter. Making these rows is
# known as *im2col*, "image to columns". NumPy's `sliding_window_view` shows all windows of an array
# without copying them, with the positions inside the window as the last axes. This is how
# `se_numpy.engine`, the fast part of this library, computes a convolution. (`se.conv2d` adds up
# one matrix product for each position in the filter, which is slower and easier to read.)
#
# **Predict.** A picture of 5 × 5 pixels, filters of 3 × 3. How many rows does the matrix have,
# and how many numbers per row? How often does the pixel in the middle occur?

# %%
small = np.arange(25.0).reshape(1, 5, 5, 1)  #                        (N, H', W', C')
windows = sliding_window_view(small, (3, 3), axis=(1, 2))  #          (N, H, W, C', k, k)
rows = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 3 * 3 * 1)  #  (N H W, k k C')
times = (rows == 12).sum()

# %%
claim("There are 9 rows of 9 numbers; the middle pixel is in 9 of them.", *rows.shape, times)

figure, (left, right) = figures.panels(1, 2, 2.9)
left.imshow(small[0, :, :, 0], cmap="Blues", vmax=40)
left.set(title="the picture: pixels 0 to 24", xticks=[], yticks=[])
right.imshow(rows, cmap="Blues", vmax=40)
right.set(
    title="its windows as rows",
    xlabel="position in the window",
    ylabel="window",
    xticks=range(9),
    yticks=range(9),
)
for axis, numbers in ((left, small[0, :, :, 0]), (right, rows)):
    for (row, column), number in np.ndenumerate(numbers):
        axis.text(column, row, f"{number:.0f}", ha="center", va="center", fontsize=8)
figures.show(
    alt="A picture of five by five numbered pixels, and the matrix whose nine rows are its windows "
    "of three by three."
)

# %%
rng = np.random.default_rng(0)
X3 = rng.standard_normal((2, 6, 7, 3))  #                             (N, H', W', C')
V3 = rng.standard_normal((3, 3, 3, 4))  #                             (k, k, C', C)
windows3 = sliding_window_view(X3, (3, 3), axis=(1, 2))  #            (N, H, W, C', k, k)
rows3 = windows3.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 27)  #       (N H W, k k C')
U3 = (rows3 @ V3.reshape(27, 4)).reshape(2, 4, 5, 4)  #                (N, H, W, C)
claim("It agrees with the library to less than 1e-13.", abs(U3 - se.conv2d(X3, V3)).max())
claim("The price: 1,080 numbers in the rows for 252 in X3.", rows3.size, X3.size)

# %% [markdown]
# The transpose matters. The numbers of a row and those of a column must be in the **same** order,
# here row, column, channel, which is the order of `V` in memory. Without the transpose the shapes
# fit as well:

# %%
as_it_comes = windows3.reshape(-1, 27) @ V3.reshape(27, 4)  #         (N H W, C)
claim("The numbers do not: off by more than 1.", abs(as_it_comes - U3.reshape(-1, 4)).max())

X1, V1 = X3[..., :1], V3[:, :, :1]  #                                 (N, H', W', 1), (k, k, 1, C)
windows1 = sliding_window_view(X1, (3, 3), axis=(1, 2))  #            (N, H, W, 1, k, k)
as_it_comes = (windows1.reshape(-1, 9) @ V1.reshape(9, 4)).reshape(U3.shape)
gap = abs(as_it_comes - se.conv2d(X1, V1)).max()
claim("With one input channel it is still right, to less than 1e-13.", gap)

# %% [markdown]
# A test on grey pictures alone does not reveal the mistake. The oracle finds and names it.

# %% [markdown]
# ## A common mistake: turning the filter
#
# In mathematics a convolution turns the filter by 180°. Suppose you do that here, and test it on
# a blur:


# %%
def turned(X, V, *, stride=1, padding=0):
    return se.conv2d(X, V[::-1, ::-1], stride=stride, padding=padding)


blur = np.full((3, 3, 3, 1), 1 / 27)  #                               (k, k, C', C)
difference = abs(turned(X, blur) - se.conv2d(X, blur)).max()
claim("On a blur the two differ by less than 1e-14: the test passes.", difference)

check("conv2d", turned)

# %% [markdown]
# The oracle uses filters that change when turned, and it names the mistake. The blur cannot
# reveal the mistake, because a turn does not change it. **A test that cannot fail proves
# nothing**, and tutorial 4 is about finding such tests.

# %% [markdown]
# ## Exercise: `conv2d` · medium, 20 minutes
#
# Write Equation (1) for batches, channels, stride and padding. Use loops or rows, as you like;
# make it right first and fast later.
#
# - Put `padding` zeros around rows and columns: `np.pad(X, ((0, 0), (padding, padding), (padding,
#   padding), (0, 0)))`.
# - Find $H$ and $W$ by the formula above.
# - The window at position $(i, j)$ begins at row $i \cdot t$, column $j \cdot t$.


# %%
@exercise
def conv2d(X, V, *, stride=1, padding=0):  #                          -> U (N, H, W, C)
    ...  # your lines here


check("conv2d", conv2d)

# %%
# For help, uncomment a line and run the cell.
# hint("conv2d")
# hint("conv2d", 2)
# solution("conv2d")

# %% [markdown]
# ## On your own
#
# - *Quick.* Which 3 × 3 filter moves a picture one pixel to the left? Which one sharpens it?
# - *Core.* How many multiplications does a convolution take, in the letters $N, H, W, k, C', C$?
#   Compare with `se-numpy summary resnet20`, or in a notebook with
#   `print(se.complexity.summary(se.models.build("resnet20"), (32, 32, 3)))`.
# - *Open.* Equation (1) weighs channels: $v_c^s$ may well be 0 for some $s$. What can a network
#   do with gates computed from the image that it cannot do with such weights?
#
# **Answers.** *Quick:* a single 1 to the right of the middle moves the picture left, because every
# pixel takes the value of its right neighbour. Twice the *dot* minus the *mean* sharpens. *Core:*
# $N H W k^2 C' C$, one product for each pair of a window's number and a filter. The summary counts
# the same for $N = 1$. *Open:* use a channel for one image and ignore it for another.
#
# Next: [3. Send gradients back through a convolution](03_gradients_through_convolution.ipynb).
