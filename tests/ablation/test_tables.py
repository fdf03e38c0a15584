"""Tests of the tables, their statistics and their reports, with made-up results in place of trained runs."""

import csv
import io
import json
import math
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from se_numpy import models
from se_numpy.ablation.commands import as_text
from se_numpy.ablation.paired import STUDENT, Difference, paired, verdict
from se_numpy.ablation.render import markdown, write
from se_numpy.ablation.report import Report
from se_numpy.ablation.study import Study, failure, run_name, state
from se_numpy.ablation.tables import NAMES, paper_pairs, table
from se_numpy.data import builtin
from se_numpy.se import added_parameters
from se_numpy.train import configure

TINY = builtin(train=40, test=20)


def study(folder, seeds=(0, 1, 2), **given):
    return Study.of(Path(folder), configure(TINY, epochs=1, **given), seeds, TINY)


def put(config, accuracy, **changes):
    """Write the folder of a finished run with this accuracy."""
    folder = Path(config.out)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(asdict(replace(config, **changes))))
    (folder / "result.json").write_text(json.dumps({"test_accuracy": accuracy, "seconds": 2.0}))


def filled(folder, name, accuracies, **given):
    """Return the report of a table whose rows have these accuracies, one per seed, by label."""
    ablation, rows = study(folder, **given), table(name, "se_resnet8")
    for label, values in accuracies.items():
        for seed, accuracy in zip(ablation.seeds, values, strict=True):
            put(ablation.config(rows.row(label), seed), accuracy)
    return Report(rows, ablation, f"se-numpy ablate --table {name}")


@pytest.mark.parametrize("model", ["se_resnet8", "se_preact_resnet20", "se_small_vgg", "se_small_resnext"])
@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_a_network_or_gives_a_reason(name, model, tmp_path):
    ablation, rows = study(tmp_path), table(name, model).rows
    assert len({row.label for row in rows}) == len(rows)
    assert len({run_name(ablation.config(row, 0)) for row in rows}) == len(rows)
    for row in rows:
        cost = ablation.cost(row)
        if isinstance(cost, str):
            assert "expected" in cost
        else:
            ablation.config(row, 0).network(10)
            assert cost.parameters > 10_000


def test_rows_have_the_settings_of_their_labels():
    rows = table("reduction", "se_resnet8")
    plain = study("x").cost(rows.row("without SE")).parameters
    for r in (2, 4, 8, 16):
        stages = [(1, 16), (1, 32), (1, 64)]
        assert study("x").cost(rows.row(f"r = {r}")).parameters == plain + added_parameters(stages, r)
    assert "leave no hidden unit" in study("x").cost(rows.row("r = 32"))
    config = study("x").config(table("stages", "se_resnet8").row("stage 2"), 7)
    assert (config.stages, config.seed, config.model) == ((2,), 7, "se_resnet8")
    assert study("x").config(table("placement", "se_resnet8").row("post"), 0).placement == "post"
    assert study("x").config(table("squeeze", "se_resnet8").row("none (NoSqueeze)"), 0).squeeze == "none"
    assert study("x").config(table("gate", "se_resnet8").row("tanh"), 0).gate == "tanh"


def test_impossible_rows_are_left_out_and_tables_share_runs(tmp_path):
    ablation = study(tmp_path, seeds=(0, 1))
    every = ablation.runs([table(name, "se_resnet8") for name in NAMES])
    assert len(every) == 2 * (2 + 3 + 2 + 2 + 3 + 4 + 8)  # both baselines, then the additional runs of each table
    assert len({config.out for config in every}) == len(every)
    assert not [config for config in every if config.reduction == 32]
    assert [config.seed for config in every] == [0] * 24 + [1] * 24  # all rows with the first seed come first
    standard = [
        ablation.config(table(n, "se_resnet8").row(label), 0).out
        for n, label in (
            ("gate", "sigmoid"),
            ("squeeze", "average"),
            ("reduction", "r = 4"),
            ("networks", "se_resnet8"),
        )
    ]
    assert len(set(standard)) == 1


@pytest.mark.parametrize(
    ("name", "label", "value", "where"),
    [
        ("reduction", "r = 16", 22.28, "10"),
        ("reduction", "without SE", 23.30, "10"),
        ("squeeze", "largest", 22.57, "11"),
        ("squeeze", "none (NoSqueeze)", 22.93, "16"),
        ("gate", "ReLU", 23.47, "12"),
        ("stages", "stage 3", 22.68, "13"),
        ("placement", "identity", 22.20, "14"),
        ("placement", "3x3", 22.48, "15"),
        ("networks", "small_vgg", 27.02, "2"),
        ("networks", "se_preact_resnet20", 5.21, "4"),
    ],
)
def test_rows_have_the_papers_numbers(name, label, value, where):
    (printed,) = table(name, "se_resnet8").row(label).printed
    assert (printed.value, printed.table) == (value, where)


