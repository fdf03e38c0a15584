"""Detection as a task of the trainer: its gradient, a run from start to end, resuming, and refusals."""

import io

import numpy as np
import pytest
from shapes_data import CLASSES, run, settings, shapes
from training import tiny

from se_numpy import checkpoint, data, models
from se_numpy.cli import main
from se_numpy.data.augmentation import draw
from se_numpy.data.batches import Normalisation
from se_numpy.detection import Targets, encode
from se_numpy.layers import Conv, GlobalAveragePool, Linear, ReLU, serial
from se_numpy.models.detector import detector
from se_numpy.optim import SGD
from se_numpy.train import Learner, Session, Trained, configure, resume, train
from se_numpy.train.detecting import Detection
from se_numpy.train.figures import draw_together
from se_numpy.train.task import Classification

RNG = np.random.default_rng(0)
CORNERS = np.array([[[1, 2, 9, 12], [10, 3, 18, 9]], [[4, 4, 12, 20], [0, 0, 1, 1]]], float)
TARGETS = encode(CORNERS, np.array([[0, 1], [1, 0]]), np.array([[True, True], [True, False]]), np.zeros((2, 2), bool),
                 grid=(5, 6), stride=4, K=2)  # fmt: skip


def test_the_gradient_of_the_loss_is_its_derivative():
    task, Y = Detection(size_weight=0.3), RNG.standard_normal((2, 5, 6, 6))
    direction, h = RNG.standard_normal(Y.shape), 1e-6
    slope = (task.loss(Y + h * direction, TARGETS) - task.loss(Y - h * direction, TARGETS)) / (2 * h)
    np.testing.assert_allclose((task.loss_backward(Y, TARGETS) * direction).sum(), slope, rtol=1e-7)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return run(tmp_path_factory.mktemp("detect") / "run", epochs=8)


def test_a_run_learns_to_detect(trained):
    found, text = trained
    assert list(found.history[0]) == [
        "epoch", "lr", "train_loss", "seconds", "images_per_second", "val_loss", "val_ap50", "val_ap"
    ]  # fmt: skip
    assert found.history[-1]["train_loss"] < found.history[0]["train_loss"] / 3
    assert found.result["test_ap50"] > 0.4
    assert {"test_loss", "test_ap50", "test_ap", "test_images", "seconds", "epoch"} == set(found.result)
    assert "AP50 %" in text
    assert f"test     AP50 {100 * found.result['test_ap50']:.2f} %, AP {100 * found.result['test_ap']:.2f} %" in text


def test_a_checkpoint_says_what_was_learned(trained):
    found, _ = trained
    _, meta = checkpoint.load(found.folder / "best.npz")
    assert (meta["config"]["task"], meta["classes"]) == ("detect", list(CLASSES))
    network = Trained.load(found.folder)
    assert network.classes == CLASSES
    images = shapes().test_images
    some = network.detect(images, threshold=0.4)
    assert set(some.images) <= set(range(20))
    assert (some.scores >= 0.4).all()
    with pytest.raises(ValueError, match="needs a network trained to classify, but this one was trained to detect"):
        network.probabilities(images)


def test_a_network_that_classifies_does_not_detect(tmp_path):
    config = configure(tiny(), epochs=1, subset=32, out=str(tmp_path / "run"))
    network = Trained.load(train(tiny(), config, io.StringIO()).folder)
    with pytest.raises(ValueError, match=r"trained to detect, but this one was trained to classify; .* --task detect"):
        network.detect(tiny().test_images)


def test_a_run_resumes_bit_for_bit(tmp_path):
    def stop_after(n):
        count = iter(range(100))

        def after_step():
            if next(count) == n:
                raise KeyboardInterrupt

        return after_step

    config = settings(tmp_path / "x", epochs=2, augment="crop,flip", optimiser="adamw")
    whole, begun = Session(shapes(), config, "cpu"), Session(shapes(), config, "cpu")
    for session in (whole, begun):
        session.epoch(lambda: None, None, watch=True)
    begun.position.epoch, begun.position.step = 1, 0
    with pytest.raises(KeyboardInterrupt):
        begun.epoch(stop_after(1), None, watch=True)
    begun.save(tmp_path / "last.npz")
    again = Session(shapes(), config, "cpu")
    again.learner.restore(checkpoint.load(tmp_path / "last.npz")[0])
    again.position.epoch, again.position.step = 1, 2
    whole.position.epoch, whole.position.step = 1, 0
    for session in (whole, again):
        session.epoch(lambda: None, None, watch=True)
    np.testing.assert_array_equal(whole.learner.w, again.learner.w)
    np.testing.assert_array_equal(whole.learner.running, again.learner.running)


