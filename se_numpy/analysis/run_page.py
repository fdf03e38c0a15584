"""A run as one HTML page: what it shows, its curves, its mistakes, its gates, what it was asked and what it ran on."""

from pathlib import Path
from typing import Any

from se_numpy.analysis import html, pictures, run_pictures, summaries
from se_numpy.analysis.evaluation import Evaluation, evaluate
from se_numpy.analysis.info import in_words
from se_numpy.analysis.network import Network, load
from se_numpy.analysis.run_summaries import findings, headline, interval, settings
from se_numpy.analysis.runs import RunRecord, read_run
from se_numpy.analysis.study import GateSummary, summarize
from se_numpy.analysis.summaries import percent
from se_numpy.data import Dataset
from se_numpy.data.glyphs import PLAIN_BOUND
from se_numpy.train.figures import draw_curves

NAME = "report.html"
MAKER = "se-numpy report"  # the page says so, and may be written over by its like
LOOKED_AT = 1000  # test images whose gates are summed up
FOLDED = 20  # a table of more classes than this is folded away


def write_report(folder: str | Path, dataset: Dataset, out: str | Path | None = None, *, device: str = "cpu") -> Path:
    """The report of the run in ``folder`` on its data set, written to ``out`` (default: report.html in the folder).

    Raises ValueError where the folder is no run's or the data set another, ImportError without matplotlib.
    """
    import matplotlib  # noqa: F401 - said before minutes of work, not after

    run, network = read_run(folder), load(folder)
    found = evaluate(network, dataset, device=device)
    seen = summarize(network, dataset, min(LOOKED_AT, len(dataset.test_labels))) if network.blocks else None
    path = Path(out) if out is not None else run.folder / NAME
    path.write_text(page(run, network, dataset, found, seen), encoding="utf-8")
    return path


def page(run: RunRecord, network: Network, dataset: Dataset, found: Evaluation, seen: GateSummary | None) -> str:
    """The page itself; ``seen`` is None for a network without gates."""
    title = f"{run.config.get('model', 'A network')} on {dataset.name}"
    return html.document(title, "\n".join([
        html.paragraph(f"{found.source}. The test set, with the network of the best epoch.", "quiet"),
        html.paragraph(headline(run, found), "answer"),
        html.section("What is seen", html.bullets(findings(run, found))),
        _curves(run, dataset),
        _classes(found),
        _confusions(found),
        _mistakes(found, dataset),
        _gates(network, seen),
        html.section("What it was asked", html.facts(settings(run.config))),
        _machines(run),
    ]), MAKER)  # fmt: skip


def _curves(run: RunRecord, dataset: Dataset) -> str:
    bounded = dataset.name == "builtin" and run.config.get("model") == "resnet8"
    bound = (PLAIN_BOUND, "no resnet8 without SE passes this") if bounded else None
    row = run.chosen
    text = ("The images learned from (as they were drawn, during the epoch) and those held out of the training set "
            "(after it). The dotted line is the epoch whose network was kept.")  # fmt: skip
    alt = (f"Loss and accuracy over {len(run.history)} epochs. At epoch {row['epoch']:.0f}: training "
           f"{percent(row['train_accuracy'])}, held out {percent(row['val_accuracy'])}.")  # fmt: skip
    return html.section("Learning", html.paragraph(text),
                         _figure(lambda columns: draw_curves(run.history, bound=bound, columns=columns), alt,
                                 columns=(2, 1)))  # fmt: skip


def _classes(found: Evaluation) -> str:
    rows = [[c.name, f"{c.images:,}", f"{c.right:,}", f"{100 * c.recall:.1f} %",
             f"{100 * c.interval[0]:.1f} to {100 * c.interval[1]:.1f}", f"{100 * c.precision:.1f} %"]
            for c in found.by_class()]  # fmt: skip
    table = html.table(["class", "images", "right", "recall", "95 % interval", "precision"], rows)
    text = ("Recall: of the images of a class, the share that was named so. Precision: of the images named so, the "
            f"share that are. All together: {percent(found.accuracy)} ({interval(*found.interval)}), cross-entropy "
            f"{found.loss:.4f}.")  # fmt: skip
    shown = html.folded(f"All {len(rows)} classes", table) if len(rows) > FOLDED else table
    return html.section("Class by class", html.paragraph(text), shown)


