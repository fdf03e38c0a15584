"""Tests of the CIFAR readers: round trips of the official layouts, and errors for missing or damaged files."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from cifar_files import (
    BIN10,
    BIN100,
    CLASSES,
    FILES,
    FOLDERS,
    META,
    PIXELS,
    PY10,
    PY100,
    ROWS,
    content,
    count,
    dump2,
    dump3,
    expected_images,
    load,
    message,
    write,
)

from se_numpy.data.cifar import load_cifar

# ---- valid files


@pytest.mark.parametrize("dump", [dump2, dump3])
@pytest.mark.parametrize("layout", FOLDERS)
def test_round_trip(tmp_path, layout, dump):
    data = load(write(tmp_path, layout, dump=dump))
    *train, test = (content(layout, index) for index in range(len(FILES[layout])))
    for images, labels, parts in (
        (data.train_images, data.train_labels, train),
        (data.test_images, data.test_labels, [test]),
    ):
        np.testing.assert_array_equal(images, np.concatenate([expected_images(pixels) for pixels, _ in parts]))
        np.testing.assert_array_equal(labels, np.concatenate([labels for _, labels in parts]))
        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
        assert images.flags.c_contiguous
        assert images.flags.writeable
        assert labels.flags.writeable
    assert data.classes == tuple(CLASSES[count(layout)])
    assert data.name == ("cifar100" if "100" in layout else "cifar10")
    form = "binary" if layout in (BIN10, BIN100) else "pickled"
    assert data.source == f"CIFAR-{count(layout)}, {form} layout, {tmp_path / layout}"
    assert data.augment is True
    assert data.image_shape == (32, 32, 3)


@pytest.mark.parametrize("layout", FOLDERS)
def test_one_image_in_a_file(tmp_path, layout):
    data = load(write(tmp_path, layout, rows=1), rows=1)
    assert len(data.test_labels) == 1
    np.testing.assert_array_equal(data.test_images, expected_images(content(layout, len(FILES[layout]) - 1, 1)[0]))


def test_column_major_array(tmp_path):
    """NumPy pickles such an array in column-major order and sets a flag."""
    folder = write(tmp_path, PY10)
    pixels, labels = content(PY10, 5)
    (folder / "test_batch").write_bytes(dump3({"data": np.asfortranarray(pixels), "labels": labels.tolist()}))
    np.testing.assert_array_equal(load(folder).test_images, expected_images(pixels))


def test_string_keys(tmp_path):
    folder = write(tmp_path, PY10)
    pixels, labels = content(PY10, 5)
    (folder / "test_batch").write_bytes(pickle.dumps({"data": pixels, "labels": labels.tolist()}, protocol=2))
    np.testing.assert_array_equal(load(folder).test_labels, labels)


@pytest.mark.parametrize("layout", FOLDERS)
def test_default_class_names_without_meta_file(tmp_path, layout):
    folder = write(tmp_path, layout)
    (folder / META[layout]).unlink()
    classes = load(folder).classes
    assert len(classes) == count(layout)
    assert (classes[0], classes[9]) == (("class 0", "class 9") if "100" in layout else ("airplane", "truck"))


@pytest.mark.parametrize("deep", ["", "data"])
def test_subfolders_are_searched_in_order_of_preference(tmp_path, deep):
    for layout in reversed(FOLDERS):
        write(tmp_path / deep, layout)
        assert load(tmp_path).source.endswith(str(tmp_path / deep / layout))


def test_folder_may_have_another_name(tmp_path):
    assert load(write(tmp_path, PY100).rename(tmp_path / "mine")).name == "cifar100"
    assert load_cifar(str(tmp_path / "mine"), rows=ROWS).name == "cifar100"


# ---- invalid files


def test_no_folder(tmp_path):
    error = message(tmp_path / "none")
    assert f"folder {tmp_path / 'none'} does not exist" in error
    assert all(layout in error for layout in FOLDERS)


def test_a_file_instead_of_a_folder(tmp_path):
    (tmp_path / "notes").write_text("hello")
    assert "notes is a file; give the folder" in message(tmp_path / "notes")


def test_folder_without_cifar(tmp_path):
    error = message(tmp_path)
    assert f"{tmp_path} does not contain CIFAR" in error
    assert all(layout in error for layout in FOLDERS)


@pytest.mark.parametrize("layout", FOLDERS)
def test_missing_file(tmp_path, layout):
    folder = write(tmp_path, layout)
    (folder / FILES[layout][-1]).unlink()
    error = message(folder)
    assert f"{folder} holds an incomplete copy of CIFAR-{count(layout)}" in error
    assert f": {FILES[layout][-1]} missing" in error


def test_an_incomplete_set_is_an_error_even_if_another_set_is_complete(tmp_path):
    (write(tmp_path, BIN10) / "test_batch.bin").unlink()
    write(tmp_path, BIN100)
    assert "test_batch.bin missing" in message(tmp_path)


def test_packed_archive(tmp_path):
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive.write_bytes(b"\x1f\x8b")
    for given_path in (tmp_path, archive):
        assert f"`tar -xf {archive} -C {tmp_path}`" in message(given_path)


@pytest.mark.parametrize("layout", FOLDERS)
def test_the_official_number_of_rows_is_the_default(tmp_path, layout):
    folder = write(tmp_path, layout)
    error = message(folder, rows=None)
    assert str(folder / FILES[layout][0]) in error
    assert ("50,000" in error or "50000" in error) if "100" in layout else ("10,000" in error or "10000" in error)
    message(folder, rows=ROWS - 1)
    message(folder, rows=ROWS + 1)


@pytest.mark.parametrize("layout", FOLDERS)
@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw[: len(raw) // 2], lambda raw: b""])
def test_truncated_file(tmp_path, layout, change):
    path = write(tmp_path, layout) / FILES[layout][-1]
    path.write_bytes(change(path.read_bytes()))
    assert message(tmp_path).startswith(f"{path} is damaged or not a CIFAR-{count(layout)} file: ")


def test_truncated_binary_file_reports_its_size(tmp_path):
    path = write(tmp_path, BIN10) / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert "2 rows of 3,073 bytes and 3,072 more bytes; expected 3 rows" in message(tmp_path)
    path.write_bytes(path.read_bytes()[: 2 * 3073])
    assert "2 rows of 3,073 bytes and 0 more bytes; expected 3 rows" in message(tmp_path)


@pytest.mark.parametrize("layout", FOLDERS)
def test_giant_file_is_not_read(tmp_path, layout):
    path = write(tmp_path, layout) / FILES[layout][0]
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # sparse, so it takes no disk space
    assert "1,099,511,627,776 bytes" in message(tmp_path)


@pytest.mark.parametrize("layout", FOLDERS)
def test_label_out_of_range(tmp_path, layout):
    path = write(tmp_path, layout) / FILES[layout][0]
    pixels, labels = content(layout, 0)
    labels[1] = count(layout)
    if layout in (BIN10, BIN100):
        columns = [labels] if layout == BIN10 else [0 * labels, labels]
        path.write_bytes(np.column_stack([*columns, pixels]).astype(np.uint8).tobytes())
    else:
        path.write_bytes(dump2({"data": pixels, "labels": labels.tolist(), "fine_labels": labels.tolist()}))
    expected = f"row 1 (counting from 0) has the label {count(layout)}; expected 0 to {count(layout) - 1}"
    assert str(path) in message(tmp_path)
    assert expected in message(tmp_path)


@pytest.mark.parametrize("layout", FOLDERS)
@pytest.mark.parametrize(
    ("raw", "words"),
    [(b"\x1f\x8b\x08" + bytes(99), "looks like a gzip archive"), (b"<html>404 not found</html>", "looks like text")],
)
def test_a_file_of_another_type(tmp_path, layout, raw, words):
    path = write(tmp_path, layout) / FILES[layout][0]
    path.write_bytes(raw)
    error = message(tmp_path)
    assert str(path) in error
    assert words in error


@pytest.mark.parametrize("layout", FOLDERS)
def test_meta_file_with_too_few_names(tmp_path, layout):
    path = write(tmp_path, layout) / META[layout]
    pickled = dump2({"label_names": ["a"], "fine_label_names": []})
    path.write_bytes(b"cat\ndog\n" if layout in (BIN10, BIN100) else pickled)
    assert f"{path} is damaged" in message(tmp_path)
    assert f"the names of {count(layout)} classes" in message(tmp_path)


@pytest.mark.parametrize("layout", FOLDERS)
def test_unreadable_file(tmp_path, layout, monkeypatch):
    folder = write(tmp_path, layout)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert f"{folder / FILES[layout][0]} cannot be read (Permission denied)" in message(folder)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ([1, 2], "invalid"),
        ({"labels": [1, 2, 3]}, "'data'"),
        ({"data": PIXELS}, "'labels'"),
        ({"data": [[0] * 32] * 3, "labels": [1, 2, 3]}, "invalid"),
        ({"data": PIXELS[:2], "labels": [1, 2, 3]}, "(2, 3072)"),
        ({"data": PIXELS.reshape(-1), "labels": [1, 2, 3]}, "(9216,)"),
        ({"data": PIXELS.astype(np.int16), "labels": [1, 2, 3]}, "'i2'"),
        ({"data": PIXELS.astype(object), "labels": [1, 2, 3]}, "steps"),
        ({"data": np.array([[None]]), "labels": [1, 2, 3]}, "'O8'"),
        ({"data": PIXELS, "labels": [1, 2]}, "2 labels"),
        ({"data": PIXELS, "labels": [1, 2, True]}, "should be 3 integers"),
        ({"data": PIXELS, "labels": [1, 2, "3"]}, "should be 3 integers"),
        ({"data": PIXELS, "labels": [1, 2, -1]}, "the label -1"),
        ({"data": PIXELS, "labels": [1, 2, 1 << 70]}, f"the label {1 << 70}"),
        ({"data": PIXELS, "labels": [1, 2, 3.0]}, "BINFLOAT"),
        ({"data": PIXELS, "labels": 7}, "invalid"),
    ],
)
def test_pickle_with_invalid_content(tmp_path, batch, words):
    path = write(tmp_path, PY10) / "test_batch"
    path.write_bytes(pickle.dumps(batch, protocol=2))
    error = message(tmp_path)
    assert error.startswith(f"{path} is damaged")
    assert words in error
