"""The study of a network's gates as one HTML page, figures wide for a screen, narrow for a phone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from se_numpy.analysis import html, pictures
from se_numpy.analysis.gates import Groups
from se_numpy.analysis.study import Study
from se_numpy.analysis.summaries import findings, percent


class Picture(NamedTuple):
    """A figure of the page: its file's name, heading, how to read it, what is seen in it, how to draw it."""

    name: str
    title: str
    text: str
    alt: str
    draw: Callable[[int], Any]  # columns of panels -> figure


def all_pictures(found: Study, picked: Sequence[int] | None = None) -> list[Picture]:
    """The study's figures in the order of the page; ``picked`` classes are drawn as lines (default: four, evenly)."""
    classes, *cues = found.groupings
    few = list(picked) if picked is not None else pictures.chosen(classes, 4)
    two = few[:2]
    named = " and ".join(classes.names[k] for k in two)
    chance = percent(classes.chance)
    by_block = [(b.block, b) for b in found.summaries]
    list_ = [
        *(picture for g in cues for picture in _of_cue(found, g)),
        Picture("gates", "The gates by class", (
            "As in figures 6 to 8 of the paper: the mean gate of a few classes over the channels of each block, and "
            "the mean over all images. Lines that lie on one another: the class makes no difference there."),
            "Mean gates over channels. " + _each((b, f"mean gate {s.mean:.2f}") for b, s in by_block),
            lambda columns: pictures.lines(found, classes, columns, picked=few)),
        Picture("spread", "Within a class", (
            f"The same for {named}, with one standard deviation between the images of the class. A band that is wide "
            "beside the distance of the lines: gates follow the image more than its class."),
            "Bands around mean gates. " + _each((b, f"within a class ±{s.within:.3f}") for b, s in by_block),
            lambda columns: pictures.lines(found, classes, columns, picked=two, band=True)),
        Picture("heatmap", "Classes by channels",
            "Every class and channel. Stripes that run down: channels that are open or shut for all classes alike.",
            "Heatmaps of mean gates, classes down and channels across, one for each block.",
            lambda columns: pictures.heatmaps(found, classes, columns)),
        Picture("depth", "How specific, by depth", (
            "The share of the gates' variance between images that lies between classes"
            f"{' and between cues' if cues else ''}; gates that know nothing of the class show {chance} by chance. "
            "Beside it, how far the gates vary at all, for a large share of next to nothing is next to nothing."),
            "Share of variance between groups, and standard deviation. " + _each(
                (b, ", ".join(f"{what} {percent(v)}" for what, v in s.between.items()) + f", ±{s.spread:.3f}")
                for b, s in by_block),
            lambda columns: pictures.depth(found, columns)),
        Picture("saturation", "Saturation",
            "Gates that are nearly shut or nearly open for good hardly learn any more: σ' = s (1 - s).",
            "Stacked bars. " + _each((b, f"{percent(s.low)} below 0.05, {percent(s.high)} above 0.95")
                                     for b, s in by_block),
            lambda columns: pictures.saturation(found, columns)),
        Picture("interventions", "What the gates are needed for", (
            "Other gates are put in their place, in one block or in all, and the accuracy that is lost is counted on "
            "the same images, with its 95 % interval. Means are taken over these test images. The class mean is that "
            "of the true class, so it tells the network something of the answer. Nothing is trained again: a cost says "
            "what this network relies on, not what SE is worth. The first panel has its own scale."),
            "Dots with intervals. " + _each((f"{o.kind} in {o.block}", f"{100 * o.cost:.1f} points lost")
                                            for o in found.outcomes if o.block == "all blocks"),
            lambda columns: pictures.costs(found, columns)),
        Picture("paths", "The two paths of the gradient", (
            "dU = s·dX̃ + dz/(HW): the direct part and the part through the gate. Bars show ‖gate‖ / (‖direct‖ + "
            "‖gate‖), for the cross-entropy of one batch, in evaluation."),
            "Bars. " + _each((b, f"{percent(p.share)} through the gate") for b, p in found.paths.items()),
            lambda columns: pictures.gradient_paths(found, columns)),
    ]  # fmt: skip
    if found.transplants:
        list_.insert(2, _of_transplants(found))
    return list_


