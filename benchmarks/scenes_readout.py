"""Measure what simple readouts know of a built-in scene:  python benchmarks/scenes_readout.py [--json FILE]

Linear readouts are fitted to one-hot labels by least squares on half of the pictures, with a constant, and evaluated on
the other half. The readout of the objects is the best that is possible: Bayes' rule with the frequencies of the
objects, applied to the numbers of visible objects of each kind. The last rows compare the two scenes of
one texture by the mean colour of the lower ten rows, which are ground, without and with that of the upper five rows,
which show the time; these readouts are also given squares and products.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import show

from se_numpy.data.landscape import SCENES
from se_numpy.data.scenes import FREQUENCY, OBJECTS, Scenes, draw

LEVELS = 4  # of each channel in a histogram


def means(scenes: Scenes) -> np.ndarray:
    """Return the mean of each channel (N, 3)."""
    return scenes.images.mean((1, 2)) / 255


def histograms(scenes: Scenes) -> np.ndarray:
    """Return the share of pixels in each of 64 bins of colour (N, 64)."""
    bins = (scenes.images // (256 // LEVELS)) @ np.array([LEVELS**2, LEVELS, 1])
    return np.stack([np.bincount(picture.ravel(), minlength=LEVELS**3) for picture in bins]) / bins[0].size


def ground(scenes: Scenes) -> np.ndarray:
    """Return the mean colour of the lower ten rows, its squares and products (N, 9)."""
    return quadratic(scenes.images[:, -10:].mean((1, 2)) / 255)


def ground_and_sky(scenes: Scenes) -> np.ndarray:
    """Return the mean colours of the lower ten and the upper five rows, their squares and products (N, 27)."""
    return quadratic(np.hstack([scenes.images[:, rows].mean((1, 2)) / 255 for rows in (slice(-10, None), slice(5))]))


def quadratic(features: np.ndarray) -> np.ndarray:
    products = features[:, :, None] * features[:, None]
    return np.hstack([features, products[:, *np.triu_indices(features.shape[1])]])


def linear(features: Callable[[Scenes], np.ndarray], fitted: Scenes, scenes: Scenes) -> np.ndarray:
    """Return the labels that a linear readout, fitted to other pictures, predicts."""
    inputs = [np.hstack([features(one), np.ones((len(one.labels), 1))]) for one in (fitted, scenes)]
    weights = np.linalg.lstsq(inputs[0], np.eye(len(SCENES))[fitted.labels], rcond=None)[0]
    return (inputs[1] @ weights).argmax(1)


def by_objects(scenes: Scenes) -> np.ndarray:
    """Return the most probable labels given the number of visible objects of each kind."""
    counts = np.zeros((len(scenes.labels), len(OBJECTS)))
    np.add.at(counts, (scenes.boxes.images, scenes.boxes.classes), 1)
    return (counts @ np.log(FREQUENCY / FREQUENCY.sum(1, keepdims=True)).T).argmax(1)


def of_pair(scenes: Scenes, pair: int) -> Scenes:
    """Return the pictures of the two scenes with one texture."""
    rows = np.flatnonzero(scenes.labels // 2 == pair)
    return Scenes(scenes.images[rows], scenes.labels[rows], scenes.boxes.chosen(rows))


def readouts(n: int, seed: int) -> dict[str, float]:
    """Return the accuracy of each readout on n pictures."""
    fitted, scenes = draw(n, seed=seed), draw(n, seed=seed + 1)
    predicted = {"channel means": linear(means, fitted, scenes), "colour histogram": linear(histograms, fitted, scenes),
                 "objects (Bayes)": by_objects(scenes)}  # fmt: skip
    found = {name: float((labels == scenes.labels).mean()) for name, labels in predicted.items()}
    for name, features in (("ground", ground), ("ground and sky", ground_and_sky)):
        parts = [(of_pair(fitted, pair), of_pair(scenes, pair)) for pair in range(len(SCENES) // 2)]
        right = [(linear(features, *pair) == pair[1].labels).mean() for pair in parts]
        found[f"of two scenes with one texture: colour of the {name}"] = float(np.mean(right))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=6000, metavar="N", help="to fit, and as many to evaluate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    found: dict[str, Any] = readouts(args.pictures, args.seed)
    show(
        "accuracy of readouts of the built-in scenes",
        ["readout", "%"],
        [(name, round(100 * share, 1)) for name, share in found.items()],
    )
    if args.json:
        record = {"pictures": args.pictures, "seed": args.seed, "accuracy": found}
        Path(args.json).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
