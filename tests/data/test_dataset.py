"""A data set checks itself: each fault is one sentence, which says what to write instead."""

import io
from dataclasses import replace

import numpy as np
import pytest

from se_numpy.analysis.run_page import write_report
from se_numpy.data import Dataset, digest, load
from se_numpy.data.array_checks import check_images
from se_numpy.data.batches import Images, Normalisation
from se_numpy.data.boxes import Boxes
from se_numpy.train import Config, configure, train

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 8, 9, 3), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])
GOOD = Dataset("own", ("cat", "dog", "ship"), PIXELS, LABELS, PIXELS[:4], LABELS[:4], False, "drawn")


class FakeTensor:
    """An array of another library."""


FakeTensor.__module__ = "torch"

WRONG_IMAGES = [
    (PIXELS / 255.0, TypeError, r"has dtype float64, with values from 0 to 1; expected pixels as bytes, 0 to 255 "
     r"\(uint8\): \({name} \* 255\).round\(\).astype\('uint8'\)"),
    (PIXELS.astype(np.float32), TypeError, r"float32, with values .* to 255; .*: {name}.round\(\).astype\('uint8'\)"),
    (PIXELS / 127.5 - 1, TypeError, r"with values from -1 to 1; .*; images are normalised later, so give them as they"),
    (np.full((6, 8, 9, 3), np.nan), TypeError, r"values from nan to nan; .*; images are normalised later"),
    (PIXELS.astype(np.uint16) * 257, TypeError, r"uint16, .* 65535; .*: \({name} / 257\).round\(\).astype\('uint8'\)"),
    (PIXELS.astype(np.int64), TypeError, r"int64, with values from 0 to 255; .*: {name}.astype\('uint8'\)"),
    (PIXELS > 99, TypeError, r"has dtype bool; expected pixels .*: {name} \* np.uint8\(255\)"),
    (PIXELS.astype(object), TypeError, "has dtype object; expected pixels as bytes"),
    (PIXELS.astype(complex), TypeError, "has dtype complex128; expected pixels as bytes"),
    (PIXELS.tolist(), TypeError, r"is a list; expected a NumPy array .*: np.array\({name}, 'uint8'\)"),
    (None, TypeError, "is a NoneType; expected a NumPy array"),
    (FakeTensor(), TypeError, r"is a FakeTensor; expected a NumPy array \(N, H, W, C\) of bytes: {name}.numpy\(\)"),
    (np.ma.array(PIXELS), TypeError, "is a masked array"),
    (PIXELS.transpose(0, 3, 1, 2), ValueError, r"has shape \(6, 3, 8, 9\); expected \(N, H, W, C\), channels last: "
     r"{name}.transpose\(0, 2, 3, 1\)"),
    (PIXELS[..., :1].transpose(0, 3, 1, 2), ValueError, r"\(6, 1, 8, 9\); .*: {name}.transpose\(0, 2, 3, 1\)"),
    (PIXELS[..., 0], ValueError, r"\(6, 8, 9\); .*: for grey images, {name}\[..., None\]"),
    (PIXELS[0], ValueError, r"\(8, 9, 3\); .*: for one image, {name}\[None\]"),
    (PIXELS.reshape(6, -1), ValueError, r"\(6, 216\); .*: for flat images, {name}.reshape\(N, H, W, C\)"),
    (PIXELS[None], ValueError, r"has shape \(1, 6, 8, 9, 3\); expected \(N, H, W, C\), channels last$"),
    (PIXELS[:, :0], ValueError, r"has shape \(6, 0, 9, 3\); expected images of at least 1 pixel"),
    (PIXELS[..., :0], ValueError, r"has shape \(6, 8, 9, 0\); expected images of at least 1 pixel and 1 channel"),
    (PIXELS[:0], ValueError, r"has no images; expected at least 1|got 0 images; expected at least 1"),
]  # fmt: skip


@pytest.mark.parametrize("which", ["train_images", "test_images", "Images", "Normalisation"])
@pytest.mark.parametrize(("images", "error", "message"), WRONG_IMAGES)
def test_images_that_are_not_bytes_in_four_axes_are_refused(which, images, error, message):
    normalise = Normalisation(np.zeros(3), np.ones(3))
    name = which if which.endswith("images") else "images"
    if which == "Images" and "got 0" in message:  # as many labels as images, none
        return
    calls = {"Images": lambda: Images(images, LABELS, normalise), "Normalisation": lambda: Normalisation.of(images)}
    with pytest.raises(error, match=message.replace("{name}", name)) as caught:
        calls.get(which, lambda: replace(GOOD, **{which: images}))()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


