"""A network that detects: evaluation, prediction, report and the study of its gates, also on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from shapes_data import run, shapes
from training import tiny

from se_numpy import data
from se_numpy.analysis import detection_gates
from se_numpy.analysis.detection import areas_of, coco_results, evaluate_detection
from se_numpy.analysis.network import load
from se_numpy.cli import main
from se_numpy.detection import average_precision
from se_numpy.train import configure, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(run(tmp_path_factory.mktemp("detector") / "run", epochs=8)[0].folder)


@pytest.fixture(autouse=True)
def _data(monkeypatch):
    monkeypatch.setattr(data, "load", lambda source, **how: shapes())


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("classifier") / "run")
    return str(train(tiny(), configure(tiny(), epochs=1, subset=32, out=out)).folder)


def test_an_evaluation_is_that_of_the_run(folder):
    found = evaluate_detection(load(folder), shapes(), sides=(6, 8))
    result = json.loads((Path(folder) / "result.json").read_text())
    assert found.ap50 == pytest.approx(result["test_ap50"])
    assert found.precision.ap() == pytest.approx(result["test_ap"])
    assert found.loss == pytest.approx(result["test_loss"], rel=1e-5)
    again = average_precision(shapes().test_boxes, found.found, classes=2, areas=areas_of((6, 8)))
    assert found.precision.ap(area="small") == pytest.approx(again.ap(area="small"))
    assert found.objects().sum() == len(found.truth)


def test_numbers_are_valid_json(folder):
    found = evaluate_detection(load(folder), shapes()).as_json()  # every object is small, by COCO's limits
    assert found["ap_large"] is None
    assert [row["name"] for row in found["classes"]] == ["red", "green"]
    json.dumps(found, allow_nan=False)


def test_evaluate_on_the_command_line(folder, tmp_path, capsys):
    results, figure = tmp_path / "results.json", tmp_path / "curves.png"
    command = ["evaluate", folder, "--areas", "6,8", "--results", str(results)]
    assert main([*command, "--figure", str(figure)]) == 0
    text = capsys.readouterr().out
    for expected in ("AP50 ", "Average precision by class", "small (up to 6x6 pixels)", "results  ", "figure   "):
        assert expected in text
    rows = json.loads(results.read_text())
    assert rows == coco_results(evaluate_detection(load(folder), shapes()).found)
    assert figure.stat().st_size > 5000
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sides"] == [6, 8]


def test_results_equal_those_of_pycocotools(folder, tmp_path):
    pytest.importorskip("pycocotools")
    from coco_cases import pycocotools

    found = evaluate_detection(load(folder), shapes(), sides=(6, 8))
    p = found.precision
    precision, _ = pycocotools(found.truth, found.found, 2, p.thresholds, areas_of((6, 8)), 100)
    np.testing.assert_allclose(p.precision, precision, rtol=0, atol=1e-9)


def test_predict_on_the_command_line(folder, tmp_path, capsys):
    figure = tmp_path / "boxes.png"
    assert main(["predict", folder, "test:0", "test:1", "--threshold", "0.2", "--figure", str(figure)]) == 0
    text = capsys.readouterr().out
    assert "image    test image 1 of rectangles: " in text
    assert "with a score of at least 0.2" in text
    assert figure.stat().st_size > 5000
    assert main(["predict", folder, "test:3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(set(one) == {"class", "score", "box"} and one["score"] >= 0.3 for one in found["objects"])


@pytest.mark.slow
def test_pages_on_the_command_line(folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["excitations", folder, "--images", "12", "--out", str(tmp_path / "gates")]) == 0
    text = (tmp_path / "gates" / "index.html").read_text()
    assert "Gates by object" in text
    assert "AP50 with replaced gates" in text
    out = tmp_path / "report.html"
    assert main(["report", folder, "--out", str(out)]) == 0
    text = out.read_text()
    for expected in ("Test AP50", "Average precision by size", "Precision and recall", "true\nboxes dashed", "Gates"):
        assert expected in text


def test_excitations_on_the_command_line(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(detection_gates, "write_page", lambda found, out: out / "index.html")
    out = tmp_path / "gates"
    assert main(["excitations", folder, "--images", "12", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "The object explains most of the variance of the gates in" in text
    assert "With the gates of another image, AP50 is" in text
    found = json.loads((out / "study.json").read_text())
    assert set(found["groups"]) == {"class", "object"}
    kinds = [(row["block"], row["gates"]) for row in found["interventions"]]
    assert len(kinds) == len(set(kinds)) == 4 * len(detection_gates.KINDS)
    rows = (out / "gates.csv").read_text().splitlines()
    assert rows[0] == "block,grouped_by,group,images,channel,mean,std"
    assert len(rows) == 1 + 2 * 2 * (16 + 32 + 64)


def test_gates_of_objects_count_an_image_for_each_object(folder):
    found = detection_gates.study(load(folder), shapes(), 12, kinds=())
    boxes = shapes().test_boxes.chosen(np.arange(12))
    objects = found.objects.groupings[0]
    assert objects.counts.tolist() == np.bincount(boxes.classes).tolist()
    block = next(iter(found.scenes.gates))
    np.testing.assert_array_equal(found.objects.gates[block], found.scenes.gates[block][boxes.images])
    assert not found.losses


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "RUN", "test:0", "--explain"], "--explain is for networks that classify, and"),
        (["predict", "RUN", "test:0", "--threshold", "2"], "--threshold is 2; expected a score from 0 to 1"),
        (["evaluate", "RUN", "--areas", "8,6"], "the sides of small and large objects are 8,6; expected two"),
        (["excitations", "RUN", "--classes", "red"], "--classes is for networks that classify"),
        (["excitations", "RUN", "--images", "1"], "--images is 1; expected 2 or more"),
        (["evaluate", "CLASSIFIER", "--areas", "6,8"], "--areas is for networks that detect, and"),
        (["predict", "CLASSIFIER", "test:0", "--threshold", "0.5"], "--threshold is for networks that detect"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder, classifier, words, message, capsys, tmp_path):
    names = {"RUN": folder, "CLASSIFIER": classifier}
    out = ["--out", str(tmp_path / "out")] if words[0] == "excitations" else []
    assert main([names.get(word, word) for word in words] + out) == 2
    assert message in capsys.readouterr().err


def test_average_precision_of_a_network_that_classifies_is_refused(classifier):
    with pytest.raises(ValueError, match="average precision needs a network trained to detect, but this one"):
        evaluate_detection(load(classifier), shapes())
