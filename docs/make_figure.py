"""Draw README's figures:  python docs/make_figure.py [SE_RUN PLAIN_RUN]

The runs are those of `se-numpy train --seed 0` and `se-numpy train --model resnet8 --seed 0`; without them, only the
figure of the scenes is drawn. Each figure is written to docs/figures/ twice, for light and for dark pages.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from se_numpy import data
from se_numpy.analysis.builtin_cue import group_by_cue
from se_numpy.analysis.gates import group_means, record, share_between
from se_numpy.analysis.network import load_gated
from se_numpy.data.glyphs import COLOURS, PLAIN_BOUND
from se_numpy.data.landscape import SCENES
from se_numpy.data.scenes import OBJECTS, Scenes, draw
from se_numpy.train.run_dir import read_metrics

FIGURES = Path(__file__).parent / "figures"
PAGES = {"light": ("#1f2328", "#ffffff"), "dark": ("#e6edf3", "#0d1117")}  # ink, paper
BLUE, ORANGE = "#3b8fd9", "#e07b39"  # readable on both
OUTLINES = dict(zip(OBJECTS, ("#ffd166", "#ff4d6d", "#8ce99a", "#4dabf7", "#20c9b0", "#da77f2"), strict=True))
SHOWN_SEED = 22  # of the scenes in the figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("se_run", type=Path, nargs="?")
    parser.add_argument("plain_run", type=Path, nargs="?")
    args = parser.parse_args()
    scenes = draw(240, seed=SHOWN_SEED)
    for page, colours in PAGES.items():
        with plt.rc_context(style(*colours)):
            figure = draw_scenes(scenes)
            figure.savefig(FIGURES / f"scenes_{page}.png")
            plt.close(figure)
    if args.plain_run is not None:
        draw_builtin(args)


def style(ink: str, paper: str) -> dict[str, object]:
    """Return matplotlib's settings for a page with this ink on this paper."""
    return {"text.color": ink, "axes.labelcolor": ink, "axes.edgecolor": ink, "xtick.color": ink, "ytick.color": ink,
            "font.size": 9, "axes.titlesize": 9.5, "figure.facecolor": paper, "axes.facecolor": paper,
            "axes.spines.top": False, "axes.spines.right": False}  # fmt: skip


def draw_scenes(scenes: Scenes) -> plt.Figure:
    """A column for each scene: by day, by night, and a crowded picture with the boxes of its objects."""
    number = np.bincount(scenes.boxes.images, minlength=len(scenes.labels))
    night = scenes.images[:, 0].mean((1, 2)) < 110  # the first row is sky
    figure = plt.figure(figsize=(9.4, 5.1), dpi=150, layout="constrained")
    grid = figure.subplots(3, len(SCENES))
    for scene, column in enumerate(grid.T):
        of_scene = scenes.labels == scene
        chosen = [np.flatnonzero(of_scene & time & (number > 0) & (number < 4))[0] for time in (~night, night)]
        crowded = np.flatnonzero(of_scene & (number > 4))[0]
        for axes, n in zip(column, (*chosen, crowded), strict=True):
            axes.imshow(scenes.images[n], interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        column[0].set_title(SCENES[scene], pad=4)
        boxes = scenes.boxes.of(crowded)
        for (x0, y0, x1, y1), kind in zip(boxes.corners, boxes.classes, strict=True):
            place, colour = (x0 - 0.5, y0 - 0.5), OUTLINES[OBJECTS[kind]]
            column[2].add_patch(plt.Rectangle(place, x1 - x0, y1 - y0, fill=False, color=colour, lw=1.4))
    for axes, label in zip(grid[:, 0], ("by day", "by night", "with boxes"), strict=True):
        axes.set_ylabel(label)
    handles = [plt.Rectangle((0, 0), 1, 1, fill=False, color=colour, lw=1.4) for colour in OUTLINES.values()]
    legend = {"loc": "outside lower center", "ncols": len(OBJECTS), "frameon": False}
    figure.legend(handles, OUTLINES, facecolor="#555555", **legend)
    return figure


def draw_builtin(args: argparse.Namespace) -> None:
    """The glyphs, what a network learns of them with and without SE, and gates."""
    builtin = data.builtin()
    cue = group_by_cue(builtin.test_images)
    network = load_gated(args.se_run)
    recorded = record(network, builtin.test_images).gates
    block, gates = max(recorded.items(), key=lambda item: share_between(item[1], cue))
    means = group_means(gates, cue)
    curves = {"with SE": read_metrics(args.se_run), "without SE": read_metrics(args.plain_run)}
    for page, (ink, paper) in PAGES.items():
        with plt.rc_context(style(ink, paper)):
            figure = plt.figure(figsize=(9.4, 3.1), dpi=150, layout="constrained")
            pictures, middle, right = figure.subfigures(1, 3, width_ratios=(1.15, 1, 1.25))
            draw_images(pictures, builtin, cue)
            draw_curves(middle.subplots(), curves, ink)
            draw_gates(right.subplots(), means, cue.names, network.blocks[block])
            figure.savefig(FIGURES / f"builtin_{page}.png")
            plt.close(figure)


def draw_images(figure: plt.Figure, builtin: data.Dataset, cue: object) -> None:
    """One test image for each of four strip colours, with the strip's colour and the right answer."""
    figure.suptitle("The strip's colour asks for a glyph", fontsize=9.5)
    for axes, colour in zip(figure.subplots(2, 2).flat, (0, 1, 3, 4), strict=True):
        n = int(np.flatnonzero(cue.of == colour)[0])
        axes.imshow(builtin.test_images[n], interpolation="nearest")
        axes.set_title(f"{COLOURS[colour]}: {builtin.classes[builtin.test_labels[n]]}", fontsize=8, pad=3)
        axes.set_axis_off()


def draw_curves(axes: plt.Axes, curves: dict, ink: str) -> None:
    """Validation accuracy against epochs, and the bound that no plain network can pass."""
    for (name, history), colour in zip(curves.items(), (BLUE, ORANGE), strict=True):
        epochs = [row["epoch"] for row in history]
        accuracy = [100 * row["val_accuracy"] for row in history]
        axes.plot(epochs, accuracy, "o-", color=colour, ms=3.5, lw=1.8)
        above = -11 if accuracy[-1] > 50 else 7
        place = {"xytext": (0, above), "textcoords": "offset points", "ha": "right"}
        axes.annotate(name, (epochs[-1], accuracy[-1]), color=colour, **place)
    axes.axhline(100 * PLAIN_BOUND, color=ink, lw=1, ls=":")
    axes.text(6, 100 * PLAIN_BOUND - 5, "bound without SE", fontsize=8, ha="right")
    axes.set(title="ResNet-8 on the built-in set", xlabel="epoch", ylabel="validation accuracy, %", ylim=(0, 105))


def draw_gates(axes: plt.Axes, means: np.ndarray, names: tuple[str, ...], block: str) -> None:
    """The mean gates of the block that depends on the strip most, a row for each of its colours."""
    order = np.argsort(means.argmax(0) - means.max(0) / 10)
    drawn = axes.imshow(means[:, order], aspect="auto", vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
    axes.set_yticks(range(len(names)), names)
    axes.set(title=f"Gates in {block.replace('stage', 'stage ')} by strip colour", xlabel="channel")
    axes.figure.colorbar(drawn, ax=axes, label="mean gate", shrink=0.9)


if __name__ == "__main__":
    main()
