"""Truth and detections as drawn cases, and their average precision by pycocotools, which only `pycocotools` imports."""

import contextlib
import io

import numpy as np

from se_numpy.data.boxes import Boxes
from se_numpy.detection import Detections


def drawn(seed: int, *, classes: int = 3, pictures: int = 12, grid: int = 1) -> tuple[Boxes, Detections]:
    """Draw objects, some of them crowds, and detections near them, many with equal scores or overlaps."""
    rng = np.random.default_rng(seed)
    M = int(rng.integers(0, 5 * pictures))
    images = np.sort(rng.integers(0, pictures, M))
    corners = _boxes(rng, M, grid)
    near = np.flatnonzero(rng.random(M) < 0.8)
    near = np.sort(rng.choice(near, 2 * len(near))) if len(near) else near
    shifted = corners[near] + grid * rng.integers(-3, 4, (len(near), 4)) * (rng.random((len(near), 1)) < 0.7)
    shifted[:, 2:] = np.maximum(shifted[:, 2:], shifted[:, :2] + grid)
    stray = int(rng.integers(0, 2 * pictures))
    where = np.concatenate([images[near], rng.integers(0, pictures, stray)])
    found = np.concatenate([shifted, _boxes(rng, stray, grid)])
    kinds = rng.integers(0, classes, M)
    guesses = np.concatenate([np.where(rng.random(len(near)) < 0.8, kinds[near], 0), rng.integers(0, classes, stray)])
    scores = rng.choice([0.1, 0.3, 0.5, 0.9], len(where)) if seed % 2 else rng.random(len(where))
    order = np.argsort(where, kind="stable")
    areas = np.prod(corners[:, 2:] - corners[:, :2], axis=1) * rng.choice([0.6, 1.0], M)
    truth = Boxes(corners, kinds, images, rng.random(M) < 0.15, areas)
    return truth, Detections(found[order], scores[order], guesses[order], where[order])


def _boxes(rng: np.random.Generator, n: int, grid: int) -> np.ndarray:
    first = rng.integers(0, 60, (n, 2))
    return grid * np.concatenate([first, first + rng.integers(1, 20, (n, 2))], 1).astype(float)


def pycocotools(truth: Boxes, found: Detections, classes: int, thresholds, areas, most: int):
    """Return the precision (T, 101, K, A) and the recall (T, K, A) by pycocotools, with NaN for no objects."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(corners):
        corners = corners.astype(float)
        return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).tolist()

    pictures = 1 + max([*truth.images.tolist(), *found.images.tolist(), 0])
    annotations = [
        {"id": n + 1, "image_id": int(i), "category_id": int(k), "bbox": box, "area": float(a), "iscrowd": int(c)}
        for n, (i, k, box, a, c) in enumerate(
            zip(truth.images, truth.classes, rows(truth.corners), truth.areas, truth.crowd, strict=True)
        )
    ]
    results = [
        {"image_id": int(i), "category_id": int(k), "bbox": box, "score": float(s)}
        for i, k, box, s in zip(found.images, found.classes, rows(found.corners), found.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": [{"id": i} for i in range(pictures)], "annotations": annotations,
                        "categories": [{"id": k} for k in range(classes)]}  # fmt: skip
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results) if results else COCO(), "bbox")
        p = evaluation.params
        p.imgIds, p.catIds, p.maxDets = list(range(pictures)), list(range(classes)), [most]
        p.iouThrs, p.areaRng, p.areaRngLbl = np.asarray(thresholds), [list(a) for a in areas.values()], list(areas)
        if not results:
            evaluation.cocoDt.dataset = {"images": coco.dataset["images"], "annotations": [], "categories": []}
            evaluation.cocoDt.createIndex()
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"][..., 0], evaluation.eval["recall"][..., 0]
    return np.where(precision < 0, np.nan, precision), np.where(recall < 0, np.nan, recall)
