"""Tests of the one reader of image files: colours, depths, transparency, orientation, and what it refuses.

The expected pixels are computed from the arrays that were stored, with NumPy alone.
"""

import io
import os
import socket
import struct
import warnings
import zlib
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from se_numpy.data import images
from se_numpy.data.images import as_array, open_image, read_image

Image = pytest.importorskip("PIL.Image")
features = pytest.importorskip("PIL.features")

PILLOW = int(pytest.importorskip("PIL").__version__.split(".")[0])
FORMATS = ["PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", *(["WEBP"] if features.check("webp") else [])]
MODES = [
    "1",
    "L",
    "LA",
    "P",
    "P keyed",
    "P alpha",
    "PA",
    "RGB",
    "RGB keyed",
    "L keyed",
    "RGBA",
    "CMYK",
    "YCbCr",
    "I;16",
    "I",
]
ENDINGS = ["png", "jpg", "eps", "ps", "pdf", "txt", "PNG", "npz", "gif", "svg", "py", ""]
TURNS = {  # how a stored image is shown, by its EXIF orientation
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: a.swapaxes(0, 1)[::-1],
}  # fmt: skip


def drawn(mode, rng, H=5, W=7):
    """Return a Pillow image of this mode, the options to save it, and the colours (H, W, 3) that it shows on white."""
    if mode == "1":
        a = rng.random((H, W)) < 0.5
        return Image.fromarray(a), {}, np.repeat(255.0 * a[..., None], 3, 2)
    if mode in ("I;16", "I"):
        a = rng.integers(0, 65536, (H, W), np.uint16)
        return Image.fromarray(a if mode == "I;16" else a.astype(np.int32)), {}, np.repeat(a[..., None] / 257, 3, 2)
    if mode.startswith("P"):
        palette, index = rng.integers(0, 256, (8, 3)), rng.integers(0, 8, (H, W), np.uint8)
        image = Image.new("P", (W, H))
        image.putdata(index.ravel().tolist())
        image.putpalette(palette.astype(np.uint8).tobytes())
        alpha, options = np.full(8, 255), {}
        if mode == "P keyed":
            alpha[3], options = 0, {"transparency": 3}
        elif mode == "P alpha":
            alpha = rng.integers(0, 256, 8)
            options = {"transparency": alpha.astype(np.uint8).tobytes()}
        elif mode == "PA":
            image.putalpha(Image.fromarray(alpha.astype(np.uint8)[index]))
        return image, options, over_white(palette[index], alpha[index])
    a = rng.integers(0, 256, (H, W, {"L": 1, "LA": 2, "RGB": 3, "YCbCr": 3}.get(mode.split()[0], 4)), np.uint8)
    options, colours = {}, a[..., :3].astype(float)
    image = Image.fromarray(a[..., 0] if a.shape[-1] == 1 else a, None if a.shape[-1] != 4 else "RGBA")
    if mode in ("L", "L keyed", "LA"):
        colours = np.repeat(a[..., :1].astype(float), 3, 2)
    if mode.endswith("keyed"):
        key = a[2, 3].tolist()
        options = {"transparency": key[0] if len(key) == 1 else tuple(key)}
        colours[(a == a[2, 3]).all(-1)] = 255
    elif mode in ("LA", "RGBA"):
        colours = over_white(colours, a[..., -1])
    elif mode == "CMYK":
        image = Image.frombytes("CMYK", (W, H), a.tobytes())
        colours = (255.0 - a[..., :3]) * (255.0 - a[..., 3:]) / 255
    elif mode == "YCbCr":
        image = Image.frombytes("YCbCr", (W, H), a.tobytes())
        y, cb, cr = (a[..., c] - (0.0 if c == 0 else 128.0) for c in range(3))
        colours = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1).clip(0, 255)
    return image, options, colours


def over_white(colours, alpha):
    a = alpha[..., None] / 255
    return colours * a + 255 * (1 - a)


def saved(image, form, orientation, **options):
    """Return the bytes of the image in this format, or None if the format has no such images."""
    if orientation > 1:
        if form not in ("PNG", "JPEG", "WEBP", "TIFF"):
            return None
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    if "transparency" in options and form not in ("PNG", "GIF"):
        return None
    if form == "GIF" and (image.mode not in ("1", "L", "P") or isinstance(options.get("transparency"), bytes)):
        return None  # Pillow would change the colours
    if form == "TIFF" and image.mode == "YCbCr" and PILLOW < 11:
        return None  # Pillow would write an incomplete file
    if form == "WEBP":
        options |= {"lossless": True, "exact": True}
    if form == "JPEG":
        options |= {"quality": 100, "subsampling": 0}
    if (form == "WEBP" and image.mode not in ("RGB", "RGBA")) or (form in ("PPM", "BMP") and image.mode[-1] == "A"):
        return None
    file = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.save(file, form, **options)
    except (OSError, ValueError, KeyError):
        return None
    return file.getvalue()


