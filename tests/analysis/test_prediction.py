"""Tests of ``se-numpy predict``: reading images, the printed text, the figure, and error messages."""

import json
import sys

import numpy as np
import pytest
from specimens import save

import se_numpy
from se_numpy import data
from se_numpy.analysis import prediction, run_pictures, run_summaries
from se_numpy.analysis.network import load
from se_numpy.analysis.prediction import InputImage, Prediction, image_file, mean_gates, predict
from se_numpy.cli import main
from se_numpy.data import builtin
from se_numpy.interop.trained import model_name
from se_numpy.models import NAMES
from se_numpy.train import Trained

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def small(monkeypatch):
    dataset = builtin(train=10, test=30)
    monkeypatch.setattr(data, "load", lambda source: dataset)
    return dataset


@pytest.fixture
def run(tmp_path):
    return save(tmp_path / "net.npz")


def test_probabilities_and_gates_equal_those_of_the_network(run, small):
    network = load(run)
    found = predict(network, InputImage(small.test_images[4], "four", int(small.test_labels[4])))
    p = network.probabilities(small.test_images[4:5])[0]
    assert np.allclose(found.probabilities, p, atol=1e-6)
    assert [name for name, _ in found.top()] == [network.classes[k] for k in np.argsort(-p)[:5]]
    assert found.right == (p.argmax() == small.test_labels[4])
    assert {block: len(s) for block, s in found.gates.items()} == {"stage1": 16, "stage2": 32, "stage3": 64}
    means = mean_gates(network, small)
    each = [predict(network, InputImage(image, "")).gates["stage2"] for image in small.test_images]
    assert np.allclose(means["stage2"], np.mean(each, axis=0), atol=1e-5)
    assert np.ptp(each, axis=0).max() > 1e-3  # otherwise the order of the images would not be tested


def test_a_numbered_image_comes_from_the_test_set(run, small):
    shown = prediction.numbered_image(load(run), "test:7")
    assert (shown.image == small.test_images[7]).all()
    assert shown.label == small.test_labels[7]
    assert shown.description == f"test image 7 of {small.source}"


@pytest.mark.parametrize("word", ["test:30", "test:", "test:x", "test:-1", "test:1.5"])
def test_invalid_numbers_of_test_images_are_refused(run, small, capsys, word):
    assert main(["predict", str(run), word]) == 2
    assert f"there is no test image {word!r}; expected test:0 to test:29" in capsys.readouterr().err


def written(path, array, **how):
    Image.fromarray(array).save(path, **how)
    return path


def test_a_file_of_the_right_size_is_not_changed(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    shown = image_file(written(tmp_path / "a.png", pixels), (8, 6, 3))
    assert (shown.image == pixels).all()
    assert shown.image.dtype == np.uint8
    assert shown.label is None


def test_a_larger_file_is_cropped_at_the_centre(tmp_path):
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = (250, 100, 10)  # the central square
    shown = image_file(written(tmp_path / "a.png", pixels), (5, 5, 3))
    assert shown.image.shape == (5, 5, 3)
    assert np.abs(shown.image[:, 1:4].astype(int) - (250, 100, 10)).max() <= 3
    assert np.abs(shown.image.astype(int) - (250, 100, 10)).max() <= 25  # resizing mixes in a little black
    assert "cropped at the centre and resized to 5x5" in shown.description


def test_files_that_are_not_images_are_refused(run, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("text")
    assert main(["predict", str(run), str(tmp_path / "a.txt")]) == 2
    assert f"cannot read image {tmp_path / 'a.txt'}: " in capsys.readouterr().err
    assert main(["predict", str(run), "nothing.png"]) == 2
    assert "image nothing.png does not exist; expected an image file, or test:N" in capsys.readouterr().err
    assert main(["predict", str(run), str(tmp_path)]) == 2
    assert f"{tmp_path} is a folder; expected one image file, or test:N for a test image" in capsys.readouterr().err


def test_without_pillow_the_message_says_how_to_install_it(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main(["predict", str(run), "a.png"]) == 2
    assert "needs Pillow, which is not installed: pip install" in capsys.readouterr().err


def test_the_command_prints_the_same_as_text_and_as_json(run, small, capsys):
    assert main(["predict", str(run), "--json", "test:3"]) == 0  # options may come between RUN and IMAGE
    printed = json.loads(capsys.readouterr().out)
    found = predict(load(run), prediction.numbered_image(load(run), "test:3"))
    assert [t["class"] for t in printed["top"]] == [name for name, _ in found.top()]
    assert printed["top"][0]["probability"] == pytest.approx(found.top()[0][1])
    assert printed["label"] == f"glyph {small.test_labels[3]}"
    assert printed["right"] is found.right
    assert np.allclose(printed["gates"]["stage1"], found.gates["stage1"], atol=1e-6)
    assert main(["predict", str(run), "test:3"]) == 0
    text = capsys.readouterr().out
    assert f"{100 * found.top()[0][1]:.1f} %" in text
    assert f"label    glyph {small.test_labels[3]}" in text


def printed_prediction(p, label=None, encoding="utf-8"):
    shown = InputImage(np.zeros((1, 1, 3)), "x", label)
    return run_summaries.prediction_text(Prediction(shown, ("a", "bb", "c"), np.array(p), {}), encoding)


def test_bars_are_proportional_and_printable_in_any_encoding():
    text = printed_prediction([0.25, 0.7, 0.05])
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["bb", "a", "c"]
    assert [line.count("█") for line in text.splitlines()[1:]] == [28, 10, 2]
    assert printed_prediction([0.25, 0.7, 0.05], encoding="ascii").splitlines()[1].count("#") == 28
    assert "label    bb (correct)" in printed_prediction([0.25, 0.7, 0.05], 1)
    assert "label    c (wrong: its probability is 5.0 %)" in printed_prediction([0.25, 0.7, 0.05], 2)
    assert "label" not in text


def test_the_figure_shows_image_classes_and_gates(run, small):
    network = load(run)
    found = predict(network, InputImage(small.test_images[0], "zero", int(small.test_labels[0])))
    means = mean_gates(network, small)
    picture, bars, *gates = run_pictures.prediction(found, means).get_axes()
    assert (picture.get_images()[0].get_array() == small.test_images[0]).all()
    assert [b.get_width() for b in bars.patches] == pytest.approx([100 * p for _, p in found.top()])
    assert [t.get_text() for t in bars.get_yticklabels()] == [name for name, _ in found.top()]
    assert [axes.get_title() for axes in gates] == ["stage1", "stage2", "stage3"]
    mean, own = gates[1].get_lines()
    order = means["stage2"].argsort()
    assert np.allclose(mean.get_ydata(), means["stage2"][order])
    assert np.allclose(own.get_ydata(), found.gates["stage2"][order])
    assert len(run_pictures.prediction(found, {}).get_axes()[2].get_lines()) == 1


def test_the_figure_of_a_network_without_gates(tmp_path, small, capsys):
    plain = save(tmp_path / "plain.npz", model="resnet8")
    assert main(["predict", str(plain), "test:1", "--figure", str(tmp_path / "a.png")]) == 0
    with Image.open(tmp_path / "a.png") as drawn:
        assert drawn.size[0] > 500
    assert main(["predict", str(plain), "test:1", "--figure", "a.doc"]) == 2
    assert "--figure is 'a.doc'; expected the name of a .png file" in capsys.readouterr().err


def test_without_its_data_set_the_figure_has_no_mean_gates(run, tmp_path, capsys, monkeypatch):
    def fail(source):
        raise ValueError("no such set")

    monkeypatch.setattr(data, "load", fail)
    path = written(tmp_path / "a.png", np.zeros((32, 32, 3), np.uint8))
    assert main(["predict", str(run), str(path), "--figure", str(tmp_path / "f.png")]) == 0
    assert "without mean gates: no such set" in capsys.readouterr().err
    assert (tmp_path / "f.png").is_file()


@pytest.fixture
def interop_calls(monkeypatch, run):
    """Replace two functions of ``se_numpy.interop`` with stubs; return the list of their calls."""
    calls = []

    def pretrained(path, model, **settings):
        calls.append((path, model))
        return Trained.load(run)

    def prepare(path, shape, **how):
        calls.append((path, shape))
        return np.full(shape, 9, np.uint8)

    monkeypatch.setattr(se_numpy.interop, "pretrained", pretrained)
    monkeypatch.setattr(se_numpy.interop, "prepare", prepare)
    return calls


@pytest.mark.parametrize("order", [
    ["--weights", "w.safetensors", "--model", "seresnet50", "cat.jpg"],
    ["cat.jpg", "--weights", "w.safetensors", "--model", "seresnet50"],
    ["--model", "se-resnet50", "cat.jpg", "--weights", "w.safetensors"],
])  # fmt: skip
def test_weights_of_another_library(interop_calls, capsys, order):
    assert main(["predict", *order]) == 0
    assert interop_calls == [("w.safetensors", "se_resnet50"), ("cat.jpg", (32, 32, 3))]
    assert "image    cat.jpg\n  glyph " in capsys.readouterr().out


@pytest.mark.parametrize(("words", "message"), [
    (["--weights", "w", "cat.jpg"], "does not say which network the weights belong to; give --model NAME"),
    (["--weights", "w", "--model", "vgg16", "runs/a", "cat.jpg"], "one IMAGE and no RUN; got runs/a and cat.jpg"),
    (["--weights", "w", "--model", "vgg16"], "takes one IMAGE and no RUN; got no image"),
    (["--weights", "w", "--model", "vgg16", "test:3"], "test:3 is a test image of a run's data"),
    (["runs/a", "cat.jpg", "--model", "vgg16"], "--model is used only with --weights; a run already records"),
])  # fmt: skip
def test_incompatible_arguments_are_refused(interop_calls, capsys, words, message):
    assert main(["predict", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_run_without_an_image_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["predict", "runs/a"])
    assert stop.value.code == 2
    assert "IMAGE" in capsys.readouterr().err


def test_other_spellings_of_network_names_are_accepted():
    assert model_name("seresnet50") == model_name("SE-ResNet-50") == model_name("se_resnet50") == "se_resnet50"
    assert model_name("seresnext50_32x4d") == "se_resnext50_32x4d"
    assert all(model_name(name) == name for name in NAMES)
    assert model_name("something else") == "something else"
