"""Make the files of this folder from a run, without paths or times of the machine.

    python tutorials/networks/make.py network RUN NAME.npz "DESCRIPTION OF THE DATA"
    python tutorials/networks/make.py gates RUN/excitations NAME_gates.npz "DESCRIPTION OF THE DATA"
    python tutorials/networks/make.py curves NAME "COMMAND OF THE RUNS" RUN RUN ...
    python tutorials/networks/make.py results NN

README.md lists the commands of the runs. The first two files are checkpoints, which
``se_numpy.checkpoint.load`` reads: trees of arrays, and a description. The accuracies of whole
runs go into ``recorded.json`` of ``se_numpy.grading.lessons``, under NAME. The last command runs
tutorial NN and keeps what its calls of ``computed`` return in ``recorded_NN.npz``, for readers in
a browser.
"""

import csv
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from se_numpy import checkpoint
from se_numpy.grading.lessons import recorded
from se_numpy.tree import from_leaves

HERE = Path(__file__).resolve().parent
TIMES = ("seconds", "images_per_second")  # differ from run to run
RECORDED = Path(recorded.__file__).with_name("recorded.json")
ABOUT = ("format", "se_numpy", "classes", "image_shape", "mean", "std")


def network(run: Path, target: Path, made_of: str) -> None:
    """Save parameters and running statistics of the best epoch, without the velocity."""
    trees, meta = checkpoint.load(run / "best.npz")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    data = meta["config"]["data"]
    about = {key: meta[key] for key in ABOUT} | {
        "config": {**meta["config"], "out": None, "data": data if data == "builtin" else "FOLDER"},
        "history": [_without_times(row) for row in meta["history"]],
        "result": _without_times(result),
        "made_of": made_of,
    }
    checkpoint.save(target, {"params": trees["params"], "state": trees["state"]}, about)


def gates(study: Path, target: Path, made_of: str) -> None:
    """Save the gates' means and standard deviations by block, (1 + K, C), and the interventions.

    The first row is for all images, the others are for the K groups in order.
    """
    contents = json.loads((study / "study.json").read_text(encoding="utf-8"))
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    with (study / "gates.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for kind in ("mean", "std"):
                groups = found.setdefault((kind, row["block"]), {})
                groups.setdefault(row["group"], []).append(float(row[kind]))
    trees = {
        kind: from_leaves(
            {
                block: np.array(list(groups.values()), np.float32)
                for (k, block), groups in found.items()
                if k == kind
            }
        )
        for kind in ("mean", "std")
    }
    kept = ("images", "accuracy", "groups", "blocks", "interventions", "transplants")
    about = {key: contents[key] for key in kept} | {
        "config": contents["config"],
        "made_of": made_of,
    }
    about["config"] |= {"out": None, "data": "FOLDER"}
    checkpoint.save(target, trees, about)


def curves(name: str, made_by: str, *runs: str, target: Path = RECORDED) -> None:
    """Record the accuracy of every epoch, and that on the test set."""
    everything = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    everything[name] = {"made_by": made_by, "runs": [_accuracies(Path(run)) for run in runs]}
    target.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


def results(number: str, folder: Path = RECORDED.parent) -> None:
    """Run a tutorial and record the results that are slow in a browser."""
    (script,) = HERE.parent.glob(f"{number}_*.py")

    def keep(tutorial: int, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        found = compute()
        np.savez_compressed(folder / f"recorded_{tutorial}.npz", **found)
        return found

    recorded.computed = keep
    runpy.run_path(str(script))


def _accuracies(run: Path) -> dict[str, Any]:
    _, meta = checkpoint.load(run / "last.npz")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    by_epoch = {
        kind: [round(row[f"{short}_accuracy"], 4) for row in meta["history"]]
        for kind, short in (("training", "train"), ("validation", "val"))
    }
    about = {key: meta["config"][key] for key in ("model", "seed")}
    return about | by_epoch | {"test": result["test_accuracy"]}


def _without_times(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name not in TIMES}


if __name__ == "__main__":
    if sys.argv[1] in ("curves", "results"):
        {"curves": curves, "results": results}[sys.argv[1]](*sys.argv[2:])
    else:
        what, source, target, made_of = sys.argv[1:]
        {"network": network, "gates": gates}[what](Path(source), Path(target), made_of)
