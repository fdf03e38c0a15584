"""The study of a network's gates: record and summarise them, intervene, split the gradient, and write the tables."""

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from se_numpy.analysis import interventions
from se_numpy.analysis.builtin_cue import AnswerShares, glyphs_in_sight, group_by_cue, transplanted
from se_numpy.analysis.gates import (
    BlockSummary,
    Groups,
    Recorded,
    group_means,
    group_stds,
    grouped,
    record,
    summarize_block,
)  # fmt: skip
from se_numpy.analysis.interventions import ALL, Outcome, all_donors, intervene
from se_numpy.analysis.network import Network, check_fit
from se_numpy.analysis.paths import PathShare, network_paths, path_share
from se_numpy.data import Dataset

GRADIENT_BATCH = 64  # images whose gradient is split into its two paths


@dataclass(frozen=True)
class GateSummary:
    """Summary of a network's gates on some images.  Blocks are identified by their short names."""

    network: Network
    source: str
    images: int
    accuracy: float
    groupings: tuple[Groups, ...]
    gates: dict[str, np.ndarray] = field(repr=False)
    summaries: tuple[BlockSummary, ...]


@dataclass(frozen=True)
class Study(GateSummary):
    """A summary of a network's gates, with the results of interventions and the paths of the gradient."""

    outcomes: tuple[Outcome, ...]
    transplants: dict[str, AnswerShares]
    paths: dict[str, PathShare]

    def outcome(self, block: str, kind: str) -> Outcome:
        """Return the outcome of one intervention in one block."""
        return next(o for o in self.outcomes if (o.block, o.kind) == (block, kind))


def summarize(network: Network, dataset: Dataset, images: int = 1000) -> GateSummary:
    """Summarise the gates on the first ``images`` test images, without interventions.

    Raises
    ------
    ValueError
        If ``images`` is less than 2, or if the network and the data set do not match.
    """
    _check(network, dataset, images)
    seen, labels = dataset.test_images[:images], dataset.test_labels[:images]
    recorded = record(network, seen)
    return _summary(network, dataset, recorded, labels, _groupings(dataset, seen, labels))


def _groupings(dataset: Dataset, seen: np.ndarray, labels: np.ndarray) -> tuple[Groups, ...]:
    """Group the images by class and, if they have a cue, by cue."""
    return (grouped("class", dataset.classes, labels), *([group_by_cue(seen)] if dataset.name == "builtin" else []))


def study(network: Network, dataset: Dataset, images: int = 2000, *, seed: int = 0, quiet: bool = True) -> Study:
    """Study the gates on the first ``images`` test images of ``dataset``, with a progress bar unless ``quiet``.

    ``seed`` determines which images exchange their gates.

    Raises
    ------
    ValueError
        If ``images`` is less than 2, or if the network and the data set do not match.
    """
    _check(network, dataset, images)
    seen, labels = dataset.test_images[:images], dataset.test_labels[:images]
    groupings = _groupings(dataset, seen, labels)
    has_cue = len(groupings) > 1
    runs = (len(network.blocks) + 1) * len(interventions.kinds(groupings))
    short = {**network.blocks, ALL: ALL}
    total = (runs + 1) * len(seen)
    with tqdm(total=total, unit="image", desc="gates", disable=quiet, leave=False, dynamic_ncols=True) as bar:
        recorded = record(network, seen, bar.update)
        donor_of = all_donors(groupings, len(seen), seed)
        outcomes = tuple(
            Outcome(short[o.block], *list(vars(o).values())[1:])
            for o in intervene(network, seen, labels, recorded, groupings, donor_of, bar.update)
        )
    return Study(
        **vars(_summary(network, dataset, recorded, labels, groupings)),
        outcomes=outcomes,
        transplants=(
            _transplants(outcomes, groupings[1], glyphs_in_sight(seen), donor_of["shuffled"]) if has_cue else {}
        ),
        paths=_paths(network, seen[:GRADIENT_BATCH], labels[:GRADIENT_BATCH], short),
    )  # fmt: skip


