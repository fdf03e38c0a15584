"""The common style of the tutorials' figures: legible in a narrow column and with colour vision deficiency.

Needs matplotlib (extra ``plot``).
"""

from typing import Any

import numpy as np

from se_numpy.train.figures import AMBER, BLUE, GREEN, ORANGE, PINK, SKY

GREY = "#666666"
SIGNED = "PuOr_r"  # a colour map for signed values: orange above 0, violet below, white at 0
WIDTH = 7.0  # inches at 100 dpi, the width of a notebook column


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
    """Create a figure as wide as a column; return it and its axes (rows, columns), or (columns,) for one row."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False, **more)
    return figure, axes[0] if rows == 1 else axes


def picture(axes: Any, image: np.ndarray, title: str = "", **more: Any) -> None:
    """Draw an image (H, W, 3), or a map (H, W) in greyscale, without ticks."""
    if image.ndim == 2:
        more = {"cmap": "gray", **more}
    axes.imshow(image, **more)
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)


def heatmap(axes: Any, matrix: np.ndarray, title: str = "", *, limit: float | None = None, form: str = "") -> Any:
    """Draw a matrix of signed values as colours, white at 0; with ``form`` (such as ".1f"), print the values too."""
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
    """Return a frame around part of an image, for ``axes.add_patch(frame(slice(8, 12), slice(43, 48)))``."""
    from matplotlib.patches import Rectangle

    corner = columns.start - 0.5, rows.start - 0.5
    return Rectangle(corner, columns.stop - columns.start, rows.stop - rows.start, fill=False, ec=colour, lw=2)


def two_colours(low: str, high: str) -> Any:
    """Return a colour map for False and True."""
    from matplotlib.colors import ListedColormap

    return ListedColormap([low, high])


def show(*, alt: str) -> None:
    """Show the open figures and close them; ``alt`` describes them to readers who cannot see them.

    In a notebook the description is kept as the image's metadata ``alt``, from which nbconvert (template classic) and
    nbsphinx write the page.
    """
    import matplotlib.pyplot as plt

    if plt.get_backend().endswith("inline"):
        from IPython.display import display

        for number in plt.get_fignums():
            display(plt.figure(number), metadata={"image/png": {"alt": alt}})
    else:
        plt.show()
    plt.close("all")
