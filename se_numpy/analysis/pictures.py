"""Figures of a study, drawn with matplotlib (extra ``plot``): each in as many columns of panels as there is room for.

Colours are Okabe and Ito's, or viridis for heatmaps; where colours tell lines apart, so do the strokes.
"""

import io
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from se_numpy.analysis.gates import HIGH, LOW, Groups, group_means, group_stds
from se_numpy.analysis.interventions import ALL, kinds
from se_numpy.analysis.study import GateSummary, Study
from se_numpy.train.figures import BLUE, COLOURS, GREY, ORANGE

OWN = {"red": ORANGE, "green": "#009E73", "blue": BLUE, "cyan": "#56B4E9", "magenta": "#CC79A7", "yellow": "#E69F00"}
STROKES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))
MOST_PANELS, MOST_CHANNELS = 12, 100
DPI = 130
WIDE, NARROW = 3, 1  # columns of panels on a page, on a phone

Draw = Callable[[Any, str], None]  # onto these axes, for this block


def png(figure: Any) -> bytes:
    """The figure as a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def shown_blocks(found: GateSummary) -> list[str]:
    """The blocks that get a panel: all, or a dozen spread evenly from the first to the last."""
    blocks = list(found.gates)
    if len(blocks) <= MOST_PANELS:
        return blocks
    return [blocks[i] for i in np.linspace(0, len(blocks) - 1, MOST_PANELS).round().astype(int)]


def chosen(groups: Groups, most: int) -> list[int]:
    """Groups to draw: all, or ``most`` spread evenly over the list, so that nobody picked them for what they show."""
    n = len(groups.names)
    return list(range(n)) if n <= most else np.linspace(0, n - 1, most).round().astype(int).tolist()


def lines(found: GateSummary, groups: Groups, columns: int = WIDE, *, picked: Sequence[int], band: bool = False) -> Any:
    """Figure 6 of the paper: the mean gate of each picked group over the channels, and that of all images.

    Channels are in the order of the mean over all. ``band`` adds one standard deviation between images of a group, as
    Figure 7 does for two classes.
    """

    def draw(axes: Any, block: str) -> None:
        s = found.gates[block]
        means, stds, order = group_means(s, groups), group_stds(s, groups), channels(s)
        x = np.arange(len(order))
        for k, colour, stroke in zip(picked, cycle(COLOURS), cycle(STROKES), strict=False):
            colour = OWN.get(groups.names[k], colour)  # a group called after a colour has that one, or its neighbour
            axes.plot(x, means[k, order], color=colour, linestyle=stroke, linewidth=1.4, label=groups.names[k])
            if band:
                low, high = (np.clip(means[k, order] + sign * stds[k, order], 0, 1) for sign in (-1, 1))
                axes.fill_between(x, low, high, color=colour, alpha=0.22, linewidth=0)
        axes.plot(x, s.mean(0)[order], color="black", linewidth=2, alpha=0.75, label="all images")
        axes.set(xlabel="channel, by its mean gate", ylabel="gate", title=block)
        low, high = reach(means)
        axes.set_ylim(low - 0.02, high + 0.02)

    return panels(shown_blocks(found), draw, columns, legend=True)


def heatmaps(found: GateSummary, groups: Groups, columns: int = WIDE) -> Any:
    """The mean gate of each group (down) and channel (across), in the order that ``lines`` has."""
    from matplotlib.ticker import MaxNLocator

    few = len(groups.names) <= 12

    def draw(axes: Any, block: str) -> None:
        s = found.gates[block]
        means = group_means(s, groups)
        low, high = reach(means)
        image = axes.imshow(means[:, channels(s)], vmin=low, vmax=high, cmap="viridis", aspect="auto",
                            interpolation="nearest")  # fmt: skip
        if few:
            axes.set_yticks(range(len(groups.names)), groups.names, fontsize=8.5)
        axes.set(xlabel="channel, by its mean gate", title=block, ylabel="" if few else groups.what)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.figure.colorbar(image, ax=axes, label="mean gate", shrink=0.9)

    return panels(shown_blocks(found), draw, columns, height=2.7)


def depth(found: GateSummary, columns: int = WIDE) -> Any:
    """Block by block: the share of the gates' variance between groups, and how far the gates vary at all."""
    blocks, x = [b.block for b in found.summaries], np.arange(len(found.summaries))

    def draw(axes: Any, what: str) -> None:
        if what == "share":
            for g, colour, mark in zip(found.groupings, (BLUE, ORANGE), ("o", "s"), strict=False):
                axes.plot(x, [100 * b.between[g.what] for b in found.summaries], color=colour, marker=mark,
                          label=f"between {_plural(g.what)}", clip_on=False)  # fmt: skip
            axes.axhline(100 * found.groupings[0].chance, color=GREY, linestyle="--", label="if the class says nothing")
            axes.set(ylabel="share of variance (%)", ylim=(0, 100))
        else:
            axes.plot(x, [b.spread for b in found.summaries], color="black", marker="D", label="all images")
            axes.plot(x, [b.within for b in found.summaries], color=BLUE, marker="o", linestyle="--",
                      label="within a class")  # fmt: skip
            axes.set(ylabel="standard deviation of a gate")
            axes.set_ylim(bottom=0)
        _blocks(axes, blocks)
        axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)

    return panels(["share", "spread"], draw, min(columns, 2), width=4.6, height=3.4)


