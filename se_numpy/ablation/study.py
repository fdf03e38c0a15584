"""A study: the settings that all runs share, their folder, and the state of each run.

A run is named by its settings, not by its table, so that tables share their runs: FOLDER/runs/NAME-sSEED.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from se_numpy import models
from se_numpy.ablation.tables import Row, Table
from se_numpy.complexity import Cost, cost
from se_numpy.data import Dataset
from se_numpy.data.sources import TITLES
from se_numpy.train import Config
from se_numpy.train.config import highest_lr
from se_numpy.train.run_dir import UNFINISHED, check_settings, read_json
from se_numpy.train.saved import check_result

DONE, STARTED, NEW = "done", "started", "new"
FAILURE = "failure.json"


@dataclass(frozen=True)
class Study:
    """The runs of one or more tables; ``base`` holds the settings that rows and seeds do not change."""

    folder: Path
    base: Config
    seeds: tuple[int, ...]
    data: str  # the data set's name, for headings
    classes: int
    shape: tuple[int, int, int]
    test_images: int

    @classmethod
    def of(cls, folder: Path, base: Config, seeds: tuple[int, ...], dataset: Dataset) -> "Study":
        """Create the study of a data set.

        Raises
        ------
        ValueError
            If ``seeds`` is empty, or if any seed is negative or repeated.
        """
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError(f"--seeds is {','.join(map(str, seeds))}; expected different integers, 0 or more")
        n = len(dataset.test_labels)
        return cls(folder, base, seeds, _title(dataset), len(dataset.classes), dataset.image_shape, n)

    def config(self, row: Row, seed: int) -> Config:
        """Return the configuration of the run of this row with this seed."""
        gates = {field.name: field.default for field in fields(models.SEConfig)}
        config = replace(self.base, **{**gates, **row.settings}, seed=seed)
        lr = min(config.lr, highest_lr(config.model))
        return replace(config, lr=lr, out=str(self.folder / "runs" / run_name(config)))

    def cost(self, row: Row) -> Cost | str:
        """Return the cost of the row's network for one image, or the reason why the network is impossible."""
        try:
            return cost(self.config(row, self.seeds[0]).network(self.classes), self.shape)
        except ValueError as error:
            return str(error)

    def runs(self, tables: Iterable[Table]) -> list[Config]:
        """Return the distinct runs of the tables, ordered by seed, without impossible rows."""
        rows = [row for table in tables for row in table.rows if not isinstance(self.cost(row), str)]
        found = {config.out: config for seed in self.seeds for config in (self.config(row, seed) for row in rows)}
        return list(found.values())


def run_name(config: Config) -> str:
    """Return a readable name that is unique within a study, such as se_resnet8-squeeze_max-s0."""
    defaults = {field.name: field.default for field in fields(models.SEConfig)}
    defaults["reduction"] = models.KNOWN[config.model].reduction if config.model.startswith("se") else None
    words = [config.model]
    for name, default in defaults.items():
        if (value := getattr(config, name)) != default:
            words.append(f"{name}_{'+'.join(map(str, value)) if isinstance(value, tuple) else value}")
    return "-".join([*words, f"s{config.seed}"])


def state(config: Config) -> str:
    """Return DONE, STARTED or NEW.

    Raises
    ------
    ValueError
        If the run's folder holds a run with other settings, or files that are not a run.
    """
    folder = Path(config.out or "")
    if not (folder / "config.json").is_file():
        if folder.exists() and (not folder.is_dir() or any(p.name != UNFINISHED for p in folder.iterdir())):
            raise ValueError(f"{folder} exists and is not a run; give --out another folder")
        return NEW
    check_settings(folder, config)
    return DONE if (folder / "result.json").is_file() else STARTED


def result(config: Config) -> dict[str, Any]:
    """Read the result of a finished run.

    Raises
    ------
    ValueError
        If the file was not written by the trainer.
    """
    path = Path(config.out or "") / "result.json"
    try:
        return check_result(read_json(path), ("test_accuracy", "seconds"))
    except ValueError as error:
        raise ValueError(f"{path} is not a result written by se-numpy train: {error}; delete the file") from None


def failure(config: Config) -> str | None:
    """Return the reason why the last attempt at a run failed; None if it did not fail."""
    path = Path(config.out or "") / FAILURE
    if not path.is_file():
        return None
    found = read_json(path)
    return str(found["failed"]) if isinstance(found, dict) and "failed" in found else f"{path} gives no reason"


def _title(dataset: Dataset) -> str:
    """Return the data set's name without its folder."""
    if dataset.name == "builtin":
        return "built-in set"
    if dataset.name == "scenes":
        return "built-in scenes"
    return TITLES.get(dataset.name, dataset.name)
