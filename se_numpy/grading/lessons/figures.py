"""One look for the figures of all tutorials: readable at the width of a notebook's column, by every kind of eye.

Needs matplotlib (extra ``plot``).
"""

from typing import Any

import numpy as np

from se_numpy.train.figures import AMBER, BLUE, GREEN, ORANGE, PINK, SKY

GREY = "#666666"
SIGNED = "PuOr_r"  # a colour map for numbers of both signs: orange above 0, violet below, white at 0
WIDTH = 7.0  # inches, at 100 dots an inch: a notebook's column


def style() -> None:
    """Set matplotlib's defaults for the figures that follow."""
    import matplotlib as mpl
    from cycler import cycler

    mpl.rcParams.update({
        "figure.dpi": 100, "figure.figsize": (WIDTH, 2.8), "figure.constrained_layout.use": True,
        "figure.facecolor": "white", "savefig.dpi": 100,
        "font.size": 10, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.labelsize": 10,
        "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
        "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, PINK, SKY, AMBER]),
        "lines.linewidth": 1.8, "lines.markersize": 4, "legend.frameon": False, "legend.fontsize": 9,
        "grid.alpha": 0.25, "image.interpolation": "nearest",
    })  # fmt: skip


def panels(rows: int, columns: int, height: float, **more: Any) -> tuple[Any, Any]:
    """A figure of the column's width, and its axes (rows, columns), or (columns,) where there is one row."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False, **more)
    return figure, axes[0] if rows == 1 else axes


def picture(axes: Any, image: np.ndarray, title: str = "", **more: Any) -> None:
    """An image (H, W, 3), or one map (H, W) in greys, without ticks."""
    if image.ndim == 2:
        more = {"cmap": "gray", **more}
    axes.imshow(image, **more)
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)


def heatmap(axes: Any, matrix: np.ndarray, title: str = "", *, limit: float | None = None, form: str = "") -> Any:
    """A matrix of signed numbers as colours, 0 being white; with ``form`` (as ".1f") its numbers are written in."""
    limit = float(np.abs(matrix).max()) or 1.0 if limit is None else limit
    drawn = axes.imshow(matrix, cmap=SIGNED, vmin=-limit, vmax=limit, aspect="equal")
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)
    if form:
        for (i, j), value in np.ndenumerate(matrix):
            dark = abs(value) > 0.6 * limit
            axes.text(j, i, f"{value:{form}}".replace("-", "−"), ha="center", va="center", fontsize=9,
                      color="white" if dark else "black")  # fmt: skip
    return drawn


def frame(rows: slice, columns: slice, colour: str = ORANGE) -> Any:
    """A frame around some pixels of an image: ``axes.add_patch(frame(slice(8, 12), slice(43, 48)))``."""
    from matplotlib.patches import Rectangle

    corner = columns.start - 0.5, rows.start - 0.5
    return Rectangle(corner, columns.stop - columns.start, rows.stop - rows.start, fill=False, ec=colour, lw=2)


def two_colours(low: str, high: str) -> Any:
    """A colour map for no and yes."""
    from matplotlib.colors import ListedColormap

    return ListedColormap([low, high])


def show() -> None:
    """Show what was drawn: below the cell, in a window, or nowhere if there is none."""
    import matplotlib.pyplot as plt

    plt.show()
    plt.close("all")
