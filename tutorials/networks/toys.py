"""Make the data of two pages to play with:  python tutorials/networks/toys.py [transplant] [epochs]

The first runs three trained networks on one image with the gates of another. The second trains
three networks and records their gates after every epoch. The results are written to
se_numpy/grading/lessons/toys/.
"""

import base64
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from se_numpy.analysis import gates, interventions, network
from se_numpy.analysis.builtin_cue import glyphs_in_sight, group_by_cue
from se_numpy.data import builtin
from se_numpy.data.glyphs import COLOURS
from se_numpy.train import Session, configure

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent.parent / "se_numpy" / "grading" / "lessons" / "toys"
NETWORKS = ("se_resnet8_builtin.npz", "se_resnet8_builtin_1.npz", "se_resnet8_builtin_2.npz")
PAIRS = 600
EPOCHS = 6


def transplant() -> dict[str, Any]:
    """Return the answers for six images with the gates of each, by seed and blocks."""
    data = builtin(train=1, test=PAIRS)
    strips, glyphs = group_by_cue(data.test_images).of, glyphs_in_sight(data.test_images)
    shown = np.array([np.flatnonzero(strips == c)[0] for c in range(len(COLOURS))])
    donors, receivers = (axis.ravel() for axis in np.meshgrid(shown, shown, indexing="ij"))
    random = np.random.default_rng(0).permutation(PAIRS)
    seeds = []
    for name in NETWORKS:
        trained = network.load_gated(HERE / name)
        s = gates.record(trained, data.test_images).gates
        blocks = {short: [full] for full, short in trained.blocks.items()} | {"all three": list(s)}
        places = {}
        for short, full in blocks.items():
            given = {block: s[block][donors] for block in full}
            answers = interventions.run_with(trained, data.test_images[receivers], given)
            given = {block: s[block][random] for block in full}
            others = interventions.run_with(trained, data.test_images, given)
            differ = strips[random] != strips
            own, asked = (others == glyphs[np.arange(PAIRS), of] for of in (strips, strips[random]))
            places[short] = {
                "answers": answers.reshape(len(shown), -1).tolist(),
                "own": round(float(own[differ].mean()), 3),
                "donor": round(float(asked[differ].mean()), 3),
            }
        seeds.append(places)
    return {
        "colours": COLOURS, "classes": data.classes, "glyphs": glyphs[shown].tolist(),
        "pictures": base64.b64encode(data.test_images[shown].tobytes()).decode(), "seeds": seeds,
    }  # fmt: skip


def epochs() -> dict[str, Any]:
    """Return the mean gates by colour of the strip, after each epoch, by seed and block."""
    data = builtin()
    some = data.test_images[:600]
    cue = group_by_cue(some)
    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(len(NETWORKS)):
            session = Session(data, configure(data, seed=seed, epochs=EPOCHS), "cpu")
            session.start()
            found, accuracy = [], [session.validate(None)["val_accuracy"]]
            for epoch in range(EPOCHS + 1):
                if epoch:
                    row = session.epoch(lambda: None, None, watch=False)
                    row |= session.validate(None)
                    session.end_epoch(row)
                    accuracy.append(row["val_accuracy"])
                session.save(Path(folder) / "now.npz")
                trained = network.load_gated(Path(folder) / "now.npz")
                recorded = gates.record(trained, some).gates
                found.append(
                    [
                        np.rint(100 * gates.group_means(s, cue)).astype(int).tolist()
                        for s in recorded.values()
                    ]
                )
            seeds.append({"gates": found, "accuracy": [round(value, 3) for value in accuracy]})
    return {"colours": COLOURS, "blocks": list(trained.blocks.values()), "seeds": seeds}


MAKERS: dict[str, Callable[[], dict[str, Any]]] = {"transplant": transplant, "epochs": epochs}


if __name__ == "__main__":
    for name in sys.argv[1:] or MAKERS:
        text = json.dumps(MAKERS[name](), separators=(",", ":"), default=int)
        (TARGET / f"{name}.json").write_text(text + "\n", encoding="utf-8")
