"""Data sets of one's own: class folders, .npz and IDX files give the same data set, and faults are named."""

import io
import json
import os

import numpy as np
import pytest
from image_folders import CLASSES, pixels, save, write_folders, write_idx

from se_numpy import checkpoint, data, tree
from se_numpy.cli import main
from se_numpy.data import DataError, Dataset, digest
from se_numpy.data.summary import describe, imbalance

TRAIN, TEST = pixels(60), pixels(24, seed=1)
GREY = pixels(60, channels=1), pixels(24, channels=1, seed=1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    pytest.importorskip("PIL")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def fault(path, **options):
    with pytest.raises(DataError) as caught:
        data.load(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def arrays(path, **named):
    np.savez(path, **named)
    return path


def parts(folder, train=TRAIN, test=TEST, second="test"):
    write_folders(folder / "train", *train)
    write_folders(folder / second, *test)
    return folder


@pytest.mark.parametrize("name", ["{}.png", "{:05d}.png", "img_{}.PNG", "{}.bmp"])
@pytest.mark.parametrize("second", ["test", "val", "Validation"])
def test_class_folders_equal_the_arrays(tmp_path, name, second):
    """The order is that of the numbers, although 10.png comes before 9.png in an alphabet."""
    write_folders(tmp_path / "photos" / "train", *TRAIN, name)
    write_folders(tmp_path / "photos" / second, *TEST, name)
    found = data.load(tmp_path / "photos")
    expected = Dataset("photos", CLASSES, *TRAIN, *TEST, True, "arrays")
    assert digest(found) == digest(expected)
    assert (found.classes, found.name, found.augment) == (CLASSES, "photos", True)
    assert found.loaded_from == str(tmp_path / "photos")
    assert digest(data.load(tmp_path / "photos")) == digest(expected)  # from the cache


@pytest.mark.parametrize("names", [("x_train", "y_train", "x_test", "y_test"),
                                   ("train_images", "train_labels", "test_images", "test_labels"),
                                   ("X_train", "y_train", "X_val", "y_val")])  # fmt: skip
@pytest.mark.parametrize("convert", [lambda y: y.astype("u1"), lambda y: y[:, None], lambda y: np.array(CLASSES)[y]])
def test_npz_equals_the_arrays(tmp_path, names, convert):
    images, labels, test_images, test_labels = *TRAIN, *TEST
    values = images, convert(labels), test_images, convert(test_labels)
    found = data.load(arrays(tmp_path / "a.npz", **dict(zip(names, values, strict=True))))
    assert digest(found) == digest(Dataset("a", CLASSES, *TRAIN, *TEST, True, "arrays"))
    assert digest(data.load(tmp_path)) == digest(found)  # the folder of the only one


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("inside", ["", "MNIST/raw"])
def test_idx_files_equal_grey_folders(tmp_path, ending, inside):
    for part, (images, labels) in zip(("train", "t10k"), GREY, strict=True):
        write_idx(tmp_path / "idx" / inside / f"{part}-images-idx3-ubyte{ending}", images[..., 0])
        write_idx(tmp_path / "idx" / inside / f"{part}-labels-idx1-ubyte{ending}", labels)
    found = data.load(tmp_path / "idx")
    assert (found.image_shape, found.classes, found.augment) == ((8, 8, 1), ("0", "1", "2"), False)
    assert digest(found) == digest(data.load(parts(tmp_path / "photos", *GREY)))
    one = data.load(tmp_path / "idx" / inside / f"train-labels-idx1-ubyte{ending}")
    assert digest(one) == digest(found)


def test_one_level_and_unsplit_arrays_are_split_alike(tmp_path):
    """One in five of each class is for the test, the same ones in every format and on every machine."""
    folder = data.load(write_folders(tmp_path / "photos", *TRAIN))
    assert (len(folder.train_labels), len(folder.test_labels)) == (48, 12)
    assert np.bincount(folder.test_labels).tolist() == [4, 4, 4]
    file = data.load(arrays(tmp_path / "a.npz", images=TRAIN[0], labels=TRAIN[1], class_names=np.array(CLASSES)))
    assert digest(file) == digest(folder)
    assert file.classes == folder.classes
    write_idx(tmp_path / "idx" / "x-train-images-idx4-ubyte", TRAIN[0])
    write_idx(tmp_path / "idx" / "x-train-labels-idx1-ubyte", TRAIN[1])
    assert digest(data.load(tmp_path / "idx")) == digest(folder)
    assert "one in five of each class for the test" in folder.found


def test_validation_images_are_trained_on_if_there_are_test_images(tmp_path):
    more = pixels(9, seed=2)
    write_folders(parts(tmp_path / "photos") / "val", *more)
    both = [np.concatenate(pair) for pair in zip(TRAIN, more, strict=True)]
    expected = digest(Dataset("x", CLASSES, *both, *TEST, True, "arrays"))
    assert digest(data.load(tmp_path / "photos")) == expected
    file = arrays(tmp_path / "a.npz", **{f"{part}_{kind}": array for part, pair in
                                         (("train", TRAIN), ("val", more), ("test", TEST))
                                         for kind, array in zip(("images", "labels"), pair, strict=True)})  # fmt: skip
    assert digest(data.load(file)) == expected


@pytest.mark.parametrize("options", [{"size": 5}, {"size": (4, 6)}, {"channels": 1}, {"size": 12, "channels": 1}])
def test_sizes_and_channels_are_the_same_in_every_format(tmp_path, options):
    folder = data.load(parts(tmp_path / "photos"), **options)
    file = arrays(tmp_path / "a.npz", x_train=TRAIN[0], y_train=TRAIN[1], x_test=TEST[0], y_test=TEST[1])
    assert digest(folder) == digest(data.load(file, **options))
    H, W = options["size"] if isinstance(options.get("size"), tuple) else (options.get("size", 8),) * 2
    assert folder.image_shape == (H, W, options.get("channels", 3))


def test_images_of_several_sizes_need_a_size(tmp_path):
    write_folders(tmp_path / "photos", *TRAIN)
    save(tmp_path / "photos" / "ant" / "wide.png", np.zeros((8, 30, 3), np.uint8))
    assert "have 2 sizes, 8x8 to 8x30; give the size to train on, such as --size 32" in fault(tmp_path / "photos")
    assert not list((tmp_path / "cache").rglob("decoded/*"))
    found = data.load(tmp_path / "photos", size=6)
    assert "8x8 to 8x30 in colour, cropped at the centre and resized to 6x6 (bicubic)" in found.found


def test_grey_images_among_colours(tmp_path):
    write_folders(tmp_path / "photos", *TRAIN)
    save(tmp_path / "photos" / "ant" / "grey.png", np.zeros((8, 8, 1), np.uint8))
    found = data.load(tmp_path / "photos")
    assert found.image_shape == (8, 8, 3)
    assert "in colour (1 are grey)" in found.found


def test_what_is_left_out_is_named_and_counted(tmp_path):
    root = parts(tmp_path / "photos")
    for i in range(5):
        (root / "train" / "ant" / f"x{i}.png").write_bytes(b"" if i else b"no image")
    os.symlink(tmp_path / "nowhere.png", root / "train" / "bee" / "broken.png")
    os.symlink("..", root / "train" / "bee" / "loop")
    os.symlink("..", root / "train" / "round")
    (root / "train" / "dog").mkdir()
    (root / "train" / "ant" / "Thumbs.db").write_bytes(b"x")
    (root / "train" / "ant" / "._0.png").write_bytes(b"x")  # hidden
    save(root / "stray.png", TRAIN[0][0])
    save(root / "train" / "stray.png", TRAIN[0][0])
    found = data.load(root)
    assert digest(found) == digest(Dataset("x", CLASSES, *TRAIN, *TEST, True, "arrays"))
    line = describe(found)
    assert "\n" not in line
    for words in ("6 unreadable images: ", "train/ant/x0.png (it is not a PNG", "train/ant/x1.png (it is empty",
                  "and 3 more", "2 links to folders that are read anyway (train/bee/loop, train/round)",
                  "1 folder without images (train/dog/)", "1 image outside class folders (train/stray.png)",
                  "1 other file (1 .db)"):  # fmt: skip
        assert words in line, (words, line)
    assert len(found.unreadable) == 6
    assert "train/bee/broken.png (it does not exist)" in found.unreadable


def test_names_that_differ_in_case(tmp_path):
    write_folders(tmp_path / "photos", *TRAIN)
    save(tmp_path / "photos" / "ant" / "A.png", TRAIN[0][0])
    save(tmp_path / "photos" / "ant" / "a.png", TRAIN[0][1])
    if len(list((tmp_path / "photos" / "ant").iterdir())) < 22:
        pytest.skip("this file system ignores case")
    found = data.load(tmp_path / "photos")
    assert len(found.train_labels) + len(found.test_labels) == 62
    assert "names that differ only in case, all used: ant/a.png and A.png" in found.found
    save(tmp_path / "photos" / "ANT" / "0.png", TRAIN[0][0])
    assert "the class folders ANT and ant" in fault(tmp_path / "photos")


def test_folders_within_a_class_and_around_the_classes(tmp_path):
    write_folders(tmp_path / "archive" / "photos", *TRAIN, name="2020/{}.png")
    expected = digest(data.load(write_folders(tmp_path / "flat", *TRAIN)))
    assert digest(data.load(tmp_path / "archive")) == expected


def test_a_class_of_one_image_and_imbalanced_classes(tmp_path):
    write_folders(tmp_path / "photos", *TRAIN)
    save(tmp_path / "photos" / "fly" / "0.png", TRAIN[0][0])
    found = data.load(tmp_path / "photos")
    assert (found.train_labels == 3).sum() == 1
    assert "1 training image of fly to 16 of ant" in imbalance(found)
    assert imbalance(Dataset("x", CLASSES, *TRAIN, *TEST, True, "arrays")) == ""


@pytest.mark.parametrize(("make", "message"), [
    (lambda root: None, "is empty; expected a folder with CIFAR"),
    (lambda root: (root / "notes.txt").write_text("x"), "does not contain a data set; expected"),
    (lambda root: save(root / "0.png", TRAIN[0][0]), "holds 1 image but no class folders; expected"),
    (lambda root: (root / "ant").mkdir(), "has no class folders with images, but 1 folder without images (ant/)"),
    (lambda root: save(root / "ant" / "0.png", TRAIN[0][0]), "has one class, 'ant'; expected at least 2"),
    (lambda root: save(root / "test" / "ant" / "0.png", TRAIN[0][0]), "has test/ but no train/"),
    (lambda root: [save(root / part / kind / "0.png", TRAIN[0][0]) for part, kind in
                   (("train", "ant"), ("train", "bee"), ("test", "ants"))], "'ants' has images in test/ but none in"),
    (lambda root: [save(root / kind / "0.png", TRAIN[0][0]) for kind in ("ant", "bee")], "has one image of each class"),
    (lambda root: [(root / kind).mkdir() or (root / kind / "0.png").write_bytes(b"") or
                   (root / kind / "1.png").write_bytes(b"") for kind in ("ant", "bee")], "none of the 4 images in"),
    (lambda root: (root / "a.zip").write_bytes(b"PK") and (root / "a.npz").write_text("x"), "damaged or not an .npz"),
])  # fmt: skip
def test_folders_that_are_no_data_set(tmp_path, make, message):
    (tmp_path / "photos").mkdir()
    make(tmp_path / "photos")
    assert message in fault(tmp_path / "photos")


@pytest.mark.parametrize(("named", "message"), [
    ({"a": np.zeros(3)}, "holds a (3,) float64; expected x_train, y_train"),
    ({"images": TRAIN[0]}, "holds images but no labels for it"),
    ({"images": TRAIN[0] / 255, "labels": TRAIN[1]}, "(images * 255).round().astype('uint8')"),
    ({"images": TRAIN[0].transpose(0, 3, 1, 2), "labels": TRAIN[1]}, "images.transpose(0, 2, 3, 1)"),
    ({"images": TRAIN[0].reshape(60, -1), "labels": TRAIN[1]}, "images.reshape(N, H, W, C)"),
    ({"images": TRAIN[0], "labels": TRAIN[1][:50]}, "labels has shape (50,); expected (60,), one for each image"),
    ({"images": TRAIN[0], "labels": np.eye(3)[TRAIN[1]]}, "labels.argmax(1)"),
    ({"images": TRAIN[0], "labels": TRAIN[1] - 1}, "labels contains -1; expected integers from 0"),
    ({"images": TRAIN[0], "labels": TRAIN[1] * 1.0}, "labels.astype(int)"),
    ({"images": TRAIN[0], "labels": TRAIN[1] * 0}, "has one class, '0'"),
    ({"images": TRAIN[0], "labels": TRAIN[1], "classes": np.array(["a", "b"])}, "contains 2; expected one of the 2"),
    ({"images": TRAIN[0], "labels": np.array([None, *TRAIN[1][1:]], object)}, "labels is an array of Python objects"),
    ({"x_train": TRAIN[0], "y_train": TRAIN[1] // 2, "x_test": TEST[0], "y_test": TEST[1]}, "contains 2; expected a"),
    ({"x_train": TRAIN[0], "y_train": TRAIN[1], "x_test": TEST[0][:, :6], "y_test": TEST[1]}, "test_images are 6x8x3"),
])  # fmt: skip
def test_arrays_that_are_no_data_set(tmp_path, named, message):
    assert message in fault(arrays(tmp_path / "a.npz", **named))


def test_labels_with_gaps_are_renumbered(tmp_path):
    found = data.load(arrays(tmp_path / "a.npz", images=TRAIN[0], labels=TRAIN[1] * 5 + 1))
    assert found.classes == ("1", "6", "11")
    assert "labels 1 to 11 renumbered from 0" in found.found


@pytest.mark.parametrize(("change", "message"), [
    (lambda raw: b"\1" + raw[1:], "does not begin like an IDX file"),
    (lambda raw: raw[:2] + b"\x0d" + raw[3:], "its numbers have type 0x0d; expected bytes"),
    (lambda raw: raw[:-1], "holds 3,839 bytes of data; its header says 3,840"),
    (lambda raw: raw + b"x", "holds more than 3,840 bytes"),
    (lambda raw: raw[:4] + b"\xff" * 12 + raw[16:], "its header is cut short or claims"),
    (lambda raw: b"\x1f\x8b" + raw, "damaged or not an IDX file"),
    (lambda raw: b"", "does not begin like an IDX file"),
])  # fmt: skip
def test_damaged_idx_files(tmp_path, change, message):
    write_idx(tmp_path / "train-images-idx3-ubyte", GREY[0][0][..., 0])
    write_idx(tmp_path / "train-labels-idx1-ubyte", GREY[0][1])
    images = tmp_path / "train-images-idx3-ubyte"
    images.write_bytes(change(images.read_bytes()))
    assert message in fault(tmp_path)


def test_incomplete_and_several_idx_sets(tmp_path):
    for prefix in ("letters-", "digits-"):
        write_idx(tmp_path / f"{prefix}train-images-idx3-ubyte", GREY[0][0][..., 0])
    assert "holds 2 data sets (digits-, letters-); give a file of one of them" in fault(tmp_path)
    assert "has no file of train labels" in fault(tmp_path / "digits-train-images-idx3-ubyte")
    write_idx(tmp_path / "digits-train-labels-idx1-ubyte", GREY[0][1][:59])
    assert "holds 59 labels for 60 images" in fault(tmp_path / "digits-train-labels-idx1-ubyte")


def numbers(path):
    return np.concatenate([leaf.ravel() for _, leaf in tree.leaves(checkpoint.load(path)[0])])


@pytest.mark.slow
def test_every_command_works_on_such_runs(tmp_path, capsys, monkeypatch):
    """Class folders and an .npz file give the same run, bit for bit; each command reads the images as the run did."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    parts(tmp_path / "photos")
    save(tmp_path / "photos" / "train" / "ant" / "99.png", np.zeros((9, 30, 3), np.uint8))
    more = data.load("photos", size=8)
    arrays("a.npz", x_train=more.train_images, y_train=more.train_labels, x_test=TEST[0], y_test=TEST[1],
           classes=np.array(CLASSES))  # fmt: skip
    common = ["--model", "se_resnet8", "--epochs", "1", "--batch-size", "16"]
    for source, options in (("photos", ["--size", "8"]), ("a.npz", [])):
        assert main(["train", "--data", source, *options, *common, "--out", f"runs/{source}"]) == 0
    assert "3 classes (ant, bee, cow), 61 + 24 test images 8x8x3; train/ for training" in capsys.readouterr().out
    assert (numbers("runs/photos/last.npz") == numbers("runs/a.npz/last.npz")).all()
    image = f"photos/test/{CLASSES[TEST[1][1]]}/1.png"
    for words in (["evaluate"], ["predict", image], ["predict", "test:3"], ["report"], ["plot", "runs/a.npz"],
                  ["excitations", "--images", "8", "--out", "gates"], ["evaluate", "--data", "a.npz"]):  # fmt: skip
        assert main([words[0], "runs/photos", *words[1:]]) == 0, words
    assert main(["train", "--resume", "runs/photos"]) == 0
    assert main(["ablate", "--table", "gate", "--seeds", "0", "--data", "photos", "--size", "8", "--dry-run"]) == 0
    assert main(["train", "--data", "photos", *common]) == 2
    assert "--size 32" in capsys.readouterr().err
    (tmp_path / "photos" / "train" / "ant" / "99.png").unlink()
    assert main(["evaluate", "runs/photos"]) == 2
    assert "was trained on other data" in capsys.readouterr().err
    assert json.loads((tmp_path / "runs/photos/config.json").read_text())["size"] == 8


def test_a_folder_that_is_called_builtin_is_not_the_built_in_set(tmp_path):
    found = data.load(write_folders(tmp_path / "builtin", *TRAIN))
    assert (found.name, data.recorded_name(found)) == ("builtin (own)", str(tmp_path / "builtin"))
    with pytest.raises(DataError, match="cannot be changed to 16x16x3; leave out --size"):
        data.load("builtin", size=16)


def test_progress_of_reading_images_is_shown():
    from se_numpy.data.progress import Progress

    out = io.StringIO()
    with Progress("decoding images", 1000, out, every=0, unit="images") as progress:
        progress.restart(100)
        progress.advance(400)
    assert "decoding images: 50 % of 1,000 images, " in out.getvalue()


def test_data_show_verify_where_and_clean(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    write_folders(tmp_path / "photos", *TRAIN)

    def run(*words):
        code = main(["data", *words])
        return code, *capsys.readouterr()

    assert run("where", "photos")[1].endswith(f"decoded  nothing in {tmp_path / 'cache/se_numpy/decoded'}\n")
    code, out, _ = run("verify", "photos")
    assert (code, f"  digest {digest(data.load('photos'))}\n" in out) == (0, True)
    for name in ("a.png", "b.png"):
        (tmp_path / "photos" / "ant" / name).write_bytes(b"damaged")
    save(tmp_path / "photos" / "bee" / "wide.png", np.zeros((8, 30, 3), np.uint8))
    code, out, err = run("verify", "photos")
    assert (code, out.count("  unreadable: ant/")) == (2, 2)
    assert "2 images of photos cannot be read; training leaves them out" in err
    assert "photos/ant" not in err
    assert run("show", "photos")[:2] == (0, run("show", "photos", "--size", "32")[1])
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "own.png").write_bytes(b"mine")
    for words in (["--out", "own.png"], ["--out", "a.txt"], ["--out", "no/a.png"]):
        assert run("show", "photos", *words)[0] == 2
    assert (tmp_path / "own.png").read_bytes() == b"mine"
    assert run("where", "photos")[1].count("decoded  ") == 2
    data.load(write_folders(tmp_path / "others", *TEST))
    assert run("clean", "photos")[1].startswith("removed  2 sets of decoded images, 0.")
    assert run("where", "others")[1].count("MB") == 1
    assert run("clean")[1].startswith("removed  1 set of")
    assert run("clean")[1].startswith("removed  0 sets of")


@pytest.mark.parametrize("classes", [3, 60])
def test_a_sheet_has_a_row_of_images_for_each_class(classes):
    pytest.importorskip("matplotlib")
    from se_numpy.data.sheet import COLUMNS, ROWS, draw_sheet

    labels = np.arange(3 * classes) % classes
    names = tuple(f"${i}" for i in range(classes))
    images = np.arange(3 * classes, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    figure = draw_sheet(Dataset("x", names, images, labels, images, labels, False, "arrays"))
    grid = np.reshape(figure.axes, (min(classes, ROWS), COLUMNS))
    for label, axes in enumerate(grid):
        assert axes[0].get_ylabel() == f"{label}\n3"
        drawn = [one.images[0].get_array()[0, 0] for one in axes if one.images]
        assert drawn == [label, label + classes, label + 2 * classes]
    assert ("20 more classes" in figure.get_suptitle()) == (classes == 60)
