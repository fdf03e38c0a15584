"""Tests of weights for grey images, and of other numbers of channels."""

import numpy as np
import pytest

from se_numpy import interop, layers, models
from se_numpy.cli import main
from se_numpy.data.batches import Normalisation
from se_numpy.interop.channels import adapt_filters

PLAIN = Normalisation(np.zeros(1), np.ones(1))


def saved(path, channels=3, name="se_resnet8", scheme="timm"):
    net, shape = models.build(name), (8, 8, channels)
    params, state = layers.init(net, shape, np.random.default_rng(0), np.float64)
    interop.write(path, interop.dump(net, shape, params, state, scheme=scheme))
    return net, params, state


@pytest.mark.parametrize("scheme", ["timm", "se_numpy"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_channels_of_a_file_are_found(tmp_path, channels, scheme):
    net, params, _ = saved(tmp_path / "x.npz", channels, scheme=scheme)
    found, _ = interop.load(tmp_path / "x.npz", "se_resnet8")
    np.testing.assert_array_equal(found["conv"]["V"], params["conv"]["V"])
    with pytest.raises(interop.StateDictMismatch, match=r"wrong shape: conv"):
        interop.load(tmp_path / "x.npz", net, (8, 8, 5))


@pytest.mark.parametrize("scheme", ["timm", "se_numpy"])
@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3), (4, 1), (2, 4), (3, 3)])
def test_equal_channels_give_the_same_output(tmp_path, before, after, scheme):
    net, params, state = saved(tmp_path / "x.npz", before, scheme=scheme)
    X = np.random.default_rng(1).standard_normal((2, 8, 8, 1))
    expected, _ = net.forward(params, state, np.repeat(X, before, 3))
    for other in ("se_resnet8", net):
        found = interop.load(tmp_path / "x.npz", other, (8, 8, after), in_chans=after)
        assert found[0]["conv"]["V"].shape[2] == after
        np.testing.assert_allclose(net.forward(*found, np.repeat(X, after, 3))[0], expected, rtol=1e-10)


def test_filters_are_adapted_as_in_timm():
    manipulate = pytest.importorskip("timm.models._manipulate")
    torch = pytest.importorskip("torch")
    filters = np.random.default_rng(0).standard_normal((5, 3, 7, 7)).astype(np.float32)
    for channels in range(1, 9):
        expected = manipulate.adapt_input_conv(channels, torch.from_numpy(filters.copy())).numpy()
        np.testing.assert_allclose(adapt_filters(filters, channels), expected, rtol=1e-5, atol=1e-6)


def test_the_values_of_adapted_filters():
    filters = np.arange(6.0).reshape(2, 3, 1, 1)
    assert adapt_filters(filters, 1)[:, :, 0, 0].tolist() == [[3], [12]]
    assert adapt_filters(filters, 2)[:, :, 0, 0].tolist() == [[0, 1.5], [4.5, 6]]
    np.testing.assert_allclose(adapt_filters(filters, 4)[1, :, 0, 0], np.array([3, 4, 5, 3]) * 0.75)
    assert adapt_filters(filters, 3) is filters


@pytest.mark.parametrize("channels", [0, -1])
def test_invalid_numbers_of_channels(tmp_path, channels):
    saved(tmp_path / "x.npz")
    with pytest.raises(ValueError, match="expected at least 1"):
        interop.load(tmp_path / "x.npz", "se_resnet8", in_chans=channels)


def test_grey_images_on_the_command_line(tmp_path, capsys):
    saved(tmp_path / "x.npz")
    arguments = ["weights", str(tmp_path / "x.npz"), "--model", "se_resnet8"]
    assert main([*arguments, "--in-chans", "1", "--out", str(tmp_path / "grey.npz")]) == 0
    assert ", images 32x32x1" in capsys.readouterr().out
    assert interop.read_metadata(tmp_path / "grey.npz")["image_shape"] == [32, 32, 1]
    trained = interop.pretrained(tmp_path / "grey.npz", "se_resnet8", normalise=PLAIN)
    assert trained.shape == (32, 32, 1)
    direct = interop.pretrained(tmp_path / "x.npz", "se_resnet8", normalise=PLAIN, in_chans=1)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1), np.uint8)
    np.testing.assert_array_equal(trained.probabilities(images), direct.probabilities(images))
    assert main([*arguments, "--in-chans", "0"]) == 2
    assert "in_chans is 0; expected at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("stored", [1, 3])
def test_a_network_for_grey_photographs_predicts(tmp_path, capsys, stored):
    Image = pytest.importorskip("PIL.Image")
    net = models.build("resnet18", classes=3)
    params, state = layers.init(net, (224, 224, stored), np.random.default_rng(0))
    interop.write(tmp_path / "r.npz", interop.dump(net, (224, 224, stored), params, state))
    trained = interop.pretrained(tmp_path / "r.npz", "resnet18", in_chans=1)
    assert trained.shape == (224, 224, 1)
    assert trained.normalise.mean.tolist() == pytest.approx([0.449])
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(tmp_path / "x.png")
    more = ["--in-chans", "1"] if stored == 3 else []
    assert (
        main(["predict", "--weights", str(tmp_path / "r.npz"), "--model", "resnet18", str(tmp_path / "x.png"), *more])
        == 0
    )
    assert "%" in capsys.readouterr().out


def test_a_normalisation_of_other_channels(tmp_path):
    net = models.build("resnet18", classes=3)
    params, state = layers.init(net, (32, 32, 4), np.random.default_rng(0))
    interop.write(tmp_path / "r.npz", interop.dump(net, (32, 32, 4), params, state))
    with pytest.raises(ValueError, match="images have 4 channels and their normalisation has 3; expected normalise="):
        interop.pretrained(tmp_path / "r.npz", "resnet18")
    own = Normalisation(np.zeros(4), np.ones(4))
    assert interop.pretrained(tmp_path / "r.npz", "resnet18", normalise=own).shape == (224, 224, 4)


@pytest.mark.parametrize("option", [["--in-chans", "1"], ["--no-ema"], ["--part", "model"]])
def test_options_of_files_do_not_apply_to_runs(tmp_path, capsys, option):
    from test_files import run_of

    assert main(["weights", str(run_of(tmp_path / "run")), *option]) == 2
    assert "--no-ema, --part and --in-chans are for files from other libraries" in capsys.readouterr().err