def test_the_papers_pairs_cover_tables_2_to_6():
    pairs = paper_pairs()
    assert len(pairs) == 8 + 2 + 4 + 4 + 1
    assert all(with_.value < before.value for _, before, with_ in pairs)  # as the paper found


@pytest.mark.parametrize("model", ["resnet8", "senet154", "se_resnet9", "resnet"])
def test_a_model_without_an_se_pair_is_refused(model):
    with pytest.raises(ValueError, match="expected se_resnet8, "):
        table("gate", model)


def test_an_unknown_table_and_invalid_seeds_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no table 'gates'; expected reduction"):
        table("gates", "se_resnet8")
    for seeds in ((), (1, 1), (-1, 2)):
        with pytest.raises(ValueError, match="expected different integers"):
            study(tmp_path, seeds=seeds)


# Statistics


def test_paired_differences_match_a_calculation_by_hand():
    found = paired({0: 10.0, 1: 12.0, 2: 14.0, 9: 99.0}, {0: 9.0, 1: 9.0, 2: 9.0, 5: 1.0})
    half = 4.303 * 2 / math.sqrt(3)  # differences 1, 3, 5: mean 3, standard deviation 2
    assert found == pytest.approx((3, 3 - half, 3 + half, 3))
    assert found.contains_zero
    assert not paired({0: 10.0, 1: 10.1, 2: 10.2}, {0: 9.0, 1: 9.0, 2: 9.0}).contains_zero
    assert paired({0: 2.0}, {0: 1.5}) == (0.5, None, None, 1)
    assert paired({0: 2.0, 1: 4.0}, {0: 1.0, 1: 1.0}) == pytest.approx((2, 2 - 12.706, 2 + 12.706, 2))
    assert paired({0: 2.0}, {1: 1.0}) is None


@pytest.mark.parametrize("df", range(1, len(STUDENT) + 1))
def test_students_quantiles_cover_95_percent(df):
    t = np.linspace(0, STUDENT[df - 1], 20_001)
    constant = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    assert 2 * constant * np.trapezoid((1 + t**2 / df) ** (-(df + 1) / 2), t) == pytest.approx(0.95, abs=5e-5)


@given(st.lists(st.tuples(*[st.floats(0, 100)] * 2), min_size=2, max_size=40), st.floats(-50, 50))
def test_swapping_sides_negates_a_difference_and_a_common_shift_cancels(pairs, shift):
    a, b = (dict(enumerate(side)) for side in zip(*pairs, strict=True))
    found, swapped = paired(a, b), paired(b, a)
    assert (swapped.mean, swapped.low, swapped.high) == pytest.approx((-found.mean, -found.high, -found.low))
    shifted = paired({k: v + shift for k, v in a.items()}, {k: v + shift for k, v in b.items()})
    assert shifted[:3] == pytest.approx(found[:3], abs=1e-6)


@pytest.mark.parametrize(
    ("difference", "sampling", "text"),
    [
        (None, 1, "not run yet: no seed has both runs"),
        (Difference(3, None, None, 1), 1, "one seed: no interval and so no conclusion"),
        (Difference(3, -9, 15, 2), 1, "within noise: the interval contains 0 (2 seeds, so a very wide interval)"),
        (Difference(3, 1, 5, 3), 1, "higher error (3 seeds)"),
        (Difference(-3, -5, -1, 3), 1, "lower error (3 seeds)"),
        (Difference(0.5, 0.2, 0.8, 3), 1, "higher error (3 seeds), but below the sampling error of the test set, ±"),
        (Difference(0.5, -1, 2, 3), 1, "within noise: the interval contains 0 (3 seeds); below the sampling error of"),
        (Difference(0, 0, 0, 3), 1, "no difference for any of 3 seeds"),
    ],
)
def test_verdicts_on_differences(difference, sampling, text):
    assert verdict(difference, sampling).startswith(text)


# The folder of runs