def check_one(folder, mode, form, ending, orientation, seed):
    """Compare one drawn image with the expectation; return False if the format has no such images."""
    image, options, colours = drawn(mode, np.random.default_rng(seed))
    content = saved(image, form, orientation, **options)
    if content is None:
        return False
    path = folder / (f"a.{ending}" if ending else "a")
    path.write_bytes(content)
    expected = TURNS[orientation](colours)
    near = {"JPEG": 14, "PNG": 1, "GIF": 1, "WEBP": 1}.get(form, 1) + 2 * (mode == "YCbCr")
    found = as_array(open_image(path))
    assert found.shape == expected.shape, (mode, form, orientation)
    assert np.abs(found - expected).max() <= near, (mode, form, orientation)
    grey = as_array(open_image(path, 1))
    assert np.abs(grey[..., 0] - expected @ [0.299, 0.587, 0.114]).max() <= near + 1, (mode, form)
    return True


@given(
    st.sampled_from(MODES), st.sampled_from(FORMATS), st.sampled_from(ENDINGS), st.integers(1, 8), st.integers(0, 99)
)  # fmt: skip
def test_any_image_shows_the_colours_that_were_stored(tmp_path_factory, mode, form, ending, orientation, seed):
    check_one(tmp_path_factory.mktemp("image"), mode, form, ending, orientation, seed)


def test_every_mode_and_format(tmp_path):
    read = {(mode, form) for mode, form in product(MODES, FORMATS) if check_one(tmp_path, mode, form, "eps", 1, 5)}
    assert {mode for mode, _ in read} == set(MODES) - ({"I"} if not {("I", "PNG"), ("I", "TIFF")} & read else set())
    assert {form for _, form in read} == set(FORMATS)
    assert len(read) >= 38


def frames(form, **options):
    """Return an animation, or a file of two pages: first red, then blue."""
    file = io.BytesIO()
    first, second = (Image.new("RGB", (6, 4), colour) for colour in ((250, 0, 0), (0, 0, 250)))
    first.save(file, form, save_all=True, append_images=[second], **options)
    return file.getvalue()


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_the_first_image_of_several_is_read(tmp_path, form):
    if form not in (*FORMATS, "MPO"):
        pytest.skip(f"Pillow has no {form} here")
    path = tmp_path / "a.png"
    path.write_bytes(frames(form, **({"lossless": True} if form == "WEBP" else {})))
    with Image.open(path) as image:
        assert image.n_frames == 2
    assert np.abs(read_image(path, (4, 6, 3)).astype(int) - (250, 0, 0)).max() <= 3


