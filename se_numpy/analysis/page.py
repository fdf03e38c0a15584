"""The study of a network's gates as one HTML page with figures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from se_numpy import pages
from se_numpy.analysis import pictures
from se_numpy.analysis.gates import Groups
from se_numpy.analysis.study import Study
from se_numpy.analysis.summaries import findings, percent
from se_numpy.pages import Figure, Table

MAKER = "se-numpy excitations"


class Picture(NamedTuple):
    """A figure of the page: file name, heading, explanation, alternative text, and the function that draws it."""

    name: str
    title: str
    text: str
    alt: str
    draw: Callable[[int], Any]  # number of columns of panels -> figure


class Section(NamedTuple):
    """A drawn figure with its heading and explanation."""

    title: str
    text: str
    figure: Figure


def all_pictures(found: Study, picked: Sequence[int] | None = None) -> list[Picture]:
    """Return the study's figures in the order of the page.

    The ``picked`` classes are drawn as lines; by default, these are four classes spaced evenly over the list.
    """
    classes, *cues = found.groupings
    drawn = list(picked) if picked is not None else pictures.chosen(classes, 4)
    two = drawn[:2]
    named = " and ".join(classes.names[k] for k in two)
    chance = percent(classes.chance)
    by_block = [(b.block, b) for b in found.summaries]
    list_ = [
        *(picture for g in cues for picture in _of_cue(found, g)),
        Picture("gates", "Gates by class", (
            "The mean gate in each channel of each block, for selected classes and for all images, as in Figures 6 to "
            "8 of the paper. Where the lines coincide, the gates do not depend on the class."),
            "Mean gates over channels. " + _each((b, f"mean gate {s.mean:.2f}") for b, s in by_block),
            lambda columns: pictures.lines(found, classes, columns, picked=drawn)),
        Picture("spread", "Variation within a class", (
            f"The mean gates of {named}, with bands of one standard deviation between the images of each class. Where "
            "a band is wider than the distance between the lines, the gates depend more on the image than on its "
            "class."),
            "Bands around mean gates. " + _each((b, f"within a class ±{s.within:.3f}") for b, s in by_block),
            lambda columns: pictures.lines(found, classes, columns, picked=two, band=True)),
        Picture("heatmap", "Gates of every class and channel", (
            "The mean gate of each class (rows) in each channel (columns). Vertical stripes are channels whose gates "
            "are open or closed for all classes alike."),
            "Heatmaps of mean gates, classes down and channels across, one for each block.",
            lambda columns: pictures.heatmaps(found, classes, columns)),
        Picture("depth", "Class specificity by depth", (
            "The share of the gates' variance between images that lies between classes"
            f"{' and between cues' if cues else ''}. Gates that do not depend on the class would show {chance} by "
            "chance. The second panel shows how much the gates vary at all: a large share of a tiny variance is still "
            "tiny."),
            "Share of variance between groups, and standard deviation. " + _each(
                (b, ", ".join(f"{what} {percent(v)}" for what, v in s.between.items()) + f", ±{s.spread:.3f}")
                for b, s in by_block),
            lambda columns: pictures.depth(found, columns)),
        Picture("saturation", "Saturation",
            "The gradient through a sigmoid gate is multiplied by s(1 - s), so gates near 0 or 1 learn slowly.",
            "Stacked bars. " + _each((b, f"{percent(s.low)} below 0.05, {percent(s.high)} above 0.95")
                                     for b, s in by_block),
            lambda columns: pictures.saturation(found, columns)),
        Picture("interventions", "Accuracy lost when gates are replaced", (
            "The gates of one block, or of all blocks, are replaced; the accuracy lost on the same images is shown "
            "with its 95 % interval. Means are taken over these test images. The class mean is that of the true class, "
            "so it gives away part of the answer. Nothing is retrained: a loss says how much this network relies on "
            "its gates, not how much SE blocks improve a network. The first panel has its own scale."),
            "Dots with intervals. " + _each((f"{o.kind} in {o.block}", f"{100 * o.cost:.1f} points lost")
                                            for o in found.outcomes if o.block == "all blocks"),
            lambda columns: pictures.costs(found, columns)),
        Picture("paths", "Gradient through the gate", (
            "dU = s·dX̃ + dz/(HW) is the sum of a direct path and a path through the gate. The bars show "
            "‖gate‖ / (‖direct‖ + ‖gate‖) for the cross-entropy of one batch, in evaluation mode."),
            "Bars. " + _each((b, f"{percent(p.share)} through the gate") for b, p in found.paths.items()),
            lambda columns: pictures.gradient_paths(found, columns)),
    ]  # fmt: skip
    if found.transplants:
        list_.insert(2, _of_transplants(found))
    return list_


def _of_cue(found: Study, cue: Groups) -> list[Picture]:
    picked = list(range(len(cue.names)))
    shares = _each((s.block, f"the cue explains {percent(s.between['cue'])} of the variance")
                   for s in found.summaries)  # fmt: skip
    return [
        Picture("cue_heatmap", "Gates by cue", (
            "The images are grouped by the colour of their strip, the cue that decides which glyph is the answer. "
            "Where rows differ, the gates depend on the cue. In the heatmaps of classes below, the rows are the "
            "answers."),
            f"Heatmaps of mean gates, strip colours down and channels across. {shares}",
            lambda columns: pictures.heatmaps(found, cue, columns)),
        Picture("cue", "Gates by cue, as lines",
            "The mean gate in each channel of each block, for each strip colour and for all images.",
            f"Mean gates over channels for each strip colour. {shares}",
            lambda columns: pictures.lines(found, cue, columns, picked=picked)),
    ]  # fmt: skip


def _of_transplants(found: Study) -> Picture:
    return Picture("transplants", "Gates transplanted between images", (
        "Each image keeps its pixels and is given the gates of an image whose strip has a different colour. The bars "
        "show whether the network then answers with the glyph of the image's own strip or of the donor's strip."),
        "Stacked bars of answers. " + _each(
            (b, f"{percent(a.donor)} the donor's glyph, {percent(a.own)} the image's own")
            for b, a in found.transplants.items()),
        lambda columns: pictures.transplants(found, columns))  # fmt: skip


def write_page(found: Study, folder: Path, picked: Sequence[int] | None = None) -> Path:
    """Write index.html to ``folder``, and each figure as a PNG file.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    RuntimeError
        If Jinja2 is not installed.
    """
    sections = []
    for picture in all_pictures(found, picked):
        figure = pictures.figure(picture.draw, picture.alt)
        (folder / f"{picture.name}.png").write_bytes(figure.wide)
        sections.append(Section(picture.title, picture.text, figure))
    path = folder / "index.html"
    path.write_text(page(found, sections), encoding="utf-8")
    return path


def page(found: Study, sections: Sequence[Section]) -> str:
    """Return the HTML of the page."""
    sentences = findings(found)
    model = str(found.network.config.get("model", "a network"))
    return pages.render(
        "excitations.html", maker=MAKER, title=f"Gates of {model}", source=found.source,
        overview=[("Test images", f"{found.images:,}"), ("Accuracy", percent(found.accuracy)),
                  ("SE blocks", str(len(found.summaries))), ("Mode", "evaluation")],
        answer=sentences.pop(0) if found.transplants else "", findings=sentences, sections=sections,
        blocks=_blocks(found), interventions=_interventions(found),
    )  # fmt: skip


def _blocks(found: Study) -> Table:
    groups = [g.what for g in found.groupings]
    return Table(
        ["block", "channels", "mean gate", "below 0.05", "above 0.95",
         *(f"variance between {pictures.plural(g)}" for g in groups),
         *(f"{g} predicted from gates" for g in groups), "gradient through gate"],
        [[b.block, str(b.channels), f"{b.mean:.2f}", percent(b.low), percent(b.high),
          *(percent(b.between[g]) for g in groups), *(percent(b.named[g]) for g in groups),
          percent(found.paths[b.block].share)] for b in found.summaries])  # fmt: skip


def _interventions(found: Study) -> Table:
    return Table(
        ["block", "gates", "accuracy", "points lost", "95 % interval"],
        [[o.block, o.kind, percent(o.accuracy), f"{100 * o.cost:.1f}", f"{100 * o.low:.1f} to {100 * o.high:.1f}"]
         for o in found.outcomes], text_columns=2)  # fmt: skip


def _each(rows: Any) -> str:
    return "; ".join(f"{block}: {text}" for block, text in rows) + "."
