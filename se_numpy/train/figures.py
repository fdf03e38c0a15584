"""Figures of runs, drawn with matplotlib (extra ``plot``) and written to files."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from textwrap import wrap
from typing import IO, Any, NamedTuple

import numpy as np

from se_numpy.data.images import displayable

# The palette of Okabe and Ito, safe for colour-blind readers.
BLUE, ORANGE, GREEN, PINK, AMBER, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLOURS = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY)
GREY = "#999999"
MARKS = ("o", "s", "D", "^", "v", "P", "X")  # 7 markers for 6 colours, so that 42 pairs differ

History = Sequence[Mapping[str, float]]  # a row for each epoch, as in metrics.csv


class Predictions(NamedTuple):
    """Images (n, H, W, C) uint8 with their predicted and true classes, and a caption."""

    images: np.ndarray
    predicted: Sequence[str]
    true: Sequence[str]
    caption: str = ""


def ink() -> str:
    """Return the colour of text, which depends on the style in use."""
    from matplotlib import rcParams

    return rcParams["text.color"]


def paper() -> str:
    """Return the colour of the background, which depends on the style in use."""
    from matplotlib import rcParams

    return rcParams["figure.facecolor"]


def curves(
    history: History, path: str | Path | IO[bytes], *, title: str = "", bound: tuple[float, str] | None = None,
    predictions: Predictions | None = None,
) -> None:  # fmt: skip
    """Plot loss and accuracy over the epochs, for training and held-out images, as a PNG file.

    Of a run on another task, the metric of that task is drawn. A dotted line marks the chosen epoch. ``bound`` is an
    accuracy (0 to 1) and the label of the line drawn there; ``predictions`` are drawn below the curves.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    if predictions is None:
        draw_curves(history, title=title, bound=bound).savefig(path, dpi=120, format="png")
        return
    figure: Any = Figure(figsize=(9, 5.7), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3.7, 2))
    draw_curves(history, title=title, bound=bound, figure=above)
    _draw_predictions(below, predictions)
    figure.savefig(path, dpi=120, format="png")


def _draw_predictions(figure: Any, predictions: Predictions) -> None:
    """Draw the images in a row, each with its predicted class above."""
    figure.suptitle(predictions.caption, fontsize=10)
    panels = figure.subplots(1, len(predictions.images), squeeze=False)[0]
    for axes, image, predicted, true in zip(panels, *predictions[:3], strict=True):
        axes.imshow(displayable(image), cmap="gray", vmin=0, vmax=255)
        correct = predicted == true
        axes.set_title(predicted, fontsize=9, color=BLUE if correct else ORANGE)
        axes.set_xlabel("correct" if correct else f"true: {true}", fontsize=9, color=BLUE if correct else ORANGE)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)


def draw_curves(
    history: History, *, title: str = "", bound: tuple[float, str] | None = None, columns: int = 2, figure: Any = None
) -> Any:
    """Draw the figure of ``curves`` with its two panels side by side, or with ``columns`` 1 one below the other."""
    metric = metric_of(history)
    chosen = max(history, key=lambda row: (row[f"val_{metric}"], row["epoch"]))
    figure, panels = _panels(columns, figure, metric)
    epochs = [row["epoch"] for row in history]
    chosen_label = f"chosen: epoch {chosen['epoch']:.0f}, {100 * chosen[f'val_{metric}']:.1f} %"
    for axes, what, factor in zip(panels, ("loss", metric), (1, 100), strict=True):
        for kind, label, colour in (("train", "training", BLUE), ("val", "held out", ORANGE)):
            if f"{kind}_{what}" not in history[0]:
                continue
            axes.plot(epochs, [factor * row[f"{kind}_{what}"] for row in history], color=colour, marker="o",
                      markersize=4, linewidth=1.8, label=label)  # fmt: skip
        axes.axvline(chosen["epoch"], color="black", linestyle=":", linewidth=1.3, zorder=0.9, label=chosen_label)
        highest = max(factor * max(row.get(f"train_{what}", 0), row[f"val_{what}"]) for row in history)
        axes.set_ylim(0, 105 if what == metric else 1.07 * highest or None)
        axes.set_xlim(0.5, max(epochs) + 0.5)
    if bound is not None:
        _draw_bound(panels[1], 100 * bound[0], bound[1])
    # As the title of the legend it cannot overlap the legend.
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False,
                  title=title, title_fontsize=12, fontsize=10 if columns == 2 else 9)  # fmt: skip
    return figure