def _of_cue(found: Study, cue: Groups) -> list[Picture]:
    picked = list(range(len(cue.names)))
    seen = _each((s.block, f"the cue decides {percent(s.between['cue'])} of the variance") for s in found.summaries)
    return [
        Picture("cue_heatmap", "The gates by cue", (
            "The images grouped by the colour of their strip, which decides what the image asks. Rows that differ: the "
            "gate follows the question. Compare the classes by channels below: there the rows are the answers."),
            f"Heatmaps of mean gates, strip colours down and channels across. {seen}",
            lambda columns: pictures.heatmaps(found, cue, columns)),
        Picture("cue", "The same as lines",
            "The mean gate of each strip colour over the channels, and that of all images.",
            f"Mean gates over channels for each strip colour. {seen}",
            lambda columns: pictures.lines(found, cue, columns, picked=picked)),
    ]  # fmt: skip


def _of_transplants(found: Study) -> Picture:
    return Picture("transplants", "Gates from an image with another strip", (
        "Each image keeps its pixels and is given the gates of an image whose strip has another colour. Whose question "
        "does the network answer?"),
        "Stacked bars of answers. " + _each(
            (b, f"{percent(a.donor)} the donor's glyph, {percent(a.own)} the image's own")
            for b, a in found.transplants.items()),
        lambda columns: pictures.transplants(found, columns))  # fmt: skip


def write_page(found: Study, folder: Path, picked: Sequence[int] | None = None) -> Path:
    """index.html in ``folder``, and every figure as a PNG beside it.  Raises ImportError without matplotlib."""
    sections = []
    for picture in all_pictures(found, picked):
        wide, narrow = (pictures.png(picture.draw(columns)) for columns in (pictures.WIDE, pictures.NARROW))
        (folder / f"{picture.name}.png").write_bytes(wide)
        sections.append(_section(picture, wide, narrow))
    path = folder / "index.html"
    path.write_text(_html(found, sections), encoding="utf-8")
    return path


def _html(found: Study, sections: list[str]) -> str:
    said = findings(found)
    first = [html.paragraph(said.pop(0), "answer")] if found.transplants else []
    about = (f"{found.source}. {found.images:,} test images, of which the network gets {percent(found.accuracy)} "
             "right. Evaluation mode.")  # fmt: skip
    return html.document(f"What the gates of {found.network.config.get('model', 'a network')} do", "\n".join([
        html.paragraph(about, "quiet"), *first, html.section("What is seen", html.bullets(said)), *sections,
        _tables(found),
    ]))  # fmt: skip


def _section(picture: Picture, wide: bytes, narrow: bytes) -> str:
    return html.section(picture.title, html.paragraph(picture.text), html.figure(wide, narrow, picture.alt))


def _tables(found: Study) -> str:
    whats = [g.what for g in found.groupings]
    blocks = html.table(
        ["block", "channels", "mean", "below .05", "above .95", *(f"between {w}" for w in whats),
         *(f"gates name the {w}" for w in whats), "through gate"],
        [[b.block, str(b.channels), f"{b.mean:.2f}", percent(b.low), percent(b.high),
          *(percent(b.between[w]) for w in whats), *(percent(b.named[w]) for w in whats),
          percent(found.paths[b.block].share)] for b in found.summaries])  # fmt: skip
    costs = html.table(
        ["block", "gates", "accuracy", "points lost", "95 % interval"],
        [[o.block, o.kind, percent(o.accuracy), f"{100 * o.cost:.1f}", f"{100 * o.low:.1f} to {100 * o.high:.1f}"]
         for o in found.outcomes])  # fmt: skip
    return html.section("Numbers", html.paragraph("All of them lie beside this page as CSV and JSON."), blocks,
                         html.folded("Every intervention", costs))  # fmt: skip


def _each(said: Any) -> str:
    return "; ".join(f"{block}: {words}" for block, words in said) + "."
