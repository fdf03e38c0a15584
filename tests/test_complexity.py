"""Counts by layer and by stage, compared with real arrays and with the paper."""

import json

import numpy as np
import pytest

from se_numpy import models, se
from se_numpy.cli import main
from se_numpy.complexity import OPTIONAL, Cost, as_json, cost, rows, stages, summary
from se_numpy.layers import (
    SE,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAveragePool,
    Linear,
    NoSqueeze,
    Pool,
    ReLU,
    init,
    residual,
    serial,
)
from se_numpy.models.comparison import NONE, PLAIN, comparison
from se_numpy.tree import size

LARGE = (224, 224, 3)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Conv(6, 3), Cost(parameters=216, products=5 * 7 * 6 * 9 * 4, activations=210)),
        (Conv(6, 3, 2, groups=2), Cost(parameters=108, products=3 * 4 * 6 * 9 * 2, activations=72)),
        (BatchNorm(), Cost(parameters=8, statistics=8, activations=140)),
        (ReLU(), Cost(activations=140)),
        (SE(2), Cost(parameters=16, products=16, squeezing=140, scaling=140, activations=140)),
        (SE(2, bias=True), Cost(parameters=22, products=16, squeezing=140, scaling=140, activations=140)),
        (NoSqueeze(2, True), Cost(parameters=22, products=16 * 35, scaling=140, activations=140)),
        (Pool("max", 3, 2, 1), Cost(pooling=3 * 4 * 4 * 9, activations=48)),
        (GlobalAveragePool(), Cost(pooling=140, activations=4)),
        (serial(Flatten(), Linear(3)), Cost(parameters=423, products=420, activations=3)),
        (residual(Conv(4, 1)), Cost(parameters=16, products=560, additions=140, activations=280)),
    ],
    ids=str,
)
def test_cost_of_a_layer(layer, expected):
    assert cost(layer, (5, 7, 4)) == expected


def test_optional_operations_are_added_when_named():
    c = cost(serial(SE(2)), (5, 7, 4))
    assert c.multiply_adds() == 16
    assert c.multiply_adds("scaling") == 16 + 140
    assert c.multiply_adds(*OPTIONAL) == 16 + 280
    with pytest.raises(ValueError, match="'relu' is not an optional count; expected one of pooling"):
        c.multiply_adds("relu")


@pytest.mark.parametrize("name", ["se_resnet20", "se_small_inception", "se_small_vgg", "se_preact_resnet20"])
def test_counts_equal_the_sizes_of_real_arrays(name):
    net, shape = models.build(name, bias=True), models.image_shape(name)
    params, state = init(net, shape, np.random.default_rng(0))
    c = cost(net, shape)
    assert (c.parameters, c.statistics) == (size(params), size(state))


@pytest.mark.parametrize("name", models.NAMES)
def test_rows_and_stages_add_up(name):
    net, shape = models.build(name), models.image_shape(name)
    whole = cost(net, shape)
    assert sum(stages(net, shape).values(), Cost()) == whole
    assert whole.parameters == size(net.parameters(shape))
    names = [row.name for row in rows(net, shape)]
    assert len(names) == len(set(names))
    assert list(stages(net, shape)) == [part for part, _ in net.parts]


def test_stages_of_se_resnet_50():
    """Eq. (5) by stage; the last stage has 62.5 % of the parameters that the SE blocks add."""
    gated, plain = (stages(models.build(name), LARGE) for name in ("se_resnet50", "resnet50"))
    added = {stage: gated[stage].parameters - plain[stage].parameters for stage in gated}
    assert {k: v for k, v in added.items() if v} == {
        "stage1": 24_576, "stage2": 131_072, "stage3": 786_432, "stage4": 1_572_864,
    }  # fmt: skip
    assert sum(added.values()) == se.added_parameters([(3, 256), (4, 512), (6, 1024), (3, 2048)], 16) == 2_514_944
    assert sum(added.values()) / cost(models.build("resnet50"), LARGE).parameters == pytest.approx(0.0984, abs=1e-4)


# Multiply-adds of convolutions and fully connected layers, counted from the released network files.
GIGA = {
    "resnet50": (3.8580, 3.8605),
    "resnet101": (7.570, 7.575),
    "resnet152": (11.282, 11.289),
    "resnext50_32x4d": (4.230, 4.233),
    "resnext101_32x4d": (7.970, 7.975),
    "bn_inception": (2.033, 2.033),
}


@pytest.mark.parametrize("name", GIGA)
def test_multiply_adds_of_released_networks(name):
    for prefix, expected in zip(("", "se_"), GIGA[name], strict=True):
        assert cost(models.build(prefix + name), LARGE).products / 1e9 == pytest.approx(expected, abs=6e-4)


def test_multiply_adds_of_other_networks():
    def giga(name, **settings):
        return cost(models.build(name, **settings), LARGE).products / 1e9

    assert giga("senet154") == pytest.approx(20.688, abs=6e-4)
    assert cost(models.senet154(reduction=None), LARGE).products / 1e9 == pytest.approx(20.682, abs=6e-4)
    for depth, expected in ((50, 4.0917), (101, 7.806), (152, 11.520)):
        assert giga(f"se_resnet{depth}", stride_in="3x3") == pytest.approx(expected, abs=6e-4)
    assert giga("se_resnet50", squeeze="none") - giga("resnet50") == pytest.approx(0.411, abs=6e-4)
    whole = cost(models.build("se_resnet50"), LARGE)
    assert whole.multiply_adds("squeezing", "scaling") / 1e9 == pytest.approx(3.8715, abs=6e-5)


