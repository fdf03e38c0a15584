"""Measure how the time of a training step scales:  python benchmarks/growth.py [--json FILE]

The baseline is SE-ResNet-20 on 128 images of 32 x 32. One setting is varied at a time: batch size, image size, width
or depth. The exponent e of the power law t ~ x^e is fitted to the medians. If all work were matrix products, batch size
and depth would give e = 1, size and width e = 2; smaller exponents come from costs that do not grow with the setting.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from side_by_side import Call, finish, headline, medians, show

from se_numpy import models
from se_numpy.engine import keep_freed_memory
from se_numpy.layers import Combinator, Conv, Layer
from se_numpy.optim import SGD
from se_numpy.train import Learner

BASE = {"batch": 128, "size": 32, "width": 1, "depth": 20}


def widened(layer: Layer, times: int) -> Any:
    """Multiply the number of channels of every convolution by ``times``."""
    if isinstance(layer, Combinator):
        return replace(layer, parts=tuple((name, widened(part, times)) for name, part in layer.parts))
    return replace(layer, C=times * layer.C) if isinstance(layer, Conv) else layer


def step(*, batch: int, size: int, width: int, depth: int) -> Call:
    net = widened(models.resnet(depth, reduction=models.DEFAULT_REDUCTION), width)
    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((batch, size, size, 3), np.float32), rng.integers(0, 10, batch)
    learner, sgd = Learner(net, (size, size, 3), seed=0), SGD(weight_decay=5e-4)
    return lambda: learner.step(X, labels, sgd, 0.01)


def exponent(x: Sequence[float], t: Sequence[float]) -> float:
    """Fit e in t ~ x^e by least squares on the logarithms."""
    return float(np.polyfit(np.log(x), np.log(t), 1)[0])


def grow(what: str, values: Sequence[int], base: dict[str, int], repeats: int) -> dict[str, Any]:
    """Return the medians for these values of one setting, their exponent, and the ratio of the last to the first."""
    ms = medians({str(value): step(**{**base, what: value}) for value in values}, repeats)
    times = list(ms.values())
    return {
        "values": list(values),
        "median_ms": times,
        "exponent": exponent(values, times) if len(set(values)) > 1 else None,
        "last_over_first": times[-1] / times[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="*", default=[32, 64, 128, 256], metavar="N")
    parser.add_argument("--size", type=int, nargs="*", default=[16, 32, 48, 64], metavar="N", help="height and width")
    parser.add_argument("--width", type=int, nargs="*", default=[1, 2, 4], metavar="N", help="factor of the channels")
    parser.add_argument("--depth", type=int, nargs="*", default=[8, 14, 20, 32], metavar="N")
    parser.add_argument("--base-batch", type=int, default=BASE["batch"], help="batch size while other settings vary")
    parser.add_argument("--repeats", type=int, default=5, help="turns of two measured calls each")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    keep_freed_memory()
    base = {**BASE, "batch": args.base_batch}
    axes = {what: sorted(set(getattr(args, what))) for what in BASE}
    grown = {what: grow(what, values, base, args.repeats) for what, values in axes.items() if values}

    print(headline("a training step of se_numpy"))
    for what, found in grown.items():
        rows = list(zip(found["values"], found["median_ms"], strict=True))
        show(f"{what}  (otherwise {', '.join(f'{k} {v}' for k, v in base.items() if k != what)})", [what, "ms"], rows)
        if found["exponent"] is not None:
            first, last = found["values"][0], found["values"][-1]
            print(f"exponent {found['exponent']:.2f}, time({last}) / time({first}) = {found['last_over_first']:.2f}")
    finish(args.json, {"base": base, "growth": grown, "repeats": args.repeats})


if __name__ == "__main__":
    main()