def test_a_finished_run_is_read_and_seeds_are_summarised(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "load", lambda source, **how: shapes())
    out = str(tmp_path / "runs")
    command = ["train", "--data", "shapes", "--task", "detect", "--epochs", "1", "--seeds", "0,1", "--out", out]
    assert main(command) == 0
    assert "seeds    test AP50" in capsys.readouterr().out
    text = io.StringIO()
    resume(tmp_path / "runs" / "s0", text)
    assert "is finished: test AP50" in text.getvalue()
    assert main(["train", "--resume", str(tmp_path / "runs" / "s0"), "--epochs", "1"]) == 0
    assert main(["plot", out, "--out", str(tmp_path / "compare.png")]) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"label_smoothing": 0.1}, "label_smoothing is 0.1, but applies to classification; leave it out to detect"),
        ({"class_weights": "balanced"}, "class_weights is 'balanced', but applies to classification"),
        ({"model": "se_resnet18"}, r"shape \(1, 1, 6\) for images of 24x24; detection needs maps with a quarter .*"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        train(shapes(), settings(tmp_path / "x", **given), io.StringIO())


def test_data_without_boxes_is_refused(tmp_path, capsys):
    assert main(["train", "--task", "detect", "--out", str(tmp_path / "x")]) == 2
    assert "has no boxes of objects, which detection needs; give --data scenes" in capsys.readouterr().err
    assert main(["train", "--task", "detection"]) == 2
    assert "task is 'detection'; expected one of classify, detect" in capsys.readouterr().err


def test_a_step_checks_the_outputs_and_the_truth():
    net = detector(models.build("se_resnet8"), classes=2)
    with pytest.raises(ValueError, match=r"returns an array of shape \(6, 6, 6\) for each image"):
        Learner(net, (24, 24, 3), 0, task=Classification())
    with pytest.raises(ValueError, match=r"the network returns an array of shape \(10,\)"):
        Learner(models.build("se_resnet8"), (24, 24, 3), 0, task=Detection())
    learner = Learner(net, (20, 24, 3), 0, task=Detection())
    X = np.zeros((2, 20, 24, 3), np.float32)
    with pytest.raises(TypeError, match="the targets are ndarray; expected Targets, as from BoxedImages"):
        learner.step(X, np.zeros(2, int), SGD(), 0.1)
    with pytest.raises(ValueError, match=r"heat of the targets has shape .*; expected \(3, 5, 6, 2\)"):
        learner.step(np.zeros((3, 20, 24, 3), np.float32), Targets(*(a.astype("f4") for a in TARGETS)), SGD(), 0.1)
    with pytest.raises(ValueError, match=r"class_weights is .* but applies"):
        learner.step(X, Targets(*(a.astype("f4") for a in TARGETS)), SGD(), 0.1, class_weights=np.ones(2))
    with pytest.raises(TypeError, match="images are ndarray; expected BoxedImages"):
        learner.measure(X)


def test_a_step_and_an_evaluation_on_a_device_equal_those_on_the_host(double):
    data_set = shapes(12, 4)
    small = serial(Conv(6, 3, 2), ReLU(), Conv(8, 3, 2), ReLU(), GlobalAveragePool(), Linear(2))
    net, results = detector(small, classes=2, width=4), []
    for device in ("cpu", "gpu"):
        learner = Learner(net, (24, 24, 3), 0, device, Detection())
        normalise = Normalisation.of(data_set.train_images)
        training, test = (learner.task.images(data_set, part, normalise, device) for part in ("train", "test"))
        draws = draw(np.random.default_rng(0), 12, augment="crop,flip").to(device)
        (first, right), (second, _) = (
            learner.step(*training.batch(draws, slice(0, 12)), SGD(), 0.05) for _ in range(2)
        )
        assert isinstance(right, type(first)) or device == "cpu"
        losses = [float(first), float(second)]
        results.append([*losses, *learner.measure(test).values()])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-3)


def test_the_recipe_is_that_of_the_task():
    found = configure(shapes(), task="detect")
    assert (found.optimiser, found.lr, found.batch_size, found.augment) == ("adamw", 0.004, 32, True)
    assert configure(shapes(), task="detect", optimiser="sgd").weight_decay == 5e-4
    assert configure(shapes(), task="detect", preset="smoke").epochs == 1
    assert configure(shapes()).optimiser == "sgd"


def test_curves_of_two_tasks_are_not_drawn_together():
    pytest.importorskip("matplotlib")
    histories = [
        [{"epoch": 1, "train_loss": 1.0, "val_loss": 1.0, f"val_{name}": 0.5}] for name in ("accuracy", "ap50")
    ]
    with pytest.raises(ValueError, match="some of the runs classify and some detect; draw those of one task together"):
        draw_together({"a": histories[:1], "b": histories[1:]})
