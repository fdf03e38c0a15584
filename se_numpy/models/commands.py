"""The command line of networks: ``summary`` shows one, ``complexity`` counts beside the paper."""

import argparse
import json
from dataclasses import asdict

from se_numpy import models
from se_numpy.complexity import OPTIONAL, as_json, cost, ruled, summary
from se_numpy.wrapping import wrap_text


def show_summary(args: argparse.Namespace) -> None:
    """``se-numpy summary``; without a name, the names."""
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
    notes, _, table = summary(net, shape).partition("\n\n")
    print(f"{wrap_text(notes, 2)}\n\n{table}")


def _names() -> str:
    """All networks by the size of the images that they are for, and by whether they have SE blocks."""
    lines = []
    for what, shape in (("small images, 32 x 32", models.SMALL), ("large images, 224 x 224", models.LARGE)):
        for kind, gated in (("without SE", False), ("with SE", True)):
            names = [n for n, known in models.KNOWN.items() if known.shape == shape and n.startswith("se") == gated]
            lines.append(wrap_text(f"for {what}, {kind}:\n  {', '.join(names)}", 2))
    return "\n".join(lines)


def show_complexity(args: argparse.Namespace) -> None:
    """``se-numpy complexity``."""
    print(_networks(args.model, args.json) if args.model else _beside_the_paper(args.json))


def _networks(names: list[str], as_json_: bool) -> str:
    costs = {name: cost(models.build(name), models.image_shape(name)) for name in names}
    if as_json_:
        return json.dumps({name: asdict(c) for name, c in costs.items()}, indent=2)
    head = ("network", "parameters", "multiply-adds", *OPTIONAL, "activations")
    columns = ("parameters", "products", *OPTIONAL, "activations")
    table = [(name, *(f"{getattr(c, column):,}" for column in columns)) for name, c in costs.items()]
    return ruled(head, [table], None, left=1)


def _beside_the_paper(as_json_: bool) -> str:
    from se_numpy.models.comparison import NONE, comparison

    found = comparison()
    if as_json_:
        return json.dumps(
            [{**c.printed._asdict(), "plain": c.plain, "ours": c.ours, "rule": c.rule} for c in found], indent=2
        )
    groups: dict[str, list[tuple[str, ...]]] = {}
    for c in found:
        n, digits = c.printed, c.printed.digits
        more = digits + 2 if digits else 1 if n.value < 1e4 else 0
        groups.setdefault(n.table, []).append((
            n.table, n.row, n.column, n.version, f"{n.value:,.{digits}f}", f"{c.plain:,.{more}f}",
            "no" if c.rule == NONE else "yes" if c.rule == "plain" else f"with {c.rule}: {c.ours:,.{more}f}",
        ))  # fmt: skip
    head = ("table", "row", "column", "version", "printed", "ours", "agree")
    fitting = sum(c.reproduced for c in found)
    lines = [
        "ours: learned parameters (in millions); multiply-adds of convolutions and fully connected layers, one image",
        "agree: rounded as printed, by that rule; if not, by the first other rule in use that fits, or not at all;",
        "       a rule that fits where the plain one does not is a possible explanation, no more",
        f"{fitting} of {len(found)} printed numbers agree, {sum(c.rule == 'plain' for c in found)} by the plain rule",
    ]
    return "\n".join([*(wrap_text(line, 7) for line in lines), "", ruled(head, list(groups.values()), None, left=4)])
