"""Object detection by CenterNet: targets from boxes, boxes from the network's maps, and average precision."""

from se_numpy.detection.average_precision import COCO_AREAS, AveragePrecision, average_precision
from se_numpy.detection.decoding import decode
from se_numpy.detection.detections import Detections
from se_numpy.detection.overlap import iou, suppress
from se_numpy.detection.targets import Targets, encode, gaussian_radius

__all__ = [
    "COCO_AREAS",
    "AveragePrecision",
    "Detections",
    "Targets",
    "average_precision",
    "decode",
    "encode",
    "gaussian_radius",
    "iou",
    "suppress",
]