def test_an_existing_run_is_recognised_by_its_settings(tmp_path):
    ablation = study(tmp_path)
    config = ablation.config(table("stages", "se_resnet8").row("stage 1"), 0)
    assert state(config) == "new"
    put(config, 0.5, device="gpu", out="elsewhere")  # neither setting changes the result
    assert state(config) == "done"
    with pytest.raises(ValueError, match="contains a run with epochs = 1, not 2"):
        state(replace(config, epochs=2))
    (Path(config.out) / "result.json").unlink()
    assert state(config) == "started"
    older = {name: value for name, value in asdict(config).items() if name != "placement"}
    (Path(config.out) / "config.json").write_text(json.dumps(older))  # a missing setting means its default
    assert state(config) == "started"
    (Path(config.out) / "config.json").write_text(json.dumps(older | {"colour": 1}))
    with pytest.raises(ValueError, match="does not contain the settings of a run"):
        state(config)
    (Path(config.out) / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"does not contain the settings of a run: .* is not valid JSON"):
        state(config)


def test_a_folder_that_is_not_a_run_is_refused(tmp_path):
    config = study(tmp_path).config(table("gate", "se_resnet8").row("tanh"), 0)
    Path(config.out).mkdir(parents=True)
    assert state(config) == "new"
    (Path(config.out) / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="exists and is not a run"):
        state(config)


def test_names_of_runs_contain_their_settings():
    config = study("x").config(table("stages", "se_resnet8").row("stage 1"), 2)
    assert run_name(config) == "se_resnet8-stages_1-s2"
    assert run_name(replace(config, stages=(1, 2), gate="tanh")) == "se_resnet8-gate_tanh-stages_1+2-s2"
    assert run_name(replace(config, stages=None)) == "se_resnet8-s2"


def test_the_data_set_is_named_without_its_folder(tmp_path):
    photographs = replace(TINY, name="cifar10", source="CIFAR-10, binary layout, /home/user")
    assert Study.of(tmp_path, configure(photographs), (0,), photographs).data == "CIFAR-10"
    assert study(tmp_path).data == "built-in set"


# Reports

SQUEEZE = {
    "average": [0.90, 0.91, 0.92],
    "largest": [0.89, 0.92, 0.91],
    "none (NoSqueeze)": [0.50, 0.49, 0.51],
    "without SE": [0.80, 0.81, 0.82],
}


def test_the_numbers_of_a_report(tmp_path):
    lines = {line.row.label: line for line in filled(tmp_path, "squeeze", SQUEEZE).lines}
    assert lines["average"].mean == pytest.approx(9)
    assert lines["average"].spread == pytest.approx(1)
    assert lines["average"].difference is None
    assert lines["without SE"].difference == pytest.approx((10, 10, 10, 3))
    assert lines["none (NoSqueeze)"].difference.mean == pytest.approx(41)
    assert lines["none (NoSqueeze)"].verdict.startswith("higher error")
    assert lines["largest"].verdict.startswith("within noise")


def test_a_row_of_the_networks_table_is_compared_with_the_same_network(tmp_path):
    found = filled(tmp_path, "networks", {"small_vgg": [0.7] * 3, "se_small_vgg": [0.8] * 3, "resnet8": [0.1] * 3})
    lines = {line.row.label: line for line in found.lines}
    assert lines["se_small_vgg"].difference.mean == pytest.approx(-10)
    assert lines["small_vgg"].difference is None
    assert lines["se_resnet8"].verdict.startswith("not run yet")
    assert "| ResNet-164 | CIFAR-100 | 24.33 | 21.31 | -3.02 | 5 |" in markdown(found)


def test_lower_learning_rates_of_some_networks_are_noted(tmp_path):
    found = filled(tmp_path, "networks", {"small_vgg": [0.7] * 3})
    rates = {line.row.label: found.study.config(line.row, 0).lr for line in found.lines}
    assert rates["small_resnext"] == rates["se_small_resnext"] == 0.1
    assert {lr for label, lr in rates.items() if "resnext" not in label} == {found.study.base.lr}
    assert f"- small_resnext: lr 0.1, because it does not learn at {found.study.base.lr:g}." in markdown(found)


