"""What a training step costs as it grows:  python benchmarks/growth.py [--json FILE]

SE-ResNet-20 on 128 images of 32 x 32, and from there one thing at a time: more images, larger images, wider, deeper.
Beside the medians stands the exponent of the power law that fits them best, t ~ x^e. If all the work were products,
batch and depth would have e = 1, size and width e = 2; what is below comes from costs that do not grow along.
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
    """The same network with so many times the channels in every convolution."""
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
    """e of t ~ x^e, by least squares on the logarithms."""
    return float(np.polyfit(np.log(x), np.log(t), 1)[0])


def grow(what: str, values: Sequence[int], base: dict[str, int], repeats: int) -> dict[str, Any]:
    """Medians at these values of one setting, its exponent, and the time at the last value over that at the first."""
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
    parser.add_argument("--width", type=int, nargs="*", default=[1, 2, 4], metavar="N", help="times the channels")
    parser.add_argument("--depth", type=int, nargs="*", default=[8, 14, 20, 32], metavar="N")
    parser.add_argument("--base-batch", type=int, default=BASE["batch"], help="images where others grow")
    parser.add_argument("--repeats", type=int, default=5, help="turns, of two measured calls each")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    keep_freed_memory()
    base = {**BASE, "batch": args.base_batch}
    axes = {what: sorted(set(getattr(args, what))) for what in BASE}
    grown = {what: grow(what, values, base, args.repeats) for what, values in axes.items() if values}

    print(headline("a training step of se_numpy"))
    for what, found in grown.items():
        rows = list(zip(found["values"], found["median_ms"], strict=True))
        show(f"{what}  (else {', '.join(f'{k} {v}' for k, v in base.items() if k != what)})", [what, "ms"], rows)
        if found["exponent"] is not None:
            first, last = found["values"][0], found["values"][-1]
            print(f"exponent {found['exponent']:.2f}, time({last}) / time({first}) = {found['last_over_first']:.2f}")
    finish(args.json, {"base": base, "growth": grown, "repeats": args.repeats})


if __name__ == "__main__":
    main()