WRONG_LABELS = [
    (LABELS[:5], ValueError, r"have shape \(5,\); expected \(6,\), one for each image$"),
    (LABELS[:0], ValueError, r"have shape \(0,\); expected \(6,\)"),
    (LABELS[:, None], ValueError, r"have shape \(6, 1\); expected \(6,\), one for each image: {name}.ravel\(\)"),
    (np.eye(3, dtype=int)[LABELS], ValueError, r"have shape \(6, 3\); .*: {name}.argmax\(1\)"),
    (LABELS.astype(float), TypeError, r"are float64; expected an array of integers, 0 to \d+: {name}.astype\(int\)"),
    (LABELS + 0.5, TypeError, r"are float64; expected an array of integers, 0 to \d+$"),
    (LABELS == 1, TypeError, r"are bool; .*: {name}.astype\(int\)"),
    (LABELS.tolist(), TypeError, r"are list; .*: np.array\({name}\)"),
    (np.array(["cat", "dog"] * 3), TypeError, r"are <U3; .*: classes, {name} = np.unique\({name}, return_inver"),
    (np.array(["cat", "dog"] * 3, object), TypeError, r"are object; .*np.unique\({name}, return_inverse=True\)"),
    (None, TypeError, "are NoneType; expected an array of integers"),
    (LABELS - 1, ValueError, r"\[0\] is -1; expected 0 to "),
    (np.ma.array(LABELS), TypeError, "is a masked array"),
]  # fmt: skip


@pytest.mark.parametrize("which", ["train_labels", "Images"])
@pytest.mark.parametrize(("labels", "error", "message"), WRONG_LABELS)
def test_labels_that_do_not_fit_are_refused(which, labels, error, message):
    if which == "Images" and getattr(labels, "ndim", 0) == 2 and labels.shape[1] == 3:
        message = "have shape"  # Images does not know the number of classes
    calls = {
        "Images": lambda: Images(PIXELS, labels, Normalisation(np.zeros(3), np.ones(3))),
        "train_labels": lambda: replace(GOOD, train_labels=labels),
    }
    with pytest.raises(error, match=message.replace("{name}", "labels" if which == "Images" else which)):
        calls[which]()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"train_labels": LABELS + 1}, ValueError, r"train_labels\[2\] is 3; expected 0 to 2, for the 3 names in "
         "classes: train_labels - 1"),
        ({"test_labels": LABELS}, ValueError, r"test_labels have shape \(6,\); expected \(4,\), one for each image"),
        ({"classes": ("cat", "dog")}, ValueError, r"train_labels\[2\] is 2; expected 0 to 1, for the 2 names in"),
        ({"classes": ()}, ValueError, r"classes is \(\); expected the names of at least 2 classes"),
        ({"classes": ("cat",)}, ValueError, r"classes is \('cat',\); expected the names of at least 2 classes"),
        ({"classes": "cat"}, TypeError, "classes is 'cat'; expected the names of the classes, such as"),
        ({"classes": 3}, TypeError, "classes is 3; expected the names of the classes"),
        ({"classes": (0, 1, 2)}, TypeError, r"classes\[0\] is 0; expected a name, as text: '0'"),
        ({"classes": ("cat", "", "dog")}, ValueError, r"classes\[1\] is ''; expected a name"),
        ({"classes": ("cat", "dog", "cat")}, ValueError, r"classes\[0\] and classes\[2\] are both 'cat'; expected"),
        ({"test_images": PIXELS[:4, :7]}, ValueError, "test_images are 7x9x3 and train_images 8x9x3; expected one"),
        ({"test_images": PIXELS[:4, ..., :1]}, ValueError, "test_images are 8x9x1 and train_images 8x9x3"),
        ({"name": None}, TypeError, "name is None; expected text"),
        ({"source": 3}, TypeError, "source is 3; expected text"),
        ({"augment": "no"}, TypeError, "augment is 'no'; expected True or False"),
    ],
)  # fmt: skip
def test_other_faults_of_a_data_set(change, error, message):
    with pytest.raises(error, match=message):
        replace(GOOD, **change)


def test_what_is_unambiguous_is_accepted():
    made = replace(GOOD, classes=np.array(["cat", "dog", "ship"]), train_labels=LABELS.astype(np.uint8))
    assert made.classes == ("cat", "dog", "ship")
    assert all(type(name) is str for name in made.classes)
    assert made.train_labels.dtype == np.int64
    assert made.train_images is PIXELS
    assert check_images("images", PIXELS[:, :1]) == (6, 1, 9, 3)
    replace(GOOD, train_images=PIXELS[:, :3, :3], test_images=PIXELS[:4, :3, :3])
    spectral = RNG.integers(0, 256, (6, 8, 9, 13), np.uint8)
    replace(GOOD, train_images=spectral, test_images=spectral[:4])


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ([0.5], [0.0]),
        ([0.5], [-1]),
        ([0.5], [np.nan]),
        ([0.5, 0.5], [1]),
        (0.5, 1),
        ([], []),
        ("a", "b"),
        ([[0.5]], [[1]]),
        ([np.inf], [1]),
    ],
)
def test_a_normalisation_has_a_positive_std_for_each_mean(mean, std):
    with pytest.raises(ValueError, match=r"expected a (finite number for each channel|positive std for each mean)"):
        Normalisation(mean, std)


