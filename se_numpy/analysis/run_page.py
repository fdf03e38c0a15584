"""A training run as one HTML page: curves, accuracy by class, mistakes, gates, settings, environment."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy import pages
from se_numpy.analysis import pictures, run_pictures, summaries
from se_numpy.analysis.builtin_cue import CueEvidence, cue_evidence
from se_numpy.analysis.evaluation import Evaluation, evaluate
from se_numpy.analysis.grad_cam import maps_before_gates, parts_with_maps
from se_numpy.analysis.info import in_words
from se_numpy.analysis.network import Network, load
from se_numpy.analysis.prediction import TEST, numbered_image, predict_each
from se_numpy.analysis.run_summaries import findings, headline, interval, settings
from se_numpy.analysis.runs import RunRecord, read_run
from se_numpy.analysis.study import GateSummary, summarize
from se_numpy.analysis.summaries import percent
from se_numpy.complexity import cost
from se_numpy.data import Dataset
from se_numpy.data.glyphs import PLAIN_BOUND
from se_numpy.pages import Figure, Table
from se_numpy.train.console import duration
from se_numpy.train.detecting import Detection
from se_numpy.train.figures import draw_curves
from se_numpy.wrapping import plural

NAME = "report.html"
MAKER = "se-numpy report"  # named in the page; only a page that names it is overwritten
GATE_IMAGES = 1000  # test images whose gates are summarised
CUE_IMAGES = 200  # test images of the built-in set whose Grad-CAM is compared with the strip and the glyph
EXPLAINED = 4  # images whose Grad-CAM is drawn


def write_report(
    folder: str | Path, dataset: Dataset, out: str | Path | None = None, *, device: str = "cpu",
    progress: Callable[[int], object] = lambda n: None,
) -> Path:  # fmt: skip
    """Write the report of the run in ``folder`` to ``out`` (default: report.html in the folder) and return its path.

    ``progress`` is called with the size of each batch of test images that is evaluated.

    Raises
    ------
    ValueError
        If the folder does not hold a run, or the run used another data set.
    ImportError
        If matplotlib is not installed.
    RuntimeError
        If Jinja2 is not installed.
    """
    import matplotlib  # noqa: F401 - fail before minutes of work, not after

    if missing := pages.missing_library("plot"):
        raise RuntimeError(missing)
    run, network = read_run(folder), load(folder)
    path = Path(out) if out is not None else run.folder / NAME
    if network.task.name == Detection.name:
        from se_numpy.analysis.detection_page import page as detection_page

        path.write_text(detection_page(run, network, dataset, device, progress), encoding="utf-8")
        return path
    found = evaluate(network, dataset, device=device, progress=progress)
    images = min(GATE_IMAGES, len(dataset.test_labels))
    gates = summarize(network, dataset, images) if network.blocks and images > 1 else None
    path.write_text(page(run, network, dataset, found, gates), encoding="utf-8")
    return path


def page(run: RunRecord, network: Network, dataset: Dataset, found: Evaluation, gates: GateSummary | None) -> str:
    """Return the HTML of the page; ``gates`` is None for a network without gates."""
    return pages.render(
        "run_report.html", maker=MAKER, title=f"{run.config.get('model', 'A network')} on {dataset.name}",
        source=f"{found.source}. Evaluated on the test set with the network of the best epoch.",
        overview=overview(run, network, found), headline=headline(run, found), findings=findings(run, found),
        curves=_curves(run, dataset), classes=_classes(found),
        accuracy=f"Overall accuracy is {percent(found.accuracy)} ({interval(*found.interval)}) and the cross-entropy "
                 f"is {found.loss:.4f}.",
        confusion=_confusion(found), confusions=_confusions(found), mistakes=_mistakes(found, dataset),
        gates=None if gates is None else _gates(gates), no_gates=_no_gates(network),
        grad_cam=_grad_cam(network, dataset), settings=settings(run.config), environments=environments(run),
    )  # fmt: skip


def overview(run: RunRecord, network: Network, found: Evaluation) -> list[tuple[str, str]]:
    """Return the main facts about a run: accuracy, date, training time, size of the network, device."""
    return [("Test accuracy", percent(found.accuracy)), *facts(run, network)]


def facts(run: RunRecord, network: Network) -> list[tuple[str, str]]:
    """Return the facts about a run that do not depend on its results."""
    size = cost(network.net, network.shape)
    epochs, seconds = len(run.history), sum(row.get("seconds", 0.0) for row in run.history)
    rows = [
        ("Date", _date(run)),
        ("Training time", f"{duration(seconds)} for {epochs} epoch{'s' * (epochs != 1)}" if seconds else ""),
        ("Parameters", f"{size.parameters:,}"),
        ("Multiply-adds per image", f"{size.multiply_adds():,}"),
        ("Device", _device(run)),
    ]
    return [(name, text) for name, text in rows if text]


def _date(run: RunRecord) -> str:
    """Return the time when the run started or, if that was not recorded, when its settings were written."""
    started = run.starts[0].get("started") if run.starts else None
    if isinstance(started, str):
        try:
            return f"{datetime.fromisoformat(started).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        except ValueError:
            pass
    file = (run.folder or Path()) / "config.json"
    return f"{datetime.fromtimestamp(file.stat().st_mtime, UTC):%Y-%m-%d %H:%M} UTC" if file.is_file() else ""


def _device(run: RunRecord) -> str:
    """Return the GPU or processor used at the last start, or the device from the settings if neither is known."""
    start = run.starts[-1] if run.starts else {}
    gpu, cpu = start.get("gpu"), start.get("cpu")
    if run.config.get("device") != "cpu" and isinstance(gpu, dict) and gpu.get("name"):
        return f"GPU: {gpu['name']}"
    threads = start.get("threads")
    words = [str(cpu["model"])] if isinstance(cpu, dict) and cpu.get("model") else []
    words += [f"{threads} thread{'s' * (threads != 1)}"] if threads else []
    return f"CPU: {', '.join(words)}" if words else str(run.config.get("device", ""))


def _curves(run: RunRecord, dataset: Dataset) -> Figure:
    bounded = dataset.name == "builtin" and run.config.get("model") == "resnet8"
    bound = (PLAIN_BOUND, "upper bound for resnet8 (without SE)") if bounded else None
    row = run.chosen
    epochs = len(run.history)
    alt = (f"Loss and accuracy over {epochs} epoch{'s' * (epochs != 1)}. At epoch {row['epoch']:.0f}: "
           f"training accuracy {percent(row['train_accuracy'])}, "
           f"validation accuracy {percent(row['val_accuracy'])}.")  # fmt: skip
    return _figure(lambda columns: draw_curves(run.history, bound=bound, columns=columns), alt, columns=(2, 1))


def _classes(found: Evaluation) -> Table:
    return Table(
        ["class", "images", "correct", "recall (%)", "95 % interval", "precision (%)"],
        [[c.name, f"{c.images:,}", f"{c.right:,}", f"{100 * c.recall:.1f}",
          f"{100 * c.interval[0]:.1f}–{100 * c.interval[1]:.1f}", f"{100 * c.precision:.1f}"]
         for c in found.by_class()])  # fmt: skip


def _confusion(found: Evaluation) -> Figure:
    alt = "Confusion matrix. Most common confusions: " + (
        "; ".join(f"{c.true} classified as {c.answered} {_times(c.times)}" for c in found.confusions()) or "none"
    )
    return _figure(lambda columns: run_pictures.confusion(found, columns), f"{alt}.")


def _confusions(found: Evaluation) -> Table:
    return Table(["true class", "predicted class", "images", "share of true class"],
                 [[c.true, c.answered, f"{c.times:,}", f"{100 * c.share:.1f} %"] for c in found.confusions()],
                 text_columns=2)  # fmt: skip


def _mistakes(found: Evaluation, dataset: Dataset) -> Figure | None:
    picked = found.worst(run_pictures.MISTAKES)
    if not len(picked):
        return None
    alt = "Misclassified images with their predicted and true classes: " + "; ".join(
        f"{found.classes[found.answers[i]]}, true class {found.classes[found.labels[i]]}" for i in picked
    )
    return _figure(lambda columns: run_pictures.mistakes(found, dataset.test_images, columns), f"{alt}.",
                   photographs=True)  # fmt: skip


def _gates(found: GateSummary) -> dict[str, Any]:
    """Return the page's section on gates: findings, a figure with its explanation, and a table of the blocks."""
    groups = found.groupings[-1]
    picked = pictures.chosen(groups, 4 if groups.what == "class" else 6)
    drawn = "selected classes" if groups.what == "class" else "each strip colour"
    alt = "Mean gates over channels. " + "; ".join(f"{b.block}: mean gate {b.mean:.2f}" for b in found.summaries)
    return {
        "findings": summaries.of_gates(found),
        "text": f"The mean gate in each channel of each block, for {drawn} and for all images, measured on "
                f"{plural(found.images, 'test image')}.",
        "figure": _figure(lambda columns: pictures.lines(found, groups, columns, picked=picked), f"{alt}."),
        "blocks": Table(
            ["block", "channels", "mean gate", "standard deviation between images", "below 0.05", "above 0.95",
             *(f"variance between {pictures.plural(g.what)}" for g in found.groupings)],
            [[b.block, str(b.channels), f"{b.mean:.2f}", f"{b.spread:.3f}", f"{100 * b.low:.1f} %",
              f"{100 * b.high:.1f} %", *(f"{100 * share:.1f} %" for share in b.between.values())]
             for b in found.summaries]),
    }  # fmt: skip


