"""Training, resuming and prediction on a device: the double of CuPy, and CuPy itself if there is a GPU."""

import io
from dataclasses import replace

import numpy as np
import pytest
from training import numbers, settings, tiny

from se_numpy import engine, models, optim, to_host
from se_numpy.data.batches import Images, Normalisation
from se_numpy.train import Learner, Session, loop, resume, train


class Interrupted(Exception):
    """A simulated power cut."""


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    monkeypatch.setattr(Session, "seconds_per_step", lambda self: 1.0)


def test_training_on_a_device_equals_training_on_the_host(device_xp):
    data = tiny()
    learners = {d: Learner(models.build("se_resnet8", classes=3), (8, 9, 3), seed=0, device=d) for d in ("cpu", "gpu")}
    for device, one in learners.items():
        images = Images(data.train_images, data.train_labels, Normalisation.of(data.train_images), device)
        for start in (0, 30):
            one.step(*images.in_order(slice(start, start + 30)), optim.SGD(), 0.05)
    np.testing.assert_allclose(learners["cpu"].w, to_host(learners["gpu"].w), rtol=1e-3, atol=1e-4)


def test_a_run_on_a_device_is_resumed(device_xp, tmp_path, monkeypatch):
    """The state is on the device and checkpoints are written from the host; sums are restored with their dtype."""
    dataset = tiny(n_train=18, n_test=4)
    config = replace(settings(tmp_path / "run", epochs=1, batch_size=8, model="resnet8"), device="gpu")
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    steps, step = iter(range(10**6)), Learner.step

    def interrupted_step(self, *args, **more):
        if next(steps) == 1:
            raise Interrupted
        return step(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", interrupted_step)
        with pytest.raises(Interrupted):
            train(dataset, config, io.StringIO())
    resume(tmp_path / "run", io.StringIO(), dataset=dataset)
    train(dataset, replace(config, out=str(tmp_path / "other")), io.StringIO())
    np.testing.assert_array_equal(numbers(tmp_path / "run"), numbers(tmp_path / "other"))


def test_prediction_on_a_device_equals_prediction_on_the_host(device_xp):
    X = np.random.default_rng(0).standard_normal((5, 8, 9, 3)).astype(np.float32)
    logits = {}
    for device in ("cpu", "gpu"):
        learner = Learner(models.build("se_resnet8", classes=3), (8, 9, 3), seed=0, device=device)
        predict = engine.compile(learner.net).predictor(learner.params, learner.state)
        logits[device] = to_host(predict(X if device == "cpu" else device_xp.asarray(X)))
    np.testing.assert_allclose(logits["gpu"], logits["cpu"], rtol=1e-4, atol=1e-5)
