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
    title="Squeeze: the mean of each channel",
    oracle=se.squeeze,
    axes="U: N H W C, z: N C",
    sizes=SIZES,
    fill={"U": "maps"},
    specials=SPECIALS,
    points=1,
    likely=("sum", "largest pixel", "mean over the batch too", "channels and pixels mixed", "height only"),
    mistakes=(
        Mistake("largest pixel", "The largest pixel of each channel was taken, as in max pooling; Eq. (2) is the "
                "mean.", lambda U: U.max((1, 2))),
        Mistake("sum", "The pixels were summed; Eq. (2) divides the sum by H·W.", lambda U: U.sum((1, 2))),
        Mistake("mean over the batch too", "The mean was taken over the batch too; every image has its own "
                "descriptor.", lambda U: np.broadcast_to(U.mean((0, 1, 2)), (len(U), U.shape[-1]))),
        Mistake("channels and pixels mixed", "reshape(N, C, H·W) mixes channels and pixels, because channels are the "
                "last axis; transpose before reshaping.", lambda U: U.reshape(len(U), U.shape[3], -1).mean(2)),
        Mistake("height only", "The mean was taken over one column only; Eq. (2) averages over i and j.",
                lambda U: U.mean(1)[:, 0]),
        Mistake("width only", "The mean was taken over one row only; Eq. (2) averages over i and j.",
                lambda U: U.mean(2)[:, 0]),
        Mistake("divided by H·H", "The sum was divided by H²; Eq. (2) divides by H·W, which is the same only for "
                "square maps.", lambda U: U.sum((1, 2)) / U.shape[1] ** 2),
        Mistake("divided by W·W", "The sum was divided by W²; Eq. (2) divides by H·W, which is the same only for "
                "square maps.", lambda U: U.sum((1, 2)) / U.shape[2] ** 2),
        Mistake("divided by H·W·C", "The sum was divided by H·W·C; a channel of one image has H·W pixels.",
                lambda U: U.sum((1, 2)) / U[0].size),
        Mistake("divided by N·H·W", "The sum was divided by N·H·W; a channel of one image has H·W pixels.",
                lambda U: U.sum((1, 2)) / U[..., 0].size),
        Mistake("standard deviation", "The standard deviation of each channel was taken; Eq. (2) is the mean.",
                lambda U: U.std((1, 2))),
        Mistake("mean of the absolute values", "The mean of |u| was taken; Eq. (2) keeps the sign.",
                lambda U: np.abs(U).mean((1, 2))),
        Mistake("mean of the positive part", "A ReLU was applied before the mean; Eq. (2) averages U itself.",
                lambda U: np.maximum(U, 0).mean((1, 2))),
        Mistake("median", "The median of each channel was taken; Eq. (2) is the mean.", lambda U: np.median(U, (1, 2))),
        Mistake("batch and height instead of height and width", "The mean was taken over axes 0 and 1, the batch and "
                "the height; height and width are axes 1 and 2.", lambda U: U.mean((0, 1))),
        Mistake("width and channels instead of height and width", "The mean was taken over axes 2 and 3, as for "
                "channels-first maps; here height and width are axes 1 and 2.", lambda U: U.mean((2, 3))),
        Mistake("mean over height and channels", "The mean was taken over the height and the channels; Eq. (2) "
                "averages over height and width.", lambda U: np.resize(U.mean((1, 3)), (len(U), U.shape[-1]))),
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
    likely=("without 1/(HW)", "times U", "1/(N·H·W)", "dz to the largest pixel", "1/H only"),
    mistakes=(
        Mistake("without 1/(HW)", "Every pixel got all of dz; the squeeze is a mean, so each pixel should get 1/(HW) "
                "of dz.", lambda dz, U: dz[:, None, None] + 0 * U),
        Mistake("dz to the largest pixel", "dz went to the largest pixel, as in max pooling; the squeeze is a mean, so "
                "each pixel should get 1/(HW) of dz.",
                lambda dz, U: (U.max((1, 2), keepdims=True) == U) * dz[:, None, None]),
        Mistake("times U", "The gradient was multiplied by U; a mean is linear, so its gradient does not depend on "
                "the pixels.", lambda dz, U: dz[:, None, None] * U / U[0, :, :, 0].size),
        Mistake("1/(N·H·W)", "Every pixel got 1/(N·H·W) of dz; it should get 1/(HW), because the loss already contains "
                "1/N.", lambda dz, U: dz[:, None, None] / U[..., 0].size + 0 * U),
        Mistake("1/H only", "Every pixel got 1/H of dz; it should get 1/(HW).",
                lambda dz, U: dz[:, None, None] / U.shape[1] + 0 * U),
        Mistake("1/W only", "Every pixel got 1/W of dz; it should get 1/(HW).",
                lambda dz, U: dz[:, None, None] / U.shape[2] + 0 * U),
        Mistake("1/(H·H)", "Every pixel got 1/H² of dz; it should get 1/(HW), which is the same only for square maps.",
                lambda dz, U: dz[:, None, None] / U.shape[1] ** 2 + 0 * U),
        Mistake("1/(W·W)", "Every pixel got 1/W² of dz; it should get 1/(HW), which is the same only for square maps.",
                lambda dz, U: dz[:, None, None] / U.shape[2] ** 2 + 0 * U),
        Mistake("dz to the first pixel", "The first pixel got all of dz; each pixel should get 1/(HW) of it.",
                lambda dz, U: np.pad(dz[:, None, None], ((0, 0), (0, U.shape[1] - 1), (0, U.shape[2] - 1), (0, 0)))),
        Mistake("dz ignored", "The upstream gradient dz was taken as 1 everywhere; each pixel should get 1/(HW) of dz.",
                lambda dz, U: 1 / U[0, :, :, 0].size + 0 * U),
        Mistake("sign", "dU has the wrong sign.", lambda dz, U: -dz[:, None, None] / U[0, :, :, 0].size + 0 * U),
    ),
    alternates=(
        lambda dz, U: dz[:, None, None] / U[0, :, :, 0].size + 0 * U,
        lambda dz, U: np.repeat(np.repeat(dz[:, None, None], U.shape[1], 1), U.shape[2], 2) / U.shape[1] / U.shape[2],
        lambda dz, U: np.einsum("nc,hw->nhwc", dz, np.full(U.shape[1:3], 1 / U[0, :, :, 0].size, dz.dtype)),
    ),
)  # fmt: skip

TASKS = (squeeze, squeeze_backward)
