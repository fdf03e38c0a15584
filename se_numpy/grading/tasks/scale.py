"""Eq. (4) and its gradients."""

import numpy as np

from se_numpy import se
from se_numpy.grading.task import Mistake, Special, Task

SIZES = {"N": (2, 4), "H": (3, 6), "W": (3, 6), "C": (2, 8)}
SPECIALS = (
    Special("one image", {"N": 1}),
    Special("one channel", {"C": 1}),
    Special("maps of one pixel", {"H": 1, "W": 1}),
    Special("as many images as channels", {"N": 4, "C": 4}),
    Special("as many rows as images, as many columns as channels", {"N": 3, "H": 3, "W": 5, "C": 5}),
    Special("square maps with H = W = C", {"H": 4, "W": 4, "C": 4}),
    Special("as many columns as images", {"N": 3, "H": 4, "W": 3, "C": 5}),
)


def _axes(s: np.ndarray) -> np.ndarray:
    return s[:, None, None, :]


scale = Task(
    signature="scale(U, s) -> X_tilde",
    equation="Eq. (4): x̃_c = s_c u_c",
    title="Scale: each channel times its gate",
    oracle=se.scale,
    axes="U: N H W C, s: N C, X_tilde: N H W C",
    sizes=SIZES,
    fill={"s": "gates"},
    specials=SPECIALS,
    points=1,
    likely=("s without new axes", "gates of the first image", "1 + s", "1 - s", "gates along the width"),
    mistakes=(
        Mistake("s without new axes", "U * s aligns s (N, C) with the axes (W, C) of U, which fails or, if N = W, is "
                "silently wrong; s needs the shape (N, 1, 1, C).", lambda U, s: U * s),
        Mistake("one new axis instead of two", "s[:, None] has the shape (N, 1, C), which aligns the images with the "
                "rows of U; s needs the shape (N, 1, 1, C).", lambda U, s: U * s[:, None]),
        Mistake("s transposed", "s was transposed to (C, N), so that its images are aligned with the channels of U; s "
                "needs the shape (N, 1, 1, C).", lambda U, s: U * s.T[:, None, None]),
        Mistake("gates alone", "Only the gates were returned, as (N, C); Eq. (4) multiplies U by them.",
                lambda U, s: s.copy()),
        Mistake("gates divided by their sum", "The gates of each image were divided by their sum; Eq. (4) multiplies "
                "by s itself.", lambda U, s: U * _axes(s / s.sum(1, keepdims=True))),
        Mistake("gate added", "The gate was added to U; Eq. (4) multiplies U by it.", lambda U, s: U + _axes(s)),
        Mistake("1 + s", "U was multiplied by 1 + s; Eq. (4) multiplies by s.", lambda U, s: U * (1 + _axes(s))),
        Mistake("1 - s", "U was multiplied by 1 - s; Eq. (4) multiplies by s.", lambda U, s: U * (1 - _axes(s))),
        Mistake("gate only", "The gates were returned at every pixel; Eq. (4) multiplies U by them.",
                lambda U, s: 0 * U + _axes(s)),
        Mistake("divided by the gate", "U was divided by s; Eq. (4) multiplies by s.", lambda U, s: U / _axes(s)),
        Mistake("gates of the first image", "The gates of the first image were used for all images; every image has "
                "its own.", lambda U, s: U * s[0]),
        Mistake("mean gates of the batch", "The gates were averaged over the batch; every image has its own.",
                lambda U, s: U * s.mean(0)),
        Mistake("one gate for all channels", "The gates were averaged over the channels; every channel has its own.",
                lambda U, s: U * s.mean(1)[:, None, None, None]),
        Mistake("gates in the wrong order", "s was reshaped to (C, N) instead of transposed, so the gates scaled the "
                "wrong images and channels.", lambda U, s: U * _axes(s.reshape(s.shape[::-1]).T)),
        Mistake("gates along the width", "The gates were applied along the width instead of the channels; s needs the "
                "shape (N, 1, 1, C).", lambda U, s: U * np.resize(s, (len(U), 1, U.shape[2], 1))),
        Mistake("gate squared", "U was multiplied by the gate twice; Eq. (4) multiplies it once.",
                lambda U, s: U * _axes(s) ** 2),
        Mistake("sigmoid applied again", "A sigmoid was applied to s; Eq. (3) has already applied it.",
                lambda U, s: U / (1 + np.exp(-_axes(s)))),
        Mistake("gates rounded", "The gates were rounded to 0 or 1; Eq. (4) multiplies by s itself.",
                lambda U, s: U * (_axes(s) > 0.5)),
    ),
    alternates=(
        lambda U, s: np.einsum("nhwc,nc->nhwc", U, s),
        lambda U, s: np.stack([u * g for u, g in zip(U, s, strict=True)]),
        lambda U, s: U * s.reshape(len(s), 1, 1, -1),
    ),
)  # fmt: skip


