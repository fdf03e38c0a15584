"""The findings of a run, an evaluation and a prediction as text: sentences with their numbers, and tables."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from se_numpy.analysis.evaluation import Evaluation
from se_numpy.analysis.prediction import Prediction
from se_numpy.analysis.runs import RunRecord
from se_numpy.analysis.summaries import percent
from se_numpy.data.glyphs import PLAIN_BOUND
from se_numpy.models import KNOWN
from se_numpy.wrapping import plural, terminal_width, wrap_text

LONGEST = 200  # characters of a setting that are shown; the description of an own network is longer


def interval(low: float, high: float) -> str:
    """Format a 95 % interval of a share."""
    return f"95 % interval {100 * low:.1f} to {100 * high:.1f} %"


def headline(run: RunRecord, found: Evaluation) -> str:
    """Summarise the run in at most three sentences."""
    model, epochs = run.config.get("model", "the network"), len(run.history)
    largest = max(c.images for c in found.by_class()) / len(found.labels)
    text = (
        f"After {epochs} epoch{'s' if epochs > 1 else ''}, {model} classifies {percent(found.accuracy)} of "
        f"{plural(len(found.labels), 'test image')} correctly ({interval(*found.interval)}). Always predicting the "
        f"most frequent class would give {percent(largest)}."
    )
    return f"{text} {_bound(run, found)}".rstrip()


def _bound(run: RunRecord, found: Evaluation) -> str:
    """Compare the result with the proven bound of the built-in set."""
    model, low = run.config.get("model"), found.interval[0]
    if run.config.get("data") != "builtin" or model not in ("resnet8", "se_resnet8"):
        return ""
    if model == "resnet8":
        return (f"Whatever it learns, this network cannot exceed {percent(PLAIN_BOUND)} on this data set, because no "
                "position of its feature maps sees both the strip and the glyphs. SE blocks do.")  # fmt: skip
    if low <= PLAIN_BOUND:
        return f"This is not clearly above {percent(PLAIN_BOUND)}, the most this network can reach without SE blocks."
    return (f"Without SE blocks, this network cannot exceed {percent(PLAIN_BOUND)} on this data set, whatever it "
            "learns: the rest is due to SE.")  # fmt: skip


def findings(run: RunRecord, found: Evaluation) -> list[str]:
    """Return the other findings: the epoch, overfitting, classes, confusions, and contradictions with result.json."""
    return [text for text in (_interrupted(run), _epoch(run), _overfitting(run), _classes(found), _mistakes(found),
                              _contradiction(run, found)) if text]  # fmt: skip


def _interrupted(run: RunRecord) -> str:
    planned = run.config.get("epochs", 0)
    if run.result or len(run.history) >= planned:
        return ""
    return (f"The run was interrupted after {len(run.history)} of {planned} epochs; the results are those of its best "
            "epoch.")  # fmt: skip


def _epoch(run: RunRecord) -> str:
    row = run.chosen
    return (f"The network is from epoch {row['epoch']:.0f} of {len(run.history)}, which had the best accuracy on the "
            f"held-out images: {percent(row['val_accuracy'])}.")  # fmt: skip


def _overfitting(run: RunRecord) -> str:
    row = run.chosen
    if row["train_accuracy"] - row["val_accuracy"] < 0.05:
        return ""
    learned, held_out = percent(row["train_accuracy"]), percent(row["val_accuracy"])
    return (f"In that epoch, accuracy was {learned} on the training images and {held_out} on the held-out images: the "
            "network overfits.")  # fmt: skip


def _classes(found: Evaluation) -> str:
    seen = [c for c in found.by_class() if c.images]
    worst, best = min(seen, key=lambda c: c.recall), max(seen, key=lambda c: c.recall)
    if worst.recall == best.recall:
        return ""
    return (f"The hardest class is {worst.name}, with {percent(worst.recall)} correct ({interval(*worst.interval)}); "
            f"the easiest is {best.name}, with {percent(best.recall)}.")  # fmt: skip


def _mistakes(found: Evaluation) -> str:
    first = found.confusions(1)
    if not first:
        return "The network made no mistakes on these images."
    c, times = first[0], "once" if first[0].times == 1 else f"{first[0].times:,} times"
    return (f"The most frequent mistake is to classify {c.true} as {c.answered}: {times}, or {percent(c.share)} of the "
            f"images of {c.true}.")  # fmt: skip


def _contradiction(run: RunRecord, found: Evaluation) -> str:
    recorded, seen = run.result.get("test_accuracy"), run.result.get("test_images", len(found.labels))
    if recorded is None or (seen == len(found.labels) and abs(recorded - found.accuracy) * len(found.labels) < 5):
        return ""  # a few borderline images may change sides, because machines round sums differently
    images = plural(int(seen), "image")
    return (f"This disagrees with result.json, which records {percent(recorded)} correct of {images}: the images or "
            "the network have changed.")  # fmt: skip


def settings(config: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the configuration as rows of name and text, with the defaults of settings that are not set."""
    known = KNOWN.get(config.get("model", ""))
    unset = {"reduction": f"{known.reduction} (the model's default)" if known else "the model's default",
             "stages": "all", "subset": "all images", "out": "chosen automatically", "clip_norm": "no limit",
             "ema": "none", "class_weights": "none", "patience": "no limit", "init": "random weights",
             "layers": "those of the model", "freeze": "none"}  # fmt: skip
    if not str(config.get("model", "")).startswith("se"):
        unset["reduction"] = "none (no SE blocks)"
    return [(name.replace("_", " "), unset.get(name, "not set") if value is None else _value(value))
            for name, value in config.items()]  # fmt: skip


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


