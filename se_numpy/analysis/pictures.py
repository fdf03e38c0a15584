"""Figures of a network's gates, drawn with matplotlib (extra ``plot``) in a given number of columns of panels.

Lines use the colours of Okabe and Ito, and heatmaps use viridis; lines of different colours also have different dash
patterns. ``figure`` draws for wide and narrow screens, in light and dark colours.
"""

import io
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from se_numpy import pages
from se_numpy.analysis.gates import HIGH, LOW, Groups, group_means, group_stds
from se_numpy.analysis.interventions import ALL, kinds
from se_numpy.analysis.study import GateSummary, Study
from se_numpy.train.figures import BLUE, COLOURS, GREY, ORANGE, ink, paper

OWN = {"red": ORANGE, "green": "#009E73", "blue": BLUE, "cyan": "#56B4E9", "magenta": "#CC79A7", "yellow": "#E69F00"}
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))
MOST_PANELS, MOST_CHANNELS = 12, 100
DPI = 130
WIDE, NARROW = 3, 1  # columns of panels on a wide screen and on a phone
INK, PAPER = "#e4e8ec", "#14171b"  # colours of the dark pages, as in their stylesheet
DARK: Any = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), PAPER),
}

Draw = Callable[[Any, str], None]  # axes, name of the panel


def figure(
    draw: Callable[[int], Any], alt: str, columns: tuple[int, int] = (WIDE, NARROW), *, photographs: bool = False
) -> pages.Figure:
    """Return the figure that ``draw`` makes for wide and narrow screens (``columns``), in light and dark colours.

    ``photographs`` keeps all colours; otherwise a figure has at most 256, which makes its file a third as large.
    """
    from matplotlib import rc_context

    save = png if photographs else palette_png
    light = [save(draw(count)) for count in columns]
    with rc_context(DARK):
        dark = [save(draw(count)) for count in columns]
    return pages.Figure(alt, *light, *dark)


def png(drawn: Any) -> bytes:
    """Return a matplotlib figure as a PNG file."""
    file = io.BytesIO()
    drawn.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def palette_png(drawn: Any) -> bytes:
    """Return a matplotlib figure as a PNG file of at most 256 colours."""
    from PIL import Image  # matplotlib needs it too

    file = io.BytesIO()
    with Image.open(io.BytesIO(png(drawn))) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def shown_blocks(found: GateSummary) -> list[str]:
    """Return the blocks that get a panel: all, or a dozen spaced evenly from the first to the last."""
    blocks = list(found.gates)
    if len(blocks) <= MOST_PANELS:
        return blocks
    return [blocks[i] for i in np.linspace(0, len(blocks) - 1, MOST_PANELS).round().astype(int)]


def chosen(groups: Groups, most: int) -> list[int]:
    """Return the groups to draw: all, or ``most`` spaced evenly over the list, regardless of their gates."""
    n = len(groups.names)
    return list(range(n)) if n <= most else np.linspace(0, n - 1, most).round().astype(int).tolist()


def lines(found: GateSummary, groups: Groups, columns: int = WIDE, *, picked: Sequence[int], band: bool = False) -> Any:
    """Draw the mean gate in each channel, for each picked group and for all images, as in Figure 6 of the paper.

    Channels are sorted by their mean gate over all images. ``band`` adds a band of one standard deviation between the
    images of a group, as in Figure 7 for two classes.
    """

    def draw(axes: Any, block: str) -> None:
        s = found.gates[block]
        means, stds, order = group_means(s, groups), group_stds(s, groups), channels(s)
        x = np.arange(len(order))
        for k, colour, dashes in zip(picked, cycle(COLOURS), cycle(DASHES), strict=False):
            colour = OWN.get(groups.names[k], colour)  # a group named after a colour is drawn in that colour
            axes.plot(x, means[k, order], color=colour, linestyle=dashes, linewidth=1.4, label=groups.names[k])
            if band:
                low, high = (np.clip(means[k, order] + sign * stds[k, order], 0, 1) for sign in (-1, 1))
                axes.fill_between(x, low, high, color=colour, alpha=0.22, linewidth=0)
        axes.plot(x, s.mean(0)[order], color=ink(), linewidth=2, alpha=0.75, label="all images")
        axes.set(xlabel="channel, by its mean gate", ylabel="gate", title=block)
        low, high = reach(means)
        axes.set_ylim(low - 0.02, high + 0.02)

    return panels(shown_blocks(found), draw, columns, legend=True)


