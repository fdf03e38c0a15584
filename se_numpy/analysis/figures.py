"""Figures, drawn with matplotlib (extra ``plot``), written to a file, without a window."""

from pathlib import Path

# Okabe and Ito's palette, which people with any kind of colour vision can tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"


def curves(history: list[dict[str, float]], path: str | Path, *, title: str = "") -> None:
    """Loss and accuracy against epochs, for the images learned from and those held out, as a PNG at ``path``.

    ``history`` holds one row an epoch, as in metrics.csv.  Raises ImportError without matplotlib.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [row["epoch"] for row in history]
    best = max(history, key=lambda row: row["val_accuracy"])
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, what, unit, factor in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("cross-entropy", "%"), (1, 100), strict=True
    ):
        for kind, label, colour in (("train", "training", BLUE), ("val", "held out", ORANGE)):
            values = [factor * row[f"{kind}_{what}"] for row in history]
            axes.plot(epochs, values, color=colour, marker="o", markersize=3, linewidth=1.8, label=label)
        axes.set(xlabel="epoch", ylabel=f"{what} ({unit})")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.axvline(best["epoch"], color=GREY, linestyle=":", linewidth=1)
    axes.annotate(
        f"{100 * best['val_accuracy']:.1f} %, chosen", (best["epoch"], 100 * best["val_accuracy"]), (-6, -14),
        textcoords="offset points", ha="right", color=ORANGE,
    )  # fmt: skip
    axes.legend(frameon=False, loc="lower right" if len(epochs) > 1 else "best")
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
