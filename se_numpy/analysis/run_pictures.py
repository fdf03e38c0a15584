"""Figures of a run's report and of a prediction, drawn with matplotlib (extra ``plot``)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from se_numpy.analysis.evaluation import Evaluation
from se_numpy.analysis.grad_cam import Explanation
from se_numpy.analysis.pictures import MOST_PANELS, WIDE, panels, reach
from se_numpy.analysis.prediction import Prediction
from se_numpy.data.images import displayable
from se_numpy.train.figures import BLUE, GREY, ORANGE, ink, paper

COUNTED = 20  # with more classes than this, the cells are too small for numbers
MISTAKES = 18  # number of mistakes shown: three rows on a wide screen, six on a phone


def confusion(found: Evaluation, columns: int = WIDE) -> Any:
    """Draw the confusion matrix: rows are true classes, colours show shares of a row, and numbers count images."""
    from matplotlib.colors import LinearSegmentedColormap

    counts, names = found.confusion, list(found.classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    counted = len(names) <= COUNTED
    colours = LinearSegmentedColormap.from_list("share", [paper(), BLUE])
    wide = columns == WIDE
    width = 6.6 if wide else 4.6

    def draw(axes: Any, _: str) -> None:
        image = axes.imshow(100 * shares, vmin=0, vmax=100, cmap=colours, interpolation="nearest")
        every = 1 if counted else -(-len(names) // 25)
        axes.set_xticks(range(0, len(names), every), names[::every], rotation=60, ha="right", rotation_mode="anchor",
                        fontsize=8.5 if counted else 6)  # fmt: skip
        axes.set_yticks(range(0, len(names), every), names[::every], fontsize=8.5 if counted else 6)
        axes.set(xlabel="predicted class", ylabel="true class")
        axes.grid(False)
        for i, j in zip(*np.nonzero(counts), strict=True) if counted else ():
            axes.text(j, i, f"{counts[i, j]}", ha="center", va="center", fontsize=8.5 if wide else 6.5,
                      color=readable(colours(shares[i, j])[:3]))  # fmt: skip
        axes.figure.colorbar(image, ax=axes, label="share of the true class (%)", shrink=0.75,
                             location="right" if wide else "bottom")  # fmt: skip

    return panels([""], draw, 1, width=width, height=(0.86 if wide else 1.15) * width)


def readable(colour: Sequence[float]) -> str:
    """Return black or white, whichever contrasts more (WCAG 2) with a colour (r, g, b) of values from 0 to 1."""
    c = np.asarray(colour)
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return "black" if (luminance + 0.05) ** 2 >= 1.05 * 0.05 else "white"


def mistakes(found: Evaluation, images: np.ndarray, columns: int = WIDE) -> Any:
    """Draw the images misclassified with the highest probability, as the network saw them; None if there are none."""
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
        predicted, probability = found.classes[found.answers[i]], 100 * found.probabilities[i].max()
        axes.set_title(f"{predicted}, {probability:.1f} %", fontsize=9)
        axes.set_xlabel(f"true: {found.classes[found.labels[i]]}", fontsize=9)
    for axes in every[len(picked) :]:
        axes.remove()
    return figure


def picture(axes: Any, image: np.ndarray) -> None:
    """Draw an image (H, W, C) uint8 without interpolation."""
    axes.imshow(displayable(image), interpolation="nearest", cmap="gray", vmin=0, vmax=255)  # unless in colour
    axes.set_xticks([])
    axes.set_yticks([])


def evidence(axes: Any, image: np.ndarray, found: Explanation) -> None:
    """Draw Grad-CAM over an image in grey: transparent where the map is 0, bright where it is largest.

    The brightest 2 % of the pixels share one colour; otherwise a single pixel could darken all others.
    """
    heat = found.stretched(*image.shape[:2])[0]
    share = np.minimum(heat / (np.quantile(heat, 0.98) or heat.max() or 1.0), 1.0)
    picture(axes, image.mean(-1, keepdims=True))
    axes.imshow(share, cmap="viridis", alpha=0.85 * np.sqrt(share), vmin=0, vmax=1, interpolation="nearest")


def sheet(found: Sequence[Prediction], columns: int = WIDE) -> Any:
    """Draw several images with their answers and, to the right of each, its Grad-CAM for each explained part."""
    from matplotlib.figure import Figure

    parts = len(found[0].explanations)
    across = max(1, (6 if columns == WIDE else 3) // (1 + parts))
    down = -(-len(found) // across)
    figure = Figure(figsize=(1.75 * across * (1 + parts), 2.1 * down), layout="constrained")
    every = figure.subplots(down, across * (1 + parts), squeeze=False).ravel()
    for n, one in enumerate(found):
        left, *others = every[n * (1 + parts) : (n + 1) * (1 + parts)]
        picture(left, one.shown.image)
        (name, p), *_ = one.top(1)
        left.set_title(f"{shortened(name, 18)}, {100 * p:.1f} %", fontsize=9)
        if one.shown.label is not None and not one.right:
            left.set_xlabel(f"true: {shortened(one.classes[one.shown.label], 18)}", fontsize=9)
        for axes, explained in zip(others, one.explanations, strict=True):
            evidence(axes, one.shown.image, explained)
            axes.set_title(explained.part, fontsize=9)
    for axes in every[len(found) * (1 + parts) :]:
        axes.remove()
    return figure


def shortened(text: str, most: int) -> str:
    """Return the text with at most this number of characters, the last of them … if some are left out."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def prediction(found: Prediction, means: Mapping[str, np.ndarray]) -> Any:
    """Draw an image as the network sees it, Grad-CAM, the most probable classes, and the gates with the ``means``."""
    from matplotlib.figure import Figure

    blocks = list(found.gates)
    if len(blocks) > MOST_PANELS:
        blocks = [blocks[i] for i in np.linspace(0, len(blocks) - 1, MOST_PANELS).round().astype(int)]
    rows = -(-len(blocks) // WIDE)
    figure = Figure(figsize=(3.4 * WIDE, 2.9 + 2.3 * rows), layout="constrained")
    both: Any = figure.subfigures(2, 1, height_ratios=[2.9, 2.3 * rows]) if rows else (figure, None)
    above, below = both
    left, *middle, right = above.subplots(
        1, 2 + len(found.explanations), width_ratios=[1] * (1 + len(found.explanations)) + [1.9]
    )
    picture(left, found.shown.image)
    left.set_title("as the network sees it:\n" + "x".join(map(str, found.shown.image.shape)), fontsize=10)
    for axes, one in zip(middle, found.explanations, strict=True):
        evidence(axes, found.shown.image, one)
        axes.set_title(f"Grad-CAM of\n{one.part}", fontsize=10)
    _bars(right, found)
    if below is not None:
        _gates(below.subplots(rows, WIDE, squeeze=False).ravel(), blocks, found, means)
    return figure


def _bars(axes: Any, found: Prediction) -> None:
    """Draw the most probable classes: the true class in blue and the others in orange; all in grey if it is unknown."""
    top = found.top()
    label = None if found.shown.label is None else found.classes[found.shown.label]
    colours = [GREY if label is None else BLUE if name == label else ORANGE for name, _ in top]
    axes.barh(range(len(top)), [100 * p for _, p in top], 0.65, color=colours)
    for y, (_, p) in enumerate(top):
        axes.text(100 * p + 1, y, f"{100 * p:.1f} %", va="center", fontsize=9)
    axes.set_yticks(range(len(top)), [name for name, _ in top])
    axes.set(xlim=(0, 115), ylim=(len(top) - 0.5, -0.5), xlabel="probability (%)")
    axes.set_xticks(range(0, 101, 25))
    axes.spines[["top", "right"]].set_visible(False)
    if label is not None:
        axes.set_title(f"correct: {label}" if found.right else f"wrong: the true class is {label}", fontsize=10)


def _gates(every: Any, blocks: list[str], found: Prediction, means: Mapping[str, np.ndarray]) -> None:
    """Draw a panel for each block: the image's gates as dots and the mean gates, if any, as a line."""
    for axes, block in zip(every, blocks, strict=False):
        s, mean = found.gates[block], means.get(block)
        order, x = (s if mean is None else mean).argsort(), np.arange(len(s))
        if mean is not None:
            axes.plot(x, mean[order], color=ink(), linewidth=2, alpha=0.75, label="mean of test images")
        axes.plot(x, s[order], ".", color=ORANGE, markersize=4, label="this image")
        low, high = reach(s)
        axes.set(xlabel=f"channel, by its {'gate' if mean is None else 'mean gate'}", ylabel="gate",
                 ylim=(low - 0.02, high + 0.02))  # fmt: skip
        axes.set_title(block, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    every[0].legend(frameon=False, fontsize=8, loc="best")
    for axes in every[len(blocks) :]:
        axes.remove()
