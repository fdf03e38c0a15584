"""A run that detects as one HTML page: curves, average precision, pictures with boxes, gates, settings, environment."""

from collections.abc import Callable
from typing import Any

import numpy as np

from se_numpy import pages
from se_numpy.analysis import detection_gates, detection_pictures, pictures
from se_numpy.analysis.detection import SIZES, DetectionEvaluation, evaluate_detection
from se_numpy.analysis.detection_text import share, size_names
from se_numpy.analysis.network import Network
from se_numpy.analysis.run_page import GATE_IMAGES, MAKER, environments, facts
from se_numpy.analysis.run_summaries import settings
from se_numpy.analysis.runs import RunRecord
from se_numpy.data import Dataset
from se_numpy.pages import Figure, Table
from se_numpy.train.figures import draw_curves
from se_numpy.wrapping import plural

SHOWN = 9  # pictures with boxes
THRESHOLD = 0.3  # the least score of the boxes that are drawn


def page(
    run: RunRecord, network: Network, dataset: Dataset, device: str, progress: Callable[[int], object]
) -> str:  # fmt: skip
    """Return the HTML of the page.

    Raises
    ------
    ValueError
        As ``evaluate_detection`` does.
    """
    found = evaluate_detection(network, dataset, device=device, progress=progress)
    images = min(GATE_IMAGES, found.images)
    gates = detection_gates.study(network, dataset, images, kinds=()) if network.blocks and images > 1 else None
    return pages.render(
        "detection_report.html", maker=MAKER, title=f"{run.config.get('model', 'A network')} on {dataset.name}",
        source=f"{found.source}. Evaluated on the test set with the network of the best epoch.",
        overview=[("Test AP50", f"{share(found.ap50)} %"), ("Test AP", f"{share(found.precision.ap())} %"),
                  *facts(run, network)],
        headline=headline(run, found), findings=findings(run, found), curves=_curves(run),
        classes=_classes(found), sizes=_sizes(found), precision=_precision(found), boxes=_boxes(found, dataset),
        gates=None if gates is None else _gates(gates), no_gates=network.why_no_gates.partition(";")[0],
        settings=settings(run.config), environments=environments(run),
    )  # fmt: skip


def headline(run: RunRecord, found: DetectionEvaluation) -> str:
    """Summarise the run in two sentences."""
    model, p = run.config.get("model", "the network"), found.precision
    return (
        f"After {plural(len(run.history), 'epoch')}, {model} finds the {plural(len(found.truth), 'object')} in "
        f"{plural(found.images, 'test image')} with an average precision of {share(p.ap(0.5))} % at an overlap of one "
        f"half (AP50). As a mean over overlaps from 0.5 to 0.95, it is {share(p.ap())} % (AP)."
    )


def findings(run: RunRecord, found: DetectionEvaluation) -> list[str]:
    """Return the other findings: the epoch, the hardest and the easiest class, and the sizes."""
    p, row = found.precision, run.chosen
    sentences = [
        f"The network is from epoch {row['epoch']:.0f} of {len(run.history)}, which had the best AP50 on the held-out "
        f"images: {share(row['val_ap50'])} %."
    ]
    seen = [(p.ap(0.5, of=k), name) for k, name in enumerate(found.classes) if found.objects()[k]]
    if len(seen) > 1:
        (low, worst), (high, best) = min(seen), max(seen)
        sentences.append(f"The hardest class is {worst} (AP50 {share(low)} %), the easiest {best} ({share(high)} %).")
    sizes = "; ".join(f"{size} {share(p.ap(0.5, area=size))} %" for size in SIZES)
    sentences.append(f"AP50 by size: {sizes}.")
    return sentences


def _curves(run: RunRecord) -> Figure:
    row, epochs = run.chosen, plural(len(run.history), "epoch")
    alt = f"Loss and AP50 over {epochs}. At epoch {row['epoch']:.0f}: held-out AP50 {share(row['val_ap50'])} %."
    return pictures.figure(lambda columns: draw_curves(run.history, columns=columns), alt, columns=(2, 1))


def _classes(found: DetectionEvaluation) -> Table:
    p = found.precision
    return Table(
        ["class", "objects", "AP50 (%)", "AP (%)", *(f"AP, {size} (%)" for size in SIZES), "recall (%)"],
        [[name, f"{found.objects()[k]:,}", share(p.ap(0.5, of=k)), share(p.ap(of=k)),
          *(share(p.ap(of=k, area=size)) for size in SIZES), share(p.ar(of=k))]
         for k, name in enumerate(found.classes)])  # fmt: skip


def _sizes(found: DetectionEvaluation) -> Table:
    p = found.precision
    return Table(
        ["size", "objects", "AP50 (%)", "AP (%)"],
        [[words, f"{found.objects(size).sum():,}", share(p.ap(0.5, area=size)), share(p.ap(area=size))]
         for size, words in zip(SIZES, size_names(found), strict=True)])  # fmt: skip


def _precision(found: DetectionEvaluation) -> Figure:
    each = "; ".join(f"{name} {share(found.precision.ap(0.5, of=k))} %" for k, name in enumerate(found.classes))
    return pictures.figure(lambda columns: detection_pictures.precision_curves(found, columns),
                           f"Precision against recall. AP50: {each}.")  # fmt: skip


def _boxes(found: DetectionEvaluation, dataset: Dataset) -> Figure:
    picked = np.arange(min(SHOWN, found.images))
    chosen = found.found.at_least(THRESHOLD)
    each = [chosen.of(int(i)) for i in picked]
    alt = "Pictures with boxes: " + "; ".join(
        ", ".join(f"{found.classes[k]} {score:.2f}" for k, score in zip(one.classes, one.scores, strict=True)) or "none"
        for one in each
    )
    truth = [found.truth.of(int(i)) for i in picked]

    def draw(columns: int) -> Any:
        return detection_pictures.with_boxes(
            dataset.test_images[picked], each, found.classes, truth=truth, columns=columns
        )

    return pictures.figure(draw, f"{alt}.", photographs=True)


def _gates(found: detection_gates.DetectorStudy) -> dict[str, Any]:
    """Return the page's section on gates: findings and a figure for scenes and objects."""
    figures = [pictures.figure(draw, alt) for _, _, _, alt, draw in detection_gates.pictures_of(found)[::2]]
    return {"findings": detection_gates.findings(found), "figures": figures, "images": plural(found.images, "image")}
