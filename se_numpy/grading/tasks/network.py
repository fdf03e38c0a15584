"""A residual block with SE, and a training step of a small network with it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

import se_numpy as se
from se_numpy import ops
from se_numpy.grading.task import Arguments, Mistake, Special, Task
from se_numpy.grading.tasks import activation, block, convolution, loss, norm
from se_numpy.ops import batch_norm, batch_norm_backward, relu, relu_backward, softmax
from se_numpy.ops.norm import EPS


def _conv(X, V):
    return ops.conv2d(X, V, stride=1, padding=1)


def _conv_backward(dU, X, V):
    return ops.conv2d_backward(dU, X, V, stride=1, padding=1)


# The steps of both tasks; alternative solutions and mistakes replace some of them.
PARTS: dict[str, Callable[..., Any]] = {
    "conv1": _conv,
    "bn1": batch_norm,
    "relu1": relu,
    "conv2": _conv,
    "bn2": batch_norm,
    "join": lambda X, A, W1, W2: X + se.se_block(A, W1, W2),
    "relu2": relu,
    "pool": se.squeeze,
    "loss": ops.softmax_cross_entropy,
    "loss_backward": lambda x, labels: ops.softmax_cross_entropy_backward(1.0, x, labels),
    "linear_backward": lambda dx, z, W, b, lr: ops.linear_backward(dx, z, W, b),
    "pool_backward": se.squeeze_backward,
    "relu2_backward": relu_backward,
    "se_backward": se.se_block_backward,
    "bn2_backward": batch_norm_backward,
    "conv2_backward": lambda dU, H, A, V: _conv_backward(dU, H, V),
    "relu1_backward": relu_backward,
    "bn1_backward": batch_norm_backward,
    "conv1_backward": _conv_backward,
    "update": lambda name, p, dp, lr: p - lr * dp,
}


def _forward(f: Any, X, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2) -> SimpleNamespace:
    """Compute all intermediate values of the block with the steps in ``f``."""
    U1 = f.conv1(X, V1)
    A1 = f.bn1(U1, gamma1, beta1)
    H = f.relu1(A1)
    U2 = f.conv2(H, V2)
    A2 = f.bn2(U2, gamma2, beta2)
    S = f.join(X, A2, W1, W2)
    return SimpleNamespace(U1=U1, A1=A1, H=H, U2=U2, A2=A2, S=S, Y=f.relu2(S))


def _block(**replaced: Callable[..., Any]) -> Callable[..., Any]:
    f = SimpleNamespace(**{**PARTS, **replaced})
    return lambda *arguments: _forward(f, *arguments).Y


def _step(**replaced: Callable[..., Any]) -> Callable[..., Any]:
    f = SimpleNamespace(**{**PARTS, **replaced})

    def step(X, labels, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2, W, b, lr):
        t = _forward(f, X, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2)
        z = f.pool(t.Y)
        x = ops.linear(z, W, b)
        L = f.loss(x, labels)

        dx = f.loss_backward(x, labels)
        dz, dW, db = f.linear_backward(dx, z, W, b, lr)
        dS = f.relu2_backward(f.pool_backward(dz, t.Y), t.S)
        dA2, dW1, dW2 = f.se_backward(dS, t.A2, W1, W2)
        dU2, dgamma2, dbeta2 = f.bn2_backward(dA2, t.U2, gamma2, beta2)
        dH, dV2 = f.conv2_backward(dU2, t.H, t.A1, V2)
        dA1 = f.relu1_backward(dH, t.A1)
        dU1, dgamma1, dbeta1 = f.bn1_backward(dA1, t.U1, gamma1, beta1)
        _, dV1 = f.conv1_backward(dU1, X, V1)

        parameters = dict(V1=V1, gamma1=gamma1, beta1=beta1, V2=V2, gamma2=gamma2, beta2=beta2, W1=W1, W2=W2, W=W, b=b)
        gradients = (dV1, dgamma1, dbeta1, dV2, dgamma2, dbeta2, dW1, dW2, dW, db)
        return L, *(f.update(*p, dp, lr) for p, dp in zip(parameters.items(), gradients, strict=True))

    return step


def _hidden(A: np.ndarray, W1: np.ndarray) -> np.ndarray:
    """Return the input of the ReLU in the excitation."""
    return se.squeeze(A) @ W1.T


def _away_from_kinks(arguments: Arguments) -> Arguments:
    """Adjust the arguments so that every step affects the result and rounding does not change a ReLU mask.

    Every other hidden unit of the excitation is active for most images, and no ReLU input is within 10⁻³ of 0.
    """
    a, f = dict(arguments), SimpleNamespace(**PARTS)
    names = ("X", "V1", "gamma1", "beta1", "V2", "gamma2", "beta2", "W1", "W2")
    hidden = _hidden(_forward(f, *(a[name] for name in names)).A2, a["W1"])
    shut = (hidden.sum(0) < 0) & (np.arange(len(a["W1"])) % 2 == 0)
    a["W1"] = np.where(shut, -1.0, 1.0)[:, None] * a["W1"]
    for _ in range(20):
        t = _forward(f, *(a[name] for name in names))
        if min(np.abs(x).min() for x in (t.A1, t.S, _hidden(t.A2, a["W1"]))) > 1e-3:
            break
        a["beta1"], a["beta2"], a["W1"] = a["beta1"] + 1 / 64, a["beta2"] + 1 / 32, a["W1"] + 1 / 64
    return a


def _alternate(make: Callable[..., Callable[..., Any]], k: int) -> Callable[..., Any]:
    """Build the function from the k-th alternative solution of each step."""

    def other(task: Task) -> Callable[..., Any]:
        return task.alternates[k % len(task.alternates)]

    def statistics(x):
        return x.mean((0, 1, 2)), x.var((0, 1, 2))

    def conv(X, V):
        return other(convolution.conv2d)(X, V, 1, 1)

    def conv_backward(dU, X, V):
        return other(convolution.conv2d_backward)(dU, X, V, 1, 1)

    def bn(x, gamma, beta):
        return other(norm.batch_norm)(x, gamma, beta, EPS)

    def bn_backward(dy, x, gamma, beta):
        return other(norm.batch_norm_backward)(dy, x, *statistics(x), gamma, EPS)

    δ, dδ = other(activation.relu), other(activation.relu_backward)
    return make(
        conv1=conv, conv2=conv, bn1=bn, bn2=bn, relu1=δ, relu2=δ,
        join=lambda X, A, W1, W2: other(block.se_block)(A, W1, W2) + X,
        pool=lambda Y: np.einsum("nhwc->nc", Y) / Y[0, :, :, 0].size,
        loss=other(loss.softmax_cross_entropy),
        loss_backward=lambda x, labels: other(loss.softmax_cross_entropy_backward)(1.0, x, labels),
        linear_backward=lambda dx, z, W, b, lr: (
            np.einsum("nk,kc->nc", dx, W), np.einsum("nk,nc->kc", dx, z), dx.sum(0)),
        pool_backward=lambda dz, Y: np.ones_like(Y) * (dz / Y[0, :, :, 0].size)[:, None, None],
        relu2_backward=dδ, relu1_backward=dδ, se_backward=other(block.se_block_backward),
        bn2_backward=bn_backward, bn1_backward=bn_backward,
        conv2_backward=lambda dU, H, A, V: conv_backward(dU, H, V), conv1_backward=conv_backward,
    )  # fmt: skip


SIZES = {"N": (2, 4), "H": (3, 5), "W": (3, 5), "C": (3, 6), "R": (2, 3)}
FILL = {"gamma1": "positive", "gamma2": "positive", "W1": "weights", "W2": "weights", "V1": "weights", "V2": "weights"}
AXES = "X: N H W C, V1: 3 3 C C, gamma1: C, beta1: C, V2: 3 3 C C, gamma2: C, beta2: C, W1: R C, W2: C R"
SPECIALS = (
    Special("one image", {"N": 1}),
    Special("square maps", {"H": 4, "W": 4}),
    Special("no reduction, r = 1", {"C": 3, "R": 3}),
    Special("one hidden unit", {"R": 1}),
)


def _se(A: np.ndarray, W1: np.ndarray, W2: np.ndarray) -> np.ndarray:
    return se.se_block(A, W1, W2)


def _gates(A: np.ndarray, W1: np.ndarray, W2: np.ndarray) -> np.ndarray:
    return se.excite(se.squeeze(A), W1, W2)[:, None, None]


def _with_eps(eps: float) -> Callable[..., Any]:
    def norm_with_eps(x, gamma, beta):
        return batch_norm(x, gamma, beta, eps=eps)

    return _block(bn1=norm_with_eps, bn2=norm_with_eps)


def _shortcut(source: str) -> Callable[..., Any]:
    """Return residual_block with another value in place of X in the sum."""

    def block_(X, *parameters):
        t = _forward(SimpleNamespace(**PARTS), X, *parameters)
        return relu(getattr(t, source) + t.S - X)

    return block_


def _pre_activation(X, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2):
    branch = _conv(relu(batch_norm(_conv(relu(batch_norm(X, gamma1, beta1)), V1), gamma2, beta2)), V2)
    return X + _se(branch, W1, W2)


def _residual_block(X, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2):
    H = se.relu(se.batch_norm(se.conv2d(X, V1, padding=1), gamma1, beta1))
    A = se.batch_norm(se.conv2d(H, V2, padding=1), gamma2, beta2)
    return se.relu(X + se.se_block(A, W1, W2))


residual_block = Task(
    signature="residual_block(X, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2) -> Y",
    equation="Y = δ(X + SE(BN(V2 ∗ δ(BN(V1 ∗ X)))))",
    title="A residual block with SE",
    oracle=_block(),
    axes=AXES + ", Y: N H W C",
    sizes=SIZES,
    fill=FILL,
    prepare=_away_from_kinks,
    specials=SPECIALS,
    points=4,
    likely=("no shortcut", "SE after the sum", "SE left out", "ReLU before the sum too", "no ReLU at the end",
            "V1 used twice"),
    hint="Both convolutions have stride 1 and padding 1; batch norm is in training mode, with eps = 10⁻⁵.",
    mistakes=(
        Mistake("no shortcut", "X was not added; it should be added to the branch.",
                _block(join=lambda X, A, W1, W2: _se(A, W1, W2))),
        Mistake("shortcut added twice", "X was added twice; it should be added once.",
                _block(join=lambda X, A, W1, W2: 2 * X + _se(A, W1, W2))),
        Mistake("SE left out", "The SE block was left out; it should scale the branch before the sum.",
                _block(join=lambda X, A, W1, W2: X + A)),
        Mistake("SE on the shortcut", "The gates scaled X; they should scale the branch before the sum.",
                _block(join=lambda X, A, W1, W2: _se(X, W1, W2) + A)),
        Mistake("SE after the sum", "The gates scaled the sum; they should scale the branch before the sum.",
                _block(join=lambda X, A, W1, W2: _se(X + A, W1, W2))),
        Mistake("SE after the last ReLU", "The gates scaled the result of the block; they should scale the branch "
                "before the sum.", lambda *a: _se(_block(join=lambda X, A, W1, W2: X + A)(*a), *a[-2:])),
        Mistake("gates from the shortcut", "The gates were computed from X; they should be computed from the branch.",
                _block(join=lambda X, A, W1, W2: X + A * _gates(X, W1, W2))),
        Mistake("gates only", "The gates were added to X; they should multiply the branch, which is added to X.",
                _block(join=lambda X, A, W1, W2: X + _gates(A, W1, W2))),
        Mistake("1 + s", "The branch was multiplied by 1 + s; Eq. (4) multiplies by s.",
                _block(join=lambda X, A, W1, W2: X + A * (1 + _gates(A, W1, W2))), "Eq. (4)"),
        Mistake("squeeze by maximum", "The squeeze took the maximum of the pixels; Eq. (2) takes their mean.",
                _block(join=lambda X, A, W1, W2: X + A * se.excite(A.max((1, 2)), W1, W2)[:, None, None]), "Eq. (2)"),
        Mistake("softmax gates", "A softmax was used for the gates; Eq. (3) has the sigmoid σ.",
                _block(join=lambda X, A, W1, W2: X + A * softmax(relu(se.squeeze(A) @ W1.T) @ W2.T)[:, None, None]),
                "Eq. (3)"),
        Mistake("ReLU before SE", "A ReLU was applied between the second batch norm and SE; the block has none there.",
                _block(join=lambda X, A, W1, W2: X + _se(relu(A), W1, W2))),
        Mistake("ReLU before the sum", "The ReLU was applied to the branch, before the sum; it should be applied after "
                "the sum.", _block(join=lambda X, A, W1, W2: X + relu(_se(A, W1, W2)), relu2=lambda S: S)),
        Mistake("ReLU before the sum too", "A ReLU was applied to the branch too, before the sum; the block has only "
                "the one after the sum.", _block(join=lambda X, A, W1, W2: X + relu(_se(A, W1, W2)))),
        Mistake("no ReLU at the end", "The sum was returned; a ReLU should follow it.", _block(relu2=lambda S: S)),
        Mistake("no ReLU between the convolutions", "The ReLU between the convolutions was left out; it should follow "
                "the first batch norm.", _block(relu1=lambda A: A)),
        Mistake("no batch norm after the first convolution", "The first batch norm was left out; each convolution "
                "should be followed by batch norm.", _block(bn1=lambda x, gamma, beta: x)),
        Mistake("no batch norm after the second convolution", "The second batch norm was left out; each convolution "
                "should be followed by batch norm.", _block(bn2=lambda x, gamma, beta: x)),
        Mistake("batch norm after the ReLU", "The first ReLU was applied before batch norm; batch norm should come "
                "first.", _block(bn1=lambda x, gamma, beta: batch_norm(relu(x), gamma, beta), relu1=lambda A: A)),
        Mistake("batch norm before the convolutions", "Batch norm and ReLU were applied before each convolution, as "
                "in the pre-activation block; here each convolution is followed by batch norm.", _pre_activation),
        Mistake("statistics of each image", "Batch norm normalised each image separately; it should compute its "
                "statistics over the batch too.",
                _block(bn1=lambda *a: norm._over(1, 2)(*a, EPS), bn2=lambda *a: norm._over(1, 2)(*a, EPS))),
        Mistake("variance divided by m - 1", "Batch norm divided the variance by m - 1; it should use the biased "
                "variance, divided by m.",
                _block(bn1=lambda *a: norm._norm(var=lambda x: x.var((0, 1, 2), ddof=1))(*a, EPS),
                       bn2=lambda *a: norm._norm(var=lambda x: x.var((0, 1, 2), ddof=1))(*a, EPS))),
        Mistake("another constant for eps", "Batch norm used another eps; it should be 10⁻⁵.", _with_eps(0.1),
                family=lambda c: _with_eps(abs(c))),
        Mistake("tanh gates", "tanh was used for the gates; Eq. (3) has the sigmoid σ.",
                _block(join=lambda X, A, W1, W2: X + A * np.tanh(relu(se.squeeze(A) @ W1.T) @ W2.T)[:, None, None]),
                "Eq. (3)"),
        Mistake("no ReLU in the gates", "The ReLU between the layers of the excitation is missing; Eq. (3) has δ "
                "there.", _block(join=lambda X, A, W1, W2: X + A * ops.sigmoid(
                    se.squeeze(A) @ W1.T @ W2.T)[:, None, None]), "Eq. (3)"),
        Mistake("shortcut from the first ReLU", "The result of the first ReLU was added to the branch; X should be "
                "added.", _shortcut("H")),
        Mistake("shortcut from the first convolution", "The result of the first convolution was added to the branch; "
                "X should be added.", _shortcut("U1")),
        Mistake("W1 used twice", "W1 was used for both layers of the excitation; the second should use W2.",
                lambda *a: _block()(*a[:-1], a[-2].T)),
        Mistake("gammas exchanged", "gamma1 and gamma2 were exchanged; the first batch norm should use gamma1.",
                lambda X, V1, g1, b1, V2, g2, b2, *a: _block()(X, V1, g2, b1, V2, g1, b2, *a)),
        Mistake("betas exchanged", "beta1 and beta2 were exchanged; the first batch norm should use beta1.",
                lambda X, V1, g1, b1, V2, g2, b2, *a: _block()(X, V1, g1, b2, V2, g2, b1, *a)),
        Mistake("filters flipped", "Both convolutions rotated their filters by 180°; ∗ in Eq. (1) is "
                "cross-correlation.",
                _block(conv1=lambda X, V: _conv(X, V[::-1, ::-1]), conv2=lambda X, V: _conv(X, V[::-1, ::-1])),
                "Eq. (1)"),
        Mistake("V1 used twice", "V1 was used in both convolutions; the second should use V2.",
                lambda X, V1, g1, b1, V2, *a: _block()(X, V1, g1, b1, V1, *a)),
        Mistake("V1 and V2 swapped", "V1 and V2 were swapped; the first convolution should use V1.",
                lambda X, V1, g1, b1, V2, *a: _block()(X, V2, g1, b1, V1, *a)),
        Mistake("gamma1 and beta1 used twice", "gamma1 and beta1 were used in both batch norms; the second should use "
                "gamma2 and beta2.", lambda X, V1, g1, b1, V2, g2, b2, *a: _block()(X, V1, g1, b1, V2, g1, b1, *a)),
    ),
    written=_residual_block,
    alternates=(_residual_block, *(_alternate(_block, k) for k in range(1, 4))),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------- a training step

_RIGHT = _step()


def _not_updated(*names: str) -> Callable[..., Any]:
    return _step(update=lambda name, p, dp, lr: p if name in names else p - lr * dp)


def _loss_after(X, labels, *parameters, lr):
    after = _RIGHT(X, labels, *parameters, lr=lr)
    return _RIGHT(X, labels, *after[1:], lr=lr)[0], *after[1:]


def _held_constant(dy, x, gamma, beta):
    dx, _, _, dgamma, dbeta = ops.normalize_backward(dy, x, *ops.batch_statistics(x), gamma, beta)
    return dx, dgamma, dbeta


def _se_without_path(dS, A, W1, W2):
    return dS * _gates(A, W1, W2), *se.se_block_backward(dS, A, W1, W2)[1:]


def _se_without_gate(dS, A, W1, W2):
    dA, *dW = se.se_block_backward(dS, A, W1, W2)
    return dA - dS * _gates(A, W1, W2) + dS, *dW


def _classifier_first(dx, z, W, b, lr):
    _, dW, db = ops.linear_backward(dx, z, W, b)
    return dx @ (W - lr * dW), dW, db


def _se_resnet_step(X, labels, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2, W, b, lr):
    U1 = se.conv2d(X, V1, padding=1)
    A1 = se.batch_norm(U1, gamma1, beta1)
    H = se.relu(A1)
    U2 = se.conv2d(H, V2, padding=1)
    A2 = se.batch_norm(U2, gamma2, beta2)
    S = X + se.se_block(A2, W1, W2)
    Y = se.relu(S)
    z = se.squeeze(Y)
    x = se.linear(z, W, b)
    loss = se.softmax_cross_entropy(x, labels)

    dx = se.softmax_cross_entropy_backward(1.0, x, labels)
    dz, dW, db = se.linear_backward(dx, z, W, b)
    dS = se.relu_backward(se.squeeze_backward(dz, Y), S)
    dA2, dW1, dW2 = se.se_block_backward(dS, A2, W1, W2)
    dU2, dgamma2, dbeta2 = se.batch_norm_backward(dA2, U2, gamma2, beta2)
    dH, dV2 = se.conv2d_backward(dU2, H, V2, padding=1)
    dA1 = se.relu_backward(dH, A1)
    dU1, dgamma1, dbeta1 = se.batch_norm_backward(dA1, U1, gamma1, beta1)
    _, dV1 = se.conv2d_backward(dU1, X, V1, padding=1)

    old = (V1, gamma1, beta1, V2, gamma2, beta2, W1, W2, W, b)
    gradients = (dV1, dgamma1, dbeta1, dV2, dgamma2, dbeta2, dW1, dW2, dW, db)
    return loss, *(p - lr * dp for p, dp in zip(old, gradients, strict=True))


se_resnet_step = Task(
    signature="se_resnet_step(X, labels, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2, W, b, lr) "
    "-> loss, V1, gamma1, beta1, V2, gamma2, beta2, W1, W2, W, b",
    equation="p ← p - η ∂L/∂p",
    title="A training step of a small SE-ResNet",
    oracle=_RIGHT,
    axes=AXES + ", labels: N, W: K C, b: K",
    sizes={**SIZES, "K": (3, 6)},
    hyper={"lr": (1.0, 2.0, 4.0)},  # large, so that a wrong gradient changes the parameters visibly
    fill={**FILL, "labels": "labels"},
    prepare=_away_from_kinks,
    specials=(*SPECIALS, Special("as many classes as channels", {"C": 4, "K": 4})),
    points=6,
    rounds=5,
    likely=("learning rate left out", "1/(HW) left out", "statistics held constant", "path through the gates left out",
            "mask of the first ReLU left out", "gradients only", "loss after the step"),
    hint="residual_block, the mean of each channel (Eq. 2), W z + b, softmax cross-entropy, and p - lr ∂L/∂p for every "
    "parameter. Compute all gradients before updating any parameter, and return the loss before the step.",
    mistakes=(
        Mistake("sign of the step", "p + η ∂L/∂p was computed, which increases the loss; the step is p - η ∂L/∂p.",
                _step(update=lambda name, p, dp, lr: p + lr * dp)),
        Mistake("learning rate left out", "p - ∂L/∂p was computed; the step is p - η ∂L/∂p.",
                _step(update=lambda name, p, dp, lr: p - dp)),
        Mistake("gradients only", "The gradients were returned; the results should be the new parameters p - η ∂L/∂p.",
                _step(update=lambda name, p, dp, lr: dp)),
        Mistake("new V1 and V2 swapped", "The new V1 and V2 are right but swapped.",
                lambda *a, **h: (lambda t: (t[0], t[4], *t[2:4], t[1], *t[5:]))(_RIGHT(*a, **h))),
        Mistake("loss after the step", "The parameters are right, but the loss was computed after the step; it should "
                "be the loss before the step.", _loss_after),
        Mistake("loss summed", "The loss and its gradients were summed over the batch; the loss should be the mean.",
                _step(loss=lambda x, labels: ops.softmax_cross_entropy(x, labels) * len(x),
                      loss_backward=lambda x, labels: ops.softmax_cross_entropy_backward(float(len(x)), x, labels))),
        Mistake("gradients without 1/N", "The gradients are those of the summed loss; the loss is the mean over the "
                "batch.",
                _step(loss_backward=lambda x, labels: ops.softmax_cross_entropy_backward(float(len(x)), x, labels))),
        Mistake("1/N twice", "The gradients were divided by N again; the loss already contains 1/N.",
                _step(loss_backward=lambda x, labels: ops.softmax_cross_entropy_backward(1 / len(x), x, labels))),
        Mistake("labels counted from 1", "The class before the label was used; classes are numbered from 0.",
                lambda X, labels, *a, **h: _RIGHT(X, (labels - 1) % len(a[-1]), *a, **h)),
        Mistake("no label in the gradient", "p was used as the gradient of the logits; it should be p - q, with q = 1 "
                "at the label.", _step(loss_backward=lambda x, labels: softmax(x) / len(x))),
        Mistake("classifier first", "W was updated before the gradient was passed back through it; all gradients "
                "should be computed with the old parameters.", _step(linear_backward=_classifier_first)),
        Mistake("db as a mean", "db was averaged over the batch; it should be a sum, because the loss already contains "
                "1/N.", _step(linear_backward=lambda dx, z, W, b, lr: (dx @ W, dx.T @ z, dx.mean(0)))),
        Mistake("max pooling before the classifier", "Max pooling was used before the classifier; it should be average "
                "pooling.",
                _step(pool=lambda Y: Y.max((1, 2)), pool_backward=ops.global_max_pool2d_backward), "Eq. (2)"),
        Mistake("1/(HW) left out", "Every pixel got the whole gradient from the last pooling, which is a mean; each "
                "pixel should get 1/(HW) of it.",
                _step(pool_backward=lambda dz, Y: dz[:, None, None] + 0 * Y), "Eq. (2)"),
        Mistake("mask of the last ReLU left out", "The gradient was passed through the last ReLU everywhere; it should "
                "be passed on only where the sum is positive.", _step(relu2_backward=lambda dy, x: dy)),
        Mistake("mask of the first ReLU left out", "The gradient was passed through the ReLU between the convolutions "
                "everywhere; it should be passed on only where the ReLU's input is positive.",
                _step(relu1_backward=lambda dy, x: dy)),
        Mistake("path through the gates left out", "The gates were treated as constants; they are computed from the "
                "maps, whose gradient includes the path through the gates.",
                _step(se_backward=_se_without_path), "Eqs. (2) to (4)"),
        Mistake("gates left out of the direct path", "The gradient was passed on to the branch without the gates; the "
                "derivative of s u with respect to u is s.", _step(se_backward=_se_without_gate), "Eq. (4)"),
        Mistake("SE skipped in the backward pass", "The backward pass skipped the SE block, so that W1 and W2 did not "
                "change and the gradient of the branch lacked the gates.",
                _step(se_backward=lambda dS, A, W1, W2: (dS, 0 * W1, 0 * W2)),
                "Eqs. (2) to (4)"),
        Mistake("SE left out", "The SE block was left out of both passes, so that W1 and W2 did not change; it should "
                "scale the branch before the sum.",
                _step(join=lambda X, A, W1, W2: X + A, se_backward=lambda dS, A, W1, W2: (dS, 0 * W1, 0 * W2)),
                "Eqs. (2) to (4)"),
        Mistake("no shortcut", "X was not added; it should be added to the branch.",
                _step(join=lambda X, A, W1, W2: _se(A, W1, W2))),
        Mistake("statistics held constant", "The mean and variance of batch norm were treated as constants in the "
                "backward pass; they are computed from the batch and have gradients.",
                _step(bn1_backward=_held_constant, bn2_backward=_held_constant)),
        Mistake("filters flipped in the backward pass", "The gradient was passed through the second convolution with "
                "its filters rotated by 180°; when windows are added back, the filters are not flipped.",
                _step(conv2_backward=lambda dU, H, A, V: (
                    _conv_backward(dU, H, V[::-1, ::-1])[0], _conv_backward(dU, H, V)[1])), "Eq. (1)"),
        Mistake("filter channels not swapped", "The gradient was passed through the second convolution from input to "
                "output channels; the backward pass should go from output to input channels.",
                _step(conv2_backward=lambda dU, H, A, V: (
                    _conv_backward(dU, H, V.swapaxes(2, 3))[0], _conv_backward(dU, H, V)[1])), "Eq. (1)"),
        Mistake("V2 from before the ReLU", "The gradient of V2 was computed with the input of the ReLU; the second "
                "convolution receives the ReLU's output.",
                _step(conv2_backward=lambda dU, H, A, V: (
                    _conv_backward(dU, H, V)[0], _conv_backward(dU, A, V)[1])), "Eq. (1)"),
        Mistake("gammas and betas not updated", "The gammas and betas of batch norm were not updated; they should be "
                "trained too.", _not_updated("gamma1", "beta1", "gamma2", "beta2")),
        Mistake("gate weights not updated", "W1 and W2 were not updated; they should be trained too.",
                _not_updated("W1", "W2")),
        Mistake("bias not updated", "b was not updated; it should be trained too.", _not_updated("b")),
        Mistake("only the classifier updated", "Only W and b were updated; all parameters should be.",
                _not_updated(
            "V1", "gamma1", "beta1", "V2", "gamma2", "beta2", "W1", "W2")),
    ),
    written=_se_resnet_step,
    alternates=(_se_resnet_step, *(_alternate(_step, k) for k in range(1, 4))),
)  # fmt: skip

TASKS = (residual_block, se_resnet_step)