def test_the_files_of_a_report_agree(tmp_path):
    report = filled(tmp_path, "squeeze", SQUEEZE)
    files = {path.suffix: path for path in write(report, tmp_path)}
    assert {".md", ".csv", ".json"} <= set(files)
    rows = {row["setting"]: row for row in csv.DictReader(io.StringIO(files[".csv"].read_text()))}
    record = json.loads(files[".json"].read_text())
    text = files[".md"].read_text()
    for found in record["rows"]:
        row = rows[found["setting"]]
        assert float(row["error_mean"]) == pytest.approx(found["mean"], abs=1e-4)
        assert int(row["parameters"]) == found["parameters"]
        assert float(row["paper_error"]) == found["paper"][0]["value"]
        assert f"{found['mean']:.2f} ± {found['sd']:.2f}" in text
        assert f"{found['parameters']:,}" in text
    assert "9.00 ± 1.00 | 10.00 / 9.00 / 8.00" in text
    assert "+41.00 (" in text
    assert "22.93 (T16)" in text
    assert "se-numpy ablate --table squeeze" in text
    assert record["rows"][0]["paper"][0]["version"] == "TPAMI"
    assert str(tmp_path) not in text + files[".csv"].read_text() + files[".json"].read_text()


def test_the_table_for_a_terminal_is_compact(tmp_path):
    report = filled(tmp_path, "squeeze", SQUEEZE)
    title, shared, _, head, _, *rows = as_text(report).splitlines()
    assert title == report.table.title
    assert shared == "Built-in set, 1 epoch, 3 seeds; test error in %, mean ± s.d."
    assert head.split() == ["error", "difference"]
    texts = [" ".join(row.split()) for row in rows]
    assert texts[0] == "average 9.00 ± 1.00 baseline"
    assert texts[2] == "none (NoSqueeze) 50.00 ± 1.00 +41.00 higher error"
    assert texts[3] == "without SE 19.00 ± 1.00 +10.00 higher error (uncertain)"
    assert all(len(row) < 80 for row in rows)
    report.study = replace(report.study, base=replace(report.study.base, epochs=2))
    report.lines[2].verdict = verdict(report.lines[2].difference, sampling=50)
    longer = as_text(report)
    assert " 2 epochs, " in longer
    assert "+41.00  higher error (uncertain)" in longer


def test_an_unfinished_table_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    report = filled(tmp_path, "reduction", {"r = 4": [0.9], "without SE": [0.8]}, seeds=(0,))
    (picture,) = [path for path in write(report, tmp_path) if path.suffix == ".png"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_only_the_figure_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "se_numpy.ablation.figure", None)
    files = write(filled(tmp_path, "gate", {"sigmoid": [0.9] * 3}), tmp_path)
    assert [path.suffix for path in files] == [".md", ".csv", ".json"]


def test_a_report_lists_missing_impossible_and_failed_runs(tmp_path):
    report = filled(tmp_path, "reduction", {"r = 4": [0.9, 0.8, 0.7]})
    failed = report.study.config(report.table.row("r = 8"), 1)
    Path(failed.out).mkdir(parents=True)
    (Path(failed.out) / "config.json").write_text(json.dumps(asdict(failed)))
    (Path(failed.out) / "failure.json").write_text(json.dumps({"failed": f"no number in {tmp_path}/runs"}))
    assert failure(failed) == f"no number in {tmp_path}/runs"
    report = Report(report.table, report.study, "again")
    text = markdown(report)
    assert report.missing == 3 * 5 - 3 - 1
    assert "Unfinished: 11 runs still to train" in text
    assert "r = 32: not run: 16 channels with reduction ratio r = 32 leave no hidden unit" in text
    assert "r = 8, seed 1: failed: no number in FOLDER/runs" in text
    assert report.lines[2].conclusion == "failed: no number in FOLDER/runs"


def test_one_seed_gives_no_conclusion(tmp_path):
    report = filled(tmp_path, "gate", {"sigmoid": [0.9], "tanh": [0.2]}, seeds=(4,))
    text = markdown(report)
    assert "one seed: no interval and so no conclusion" in text
    assert "±" not in text.split("| tanh |")[1].split("|")[1]
    assert "20.00" not in text.split("| tanh |")[1].split("|")[1]  # the table holds the error, not the accuracy


def test_models_that_tables_name_exist():
    assert {row.settings["model"] for row in table("networks", "se_resnet8").rows} <= set(models.NAMES)


@pytest.mark.parametrize("columns", [80, 40])
def test_the_table_fits_the_terminal(tmp_path, monkeypatch, columns):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    report = filled(tmp_path, "squeeze", SQUEEZE)
    text = as_text(report)
    assert max(map(len, text.splitlines())) <= columns
    row = re.search(r"^none \(NoSqueeze\)\s+50\.00 ± 1\.00,?\s+(?:difference )?\+41\.00\s+higher error$", text, re.M)
    assert row
    assert ("\n" in row[0]) == (columns == 40)
