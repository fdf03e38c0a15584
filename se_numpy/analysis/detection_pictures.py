"""Figures of a network that detects, drawn with matplotlib (extra ``plot``): pictures with boxes, precision curves."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np

from se_numpy.analysis.detection import DetectionEvaluation
from se_numpy.analysis.detection_text import share
from se_numpy.analysis.pictures import DASHES, WIDE, panels
from se_numpy.analysis.run_pictures import picture
from se_numpy.data.boxes import Boxes
from se_numpy.detection import Detections
from se_numpy.detection.average_precision import RECALLS
from se_numpy.train.figures import COLOURS, ink

OVERLAPS = (0.5, 0.75)


def with_boxes(
    images: np.ndarray, found: Sequence[Detections], classes: tuple[str, ...], *, names: Sequence[str] = (),
    truth: Sequence[Boxes] | None = None, columns: int = WIDE,
) -> Any:  # fmt: skip
    """Draw pictures (n, H, W, C) with the detections in each, coloured by class, and true boxes dashed."""
    from matplotlib.figure import Figure

    across = min(columns, len(images))
    down = -(-len(images) // across)
    figure: Any = Figure(figsize=(2.7 * across, 2.85 * down), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08)
    every = figure.subplots(down, across, squeeze=False).ravel()
    for n, (axes, image) in enumerate(zip(every, images, strict=False)):
        picture(axes, image)
        if truth is not None:
            for corners in truth[n].corners.tolist():
                _rectangle(axes, corners, "white", (0, (2, 2)))
        for k, score, corners in zip(found[n].classes, found[n].scores, found[n].corners.tolist(), strict=True):
            colour = COLOURS[k % len(COLOURS)]
            _rectangle(axes, corners, colour, "-")
            end = corners[0] > 0.75 * image.shape[1]  # a label to the right would leave the picture
            x, y = corners[2 * end] - 0.5, max(corners[1] - 0.5, 0)
            axes.text(x, y, f"{classes[k]} {score:.2f}", fontsize=6.5, color="white", va="bottom",
                      ha="right" if end else "left", clip_on=True,
                      bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8})  # fmt: skip
        if names:
            axes.set_title(names[n], fontsize=8)
    for axes in every[len(images) :]:
        axes.remove()
    return figure


def _rectangle(axes: Any, corners: list[float], colour: str, stroke: Any) -> None:
    from matplotlib.patches import Rectangle

    x0, y0, x1, y1 = (value - 0.5 for value in corners)  # a pixel is drawn around its centre
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linestyle=stroke, linewidth=1.5))


def precision_curves(found: DetectionEvaluation, columns: int = WIDE) -> Any:
    """Draw precision against recall for each class and for their mean, at overlaps of 0.5 and 0.75."""

    def draw(axes: Any, name: str) -> None:
        overlap = float(name.rpartition(" ")[2])
        for k, colour, dashes in zip(range(len(found.classes)), cycle(COLOURS), cycle(DASHES), strict=False):
            curve, ap = found.precision.curve(overlap, of=k), found.precision.ap(overlap, of=k)
            axes.plot(100 * RECALLS, 100 * curve, color=colour, linestyle=dashes, linewidth=1.4,
                      label=f"{found.classes[k]}, {share(ap)} %")  # fmt: skip
        axes.plot(100 * RECALLS, 100 * found.precision.curve(overlap), color=ink(), linewidth=2, alpha=0.75,
                  label=f"mean, {share(found.precision.ap(overlap))} %")  # fmt: skip
        axes.set(xlabel="recall (%)", ylabel="precision (%)", xlim=(0, 100), ylim=(0, 103), title=name)
        axes.legend(frameon=False, fontsize=8, loc="lower left")

    return panels([f"overlap {overlap:g}" for overlap in OVERLAPS], draw, min(columns, 2), width=4.6, height=3.8)
