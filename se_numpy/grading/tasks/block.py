"""The Squeeze-and-Excitation block, Eqs. (2) to (4), and its gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np

from se_numpy import se
from se_numpy.grading.task import Mistake, Special, Task
from se_numpy.ops import relu, sigmoid, softmax

SIZES = {"N": (2, 4), "H": (3, 6), "W": (3, 6), "C": (5, 9), "R": (2, 4)}
FILL = {"U": "maps", "W1": "weights", "W2": "weights"}
SPECIALS = (
    Special("one image", {"N": 1}),
    Special("maps of one pixel", {"H": 1, "W": 1}),
    Special("no reduction, r = 1", {"C": 6, "R": 6}),
    Special("square maps", {"H": 4, "W": 4}),
    Special("one hidden unit", {"R": 1}),
    Special("one row", {"H": 1}),
)


def _axes(s: Any) -> Any:
    return s[:, None, None, :]


def _block(squeeze: Any = se.squeeze, excite: Any = se.excite, scale: Any = se.scale) -> Callable[..., Any]:
    """Return se_block with one of its three equations replaced."""
    return lambda U, W1, W2: scale(U, excite(squeeze(U), W1, W2))


se_block = Task(
    signature="se_block(U, W1, W2) -> X_tilde",
    equation="Eqs. (2) to (4): x̃_c = s_c u_c,  s = σ(W2 δ(W1 z)),  z_c = 1/(HW) Σ_i Σ_j u_c(i, j)",
    title="The Squeeze-and-Excitation block",
    oracle=se.se_block,
    axes="U: N H W C, W1: R C, W2: C R, X_tilde: N H W C",
    sizes=SIZES,
    fill=FILL,
    specials=(*SPECIALS, Special("one channel", {"C": 1}),
              Special("zero weights: every gate is 1/2", {}, lambda a: {**a, "W2": 0 * a["W2"]})),
    likely=("gates ignored", "no ReLU", "no sigmoid", "gates only", "squeeze by sum"),
    mistakes=(
        Mistake("squeeze by maximum", "The squeeze took the maximum of the pixels; Eq. (2) takes their mean.",
                _block(squeeze=lambda U: U.max((1, 2))), "Eq. (2)"),
        Mistake("squeeze by sum", "The squeeze summed the pixels; Eq. (2) divides the sum by H·W.",
                _block(squeeze=lambda U: U.sum((1, 2))), "Eq. (2)"),
        Mistake("squeeze over the batch", "The squeeze averaged over the batch too; every image has its own squeeze.",
                _block(squeeze=lambda U: np.broadcast_to(U.mean((0, 1, 2)), (len(U), U.shape[-1]))), "Eq. (2)"),
        Mistake("no squeeze", "Every pixel got its own gates; Eq. (2) first averages each channel over its pixels.",
                lambda U, W1, W2: U * sigmoid(relu(U @ W1.T) @ W2.T), "Eq. (2)"),
        Mistake("no ReLU", "The ReLU between the two layers is missing; Eq. (3) has δ there.",
                _block(excite=lambda z, W1, W2: sigmoid(z @ W1.T @ W2.T)), "Eq. (3)"),
        Mistake("no sigmoid", "The sigmoid at the end of the excitation is missing; Eq. (3) has σ there.",
                _block(excite=lambda z, W1, W2: relu(z @ W1.T) @ W2.T), "Eq. (3)"),
        Mistake("softmax gates", "A softmax was used for the gates, which makes the channels compete; Eq. (3) has the "
                "sigmoid σ.", _block(excite=lambda z, W1, W2: softmax(relu(z @ W1.T) @ W2.T)), "Eq. (3)"),
        Mistake("hard sigmoid", "A hard sigmoid was used for the gates; Eq. (3) has the sigmoid σ.",
                _block(excite=lambda z, W1, W2: np.clip(relu(z @ W1.T) @ W2.T / 6 + 0.5, 0, 1)), "Eq. (3)"),
        Mistake("tanh gates", "tanh was used, so gates can be negative; Eq. (3) has the sigmoid σ.",
                _block(excite=lambda z, W1, W2: np.tanh(relu(z @ W1.T) @ W2.T)), "Eq. (3)"),
        Mistake("ReLU before the sigmoid", "A second ReLU was applied before the sigmoid, so no gate is below 1/2; "
                "Eq. (3) has no ReLU there.",
                _block(excite=lambda z, W1, W2: sigmoid(relu(relu(z @ W1.T) @ W2.T))), "Eq. (3)"),
        Mistake("U added", "U was added to the result; the block does not include a residual connection.",
                lambda U, W1, W2: U + se.se_block(U, W1, W2), "Eq. (4)"),
        Mistake("gates only", "The gates were returned; Eq. (4) multiplies the maps by them.",
                lambda U, W1, W2: 0 * U + _axes(se.excite(se.squeeze(U), W1, W2)), "Eq. (4)"),
        Mistake("gates alone", "Only the gates were returned, as (N, C); Eq. (4) multiplies the maps by them.",
                lambda U, W1, W2: se.excite(se.squeeze(U), W1, W2), "Eq. (4)"),
        Mistake("no ReLU and no sigmoid", "The ReLU and the sigmoid of the excitation are missing; Eq. (3) has δ and "
                "σ.", _block(excite=lambda z, W1, W2: z @ W1.T @ W2.T), "Eq. (3)"),
        Mistake("squeeze over the height only", "The mean was taken over the height only, so every column got its own "
                "gates; Eq. (2) averages over height and width.",
                lambda U, W1, W2: U * sigmoid(relu(U.mean(1) @ W1.T) @ W2.T)[:, None], "Eq. (2)"),
        Mistake("gates ignored", "The maps were returned unchanged; Eq. (4) multiplies them by the gates.",
                lambda U, W1, W2: U.copy()),
        Mistake("1 - s", "The maps were multiplied by 1 - s; Eq. (4) multiplies them by s.",
                _block(scale=lambda U, s: U * (1 - _axes(s))), "Eq. (4)"),
        Mistake("gates on the squeeze", "The squeeze was multiplied by the gates; Eq. (4) multiplies the maps by them.",
                lambda U, W1, W2: 0 * U + _axes(se.squeeze(U) * se.excite(se.squeeze(U), W1, W2)), "Eq. (4)"),
        Mistake("spatial gates", "The gates depend on the pixel, not on the channel; Eq. (4) has one gate for each "
                "channel.", lambda U, W1, W2: U * sigmoid(U.mean(3, keepdims=True)), "Eq. (4)"),
        Mistake("W1 and W2 swapped", "W1 and W2 were swapped and transposed; Eq. (3) applies W1 first, then W2.",
                _block(excite=lambda z, W1, W2: sigmoid(relu(z @ W2) @ W1)), "Eq. (3)"),
        Mistake("block applied twice", "The block was applied twice; it should be applied once.",
                lambda U, W1, W2: se.se_block(se.se_block(U, W1, W2), W1, W2)),
    ),
    alternates=(
        _block(squeeze=lambda U: U.mean((1, 2))),
        lambda U, W1, W2: U * _axes(1 / (1 + np.exp(-np.maximum(U.mean((1, 2)) @ W1.T, 0) @ W2.T))),
        lambda U, W1, W2: np.stack([u * sigmoid(W2 @ relu(W1 @ u.mean((0, 1)))) for u in U]),
        lambda U, W1, W2: np.einsum(
            "nhwc,nc->nhwc", U, se.excite(np.einsum("nhwc->nc", U) / U[0, :, :, 0].size, W1, W2)
        ),
    ),
)  # fmt: skip


def _backward(
    direct: float = 1, through: float = 1, spread: Any = lambda dz, U: _axes(dz) / U[0, :, :, 0].size,
    ds: Any = lambda d, U, s: (d * U).sum((1, 2)), z: Any = se.squeeze, excite_backward: Any = se.excite_backward,
) -> Callable[..., Any]:  # fmt: skip
    """Return se_block_backward with one of its steps replaced."""

    def backward(d: Any, U: Any, W1: Any, W2: Any) -> Any:
        s = se.excite(se.squeeze(U), W1, W2)
        dz, dW1, dW2 = excite_backward(ds(d, U, s), z(U), W1, W2)
        return direct * d * _axes(s) + through * spread(dz, U) * np.ones_like(U), dW1, dW2

    return backward


def _without(pieces: str) -> Callable[..., Any]:
    """Return excite_backward without the ReLU mask, the derivative of the sigmoid, or both."""

    def backward(ds: Any, z: Any, W1: Any, W2: Any) -> Any:
        h = relu(z @ W1.T)
        s = sigmoid(h @ W2.T)
        da2 = ds if "sigmoid" in pieces else ds * s * (1 - s)
        da1 = da2 @ W2 * (1 if "relu" in pieces else h > 0)
        return da1 @ W1, da1.T @ z, da2.T @ h

    return backward


def _written_out(d: Any, U: Any, W1: Any, W2: Any) -> Any:
    """Compute all gradients in one function with einsum."""
    pixels = U.shape[1] * U.shape[2]
    z = np.einsum("nhwc->nc", U) / pixels
    h = np.maximum(np.einsum("nc,rc->nr", z, W1), 0)
    s = sigmoid(np.einsum("nr,cr->nc", h, W2))
    g2 = np.einsum("nhwc,nhwc->nc", d, U) * s * (1 - s)
    g1 = np.einsum("nc,cr->nr", g2, W2) * (h > 0)
    dU = np.einsum("nhwc,nc->nhwc", d, s) + _axes(np.einsum("nr,rc->nc", g1, W1) / pixels)
    return dU, np.einsum("nr,nc->rc", g1, z), np.einsum("nc,nr->cr", g2, h)


def _image_by_image(d: Any, U: Any, W1: Any, W2: Any) -> Any:
    parts = [se.se_block_backward(d[n : n + 1], U[n : n + 1], W1, W2) for n in range(len(U))]
    return np.concatenate([p[0] for p in parts]), sum(p[1] for p in parts), sum(p[2] for p in parts)


se_block_backward = Task(
    signature="se_block_backward(dX_tilde, U, W1, W2) -> dU, dW1, dW2",
    equation="Eqs. (2) to (4): x̃_c = s_c u_c,  s = σ(W2 δ(W1 z)),  z_c = 1/(HW) Σ_i Σ_j u_c(i, j), differentiated",
    title="The gradients of the block",
    oracle=se.se_block_backward,
    forward=se.se_block,
    axes="dX_tilde: N H W C, U: N H W C, W1: R C, W2: C R, dU: N H W C, dW1: R C, dW2: C R",
    sizes=SIZES,
    fill=FILL,
    specials=SPECIALS,
    points=4,
    likely=("path through the gate left out", "path through the gate without 1/(HW)", "ds as a mean", "σ' left out",
            "ReLU mask left out", "ds summed over the batch"),
    mistakes=(
        Mistake("path through the gate left out", "dU is only s·dX̃; U also determines the gates, so every pixel "
                "should get 1/(HW) of dz as well.", _backward(through=0)),
        Mistake("sign of the path through the gate", "The part of dU through the gate was subtracted; it should be "
                "added.", _backward(through=-1)),
        Mistake("path through the gate doubled", "The part of dU through the gate was added twice; it should be added "
                "once.", _backward(through=2)),
        Mistake("direct path left out", "dU is only the part through the gate; the direct part s·dX̃ is missing.",
                _backward(direct=0)),
        Mistake("direct path without s", "The direct part of dU is dX̃ unchanged; it should be s·dX̃.",
                lambda d, U, W1, W2: (_backward(direct=0)(d, U, W1, W2)[0] + d, *_backward()(d, U, W1, W2)[1:])),
        Mistake("path through the gate without 1/(HW)", "Every pixel got all of dz; the squeeze is a mean, so each "
                "pixel should get 1/(HW) of dz.", _backward(spread=lambda dz, U: _axes(dz)), "Eq. (2)"),
        Mistake("path through the gate with 1/(HW) twice", "dz was divided by H·W twice; the squeeze is a mean, so dz "
                "should be divided once.",
                _backward(spread=lambda dz, U: _axes(dz) / U[0, :, :, 0].size ** 2), "Eq. (2)"),
        Mistake("ds summed over the batch", "ds was summed over the batch too; every image has its own gates.",
                _backward(ds=lambda d, U, s: np.broadcast_to((d * U).sum((0, 1, 2)), s.shape)), "Eq. (4)"),
        Mistake("path through the gate to the largest pixel", "dz went to the largest pixel, as in max pooling; Eq. "
                "(2) is a mean, so each pixel should get 1/(HW) of dz.",
                _backward(spread=lambda dz, U: _axes(dz) * (U.max((1, 2), keepdims=True) == U)), "Eq. (2)"),
        Mistake("ds as a mean", "ds was averaged over the pixels; it should be their sum, because all pixels share s.",
                _backward(ds=lambda d, U, s: (d * U).mean((1, 2))), "Eq. (4)"),
        Mistake("ds from the scaled maps", "ds was computed with X̃, perhaps because X̃ overwrote U; it should be "
                "computed with U.", _backward(ds=lambda d, U, s: (d * U).sum((1, 2)) * s), "Eq. (4)"),
        Mistake("ds without U", "ds is the sum of dX̃; the derivative of s·u with respect to s is u, so ds should be "
                "the sum of dX̃·U.", _backward(ds=lambda d, U, s: d.sum((1, 2))), "Eq. (4)"),
        Mistake("σ' left out", "The derivative of the sigmoid was left out; ds should be multiplied by s (1 - s).",
                _backward(excite_backward=_without("sigmoid")), "Eq. (3)"),
        Mistake("ReLU mask left out", "The gradient was passed through the ReLU everywhere; it should be passed on "
                "only where W1 z > 0.", _backward(excite_backward=_without("relu")), "Eq. (3)"),
        Mistake("σ' and ReLU mask left out", "The derivative of the sigmoid and the ReLU mask were left out; ds should "
                "be multiplied by s (1 - s), and the gradient passed on only where W1 z > 0.",
                _backward(excite_backward=_without("relu sigmoid")), "Eq. (3)"),
        Mistake("path through the gate left out, ds as a mean", "dU is only s·dX̃, and ds was averaged over the "
                "pixels; U also determines the gates, and ds should be a sum.",
                _backward(through=0, ds=lambda d, U, s: (d * U).mean((1, 2))), "Eq. (4)"),
        Mistake("path through the gate with 1/H", "dz was divided by H; the squeeze is a mean over H·W pixels, so each "
                "pixel should get 1/(HW) of dz.", _backward(spread=lambda dz, U: _axes(dz) / U.shape[1]), "Eq. (2)"),
        Mistake("path through the gate with 1/W", "dz was divided by W; the squeeze is a mean over H·W pixels, so each "
                "pixel should get 1/(HW) of dz.", _backward(spread=lambda dz, U: _axes(dz) / U.shape[2]), "Eq. (2)"),
        Mistake("dW1 with the sum of the pixels", "dW1 was computed with the sum over the pixels; z is their mean.",
                lambda d, U, W1, W2: (se.se_block_backward(d, U, W1, W2)[0],
                                      se.se_block_backward(d, U, W1, W2)[1] * U[0, :, :, 0].size,
                                      se.se_block_backward(d, U, W1, W2)[2]), "Eq. (2)"),
        Mistake("extra mean over the batch", "dW1 and dW2 were divided by N; they should be sums over the batch, "
                "because the loss already contains 1/N.",
                lambda d, U, W1, W2: tuple(g / len(U) if k else g
                                           for k, g in enumerate(se.se_block_backward(d, U, W1, W2)))),
        Mistake("gates held constant", "The gates were treated as constants, so that dU = s·dX̃ and dW1 = dW2 = 0; "
                "they depend on U, W1 and W2.",
                lambda d, U, W1, W2: (d * _axes(se.excite(se.squeeze(U), W1, W2)), 0 * W1, 0 * W2)),
        Mistake("dX_tilde ignored", "The upstream gradient dX_tilde was taken as 1 everywhere; all gradients are "
                "proportional to it.", lambda d, U, W1, W2: se.se_block_backward(np.ones_like(d), U, W1, W2)),
        Mistake("sign", "All gradients have the wrong sign.", lambda *a: tuple(-g for g in se.se_block_backward(*a))),
        Mistake("dW1 and dW2 swapped", "dW1 and dW2 were returned in the wrong order; the correct order is dU, dW1, "
                "dW2.", lambda *a: tuple(se.se_block_backward(*a)[k] for k in (0, 2, 1))),
    ),
    alternates=(_backward(z=lambda U: U.mean((1, 2))), _written_out, _image_by_image),
)  # fmt: skip

TASKS = (se_block, se_block_backward)