def _grad_cam(network: Network, dataset: Dataset) -> dict[str, Any] | None:
    """Return the page's section on Grad-CAM: text and figure; None for a network without maps."""
    if not list(parts_with_maps(network.net, network.shape)):
        return None
    before = maps_before_gates(network.net, network.shape) if dataset.name == "builtin" else None
    parts = [None] if before is None else [before, None]
    _, first = np.unique(dataset.test_labels, return_index=True)  # the first image of each class
    picked = first[np.linspace(0, len(first) - 1, min(len(first), EXPLAINED)).round().astype(int)]
    found = list(predict_each(network, [numbered_image(dataset, f"{TEST}{i}") for i in picked], parts=parts))
    images = dataset.test_images[:CUE_IMAGES]
    cue = [cue_evidence(network, images, part) for part in parts] if dataset.name == "builtin" else []
    alt = "Images and the regions that speak for the answer: " + "; ".join(
        f"{one.top(1)[0][0]}, {percent(one.top(1)[0][1])}" for one in found
    )
    return {
        "part": found[0].explanations[-1].part,
        "findings": [_on_cue(one, len(images)) for one in cue],
        "figure": _figure(lambda columns: run_pictures.sheet(found, columns), f"{alt}.", photographs=True),
    }


def _on_cue(found: CueEvidence, images: int) -> str:
    strip, of_strip, glyph, of_glyph = map(percent, (found.strip, found.strip_area, found.glyph, found.glyph_area))
    return (
        f"Grad-CAM of {found.part}: {strip} of its mass lies on the strip ({of_strip} of the image), {glyph} on the "
        f"glyph in its colour ({of_glyph}); means of {plural(images, 'test image')}."
    )


def _no_gates(network: Network) -> str:
    return "" if network.blocks else f"The network is {network.why_no_gates.partition(';')[0]}."


def environments(run: RunRecord) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return a title and the facts for each start of the run."""
    return [(f"Resumed after epoch {start.get('epoch')}", in_words(start)) for start in run.starts]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _figure(draw: Callable[[int], Any], alt: str, **how: Any) -> Figure:
    return pictures.figure(draw, alt, **how)
