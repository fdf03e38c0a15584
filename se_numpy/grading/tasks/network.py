"""What the parts make together: a residual block with SE, and one step of training with it."""

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


# All that the two tasks are made of; alternates and mistakes exchange some of it.
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
    """Every value of the block, by its name; ``f`` has the parts."""
    U1 = f.conv1(X, V1)
    A1 = f.bn1(U1, gamma1, beta1)
    H = f.relu1(A1)
    U2 = f.conv2(H, V2)
    A2 = f.bn2(U2, gamma2, beta2)
    S = f.join(X, A2, W1, W2)
    return SimpleNamespace(U1=U1, A1=A1, H=H, U2=U2, A2=A2, S=S, Y=f.relu2(S))


def _block(**exchanged: Callable[..., Any]) -> Callable[..., Any]:
    f = SimpleNamespace(**{**PARTS, **exchanged})
    return lambda *arguments: _forward(f, *arguments).Y


def _step(**exchanged: Callable[..., Any]) -> Callable[..., Any]:
    f = SimpleNamespace(**{**PARTS, **exchanged})

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
    """What the ReLU between the two layers of the gates is given."""
    return se.squeeze(A) @ W1.T


def _lively(arguments: Arguments) -> Arguments:
    """Numbers with which every part has something to say, and a rounding does not change a gradient.

    Every other hidden unit of the gates is open for most images, and no ReLU gets a number within 10⁻³ of its corner.
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
    """Put together from the k-th other way to write each part."""

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
)


def _se(A: np.ndarray, W1: np.ndarray, W2: np.ndarray) -> np.ndarray:
    return se.se_block(A, W1, W2)


def _gates(A: np.ndarray, W1: np.ndarray, W2: np.ndarray) -> np.ndarray:
    return se.excite(se.squeeze(A), W1, W2)[:, None, None]


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
    prepare=_lively,
    specials=SPECIALS,
    points=4,
    likely=("no shortcut", "SE after the sum", "SE left out", "ReLU before the sum too", "no ReLU at the end",
            "the first filters twice"),
    hint="Both convolutions have stride 1 and padding 1; batch norm is that of training, with eps = 10⁻⁵.",
    mistakes=(
        Mistake("no shortcut", "X was not added: the block is X plus its branch.",
                _block(join=lambda X, A, W1, W2: _se(A, W1, W2))),
        Mistake("shortcut added twice", "X was added twice.", _block(join=lambda X, A, W1, W2: 2 * X + _se(A, W1, W2))),
        Mistake("SE left out", "The SE block was never called.", _block(join=lambda X, A, W1, W2: X + A)),
        Mistake("SE on the shortcut", "The gates scaled X; they belong on the branch, before the sum.",
                _block(join=lambda X, A, W1, W2: _se(X, W1, W2) + A)),
        Mistake("SE after the sum", "The gates scaled the sum; they belong on the branch, before the sum.",
                _block(join=lambda X, A, W1, W2: _se(X + A, W1, W2))),
        Mistake("SE after the last ReLU", "The gates scaled the block's result; they belong on the branch, before the "
                "sum.", lambda *a: _se(_block(join=lambda X, A, W1, W2: X + A)(*a), *a[-2:])),
        Mistake("gates from the shortcut", "The gates were computed from X; the branch gates itself.",
                _block(join=lambda X, A, W1, W2: X + A * _gates(X, W1, W2))),
        Mistake("gates alone", "The gates were added to X; they multiply the branch.",
                _block(join=lambda X, A, W1, W2: X + _gates(A, W1, W2))),
        Mistake("1 + s", "The branch was added to its gated self, A (1 + s); Eq. (4) is s A.",
                _block(join=lambda X, A, W1, W2: X + A * (1 + _gates(A, W1, W2))), "Eq. (4)"),
        Mistake("gates from a maximum", "The squeeze of the gates took the largest pixel; Eq. (2) is the mean.",
                _block(join=lambda X, A, W1, W2: X + A * se.excite(A.max((1, 2)), W1, W2)[:, None, None]), "Eq. (2)"),
        Mistake("softmax gates", "The gates are a softmax; Eq. (3) has a sigmoid.",
                _block(join=lambda X, A, W1, W2: X + A * softmax(relu(se.squeeze(A) @ W1.T) @ W2.T)[:, None, None]),
                "Eq. (3)"),
        Mistake("ReLU before SE", "A ReLU stands between the second batch norm and SE; there is none.",
                _block(join=lambda X, A, W1, W2: X + _se(relu(A), W1, W2))),
        Mistake("ReLU before the sum", "The ReLU stands on the branch, before the sum; it is the block's last step.",
                _block(join=lambda X, A, W1, W2: X + relu(_se(A, W1, W2)), relu2=lambda S: S)),
        Mistake("ReLU before the sum too", "A ReLU stands on the branch, before the sum; the one after it is enough.",
                _block(join=lambda X, A, W1, W2: X + relu(_se(A, W1, W2)))),
        Mistake("no ReLU at the end", "The sum came back; a ReLU follows it.", _block(relu2=lambda S: S)),
        Mistake("no ReLU between", "The ReLU between the convolutions is missing.", _block(relu1=lambda A: A)),
        Mistake("no batch norm after the first convolution", "The first batch norm is missing.",
                _block(bn1=lambda x, gamma, beta: x)),
        Mistake("no batch norm after the second convolution", "The second batch norm is missing.",
                _block(bn2=lambda x, gamma, beta: x)),
        Mistake("batch norm after the ReLU", "ReLU, then batch norm; batch norm comes first.",
                _block(bn1=lambda x, gamma, beta: batch_norm(relu(x), gamma, beta), relu1=lambda A: A)),
        Mistake("batch norm before the convolutions", "Batch norm and ReLU came before each convolution, the order of "
                "the pre-activation block; here they come after it.", _pre_activation),
        Mistake("each image normalised by itself", "Batch norm took its statistics from every image; they run over the "
                "batch too.", _block(
                    bn1=lambda *a: norm._over(1, 2)(*a, EPS), bn2=lambda *a: norm._over(1, 2)(*a, EPS))),
        Mistake("variance divided by m - 1", "Batch norm took the variance divided by m - 1; it is divided by m.",
                _block(
            bn1=lambda *a: norm._norm(var=lambda x: x.var((0, 1, 2), ddof=1))(*a, EPS),
            bn2=lambda *a: norm._norm(var=lambda x: x.var((0, 1, 2), ddof=1))(*a, EPS))),
        Mistake("filters flipped", "Both convolutions turned their filters by 180°; ∗ of Eq. (1) is cross-correlation.",
                _block(conv1=lambda X, V: _conv(X, V[::-1, ::-1]), conv2=lambda X, V: _conv(X, V[::-1, ::-1])),
                "Eq. (1)"),
        Mistake("the first filters twice", "V1 was used in both convolutions; the second has V2.",
                lambda X, V1, g1, b1, V2, *a: _block()(X, V1, g1, b1, V1, *a)),
        Mistake("V1 and V2 exchanged", "The first convolution had V2, the second V1.",
                lambda X, V1, g1, b1, V2, *a: _block()(X, V2, g1, b1, V1, *a)),
        Mistake("the first gamma and beta twice", "gamma1 and beta1 were used in both batch norms; the second has "
                "its own.",
                lambda X, V1, g1, b1, V2, g2, b2, *a: _block()(X, V1, g1, b1, V2, g1, b1, *a)),
    ),
    written=_residual_block,
    alternates=(_residual_block, *(_alternate(_block, k) for k in range(1, 4))),
)  # fmt: skip


# ------------------------------------------------------------------------------------------- a step of training

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
    title="A step of training of a small SE-ResNet",
    oracle=_RIGHT,
    axes=AXES + ", labels: N, W: K C, b: K",
    sizes={**SIZES, "K": (3, 6)},
    hyper={"lr": (1.0, 2.0, 4.0)},  # large, so that a wrong gradient shows in the parameters
    fill={**FILL, "labels": "labels"},
    prepare=_lively,
    specials=(*SPECIALS, Special("as many classes as channels", {"C": 4, "K": 4})),
    points=6,
    rounds=5,
    likely=("learning rate left out", "1/(HW) forgotten", "statistics held constant",
            "path through the gates left out", "first ReLU's mask left out", "gradients alone", "loss after the step"),
    hint="residual_block, the mean of each channel (Eq. 2), W z + b, softmax cross-entropy, and p - lr ∂L/∂p for every "
    "parameter, all gradients taken before any parameter moves. loss is that before the step.",
    mistakes=(
        Mistake("sign of the step", "p + η ∂L/∂p climbs; p - η ∂L/∂p descends.",
                _step(update=lambda name, p, dp, lr: p + lr * dp)),
        Mistake("learning rate left out", "p - ∂L/∂p: the learning rate is missing.",
                _step(update=lambda name, p, dp, lr: p - dp)),
        Mistake("gradients alone", "The gradients came back; the new parameters p - η ∂L/∂p were asked for.",
                _step(update=lambda name, p, dp, lr: dp)),
        Mistake("new V1 and V2 exchanged", "Both are right, but in each other's place.",
                lambda *a, **h: (lambda t: (t[0], t[4], *t[2:4], t[1], *t[5:]))(_RIGHT(*a, **h))),
        Mistake("loss after the step", "The parameters are right, but the loss is that after the step.", _loss_after),
        Mistake("loss summed", "The loss was summed over the batch, its gradients too; it is the mean.",
                _step(loss=lambda x, labels: ops.softmax_cross_entropy(x, labels) * len(x),
                      loss_backward=lambda x, labels: ops.softmax_cross_entropy_backward(float(len(x)), x, labels))),
        Mistake("gradients without 1/N", "The loss is the mean over the batch, but its gradients are those of the sum.",
                _step(loss_backward=lambda x, labels: ops.softmax_cross_entropy_backward(float(len(x)), x, labels))),
        Mistake("1/N twice", "The gradients were divided by N once more; the loss has its 1/N already.",
                _step(loss_backward=lambda x, labels: ops.softmax_cross_entropy_backward(1 / len(x), x, labels))),
        Mistake("labels counted from 1", "The class before the label was taken: labels count from 0.",
                lambda X, labels, *a, **h: _RIGHT(X, (labels - 1) % len(a[-1]), *a, **h)),
        Mistake("no label in the gradient", "The gradient of the logits is p; it is p - q, with q = 1 at the label.",
                _step(loss_backward=lambda x, labels: softmax(x) / len(x))),
        Mistake("classifier first", "W was renewed before its old value had passed the gradient on.",
                _step(linear_backward=_classifier_first)),
        Mistake("db as a mean", "db was averaged over the batch; the loss has its 1/N already.",
                _step(linear_backward=lambda dx, z, W, b, lr: (dx @ W, dx.T @ z, dx.mean(0)))),
        Mistake("largest for the mean before the classifier", "The maps were pooled by their maximum; "
                "it is their mean.",
                _step(pool=lambda Y: Y.max((1, 2)), pool_backward=ops.global_max_pool2d_backward), "Eq. (2)"),
        Mistake("1/(HW) forgotten", "The gradient of the last pooling lacks its 1/(HW): every pixel has a share.",
                _step(pool_backward=lambda dz, Y: dz[:, None, None] + 0 * Y), "Eq. (2)"),
        Mistake("last ReLU's mask left out", "The gradient passed the last ReLU everywhere; it passes where the sum "
                "was positive.", _step(relu2_backward=lambda dy, x: dy)),
        Mistake("first ReLU's mask left out", "The gradient passed the ReLU between the convolutions everywhere; it "
                "passes where its input was positive.", _step(relu1_backward=lambda dy, x: dy)),
        Mistake("path through the gates left out", "The gates were held constant for the maps under them, which also "
                "made them: that path is missing.", _step(se_backward=_se_without_path), "Eqs. (2) to (4)"),
        Mistake("gates left out of the direct path", "The gradient went back to the branch without its gates; the "
                "derivative of s u by u is s.", _step(se_backward=_se_without_gate), "Eq. (4)"),
        Mistake("SE skipped on the way back", "The gradient went around the SE block: its weights did not learn, and "
                "the branch lacks the gates.", _step(se_backward=lambda dS, A, W1, W2: (dS, 0 * W1, 0 * W2)),
                "Eqs. (2) to (4)"),
        Mistake("SE never called", "The SE block is missing on both ways, so that W1 and W2 did not learn.",
                _step(join=lambda X, A, W1, W2: X + A, se_backward=lambda dS, A, W1, W2: (dS, 0 * W1, 0 * W2)),
                "Eqs. (2) to (4)"),
        Mistake("no shortcut", "X was not added to the branch.", _step(join=lambda X, A, W1, W2: _se(A, W1, W2))),
        Mistake("statistics held constant", "Batch norm's mean and variance were held constant on the way back; they "
                "are the batch's own and move with it.",
                _step(bn1_backward=_held_constant, bn2_backward=_held_constant)),
        Mistake("filters turned once too often", "The gradient passed the second convolution with its filters turned "
                "by 180° although its windows are added back as they are.",
                _step(conv2_backward=lambda dU, H, A, V: (
                    _conv_backward(dU, H, V[::-1, ::-1])[0], _conv_backward(dU, H, V)[1])), "Eq. (1)"),
        Mistake("channels of the filters not exchanged", "The gradient passed the second convolution from input to "
                "output channels; it goes the other way.",
                _step(conv2_backward=lambda dU, H, A, V: (
                    _conv_backward(dU, H, V.swapaxes(2, 3))[0], _conv_backward(dU, H, V)[1])), "Eq. (1)"),
        Mistake("second filters from before the ReLU", "V2's gradient was taken with what stood before the ReLU; the "
                "second convolution saw what came out of it.",
                _step(conv2_backward=lambda dU, H, A, V: (
                    _conv_backward(dU, H, V)[0], _conv_backward(dU, A, V)[1])), "Eq. (1)"),
        Mistake("gammas and betas not renewed", "Batch norm's gammas and betas stayed as they were; they learn too.",
                _not_updated("gamma1", "beta1", "gamma2", "beta2")),
        Mistake("gates not renewed", "W1 and W2 stayed as they were; they learn too.", _not_updated("W1", "W2")),
        Mistake("bias not renewed", "b stayed as it was; it learns too.", _not_updated("b")),
        Mistake("classifier alone renewed", "Only W and b were renewed; all parameters learn.", _not_updated(
            "V1", "gamma1", "beta1", "V2", "gamma2", "beta2", "W1", "W2")),
    ),
    written=_se_resnet_step,
    alternates=(_se_resnet_step, *(_alternate(_step, k) for k in range(1, 4))),
)  # fmt: skip

TASKS = (residual_block, se_resnet_step)
