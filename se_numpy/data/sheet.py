"""Draw a sheet of samples: a row of training images for each class."""

from pathlib import Path
from typing import Any

import numpy as np

from se_numpy.arrays import occurrences
from se_numpy.data.dataset import Dataset
from se_numpy.data.images import displayable

MAKER = "se-numpy data show"
COLUMNS = 10
ROWS = 40  # classes on a sheet
INCH = 0.7  # the side of an image on the sheet


def draw_sheet(dataset: Dataset, columns: int = COLUMNS) -> Any:
    """Return a matplotlib figure with the first training images of each class, under its name and their number."""
    from matplotlib.figure import Figure

    classes = dataset.classes[:ROWS]
    counts = occurrences(dataset.train_labels, len(dataset.classes))
    figure = Figure(figsize=(INCH * columns + 2.2, INCH * len(classes) + 0.5), layout="compressed")
    grid = figure.subplots(len(classes), columns, squeeze=False)
    for label, (name, axes) in enumerate(zip(classes, grid, strict=True)):
        rows = np.flatnonzero(dataset.train_labels == label)[:columns]
        for one in axes:
            one.set(xticks=[], yticks=[])
            one.spines[:].set_visible(False)
        for row, one in zip(rows, axes, strict=False):
            one.imshow(displayable(dataset.train_images[row]), cmap="gray", vmin=0, vmax=255)
        text = f"{name[:24].replace('$', '')}\n{counts[label]:,}"
        axes[0].set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9)
    left = len(dataset.classes) - len(classes)
    more = f"; {left:,} more classes" if left else ""
    size = "x".join(map(str, dataset.image_shape))
    figure.suptitle(f"{dataset.name}: training images by class, {size}{more}".replace("$", ""), fontsize=10)
    return figure


def check_output(path: Path) -> None:
    """Raise ValueError unless a sheet may be written here: another file is never replaced."""
    if path.suffix.lower() != ".png" or not path.parent.is_dir():
        raise ValueError(f"--out is {str(path)!r}; expected the name of a .png file in an existing folder")
    if path.exists() and not (path.is_file() and MAKER.encode() in path.read_bytes()[:4096]):
        raise ValueError(f"{path} already exists and was not made by {MAKER}; give --out another name")


def write_sheet(dataset: Dataset, path: Path) -> None:
    """Draw the sheet to a PNG file.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    OSError
        If the file cannot be written.
    """
    draw_sheet(dataset).savefig(path, dpi=130, metadata={"Software": MAKER})
