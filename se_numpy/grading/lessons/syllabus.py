"""The syllabus: the tutorials and the functions to write in each, in order."""

from collections.abc import Sequence
from typing import NamedTuple


class Lesson(NamedTuple):
    """A tutorial with exercises."""

    number: int
    title: str
    file: str  # in the folder tutorials, without its extension
    tasks: tuple[str, ...]

    @property
    def heading(self) -> str:
        return f"Tutorial {self.number}. {self.title}"

    @property
    def files(self) -> tuple[str, str]:
        """The notebook to read and the script to run, relative to the repository."""
        return f"tutorials/{self.file}.ipynb", f"tutorials/{self.file}.py"


LESSONS = (
    Lesson(1, "Look at images as arrays", "01_images_as_arrays", ("squeeze", "scale")),
    Lesson(2, "Convolve an image", "02_convolve", ("conv2d",)),
    Lesson(3, "Send gradients back through a convolution", "03_gradients_through_convolution",
           ("relu_backward", "conv2d_backward")),
    Lesson(4, "Test a gradient", "04_test_a_gradient", ("squeeze_backward", "scale_backward")),
    Lesson(5, "Normalise the maps", "05_normalise", ("batch_norm", "batch_norm_backward")),
    Lesson(6, "Rectify, pool, classify", "06_rectify_pool_classify", ("relu", "max_pool2d", "softmax_cross_entropy")),
    Lesson(7, "Squeeze, excite, scale", "07_squeeze_excite_scale", ("excite", "se_block")),
    Lesson(8, "Differentiate the block", "08_differentiate_the_block", ("excite_backward", "se_block_backward")),
    Lesson(9, "Assemble a network and count it", "09_assemble_and_count", ("residual_block",)),
    Lesson(10, "Train it", "10_train", ("sgd_momentum", "se_resnet_step")),
)  # fmt: skip


def lessons(numbers: Sequence[int] = ()) -> tuple[Lesson, ...]:
    """Return the lessons with these numbers, in the order of the syllabus; by default, all lessons.

    Raises
    ------
    ValueError
        If a number is not that of a tutorial with exercises.
    """
    known = [lesson.number for lesson in LESSONS]
    for number in numbers:
        if number not in known:
            raise ValueError(f"tutorial {number} has no exercises; expected numbers from {known[0]} to {known[-1]}")
    return tuple(lesson for lesson in LESSONS if not numbers or lesson.number in numbers)
