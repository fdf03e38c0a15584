"""What a run shows, in plain sentences and rows; each names the number it rests on."""

from typing import Any

from se_numpy.analysis.evaluation import Evaluation
from se_numpy.analysis.prediction import Prediction
from se_numpy.analysis.runs import RunRecord
from se_numpy.analysis.summaries import percent
from se_numpy.data.glyphs import PLAIN_BOUND
from se_numpy.models import KNOWN
from se_numpy.wrapping import wrap_text


def interval(low: float, high: float) -> str:
    """A 95 % interval for people."""
    return f"95 % interval {100 * low:.1f} to {100 * high:.1f} %"


def headline(run: RunRecord, found: Evaluation) -> str:
    """What the run shows, in a sentence or three."""
    model, epochs = run.config.get("model", "the network"), len(run.history)
    commonest = max(c.images for c in found.by_class()) / len(found.labels)
    text = (
        f"After {epochs} epoch{'s' if epochs > 1 else ''} {model} names {percent(found.accuracy)} of "
        f"{len(found.labels):,} test images right ({interval(*found.interval)}). Naming the commonest class every time "
        f"would get {percent(commonest)}."
    )
    return f"{text} {_bound(run, found)}".rstrip()


def _bound(run: RunRecord, found: Evaluation) -> str:
    """What the proof of the built-in set says of this result."""
    model, low = run.config.get("model"), found.interval[0]
    if run.config.get("data") != "builtin" or model not in ("resnet8", "se_resnet8"):
        return ""
    if model == "resnet8":
        return (f"Whatever it learns, this network cannot pass {percent(PLAIN_BOUND)} here, for no place in it sees "
                "both the strip and the glyphs; SE blocks do.")  # fmt: skip
    if low <= PLAIN_BOUND:
        return f"That is not yet more than this network could get without SE blocks: {percent(PLAIN_BOUND)} at most."
    return (f"The same network without SE blocks cannot pass {percent(PLAIN_BOUND)} here, whatever it learns: so what "
            "is right beyond that it owes to them.")  # fmt: skip


def findings(run: RunRecord, found: Evaluation) -> list[str]:
    """What else there is to say: the epoch, learning by heart, classes, mistakes, and what does not fit together."""
    return [text for text in (_ended(run), _epoch(run), _by_heart(run), _classes(found), _mistakes(found),
                              _contradiction(run, found)) if text]  # fmt: skip


def _ended(run: RunRecord) -> str:
    wanted = run.config.get("epochs", 0)
    if run.result or len(run.history) >= wanted:
        return ""
    return f"The run was cut off after {len(run.history)} of {wanted} epochs; this is what its best epoch can do."


def _epoch(run: RunRecord) -> str:
    row = run.chosen
    return (f"The network is that of epoch {row['epoch']:.0f} of {len(run.history)}, which did best on the training "
            f"images that were held out: {percent(row['val_accuracy'])}.")  # fmt: skip


def _by_heart(run: RunRecord) -> str:
    row = run.chosen
    if row["train_accuracy"] - row["val_accuracy"] < 0.05:
        return ""
    learned, held_out = percent(row["train_accuracy"]), percent(row["val_accuracy"])
    return (f"During that epoch it named {learned} of the images right that it learned from, and after it {held_out} "
            "of those held out: it has learned some by heart.")  # fmt: skip


def _classes(found: Evaluation) -> str:
    seen = [c for c in found.by_class() if c.images]
    worst, best = min(seen, key=lambda c: c.recall), max(seen, key=lambda c: c.recall)
    if worst.recall == best.recall:
        return ""
    return (f"Hardest is {worst.name}, of which {percent(worst.recall)} are named right ({interval(*worst.interval)}); "
            f"easiest is {best.name} with {percent(best.recall)}.")  # fmt: skip


def _mistakes(found: Evaluation) -> str:
    first = found.confusions(1)
    if not first:
        return "It made no mistake on these images."
    c, times = first[0], "once" if first[0].times == 1 else f"{first[0].times:,} times"
    return f"Its commonest mistake is to take {c.true} for {c.answered}: {times}, {percent(c.share)} of that class."


