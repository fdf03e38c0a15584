"""Pictures to look at: a boat that is drawn here, and photographs where the reader has some.

CIFAR's makers state no licence, so no picture of theirs is part of this project.
"""

import os

import numpy as np

from se_numpy.data import Dataset, load_cifar

SHOTS = "SE_NUMPY_DATA"  # this environment variable names a folder with CIFAR-10 or -100


def boat() -> np.ndarray:
    """A sailing boat at sunset: (48, 72, 3) uint8."""
    H, W = 48, 72
    i, j = np.mgrid[:H, :W].astype(float)
    red = np.stack([200 + i, 120 + 2 * i, 110 - i], -1)  # a sky that is brighter towards the horizon
    image = np.where((i < 32)[..., None], red, np.stack([30 + 0 * i, 80 - i / 2, 130 - i], -1))
    glitter = (i >= 32) & ((j - 14 + 3 * np.sin(2.1 * i)) ** 2 < 12) & (i % 3 == 0)
    for where, colour in (
        ((i - 22) ** 2 + (j - 14) ** 2 < 42, (255, 236, 160)),  # the sun
        (glitter, (250, 190, 110)),
        ((i > 6) & (i < 34) & (j > 43.2) & (j < 45), (70, 45, 30)),  # the mast
        ((i > 7) & (i < 31) & (j >= 46) & (j - 46 < (i - 7) * 0.75), (250, 248, 240)),  # two sails
        ((i > 10) & (i < 31) & (j <= 42) & (42 - j < (i - 10) * 0.6), (222, 70, 60)),
        ((i > 32) & (i < 40) & (j > 25 + 1.2 * (i - 32)) & (j < 66 - 1.2 * (i - 32)), (92, 52, 34)),  # the hull
    ):
        image[where] = colour
    return image.clip(0, 255).astype(np.uint8)


def photographs() -> Dataset | None:
    """CIFAR from the folder that the environment variable SE_NUMPY_DATA names; None where it names none.

    Raises DataError where there is something else in the folder.
    """
    folder = os.environ.get(SHOTS)
    return load_cifar(folder) if folder else None