def _summary(
    network: Network, dataset: Dataset, recorded: Recorded, labels: np.ndarray, groupings: tuple[Groups, ...]
) -> GateSummary:
    gates = {network.blocks[name]: s for name, s in recorded.gates.items()}
    return GateSummary(
        network, dataset.source, len(labels), float((recorded.answers == labels).mean()), groupings, gates,
        tuple(summarize_block(name, s, groupings) for name, s in gates.items()),
    )  # fmt: skip


def _check(network: Network, dataset: Dataset, images: int) -> None:
    if images < 2:
        raise ValueError(f"--images is {images}; expected 2 or more, because gates are compared between images")
    check_fit(network, dataset)


def _transplants(
    outcomes: Iterable[Outcome], strips: Groups, sight: np.ndarray, donor: np.ndarray
) -> dict[str, AnswerShares]:
    return {o.block: transplanted(o.answers, strips, sight, donor) for o in outcomes if o.kind == "shuffled"}


def _paths(network: Network, images: np.ndarray, labels: np.ndarray, short: dict[str, str]) -> dict[str, PathShare]:
    X = network.normalise(images)
    found = network_paths(network.net, network.params, network.state, X, labels)
    return {short[name]: path_share(paths) for name, paths in found.items()}


def write_numbers(found: Study, folder: Path) -> list[Path]:
    """Write gates.csv, blocks.csv, interventions.csv, study.json and, if there is a cue, transplants.csv."""
    files = {
        "gates.csv": list(_gate_rows(found)),
        "blocks.csv": [_block_row(found, summary) for summary in found.summaries],
        "interventions.csv": [_outcome_row(o) for o in found.outcomes],
        "transplants.csv": [{"block": block, **a._asdict()} for block, a in found.transplants.items()],
    }
    for name, rows in files.items():
        if rows:
            with (folder / name).open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
    (folder / "study.json").write_text(json.dumps(as_json(found), indent=1) + "\n", encoding="utf-8")
    return [folder / name for name in (*(name for name, rows in files.items() if rows), "study.json")]


def as_json(found: Study) -> dict[str, Any]:
    """Return the study as plain dicts and lists: the contents of the CSV files without the gates of single channels."""
    return {
        "format": 1, "config": found.network.config, "data": found.source, "images": found.images,
        "accuracy": found.accuracy,
        "groups": {g.what: dict(zip(g.names, g.counts.tolist(), strict=True)) for g in found.groupings},
        "blocks": [asdict(s) | {"paths": found.paths[s.block]._asdict()} for s in found.summaries],
        "interventions": [_outcome_row(o) for o in found.outcomes],
        "transplants": {block: a._asdict() for block, a in found.transplants.items()},
    }  # fmt: skip


def _gate_rows(found: Study) -> Iterable[dict[str, Any]]:
    all_images = Groups("all", ("all",), np.zeros(found.images, int))
    for block, s in found.gates.items():
        for g in (all_images, *found.groupings):
            yield from group_rows(block, s, g)


def group_rows(block: str, s: np.ndarray, groups: Groups) -> Iterable[dict[str, Any]]:
    """Yield the rows of gates.csv for one block: the mean and the standard deviation of each gate in each group."""
    means, stds = group_means(s, groups), group_stds(s, groups)
    for k, name in enumerate(groups.names):
        for c in range(s.shape[1]):
            yield {"block": block, "grouped_by": groups.what, "group": name, "images": int(groups.counts[k]),
                   "channel": c, "mean": round(float(means[k, c]), 6),
                   "std": round(float(stds[k, c]), 6)}  # fmt: skip


def _block_row(found: Study, summary: BlockSummary) -> dict[str, Any]:
    row = asdict(summary)
    for what in ("between", "chance", "named"):
        row |= {f"{what}_{group}": value for group, value in row.pop(what).items()}
    return row | {f"path_{key}": value for key, value in found.paths[summary.block]._asdict().items()}


def _outcome_row(o: Outcome) -> dict[str, Any]:
    return {"block": o.block, "gates": o.kind, "accuracy": o.accuracy, "cost": o.cost, "low": o.low, "high": o.high}
