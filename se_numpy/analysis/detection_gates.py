"""The gates of a network that detects: by scene and by object, and the average precision lost when they are replaced.

Gates are recorded on test images. By scene, the images are grouped by their labels; by object, an image counts once for
each of its objects. Replaced gates are 1, the mean over all images, or those of another image.
"""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from se_numpy.analysis.gates import BlockSummary, Groups, grouped, record_with, summarize_block
from se_numpy.analysis.interventions import ALL, all_donors, outputs_with, replacements
from se_numpy.analysis.network import Network, check_fit
from se_numpy.analysis.study import GateSummary, group_rows
from se_numpy.data import Dataset
from se_numpy.data.scenes import NAME as SCENES
from se_numpy.detection import Detections, average_precision
from se_numpy.train.detecting import Detection, detections

KINDS = ("one", "mean", "shuffled")


@dataclass(frozen=True)
class Loss:
    """The average precision (AP50) with the gates of a block, or of all, replaced in one way, and the loss of it."""

    block: str
    gates: str
    ap50: float
    lost: float


@dataclass(frozen=True)
class DetectorStudy:
    """The gates of a detector on some images, and the outcomes of interventions.

    They are grouped by scene (by the label of the image, in other data sets) and by object.
    """

    network: Network
    source: str
    images: int
    ap50: float
    scenes: GateSummary
    objects: GateSummary
    losses: tuple[Loss, ...]


def study(
    network: Network, dataset: Dataset, images: int = 1000, *, seed: int = 0, quiet: bool = True,
    kinds: Sequence[str] = KINDS,
) -> DetectorStudy:  # fmt: skip
    """Study the gates on the first ``images`` test images of ``dataset``, with a progress bar unless ``quiet``.

    ``kinds`` are the ways in which the gates of each block, and of all blocks, are replaced.
    ``seed`` determines which images exchange their gates.

    Raises
    ------
    ValueError
        If ``images`` is less than 2, if the network was trained to classify or does not match the data set, or if
        there are no objects in the images.
    """
    network.check_task(Detection.name, "a study of gates by object")
    check_fit(network, dataset)
    if images < 2:
        raise ValueError(f"--images is {images}; expected 2 or more, because gates are compared between images")
    seen, labels = dataset.test_images[:images], dataset.test_labels[:images]
    boxes = dataset.boxes("test").chosen(np.arange(len(seen)))
    if not len(boxes):
        raise ValueError(f"the first {len(seen)} test images have no objects; give more --images")

    def ap50(parts: Iterable[np.ndarray]) -> float:
        found, first = [], 0
        for Y in parts:
            found.append(detections(Y, first=first))
            first += len(Y)
        return average_precision(boxes, Detections.joined(found), classes=len(network.classes), thresholds=[0.5],
                                 areas={"all": (0, 1e10)}).ap()  # fmt: skip

    total = (1 + (len(network.blocks) + 1) * len(kinds)) * len(seen)
    with tqdm(total=total, unit="image", desc="gates", disable=quiet, leave=False, dynamic_ncols=True) as bar:
        gates, outputs = record_with(network, seen, lambda Y: Y, bar.update)
        scenes = grouped("scene" if dataset.name == SCENES else "class", dataset.classes, labels)
        own, losses = ap50(outputs), []
        donor_of = {"shuffled": all_donors((), len(seen), seed)["shuffled"]}
        for block in [*gates, ALL]:
            names = list(gates) if block == ALL else [block]
            given = {name: replacements(gates[name], (), donor_of) for name in names}
            for kind in kinds:
                found = ap50(outputs_with(network, seen, {name: given[name][kind] for name in names}, bar.update))
                short = {**network.blocks, ALL: ALL}[block]
                losses.append(Loss(short, kind, found, own - found))
    objects = grouped("object", dataset.objects, boxes.classes)
    short_gates = {network.blocks[name]: s for name, s in gates.items()}
    of_objects = {block: s[boxes.images] for block, s in short_gates.items()}
    by_scene, by_object = (
        GateSummary(network, dataset.source, len(groups.of), own, (groups,), of, _summaries(of, groups))
        for of, groups in ((short_gates, scenes), (of_objects, objects))
    )
    return DetectorStudy(network, dataset.source, len(seen), own, by_scene, by_object, tuple(losses))


def _summaries(gates: dict[str, np.ndarray], groups: Groups) -> tuple[BlockSummary, ...]:
    return tuple(summarize_block(block, s, (groups,)) for block, s in gates.items())


def findings(found: DetectorStudy) -> list[str]:
    """Return the findings as sentences with their numbers."""
    sentences = []
    for summary in (found.scenes, found.objects):
        what = summary.groupings[0].what
        most = max(summary.summaries, key=lambda b: b.between[what])
        sentences.append(
            f"The {what} explains most of the variance of the gates in {most.block}: {100 * most.between[what]:.1f} %; "
            f"gates independent of it would show {100 * most.chance[what]:.1f} %."
        )
    spread = max(found.scenes.summaries, key=lambda b: b.spread)
    sentences.append(
        f"The gates vary most in {spread.block}: their standard deviation between images is {spread.spread:.3f}."
    )
    words = {"one": "With every gate fixed at 1", "mean": "With every gate fixed at its mean over all images",
             "shuffled": "With the gates of another image"}  # fmt: skip
    for loss in found.losses:
        if loss.block == ALL:
            sentences.append(
                f"{words[loss.gates]}, AP50 is {100 * loss.ap50:.1f} % instead of {100 * found.ap50:.1f} %."
            )
    return sentences