def _scale_backward(dX_tilde, U, s):
    dU = dX_tilde * s[:, None, None, :]
    ds = (dX_tilde * U).sum((1, 2))
    return dU, ds


def _ds(dX_tilde: np.ndarray, U: np.ndarray) -> np.ndarray:
    return (dX_tilde * U).sum((1, 2))


scale_backward = Task(
    signature="scale_backward(dX_tilde, U, s) -> dU, ds",
    equation="Eq. (4): x̃_c = s_c u_c, differentiated",
    title="The gradients of the scale",
    oracle=se.scale_backward,
    forward=se.scale,
    axes="dX_tilde: N H W C, U: N H W C, s: N C, dU: N H W C, ds: N C",
    sizes=SIZES,
    fill={"s": "gates", "U": "maps"},
    specials=SPECIALS,
    likely=("ds without U", "ds as a mean", "ds summed over the batch", "dU without s", "dU with U",
            "dU and ds swapped"),
    mistakes=(
        Mistake("ds as a mean", "ds was averaged over the pixels; it should be their sum, because all pixels share s.",
                lambda d, U, s: (d * _axes(s), (d * U).mean((1, 2)))),
        Mistake("ds from the scaled maps", "ds was computed with X̃; the derivative of s·u with respect to s is u.",
                lambda d, U, s: (d * _axes(s), (d * U * _axes(s)).sum((1, 2)))),
        Mistake("dU without s", "dU is dX̃ unchanged; the derivative of s·u with respect to u is s.",
                lambda d, U, s: (d, _ds(d, U))),
        Mistake("ds without U", "ds is the sum of dX̃; the derivative of s·u with respect to s is u, so ds should be "
                "the sum of dX̃·U.", lambda d, U, s: (d * _axes(s), d.sum((1, 2)))),
        Mistake("ds summed over the batch", "ds was summed over the batch too; every image has its own gates.",
                lambda d, U, s: (d * _axes(s), np.broadcast_to(_ds(d, U).sum(0), s.shape))),
        Mistake("ds over one axis", "ds was summed over one column only; it should be summed over height and width.",
                lambda d, U, s: (d * _axes(s), (d * U).sum(1)[:, 0])),
        Mistake("dU with U", "dU was multiplied by U; the derivative of s·u with respect to u is s.",
                lambda d, U, s: (d * U, _ds(d, U))),
        Mistake("both factors exchanged", "dU was computed with U and ds with s; it is the other way round: the "
                "derivative of s·u with respect to u is s, with respect to s it is u.",
                lambda d, U, s: (d * U, (d * _axes(s)).sum((1, 2)))),
        Mistake("dU with 1 - s", "dU was multiplied by 1 - s; the derivative of s·u with respect to u is s.",
                lambda d, U, s: (d * (1 - _axes(s)), _ds(d, U))),
        Mistake("path through the gate in dU", "dU includes a share of ds, which belongs to the gradient of the whole "
                "block; here s does not depend on U.",
                lambda d, U, s: (d * _axes(s) + _axes(_ds(d, U)) / U[0, :, :, 0].size, _ds(d, U))),
        Mistake("σ' in ds", "ds was multiplied by s (1 - s), the derivative of the sigmoid, which belongs to Eq. (3).",
                lambda d, U, s: (d * _axes(s), _ds(d, U) * s * (1 - s))),
        Mistake("dU and ds swapped", "The gradients were returned in the wrong order; the correct order is dU, ds.",
                lambda d, U, s: (_ds(d, U), d * _axes(s))),
        Mistake("sign of ds", "ds has the wrong sign; it should be the sum of dX̃·U.",
                lambda d, U, s: (d * _axes(s), -_ds(d, U))),
        Mistake("dX_tilde ignored", "The upstream gradient dX_tilde was taken as 1 everywhere; both gradients are "
                "proportional to it.", lambda d, U, s: (0 * d + _axes(s), U.sum((1, 2)))),
    ),
    written=_scale_backward,
    alternates=(
        _scale_backward,
        lambda d, U, s: (np.einsum("nhwc,nc->nhwc", d, s), np.einsum("nhwc,nhwc->nc", d, U)),
        lambda d, U, s: (s[:, None, None] * d, (d * U).sum(2).sum(1)),
        lambda d, U, s: (d * _axes(s), np.stack([(a * b).reshape(-1, a.shape[-1]).sum(0)
                                                 for a, b in zip(d, U, strict=True)])),
    ),
)  # fmt: skip

TASKS = (scale, scale_backward)