def heatmaps(found: GateSummary, groups: Groups, columns: int = WIDE) -> Any:
    """Draw the mean gate of each group (rows) and channel (columns), with the channels in the order of ``lines``."""
    from matplotlib.ticker import MaxNLocator

    named = len(groups.names) <= 12

    def draw(axes: Any, block: str) -> None:
        s = found.gates[block]
        means = group_means(s, groups)
        low, high = reach(means)
        image = axes.imshow(means[:, channels(s)], vmin=low, vmax=high, cmap="viridis", aspect="auto",
                            interpolation="nearest")  # fmt: skip
        if named:
            axes.set_yticks(range(len(groups.names)), groups.names, fontsize=8.5)
        axes.set(xlabel="channel, by its mean gate", title=block, ylabel="" if named else groups.what)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.figure.colorbar(image, ax=axes, label="mean gate", shrink=0.9)

    return panels(shown_blocks(found), draw, columns, height=2.7)


def depth(found: GateSummary, columns: int = WIDE) -> Any:
    """Draw, for each block, the share of the gates' variance between groups, and the gates' standard deviation."""
    blocks, x = [b.block for b in found.summaries], np.arange(len(found.summaries))

    def draw(axes: Any, what: str) -> None:
        if what == "share":
            for g, colour, mark in zip(found.groupings, (BLUE, ORANGE), ("o", "s"), strict=False):
                axes.plot(x, [100 * b.between[g.what] for b in found.summaries], color=colour, marker=mark,
                          label=f"between {plural(g.what)}", clip_on=False)  # fmt: skip
            axes.axhline(100 * found.groupings[0].chance, color=GREY, linestyle="--", label="expected by chance")
            axes.set(ylabel="share of variance (%)", ylim=(0, 100))
        else:
            axes.plot(x, [b.spread for b in found.summaries], color=ink(), marker="D", label="all images")
            axes.plot(x, [b.within for b in found.summaries], color=BLUE, marker="o", linestyle="--",
                      label="within a class")  # fmt: skip
            axes.set(ylabel="standard deviation of a gate")
            axes.set_ylim(bottom=0)
        _blocks(axes, blocks)
        axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)

    return panels(["share", "spread"], draw, min(columns, 2), width=4.6, height=3.4)


def saturation(found: GateSummary, columns: int = WIDE) -> Any:
    """Draw, for each block, the shares of gates that are nearly closed, nearly open, and in between."""

    def draw(axes: Any, _: str) -> None:
        x, bottom = np.arange(len(found.summaries)), np.zeros(len(found.summaries))
        low, high = (np.array([100 * getattr(b, name) for b in found.summaries]) for name in ("low", "high"))
        for share, colour, hatch, label in (
            (low, BLUE, "//", f"below {LOW:g}"), (100 - low - high, GREY, "", "in between"),
            (high, ORANGE, "..", f"above {HIGH:g}"),
        ):  # fmt: skip
            axes.bar(x, share, 0.7, bottom, color=colour, hatch=hatch, edgecolor=paper(), label=label)
            bottom = bottom + share
        axes.set(ylabel="share of gates (%)", ylim=(0, 100))
        _blocks(axes, [b.block for b in found.summaries])
        axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, 1.18), ncols=3)

    return panels([""], draw, 1, width=_one(columns), height=3.4)


