"""The figure of a table: our test errors with a dot per seed and a bar at the mean, next to the paper's numbers."""

from pathlib import Path
from typing import Any

from se_numpy.ablation.report import Report
from se_numpy.train.figures import BLUE, GREY, ORANGE

INK, PALE = "#444444", "#666666"
TEXT_BOX = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}  # hides the line behind the text


def draw(report: Report, path: str | Path) -> None:
    """Draw the figure and write it to ``path``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    lines = report.lines
    figure = Figure(figsize=(9.5, 1.5 + 0.42 * len(lines)), layout="constrained")
    ours, papers = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    _ours(ours, report)
    _papers(papers, report)
    ours.set_yticks(range(len(lines)), [line.row.label for line in lines])
    ours.set_ylim(len(lines) - 0.4, -0.6)
    for axes in (ours, papers):
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    figure.suptitle(report.table.title, fontsize=12)
    figure.savefig(path, dpi=130)


def _ours(axes: Any, report: Report) -> None:
    single = sum(line.row.against is None for line in report.lines) == 1
    for y, line in enumerate(report.lines):
        baseline = line.row.against is None
        colour = ORANGE if baseline else BLUE
        if line.mean is None:
            reason = "not possible" if isinstance(line.cost, str) else "failed" if line.failures else "not run yet"
            axes.annotate(reason, (0.02, y), xycoords=("axes fraction", "data"), va="center", color=PALE, fontsize=9,
                          bbox=TEXT_BOX)  # fmt: skip
            continue
        axes.plot([line.mean] * 2, [y - 0.3, y + 0.3], color=colour, linewidth=2.2, solid_capstyle="butt")
        n = len(line.errors)
        heights = [y + 0.16 * (i - (n - 1) / 2) for i in range(n)]
        axes.plot(list(line.errors.values()), heights, "o", color=colour, markersize=5, alpha=0.75, clip_on=False)
        if baseline and single:
            axes.axvline(line.mean, color=GREY, linestyle="--", linewidth=1, zorder=0)
    seeds = len(report.study.seeds)
    dots = f"{seeds} seeds (dots) and their mean (bar)" if seeds > 1 else "one seed"
    axes.set(xlabel="test error (%)", title=f"{report.data}: {dots}")
    axes.title.set_fontsize(9.5)
    axes.margins(x=0.08)


def _papers(axes: Any, report: Report) -> None:
    single = sum(line.row.against is None for line in report.lines) == 1
    for y, line in enumerate(report.lines):
        for n in line.row.printed:
            if single and line.row.against is None:
                axes.axvline(n.value, color=GREY, linestyle="--", linewidth=1, zorder=0)
            axes.plot(n.value, y, "D", color=ORANGE if line.row.against is None else BLUE, markersize=5.5,
                      zorder=3)  # fmt: skip
            axes.annotate(f"{n.value:.{n.digits}f}", (n.value, y), (7, 0), textcoords="offset points", va="center",
                          fontsize=9, color=INK, bbox=TEXT_BOX, zorder=2)  # fmt: skip
        if not line.row.printed:
            axes.annotate("not in the paper", (0.02, y), xycoords=("axes fraction", "data"), va="center",
                          color=PALE, fontsize=9)  # fmt: skip
    data = "ImageNet and CIFAR-10" if report.table.name == "networks" else "ResNet-50 on ImageNet"
    axes.set(xlabel="top-1 error (%)", title=f"Paper: {data}")
    axes.title.set_fontsize(9.5)
    axes.margins(x=0.2)
