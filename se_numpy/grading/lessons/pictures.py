"""Pictures for the tutorials: a boat and a diagram drawn here, and the reader's own copy of CIFAR.

CIFAR has no stated licence, so this project includes none of its images.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy.data import DataError, Dataset, load_cifar
from se_numpy.grading.lessons import figures
from se_numpy.grading.lessons.display import say

CIFAR_FOLDER = "SE_NUMPY_DATA"  # the environment variable that names a folder with CIFAR-10 or -100


def boat() -> np.ndarray:
    """Draw a sailing boat at sunset: (48, 72, 3) uint8."""
    H, W = 48, 72
    i, j = np.mgrid[:H, :W].astype(float)
    red = np.stack([200 + i, 120 + 2 * i, 110 - i], -1)  # a sky that is brighter towards the horizon
    image = np.where((i < 32)[..., None], red, np.stack([30 + 0 * i, 80 - i / 2, 130 - i], -1))
    glitter = (i >= 32) & ((j - 14 + 3 * np.sin(2.1 * i)) ** 2 < 12) & (i % 3 == 0)
    for where, colour in (
        ((i - 22) ** 2 + (j - 14) ** 2 < 42, (255, 236, 160)),  # the sun
        (glitter, (250, 190, 110)),
        ((i > 6) & (i < 34) & (j > 43.2) & (j < 45), (70, 45, 30)),  # the mast
        ((i > 7) & (i < 31) & (j >= 46) & (j - 46 < (i - 7) * 0.75), (250, 248, 240)),  # two sails
        ((i > 10) & (i < 31) & (j <= 42) & (42 - j < (i - 10) * 0.6), (222, 70, 60)),
        ((i > 32) & (i < 40) & (j > 25 + 1.2 * (i - 32)) & (j < 66 - 1.2 * (i - 32)), (92, 52, 34)),  # the hull
    ):
        image[where] = colour
    return image.clip(0, 255).astype(np.uint8)


def photographs() -> Dataset | None:
    """Load CIFAR from the folder in the environment variable SE_NUMPY_DATA.

    Return None if it is not set; if the folder does not contain CIFAR, also print what is missing.
    """
    folder = os.environ.get(CIFAR_FOLDER)
    try:
        return load_cifar(Path(folder).expanduser()) if folder else None
    except DataError as error:
        say(f"No photographs, because of {CIFAR_FOLDER}: {error}")
        return None


GATES = (0.95, 0.08, 0.5, 0.08, 0.95, 0.25)  # the gates of the six channels in the diagram


def draw_block() -> None:
    """Draw a diagram of the Squeeze-and-Excitation block, Eqs. (2) to (4), with all shapes."""
    from matplotlib.patches import FancyBboxPatch

    six = [figures.BLUE, figures.ORANGE, figures.GREEN, figures.PINK, figures.SKY, figures.AMBER]
    _, (axes,) = figures.panels(1, 1, 3.3)
    _stack(axes, 0, 0, six, [0.8] * 6)
    _stack(axes, 9.6, 0, six, GATES)
    _column(axes, 3.3, 2.6, six, (0.9, 0.4, 0.2, 0.5, 0.7, 0.3))
    _column(axes, 5.3, 2.6, [figures.GREY] * 3, (0.7, 0, 0.35))
    _column(axes, 7.3, 2.6, six, GATES)
    _arrow(axes, (1.3, 2.0), (3.15, 2.6))
    axes.text(2.05, 2.55, "squeeze (2)\nmean", ha="center", fontsize=9)
    _arrow(axes, (3.75, 2.6), (5.15, 2.6), "W₁, δ")
    _arrow(axes, (5.75, 2.6), (7.15, 2.6), "W₂, σ")
    _arrow(axes, (7.43, 1.75), (7.43, 1.02))
    _arrow(axes, (2.0, 0.75), (7.15, 0.75), "U itself")
    axes.text(7.43, 0.75, "×", ha="center", va="center", fontsize=17, color=figures.GREY)
    _arrow(axes, (7.7, 0.75), (9.45, 0.75), "scale (4)")
    box: dict[str, Any] = {"fc": "none", "ec": figures.GREY, "ls": "--", "boxstyle": "round,pad=0.1"}
    axes.add_patch(FancyBboxPatch((3.9, 2.05), 3.05, 1.1, **box))
    axes.text(5.43, 3.42, "excite (3)", ha="center", fontsize=9)
    for x, y, text in (
        (0.9, -0.42, "U (N, H, W, C)"),
        (3.43, 1.3, "z (N, C)"),
        (5.43, 1.52, "h (N, C/r)"),
        (8.05, 1.6, "s (N, C)"),
        (10.5, -0.42, "X̃ (N, H, W, C)"),
    ):
        axes.text(x, y, text, ha="center", fontsize=9, color=figures.BLUE)
    axes.set(xlim=(-0.2, 11.6), ylim=(-0.6, 3.9), aspect="equal")
    axes.axis("off")


def _stack(axes: Any, x: float, y: float, colours: Sequence[str], alphas: Sequence[float], size: float = 1.15) -> None:
    """Draw maps (H, W, C) as sheets, one behind another."""
    from matplotlib.patches import Rectangle

    for k, (colour, alpha) in enumerate(zip(colours, alphas, strict=True)):
        at = x + 0.13 * k, y + 0.13 * k
        axes.add_patch(Rectangle(at, size, size, fc="white", ec="none", zorder=-k))
        axes.add_patch(Rectangle(at, size, size, fc=colour, alpha=alpha, ec="none", zorder=-k))
        axes.add_patch(Rectangle(at, size, size, fill=False, ec=figures.GREY, lw=0.7, zorder=-k))


def _column(axes: Any, x: float, y: float, colours: Sequence[str], values: Sequence[float], size: float = 0.27) -> None:
    """Draw a vector as small squares; paler squares are smaller values."""
    from matplotlib.patches import Rectangle

    for k, (colour, value) in enumerate(zip(colours, values, strict=True)):
        at = x, y + size * (k - len(values) / 2)
        axes.add_patch(Rectangle(at, size, size, fc=colour, alpha=value, ec="none"))
        axes.add_patch(Rectangle(at, size, size, fill=False, ec=figures.GREY, lw=0.7))


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], text: str = "") -> None:
    style = {"arrowstyle": "-|>", "color": figures.GREY, "lw": 1.4, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=style)
    axes.text((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.12, text, ha="center", fontsize=9)