def png(bits, kind, row, width=4, height=1, key=None):
    """Return a PNG file with one row of pixels, written without Pillow."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    middle = b"" if key is None else chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    return b"\x89PNG\r\n\x1a\n" + header + middle + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("bits", "row", "key", "expected"),
    [
        (1, b"\x50", 1, [0, 255, 0, 255]), (1, b"\x50", 0, [255, 255, 255, 255]),
        (2, b"\x1b", None, [0, 85, 170, 255]), (2, b"\x1b", 1, [0, 255, 170, 255]),
        (4, b"\x01\xef", 14, [0, 17, 255, 255]), (8, b"\0\1\2\3", 2, [0, 1, 255, 3]),
        (16, struct.pack(">4H", 0, 257, 1285, 65535), None, [0, 1, 5, 255]),
        (16, struct.pack(">4H", 0, 257, 1285, 65535), 1285, [0, 1, 255, 255]),
        (16, struct.pack(">4H", 0, 257, 1285, 65535), 5, [0, 1, 5, 255]),
    ],
)  # fmt: skip
def test_grey_levels_and_a_transparent_one_of_any_depth(tmp_path, bits, row, key, expected):
    path = tmp_path / "a.png"
    path.write_bytes(png(bits, 0, row, key=None if key is None else (key,)))
    assert read_image(path, (1, 4, 1)).ravel().tolist() == expected


def test_a_transparent_colour_of_16_bits(tmp_path):
    path, key = tmp_path / "a.png", (256, 512, 9 * 257)
    pixels = [(0, 0, 0), key, (65535, 0, 0), (256, 512, 0)]
    path.write_bytes(png(16, 2, struct.pack(">12H", *sum(pixels, ())), key=key))
    assert read_image(path, (1, 4, 3))[0].tolist() == [[0, 0, 0], [255, 255, 255], [255, 0, 0], [1, 2, 0]]


def test_an_inverted_tiff_of_16_bits(tmp_path):
    levels = np.array([[0, 257, 65535]], np.uint16)
    for compression in (None, "tiff_lzw"):
        Image.fromarray(levels).save(tmp_path / "a.tif", compression=compression, tiffinfo={262: 0})
        assert read_image(tmp_path / "a.tif", (1, 3, 1)).ravel().tolist() == [255, 254, 0]


# ------------------------------------------------------------------------------------------------------------- refused

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n"


def test_no_other_program_is_started_whatever_the_file_is_called(tmp_path, monkeypatch):
    started = tmp_path / "started"
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch '{started}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", "gs", raising=False)
    for ending in ENDINGS:
        path = tmp_path / f"a.{ending}"
        path.write_bytes(EPS)
        with pytest.raises(ValueError, match=r"cannot read image .*: it is not a PNG, JPEG, .* or TIFF image"):
            open_image(path)
    assert not started.exists()
    with Image.open(tmp_path / "a.png") as image, pytest.raises(OSError, match=r"."):  # Pillow alone does start it
        image.load()
    assert started.exists()


def whole(form="PNG", size=(40, 30), mode="RGB"):
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, form)
    return file.getvalue()


def tiff(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "TIFF")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"it is empty \(0 bytes\)"),
        (b"hello", "it is not a PNG, JPEG, WEBP, GIF, BMP, PPM or TIFF image, or its header is damaged"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "it is not a PNG"),
        (b"%PDF-1.4\n", "it is not a PNG"),
        (whole()[:2000], r"it is damaged or incomplete \("),
        (whole("JPEG")[:900], r"it is damaged or incomplete \("),
        (whole()[:20], "it is damaged or incomplete|it is not a PNG"),
        (png(8, 2, b"", 13000, 13000), "it has 13000x13000 pixels, 169 megapixels; expected at most 64"),
        (png(8, 2, b"", 60000, 60000), "it has too many pixels; expected at most 64 megapixels"),
        (tiff(np.ones((3, 3), np.float32)), "its pixels are floating-point numbers; expected 8 or 16 bits per channel"),
        (tiff(np.full((3, 3), 70000, np.int32)), "its pixels are 70000 to 70000; expected 8 or 16 bits"),
        (tiff(np.full((3, 3), -1, np.int32)), "its pixels are -1 to -1; expected 8 or 16 bits"),
    ],
)  # fmt: skip
def test_what_is_not_an_image_is_refused_in_one_sentence(tmp_path, content, message):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^cannot read image .*a.png: (?:{message})") as caught:
        open_image(path)
    assert "\n" not in str(caught.value)


def test_a_size_beyond_the_limit_is_refused_before_pixels_are_decoded(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(whole(size=(1001, 1000)))
    monkeypatch.setattr(images, "MEGAPIXELS", 1)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("the pixels were decoded"))
    with pytest.raises(ValueError, match="1001x1000 pixels, 1 megapixels; expected at most 1"):
        open_image(path)


def test_only_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(os.path.relpath(tmp_path / "socket.png"))
    (tmp_path / "folder.png").mkdir()
    for name in (tmp_path / "pipe.png", tmp_path / "socket.png", "/dev/zero"):
        with pytest.raises(ValueError, match="it is a pipe, a socket or a device; expected an image file"):
            open_image(name)
    with pytest.raises(ValueError, match="it is a folder; expected an image file"):
        open_image(tmp_path / "folder.png")
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere")
    for name in (tmp_path / "none.png", tmp_path / "lost.png"):
        with pytest.raises(FileNotFoundError, match=r"image .*\.png does not exist; expected an image file"):
            open_image(name)
    with pytest.raises(OSError, match="name too long"):
        open_image("a" * 300)


def test_networks_of_other_channels_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(whole())
    with pytest.raises(ValueError, match="expected a network for 3 channels or 1, not 4"):
        read_image(tmp_path / "a.png", (4, 4, 4))


def test_damaged_exif_data_do_not_matter(tmp_path):
    exif = b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 20
    file = io.BytesIO()
    Image.new("RGB", (4, 3), (9, 9, 9)).save(file, "JPEG", exif=exif)
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    assert np.abs(read_image(tmp_path / "a.jpg", (3, 4, 3)).astype(int) - 9).max() <= 1


@given(st.sampled_from(FORMATS), st.integers(0, 400), st.integers(0, 255), st.booleans())
def test_a_damaged_file_is_read_or_refused_with_a_message(tmp_path_factory, form, at, byte, cut):
    path = tmp_path_factory.mktemp("image") / "a.png"
    content = whole(form, (9, 9))
    path.write_bytes(content[:at] if cut else content[:at] + bytes([byte]) + content[at + 1 :])
    message = "cannot read image"
    try:
        pixels = read_image(path, (4, 4, 3))
    except ValueError as error:
        message = str(error)
    else:
        assert pixels.shape == (4, 4, 3)
        assert pixels.dtype == np.uint8
    assert message.startswith("cannot read image")
    assert "\n" not in message
