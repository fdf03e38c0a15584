"""Describe a data set in one line: its classes, counts and image sizes, and whether the classes are imbalanced."""

from se_numpy.arrays import occurrences
from se_numpy.data.dataset import Dataset
from se_numpy.wrapping import plural

NAMED = 10  # classes that are listed by name
UNBALANCED = 1.5  # the ratio of the largest to the smallest class from which it is reported


def describe(dataset: Dataset) -> str:
    """Return the classes, the numbers of images and their size, then what was found in the files and left out."""
    names = ", ".join(dataset.classes[:NAMED]) + (", …" if len(dataset.classes) > NAMED else "")
    size = "x".join(map(str, dataset.image_shape))
    train, test = len(dataset.train_labels), len(dataset.test_labels)
    words = f"{len(dataset.classes)} classes ({names}), {train:,} + {plural(test, 'test image')} {size}"
    return "; ".join(word for word in (words, dataset.found) if word)


def imbalance(dataset: Dataset) -> str:
    """Say that the classes have different numbers of training images, or return "" if they are about equal."""
    counts = occurrences(dataset.train_labels, len(dataset.classes))
    least, most = int(counts.argmin()), int(counts.argmax())
    if counts[most] <= UNBALANCED * counts[least]:
        return ""
    single = [name for name, n in zip(dataset.classes, counts, strict=True) if n == 1]
    few = f"; {', '.join(single[:NAMED])} ha{'s' if len(single) == 1 else 've'} only 1" if single else ""
    return (
        f"the classes are imbalanced: {plural(int(counts[least]), 'training image')} of {dataset.classes[least]} to "
        f"{counts[most]:,} of {dataset.classes[most]}{few if counts[least] != 1 or len(single) > 1 else ''}; accuracy "
        "mostly measures the large classes (`se-numpy evaluate` shows each class)"
    )
