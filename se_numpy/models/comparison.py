"""Compare the parameters and multiply-adds counted here with the numbers printed in the paper.

A printed number is reproduced if our count, rounded to as many digits, is equal to it. The plain rule is tried first:
learned parameters, and multiply-adds of convolutions and fully connected layers. If it does not fit, other common
counting rules are tried and the first that fits is named. With several rules to choose from, one may fit by
coincidence, so it is only a possible explanation. If no rule fits, the row says so.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from se_numpy import models
from se_numpy.complexity import Cost, cost, count_parameters
from se_numpy.models.paper import Number, number

PLAIN = "plain"
NONE = "no rule"

# The networks of each row, as arguments of ``build``.
TABLE_2 = {
    "ResNet-50": "resnet50",
    "ResNet-101": "resnet101",
    "ResNet-152": "resnet152",
    "ResNeXt-50": "resnext50_32x4d",
    "ResNeXt-101": "resnext101_32x4d",
    "VGG-16": "vgg16",
    "BN-Inception": "bn_inception",
}
TABLE_3 = {"MobileNet": "mobilenet", "ShuffleNet": "shufflenet"}
TABLE_10 = {"2": 2, "4": 4, "8": 8, "16": 16, "32": 32, "original": None}
TABLE_13 = {"ResNet-50": (), "stage 2": (1,), "stage 3": (2,), "stage 4": (3,), "all": None}
TABLE_16 = {"ResNet-50": None, "NoSqueeze": "none", "SE": "avg"}


class Compared(NamedTuple):
    """A printed number, our count by the plain rule, our count by the rule that fits, and the name of that rule."""

    printed: Number
    plain: float
    ours: float
    rule: str

    @property
    def reproduced(self) -> bool:
        return self.rule != NONE


def comparison() -> list[Compared]:
    """Compare the counts of Tables 2, 3, 10, 13, 15 and 16 and of the released networks with the counts here."""
    return list(_comparison())


def _comparison() -> Iterator[Compared]:
    for row, name in TABLE_2.items():
        yield _operations(number("2", row, "GFLOPs"), 1e9, name)
        yield _operations(number("2", row, "SE GFLOPs"), 1e9, f"se_{name}")
    for row, name in TABLE_3.items():
        for se, network in (("", name), ("SE ", f"se_{name}")):
            yield _operations(number("3", row, f"{se}MFLOPs"), 1e6, network)
            yield _parameters(number("3", row, f"{se}parameters"), network)
    for row, r in TABLE_10.items():
        yield _parameters(number("10", row, "parameters"), *_resnet50(r is not None, reduction=r))
    for row, stages in TABLE_13.items():
        yield from _both("13", row, _resnet50(stages != (), stages=stages))
    for row in ("standard", "3x3"):
        yield from _both("15", row, _resnet50(True, placement=row))
    for row, squeeze in TABLE_16.items():
        yield from _both("16", row, _resnet50(squeeze is not None, squeeze=squeeze))
    for row, name in {**TABLE_2, "SENet-154": "senet154"}.items():
        if row != "VGG-16":
            label, se = (row, name) if row == "SENet-154" else (f"SE-{row}", f"se_{name}")
            yield _exactly(number("counts", label, "parameters"), _cost(se, ("bias", True)).parameters)
            base = models.senet154(reduction=None) if row == "SENet-154" else models.build(name)
            yield _exactly(number("counts", label, "without SE"), count_parameters(base, (224, 224, 3)))


def _resnet50(gated: bool, **settings: Any) -> tuple[Any, ...]:
    return ("se_resnet50", *settings.items()) if gated else ("resnet50",)


def _both(table: str, row: str, network: tuple[Any, ...]) -> Iterator[Compared]:
    yield _operations(number(table, row, "GFLOPs"), 1e9, *network)
    yield _parameters(number(table, row, "parameters"), *network)


def _operations(printed: Number, unit: float, *network: Any) -> Compared:
    c = _cost(*network)
    more = (
        (),
        ("squeezing", "scaling"),
        ("scaling",),
        ("additions",),
        ("squeezing", "scaling", "additions"),
        ("pooling", "additions"),
        ("pooling", "squeezing", "scaling", "additions"),
    )
    rules = {" + ".join(m) or PLAIN: c.multiply_adds(*m) / unit for m in more}
    return _compared(printed, rules)


def _parameters(printed: Number, *network: Any) -> Compared:
    c = _cost(*network)
    biases = (_cost(*network, ("bias", True)).parameters - c.parameters) if network[0].startswith("se") else 0
    rules = {
        PLAIN: c.parameters / 1e6,
        "running statistics": (c.parameters + c.statistics) / 1e6,
        "SE biases": (c.parameters + biases) / 1e6,
        "running statistics + SE biases": (c.parameters + biases + c.statistics) / 1e6,
    }
    return _compared(printed, rules)


def _exactly(printed: Number, ours: int) -> Compared:
    return Compared(printed, ours, ours, PLAIN if ours == printed.value else NONE)


def _compared(printed: Number, rules: dict[str, float]) -> Compared:
    plain = rules[PLAIN]
    for rule, ours in rules.items():
        if f"{ours:.{printed.digits}f}" == f"{printed.value:.{printed.digits}f}":
            return Compared(printed, plain, ours, rule)
    return Compared(printed, plain, plain, NONE)


@cache
def _cost(name: str, *settings: tuple[str, Any]) -> Cost:
    return cost(models.build(name, **dict(settings)), models.image_shape(name))
