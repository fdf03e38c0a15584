"""Cases on which implementations of average precision differ: ties, crowds, areas at a limit, and empty sets."""

import numpy as np

from se_numpy.data.boxes import Boxes
from se_numpy.detection import Detections

AREAS = {"all": (0.0, 1e10), "small": (0.0, 100.0), "large": (100.0, 1e10)}  # an area of 100 is in both


def case(objects: list[tuple], found: list[tuple]) -> tuple[Boxes, Detections]:
    """Return objects (x0, y0, x1, y1, class, picture, crowd) and detections (x0, y0, x1, y1, class, picture, score)."""
    truth, boxes = (np.array(rows, float).reshape(-1, 7) for rows in (objects, found))
    kinds, pictures = truth[:, 4].astype(int), truth[:, 5].astype(int)
    return (
        Boxes(truth[:, :4], kinds, pictures, truth[:, 6] > 0),
        Detections(boxes[:, :4], boxes[:, 6], boxes[:, 4], boxes[:, 5]),
    )


A, B = (0, 0, 10, 10), (20, 0, 40, 10)  # areas 100 and 200
CASES = {
    "equal scores": case([(*A, 0, 0, 0), (*B, 0, 1, 0)], [(*A, 0, 0, 0.5), (*B, 0, 0, 0.5), (*B, 0, 1, 0.5)]),
    "two detections of one object": case([(*A, 0, 0, 0)], [(0, 0, 10, 9, 0, 0, 0.9), (*A, 0, 0, 0.8)]),
    "overlap of exactly one half": case([(*A, 0, 0, 0)], [(0, 0, 10, 5, 0, 0, 0.9), (0, 0, 20, 10, 0, 0, 0.8)]),
    "equal overlaps with two objects": case(
        [(0, 0, 10, 10, 0, 0, 0), (10, 0, 20, 10, 0, 0, 0)],
        [(5, 0, 15, 10, 0, 0, 0.9), (0, 0, 10, 10, 0, 0, 0.8), (0, 0, 20, 10, 0, 0, 0.7)],
    ),
    "the last of equal overlaps is taken": case(
        [(0, 0, 10, 10, 0, 0, 0), (4, 0, 14, 10, 0, 0, 0)], [(2, 0, 12, 10, 0, 0, 0.9), (4, 0, 14, 10, 0, 0, 0.8)]
    ),
    "a crowd takes many detections": case(
        [(0, 0, 40, 40, 0, 0, 1), (*B, 0, 0, 0)],
        [(0, 0, 9, 9, 0, 0, 0.9), (5, 5, 15, 15, 0, 0, 0.8), (*B, 0, 0, 0.7)],
    ),
    "an object outside the range is matched last": case(
        [(0, 0, 10, 10, 0, 0, 0), (0, 0, 10, 12, 0, 0, 0)], [(0, 0, 10, 11, 0, 0, 0.9), (0, 0, 10, 12, 0, 0, 0.8)]
    ),
    "more detections than count": case(
        [(*A, 0, 0, 0)], [(*B, 0, 0, 0.9), (*B, 0, 0, 0.8), (*B, 0, 0, 0.7), (*A, 0, 0, 0.6)]
    ),
    "another class and another picture": case([(*A, 0, 0, 0), (*B, 1, 1, 0)], [(*A, 1, 0, 0.9), (*B, 1, 0, 0.8)]),
    "objects without detections": case([(*A, 0, 0, 0), (*B, 1, 2, 0)], []),
    "detections without objects": case([], [(*A, 0, 0, 0.9)]),
    "only a crowd": case([(*A, 0, 0, 1)], [(*A, 0, 0, 0.9)]),
    "both classes, several pictures": case(
        [(*A, 0, 0, 0), (*B, 0, 0, 0), (*A, 1, 1, 0), (*B, 1, 2, 0), (1, 1, 6, 8, 0, 2, 0)],
        [(0, 1, 10, 10, 0, 0, 0.9), (20, 0, 38, 9, 0, 0, 0.3), (*B, 0, 0, 0.8), (1, 0, 9, 10, 1, 1, 0.7),
         (*B, 0, 2, 0.6), (21, 0, 40, 10, 1, 2, 0.4), (1, 1, 5, 8, 0, 2, 0.9)],
    ),
}  # fmt: skip
