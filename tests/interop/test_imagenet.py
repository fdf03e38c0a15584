"""Tests of the image preprocessing and class names for networks trained on ImageNet."""

import json

import numpy as np
import pytest
from specimens import save

from se_numpy import interop
from se_numpy.cli import main
from se_numpy.data.images import read_image

Image = pytest.importorskip("PIL.Image")


def image(path, pixels, **how):
    Image.fromarray(pixels).save(path, **how)
    return path


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)


def test_class_names():
    names = interop.class_names()
    assert len(names) == len(set(names)) == 1000
    known = {0: "tench", 1: "goldfish", 2: "great white shark", 207: "golden retriever", 254: "pug", 281: "tabby",
             404: "airliner", 972: "cliff", 999: "toilet tissue"}  # fmt: skip
    assert {i: names[i] for i in known} == known


@pytest.mark.parametrize("shape", [(224, 224, 3), (32, 32, 3), (96, 160, 3), (160, 96, 1), (1, 1, 3)])
@pytest.mark.parametrize("size", [(300, 400), (400, 300), (20, 30), (224, 224)])
def test_any_image_is_resized_to_any_shape(tmp_path, noise, shape, size):
    path = image(tmp_path / "x.png", np.ascontiguousarray(noise[: size[0], : size[1]]) if size[0] < 400 else
                 np.ascontiguousarray(noise.transpose(1, 0, 2)))  # fmt: skip
    for resample in ("bilinear", "bicubic"):
        found = interop.prepare(path, shape, resample=resample)
        assert found.shape == shape
        assert found.dtype == np.uint8


def test_the_crop_is_central_and_covers_seven_eighths_of_the_shorter_side(tmp_path):
    """A central white square of 256 pixels in 512x768 becomes one of 128 pixels in 224x224."""
    pixels = np.zeros((512, 768, 3), np.uint8)
    pixels[128:384, 256:512] = 255
    seen = interop.prepare(image(tmp_path / "x.png", pixels))[..., 0] > 127
    expected = np.zeros((224, 224), bool)
    expected[48:176, 48:176] = True
    np.testing.assert_array_equal(seen, expected)
    whole = interop.prepare(tmp_path / "x.png", crop=1.0)[..., 0] > 127
    assert whole.sum() == 112**2


def test_images_are_read_as_for_the_network_of_a_run(tmp_path):
    """Transparent, 16-bit, turned or not: both routes open files with one reader."""
    clear = np.full((50, 50, 4), 70, np.uint8)
    expected = round(70 * 70 / 255 + 255 - 70)
    assert interop.prepare(image(tmp_path / "clear.png", clear), (80, 80, 1))[4, 4].tolist() == [expected]
    deep = np.full((50, 50), 200 * 257, np.uint16)
    assert interop.prepare(image(tmp_path / "deep.png", deep), (80, 80, 3))[4, 4].tolist() == [200, 200, 200]
    pixels = np.zeros((60, 60, 3), np.uint8)
    pixels[:30] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # rotated by 180 degrees
    found = interop.prepare(image(tmp_path / "x.png", pixels, exif=exif), (70, 70, 3))
    assert found[2].mean() < 10
    assert found[-3].mean() > 245


@pytest.mark.parametrize("shape", [(32, 32, 3), (20, 24, 3), (8, 30, 1)])
def test_a_network_for_small_images_sees_the_whole_image_as_in_a_run(tmp_path, noise, shape):
    path = image(tmp_path / "x.png", noise)
    np.testing.assert_array_equal(interop.prepare(path, shape), read_image(path, shape))
    assert (interop.prepare(path, shape) != interop.prepare(path, shape, crop=0.875)).any()


def test_the_two_resampling_methods_differ(tmp_path, noise):
    path = image(tmp_path / "x.png", noise)
    assert (interop.prepare(path) != interop.prepare(path, resample="bicubic")).any()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"shape": (8, 8, 2)}, "shape is"), ({"shape": (0, 8, 3)}, "shape is"), ({"crop": 0}, "0 < crop"),
        ({"crop": 1.5}, "0 < crop"), ({"resample": "nearest"}, "'bilinear' or 'bicubic'"),
    ],
)  # fmt: skip
def test_invalid_arguments_of_prepare(tmp_path, noise, how, message):
    with pytest.raises(ValueError, match=message):
        interop.prepare(image(tmp_path / "x.png", noise), **how)


def test_files_that_are_not_valid_images(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"image .* does not exist"):
        interop.prepare(tmp_path / "none.png")
    (tmp_path / "x.png").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"cannot read image .*x\.png: it is not a PNG"):
        interop.prepare(tmp_path / "x.png")


def test_an_extreme_aspect_ratio(tmp_path):
    path = image(tmp_path / "x.png", np.zeros((1, 20000, 3), np.uint8))
    with pytest.raises(ValueError, match="less extreme aspect ratio"):
        interop.prepare(path)


@pytest.mark.parametrize("model", ["se_resnet8", "se_resnet18"])
def test_weights_of_a_run_see_an_image_as_the_run_does(tmp_path, capsys, noise, model):
    """Also if the network belongs to a family for large images, but was trained on small ones."""
    run, file = str(save(tmp_path / "run.npz", model=model)), str(tmp_path / "w.npz")
    assert main(["weights", run, "--out", file]) == 0
    clear = np.concatenate([noise, noise[..., :1]], -1)
    deep = noise[..., 0] * np.uint16(257)
    for name, pixels in (("clear.png", clear), ("deep.png", deep)):
        path = str(image(tmp_path / name, pixels))
        capsys.readouterr()
        assert main(["predict", run, path, "--json"]) == 0
        expected = json.loads(capsys.readouterr().out)["top"]
        assert main(["predict", "--weights", file, "--model", model, path, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["top"]
        assert [row["class"] for row in found] == [row["class"] for row in expected]
        np.testing.assert_allclose(*([row["probability"] for row in rows] for rows in (found, expected)), rtol=1e-5)
