"""Boxes in COCO's format: read, moved with the crop of the images, and written as results."""

import json

import numpy as np
import pytest

from se_numpy import data
from se_numpy.analysis.detection import coco_results
from se_numpy.data import DataError
from se_numpy.data.coco_files import fitted, identifiers
from se_numpy.detection import Detections

image_module = pytest.importorskip("PIL.Image")


def written(folder, name="own.json", n=5, **changes):
    """Write n pictures of 40 x 60 pixels with a white rectangle, and their annotations; return the file."""
    (folder / "images").mkdir(exist_ok=True, parents=True)
    rng = np.random.default_rng(len(name))
    images, annotations = [], []
    for i in range(n):
        x, y, w, h = (int(v) for v in (rng.integers(12, 30), rng.integers(2, 20), 14, 12))
        pixels = np.zeros((40, 60, 3), np.uint8)
        pixels[y : y + h, x : x + w] = 255
        image_module.fromarray(pixels).save(folder / "images" / f"{name}{i}.png")
        images.append({"id": 70 + i, "file_name": f"{name}{i}.png", "height": 40, "width": 60})
        annotations.append({"id": i + 1, "image_id": 70 + i, "category_id": [3, 9][i % 2], "bbox": [x, y, w, h],
                            "area": w * h / 2, "iscrowd": int(i == 3)})  # fmt: skip
    found = {"images": images, "annotations": annotations,
             "categories": [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}]}  # fmt: skip
    (folder / name).write_text(json.dumps(found | changes))
    return folder / name


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_boxes_are_where_the_pixels_are(tmp_path):
    dataset = data.load(written(tmp_path), size=20)
    assert dataset.objects == ("cat", "dog")
    assert dataset.classes == ("cat", "dog", "no object")
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (4, 1)
    assert "one in five images for the test; 4 + 1 boxes of 2 classes" in dataset.found
    for images, boxes in (
        (dataset.train_images, dataset.train_boxes),
        (dataset.test_images, dataset.test_boxes),
    ):
        for corners, i in zip(boxes.corners, boxes.images, strict=True):
            rows, columns = np.nonzero(images[i, ..., 0] > 127)
            edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert np.abs(edges - corners).max() <= 1
    assert dataset.train_boxes.crowd.sum() + dataset.test_boxes.crowd.sum() == 1
    np.testing.assert_allclose(dataset.train_boxes.areas.max(), 14 * 12 / 2 / 4)  # half the size, a mask of one half


def test_test_images_are_those_of_the_file_with_val(tmp_path):
    file = written(tmp_path, "instances_train.json")
    written(tmp_path, "instances_val.json", n=3)
    dataset = data.load(file, size=20)
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (5, 3)
    assert "test images from instances_val.json" in dataset.found


def test_results_are_in_the_pixels_of_the_files(tmp_path):
    dataset = data.load(written(tmp_path), size=20)
    boxes = dataset.test_boxes
    rows = coco_results(Detections(boxes.corners, [0.5], boxes.classes, boxes.images), **identifiers(dataset))
    annotations = json.loads((tmp_path / "own.json").read_text())["annotations"]
    (true,) = [row for row in annotations if row["image_id"] == rows[0]["image_id"]]
    np.testing.assert_allclose(rows[0]["bbox"], true["bbox"], atol=1e-4)
    assert rows[0]["category_id"] == true["category_id"]
    assert rows[0]["score"] == 0.5
    assert identifiers(data.builtin(train=10, test=10)) == {}


@pytest.mark.parametrize(("height", "width", "shape"), [(40, 60, (20, 20)), (60, 40, (20, 20)), (30, 30, (24, 48))])
def test_a_crop_is_that_of_the_images(height, width, shape):
    from se_numpy.data.images import fit

    scale, left, top = fitted(height, width, shape)
    ramp = np.tile(np.arange(width, dtype=np.uint8), (height, 1))
    centre = np.array(fit(image_module.fromarray(ramp), *shape, "bilinear"), float)[:, shape[1] // 2]
    assert abs(centre.mean() - ((shape[1] // 2 + 0.5) / scale + left - 0.5)) < 0.6
    assert top == max(0, (height - shape[0] / scale) / 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [], "annotations": []}, "has 0 images and 2 categories; expected some"),
        ({"annotations": 1}, "is not a file of COCO's format; expected an object with images, annotations, categ"),
        ({"annotations": [{"id": 4, "image_id": 70, "category_id": 5, "bbox": [0, 0, 1, 1]}]}, "annotation 4 has bbox"),
        ({"annotations": [{"id": 4, "image_id": 7, "category_id": 3, "bbox": [0, 0, 1, 1]}]}, "KeyError 7"),
        ({"images": [{"id": 1}]}, "KeyError 'file_name'"),
        ({"images": 2 * [{"id": 70, "file_name": "a.png", "height": 4, "width": 4}], "annotations": []},
         "several images with the id 70"),
    ],
)  # fmt: skip
def test_a_file_with_a_fault_is_refused(tmp_path, changes, message):
    file = written(tmp_path, **changes)
    with pytest.raises(DataError, match=message):
        data.load(file, size=20)


def test_a_file_that_is_not_json_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(DataError, match=r"x.json is not valid JSON"):
        data.load(tmp_path / "x.json")
