"""The findings of an evaluation and of a prediction by a network that detects, as text."""

import math
from typing import Any

from se_numpy.analysis.detection import SIZES, DetectionEvaluation
from se_numpy.analysis.run_summaries import Column, fitted_table
from se_numpy.detection import Detections
from se_numpy.wrapping import plural, terminal_width, wrap_text


def share(value: float) -> str:
    """Format an average precision in percent, or a dash if there are no objects."""
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def size_names(found: DetectionEvaluation) -> list[str]:
    """Return the sizes of objects as text, with their limits."""
    low, high = found.sides
    return [f"small (up to {low}x{low} pixels)", f"medium (up to {high}x{high})", "large"]


def as_text(model: str, found: DetectionEvaluation) -> str:
    """Format an evaluation for a terminal; tables leave out columns if the terminal is narrow."""
    p = found.precision
    facts = [
        f"network  {model}",
        f"data     {found.source}, {plural(found.images, 'test image')} with {plural(len(found.truth), 'object')}",
        f"loss     {found.loss:.4f}",
        f"AP50     {share(p.ap(0.5))} % (overlap of at least one half)",
        f"AP       {share(p.ap())} % (mean over overlaps from 0.5 to 0.95), AP75 {share(p.ap(0.75))} %, "
        f"average recall {share(p.ar())} %",
    ]
    names = [*found.classes, "mean"]
    every: list[int | None] = [*range(len(found.classes)), None]
    classes = [
        Column("class", names, left=True),
        Column("objects", [*(f"{n:,}" for n in found.objects()), f"{found.objects().sum():,}"], 3),
        Column("AP50 %", [share(p.ap(0.5, of=k)) for k in every]),
        Column("AP %", [share(p.ap(of=k)) for k in every]),
        *(Column(f"{size} %", [share(p.ap(of=k, area=size)) for k in every], 2) for size in SIZES),
        Column("recall %", [share(p.ar(of=k)) for k in every], 4),
    ]
    sizes = [
        Column("size", size_names(found), left=True),
        Column("objects", [f"{found.objects(size).sum():,}" for size in SIZES], 1),
        Column("AP50 %", [share(p.ap(0.5, area=size)) for size in SIZES]),
        Column("AP %", [share(p.ap(area=size)) for size in SIZES]),
    ]
    width = terminal_width()
    return "\n".join([
        *(wrap_text(line, 9) for line in facts), "",
        "Average precision by class", *fitted_table(classes, width), "",
        "Average precision by size", *fitted_table(sizes, width),
    ])  # fmt: skip


def prediction_text(name: str, found: Detections, classes: tuple[str, ...], threshold: float) -> str:
    """Format the detections in one image for a terminal, the best first."""
    lines = [wrap_text(f"image    {name}: {plural(len(found), 'object')} with a score of at least {threshold:g}", 9)]
    rows = table_rows(found, classes)
    columns = [
        Column("  object", [f"  {row[0]}" for row in rows], left=True),
        Column("score", [row[1] for row in rows]),
        *(Column(side, [row[2 + n] for row in rows], 1) for n, side in enumerate(("x0", "y0", "x1", "y1"))),
    ]
    return "\n".join([*lines, *(fitted_table(columns, terminal_width()) if rows else [])])


def table_rows(found: Detections, classes: tuple[str, ...]) -> list[list[str]]:
    """Return the class, the score and the corners of each detection as text."""
    return [
        [classes[k], f"{score:.2f}", *(f"{value:.1f}" for value in corners)]
        for k, score, corners in zip(found.classes, found.scores, found.corners.tolist(), strict=True)
    ]  # fmt: skip


def as_json(name: str, found: Detections, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the detections in one image as plain dicts and lists."""
    return {
        "image": name,
        "objects": [
            {"class": classes[k], "score": float(score), "box": corners}
            for k, score, corners in zip(found.classes, found.scores, found.corners.tolist(), strict=True)
        ],
    }  # fmt: skip