def saturation(found: GateSummary, columns: int = WIDE) -> Any:
    """The share of gates that are nearly shut, nearly open, and between, block by block."""

    def draw(axes: Any, _: str) -> None:
        x, bottom = np.arange(len(found.summaries)), np.zeros(len(found.summaries))
        low, high = (np.array([100 * getattr(b, name) for b in found.summaries]) for name in ("low", "high"))
        for share, colour, hatch, label in (
            (low, BLUE, "//", f"below {LOW:g}"), (100 - low - high, "#DDDDDD", "", "between"),
            (high, ORANGE, "..", f"above {HIGH:g}"),
        ):  # fmt: skip
            axes.bar(x, share, 0.7, bottom, color=colour, hatch=hatch, edgecolor="white", label=label)
            bottom = bottom + share
        axes.set(ylabel="share of gates (%)", ylim=(0, 100))
        _blocks(axes, [b.block for b in found.summaries])
        axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, 1.18), ncols=3)

    return panels([""], draw, 1, width=_one(columns), height=3.4)


def costs(found: Study, columns: int = WIDE) -> Any:
    """What each intervention costs: a panel a kind, a row a block, 95 % intervals; one scale but for the first."""
    blocks = [*found.gates, ALL]

    def draw(axes: Any, kind: str) -> None:
        # Gates that are all 1 may cost so much that beside it nothing else could be told apart.
        alike = [o for o in found.outcomes if (o.kind == "one") == (kind == "one")]
        low, high = min(100 * o.low for o in alike), max(100 * o.high for o in alike)
        for y, block in enumerate(blocks):
            o, colour, mark = found.outcome(block, kind), *((ORANGE, "D") if block == ALL else (BLUE, "o"))
            axes.plot([100 * o.low, 100 * o.high], [y, y], color=colour, linewidth=2)
            axes.plot(100 * o.cost, y, mark, color=colour, markersize=6)
        axes.axvline(0, color=GREY, linewidth=1)
        axes.set_yticks(range(len(blocks)), blocks, fontsize=8)
        axes.set(xlabel="accuracy lost (points)", title=title_of(kind), ylim=(len(blocks) - 0.4, -0.6),
                 xlim=(low - 0.05 * (high - low), high + 0.05 * (high - low)))  # fmt: skip

    return panels(kinds(found.groupings), draw, columns, height=1.1 + 0.22 * len(blocks))


