"""Count the parameters, operations and activations of a network, without creating arrays.

All counts are for one image. The paper's "FLOPs" are multiply-adds; the counting rule is:

===========  ==========================================================================================
products     multiply-adds of convolutions and fully connected layers, including SE blocks, without biases
pooling      additions or comparisons in pooling, one for each element of a window
squeezing    additions of Eq. (2)
scaling      multiplications of Eq. (4)
additions    sums of the branches of residual units
activations  elements returned by the layers; a training step keeps at most this many
===========  ==========================================================================================

Batch norm, ReLU and the sigmoids of the gates are not counted, as is usual in the literature.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import prod
from typing import Any

from se_numpy.layers import SE, Conv, Flatten, GlobalAveragePool, Layer, Linear, NoSqueeze, Pool, Shape
from se_numpy.layers.combinators import Combinator, Sum
from se_numpy.tree import size

BYTES = 4  # per element in float32
OPTIONAL = ("pooling", "squeezing", "scaling", "additions")


@dataclass(frozen=True)
class Cost:
    """The cost of a layer, a stage or a network; costs can be added."""

    parameters: int = 0
    statistics: int = 0  # running means and variances of batch norm, which are not learned
    products: int = 0
    pooling: int = 0
    squeezing: int = 0
    scaling: int = 0
    additions: int = 0
    activations: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def multiply_adds(self, *more: str) -> int:
        """Return the products plus the named optional counts, such as "scaling"; each operation counts as one.

        Raises
        ------
        ValueError
            If a name is not one of the optional counts.
        """
        for name in more:
            if name not in OPTIONAL:
                raise ValueError(f"{name!r} is not an optional count; expected one of {', '.join(OPTIONAL)}")
        return self.products + sum(getattr(self, name) for name in more)


@dataclass(frozen=True)
class Row:
    """A layer of a network: its name, its constructor call, its output shape and its cost."""

    name: str
    kind: str
    output: Shape
    cost: Cost


def rows(layer: Layer, shape: Shape, name: str = "") -> Iterator[Row]:
    """Yield a row for each layer in the order of the forward pass, and one for the sum of each residual unit."""
    if not isinstance(layer, Combinator):
        output = layer.output_shape(shape)
        new = 0 if isinstance(layer, Flatten) else prod(output)  # Flatten returns a view
        kept = Cost(size(layer.parameters(shape)), size(layer.statistics(shape)), activations=new)
        yield Row(name, _kind(layer), output, kept + _work(layer, shape, output))
        return
    for (part, child), s in zip(layer.parts, layer.input_shapes(shape), strict=True):
        yield from rows(child, s, f"{name}.{part}" if name else part)
    if isinstance(layer, Sum):
        output = layer.output_shape(shape)
        added = Cost(additions=(len(layer.parts) - 1) * prod(output), activations=prod(output))
        yield Row(f"{name}.sum" if name else "sum", "sum", output, added)


def cost(layer: Layer, shape: Shape) -> Cost:
    """Return the cost of the whole network for an image of ``shape`` (H, W, C)."""
    return sum((row.cost for row in rows(layer, shape)), Cost())


def stages(layer: Layer, shape: Shape) -> dict[str, Cost]:
    """Return the cost of each top-level part of the network: stem, stage1, stage2, ..., classifier."""
    costs: dict[str, Cost] = {}
    for row in rows(layer, shape):
        stage = row.name.partition(".")[0]
        costs[stage] = costs.get(stage, Cost()) + row.cost
    return costs


def count_parameters(layer: Layer, shape: Shape) -> int:
    """Return the number of learned parameters for inputs of ``shape`` (H, W, C), without running statistics."""
    return size(layer.parameters(shape))


def _work(layer: Layer, shape: Shape, output: Shape) -> Cost:
    """Return the cost in operations of a layer that is not a combinator."""
    if isinstance(layer, Conv):
        return Cost(products=prod(output) * layer.k**2 * shape[-1] // layer.groups)
    if isinstance(layer, Linear):
        return Cost(products=prod(output) * shape[-1])
    if isinstance(layer, SE):
        return Cost(products=_weights(layer, shape), squeezing=prod(shape), scaling=prod(shape))
    if isinstance(layer, NoSqueeze):
        return Cost(products=_weights(layer, shape) * shape[0] * shape[1], scaling=prod(shape))
    if isinstance(layer, Pool):
        return Cost(pooling=prod(output) * layer.k**2)
    if isinstance(layer, GlobalAveragePool):
        return Cost(pooling=prod(shape))
    return Cost()


def _weights(layer: SE | NoSqueeze, shape: Shape) -> int:
    return size(replace(layer, bias=False).parameters(shape))


def summary(layer: Layer, shape: Shape, width: int | None = None) -> str:
    """Return a table of all layers with output shapes, parameters and multiply-adds, a sum for each stage, and a total.

    With ``width``, rows wider than that are split over several lines.
    """
    table = list(rows(layer, shape))
    whole = cost(layer, shape)
    by_layer = [(r.name, r.kind, " × ".join(map(str, r.output)), *_figures(r.cost)) for r in table]
    by_stage = [(name, "", "", *_figures(c)) for name, c in stages(layer, shape).items()]
    total = ("total", "", "", *_figures(whole))
    notes = [
        f"multiply-adds of convolutions and fully connected layers for one image of {' × '.join(map(str, shape))}; "
        f"not included: {', '.join(f'{name} {getattr(whole, name):,}' for name in OPTIONAL)}",
        f"activations: at most {whole.activations * BYTES / 1e6:,.1f} MB per image in float32; "
        f"running statistics {whole.statistics:,}",
    ]
    head = ("layer", "kind", "output", "parameters", "multiply-adds")
    return "\n".join([*notes, "", ruled(head, [by_layer, by_stage], total, left=3, width=width)])


def as_json(layer: Layer, shape: Shape) -> dict[str, Any]:
    """Return the counts of ``summary`` as a dict for JSON."""
    return {
        "input": list(shape),
        "rule": "one image; products: multiply-adds of convolutions and fully connected layers, without biases",
        "total": asdict(cost(layer, shape)),
        "stages": {name: asdict(c) for name, c in stages(layer, shape).items()},
        "layers": [
            {"name": r.name, "kind": r.kind, "output": list(r.output), **asdict(r.cost)} for r in rows(layer, shape)
        ],
    }


def ruled(
    head: tuple[str, ...], groups: Sequence[Sequence[tuple[str, ...]]], last: tuple[str, ...] | None, left: int,
    width: int | None = None,
) -> str:  # fmt: skip
    """Format groups of rows as a table with a rule above each group.

    The first ``left`` columns are left-aligned, the others right-aligned. With ``width``, the columns that do not fit
    continue on indented lines.
    """
    every = [head, *(row for group in groups for row in group), *([last] if last else [])]
    widths = [max(len(row[i]) for row in every) for i in range(len(head))]

    split = _columns_by_line(widths, width)

    def lines(row: tuple[str, ...]) -> list[str]:
        pairs = enumerate(zip(row, widths, strict=True))
        cells = [cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in pairs]
        texts = ("  " * (n > 0) + "  ".join(cells[i] for i in columns) for n, columns in enumerate(split))
        return [text.rstrip() for text in texts if text.strip()]

    rule = "-" * max(2 * (n > 0) + sum(widths[i] + 2 for i in columns) - 2 for n, columns in enumerate(split))
    table = lines(head)
    for group in [*groups, *([[last]] if last else [])]:
        table += [rule, *(line for row in group for line in lines(row))]
    return "\n".join(table)


def _columns_by_line(widths: Sequence[int], width: int | None) -> list[list[int]]:
    """Distribute the columns over lines of ``width`` characters; every line after the first is indented by 2."""
    split: list[list[int]] = [[]]
    used = 0
    for i, w in enumerate(widths):
        if split[-1] and width is not None and used + w > width:
            split.append([])
            used = 2
        split[-1].append(i)
        used += w + 2
    return split


def _figures(c: Cost) -> tuple[str, str]:
    return f"{c.parameters:,}", f"{c.products:,}"


def _kind(layer: Layer) -> str:
    """Return the layer's constructor call, leaving out arguments with default values."""
    changed = [f for f in fields(layer) if getattr(layer, f.name) != f.default]
    return f"{type(layer).__name__}({', '.join(f'{f.name}={getattr(layer, f.name)!r}' for f in changed)})"
