"""Networks are described as data and built again; nothing in a description is executed."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from se_numpy import layers, models
from se_numpy.layers import SE, BatchNorm, Conv, Layer, Linear, Pool, describe, from_description, register, serial
from se_numpy.layers.description import KINDS


@pytest.mark.parametrize("name", models.NAMES)
def test_every_network_is_built_again(name):
    net = models.build(name)
    assert from_description(json.loads(json.dumps(describe(net)))) == net


@pytest.mark.parametrize("settings", [{"gate": "tanh"}, {"squeeze": "none"}, {"squeeze": "max", "bias": True}])
def test_the_variants_of_se_blocks_are_built_again(settings):
    net = models.build("se_resnet8", **settings)
    assert from_description(describe(net)) == net


def test_every_kind_of_the_package_is_known():
    kinds = {v for v in vars(layers).values() if isinstance(v, type) and issubclass(v, Layer)}
    assert kinds - set(KINDS.values()) == {Layer, layers.Combinator}


@pytest.fixture
def kinds(monkeypatch):
    monkeypatch.setattr("se_numpy.layers.description.KINDS", dict(KINDS))


@dataclass(frozen=True)
class Twice(Layer):
    by: Any = 2


def test_own_kinds_are_refused_by_name_unless_registered(kinds):
    net = serial(Twice(3.0), Linear(3))
    with pytest.raises(TypeError, match=r"Twice is not a known kind .* se_numpy.layers.register\(Twice\)"):
        describe(net)
    register(Twice)
    assert register(Twice) is Twice  # a notebook's cell may run again
    described = describe(net)
    assert from_description(described) == net
    with pytest.raises(TypeError, match=r"by of Twice is \[1\]; expected a number, a text"):
        describe(Twice([1]))


def test_an_unknown_kind_is_refused_by_name():
    with pytest.raises(ValueError, match="a layer of kind 'Twice', which is not known; if it is your own, import it"):
        from_description({"layer": "Serial", "parts": [["a", {"layer": "Twice"}]]})


def test_only_classes_of_layers_are_registered(kinds):
    for other in (int, serial(Conv(3)), type("Plain", (), {})):
        with pytest.raises(TypeError, match="expected a dataclass derived from Layer"):
            register(other)

    @dataclass(frozen=True)
    class Conv2(Layer):
        pass

    Conv2.__name__ = "Conv"
    with pytest.raises(ValueError, match="Conv is already the name of"):
        register(Conv2)


def test_a_subclass_is_not_taken_for_its_parent():
    class Linear(layers.Linear):
        pass

    with pytest.raises(TypeError, match="Linear is not a known kind"):
        describe(Linear(3))


NESTED: Any = {"layer": "ReLU"}
for _ in range(5000):
    NESTED = {"layer": "Serial", "parts": [["a", NESTED]]}


@pytest.mark.parametrize(
    "found",
    [
        None, [], "Conv", {}, {"layer": 3}, {"layer": "__import__"}, {"layer": "Conv"}, {"layer": "Conv", "fields": 3},
        {"layer": "Conv", "fields": {"C": "many"}}, {"layer": "Conv", "fields": {"C": -1}},
        {"layer": "Conv", "fields": {"C": [3]}}, {"layer": "Conv", "fields": {"C": 3, "colour": 1}},
        {"layer": "Serial", "parts": 3}, {"layer": "Serial", "parts": [["a"]]},
        {"layer": "Serial", "parts": [["a", 3]]}, {"layer": "Serial", "fields": {"parts": 3}},
        {"layer": "Pool", "fields": {"kind": {"layer": "ReLU"}}},
        NESTED,
    ],
)  # fmt: skip
def test_damaged_descriptions_are_refused(found):
    with pytest.raises(ValueError, match="network"):
        from_description(found)


def test_fields_are_kept():
    """A field may have any name, such as the ``kind`` of Pool."""
    parts = dict(describe(serial(Conv(4, stride=2), BatchNorm(), SE(reduction=2, bias=True), Pool("avg", 2)))["parts"])
    assert parts["conv1"]["fields"]["stride"] == 2
    assert parts["se1"]["fields"]["reduction"] == 2
    assert parts["se1"]["fields"]["bias"] is True
    assert parts["pool1"]["layer"] == "Pool"
    assert parts["pool1"]["fields"]["kind"] == "avg"
