"""A study: what all runs share, the folder they lie in, and for each run whether it is done, begun or still to do.

A run is named by what it is, not by the table it is for, so that tables share their runs: FOLDER/runs/NAME-sSEED.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from se_numpy import models
from se_numpy.ablation.tables import Row, Table
from se_numpy.complexity import Cost, cost
from se_numpy.data import Dataset
from se_numpy.train import Config
from se_numpy.train.config import highest_lr
from se_numpy.train.run_dir import check_settings, read_json

DONE, BEGUN, NEW = "done", "begun", "new"
FAILURE = "failure.json"


@dataclass(frozen=True)
class Study:
    """All runs of some tables: ``base`` holds the settings that rows and seeds leave alone."""

    folder: Path
    base: Config
    seeds: tuple[int, ...]
    data: str  # the set's name, for people
    classes: int
    shape: tuple[int, int, int]
    test_images: int

    @classmethod
    def of(cls, folder: Path, base: Config, seeds: tuple[int, ...], dataset: Dataset) -> "Study":
        """For this data set.  ValueError for seeds that are none, or twice the same."""
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError(f"--seeds {','.join(map(str, seeds))}: expected different numbers, 0 or more")
        n = len(dataset.test_labels)
        return cls(folder, base, seeds, _title(dataset), len(dataset.classes), dataset.image_shape, n)

    def config(self, row: Row, seed: int) -> Config:
        """What a run of this row is told."""
        gates = {field.name: field.default for field in fields(models.SEConfig)}
        config = replace(self.base, **{**gates, **row.settings}, seed=seed)
        lr = min(config.lr, highest_lr(config.model))
        return replace(config, lr=lr, out=str(self.folder / "runs" / run_name(config)))

    def cost(self, row: Row) -> Cost | str:
        """What the row's network costs for one image; or why there is no such network, as a sentence."""
        try:
            return cost(self.config(row, self.seeds[0]).network(self.classes), self.shape)
        except ValueError as error:
            return str(error)

    def runs(self, tables: Iterable[Table]) -> list[Config]:
        """Every run the tables need, each once, the first seed of all before the second; impossible rows left out."""
        rows = [row for table in tables for row in table.rows if not isinstance(self.cost(row), str)]
        found = {config.out: config for seed in self.seeds for config in (self.config(row, seed) for row in rows)}
        return list(found.values())


def run_name(config: Config) -> str:
    """Readable, and different for runs that a study tells apart: se_resnet8-squeeze_max-s0."""
    defaults = {field.name: field.default for field in fields(models.SEConfig)}
    defaults["reduction"] = models.KNOWN[config.model].reduction if config.model.startswith("se") else None
    words = [config.model]
    for name, default in defaults.items():
        if (value := getattr(config, name)) != default:
            words.append(f"{name}_{'+'.join(map(str, value)) if isinstance(value, tuple) else value}")
    return "-".join([*words, f"s{config.seed}"])


def state(config: Config) -> str:
    """DONE, BEGUN or NEW.  ValueError where a run of other settings lies in its place."""
    folder = Path(config.out or "")
    path = folder / "config.json"
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} holds something that is no run; expected an empty place: name another --out")
        return NEW
    check_settings(folder, config)
    return DONE if (folder / "result.json").is_file() else BEGUN


def result(config: Config) -> dict[str, Any]:
    """What came of a run that is done."""
    return read_json(Path(config.out or "") / "result.json")


def failure(config: Config) -> str | None:
    """Why a run failed when it was last tried, if it did."""
    path = Path(config.out or "") / FAILURE
    return str(read_json(path)["failed"]) if path.is_file() else None


def _title(dataset: Dataset) -> str:
    """The set's name without the folder it was found in."""
    if dataset.name == "builtin":
        return "built-in set"
    return dataset.name.upper().replace("CIFAR", "CIFAR-")
