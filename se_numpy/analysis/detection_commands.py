"""The commands ``evaluate``, ``predict``, ``report`` and ``excitations`` for a network that detects."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy.analysis import detection_gates, detection_text
from se_numpy.analysis.detection import coco_results, evaluate_detection
from se_numpy.analysis.network import Network
from se_numpy.data import Dataset
from se_numpy.data.boxes import Boxes
from se_numpy.detection import Detections
from se_numpy.wrapping import plural, wrap_text

SHOWN = 18  # pictures in a figure of predictions
ONLY_CLASSIFY = ("explain", "part", "csv", "weights")
ONLY_DETECT = {
    "evaluate": ("areas", "figure", "results"),
    "predict": ("threshold",),
}


def refuse_detection_options(args: argparse.Namespace, command: str) -> None:
    """Raise ValueError for an option that only a network that detects has."""
    for name in ONLY_DETECT[command]:
        if getattr(args, name, None) is not None:
            raise ValueError(
                f"--{name} is for networks that detect, and {args.run_} was trained to classify; give a run of "
                "se-numpy train --task detect"
            )


def refuse_classification_options(args: argparse.Namespace) -> None:
    """Raise ValueError for an option of predict that only a network that classifies has."""
    for name in ONLY_CLASSIFY:
        if getattr(args, name, None):
            raise ValueError(f"--{name} is for networks that classify, and {args.run_} was trained to detect")


def evaluate_run(args: argparse.Namespace, network: Network, dataset: Dataset, device: str, progress: Any) -> None:
    """Print the average precision of a run; write the curves and the results if asked for."""
    from se_numpy.analysis.output_path import output_path
    from se_numpy.analysis.run_commands import matplotlib_needed, png_path
    from se_numpy.data.coco_files import identifiers

    figure = None if args.figure is None else png_path(args.figure, "--figure", "se-numpy evaluate")
    results = (
        None
        if args.results is None
        else output_path(args.results, "--results", ".json", "se-numpy evaluate", mark='"image_id"')
    )
    found = evaluate_detection(network, dataset, device=device, sides=args.areas, progress=progress)
    if args.json:
        print(json.dumps({"model": network.config["model"], **found.as_json()}, indent=2))
    else:
        print(detection_text.as_text(network.config["model"], found))
    say = sys.stderr if args.json else sys.stdout
    if results is not None:
        rows = coco_results(found.found, **identifiers(dataset))
        Path(results).write_text(json.dumps(rows) + "\n", encoding="utf-8")
        print(f"\nresults  {results}, {plural(len(rows), 'detection')}", file=say)
    if figure is not None:
        with matplotlib_needed():
            from se_numpy.analysis.detection_pictures import precision_curves

            precision_curves(found).savefig(figure, dpi=130, metadata={"Software": "se-numpy evaluate"})
        print(f"figure   {figure}", file=say)


def predict_images(network: Network, images: Any, *, threshold: float, as_json: bool, figure: Path | None) -> None:
    """Print the objects in each image, as text or as a JSON list, and draw the first images with their boxes."""
    from se_numpy.analysis.run_commands import matplotlib_needed

    if not 0 <= threshold <= 1:
        raise ValueError(f"--threshold is {threshold:g}; expected a score from 0 to 1")
    shown: list[tuple[Any, Detections]] = []
    rows = []
    for one in images:
        found = network.detect(one.image[None], threshold=threshold)
        if as_json:
            rows.append(detection_text.as_json(one.description, found, network.classes))
        else:
            print(detection_text.prediction_text(one.description, found, network.classes, threshold), flush=True)
        if figure is not None and len(shown) < SHOWN:
            shown.append((one, found))
    if as_json:
        print(json.dumps(rows[0] if len(rows) == 1 else rows, indent=2))
    if figure is not None and shown:
        with matplotlib_needed():
            from se_numpy.analysis.detection_pictures import with_boxes

            pictures = np.stack([one.image for one, _ in shown])
            truth = [one.boxes or Boxes.none() for one, _ in shown]
            drawn = with_boxes(pictures, [found for _, found in shown], network.classes, truth=truth,
                               names=[one.name for one, _ in shown])  # fmt: skip
            drawn.savefig(figure, dpi=130, metadata={"Software": "se-numpy predict"})
        print(f"figure   {figure}", file=sys.stderr if as_json else sys.stdout)


def study_gates(network: Network, dataset: Dataset, out: Path, *, images: int, seed: int) -> None:
    """Study the gates by scene and by object; write the tables and the page to ``out``."""
    from se_numpy.pages import missing_library

    found = detection_gates.study(network, dataset, images, seed=seed, quiet=not sys.stderr.isatty())
    files = detection_gates.write_numbers(found, out)
    missing = missing_library("plot")
    page = f"not written: {missing}" if missing else str(detection_gates.write_page(found, out))
    for sentence in detection_gates.findings(found):
        print(wrap_text(f"- {sentence}", 2))
    print(wrap_text(f"tables   {', '.join(path.name for path in files)} in {out}", 9))
    print(wrap_text(f"page     {page}", 9))
