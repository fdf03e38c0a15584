"""The tables as data: a row holds the settings of a run and the paper's numbers for the same ablation.

    reduction   r, Table 10                 stages      stages with blocks, Table 13
    squeeze     Tables 11 and 16            placement   Figure 5, Tables 14 and 15
    gate        Table 12                    networks    each without and with SE, Tables 2 to 6

Except in the table "networks", the paper's numbers are for ResNet-50 on ImageNet; they are given for comparison, not as
values to reproduce.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from se_numpy import models
from se_numpy.models import paper
from se_numpy.models.paper import Number

SMALL_NETWORKS = ("preact_resnet20", "small_vgg", "small_inception", "small_resnext")
STAGES = 3  # every small network has three
TOP1 = "top-1"


@dataclass(frozen=True)
class Row:
    """A row's label, its settings, the label of its baseline, and the paper's numbers."""

    label: str
    settings: dict[str, Any]
    against: str | None = None  # the baseline's label; None for a baseline
    printed: tuple[Number, ...] = ()


@dataclass(frozen=True)
class Table:
    """An ablation: its rows, and notes on how to read it."""

    name: str
    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def row(self, label: str) -> Row:
        """Return the row with this label."""
        return next(row for row in self.rows if row.label == label)


def table(name: str, model: str) -> Table:
    """Return the table of this name for a network with SE, such as "se_resnet8".

    Raises
    ------
    ValueError
        If the table does not exist, or if the model has no SE or no counterpart without SE.
    """
    if name not in TABLES:
        raise ValueError(f"there is no table {name!r}; expected {', '.join(TABLES)} or all")
    known = models.KNOWN.get(model)
    plain = model.removeprefix("se_")
    if known is None or plain not in models.KNOWN or plain == model:
        choices = ", ".join(n for n in models.NAMES if n.startswith("se_") and models.KNOWN[n].shape == models.SMALL)
        raise ValueError(f"--model {model!r} is not a network with SE that also exists without SE; expected {choices}")
    return TABLES[name]({"model": model, "reduction": known.reduction}, {"model": plain})


def _reduction(se: dict[str, Any], plain: dict[str, Any]) -> Table:
    standard = f"r = {se['reduction']}"
    ratios = sorted({2, 4, 8, 16, 32, se["reduction"]})
    rows = [
        Row(f"r = {r}", se | {"reduction": r}, _unless(f"r = {r}", standard), _printed(("10", str(r)))) for r in ratios
    ]
    without = Row("without SE", plain, standard, _printed(("10", "original")))
    notes = (
        f"The default is r = {se['reduction']} here and r = 16 in the paper, whose layers have 256 channels or more.",
    )
    return Table("reduction", "Reduction ratio r (the paper's Table 10)", (*rows, without), notes)


def _squeeze(se: dict[str, Any], plain: dict[str, Any]) -> Table:
    rows = (
        Row("average", se, None, _printed(("11", "avg"))),
        Row("largest", se | {"squeeze": "max"}, "average", _printed(("11", "max"))),
        Row("none (NoSqueeze)", se | {"squeeze": "none"}, "average", _printed(("16", "NoSqueeze"))),
        Row("without SE", plain, "average", _printed(("16", "ResNet-50"))),
    )
    notes = ("NoSqueeze gates each pixel by the values at that pixel alone: the same weights, without global context.",)
    return Table("squeeze", "Squeeze (the paper's Tables 11 and 16)", rows, notes)


def _gate(se: dict[str, Any], plain: dict[str, Any]) -> Table:
    rows = (
        Row("sigmoid", se, None, _printed(("12", "sigmoid"))),
        Row("tanh", se | {"gate": "tanh"}, "sigmoid", _printed(("12", "tanh"))),
        Row("ReLU", se | {"gate": "relu"}, "sigmoid", _printed(("12", "relu"))),
        Row("without SE", plain, "sigmoid", _printed(("13", "ResNet-50"))),
    )
    return Table("gate", "Gate function (the paper's Table 12)", rows)


def _stages(se: dict[str, Any], plain: dict[str, Any]) -> Table:
    one = tuple(
        Row(f"stage {s}", se | {"stages": (s,)}, "all stages", _printed(("13", f"stage {s + 1}")))
        for s in range(1, STAGES + 1)
    )
    rows = (
        Row("without SE", plain, "all stages", _printed(("13", "ResNet-50"))),
        *one,
        Row("all stages", se, None, _printed(("13", "all"))),
    )
    notes = (
        "Stage 1 here is the paper's stage 2, because its stage 1 is the stem; the paper has no result for stage 5.",
    )
    return Table("stages", "SE blocks in a single stage (the paper's Table 13)", rows, notes)


def _placement(se: dict[str, Any], plain: dict[str, Any]) -> Table:
    others = [p for p in models.PLACEMENTS if p != "standard"]
    rows = (
        Row("standard", se, None, _printed(("14", "standard"))),
        *(
            Row(p, se | {"placement": p}, "standard", _printed(("15" if p == "3x3" else "14", p))) for p in others
        ),
        Row("without SE", plain, "standard", _printed(("13", "ResNet-50"))),
    )  # fmt: skip
    notes = (
        "3x3 is inside the branch: after the 3x3 convolution of a bottleneck block, or the first one of a basic block.",
    )
    return Table("placement", "Placement of the SE block (the paper's Tables 14 and 15)", rows, notes)


# The paper's network closest to each small network, as (table, row) of its Tables 2 and 4.
NEAREST = {
    "resnet": ("2", "ResNet-50"),
    "preact_resnet": ("4", "ResNet-110"),
    "small_vgg": ("2", "VGG-16"),
    "small_inception": ("2", "BN-Inception"),
    "small_resnext": ("2", "ResNeXt-50"),
}


def _networks(se: dict[str, Any], plain: dict[str, Any]) -> Table:
    rows = []
    for name in dict.fromkeys((plain["model"], *SMALL_NETWORKS)):
        family = name.rstrip("0123456789")
        number, row = NEAREST.get(family, ("", ""))
        before, after = ("original", "SE") if number == "4" else (TOP1, f"SE {TOP1}")
        r = models.KNOWN[f"se_{name}"].reduction
        rows += [
            Row(name, {"model": name}, None, _printed((number, row), before)),
            Row(f"se_{name}", {"model": f"se_{name}", "reduction": r}, name, _printed((number, row), after)),
        ]
    notes = (
        "The paper's numbers are for its network of the same kind on ImageNet; for preact_resnet20, they are for "
        "ResNet-110 on CIFAR-10.",
    )
    return Table("networks", "Networks without and with SE (the paper's Tables 2 to 6)", tuple(rows), notes)


NAMES = ("reduction", "squeeze", "gate", "stages", "placement", "networks")
TABLES: dict[str, Callable[[dict[str, Any], dict[str, Any]], Table]] = {
    "reduction": _reduction,
    "squeeze": _squeeze,
    "gate": _gate,
    "stages": _stages,
    "placement": _placement,
    "networks": _networks,
}


def paper_pairs() -> list[tuple[str, Number, Number]]:
    """Return (data set, error without SE, error with SE) for every pair of networks in the paper's Tables 2 to 6."""
    pairs = []
    columns = {"2": (TOP1, f"SE {TOP1}"), "3": (TOP1, f"SE {TOP1}"), "4": ("original", "SE"), "5": ("original", "SE")}
    data = {"2": "ImageNet", "3": "ImageNet", "4": "CIFAR-10", "5": "CIFAR-100"}
    for name, (before, after) in columns.items():
        for row in paper.table(name).rows:
            pairs.append((data[name], paper.number(name, row, before), paper.number(name, row, after)))
    pairs.append(("Places365", paper.number("6", "ResNet-152", TOP1), paper.number("6", "SE-ResNet-152", TOP1)))
    return pairs


def _unless(label: str, standard: str) -> str | None:
    return None if label == standard else standard


def _printed(where: tuple[str, str], column: str = TOP1) -> tuple[Number, ...]:
    """Return the paper's number for a (table, row), or an empty tuple if it gives none."""
    name, row = where
    if name not in paper.tables() or row not in paper.table(name).rows:
        return ()
    found = paper.table(name).rows[row][column]
    return () if found is None else (found,)