def _draw_bound(axes: Any, level: float, words: str) -> None:
    """Draw a line at ``level`` with its label above, at the end with more room between the curves."""
    curves = [line.get_xydata() for line in axes.get_lines()[:2]]
    low, high = axes.get_xlim()

    def room(ends: tuple[float, float]) -> float:
        x = np.linspace(*ends)
        return min(float(np.abs(np.interp(x, *curve.T) - (level + 7)).min()) for curve in curves)

    third = (high - low) / 2.4
    right = room((high - third, high)) > room((low, low + third))
    axes.axhline(level, color=GREY, linestyle="--", linewidth=1, zorder=0.9)
    axes.annotate("\n".join(wrap(words, len(words) // 2 + 3)), (float(right), level), (-2 if right else 3, 5),
                  xycoords=("axes fraction", "data"), textcoords="offset points", ha="right" if right else "left",
                  color=ink(), fontsize=9,
                  bbox={"boxstyle": "square,pad=0.1", "facecolor": paper(), "edgecolor": "none"})  # fmt: skip


def draw_together(runs: Mapping[str, Sequence[History]], *, title: str = "", columns: int = 2) -> Any:
    """Draw the curves of several settings in one figure; ``runs`` maps a label to the histories of its seeds.

    Solid lines are for held-out images, dashed lines for training images. For several runs, the mean is drawn with a
    band of one standard deviation, over the epochs that all of them have.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the runs have different tasks.
    """
    from matplotlib.lines import Line2D

    metrics = {metric_of(history) for histories in runs.values() for history in histories}
    if len(metrics) > 1:
        raise ValueError("some of the runs classify and some detect; draw those of one task together")
    metric = metrics.pop()
    figure, panels = _panels(columns, metric=metric)
    longest = max(min(map(len, histories)) for histories in runs.values())
    for axes, what, factor in zip(panels, ("loss", metric), (1, 100), strict=True):
        for (label, histories), colour, mark in zip(runs.items(), cycle(COLOURS), cycle(MARKS), strict=False):
            for kind, stroke in (("train", "--"), ("val", "-")):
                if f"{kind}_{what}" not in histories[0][0]:
                    continue
                epochs, mean, spread = _mean(histories, f"{kind}_{what}")
                held_out = kind == "val"
                # A line through one epoch is invisible, so it gets a marker, hollow for training images.
                shown = mark if held_out or len(epochs) == 1 else None
                axes.plot(epochs, factor * mean, stroke, color=colour, marker=shown, markersize=4 if held_out else 6,
                          fillstyle="full" if held_out else "none", linewidth=1.8 if held_out else 1.0,
                          label=label if held_out else None)  # fmt: skip
                if held_out and len(histories) > 1:
                    axes.fill_between(epochs, factor * (mean - spread), factor * (mean + spread), color=colour,
                                      alpha=0.2, linewidth=0)  # fmt: skip
        axes.set_xlim(0.5, longest + 0.5)
    lines, labels = panels[0].get_legend_handles_labels()
    end = "o" if longest == 1 else ""
    strokes = [Line2D([], [], color=ink(), linestyle="-", marker=end),
               Line2D([], [], color=ink(), linestyle="--", marker=end, fillstyle="none")]  # fmt: skip
    figure.legend([*lines, *strokes], [*labels, "held out", "training"], loc="outside lower center", frameon=False,
                  ncols=columns if max(map(len, labels)) > 20 else 2 * columns)  # fmt: skip
    figure.suptitle(title)
    return figure


def _mean(histories: Sequence[History], key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the epochs, and a column's mean and standard deviation over the runs, up to the end of the shortest."""
    shortest = min(histories, key=len)
    values = np.array([[row[key] for row in history[: len(shortest)]] for history in histories])
    spread = values.std(0, ddof=1) if len(values) > 1 else np.zeros(len(shortest))
    return np.array([row["epoch"] for row in shortest]), values.mean(0), spread


def metric_of(history: History) -> str:
    """Return the metric by which the epoch of this history was chosen."""
    return "ap50" if history and "val_ap50" in history[0] else "accuracy"


def _panels(columns: int, figure: Any = None, metric: str = "accuracy") -> tuple[Any, Any]:
    """Create the panels for loss and accuracy, in a new figure if none is given."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = figure or Figure(figsize=(9, 3.8) if columns == 2 else (4.6, 6.4), layout="constrained")
    panels = figure.subplots(3 - columns, columns)
    loss = "loss (cross-entropy)" if metric == "accuracy" else "loss"
    for axes, label in zip(panels, (loss, f"{metric.replace('ap', 'AP')} (%)"), strict=True):
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels
