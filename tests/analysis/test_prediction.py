"""Tests of ``se-numpy predict``: reading images, the printed text, the figure, and error messages."""

import csv
import json
import sys

import numpy as np
import pytest
from specimens import save

import se_numpy
from se_numpy import data
from se_numpy.analysis import prediction, run_pictures, run_summaries
from se_numpy.analysis.grad_cam import explain
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


def test_a_numbered_image_comes_from_the_test_set(small):
    shown = prediction.numbered_image(small, "test:7")
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
    (tmp_path / "folder").mkdir()
    assert main(["predict", str(run), str(tmp_path / "folder")]) == 2
    assert f"{tmp_path / 'folder'}: no image could be read; expected image files" in capsys.readouterr().err


def test_without_pillow_the_message_says_how_to_install_it(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main(["predict", str(run), "a.png"]) == 2
    assert "needs Pillow, which is not installed: pip install" in capsys.readouterr().err


def test_the_command_prints_the_same_as_text_and_as_json(run, small, capsys):
    assert main(["predict", str(run), "--json", "test:3"]) == 0  # options may come between RUN and IMAGE
    printed = json.loads(capsys.readouterr().out)
    found = predict(load(run), prediction.numbered_image(small, "test:3"))
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


def test_several_images_with_the_weights_of_another_library(interop_calls, capsys):
    assert main(["predict", "a.jpg", "b.jpg", "--weights", "w", "--model", "seresnet50"]) == 0
    assert main(["predict", "--weights", "w", "--model", "seresnet50", "a.jpg", "b.jpg"]) == 0
    assert [path for path, _ in interop_calls] == ["w", "a.jpg", "b.jpg"] * 2
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["a.jpg", "b.jpg"] * 2


@pytest.mark.parametrize(("words", "message"), [
    (["--weights", "w", "cat.jpg"], "does not say which network the weights belong to; give --model NAME"),
    (["--weights", "w", "--model", "vgg16", "runs/a", "cat.jpg"], "no RUN; runs/a is the folder of a run"),
    (["--weights", "w", "--model", "vgg16"], "takes images and no RUN; got no image"),
    (["--weights", "w", "--model", "vgg16", "test:3"], "test:3 is a test image of a run's data"),
    (["runs/a", "cat.jpg", "--model", "vgg16"], "--model is used only with --weights; a run already records"),
])  # fmt: skip
def test_incompatible_arguments_are_refused(interop_calls, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "config.json").write_text("{}")
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


@pytest.fixture
def folder(tmp_path, small):
    """Return a folder with four images, one of them in a subfolder, and two files that are not images."""
    place = tmp_path / "pictures"
    (place / "sub").mkdir(parents=True)
    for n, name in enumerate(["b.png", "a.png", "=c.png", "sub/d.png"]):
        written(place / name, small.test_images[n])
    (place / "notes.txt").write_text("text")
    (place / "empty.png").write_bytes(b"")
    (place / ".hidden.png").write_text("not read")
    return place


NAMES_READ = ["=c.png", "a.png", "b.png", "sub/d.png"]  # sorted


def test_every_image_of_a_folder_gets_a_row(run, small, folder, capsys):
    assert main(["predict", str(run), str(folder)]) == 0
    printed = capsys.readouterr()
    rows = printed.out.splitlines()
    assert [row.split()[-1] for row in rows] == [str(folder / name) for name in NAMES_READ]
    p = load(run).probabilities(small.test_images[[2, 1, 0, 3]])
    assert [row.split()[0] for row in rows] == [f"{100 * one.max():.1f}" for one in p]
    assert "2 files skipped, 4 images classified" in printed.err
    for name in ("notes.txt", "empty.png"):
        assert name in printed.err
    assert ".hidden" not in printed.err


def test_a_file_named_on_the_command_line_that_cannot_be_read_is_an_error_after_the_others(run, folder, capsys):
    assert main(["predict", str(run), "gone.png", str(folder / "a.png")]) == 2
    printed = capsys.readouterr()
    assert str(folder / "a.png") in printed.out
    assert "skipped  image gone.png does not exist" in printed.err
    assert "1 file skipped, 1 image classified; the files above could not be read" in printed.err


def test_the_table_has_a_row_for_each_image(run, small, folder, tmp_path, capsys):
    table = tmp_path / "answers.csv"
    for _ in range(2):  # the table of an earlier call is replaced
        assert main(["predict", str(run), "test:4", str(folder), "--csv", str(table)]) == 0
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["test:4", *(str(folder / name) for name in NAMES_READ)]
    p = load(run).probabilities(small.test_images[[4, 2, 1, 0, 3]])
    assert [float(row["p_1"]) for row in rows] == pytest.approx(p.max(1).tolist(), abs=1e-5)
    assert [row["class_1"] for row in rows] == [load(run).classes[k] for k in p.argmax(1)]
    assert rows[0]["label"] == f"glyph {small.test_labels[4]}"
    assert rows[0]["correct"] == str(bool(p[0].argmax() == small.test_labels[4]))
    assert rows[1]["label"] == rows[1]["correct"] == ""
    (tmp_path / "mine.csv").write_text("my numbers")
    assert main(["predict", str(run), str(folder), "--csv", str(tmp_path / "mine.csv")]) == 2
    assert "was not made by se-numpy predict" in capsys.readouterr().err
    assert (tmp_path / "mine.csv").read_text() == "my numbers"
    assert main(["predict", str(run), str(folder), "--csv", "a.txt"]) == 2
    assert "--csv is 'a.txt'; expected the name of a .csv file" in capsys.readouterr().err


def test_json_of_several_images_is_a_list_with_grad_cam(run, small, folder, capsys):
    assert main(["predict", str(run), str(folder), "test:5", "--json", "--explain"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 5
    assert found[-1]["label"] == f"glyph {small.test_labels[5]}"
    maps = explain(load(run), small.test_images[[2, 1, 0, 3, 5]])
    assert np.allclose([one["grad_cam"]["stage3"] for one in found], maps.maps, rtol=1e-3, atol=1e-9)
    assert main(["predict", str(run), "test:5", "--json"]) == 0
    assert "grad_cam" not in json.loads(capsys.readouterr().out)
    assert main(["predict", str(run), "test:5", "--json", "--part", "relu, stage2"]) == 0
    assert list(json.loads(capsys.readouterr().out)["grad_cam"]) == ["relu", "stage2"]


def test_many_images_are_predicted_in_batches(run, small, monkeypatch):
    monkeypatch.setattr(prediction, "BATCH", 4)
    network = load(run)
    shown = [InputImage(image, str(n)) for n, image in enumerate(small.test_images[:10])]
    found = list(prediction.predict_each(network, iter(shown), parts=[None]))
    assert [one.shown.name for one in found] == [str(n) for n in range(10)]
    assert np.allclose([one.probabilities for one in found], network.probabilities(small.test_images[:10]), atol=1e-5)
    alone = [predict(network, one).gates["stage2"] for one in shown]
    assert np.allclose([one.gates["stage2"] for one in found], alone, atol=1e-6)
    maps = explain(network, small.test_images[:10]).maps
    assert np.allclose([one.explanations[0].maps[0] for one in found], maps, rtol=1e-3, atol=1e-8)


def test_the_figure_of_one_image_shows_grad_cam_beside_the_gates(run, small):
    network = load(run)
    shown = prediction.numbered_image(small, "test:0")
    (found,) = prediction.predict_each(network, [shown], parts=["relu", None])
    picture, first, last, _, *gates = run_pictures.prediction(found, {}).get_axes()
    assert len(picture.get_images()) == 1
    assert "relu" in first.get_title()
    assert "stage3" in last.get_title()
    assert len(gates) == 3
    heat = explain(network, small.test_images[:1]).stretched(32, 32)[0]
    grey, drawn = last.get_images()
    assert (grey.get_array() == small.test_images[0].mean(-1).round()).all()
    assert np.corrcoef(drawn.get_array().ravel(), heat.ravel())[0, 1] > 0.98
    assert drawn.get_array().max() == 1


def test_the_sheet_of_several_images_has_every_answer_and_map(run, small, folder, tmp_path):
    network = load(run)
    images = [prediction.numbered_image(small, f"test:{n}") for n in range(5)]
    found = list(prediction.predict_each(network, images, parts=["stage2", None]))
    axes = run_pictures.sheet(found).get_axes()
    assert len(axes) == 15
    for n, one in enumerate(found):
        picture, stage2, stage3 = axes[3 * n : 3 * n + 3]
        assert (picture.get_images()[0].get_array() == small.test_images[n]).all()
        assert picture.get_title() == f"{one.top(1)[0][0]}, {100 * one.top(1)[0][1]:.1f} %"
        assert bool(picture.get_xlabel()) == (not one.right)
        assert [stage2.get_title(), stage3.get_title()] == ["stage2", "stage3"]
    assert main(["predict", str(run), str(folder), "--figure", str(tmp_path / "s.png"), "--explain"]) == 0
    with Image.open(tmp_path / "s.png") as drawn:
        assert drawn.size[0] > 500


@pytest.mark.parametrize(("part", "message"), [
    ("stag3", "did you mean 'stage3'?"),
    ("pool", "pool does not return maps (N, H, W, C); expected another part, such as stage3"),
    ("stage1.block1.unit.branch.se1", "does not return maps"),
])  # fmt: skip
def test_parts_without_maps_are_refused(run, small, capsys, part, message):
    assert main(["predict", str(run), "test:0", "--json", "--part", part]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--explain"], ["--part", "stage2"]])
def test_grad_cam_that_nothing_would_show_is_refused(run, small, capsys, option):
    assert main(["predict", str(run), "test:0", *option]) == 2
    assert "give one of them with --explain" in capsys.readouterr().err
