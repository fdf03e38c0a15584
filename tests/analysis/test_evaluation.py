"""Tests of the evaluation: counts against plain loops, batches against single images, and the printed text."""

import json
import sys
from dataclasses import replace

import cupy_double
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from specimens import CLASSES, made_up, save

from se_numpy import data
from se_numpy.analysis import evaluation, run_summaries
from se_numpy.analysis.evaluation import evaluate
from se_numpy.analysis.network import load
from se_numpy.cli import main
from se_numpy.data import Dataset, builtin
from se_numpy.data.batches import Normalisation
from se_numpy.layers import GlobalAveragePool, Linear, init, serial
from se_numpy.train import Trained, wilson


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_counts_equal_those_of_plain_loops(pairs):
    answers, labels = zip(*pairs, strict=True)
    found = made_up(answers, labels)
    table = {(i, j): sum((a, t) == (j, i) for a, t in pairs) for i in range(3) for j in range(3)}
    assert {(i, j): found.confusion[i, j] for i in range(3) for j in range(3)} == table
    right = sum(a == t for a, t in pairs)
    assert found.accuracy == pytest.approx(right / len(pairs))
    assert found.interval == wilson(found.accuracy, len(pairs))
    for k, c in enumerate(found.by_class()):
        assert (c.name, c.images, c.right) == (CLASSES[k], labels.count(k), table[k, k])
        assert c.recall * labels.count(k) == pytest.approx(table[k, k])
        assert c.precision * answers.count(k) == pytest.approx(table[k, k])
        assert c.interval == (wilson(c.recall, c.images) if c.images else (0, 1))
    confusions = found.confusions(100)
    assert {(c.true, c.answered): c.times for c in confusions} == {
        (CLASSES[i], CLASSES[j]): n for (i, j), n in table.items() if n and i != j}  # fmt: skip
    assert [c.times for c in confusions] == sorted((c.times for c in confusions), reverse=True)
    assert all(c.share * labels.count(CLASSES.index(c.true)) == pytest.approx(c.times) for c in confusions)


def test_the_most_frequent_confusions_come_first():
    found = made_up([1, 1, 2, 2, 2, 0], [0, 0, 1, 1, 1, 2])
    assert [(c.true, c.answered, c.times, c.share) for c in found.confusions(2)] == [
        ("dog", "ship", 3, 1.0), ("cat", "dog", 2, 1.0)]  # fmt: skip


def test_the_most_confident_mistakes_come_first():
    found = made_up([0, 1, 2, 0, 1], [0, 0, 1, 1, 2], sure=[0.99, 0.6, 0.8, 0.95, 0.7])
    assert found.worst(3).tolist() == [3, 2, 4]
    assert made_up([0, 1], [0, 1]).worst(3).tolist() == []


@pytest.fixture
def small(monkeypatch):
    """Make every command load the built-in set with few test images."""
    dataset = builtin(train=40, test=70)
    monkeypatch.setattr(data, "load", lambda source: dataset)
    return dataset


def test_compiled_batches_equal_the_network_image_by_image(tmp_path, small, monkeypatch):
    monkeypatch.setattr(evaluation, "BATCH", 32)  # so that 70 images end with an incomplete batch
    network, sizes = load(save(tmp_path / "net.npz")), []
    found = evaluate(network, small, progress=sizes.append)
    assert sizes == [32, 32, 6]
    p = np.concatenate([network.probabilities(image[None]) for image in small.test_images]).astype(np.float64)
    assert np.allclose(found.probabilities, p, atol=1e-5)
    assert found.loss == pytest.approx(-np.log(p[np.arange(70), small.test_labels]).mean(), rel=1e-4)
    assert found.accuracy == (p.argmax(1) == small.test_labels).mean()
    assert p.std(0).max() > 1e-3  # otherwise the order of the images would not be tested
    assert (found.labels == small.test_labels).all()


