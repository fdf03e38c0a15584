"""Print a table of finished runs:  python benchmarks/collect.py RUN... [--json FILE]

The results are read from the run folders of ``se-numpy train``. Runs that differ only in the seed are summarised as
mean ± standard deviation.
"""

import argparse
import csv
import json
import statistics
from pathlib import Path


def read(folder: Path) -> dict[str, object]:
    """Return the settings and results of a run."""
    config = json.loads((folder / "config.json").read_text())
    result = json.loads((folder / "result.json").read_text())
    with (folder / "metrics.csv").open() as file:
        epochs = list(csv.DictReader(file))
    return {
        **{name: config[name] for name in ("model", "reduction", "epochs", "batch_size", "lr", "schedule", "seed")},
        "test_accuracy": result["test_accuracy"],
        "seconds": result["seconds"],
        "images_per_second": statistics.median(float(row["images_per_second"]) for row in epochs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    runs = [read(folder) for folder in args.runs]
    settings = sorted({(run["model"], run["reduction"] or 0, run["epochs"]) for run in runs})
    print(f"{'model':14s} {'epochs':>6s} {'seeds':>10s} {'test accuracy %':>24s} {'img/s':>7s} {'seconds':>8s}")
    for model, reduction, epochs in settings:
        group = [r for r in runs if (r["model"], r["reduction"] or 0, r["epochs"]) == (model, reduction, epochs)]
        right = [100 * run["test_accuracy"] for run in group]
        spread = f" ± {statistics.stdev(right):.2f}" if len(right) > 1 else ""
        each = f" ({', '.join(f'{x:.1f}' for x in right)})" if len(right) > 1 else ""
        seeds = ",".join(str(run["seed"]) for run in group)
        speed, seconds = (statistics.median(run[k] for run in group) for k in ("images_per_second", "seconds"))
        accuracy = f"{statistics.mean(right):.2f}{spread}{each}"
        print(f"{model:14s} {epochs:6d} {seeds:>10s} {accuracy:>24s} {speed:7,.0f} {seconds:8.0f}")
    if args.json:
        args.json.write_text(json.dumps(runs, indent=1) + "\n")


if __name__ == "__main__":
    main()
