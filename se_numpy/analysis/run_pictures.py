"""Figures of a run's report and of one prediction, drawn with matplotlib (extra ``plot``)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from se_numpy.analysis.evaluation import Evaluation
from se_numpy.analysis.pictures import MOST_PANELS, WIDE, panels, reach
from se_numpy.analysis.prediction import Prediction
from se_numpy.train.figures import BLUE, GREY, ORANGE

COUNTED = 20  # with more classes than this the cells are too small for a number
MISTAKES = 18  # pictures of mistakes: three rows on a screen, six on a phone


def confusion(found: Evaluation, columns: int = WIDE) -> Any:
    """The confusion matrix: colours are shares of a row, numbers are images; the true class down."""
    counts, names = found.confusion, list(found.classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    few = len(names) <= COUNTED
    wide = columns == WIDE
    width = 6.6 if wide else 4.6

    def draw(axes: Any, _: str) -> None:
        image = axes.imshow(100 * shares, vmin=0, vmax=100, cmap="Blues", interpolation="nearest")
        every = 1 if few else -(-len(names) // 25)
        axes.set_xticks(range(0, len(names), every), names[::every], rotation=60, ha="right", rotation_mode="anchor",
                        fontsize=8.5 if few else 6)  # fmt: skip
        axes.set_yticks(range(0, len(names), every), names[::every], fontsize=8.5 if few else 6)
        axes.set(xlabel="answered", ylabel="true")
        for i, j in zip(*np.nonzero(counts), strict=True) if few else ():
            axes.text(j, i, f"{counts[i, j]}", ha="center", va="center", fontsize=8.5 if wide else 6.5,
                      color="white" if shares[i, j] > 0.55 else "black")  # fmt: skip
        axes.figure.colorbar(image, ax=axes, label="share of the true class (%)", shrink=0.75,
                             location="right" if wide else "bottom")  # fmt: skip

    return panels([""], draw, 1, width=width, height=(0.86 if wide else 1.15) * width)


def mistakes(found: Evaluation, images: np.ndarray, columns: int = WIDE) -> Any:
    """The images that were named wrong with the most confidence, as the network saw them; None where there is none."""
    from matplotlib.figure import Figure

    picked = found.worst(MISTAKES)
    if not len(picked):
        return None
    across = 6 if columns == WIDE else 3
    down = -(-len(picked) // across)
    figure = Figure(figsize=(1.62 * across, 2.0 * down), layout="constrained")
    every = figure.subplots(down, across, squeeze=False).ravel()
    for axes, i in zip(every, picked, strict=False):
        picture(axes, images[i])
        said, sure = found.classes[found.answers[i]], 100 * found.probabilities[i].max()
        axes.set_title(f"{said}, {sure:.1f} %", fontsize=9, color=ORANGE)
        axes.set_xlabel(f"is {found.classes[found.labels[i]]}", fontsize=9)
    for axes in every[len(picked) :]:
        axes.remove()
    return figure


def picture(axes: Any, image: np.ndarray) -> None:
    """One image (H, W, C) uint8, pixel by pixel."""
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if image.shape[-1] == 1 else {}
    axes.imshow(image[..., 0] if grey else image, interpolation="nearest", **grey)
    axes.set_xticks([])
    axes.set_yticks([])


def prediction(said: Prediction, means: Mapping[str, np.ndarray]) -> Any:
    """The image as the network sees it, its five likeliest classes, its gates; beside those the ``means``, if any."""
    from matplotlib.figure import Figure

    blocks = list(said.gates)
    if len(blocks) > MOST_PANELS:
        blocks = [blocks[i] for i in np.linspace(0, len(blocks) - 1, MOST_PANELS).round().astype(int)]
    rows = -(-len(blocks) // WIDE)
    figure = Figure(figsize=(3.4 * WIDE, 2.9 + 2.3 * rows), layout="constrained")
    both: Any = figure.subfigures(2, 1, height_ratios=[2.9, 2.3 * rows]) if rows else (figure, None)
    above, below = both
    left, right = above.subplots(1, 2, width_ratios=[1, 1.9])
    picture(left, said.shown.image)
    left.set_title("as the network sees it: " + "x".join(map(str, said.shown.image.shape)), fontsize=10)
    _bars(right, said)
    if below is not None:
        _gates(below.subplots(rows, WIDE, squeeze=False).ravel(), blocks, said, means)
    return figure


def _bars(axes: Any, said: Prediction) -> None:
    """The likeliest classes; blue is the image's own, grey where it is not known."""
    top = said.top()
    label = None if said.shown.label is None else said.classes[said.shown.label]
    colours = [GREY if label is None else BLUE if name == label else ORANGE for name, _ in top]
    axes.barh(range(len(top)), [100 * p for _, p in top], 0.65, color=colours)
    for y, (_, p) in enumerate(top):
        axes.text(100 * p + 1, y, f"{100 * p:.1f} %", va="center", fontsize=9)
    axes.set_yticks(range(len(top)), [name for name, _ in top])
    axes.set(xlim=(0, 115), ylim=(len(top) - 0.5, -0.5), xlabel="probability (%)")
    axes.set_xticks(range(0, 101, 25))
    axes.spines[["top", "right"]].set_visible(False)
    if label is not None:
        axes.set_title(f"right: it is {label}" if said.right else f"wrong: it is {label}", fontsize=10)


def _gates(every: Any, blocks: list[str], said: Prediction, means: Mapping[str, np.ndarray]) -> None:
    """A panel a block: the image's gates as dots, over the line of the means where there are some."""
    for axes, block in zip(every, blocks, strict=False):
        s, mean = said.gates[block], means.get(block)
        order, x = (s if mean is None else mean).argsort(), np.arange(len(s))
        if mean is not None:
            axes.plot(x, mean[order], color="black", linewidth=2, alpha=0.75, label="mean of test images")
        axes.plot(x, s[order], ".", color=ORANGE, markersize=4, label="this image")
        low, high = reach(s)
        axes.set(xlabel=f"channel, by its {'gate' if mean is None else 'mean gate'}", ylabel="gate",
                 ylim=(low - 0.02, high + 0.02))  # fmt: skip
        axes.set_title(block, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    every[0].legend(frameon=False, fontsize=8, loc="best")
    for axes in every[len(blocks) :]:
        axes.remove()