def test_cpu_and_gpu_give_the_same_results(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", cupy_double.module)
    net = serial(pool=GlobalAveragePool(), classifier=Linear(3))
    params, state = init(net, (4, 4, 3), np.random.default_rng(0))
    network = Trained(net, params, state, Normalisation(np.full(3, 0.5), np.full(3, 0.2)), CLASSES, (4, 4, 3), {})
    images, labels = np.random.default_rng(1).integers(0, 256, (9, 4, 4, 3), np.uint8), np.arange(9) % 3
    dataset = Dataset("tiny", CLASSES, images, labels, images, labels, False, "tiny")
    host, device = (evaluate(network, dataset, device=where) for where in ("cpu", "gpu"))
    assert cupy_double.uploads
    assert type(device.probabilities) is np.ndarray
    assert np.allclose(host.probabilities, device.probabilities, atol=1e-5)
    assert host.loss == pytest.approx(device.loss, abs=1e-5)
    assert isinstance(network.params["classifier"]["b"], np.ndarray)  # the device holds a copy


def test_another_data_set_is_refused(tmp_path):
    network = load(save(tmp_path / "net.npz"))
    other = replace(builtin(train=1, test=3), classes=CLASSES)
    with pytest.raises(ValueError, match=r"of 10 classes \(glyph 0, .*; the data set has .* 3 classes \(cat, dog, "):
        evaluate(network, other)
    smaller = builtin(train=1, test=3)
    smaller = replace(smaller, train_images=smaller.train_images[:, :30], test_images=smaller.test_images[:, :30])
    with pytest.raises(ValueError, match=r"expects 32x32x3 images .*; the data set has 30x32x3 images .*; give --data"):
        evaluate(network, smaller)


def test_a_network_with_non_finite_outputs_is_refused(tmp_path, small):
    network = load(save(tmp_path / "net.npz"))
    network.params["classifier"]["b"][3] = np.nan
    with pytest.raises(ValueError, match="outputs are NaN or infinite"):
        evaluate(network, small)


def test_the_command_prints_the_same_numbers_as_text_and_as_json(tmp_path, small, capsys):
    run = save(tmp_path / "net.npz")
    assert main(["evaluate", str(run), "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert main(["evaluate", str(run), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    found = evaluate(load(run), small)
    assert printed == json.loads(json.dumps({"model": "se_resnet8", **found.as_json()}))
    low, high = found.interval
    assert f"{100 * found.accuracy:.2f} % (95 % interval {100 * low:.1f} to {100 * high:.1f} %)" in text
    assert f"{found.loss:.4f}" in text
    for c in found.by_class():
        row = next(line for line in text.splitlines() if line.startswith(f"{c.name} "))
        assert row.split()[2:5] == [str(c.images), str(c.right), f"{100 * c.recall:.1f}"]
        assert float(row.split()[-1]) == pytest.approx(100 * c.precision, abs=0.051)
    matrix = [line.split()[-10:] for line in text.splitlines()[-10:]]
    assert [[0 if n == "." else int(n) for n in row] for row in matrix] == found.confusion.tolist()


def test_no_confusion_matrix_is_printed_for_a_hundred_classes():
    names = [f"class {i}" for i in range(100)]
    found = made_up(np.arange(100), np.arange(100), names)
    text = run_summaries.as_text("net", found)
    assert "No mistakes on these images" in text
    assert "Confusion matrix" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_default_data_set_is_the_one_of_the_run(tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(data, "load", lambda source, **options: loaded.append(source) or builtin(train=1, test=5))
    run = save(tmp_path / "net.npz")
    assert main(["evaluate", str(run)]) == 0
    assert main(["evaluate", str(run), "--data", "elsewhere"]) == 0
    assert loaded == ["builtin", "elsewhere"]


@pytest.mark.parametrize(("words", "message"), [
    (["no-such-run"], "no-such-run does not exist; expected a checkpoint or the folder of a run, such as"),
    (["{}"], "contains no best.npz; expected the folder of a run or a checkpoint"),
    (["{}/text.npz"], "is not a se_numpy checkpoint"),
])  # fmt: skip
def test_a_path_that_is_not_a_run_is_refused(tmp_path, capsys, words, message):
    (tmp_path / "text.npz").write_text("text")
    assert main(["evaluate", *(word.format(tmp_path) for word in words)]) == 2
    assert message in capsys.readouterr().err
