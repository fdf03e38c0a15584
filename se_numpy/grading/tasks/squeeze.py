"""Eq. (2) and its gradient."""

import numpy as np

from se_numpy import se
from se_numpy.grading.task import Mistake, Special, Task

SIZES = {"N": (2, 4), "H": (3, 7), "W": (3, 7), "C": (2, 8)}
SPECIALS = (
    Special("one image", {"N": 1}),
    Special("one channel", {"C": 1}),
    Special("maps of one pixel", {"H": 1, "W": 1}),
    Special("one row", {"H": 1}),
    Special("square maps", {"H": 4, "W": 4}),
)


def _squeeze(U):
    return U.mean((1, 2))


squeeze = Task(
    signature="squeeze(U) -> z",
    equation="Eq. (2): z_c = 1/(HW) Σ_i Σ_j u_c(i, j)",
    title="Squeeze: the mean of every channel",
    oracle=se.squeeze,
    axes="U: N H W C, z: N C",
    sizes=SIZES,
    fill={"U": "maps"},
    specials=SPECIALS,
    points=1,
    likely=("sum", "largest pixel", "mean over the batch too", "channels and pixels mixed", "height alone"),
    mistakes=(
        Mistake("largest pixel", "This is exactly what max pooling gives; Eq. (2) is the mean.",
                lambda U: U.max((1, 2))),
        Mistake("sum", "The sum of all pixels: Eq. (2) divides it by H·W.", lambda U: U.sum((1, 2))),
        Mistake("mean over the batch too", "Every image has a descriptor of its own; the batch is no axis to average "
                "over.", lambda U: np.broadcast_to(U.mean((0, 1, 2)), (len(U), U.shape[-1]))),
        Mistake("channels and pixels mixed", "reshape(N, C, H·W) leaves the numbers in their order, in which channels "
                "come last: it takes a transpose to bring them forward.",
                lambda U: U.reshape(len(U), U.shape[3], -1).mean(2)),
        Mistake("height alone", "Averaged down the columns and cut to one of them: Eq. (2) runs over i and j.",
                lambda U: U.mean(1)[:, 0]),
        Mistake("width alone", "Averaged along the rows and cut to one of them: Eq. (2) runs over i and j.",
                lambda U: U.mean(2)[:, 0]),
        Mistake("divided by H·H", "Divided by H², which is H·W on square maps only.",
                lambda U: U.sum((1, 2)) / U.shape[1] ** 2),
        Mistake("divided by W·W", "Divided by W², which is H·W on square maps only.",
                lambda U: U.sum((1, 2)) / U.shape[2] ** 2),
        Mistake("divided by H·W·C", "Divided by all numbers of an image; a channel has H·W.",
                lambda U: U.sum((1, 2)) / U[0].size),
        Mistake("divided by N·H·W", "Divided by N·H·W; a channel of one image has H·W pixels.",
                lambda U: U.sum((1, 2)) / U[..., 0].size),
        Mistake("standard deviation", "The spread of each channel; Eq. (2) is its mean.", lambda U: U.std((1, 2))),
        Mistake("mean of the magnitudes", "The mean of |u|: Eq. (2) keeps the sign.", lambda U: np.abs(U).mean((1, 2))),
        Mistake("mean of the positive part", "A ReLU before the mean: Eq. (2) averages what is there.",
                lambda U: np.maximum(U, 0).mean((1, 2))),
        Mistake("median", "The median; Eq. (2) is the mean.", lambda U: np.median(U, (1, 2))),
        Mistake("mean of every map's rows and channels", "Averaged over H and C and cut to a row of pixels: channels "
                "are the last axis.", lambda U: np.resize(U.mean((1, 3)), (len(U), U.shape[-1]))),
    ),
    written=_squeeze,
    alternates=(
        _squeeze,
        lambda U: np.einsum("nhwc->nc", U) / (U.shape[1] * U.shape[2]),
        lambda U: U.reshape(len(U), -1, U.shape[-1]).sum(1) / U[0, :, :, 0].size,
        lambda U: U.mean(2).mean(1),
        lambda U: np.array([[sum(u[i, j, c] for i in range(u.shape[0]) for j in range(u.shape[1])) / u[:, :, 0].size
                             for c in range(u.shape[2])] for u in U]),
    ),
)  # fmt: skip

squeeze_backward = Task(
    signature="squeeze_backward(dz, U) -> dU",
    equation="Eq. (2): z_c = 1/(HW) Σ_i Σ_j u_c(i, j), differentiated",
    title="The gradient of the squeeze",
    oracle=se.squeeze_backward,
    forward=se.squeeze,
    axes="dz: N C, U: N H W C, dU: N H W C",
    sizes=SIZES,
    fill={"U": "maps"},
    specials=SPECIALS,
    points=1,
    likely=("without 1/(HW)", "times U", "1/(N·H·W)", "to the largest pixel", "1/H alone"),
    mistakes=(
        Mistake("without 1/(HW)", "The whole gradient at every pixel: each has a share of 1/(HW) of the mean.",
                lambda dz, U: dz[:, None, None] + 0 * U),
        Mistake("to the largest pixel", "This is the gradient of max pooling; of a mean every pixel gets a share.",
                lambda dz, U: (U.max((1, 2), keepdims=True) == U) * dz[:, None, None]),
        Mistake("times U", "Multiplied by U: a mean is linear, its gradient does not depend on the pixels.",
                lambda dz, U: dz[:, None, None] * U / U[0, :, :, 0].size),
        Mistake("1/(N·H·W)", "Divided by the batch too; the loss has its 1/N already.",
                lambda dz, U: dz[:, None, None] / U[..., 0].size + 0 * U),
        Mistake("1/H alone", "A share of 1/H: a pixel is one of H·W.",
                lambda dz, U: dz[:, None, None] / U.shape[1] + 0 * U),
        Mistake("1/W alone", "A share of 1/W: a pixel is one of H·W.",
                lambda dz, U: dz[:, None, None] / U.shape[2] + 0 * U),
        Mistake("1/(H·H)", "A share of 1/H², which is 1/(HW) on square maps only.",
                lambda dz, U: dz[:, None, None] / U.shape[1] ** 2 + 0 * U),
        Mistake("1/(W·W)", "A share of 1/W², which is 1/(HW) on square maps only.",
                lambda dz, U: dz[:, None, None] / U.shape[2] ** 2 + 0 * U),
        Mistake("one pixel gets all", "Everything at the first pixel: each has its share.",
                lambda dz, U: np.pad(dz[:, None, None], ((0, 0), (0, U.shape[1] - 1), (0, U.shape[2] - 1), (0, 0)))),
        Mistake("ones for dz", "The gradient that arrives was ignored, as if dz were 1 everywhere.",
                lambda dz, U: 1 / U[0, :, :, 0].size + 0 * U),
        Mistake("sign", "The sign is wrong.", lambda dz, U: -dz[:, None, None] / U[0, :, :, 0].size + 0 * U),
    ),
    alternates=(
        lambda dz, U: dz[:, None, None] / U[0, :, :, 0].size + 0 * U,
        lambda dz, U: np.repeat(np.repeat(dz[:, None, None], U.shape[1], 1), U.shape[2], 2) / U.shape[1] / U.shape[2],
        lambda dz, U: np.einsum("nc,hw->nhwc", dz, np.full(U.shape[1:3], 1 / U[0, :, :, 0].size, dz.dtype)),
    ),
)  # fmt: skip

TASKS = (squeeze, squeeze_backward)
