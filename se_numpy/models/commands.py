"""``se-numpy summary`` and ``se-numpy complexity``: print a network, and compare counts with the paper."""

import argparse
import json
import sys
from dataclasses import asdict

from se_numpy import models
from se_numpy.complexity import OPTIONAL, as_json, cost, ruled, summary
from se_numpy.wrapping import terminal_columns, wrap_text


def show_summary(args: argparse.Namespace) -> None:
    """Run ``se-numpy summary``: print a network, or all names if none is given."""
    if args.model is None:
        print(json.dumps(models.NAMES, indent=2) if args.json else _names())
        return
    given = {name: v for name in models.SEConfig.__dataclass_fields__ if (v := getattr(args, name)) is not None}
    net = models.build(args.model, classes=args.classes, **given)
    H, W, C = models.image_shape(args.model)
    shape = (H, W, C) if args.size is None else (args.size, args.size, C)
    if args.json:
        print(json.dumps({"model": args.model, **as_json(net, shape)}, indent=2))
        return
    notes, _, table = summary(net, shape, _width()).partition("\n\n")
    print(f"{wrap_text(notes, 2)}\n\n{table}")


def _names() -> str:
    """List all networks, grouped by image size and SE blocks."""
    lines = []
    for images, shape in (("small images (32 x 32)", models.SMALL), ("large images (224 x 224)", models.LARGE)):
        for kind, gated in (("without SE", False), ("with SE", True)):
            names = [n for n, known in models.KNOWN.items() if known.shape == shape and n.startswith("se") == gated]
            lines.append(wrap_text(f"for {images}, {kind}:\n  {', '.join(names)}", 2))
    return "\n".join(lines)


def show_complexity(args: argparse.Namespace) -> None:
    """Run ``se-numpy complexity``: count the given networks, or compare all counts with the paper."""
    print(_networks(args.model, args.json) if args.model else _compared_with_paper(args.json))


def _networks(names: list[str], as_json_: bool) -> str:
    costs = {name: cost(models.build(name), models.image_shape(name)) for name in names}
    if as_json_:
        return json.dumps({name: asdict(c) for name, c in costs.items()}, indent=2)
    head = ("network", "parameters", "multiply-adds", *OPTIONAL, "activations")
    columns = ("parameters", "products", *OPTIONAL, "activations")
    table = [(name, *(f"{getattr(c, column):,}" for column in columns)) for name, c in costs.items()]
    return ruled(head, [table], None, left=1, width=_width())


def _compared_with_paper(as_json_: bool) -> str:
    from se_numpy.models.comparison import NONE, PLAIN, comparison

    found = comparison()
    if as_json_:
        return json.dumps(
            [{**c.printed._asdict(), "plain": c.plain, "ours": c.ours, "rule": c.rule} for c in found], indent=2
        )
    groups: dict[str, list[tuple[str, ...]]] = {}
    widest = max(len(c.rule) for c in found)
    for c in found:
        n, digits = c.printed, c.printed.digits
        more = digits + 2 if digits else 1 if n.value < 1e4 else 0
        groups.setdefault(n.table, []).append((
            n.table, n.row, n.column, n.version, f"{n.value:,.{digits}f}", f"{c.plain:,.{more}f}",
            c.rule.ljust(widest), "" if c.rule in (PLAIN, NONE) else f"{c.ours:,.{more}f}",
        ))  # fmt: skip
    head = ("table", "row", "column", "version", "printed", "ours", "rule".ljust(widest), "by rule")
    fitting = sum(c.reproduced for c in found)
    lines = [
        "ours: learned parameters (in millions), or multiply-adds of convolutions and fully connected layers for one "
        "image; this is the plain rule",
        "rule: the first counting rule that gives the printed number after rounding; any rule but the plain one is "
        "only a possible explanation",
        f"{fitting} of {len(found)} printed numbers agree, {sum(c.rule == PLAIN for c in found)} by the plain rule",
    ]
    table = ruled(head, list(groups.values()), None, left=4, width=_width())
    return "\n".join([*(wrap_text(line, 6) for line in lines), "", table])


def _width() -> int | None:
    """Return the width to which tables are fitted; None if the output is not a terminal."""
    return terminal_columns() if sys.stdout.isatty() else None