def costs(found: Study, columns: int = WIDE) -> Any:
    """Draw the accuracy that each intervention costs, with 95 % intervals: a panel for each kind, a row for each block.

    All panels but the first share one scale.
    """
    blocks = [*found.gates, ALL]

    def draw(axes: Any, kind: str) -> None:
        # Setting all gates to 1 may cost so much that the other costs would be unreadable on the same scale.
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
    """Return the title of an intervention's panel."""
    titles = {"one": "all gates 1", "mean": "mean of all images", "shuffled": "gates of another image"}
    group = kind.removesuffix(" mean").removeprefix("within ")
    return titles.get(kind, f"mean of the {group}" if kind.endswith(" mean") else f"another image, same {group}")


def gradient_paths(found: Study, columns: int = WIDE) -> Any:
    """Draw, for each block, the share of U's gradient that comes through the gate."""

    def draw(axes: Any, _: str) -> None:
        axes.bar(np.arange(len(found.paths)), [100 * p.share for p in found.paths.values()], 0.6, color=BLUE)
        axes.set(ylabel="through the gate (%)")
        axes.set_ylim(bottom=0)
        _blocks(axes, list(found.paths))

    return panels([""], draw, 1, width=_one(columns), height=3)


def transplants(found: Study, columns: int = WIDE) -> Any:
    """Draw, for each block, how the network answers with the gates of an image with a different strip."""
    kinds_of_answer = (
        ("own", "own strip's glyph", GREY, ""),
        ("donor", "donor strip's glyph", ORANGE, "//"),
        ("other", "another glyph shown", BLUE, ".."),
        ("unseen", "glyph not shown", ink(), ""),
    )

    def draw(axes: Any, _: str) -> None:
        left = np.zeros(len(found.transplants))
        for key, label, colour, hatch in kinds_of_answer:
            share = np.array([100 * getattr(a, key) for a in found.transplants.values()])
            axes.barh(np.arange(len(left)), share, 0.65, left, color=colour, hatch=hatch, edgecolor=paper(),
                      label=label)  # fmt: skip
            left = left + share
        axes.set_yticks(range(len(left)), list(found.transplants))
        axes.set(xlabel="answers (%)", xlim=(0, 100), ylim=(len(left) - 0.5, -0.5))
        axes.figure.legend(frameon=False, fontsize=9, loc="outside upper center", ncols=4 if columns > 1 else 2,
                           columnspacing=1.2)  # fmt: skip

    return panels([""], draw, 1, width=_one(columns), height=1.6 + 0.4 * len(found.transplants))


def reach(means: np.ndarray) -> tuple[float, float]:
    """Return the range of the gate axis: 0 to 1, or wider if the gates are not sigmoids and exceed that range."""
    return min(0.0, float(means.min())), max(1.0, float(means.max()))


def channels(s: np.ndarray) -> np.ndarray:
    """Return the channels to draw, sorted by their mean gate: all, or a hundred spaced evenly (the paper draws 50)."""
    order = s.mean(0).argsort()
    picked = np.linspace(0, len(order) - 1, min(len(order), MOST_CHANNELS)).round().astype(int)
    return order[picked]


def panels(
    names: Sequence[str], draw: Draw, columns: int, *, width: float = 0.0, height: float = 2.4, legend: bool = False
) -> Any:
    """Draw a panel for each name, ``columns`` of them side by side, and return the figure.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
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
    """Label each block on the x-axis, slanted if the labels would overlap."""
    many = len(names) > 4
    step = -(-len(names) // 24)
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=60 if many else 0, fontsize=9,
                    ha="right" if many else "center")  # fmt: skip
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)


def _one(columns: int) -> float:
    """Return the width of a figure with a single panel, in inches."""
    return 4.6 if columns == NARROW else 6.4


def plural(what: str) -> str:
    """Return the plural of "class" or "cue"."""
    return f"{what}es" if what.endswith("s") else f"{what}s"
