"""Tests of runs read from their folders: their differences and curves, and the HTML report's text and figures."""

import csv
import io
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from specimens import CLASSES, Reader, made_up, save

from se_numpy import data
from se_numpy.analysis import pictures, run_page, run_pictures, run_summaries, runs
from se_numpy.analysis.output_path import output_path
from se_numpy.analysis.run_page import write_report
from se_numpy.analysis.runs import RunRecord, comparable, find_runs, group_runs, read_run
from se_numpy.cli import main
from se_numpy.data import builtin
from se_numpy.data.glyphs import PLAIN_BOUND
from se_numpy.models import NAMES
from se_numpy.pages import Figure
from se_numpy.train import configure, figures
from se_numpy.train.environment import environment

pytestmark = pytest.mark.xdist_group("runs")  # one worker, so that the report below is written once
COLUMNS = ("epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds")


def history(*accuracies, start=1):
    """Return a row for each epoch: validation accuracy as given, training accuracy higher by 0.1."""
    return [dict(zip(COLUMNS, (k, 0.1, 3.0 - a, a + 0.1, 2.0 - a, a, 1.5), strict=True))
            for k, a in enumerate(accuracies, start)]  # fmt: skip


def write_run(folder, rows=None, result=None, starts=None, **settings):
    """Write the files that the trainer leaves in a run's folder, except the networks."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = history(0.2, 0.5, 0.4) if rows is None else rows
    config = asdict(configure(builtin(train=1, test=1), **{"epochs": len(rows), **settings}))
    (folder / "config.json").write_text(json.dumps(config))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result))
    if starts is not None:
        (folder / "env.json").write_text(json.dumps(starts))
    return folder


def record(rows=None, result=None, **config):
    return RunRecord(None, {"model": "net", "data": "x", "epochs": 3, **config}, rows or history(0.2, 0.5, 0.4),
                     result or {}, [])  # fmt: skip


def test_a_run_is_read_from_its_folder(tmp_path):
    folder = write_run(tmp_path / "a", result={"test_accuracy": 0.5}, starts=[{"threads": 2}], lr=0.25)
    run = read_run(folder)
    assert run.config["lr"] == 0.25
    assert run.history == history(0.2, 0.5, 0.4)
    assert run.result == {"test_accuracy": 0.5}
    assert run.starts == [{"threads": 2}]
    assert run.chosen["epoch"] == 2
    assert record(history(0.5, 0.2, 0.5)).chosen["epoch"] == 3  # the last of equal epochs, like the trainer


@pytest.mark.parametrize(("file", "text", "said"), [
    ("config.json", None, "holds no config.json; expected the folder of a run"),
    ("config.json", "[1]", "holds a list; expected a dict"),
    ("config.json", "{", "config.json is not valid JSON"),
    ("env.json", "[1]", "expected a list of objects"),
    ("env.json", "{}", "holds a dict; expected a list"),
    ("metrics.csv", None, "holds no metrics.csv: the run has not finished an epoch yet"),
    ("metrics.csv", ",".join(COLUMNS), "holds no rows"),
    ("metrics.csv", ",".join(COLUMNS) + "\n1,2,x,4,5,6,7", "metrics.csv, line 2: expected a row of numbers"),
    ("metrics.csv", ",".join(COLUMNS) + "\n1,2", "line 2: expected a row of numbers"),
    ("metrics.csv", "epoch,lr\n1,2", "missing train_loss, train_accuracy, val_loss, val_accuracy"),
])  # fmt: skip
def test_damaged_run_folders_are_refused(tmp_path, capsys, file, text, said):
    path = write_run(tmp_path / "a") / file
    path.unlink(missing_ok=True)
    if text is not None:
        path.write_text(text)
    assert main(["plot", str(tmp_path / "a"), "--out", str(tmp_path / "c.png")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert str(tmp_path / "a") in error
    assert main(["plot", "no-such-folder"]) == 2
    assert "no-such-folder does not exist; expected a checkpoint or the folder" in capsys.readouterr().err


def labels(*configs):
    return {label: [r.config["seed"] for r in group]
            for label, group in group_runs([record(**c) for c in configs]).items()}  # fmt: skip


def test_runs_are_labelled_by_the_settings_that_differ():
    a = {"model": "se_resnet8", "seed": 0, "lr": 0.1, "device": "cpu", "out": "x"}
    b = a | {"seed": 1, "device": "gpu", "out": "y"}
    assert labels(a, b) == {"se_resnet8": [0, 1]}
    assert labels(a, b, a | {"model": "resnet8"}) == {"se_resnet8": [0, 1], "resnet8": [0]}
    assert labels(a, b | {"lr": 0.5}) == {"lr 0.1": [0], "lr 0.5": [1]}
    assert labels(a, b | {"lr": 0.5, "model": "resnet8"}) == {"se_resnet8, lr 0.1": [0], "resnet8, lr 0.5": [1]}
    assert labels(a | {"augment": True}, b | {"augment": False}) == {"augment yes": [0], "augment no": [1]}
    assert labels(a | {"stages": [1, 2]}, b | {"stages": None}) == {"stages 1, 2": [0], "stages default": [1]}


def test_missing_settings_of_older_runs_are_the_defaults():
    assert labels({"seed": 0}, {"seed": 1, "gate": "sigmoid"}) == {"net": [0, 1]}
    assert labels({"seed": 0}, {"seed": 1, "gate": "tanh"}) == {"gate sigmoid": [0], "gate tanh": [1]}


def test_data_sets_are_told_apart_by_their_digests():
    """Not by their names: folders are renamed, and any arrays can have any name."""
    one, other = record(data="cifar10", seed=0)._replace(digest="1" * 64), record(data="/a/flowers", seed=1)
    assert list(group_runs([one, other])) == ["data cifar10", "data flowers"]
    renamed = record(data="/b/cifar", seed=1)._replace(digest="1" * 64)
    assert list(group_runs([one, renamed])) == ["net"]
    changed = record(data="cifar10", seed=1)._replace(digest="2" * 64)
    assert list(group_runs([one, changed])) == ["data cifar10 (11111111)", "data cifar10 (22222222)"]
    own = record(data="python:flowers", seed=1)
    assert list(group_runs([one, own])) == ["data cifar10", "data flowers"]


def in_folders(*records):
    return [r._replace(folder=Path(f"runs/{k}")) for k, r in enumerate(records)]


def test_only_complete_runs_with_different_seeds_are_averaged():
    cut = history(0.2, 0.5)
    groups, notes = comparable(
        in_folders(*(record(seed=s) for s in (0, 1, 0)), record(cut, seed=2), record(cut, seed=1))
    )
    assert {label: [run.folder.name for run in members] for label, members in groups.items()} == {
        "net": ["0", "1"], "net, seed 2, 2 of 3 epochs": ["3"]}  # fmt: skip
    assert notes == [
        "left out: runs/2 has the settings and the seed of runs/0",
        "left out: runs/4 has the settings and the seed of runs/1",
        "unfinished: runs/3, 2 of 3 epochs: drawn on its own, not part of a mean",
    ]
    assert list(comparable(in_folders(record(cut, seed=0), record(cut, seed=1))).groups) == [
        "net, seed 0, 2 of 3 epochs", "net, seed 1, 2 of 3 epochs"]  # fmt: skip
    twice = in_folders(record(seed=0))
    assert comparable([*twice, *twice]).notes == ["left out: runs/0 is given twice"]


def test_the_plot_command_says_what_it_leaves_out(tmp_path, monkeypatch, capsys):
    drawn = {}
    monkeypatch.setattr(figures, "draw_together", lambda named, title: drawn.update(named) or NoFigure())
    for name, seed, rows in (("a", 0, None), ("b", 0, None), ("c", 1, None), ("d", 2, history(0.1))):
        start = {"data_sha256": "1" * 64}
        write_run(tmp_path / name, rows, starts=[start], seed=seed, epochs=3)
    write_run(tmp_path / "e", starts=[{"data_sha256": "2" * 64}], seed=3)
    assert main(["plot", str(tmp_path), "--out", str(tmp_path / "c.png")]) == 0
    assert {label: len(histories) for label, histories in drawn.items()} == {
        "data builtin (11111111) (2 runs)": 2, "data builtin (11111111), seed 2, 1 of 3 epochs": 1,
        "data builtin (22222222)": 1}  # fmt: skip
    out = capsys.readouterr().out
    assert f"left out: {tmp_path / 'b'} has the settings and the seed of {tmp_path / 'a'}" in out
    assert f"unfinished: {tmp_path / 'd'}, 1 of 3 epochs: drawn on its own, not part of a mean" in out


class NoFigure:
    def savefig(self, path, **more):
        pass


def test_a_folder_of_runs_means_each_of_them(tmp_path):
    for s in (0, 1):
        write_run(tmp_path / "several" / f"s{s}", seed=s)
    assert [path.name for path in find_runs(tmp_path / "several")] == ["s0", "s1"]
    assert find_runs(tmp_path / "several" / "s1") == [tmp_path / "several" / "s1"]


def test_several_runs_are_drawn_as_their_mean_with_a_band():
    groups = {"two": [history(0.2, 0.4, 0.9), history(0.4, 0.8)], "one": [history(0.1, 0.3, 0.5)]}
    figure = figures.draw_together(groups, title="both")
    accuracy = figure.axes[1]
    train, held_out, _, alone = accuracy.get_lines()
    assert held_out.get_xdata().tolist() == [1, 2]
    assert np.allclose(held_out.get_ydata(), [30, 60])
    assert np.allclose(train.get_ydata(), [40, 70])
    assert (train.get_linestyle(), held_out.get_linestyle()) == ("--", "-")
    assert np.allclose(alone.get_ydata(), [10, 30, 50])
    (band,) = accuracy.collections  # of the group of two runs
    spread = 100 * np.std([0.4, 0.8], ddof=1)
    ys = band.get_paths()[0].vertices[:, 1]
    assert ys.max() == pytest.approx(60 + spread)
    assert np.allclose(figure.axes[0].get_lines()[1].get_ydata(), [1.7, 1.4])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["two", "one", "held out", "training"]


def test_the_curves_of_a_run_mark_the_chosen_epoch(tmp_path):
    figure = figures.draw_curves(history(0.2, 0.5, 0.4), title="what")
    train, held_out, chosen = figure.axes[1].get_lines()
    assert np.allclose(held_out.get_ydata(), [20, 50, 40])
    assert np.allclose(train.get_ydata(), [30, 60, 50])
    assert set(chosen.get_xdata()) == {2}
    assert figure.axes[0].get_ylim()[0] == 0
    assert figure.axes[0].get_ylim()[1] > 2.9  # above the highest mark
    tall = figures.draw_curves(history(0.2), columns=1)
    assert tall.get_figheight() > tall.get_figwidth()
    figures.curves(history(0.2, 0.5), tmp_path / "c.png", title="t")
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"


def test_title_and_legend_are_above_the_curves():
    figure = figures.draw_curves(history(0.2, 0.5), title="what")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "what"
    assert [t.get_text() for t in legend.get_texts()] == ["training", "held out", "chosen: epoch 2, 50.0 %"]
    assert legend.get_window_extent().y0 >= max(axes.get_window_extent().y1 for axes in figure.axes)


@pytest.mark.parametrize("accuracies", [
    (0.1, 0.1, 0.1, 0.3, 0.61, 0.66), (0.0, 0.05, 0.4, 0.9, 0.9, 0.9), (0.9, 0.9, 0.9, 0.4, 0.1, 0.1),
    (0.6, 0.65, 0.8, 0.85, 0.9, 0.9), (0.1,) * 6,
])  # fmt: skip
def test_the_label_of_the_bound_does_not_overlap_the_curves(accuracies):
    figure = figures.draw_curves(history(*accuracies), bound=(0.6, "no resnet8 without SE passes this"))
    figure.draw_without_rendering()
    axes = figure.axes[1]
    (words,) = axes.texts
    box = words.get_window_extent()
    for line in axes.get_lines()[:2]:
        x = np.linspace(1, 6, 500)
        drawn = axes.transData.transform(np.stack([x, np.interp(x, *line.get_xydata().T)], 1))
        assert not any(box.contains(*point) for point in drawn)
    assert axes.get_lines()[3].get_ydata()[0] == pytest.approx(60)


def test_a_single_epoch_is_drawn_as_a_marker():
    together = figures.draw_together({"a": [history(0.2)], "b": [history(0.3)]})
    for figure in (figures.draw_curves(history(0.2)), together):
        for axes in figure.axes:
            low, high = axes.get_xlim()
            assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]
            assert all(line.get_marker() != "None" for line in axes.get_lines() if len(line.get_xdata()) == 1)
    longer = figures.draw_together({"a": [history(0.2, 0.3)]}).axes[0]
    assert longer.get_lines()[0].get_marker() == "None"


def test_the_plot_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for s in (0, 1):
        write_run(tmp_path / "several" / f"s{s}", seed=s, rows=history(0.2, 0.3 + s / 10))
    write_run(tmp_path / "plain", model="resnet8", rows=history(0.1, 0.2))
    assert main(["plot", "several", "plain"]) == 0
    assert capsys.readouterr().out == (
        "se_resnet8: 2 runs, held-out accuracy 30.0, 40.0 %\nresnet8: 1 run, held-out accuracy 20.0 %\n"
        "figure   compare.png\n"
    )
    assert (tmp_path / "compare.png").read_bytes()[:4] == b"\x89PNG"
    assert main(["plot", "plain", "--out", "curves.pdf"]) == 2
    assert "--out is 'curves.pdf'; expected the name of a .png file" in capsys.readouterr().err


def test_only_files_of_the_same_command_are_overwritten(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "r")
    assert main(["plot", "r"]) == 0
    first = (tmp_path / "compare.png").stat().st_mtime_ns
    assert main(["plot", "r"]) == 0
    assert (tmp_path / "compare.png").stat().st_mtime_ns > first
    figures.curves(history(0.2, 0.5), tmp_path / "r" / "curves.png")
    theirs = (tmp_path / "r" / "curves.png").read_bytes()
    for words in (["plot", "r", "--out", "r/curves.png"], ["predict", "r", "test:0", "--figure", "r/curves.png"]):
        assert main(words) == 2
        assert "r/curves.png already exists and was not made by se-numpy" in capsys.readouterr().err
    assert (tmp_path / "r" / "curves.png").read_bytes() == theirs
    (tmp_path / "page.html").write_text("mine")
    assert main(["report", "r", "--out", "page.html"]) == 2
    assert "page.html already exists and was not made by se-numpy report" in capsys.readouterr().err
    assert main(["report", "r", "--out", "page.pdf"]) == 2
    assert "--out is 'page.pdf'; expected the name of a .html file" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ the sentences


def test_the_headline_states_its_numbers():
    found = made_up([0, 0, 1, 1], [0, 0, 1, 2])
    told = run_summaries.headline(record(), found)
    low, high = found.interval
    assert "After 3 epochs, net classifies 75.0 % of 4 test images correctly" in told
    assert f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %)" in told
    assert "predicting the most frequent class would give 50.0 %" in told
    assert "After 1 epoch, net" in run_summaries.headline(record(history(0.5)), found)


@pytest.mark.parametrize(("model", "source", "right", "said"), [
    ("se_resnet8", "builtin", 0.99, "the rest is due to SE"),
    ("se_resnet8", "builtin", 0.61, "not clearly above 60.4 %, the most this network can reach without SE blocks"),
    ("resnet8", "builtin", 0.17, "this network cannot exceed 60.4 % on this data set"),
    ("se_resnet14", "builtin", 0.99, None),
    ("se_resnet8", "elsewhere", 0.99, None),
])  # fmt: skip
def test_the_bound_is_claimed_only_where_it_is_proven(model, source, right, said):
    answers = np.where(np.arange(1000) < 1000 * right, 0, 1)
    told = run_summaries.headline(record(model=model, data=source), made_up(answers, np.zeros(1000, int)))
    assert (said in told) if said else ("60.4 %" not in told)
    assert f"{100 * PLAIN_BOUND:.1f}" == "60.4"


def test_findings_state_the_numbers():
    found = made_up([0, 0, 1, 2, 2], [0, 0, 1, 1, 2])
    told = run_summaries.findings(record(), found)
    assert told[0] == ("The network is from epoch 2 of 3, which had the best accuracy on the held-out images: 50.0 %.")
    assert "accuracy was 60.0 % on the training images and 50.0 % on the held-out images" in told[1]
    assert told[2].startswith("The hardest class is dog, with 50.0 % correct (95 % interval")
    assert told[3] == "The most frequent mistake is to classify dog as ship: once, or 50.0 % of the images of dog."
    assert len(told) == 4
    flat = [row | {"train_accuracy": row["val_accuracy"] + 0.04} for row in history(0.2, 0.5)]
    perfect = run_summaries.findings(record(flat, epochs=2), made_up([0, 1, 2], [0, 1, 2]))
    assert perfect[1:] == ["The network made no mistakes on these images."]


def test_findings_report_stopped_and_contradictory_runs():
    found = made_up(np.zeros(100, int), np.zeros(100, int))
    assert "interrupted after 3 of 9 epochs" in run_summaries.findings(record(epochs=9), found)[0]
    finished = record(epochs=9, result={"test_accuracy": 1.0})
    assert not any("interrupted" in t for t in run_summaries.findings(finished, found))
    for accuracy, images, fits in ((1.0, 100, True), (0.97, 100, True), (0.9, 100, False), (1.0, 200, False)):
        told = run_summaries.findings(record(result={"test_accuracy": accuracy, "test_images": images}), found)
        assert any("disagrees with result.json" in text for text in told) is not fits


def test_settings_are_readable():
    config = {"model": "se_resnet8", "reduction": None, "augment": True, "lr": 5e-4, "stages": None}
    told = dict(run_summaries.settings(config))
    assert told == {"model": "se_resnet8", "reduction": "4 (the model's default)", "augment": "yes", "lr": "0.0005",
                    "stages": "all"}  # fmt: skip
    told = dict(run_summaries.settings({"model": "se_resnet50", "reduction": None, "stages": [1, 2], "subset": None}))
    assert told["reduction"] == "16 (the model's default)"
    assert told["stages"] == "1, 2"
    assert told["subset"] == "all images"
    assert dict(run_summaries.settings({"model": "resnet8", "reduction": None}))["reduction"] == "none (no SE blocks)"
    assert all(run_summaries.settings({"model": name}) for name in NAMES)


# ------------------------------------------------------------------------------------------------ the page


@pytest.fixture(scope="module")
def small():
    return builtin(train=20, test=60)


@pytest.fixture(scope="module")
def reported(tmp_path_factory, small):
    """Return a run's folder with its report."""
    start = {"seed": 0, "epoch": 0, "started": "2026-11-29T03:31:00+01:00",
             **environment("abc123", ["se-numpy", "train"])}  # fmt: skip
    folder = write_run(tmp_path_factory.mktemp("run") / "r", starts=[start, start | {"epoch": 2}])
    save(folder / "best.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "DPI", 40)
        assert write_report(folder, small) == folder / "report.html"
    return folder


@pytest.fixture
def finished(tmp_path):
    """Return a run's folder without a report."""
    save(write_run(tmp_path / "r") / "best.npz")
    return tmp_path / "r"


@pytest.fixture
def undrawn(monkeypatch):
    """Replace the figures of pages with empty files, because drawing is slow."""
    monkeypatch.setattr(run_page, "_figure", lambda draw, alt, **how: Figure(alt, b"", b"", b"", b""))


def read(path):
    reader = Reader()
    text = path.read_text(encoding="utf-8")
    reader.feed(text)
    return reader, " ".join(" ".join(reader.text).replace("\xa0", " ").split()), text


def test_the_report_is_one_self_contained_page(reported, small):
    reader, said, text = read(reported / "report.html")
    assert len(reader.images) == 5  # curves, confusion, mistakes, gates, Grad-CAM
    assert all(len(image["alt"]) > 40 for image in reader.images)
    assert len(reader.loads) == 20  # each figure wide and narrow, light and dark
    assert all(source.startswith("data:image/png;base64,iVBOR") for source in reader.loads)
    assert "url(" not in text
    assert 'name="viewport"' in text
    assert output_path(str(reported / "report.html"), "--out", ".html", "se-numpy report")  # may be overwritten
    found = run_page.evaluate(run_page.load(reported), small)
    run = read_run(reported)
    for sentence in [run_summaries.headline(run, found), *run_summaries.findings(run, found)]:
        assert " ".join(sentence.split()) in said
    for c in found.by_class():
        assert f"{c.name} {c.images} {c.right} {100 * c.recall:.1f} " in said
    for words in ("weight decay 0.0005", "SHA-256 abc123", "command se-numpy train", "Resumed after epoch 2",
                  "the colour of the strip", "variance between cues", "4 (the model's default)",
                  "Date 2026-11-29 02:31 UTC", "Training time 4s for 3 epochs", "Parameters 80,730",
                  "Multiply-adds per image 12,504,320", "Device CPU: ", "The last maps are those of stage3",
                  "Grad-CAM of relu: ", "of its mass lies on the strip (12.5 % of the image)",
                  "on the glyph in its colour (1.5 %)"):  # fmt: skip
        assert words in said, words
    for heading in ("Training curves", "Accuracy by class", "Confusion matrix", "Most confident mistakes", "Gates",
                    "Grad-CAM", "Settings", "Environment"):  # fmt: skip
        assert f"<h2>{heading}</h2>" in text


def test_the_device_and_the_date_of_a_run_may_be_unknown(tmp_path):
    assert run_page._device(record(device="auto")) == "auto"
    gpu = {"gpu": {"name": "A100"}, "cpu": {"model": "Xeon"}, "threads": 1}
    assert run_page._device(record(device="auto")._replace(starts=[gpu])) == "GPU: A100"
    assert run_page._device(record(device="cpu")._replace(starts=[gpu])) == "CPU: Xeon, 1 thread"
    assert run_page._date(record()._replace(folder=tmp_path)) == ""
    written = read_run(write_run(tmp_path / "r", starts=[{"started": "yesterday"}]))
    assert run_page._date(written).endswith(" UTC")  # the date of config.json


def test_the_report_of_a_run_without_gates_mistakes_and_environment(tmp_path, small, undrawn):
    folder = write_run(tmp_path / "r", model="resnet8")
    save(folder / "best.npz", model="resnet8")
    truth = replace(small, test_labels=run_page.evaluate(run_page.load(folder), small).answers)
    reader, said, _ = read(write_report(folder, truth, tmp_path / "page.html"))
    assert len(reader.images) == 3  # curves, confusion, Grad-CAM
    assert "The network is resnet8, which has no SE blocks and therefore no gates." in said
    assert "The network made no mistakes on these images." in said
    assert "Unknown: the run's folder has no env.json." in said
    assert "Most confident mistakes" not in said


def test_gates_without_a_squeeze_are_explained(tmp_path, small, capsys):
    folder = write_run(tmp_path / "r", squeeze="none")
    save(folder / "best.npz", config=asdict(configure(small, squeeze="none")))
    text = run_page._no_gates(run_page.load(folder))
    assert text == "The network is se_resnet8 without squeeze, whose gates differ from pixel to pixel."
    assert main(["excitations", str(folder)]) == 2
    assert "without squeeze, whose gates differ from pixel to pixel" in capsys.readouterr().err


def test_names_are_escaped_in_the_report(finished, small, undrawn):
    bad = "<script>alert('&')</script>"
    run, network = read_run(finished), run_page.load(finished)
    found = replace(run_page.evaluate(network, small), classes=(bad, *network.classes[1:]), source=bad)
    odd = {"platform": bad, "cpu": "odd", "gpu": 3, "blas": [7]}
    run = run._replace(config={**run.config, "out": bad}, starts=[odd])
    reader = Reader()
    reader.feed(run_page.page(run, network, replace(small, name=bad), found, None))  # fails on a script
    assert "".join(reader.text).count(bad) >= 5


def test_the_report_command(tmp_path, finished, small, undrawn, monkeypatch, capsys):
    monkeypatch.setattr(data, "load", lambda source: small)
    assert main(["report", str(finished), "--out", str(tmp_path / "a.html"), "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"report   {tmp_path / 'a.html'}\n"
    assert (tmp_path / "a.html").is_file()
    assert main(["report", str(finished / "best.npz")]) == 2
    assert "is not a folder; expected the folder of a run" in capsys.readouterr().err
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"] + ["matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["report", str(finished)]) == 2
    assert "figures need matplotlib, which is not installed: pip install" in capsys.readouterr().err


def test_the_report_command_without_jinja2(tmp_path, finished, small, monkeypatch, capsys):
    monkeypatch.setattr(data, "load", lambda source: small)
    monkeypatch.setattr(run_page, "evaluate", lambda *_, **__: pytest.fail("evaluated before the check"))
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["report", str(finished), "--out", str(tmp_path / "a.html")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("se-numpy: HTML pages need Jinja2, which is not installed: pip install")
    assert "[plot]" in error
    assert not (tmp_path / "a.html").exists()


# ------------------------------------------------------------------------------------------------ its figures


def contrast(a, b):
    """Return the contrast ratio of two colours (WCAG 2)."""
    from matplotlib.colors import to_rgb

    def bright(colour):
        c = np.array(to_rgb(colour))
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722) + 0.05

    low, high = sorted((bright(a), bright(b)))
    return high / low


@pytest.mark.parametrize("dark", [False, True])
def test_the_text_of_figures_has_enough_contrast(dark):
    from matplotlib import colormaps, rc_context
    from matplotlib.text import Text

    found = made_up(np.arange(50) % 3, np.arange(50) % 2)
    images = np.zeros((50, 5, 5, 3), np.uint8)
    with rc_context(pictures.DARK if dark else {}):
        drawn = [figures.draw_curves(history(0.2, 0.5), bound=(0.6, "a bound")), run_pictures.mistakes(found, images)]
        for figure in drawn:
            assert all(contrast(t.get_color(), figure.get_facecolor()) >= 4.5 for t in figure.findobj(Text))
        axes = run_pictures.confusion(found).axes[0]
        (image,) = axes.get_images()
        assert len(axes.texts) == 6
        for text in axes.texts:
            j, i = text.get_position()
            assert contrast(text.get_color(), image.to_rgba(image.get_array())[i, j, :3]) >= 4.5
    for colour in colormaps["viridis"](np.linspace(0, 1, 20)):
        assert contrast(run_pictures.readable(colour[:3]), colour[:3]) >= 4.5


def test_a_figure_is_drawn_for_wide_and_narrow_screens_in_light_and_dark(monkeypatch):
    from matplotlib.image import imread

    monkeypatch.setattr(pictures, "DPI", 40)
    drawn = pictures.figure(lambda columns: figures.draw_curves(history(0.2, 0.5), columns=columns), "alt", (2, 1))
    corners = {}
    for name in ("wide", "narrow", "wide_dark", "narrow_dark"):
        pixels = imread(io.BytesIO(getattr(drawn, name)))
        corners[name] = pixels[0, 0, :3]
        assert (pixels.shape[1] > pixels.shape[0]) == name.startswith("wide")
    assert np.allclose(corners["wide"], 1)
    assert np.allclose(corners["wide_dark"], np.array([0x14, 0x17, 0x1B]) / 255)
    assert drawn.width == round(0.72 * 9 * 40)


def test_the_confusion_matrix_shows_counts_on_shares():
    found = made_up([0, 0, 1, 2, 2, 2], [0, 0, 0, 1, 2, 2])
    axes = run_pictures.confusion(found).axes[0]
    assert np.allclose(axes.get_images()[0].get_array(), 100 * np.array([[2 / 3, 1 / 3, 0], [0, 0, 1], [0, 0, 1]]))
    assert {(t.get_position(), t.get_text()) for t in axes.texts} == {
        ((0, 0), "2"), ((1, 0), "1"), ((2, 1), "1"), ((2, 2), "2")}  # fmt: skip
    assert [t.get_text() for t in axes.get_yticklabels()] == list(CLASSES)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")


def test_a_matrix_of_a_hundred_classes_has_no_counts_and_few_labels():
    names = [f"c{i}" for i in range(100)]
    axes = run_pictures.confusion(made_up(np.arange(100), np.arange(100), names)).axes[0]
    assert not axes.texts
    assert len(axes.get_xticklabels()) == 25


def test_mistakes_are_shown_with_predicted_and_true_classes():
    found = made_up([0, 1, 2, 0], [0, 0, 1, 1], sure=[0.99, 0.6, 0.8, 0.95])
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 5, 3), np.uint8)
    figure = run_pictures.mistakes(found, images)
    assert [(a.get_title(), a.get_xlabel()) for a in figure.axes] == [
        ("cat, 95.0 %", "true: dog"), ("ship, 80.0 %", "true: dog"), ("dog, 60.0 %", "true: cat")]  # fmt: skip
    assert (figure.axes[0].get_images()[0].get_array() == images[3]).all()
    assert run_pictures.mistakes(made_up([0], [0]), images) is None
    assert runs.common_setting([record(lr=1), record(lr=1)], "lr") == 1
    assert runs.common_setting([record(lr=1), record(lr=2)], "lr") is None