def title_of(kind: str) -> str:
    """An intervention's name, as people would say it."""
    words = {"one": "all gates 1", "mean": "mean of all images", "shuffled": "another image's gates"}
    what = kind.removesuffix(" mean").removeprefix("within ")
    return words.get(kind, f"mean of its {what}" if kind.endswith(" mean") else f"another's of its {what}")


def gradient_paths(found: Study, columns: int = WIDE) -> Any:
    """The share of U's gradient that comes through the gate, block by block."""

    def draw(axes: Any, _: str) -> None:
        axes.bar(np.arange(len(found.paths)), [100 * p.share for p in found.paths.values()], 0.6, color=BLUE)
        axes.set(ylabel="through the gate (%)")
        axes.set_ylim(bottom=0)
        _blocks(axes, list(found.paths))

    return panels([""], draw, 1, width=_one(columns), height=3)


def transplants(found: Study, columns: int = WIDE) -> Any:
    """What the network answers with the gates of an image with another strip, block by block."""
    kinds_of_answer = (("own", "own strip's glyph", "#BBBBBB", ""), ("donor", "donor strip's glyph", ORANGE, "//"),
                       ("other", "another in sight", BLUE, ".."), ("unseen", "not in sight", "black", ""))  # fmt: skip

    def draw(axes: Any, _: str) -> None:
        left = np.zeros(len(found.transplants))
        for key, label, colour, hatch in kinds_of_answer:
            share = np.array([100 * getattr(a, key) for a in found.transplants.values()])
            axes.barh(np.arange(len(left)), share, 0.65, left, color=colour, hatch=hatch, edgecolor="white",
                      label=label)  # fmt: skip
            left = left + share
        axes.set_yticks(range(len(left)), list(found.transplants))
        axes.set(xlabel="answers (%)", xlim=(0, 100), ylim=(len(left) - 0.5, -0.5))
        axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, 1.0 + 0.13 * 4 / columns),
                    ncols=4 if columns > 1 else 2)  # fmt: skip

    return panels([""], draw, 1, width=_one(columns), height=1.6 + 0.4 * len(found.transplants))


def reach(means: np.ndarray) -> tuple[float, float]:
    """The scale that gates are drawn on: 0 to 1, or beyond where they are not sigmoids and go beyond."""
    return min(0.0, float(means.min())), max(1.0, float(means.max()))


def channels(s: np.ndarray) -> np.ndarray:
    """The channels to draw, by their mean gate; of very many a hundred, spread evenly, as the paper draws fifty."""
    order = s.mean(0).argsort()
    few = np.linspace(0, len(order) - 1, min(len(order), MOST_CHANNELS)).round().astype(int)
    return order[few]


def panels(
    names: Sequence[str], draw: Draw, columns: int, *, width: float = 0.0, height: float = 2.4, legend: bool = False
) -> Any:
    """A figure with a panel for each name, ``columns`` of them side by side.  Raises ImportError without matplotlib."""
    from matplotlib.figure import Figure

    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    width = width or (4.6 if columns == 1 else 3.4)
    figure = Figure(figsize=(columns * width, rows * height + 0.35 * legend), layout="constrained")
    every = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(every, names, strict=False):
        draw(axes, name)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in every[len(names) :]:
        axes.remove()
    if legend:
        handles, labels = every[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2 if columns == 1 else 7, frameon=False)
    return figure


def _blocks(axes: Any, names: list[str]) -> None:
    """A tick for each block, slanted where they would run into each other."""
    many = len(names) > 4
    step = -(-len(names) // 24)
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=60 if many else 0, fontsize=9,
                    ha="right" if many else "center")  # fmt: skip
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)


def _one(columns: int) -> float:
    """The width of a figure with a single panel, in inches."""
    return 4.6 if columns == NARROW else 6.4


def _plural(what: str) -> str:
    return f"{what}es" if what.endswith("s") else f"{what}s"
