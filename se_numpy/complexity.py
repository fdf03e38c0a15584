"""What a network costs, read off the value alone: no array is made.

Counted for one image. "FLOPs" of the paper are multiply-adds, and this is the rule:

    products     multiply-adds of convolutions and fully connected layers, those of the SE blocks among them; no biases
    pooling      additions or comparisons of pooling: one for each number of a window
    squeezing    the same of Eq. (2)
    scaling      multiplications of Eq. (4)
    additions    where branches of a residual unit are summed
    activations  numbers that the layers return, all of which a step of training keeps at most

Batch norm, ReLU and the gates' sigmoids are not counted, as nowhere in the literature.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import prod
from typing import Any

from se_numpy.layers import SE, Conv, Flatten, GlobalAveragePool, Layer, Linear, NoSqueeze, Pool, Shape
from se_numpy.layers.combinators import Combinator, Sum
from se_numpy.tree import size

BYTES = 4  # of a number in float32
OPTIONAL = ("pooling", "squeezing", "scaling", "additions")


@dataclass(frozen=True)
class Cost:
    """What a layer, a stage or a network costs; costs add up."""

    parameters: int = 0
    statistics: int = 0  # tracked, not learned: batch norm's running means and variances
    products: int = 0
    pooling: int = 0
    squeezing: int = 0
    scaling: int = 0
    additions: int = 0
    activations: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def multiply_adds(self, *more: str) -> int:
        """The products, and of the rest what is named, such as "scaling"; an operation counts as a multiply-add."""
        for name in more:
            if name not in OPTIONAL:
                raise ValueError(f"{name!r} is not counted; expected some of {', '.join(OPTIONAL)}")
        return self.products + sum(getattr(self, name) for name in more)


@dataclass(frozen=True)
class Row:
    """One layer of a network: its name, the layer as one would write it, what it returns, what it costs."""

    name: str
    kind: str
    output: Shape
    cost: Cost


def rows(layer: Layer, shape: Shape, name: str = "") -> Iterator[Row]:
    """A row for each layer, in the order of the forward pass, and one for the addition of each residual unit."""
    if not isinstance(layer, Combinator):
        output = layer.output_shape(shape)
        new = 0 if isinstance(layer, Flatten) else prod(output)  # the same numbers, seen otherwise
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
    """What the whole network costs for an image of ``shape`` (H, W, C)."""
    return sum((row.cost for row in rows(layer, shape)), Cost())


def stages(layer: Layer, shape: Shape) -> dict[str, Cost]:
    """The cost of each outermost part of the network: stem, stage1, stage2, ..., classifier."""
    costs: dict[str, Cost] = {}
    for row in rows(layer, shape):
        stage = row.name.partition(".")[0]
        costs[stage] = costs.get(stage, Cost()) + row.cost
    return costs


def count_parameters(layer: Layer, shape: Shape) -> int:
    """How many numbers the network learns, for inputs of ``shape`` (H, W, C); running statistics are not learned."""
    return size(layer.parameters(shape))


def _work(layer: Layer, shape: Shape, output: Shape) -> Cost:
    """What a layer that is not made of others computes."""
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


def summary(layer: Layer, shape: Shape) -> str:
    """A table for people: each layer, what it returns, learns and multiplies; the sums by stage; the whole."""
    table = list(rows(layer, shape))
    whole = cost(layer, shape)
    by_layer = [(r.name, r.kind, " × ".join(map(str, r.output)), *_figures(r.cost)) for r in table]
    by_stage = [(name, "", "", *_figures(c)) for name, c in stages(layer, shape).items()]
    total = ("total", "", "", *_figures(whole))
    notes = [
        f"multiply-adds of convolutions and fully connected layers for one image of {' × '.join(map(str, shape))}; "
        f"{', '.join(f'{name} {getattr(whole, name):,}' for name in OPTIONAL)} come on top",
        f"activations: at most {whole.activations * BYTES / 1e6:,.1f} MB an image in float32; "
        f"running statistics {whole.statistics:,}",
    ]
    head = ("layer", "kind", "output", "parameters", "multiply-adds")
    return "\n".join([*notes, "", ruled(head, [by_layer, by_stage], total, left=3)])


def as_json(layer: Layer, shape: Shape) -> dict[str, Any]:
    """The same for programs."""
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
    head: tuple[str, ...], groups: Sequence[Sequence[tuple[str, ...]]], last: tuple[str, ...] | None, left: int
) -> str:
    """Groups of rows with a rule above each; the first ``left`` columns flush left, the others flush right."""
    every = [head, *(row for group in groups for row in group), *([last] if last else [])]
    widths = [max(len(row[i]) for row in every) for i in range(len(head))]

    def line(row: tuple[str, ...]) -> str:
        pairs = enumerate(zip(row, widths, strict=True))
        return "  ".join(cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in pairs).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [line(head)]
    for group in [*groups, *([[last]] if last else [])]:
        lines += [rule, *map(line, group)]
    return "\n".join(lines)


def _figures(c: Cost) -> tuple[str, str]:
    return f"{c.parameters:,}", f"{c.products:,}"


def _kind(layer: Layer) -> str:
    """The layer as one would write it, settings that are defaults left out."""
    set_by_hand = [f for f in fields(layer) if getattr(layer, f.name) != f.default]
    return f"{type(layer).__name__}({', '.join(f'{f.name}={getattr(layer, f.name)!r}' for f in set_by_hand)})"