class Column(NamedTuple):
    """A column of a table; columns with a higher ``rank`` are left out first if the table is too wide."""

    head: str
    cells: Sequence[str]
    rank: int = 0
    left: bool = False

    @property
    def width(self) -> int:
        """The number of characters in the widest cell."""
        return max(map(len, (self.head, *self.cells)))


def fitted_table(columns: Sequence[Column], width: int | None) -> list[str]:
    """Format a table in at most ``width`` characters, leaving out columns that do not fit; None keeps all columns."""
    kept = list(columns)
    while width is not None and sum(c.width + 2 for c in kept) - 2 > width and max(c.rank for c in kept) > 0:
        kept.remove(max(kept, key=lambda c: c.rank))
    rows = zip(*((c.head, *c.cells) for c in kept), strict=True)
    return ["  ".join(cell.ljust(c.width) if c.left else cell.rjust(c.width)
                      for cell, c in zip(row, kept, strict=True)).rstrip() for row in rows]  # fmt: skip


def as_text(model: str, found: Evaluation) -> str:
    """Format an evaluation for a terminal; tables leave out columns if the terminal is narrow."""
    facts = [
        f"network  {model}",
        f"data     {found.source}, {plural(len(found.labels), 'test image')}",
        f"loss     {found.loss:.4f}",
        f"accuracy {100 * found.accuracy:.2f} % ({interval(*found.interval)})",
    ]
    results, listed, width = found.by_class(), found.confusions(), terminal_width()
    classes = [
        Column("class", [c.name for c in results], left=True),
        Column("images", [f"{c.images:,}" for c in results], 3),
        Column("correct", [f"{c.right:,}" for c in results], 4),
        Column("recall %", [f"{100 * c.recall:.1f}" for c in results]),
        Column("95 % interval", [f"{100 * c.interval[0]:.1f} to {100 * c.interval[1]:>5.1f}" for c in results], 2),
        Column("precision %", [f"{100 * c.precision:.1f}" for c in results], 1),
    ]
    confusions = [
        Column("true class", [c.true for c in listed], left=True),
        Column("predicted", [c.answered for c in listed], left=True),
        Column("images", [f"{c.times:,}" for c in listed]),
        Column("% of true class", [f"{100 * c.share:.1f}" for c in listed], 1),
    ]
    lines = [*(wrap_text(line, 9) for line in facts), "", "Accuracy by class", *fitted_table(classes, width), ""]
    if listed:
        lines += ["Most frequent confusions", *fitted_table(confusions, width)]
    else:
        lines += ["No mistakes on these images"]
    return "\n".join([*lines, *_matrix(found, width)])


def _matrix(found: Evaluation, terminal: int | None) -> list[str]:
    """Return the lines of the confusion matrix; none if there are more classes than fit in a typical terminal."""
    counts, K = found.confusion, len(found.classes)
    if K > 12:
        return []
    width, cell = max(len(name) for name in found.classes), max(4, len(str(counts.max())) + 1)
    needed = width + 4 + K * cell
    if terminal is not None and needed > terminal:
        return ["", wrap_text(f"Confusion matrix: needs {needed + 1} columns; widen the terminal or use --json")]
    head = " " * (width + 4) + "".join(f"{k:>{cell}}" for k in range(K))
    rows = [
        f"{k:>2}  {found.classes[k]:<{width}}" + "".join(f"{n or '.':>{cell}}" for n in counts[k]) for k in range(K)
    ]
    return ["", "Confusion matrix (rows: true class, columns: predicted class)", head, *rows]


def prediction_text(found: Prediction, encoding: str | None = None) -> str:
    """Format a prediction for a terminal: the most likely classes as bars, and the label if it is known."""
    try:
        block = "█".encode(encoding or "utf-8").decode(encoding or "utf-8")
    except (UnicodeError, LookupError):
        block = "#"
    top = found.top()
    width = max(len(name) for name, _ in top)
    bar = max(0, min(40, (terminal_width() or 80) - width - 13))
    lines = [wrap_text(f"image    {found.shown.description}", 9)]
    lines += [f"  {name:<{width}}  {100 * p:>5.1f} %  {block * round(bar * p)}".rstrip() for name, p in top]
    if found.shown.label is not None:
        name, p = found.classes[found.shown.label], found.probabilities[found.shown.label]
        result = "correct" if found.right else f"wrong: its probability is {100 * p:.1f} %"
        lines.append(wrap_text(f"label    {name} ({result})", 9))
    return "\n".join(lines)


def prediction_row(found: Prediction, width: int) -> str:
    """Format a prediction as one row of several: probability, most likely class, image, and the label if it differs."""
    (name, p), *_ = found.top(1)
    name = name if len(name) <= width else f"{name[: width - 1]}…"
    label = "" if found.right in (True, None) else f" (wrong: {found.classes[found.shown.label or 0]})"
    return f"{100 * p:>5.1f} %  {name:<{width}}  {found.shown.name}{label}"
