"""Detect the objects in the built-in scenes, with and without SE:  python benchmarks/detection.py [--json FILE]

Each network is trained with the recipe of ``se-numpy train --data scenes --task detect`` and several seeds. The table
has the average precision on the test images: AP50, AP, and AP by the size of the objects, as mean and standard
deviation over the seeds, and the differences paired by seed. Runs are in the folder --runs; the same command continues
after an interruption, and the file is written after each run.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from se_numpy.analysis.detection import SIZES, evaluate_detection
from se_numpy.analysis.network import load
from se_numpy.data import Dataset, built_in_scenes
from se_numpy.engine import keep_freed_memory
from se_numpy.train import configure
from se_numpy.train.loop import complete

PLAIN, GATED = MODELS = "resnet8", "se_resnet8"
NUMBERS = {"ap50": "AP50", "ap": "AP", **{f"ap_{size}": f"AP, {size}" for size in SIZES}}


def run(dataset: Dataset, folder: Path, **settings: Any) -> dict[str, Any]:
    """Complete a run and return its row."""
    config = configure(dataset, task="detect", device="cpu", **settings)
    complete(dataset, replace(config, out=str(folder)))
    found = evaluate_detection(load(folder), dataset).as_json()
    return {**{name: found[name] for name in NUMBERS}, "classes": {c["name"]: c["ap50"] for c in found["classes"]}}


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table in Markdown, in percent."""
    lines = ["| network | " + " | ".join(NUMBERS.values()) + " |", "|---" * (1 + len(NUMBERS)) + "|"]
    values = {model: {row["seed"]: row for row in rows if row["model"] == model} for model in MODELS}
    for model, by_seed in values.items():
        cells = [_spread([100 * row[name] for row in by_seed.values()]) for name in NUMBERS]
        lines.append(f"| `{model}` | {' | '.join(cells)} |")
    both = sorted(values[PLAIN].keys() & values[GATED].keys())
    gains = [[100 * (values[GATED][seed][name] - values[PLAIN][seed][name]) for seed in both] for name in NUMBERS]
    return [*lines, f"| gain of SE, paired | {' | '.join(map(_spread, gains))} |"] if both else lines


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{mean(values):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of those of the recipe")
    parser.add_argument("--runs", type=Path, default=Path("runs/detection"), metavar="DIR")
    parser.add_argument("--small", action="store_true", help="one epoch on few pictures, to try the script")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    keep_freed_memory()
    dataset = built_in_scenes(train=96, test=32) if args.small else built_in_scenes()
    settings = {"epochs": 1} if args.small else {} if args.epochs is None else {"epochs": args.epochs}
    rows = []
    for seed in args.seeds:
        for model in MODELS:
            print(f"\n{model}, seed {seed}", flush=True)
            folder = args.runs.resolve() / f"{model}-s{seed}"
            rows.append({"model": model, "seed": seed, **run(dataset, folder, model=model, seed=seed, **settings)})
            if args.json:
                args.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
    print("\n" + "\n".join(table(rows)))


if __name__ == "__main__":
    main()
