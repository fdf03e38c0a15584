"""Train on the built-in scenes, with and without SE:  python benchmarks/scenes.py [--only PART...] [--json FILE]

Parts: ``scenes`` classifies scenes from scratch. ``objects`` classifies the largest object of a picture: these networks
are what ``objects-to-scenes`` starts from, with few pictures of scenes; ``scenes-to-objects`` is the reverse. Each run
of the last two is repeated from scratch with the same budget. Runs are in the folder --runs; the same command continues
after an interruption, and the file is written after each run. At the end, the results are printed as the tables of
docs/results.md. With --finished, nothing is trained and runs that are not finished are left out.

How much a network that classifies scenes uses the time is measured on 600 new pictures, each also drawn with the other
time and everything else unchanged, so that its scene is the other one with the same texture: the share of the right
predictions that change to this scene.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from se_numpy.data import Dataset, built_in_scenes
from se_numpy.data.landscape import SCENES, views
from se_numpy.data.scenes import placed, rendered
from se_numpy.engine import keep_freed_memory
from se_numpy.train import Trained, configure
from se_numpy.train.loop import complete

MODELS = "resnet8", "se_resnet8"
PARTS = "scenes", "objects", "objects-to-scenes", "scenes-to-objects"
FULL = {"subset": 2500, "epochs": 8}
FEW = {"subset": 500, "epochs": 4}  # for transfer, and for the same budget from scratch
TARGET = {"objects-to-scenes": "scenes", "scenes-to-objects": "objects"}
FROM = {"objects-to-scenes": "objects", "scenes-to-objects": "scenes"}


@dataclass(frozen=True)
class Job:
    """One run: its part, network and seed, and for transfer whether it starts from trained weights."""

    part: str
    model: str
    seed: int
    init: bool = False

    @property
    def folder(self) -> str:
        """The name of its folder."""
        start = ("", "-init")[self.init] if self.part in TARGET else ""
        return f"{self.part}{start}-{self.model}-s{self.seed}"


def jobs(parts: list[str], seeds: list[int]) -> Iterator[Job]:
    """Return the runs in order. Networks for transfer are those of the first seed."""
    for part in parts:
        for seed in seeds[:1] if part == "objects" else seeds:
            for model in MODELS:
                yield from (Job(part, model, seed, init) for init in ((False, True) if part in TARGET else (False,)))


@cache
def data_of(task: str) -> Dataset:
    """Return the data set of scenes, or of those of its pictures that have objects, labelled with the largest."""
    scenes = built_in_scenes()
    if task == "scenes":
        return scenes
    train, test = largest(scenes, "train"), largest(scenes, "test")
    return Dataset(
        "largest objects", scenes.objects, *train, *test, augment=False, source="built-in scenes, largest objects"
    )


def largest(scenes: Dataset, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures of a part that have objects, and the class of the largest object of each."""
    boxes, images = getattr(scenes, f"{part}_boxes"), getattr(scenes, f"{part}_images")
    last = np.lexsort((boxes.areas, boxes.images))
    ends = np.flatnonzero(np.append(np.diff(boxes.images[last]) > 0, True))
    return images[boxes.images[last][ends]], boxes.classes[last][ends]


@cache
def with_other_time(n: int = 600, seed: int = 100) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return n pictures, the same with day and night exchanged, and the scenes of the first."""
    rng = np.random.default_rng(seed)
    view = views(rng, np.arange(n) % len(SCENES))
    objects = placed(rng, view)
    images = [rendered(np.random.default_rng(seed), one, objects).images
              for one in (view, replace(view, night=~view.night))]  # fmt: skip
    return images[0], images[1], view.scenes


def use_of_time(run_: Path) -> float:
    """Return the share of right predictions that change to the other scene of the texture with the time alone."""
    network = Trained.load(run_)
    now, then, scenes = with_other_time()
    right = network.probabilities(now).argmax(1) == scenes
    return float((network.probabilities(then[right]).argmax(1) == (scenes[right] ^ 1)).mean())


def run(job: Job, runs: Path, first_seed: int, budgets: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Complete a run and return its row."""
    recipe = configure(data_of("scenes"))
    settings: dict[str, Any] = {"lr": recipe.lr, "batch_size": recipe.batch_size, **budgets["full"]}
    if job.part in TARGET:
        settings |= budgets["few"]
    if job.init:
        source = Job(FROM[job.part], job.model, first_seed)
        settings["init"] = str(runs / source.folder / "best.npz")
    dataset = data_of(TARGET.get(job.part, job.part))
    config = configure(dataset, model=job.model, seed=job.seed, device="cpu", **settings)
    done = complete(dataset, replace(config, out=str(runs / job.folder)))
    row = {"part": job.part, "model": job.model, "seed": job.seed, "init": job.init,
           "test_accuracy": done.result["test_accuracy"], "seconds": done.result["seconds"]}  # fmt: skip
    return row | ({"use_of_time": use_of_time(runs / job.folder)} if job.part == "scenes" else {})


def time_table(record: dict[str, Any]) -> list[str]:
    """Return how much the networks use the time as lines of a Markdown table, with the share of each seed."""
    shares: dict[str, list[str]] = {}
    for row in record["rows"]:
        if row["part"] == "scenes":
            shares.setdefault(row["model"], []).append(f"{100 * row['use_of_time']:.1f}")
    lines = ["| network | right predictions that follow the time |", "|---|---|"]
    return lines + [f"| `{model}`, scenes | {' / '.join(found)} % |" for model, found in shares.items()]


def table(record: dict[str, Any]) -> list[str]:
    """Return the results as lines of a Markdown table, with the test accuracy of each seed."""
    found: dict[tuple[str, bool], dict[str, list[str]]] = {}
    for row in record["rows"]:
        cells = found.setdefault((row["part"], row["init"]), {})
        cells.setdefault(row["model"], []).append(f"{100 * row['test_accuracy']:.1f}")
    lines = [
        f"| task | starts from | pictures, epochs | {' | '.join(f'`{model}`' for model in MODELS)} |",
        "|---|---|---|---|---|",
    ]
    for (part, init), cells in found.items():
        budget = record["budgets"]["few" if part in TARGET else "full"]
        start = f"{FROM[part]}, seed {record['seeds'][0]}" if init else "scratch"
        right = " | ".join(" / ".join(cells[model]) + " %" if model in cells else "not measured" for model in MODELS)
        lines.append(f"| {TARGET.get(part, part)} | {start} | {budget['subset']:,}, {budget['epochs']} | {right} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--runs", type=Path, default=Path("runs/scenes"), metavar="DIR")
    parser.add_argument("--small", action="store_true", help="one epoch on few pictures, to try the script")
    parser.add_argument("--finished", action="store_true", help="train nothing; read the runs that are finished")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    keep_freed_memory()
    budgets = {"full": FULL, "few": FEW}
    if args.small:
        budgets = {name: {"subset": 96, "epochs": 1} for name in budgets}
    rows: list[dict[str, Any]] = []
    record = {"budgets": budgets, "seeds": args.seeds, "rows": rows}
    for job in jobs(args.only, args.seeds):
        if args.finished and not (args.runs / job.folder / "result.json").is_file():
            continue
        print(f"\n{job.folder}", flush=True)
        rows.append(run(job, args.runs.resolve(), args.seeds[0], budgets))
        if args.json:
            args.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print("\n".join(["", *table(record), "", *time_table(record)]))


if __name__ == "__main__":
    main()