def write_numbers(found: DetectorStudy, folder: Path) -> list[Path]:
    """Write gates.csv, blocks.csv, interventions.csv and study.json."""
    files: dict[str, list[dict[str, Any]]] = {
        "gates.csv": [
            row
            for summary in (found.scenes, found.objects)
            for block, s in summary.gates.items()
            for row in group_rows(block, s, summary.groupings[0])
        ],
        "blocks.csv": [row for summary in (found.scenes, found.objects) for row in _block_rows(summary)],
        "interventions.csv": [asdict(loss) for loss in found.losses],
    }
    for name, rows in files.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    contents = {
        "format": 1, "config": found.network.config, "data": found.source, "images": found.images, "ap50": found.ap50,
        "groups": {g.what: dict(zip(g.names, g.counts.tolist(), strict=True))
                   for g in (found.scenes.groupings[0], found.objects.groupings[0])},
        "blocks": files["blocks.csv"], "interventions": files["interventions.csv"],
    }  # fmt: skip
    (folder / "study.json").write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
    return [folder / name for name in (*files, "study.json")]


def _block_rows(summary: GateSummary) -> Iterable[dict[str, Any]]:
    what = summary.groupings[0].what
    for block in summary.summaries:
        row = asdict(block)
        yield {"grouped_by": what, **row, **{name: row[name][what] for name in ("between", "chance", "named")}}


def pictures_of(found: DetectorStudy) -> list[tuple[str, str, str, str, Callable[[int], Any]]]:
    """Return the figures: file name, heading, explanation, alternative text, and the function that draws it."""
    from se_numpy.analysis import pictures

    rows = []
    for summary, text in (
        (found.scenes, "The mean gate in the images of each group (rows) in each channel (columns)."),
        (found.objects, "The mean gate in images with an object (rows) in each channel (columns); an image "
         "counts once for each of its objects."),
    ):  # fmt: skip
        groups = summary.groupings[0]
        what = groups.what
        shares = "; ".join(f"{b.block}: {100 * b.between[what]:.1f} % of the variance" for b in summary.summaries)
        rows += [
            (f"{what}_heatmap", f"Gates by {what}", text, f"Heatmaps of mean gates by {what}. {shares}.",
             _drawing(pictures.heatmaps, summary, groups)),
            (f"{what}_lines", f"Gates by {what}, as lines", "The mean gate in each channel, with channels sorted by "
             "their mean over all images, as in Figure 6 of the paper.", f"Lines of mean gates by {what}. {shares}.",
             _lines(summary, groups)),
        ]  # fmt: skip
    return rows


def _drawing(draw: Callable[..., Any], summary: GateSummary, groups: Groups) -> Callable[[int], Any]:
    return lambda columns: draw(summary, groups, columns)


def _lines(summary: GateSummary, groups: Groups) -> Callable[[int], Any]:
    from se_numpy.analysis import pictures

    return lambda columns: pictures.lines(summary, groups, columns, picked=pictures.chosen(groups, 6))


def write_page(found: DetectorStudy, folder: Path) -> Path:
    """Write index.html to ``folder``, and each figure as a PNG file.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    RuntimeError
        If Jinja2 is not installed.
    """
    from se_numpy import pages
    from se_numpy.analysis import pictures
    from se_numpy.analysis.page import MAKER, Section
    from se_numpy.pages import Table

    sections = []
    for name, title, text, alt, draw in pictures_of(found):
        figure = pictures.figure(draw, alt)
        (folder / f"{name}.png").write_bytes(figure.wide)
        sections.append(Section(title, text, figure))
    what = found.scenes.groupings[0].what
    blocks = Table(
        ["block", "channels", "mean gate", "below 0.05", "above 0.95",
         *(f"variance between {pictures.plural(group)}" for group in (what, "object"))],
        [[s.block, str(s.channels), f"{s.mean:.2f}", f"{100 * s.low:.1f} %", f"{100 * s.high:.1f} %",
          f"{100 * s.between[what]:.1f} %", f"{100 * o.between['object']:.1f} %"]
         for s, o in zip(found.scenes.summaries, found.objects.summaries, strict=True)])  # fmt: skip
    interventions = Table(
        ["block", "gates", "AP50", "points lost"],
        [[loss.block, loss.gates, f"{100 * loss.ap50:.1f} %", f"{100 * loss.lost:.1f}"] for loss in found.losses],
        text_columns=2,
    )
    path = folder / "index.html"
    model = str(found.network.config.get("model", "a network"))
    path.write_text(pages.render(
        "excitations.html", maker=MAKER, title=f"Gates of {model}", source=found.source,
        overview=[("Test images", f"{found.images:,}"), ("AP50", f"{100 * found.ap50:.1f} %"),
                  ("SE blocks", str(len(found.scenes.summaries))), ("Mode", "evaluation")],
        answer="", findings=findings(found), sections=sections, blocks=blocks, interventions=interventions,
        replaced="AP50 with replaced gates",
    ), encoding="utf-8")  # fmt: skip
    return path