def test_parameters_of_table_10():
    expected = {2: 45_676_584, 4: 35_616_808, 8: 30_586_920, 16: 28_071_976, 32: 26_814_504}
    biases = {2: 22_656, 4: 18_880, 8: 16_992, 16: 16_048, 32: 15_576}
    for r, parameters in expected.items():
        assert cost(models.build("se_resnet50", reduction=r), LARGE).parameters == parameters
        assert cost(models.build("se_resnet50", reduction=r, bias=True), LARGE).parameters == parameters + biases[r]
    assert cost(models.build("resnet50"), LARGE).statistics == 53_120


def test_table_1():
    """Compare hidden units, channels and blocks by stage with the layers."""
    for name in ("se_resnet50", "se_resnext50_32x4d"):
        found = {}
        for row in rows(models.build(name), LARGE):
            if row.kind.startswith("SE("):
                stage, C = row.name.partition(".")[0], row.output[-1]
                _, _, blocks = found.get(stage, (0, 0, 0))
                found[stage] = (row.cost.parameters // (2 * C), C, blocks + 1)
        printed = models.paper.table("1").rows
        assert list(found.values()) == [tuple(int(n.value) for n in row.values()) for row in printed.values()]


def test_comparison_with_the_paper():
    """Check which printed numbers agree under the plain rule, under another rule, or under none."""
    found = {(c.printed.table, c.printed.row, c.printed.column): c for c in comparison()}
    assert {key for key, c in found.items() if c.rule == NONE} == {
        ("2", "ResNeXt-101", "GFLOPs"),
        ("3", "ShuffleNet", "parameters"),
        ("3", "ShuffleNet", "SE MFLOPs"),
        ("3", "ShuffleNet", "SE parameters"),
    }
    assert {c.printed.table for c in found.values()} == {"2", "3", "10", "13", "15", "16", "counts"}
    for (table, *_), c in found.items():
        tolerance = 0 if table == "counts" else 0.05 * c.printed.value
        assert abs(c.plain - c.printed.value) <= tolerance
    rules = {key[1:]: c.rule for key, c in found.items() if key[0] in ("10", "13", "15", "16") and c.rule != PLAIN}
    assert rules == {
        ("4", "parameters"): "running statistics",
        ("8", "parameters"): "running statistics + SE biases",
        ("32", "parameters"): "running statistics",
        ("stage 4", "parameters"): "running statistics",
        ("3x3", "parameters"): "running statistics",
        ("all", "GFLOPs"): "squeezing + scaling",
        ("standard", "GFLOPs"): "squeezing + scaling",
        ("SE", "GFLOPs"): "squeezing + scaling",
    }


def output(capsys, *args):
    assert main(list(args)) == 0
    return capsys.readouterr().out


def test_summary_on_the_command_line(capsys):
    out = output(capsys, "summary", "se_resnet50", "--bias", "--gate", "tanh", "--stages", "1,4")
    # The total is ResNet-50 plus Eq. (5) for two stages and 7,344 biases.
    assert out.splitlines()[-1].split() == ["total", "27,161,816", "3,859,570,688"]
    assert "SEVariant(bias=True, gate='tanh')" in out
    out = output(capsys, "summary", "resnet20", "--size", "16", "--classes", "3")
    assert "16 × 16 × 16" in out
    found = json.loads(output(capsys, "summary", "se_resnet20", "--json"))
    assert found["total"]["parameters"] == 280_538
    assert found["total"] == {key: sum(row[key] for row in found["layers"]) for key in found["total"]}
    assert found["input"] == [32, 32, 3]
    with pytest.raises(SystemExit, match="2"):
        main(["summary", "se_resnet20", "--stages", "one"])
    assert "--stages: 'one'; expected whole numbers" in capsys.readouterr().err


def test_complexity_on_the_command_line(capsys):
    out = output(capsys, "complexity")
    assert "58 of 62 printed numbers agree" in out
    [row] = [line.split() for line in out.splitlines() if line.startswith("2 ") and "VGG-16" in line and "SE" in line]
    assert row == ["2", "VGG-16", "SE", "GFLOPs", "TPAMI", "15.48", "15.4705", "scaling", "15.4840"]
    assert len(json.loads(output(capsys, "complexity", "--json"))) == 62
    assert "25,557,032" in output(capsys, "complexity", "resnet50", "se_resnet50")
    assert json.loads(output(capsys, "complexity", "resnet20", "--json"))["resnet20"]["parameters"] == 272_474


@pytest.mark.parametrize("columns", [80, 40])
@pytest.mark.parametrize(
    "command", ["summary", "summary se_resnet20", "summary se_resnet8 --gate tanh", "complexity", "complexity se_vgg16"]
)
def test_tables_fit_the_terminal(capsys, monkeypatch, command, columns):
    """No text is lost, and in a file or a pipe the tables keep their full width."""
    wide = output(capsys, *command.split())
    monkeypatch.setenv("COLUMNS", str(columns))
    assert output(capsys, *command.split()) == wide
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    narrow = output(capsys, *command.split())
    assert max(map(len, narrow.splitlines())) < columns
    assert narrow.replace("-", "").split() == wide.replace("-", "").split()


def test_json_and_table_agree():
    net, shape = models.build("se_resnet8"), (32, 32, 3)
    found, text = as_json(net, shape), summary(net, shape)
    assert f"{found['total']['products']:,}" in text.splitlines()[-1]
    for stage, c in found["stages"].items():
        assert any(line.startswith(f"{stage} ") and f"{c['parameters']:,}" in line for line in text.splitlines())
