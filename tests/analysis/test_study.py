"""Tests of ``se-numpy excitations``: tables, page and figures from a checkpoint, findings, and error messages."""

import argparse
import csv
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from specimens import Reader, a_resnet, save

from se_numpy import checkpoint
from se_numpy.analysis import commands, network, page, pictures, study, summaries
from se_numpy.analysis.builtin_cue import AnswerShares
from se_numpy.analysis.interventions import ALL, Outcome
from se_numpy.data import builtin

pytestmark = pytest.mark.xdist_group("study")  # one worker, so that the study below is computed once
IMAGES = 60


def run(*words_):
    parser = argparse.ArgumentParser()
    commands.add(parser.add_subparsers())
    args = parser.parse_args(["excitations", *map(str, words_)])
    args.run(args)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Run the command on an untrained network and the built-in set; return the output folder."""
    folder = tmp_path_factory.mktemp("run")
    save(folder / "best.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "DPI", 40)
        run(folder, "--images", IMAGES, "--classes", "glyph 2,glyph 7,glyph 1")
    return folder / "excitations"


@pytest.fixture(scope="module")
def found(written):
    return study.study(network.load(written.parent), builtin(), IMAGES)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_tables_hold_the_numbers_of_the_study(written, found):
    gates = rows(written / "gates.csv")
    assert len(gates) == (16 + 32 + 64) * (1 + 10 + 6)
    one = next(r for r in gates if (r["block"], r["group"], r["channel"]) == ("stage2", "cyan", "5"))
    mine = found.gates["stage2"][found.groupings[1].of == 3, 5]
    assert float(one["mean"]) == pytest.approx(mine.mean(), abs=1e-5)
    assert float(one["std"]) == pytest.approx(mine.std(), abs=1e-5)
    assert int(one["images"]) == len(mine)

    costs = rows(written / "interventions.csv")
    assert len(costs) == 4 * 7
    assert {r["block"] for r in costs} == {"stage1", "stage2", "stage3", ALL}
    for r in costs:
        assert float(r["low"]) <= float(r["cost"]) <= float(r["high"])
        assert float(r["cost"]) == pytest.approx(found.accuracy - float(r["accuracy"]))

    blocks = rows(written / "blocks.csv")
    assert [r["block"] for r in blocks] == ["stage1", "stage2", "stage3"]
    assert float(blocks[1]["between_cue"]) == pytest.approx(found.summaries[1].between["cue"])
    assert 0 < float(blocks[0]["path_share"]) < 1
    assert len(rows(written / "transplants.csv")) == 4

    record = json.loads((written / "study.json").read_text())
    assert record == json.loads(json.dumps(study.as_json(found)))
    assert record["images"] == IMAGES
    assert record["groups"]["class"]["glyph 3"] == (builtin().test_labels[:IMAGES] == 3).sum()


def test_the_page_is_self_contained_responsive_and_accessible(written, found):
    text = (written / "index.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert len(reader.images) == 10
    assert all(len(image["alt"]) > 40 for image in reader.images)
    assert len(reader.loads) == 40  # each figure wide and narrow, light and dark
    assert all(source.startswith("data:image/png;base64,iVBOR") for source in reader.loads)
    assert "@import" not in text
    assert "url(" not in text
    assert 'name="viewport"' in text
    assert len(list(written.glob("*.png"))) == 10
    text = " ".join(reader.text).replace("\xa0", " ")
    assert "The mean gates of glyph 2 and glyph 7, with bands" in text  # the first two of --classes
    for sentence in summaries.findings(found):
        assert sentence in text


def test_names_are_escaped_in_the_page(found):
    reader = Reader()
    reader.feed(page.page(replace(found, source="<script>alert('&')</script>"), []))  # fails on a script
    assert "<script>alert('&')</script>" in "".join(reader.text)


def test_the_selected_classes_are_drawn(found, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "lines", lambda found, groups, columns, **how: drawn.append((groups.what, how)))
    for picture in page.all_pictures(found, [7, 2, 1]):
        if picture.name in ("gates", "spread", "cue"):
            picture.draw(1)
    assert drawn == [("cue", {"picked": [0, 1, 2, 3, 4, 5]}), ("class", {"picked": [7, 2, 1]}),
                     ("class", {"picked": [7, 2], "band": True})]  # fmt: skip
    assert pictures.chosen(found.groupings[0], 4) == [0, 3, 6, 9]


def test_figures_show_the_numbers_of_the_study(found):
    figure = pictures.lines(found, found.groupings[0], 3, picked=[4])
    order = found.gates["stage1"].mean(0).argsort()
    lines = figure.axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["glyph 4", "all images"]
    mine = found.gates["stage1"][found.groupings[0].of == 4].mean(0)
    assert np.allclose(lines[0].get_ydata(), mine[order], atol=1e-6)
    assert (np.diff(lines[1].get_ydata()) >= 0).all()

    depth = pictures.depth(found).axes[0].get_lines()
    assert np.allclose(depth[1].get_ydata(), [100 * b.between["cue"] for b in found.summaries])
    spread = pictures.depth(found).axes[1].get_lines()
    assert np.allclose(spread[0].get_ydata(), [b.spread for b in found.summaries])
    assert np.allclose(spread[1].get_ydata(), [b.within for b in found.summaries])
    bars = pictures.saturation(found).axes[0].patches
    assert sum(b.get_height() for b in bars) == pytest.approx(300)
    assert [b.get_height() for b in bars[:3]] == pytest.approx([100 * b.low for b in found.summaries])
    paths = pictures.gradient_paths(found).axes[0].patches
    assert [b.get_height() for b in paths] == pytest.approx([100 * p.share for p in found.paths.values()])
    cost = pictures.costs(found).axes[0]
    assert [t.get_text() for t in cost.get_yticklabels()] == ["stage1", "stage2", "stage3", ALL]
    first = found.outcome("stage1", "one")
    assert np.allclose(cost.get_lines()[0].get_xdata(), [100 * first.low, 100 * first.high])
    sums = np.array([b.get_width() for b in pictures.transplants(found).axes[0].patches]).reshape(4, 4).sum(0)
    assert sums == pytest.approx([100] * 4)
    for figure in (pictures.depth(found), pictures.saturation(found), pictures.costs(found, 1)):
        assert all(axes.get_ylabel() or axes.get_yticklabels() for axes in figure.axes)


def test_the_axis_covers_gates_outside_zero_to_one():
    assert pictures.reach(np.array([[0.2, 0.7]])) == (0, 1)
    assert pictures.reach(np.array([[-0.5, 3.0]])) == (-0.5, 3)


def test_many_blocks_and_channels_are_sampled_evenly(found):
    many = replace(found, gates={f"b{i}": found.gates["stage1"] for i in range(30)})
    shown = pictures.shown_blocks(many)
    assert len(shown) == 12
    assert (shown[0], shown[-1]) == ("b0", "b29")
    wide = np.random.default_rng(0).random((5, 512))
    assert len(pictures.channels(wide)) == len(set(pictures.channels(wide))) == 100


def with_outcomes(found, **by_kind):
    """Return the study with other outcomes of the interventions in all blocks: kind=(cost, low, high)."""
    by_kind = {name.replace("_", " "): v for name, v in by_kind.items()}
    outcomes = tuple(
        Outcome(o.block, o.kind, found.accuracy - by_kind[o.kind][0], *by_kind[o.kind], o.answers)
        if o.block == ALL and o.kind in by_kind else o for o in found.outcomes)  # fmt: skip
    return replace(found, outcomes=outcomes)


@pytest.mark.parametrize(("donor", "verdict"), [(0.97, " Yes. "), (0.6, " Partly. "), (0.1, " No. ")])
def test_the_verdict_on_the_cue_follows_the_donors_share(found, donor, verdict):
    shares = AnswerShares(0.0, donor, 1 - donor, 0.0, 50)
    text = summaries.cue_answer(replace(found, transplants={ALL: shares}))
    assert verdict in text
    assert summaries.percent(donor) in text
    assert ("not the answer" in text) == (verdict == " Yes. ")


def test_findings_follow_the_intervals(found):
    lost = summaries.findings(with_outcomes(found, mean=(0.3, 0.2, 0.4)))[1]
    assert "a loss of 30.0 points (95 % interval 20.0 to 40.0)" in lost
    assert "constants cannot replace them" in lost
    assert "within noise" in summaries.findings(with_outcomes(found, mean=(0.01, -0.02, 0.04)))[1]
    assert "better with constants" in summaries.findings(with_outcomes(found, mean=(-0.1, -0.2, -0.01)))[1]
    shared = with_outcomes(found, shuffled=(0.5, 0.4, 0.6), within_class=(0.2, 0.1, 0.3))
    assert "images of the same class share part" in summaries.findings(shared)[3]
    same = with_outcomes(found, shuffled=(0.5, 0.4, 0.6), within_class=(0.45, 0.35, 0.55))
    assert "gates from the same class show no clear advantage" in summaries.findings(same)[3]


def test_nearly_constant_gates_are_reported(found):
    first, *rest = found.summaries
    still = replace(found, summaries=(replace(first, spread=0.3), *(replace(b, spread=0.01, mean=0.5) for b in rest)))
    text = " ".join(summaries.findings(still))
    assert "vary most in stage1: their standard deviation between images is 0.300" in text
    assert "In 2 of 3 blocks, with mean gates between 0.50 and 0.50, it is below 0.02" in text
    moving = replace(found, summaries=tuple(replace(b, spread=0.1) for b in found.summaries))
    assert "hardly depend" not in " ".join(summaries.findings(moving))
    one = replace(found, summaries=(*still.summaries[:2], replace(rest[1], spread=0.1)))
    assert "In 1 of 3 blocks, with a mean gate of 0.50, it is below 0.02" in " ".join(summaries.findings(one))


def test_small_percentages_are_not_rounded_to_zero():
    assert [summaries.percent(v) for v in (0.0, 0.0001, 0.1234, 0.9996, 1.0)] == [
        "0.0 %", "under 0.1 %", "12.3 %", "over 99.9 %", "100.0 %"]  # fmt: skip


def test_the_same_seed_gives_the_same_donors(written, monkeypatch):
    net = network.load(written.parent / "best.npz")
    given = []
    monkeypatch.setattr(study, "intervene", lambda *args, **_: given.append(args[5]["shuffled"].tolist()) or iter(()))
    monkeypatch.setattr(study, "_transplants", lambda *_: {})
    for seed in (0, 1, 0):
        study.study(net, builtin(), 20, seed=seed)
    assert given[0] == given[2] != given[1]


@pytest.mark.parametrize(("options", "message"), [
    (["--images", "1"], "--images is 1; expected 2 or more"),
    (["--classes", "glyph 2,cat"], "--classes contains 'cat'; expected names from: glyph 0, glyph 1"),
    (["--seed", "-1"], "--seed is -1; expected 0 or more"),
])  # fmt: skip
def test_invalid_options_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        run(save(tmp_path / "net.npz"), *options)


def test_paths_without_a_gated_network_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"contains no best\.npz; expected the folder of a run"):
        run(tmp_path)
    with pytest.raises(ValueError, match="no SE blocks and therefore no gates; expected the run of a network such as"):
        run(save(tmp_path / "plain.npz", model="resnet8"))
    checkpoint.save(tmp_path / "other.npz", {"params": {"w": np.ones(1)}}, {"classes": []})
    with pytest.raises(
        ValueError,
        match=r"does not describe its network \(its description lacks config.*\); expected a checkpoint written",
    ):
        run(tmp_path / "other.npz")


def test_another_data_set_is_refused(tmp_path):
    run_ = save(tmp_path / "net.npz", classes=[f"class {i}" for i in range(10)])
    with pytest.raises(ValueError, match=r"of 10 classes \(class 0, .*; the data set has .* 10 classes \(glyph 0, "):
        run(run_, "--data", "builtin")


def test_only_an_earlier_study_is_overwritten(tmp_path, written):
    run_ = save(tmp_path / "net.npz")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is not empty and holds no study"):
        run(run_, "--out", tmp_path / "mine")
    with pytest.raises(ValueError, match="is a file; expected a folder"):
        run(run_, "--out", run_)
    assert commands._output_folder(None, str(written.parent)) == written  # it holds an earlier study


@pytest.mark.parametrize(("library", "message"), [
    ("matplotlib", "the figures need matplotlib, which is not installed: pip install"),
    ("jinja2", "HTML pages need Jinja2, which is not installed: pip install"),
])  # fmt: skip
def test_without_matplotlib_or_jinja2_only_the_tables_are_written(tmp_path, capsys, monkeypatch, library, message):
    for name in [name for name in sys.modules if name.partition(".")[0] == library] + [library]:
        monkeypatch.setitem(sys.modules, name, None)
    run(save(tmp_path / "net.npz"), "--images", "12", "--out", tmp_path / "study")
    assert (tmp_path / "study" / "study.json").is_file()
    assert not (tmp_path / "study" / "index.html").exists()
    assert message in capsys.readouterr().out


def test_a_study_of_images_without_a_cue_does_not_mention_it():
    net = a_resnet()
    data = replace(builtin(train=1, test=30), name="photographs", classes=net.classes)
    data = replace(data, train_images=data.train_images[:, :12, :10], test_images=data.test_images[:, :12, :10])
    other = study.study(net, data, 30)
    assert other.transplants == {}
    assert [p.name for p in page.all_pictures(other)] == [
        "gates", "spread", "heatmap", "depth", "saturation", "interventions", "paths"]  # fmt: skip
    assert not any("cue" in sentence for sentence in summaries.findings(other))
