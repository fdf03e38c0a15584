"""Figures, drawn with matplotlib (extra ``plot``), written to a file, without a window."""

from pathlib import Path

# Okabe and Ito's palette, which people with any kind of colour vision can tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"


def curves(
    history: list[dict[str, float]], path: str | Path, *, title: str = "", bound: tuple[float, str] | None = None
) -> None:
    """Loss and accuracy against epochs, for the images learned from and those held out, as a PNG at ``path``.

    ``history`` holds one row an epoch, as in metrics.csv; the epoch that was chosen is ringed. ``bound`` draws a line
    at an accuracy (0 to 1) and says what it is.  Raises ImportError without matplotlib.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [row["epoch"] for row in history]
    chosen = max(history, key=lambda row: (row["val_accuracy"], row["epoch"]))
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axes, what, unit, factor in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("cross-entropy", "%"), (1, 100), strict=True
    ):
        for kind, label, colour in (("train", "training", BLUE), ("val", "held out", ORANGE)):
            values = [factor * row[f"{kind}_{what}"] for row in history]
            axes.plot(epochs, values, color=colour, marker="o", markersize=3, linewidth=1.8, label=label)
        axes.plot(
            chosen["epoch"], factor * chosen[f"val_{what}"], "o", markersize=10, fillstyle="none", color=ORANGE,
            clip_on=False, label=f"chosen: epoch {chosen['epoch']:.0f}, {100 * chosen['val_accuracy']:.1f} %",
        )  # fmt: skip
        axes.set(xlabel="epoch", ylabel=f"{what} ({unit})")
        axes.set_ylim(bottom=0, top=105 if what == "accuracy" else None)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    if bound is not None:
        axes.axhline(100 * bound[0], color=GREY, linestyle="--", linewidth=1)
        axes.annotate(bound[1], (1, 100 * bound[0]), (0, 3), xycoords=("axes fraction", "data"),
                      textcoords="offset points", ha="right", color="#666666", fontsize=9)  # fmt: skip
    figure.axes[0].legend(frameon=False, loc="best")
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