def test_only_bytes_with_as_many_channels_are_normalised():
    normalise = Normalisation([0.5] * 3, [0.2] * 3)
    with pytest.raises(TypeError, match=r"images has dtype float64, .*: \(images \* 255\).round\(\).astype\('uint8'\)"):
        normalise(PIXELS / 255)
    with pytest.raises(
        ValueError, match=r"images have shape \(6, 8, 9, 1\); expected 3 channels, last, as in the norm"
    ):
        normalise(PIXELS[..., :1])
    with pytest.raises(ValueError, match=r"3 channels, last, .*: images.transpose\(0, 2, 3, 1\)"):
        normalise(PIXELS.transpose(0, 3, 1, 2)[..., :2])


def test_the_mean_and_the_std_do_not_depend_on_how_many_images_are_counted_at_a_time():
    images = RNG.integers(0, 256, (5, 700, 800, 2), np.uint8)
    found = Normalisation.of(images)
    x = np.stack([images[..., c].ravel() for c in range(2)]) / 255.0  # contiguous, for NumPy's sums by pairs
    np.testing.assert_allclose(found.mean, x.mean(1), rtol=1e-12)
    np.testing.assert_allclose(found.std, x.std(1), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "side", "tested"), [(1, 8, 6), (2, 8, 1), (13, 8, 4), (3, 1, 2), (4, 9, 1)])
def test_a_run_on_images_of_any_channels_and_size_ends_with_its_figures(tmp_path, channels, side, tested):
    pytest.importorskip("matplotlib")
    images = RNG.integers(0, 256, (6, side, side + 1, channels), np.uint8)
    own = replace(GOOD, train_images=images, test_images=images[:tested], test_labels=LABELS[:tested])
    out = io.StringIO()
    run = train(own, configure(own, model="se_resnet8", epochs=1, device="cpu", out=str(tmp_path / "run")), out)
    assert run.result["test_images"] == tested
    assert (tmp_path / "run" / "curves.png").is_file()
    write_report(tmp_path / "run", own)


@pytest.mark.parametrize("source", [None, 5, b"cifar10", ["cifar10"]])
def test_a_data_set_is_loaded_by_name_or_folder(source):
    with pytest.raises(TypeError, match=r"the data set is .*; expected the name or the folder of one"):
        load(source)


def test_only_data_sets_are_trained_on(tmp_path):
    config = Config(model="se_resnet8", epochs=1, lr=0.1, augment=False, out=str(tmp_path / "run"))
    for other in (None, "builtin", (PIXELS, LABELS), {"train_images": PIXELS}):
        for call in (lambda other=other: train(other, config), lambda other=other: configure(other)):
            with pytest.raises(TypeError, match=r"the data set is a \w+; expected a Dataset: Dataset\(name, classes,"):
                call()
    with pytest.raises(ValueError, match="own has 1 training image; expected at least 2, because some are held out"):
        train(replace(GOOD, train_images=PIXELS[:1], train_labels=LABELS[:1]), config)
    assert not (tmp_path / "run").exists()


BOXES = Boxes([[0, 0, 3, 4], [1, 1, 5, 5]], [1, 0], [0, 3])
DETECTION = replace(GOOD, objects=("car", "tree"), train_boxes=BOXES, test_boxes=BOXES)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"objects": ("car", "car")}, r"objects is \('car', 'car'\); expected the names"),
        ({"objects": ()}, r"objects is \(\); expected the names"),
        ({"objects": ("car",)}, "classes of train_boxes contain 1; expected 0 to 0"),
        ({"test_boxes": None}, r"test_boxes is None; expected Boxes\(corners, classes, images\)"),
        ({"test_images": PIXELS[:3], "test_labels": LABELS[:3]}, "images of test_boxes contain 3; expected 0 to 2"),
    ],
)
def test_boxes_fit_the_images_and_the_objects(given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        replace(DETECTION, **given)


def test_the_digest_covers_boxes():
    moved = Boxes(BOXES.corners + np.float32(0.5), BOXES.classes, BOXES.images)
    others = [GOOD, replace(DETECTION, test_boxes=moved), replace(DETECTION, objects=("bus", "tree"))]
    assert len({digest(one) for one in (DETECTION, *others)}) == 4
