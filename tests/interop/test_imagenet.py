"""Tests of the image preprocessing and class names for networks trained on ImageNet."""

import io
import struct
import zlib

import numpy as np
import pytest

from se_numpy import interop

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


def test_colours_are_rgb_and_grey_images_are_converted(tmp_path):
    red = np.zeros((50, 50, 3), np.uint8)
    red[..., 0] = 200
    assert interop.prepare(image(tmp_path / "red.png", red), (8, 8, 3))[4, 4].tolist() == [200, 0, 0]
    grey = np.full((50, 50), 90, np.uint8)
    assert interop.prepare(image(tmp_path / "grey.png", grey), (8, 8, 3))[4, 4].tolist() == [90, 90, 90]
    clear = np.full((50, 50, 4), 70, np.uint8)
    assert interop.prepare(image(tmp_path / "clear.png", clear), (8, 8, 1))[4, 4].tolist() == [70]


def test_images_are_rotated_as_their_exif_data_says(tmp_path):
    pixels = np.zeros((60, 60, 3), np.uint8)
    pixels[:30] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # rotated by 180 degrees
    found = interop.prepare(image(tmp_path / "x.png", pixels, exif=exif), (16, 16, 3))
    assert found[2].mean() < 10
    assert found[-3].mean() > 245


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


def png_of(width, height):
    """Return a PNG file whose header declares this size, without the pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_files_that_are_not_valid_images(tmp_path, noise):
    with pytest.raises(FileNotFoundError):
        interop.prepare(tmp_path / "none.png")
    whole = io.BytesIO()
    Image.fromarray(noise).save(whole, "PNG")
    for content in (b"", b"hello", whole.getvalue()[:5000], png_of(12000, 12000), png_of(30000, 30000)):
        (tmp_path / "x.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.png is (not an|a damaged) image") as caught:
            interop.prepare(tmp_path / "x.png")
        assert "\n" not in str(caught.value)


def test_a_decompression_bomb(tmp_path, noise, monkeypatch):
    path = image(tmp_path / "x.png", noise)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", noise.size // 3 - 1)  # Pillow warns above this
    with pytest.raises(ValueError, match="decompression bomb"):
        interop.prepare(path)


def test_an_extreme_aspect_ratio(tmp_path):
    path = image(tmp_path / "x.png", np.zeros((1, 20000, 3), np.uint8))
    with pytest.raises(ValueError, match="less extreme aspect ratio"):
        interop.prepare(path)
