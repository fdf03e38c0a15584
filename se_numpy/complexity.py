"""What a network costs, read off the value alone: no array is made."""

from dataclasses import fields

from se_numpy.layers import Layer, Shape, walk
from se_numpy.tree import size


def count_parameters(layer: Layer, shape: Shape) -> int:
    """How many numbers the network learns, for inputs of ``shape`` (H, W, C); running statistics are not learned."""
    return size(layer.parameters(shape))


def summary(layer: Layer, shape: Shape) -> str:
    """A table for people: every layer, the shape it returns, the parameters it learns, and their sum."""
    rows = [
        (name, _kind(part), " × ".join(map(str, part.output_shape(s))), f"{size(part.parameters(s)):,}")
        for name, part, s in walk(layer, shape)
    ]
    head = ("layer", "kind", "output", "parameters")
    total = ("total", "", "", f"{count_parameters(layer, shape):,}")
    widths = [max(len(row[i]) for row in (head, *rows, total)) for i in range(4)]
    rule = "-" * (sum(widths) + 6)

    def line(row: tuple[str, ...]) -> str:
        left = "  ".join(cell.ljust(w) for cell, w in zip(row[:3], widths[:3], strict=True))
        return f"{left}  {row[3].rjust(widths[3])}"

    return "\n".join([line(head), rule, *(line(row) for row in rows), rule, line(total)])


def _kind(layer: Layer) -> str:
    """The layer as one would write it, settings that are defaults left out."""
    set_by_hand = [f for f in fields(layer) if getattr(layer, f.name) != f.default]
    return f"{type(layer).__name__}({', '.join(f'{f.name}={getattr(layer, f.name)!r}' for f in set_by_hand)})"
