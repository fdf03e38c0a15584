"""What every data set looks like to the trainer: images as bytes, labels as integers, channels last."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Dataset:
    """Images (N, H, W, C) uint8 and labels (N,) int64, for training and for the one test at the end.

    ``augment`` says whether random crops and flips keep a label true: they do for photographs, they do not where
    the label depends on a place. ``source`` is one line for people: where the images came from.
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    augment: bool
    source: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of one image."""
        return self.train_images.shape[1:]