def _confusions(found: Evaluation) -> str:
    listed = found.confusions()
    alt = "Confusion matrix. " + "; ".join(f"{c.true} taken for {c.answered} {c.times} times" for c in listed)
    table = html.table(["true", "answered", "times", "of the class"],
                        [[c.true, c.answered, f"{c.times:,}", f"{100 * c.share:.1f} %"] for c in listed])  # fmt: skip
    return html.section("What is taken for what", html.paragraph(
        "A row for each true class; the colour is the share of it, so that rows can be compared."),
        _figure(lambda columns: run_pictures.confusion(found, columns), alt),
        html.folded("The commonest mistakes", table) if listed else "")  # fmt: skip


def _mistakes(found: Evaluation, dataset: Dataset) -> str:
    picked = found.worst(run_pictures.MISTAKES)
    if not len(picked):
        return ""
    alt = "Images, each with what it was called and what it is: " + "; ".join(
        f"{found.classes[found.answers[i]]}, is {found.classes[found.labels[i]]}" for i in picked)  # fmt: skip
    text = "Where it was surest and wrong: what it said, how likely it thought that, and what the label says."
    return html.section("The worst mistakes", html.paragraph(text), _figure(
        lambda columns: run_pictures.mistakes(found, dataset.test_images, columns), alt))  # fmt: skip


def _gates(network: Network, seen: GateSummary | None) -> str:
    if seen is None:
        return html.section("The gates", html.paragraph(f"This is a {network.why_no_gates.partition(';')[0]}."))
    rows = [[b.block, str(b.channels), f"{b.mean:.2f}", f"±{b.spread:.3f}", f"{100 * b.low:.1f} %",
             f"{100 * b.high:.1f} %", *(f"{100 * share:.1f} %" for share in b.between.values())]
            for b in seen.summaries]  # fmt: skip
    head = ["block", "channels", "mean", "between images", "below .05", "above .95",
            *(f"decided by the {g.what}" for g in seen.groupings)]  # fmt: skip
    groups = seen.groupings[-1]
    picked = pictures.chosen(groups, 4 if groups.what == "class" else 6)
    few = "a few classes" if groups.what == "class" else "each colour of the strip"
    text = (f"On {seen.images:,} test images: the mean gate of {few} over the channels of each block, and the mean "
            "over all images.")  # fmt: skip
    alt = "Mean gates over channels. " + "; ".join(f"{b.block}: mean gate {b.mean:.2f}" for b in seen.summaries)
    return html.section("The gates", html.bullets(summaries.of_gates(seen)), html.paragraph(text), _figure(
        lambda columns: pictures.lines(seen, groups, columns, picked=picked), alt),
        html.folded("Block by block", html.table(head, rows)),
        html.paragraph("What the gates are needed for, se-numpy excitations tells."))  # fmt: skip


def _machines(run: RunRecord) -> str:
    """What each start of the run says of its machine; the first in sight."""
    if not run.starts:
        return html.section("What it ran on", html.paragraph("Not known: the run's folder holds no env.json."))
    later = [html.folded(f"Gone on with after epoch {start.get('epoch')}", html.facts(in_words(start)))
             for start in run.starts[1:]]  # fmt: skip
    return html.section("What it ran on", html.facts(in_words(run.starts[0])), *later)


def _figure(draw: Any, alt: str, columns: tuple[int, int] = (pictures.WIDE, pictures.NARROW)) -> str:
    wide, narrow = (pictures.png(draw(count)) for count in columns)
    return html.figure(wide, narrow, alt)