def _contradiction(run: RunRecord, found: Evaluation) -> str:
    told, seen = run.result.get("test_accuracy"), run.result.get("test_images", len(found.labels))
    if told is None or (seen == len(found.labels) and abs(told - found.accuracy) * len(found.labels) < 5):
        return ""  # some images on the edge may fall to the other side, as sums are rounded differently elsewhere
    return (f"result.json says {percent(told)} of {seen:,.0f} images: so these are not the same images, or not the "
            "same network.")  # fmt: skip


def settings(config: dict[str, Any]) -> list[tuple[str, str]]:
    """The configuration as rows; what was left to the model is said as such."""
    known = KNOWN.get(config.get("model", ""))
    unset = {"reduction": f"{known.reduction if known else 'the model’s own'} (the model's own)", "stages": "all",
             "subset": "all images", "out": "chosen by the program"}  # fmt: skip
    if not str(config.get("model", "")).startswith("se"):
        unset["reduction"] = "none: no SE blocks"
    return [(name.replace("_", " "), unset.get(name, "not set") if value is None else _value(value))
            for name, value in config.items()]  # fmt: skip


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_text(model: str, found: Evaluation) -> str:
    """An evaluation for a terminal."""
    width = max(5, *(len(name) for name in found.classes))
    lines = [
        f"network  {model}",
        f"data     {found.source}, {len(found.labels):,} test images",
        f"loss     {found.loss:.4f}",
        f"right    {100 * found.accuracy:.2f} % ({interval(*found.interval)})",
        "",
        f"{'class':<{width}}  images   right  recall %   95 % interval  precision %",
    ]
    lines += [
        f"{c.name:<{width}}  {c.images:>6,}  {c.right:>6,}  {100 * c.recall:>8.1f}   "
        f"{100 * c.interval[0]:>5.1f} to {100 * c.interval[1]:>5.1f}  {100 * c.precision:>11.1f}"
        for c in found.by_class()
    ]
    listed = found.confusions()
    lines += ["", "taken for another, most often" if listed else "no mistake on these images"]
    lines += [
        f"  {c.true:<{width}} for {c.answered:<{width}} {c.times:>5,} times, {100 * c.share:>4.1f} % of the class"
        for c in listed
    ]
    return "\n".join([*(wrap_text(line, 9) for line in lines[:4]), *lines[4:], *_matrix(found)])


def _matrix(found: Evaluation) -> list[str]:
    """The confusion matrix in numbers, for as many classes as a terminal is wide enough for."""
    counts, K = found.confusion, len(found.classes)
    if K > 12:
        return []
    width, cell = max(len(name) for name in found.classes), max(4, len(str(counts.max())) + 1)
    head = " " * (width + 4) + "".join(f"{k:>{cell}}" for k in range(K))
    rows = [
        f"{k:>2}  {found.classes[k]:<{width}}" + "".join(f"{n or '.':>{cell}}" for n in counts[k]) for k in range(K)
    ]
    return ["", "the true class down, the answer across", head, *rows]


def said(found: Prediction, encoding: str | None = None) -> str:
    """A prediction for a terminal: its classes as bars, and whether it is right where that is known."""
    try:
        block = "█".encode(encoding or "utf-8").decode(encoding or "utf-8")
    except (UnicodeError, LookupError):
        block = "#"
    top = found.top()
    width = max(len(name) for name, _ in top)
    lines = [wrap_text(f"image    {found.shown.what}", 9)]
    lines += [f"  {name:<{width}}  {100 * p:>5.1f} %  {block * round(40 * p)}".rstrip() for name, p in top]
    if found.shown.label is not None:
        name, p = found.classes[found.shown.label], found.probabilities[found.shown.label]
        lines.append(f"right    it is {name}" if found.right else f"wrong    it is {name}, which got {100 * p:.1f} %")
    return "\n".join(lines)
