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
    Special("as many rows as images, columns as channels", {"N": 3, "H": 3, "W": 5, "C": 5}),
    Special("square maps, as many channels as pixels a side", {"H": 4, "W": 4, "C": 4}),
    Special("as many columns as images", {"N": 3, "H": 4, "W": 3, "C": 5}),
)


def _axes(s: np.ndarray) -> np.ndarray:
    return s[:, None, None, :]


scale = Task(
    signature="scale(U, s) -> X_tilde",
    equation="Eq. (4): x̃_c = s_c u_c",
    title="Scale: every channel times its gate",
    oracle=se.scale,
    axes="U: N H W C, s: N C, X_tilde: N H W C",
    sizes=SIZES,
    fill={"s": "gates"},
    specials=SPECIALS,
    points=1,
    likely=("s without new axes", "gates of the first image", "1 + s", "1 - s", "gates along the width"),
    mistakes=(
        Mistake("s without new axes", "In U * s NumPy lines up the last axes: s (N, C) meets (W, C), which does not "
                "fit, or worse, fits where N = W. It needs the shape (N, 1, 1, C).", lambda U, s: U * s),
        Mistake("gate added", "The gate was added: Eq. (4) multiplies by it.", lambda U, s: U + _axes(s)),
        Mistake("1 + s", "Multiplied by 1 + s, as if the maps were added once more: Eq. (4) is s·u.",
                lambda U, s: U * (1 + _axes(s))),
        Mistake("1 - s", "Multiplied by 1 - s: an open gate lets its channel pass.", lambda U, s: U * (1 - _axes(s))),
        Mistake("the gate alone", "The gates themselves, at every pixel, without the maps.",
                lambda U, s: 0 * U + _axes(s)),
        Mistake("divided by the gate", "Divided by s: Eq. (4) multiplies.", lambda U, s: U / _axes(s)),
        Mistake("gates of the first image", "All images have the gates of the first; every one has its own.",
                lambda U, s: U * s[0]),
        Mistake("mean gates of the batch", "The gates were averaged over the batch; every image has its own.",
                lambda U, s: U * s.mean(0)),
        Mistake("one gate for all channels", "One mean gate for all channels of an image; each has its own.",
                lambda U, s: U * s.mean(1)[:, None, None, None]),
        Mistake("gates read in another order", "s was reshaped to (C, N) and not transposed: gates went to the wrong "
                "images and channels.", lambda U, s: U * _axes(s.reshape(s.shape[::-1]).T)),
        Mistake("gates along the width", "s met the width, or its rows, instead of the channels: it needs the shape "
                "(N, 1, 1, C).", lambda U, s: U * np.resize(s, (len(U), 1, U.shape[2], 1))),
        Mistake("gate squared", "Multiplied by the gate twice.", lambda U, s: U * _axes(s) ** 2),
        Mistake("sigmoid once more", "A sigmoid was applied to s; Eq. (3) has done that already.",
                lambda U, s: U / (1 + np.exp(-_axes(s)))),
        Mistake("gates rounded", "The gates were made 0 or 1; Eq. (4) multiplies by s as it is.",
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
    likely=("ds without U", "ds as a mean", "ds summed over the batch", "dU without s", "dU with U", "exchanged"),
    mistakes=(
        Mistake("ds as a mean", "ds was averaged over the pixels; all of them shared s, so it is their sum.",
                lambda d, U, s: (d * _axes(s), (d * U).mean((1, 2)))),
        Mistake("ds from the scaled maps", "ds was taken with X̃; the derivative of s·u by s is u.",
                lambda d, U, s: (d * _axes(s), (d * U * _axes(s)).sum((1, 2)))),
        Mistake("dU without s", "dU is dX̃ as it came; the derivative of s·u by u is s.",
                lambda d, U, s: (d, _ds(d, U))),
        Mistake("ds without U", "ds is a sum of dX̃ alone; the derivative of s·u by s is u.",
                lambda d, U, s: (d * _axes(s), d.sum((1, 2)))),
        Mistake("ds summed over the batch", "ds was summed over the batch too; every image has gates of its own.",
                lambda d, U, s: (d * _axes(s), np.broadcast_to(_ds(d, U).sum(0), s.shape))),
        Mistake("ds over one axis", "ds was summed over the height and cut to one column; it runs over both.",
                lambda d, U, s: (d * _axes(s), (d * U).sum(1)[:, 0])),
        Mistake("dU with U", "dU was multiplied by U; the derivative of s·u by u is s.",
                lambda d, U, s: (d * U, _ds(d, U))),
        Mistake("dU with 1 - s", "dU was multiplied by 1 - s.", lambda d, U, s: (d * (1 - _axes(s)), _ds(d, U))),
        Mistake("path of the gate in dU", "dU holds a share of ds as well; that path belongs to the whole block, here "
                "s is an argument of its own.", lambda d, U, s: (d * _axes(s) + _axes(_ds(d, U)) / U[0, :, :, 0].size,
                                                               _ds(d, U))),
        Mistake("σ' in ds", "ds was multiplied by s (1 - s): the sigmoid belongs to Eq. (3).",
                lambda d, U, s: (d * _axes(s), _ds(d, U) * s * (1 - s))),
        Mistake("exchanged", "dU and ds came in the other order.", lambda d, U, s: (_ds(d, U), d * _axes(s))),
        Mistake("sign of ds", "The sign of ds is wrong.", lambda d, U, s: (d * _axes(s), -_ds(d, U))),
        Mistake("ones for dX_tilde", "The gradient that arrives was ignored, as if it were 1 everywhere.",
                lambda d, U, s: (0 * d + _axes(s), U.sum((1, 2)))),
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
