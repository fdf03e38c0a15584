"""Comparisons with PyTorch, if it is installed: operations, and a whole network over a few steps of SGD."""

import numpy as np
import pytest

import se_numpy as sn
from se_numpy import models, ops, optim, tree
from se_numpy.layers import init

torch = pytest.importorskip("torch")
torch_peer = pytest.importorskip("torch_peer")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def leaf(x, nchw=False):
    t = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2) if nchw else x))
    return t.requires_grad_()


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 1, 1), (2, 0, 1), (3, 2, 2), (2, 1, 4), (1, 0, 4)])
def test_conv2d(stride, padding, groups):
    X, V = normal(3, 8, 7, 4), normal(3, 2, 4 // groups, 8, seed=1)
    X_t, V_t = leaf(X, nchw=True), torch.from_numpy(V.transpose(3, 2, 0, 1).copy()).requires_grad_()
    U_t = torch.nn.functional.conv2d(X_t, V_t, stride=stride, padding=padding, groups=groups)
    hyper = {"stride": stride, "padding": padding, "groups": groups}
    U = sn.conv2d(X, V, **hyper)
    np.testing.assert_allclose(U, U_t.detach().numpy().transpose(0, 2, 3, 1), atol=1e-12)
    dU = normal(*U.shape, seed=2)
    U_t.backward(torch.from_numpy(dU.transpose(0, 3, 1, 2).copy()))
    dX, dV = sn.conv2d_backward(dU, X, V, **hyper)
    np.testing.assert_allclose(dX, X_t.grad.numpy().transpose(0, 2, 3, 1), atol=1e-12)
    np.testing.assert_allclose(dV, V_t.grad.numpy().transpose(2, 3, 1, 0), atol=1e-12)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 0)])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling(kind, kernel, stride, padding):
    x = normal(3, 8, 7, 4)
    x_t = leaf(x, nchw=True)
    y_t = getattr(torch.nn.functional, f"{kind}_pool2d")(x_t, kernel, stride, padding)
    hyper = {"kernel": kernel, "stride": stride, "padding": padding}
    y = getattr(sn, f"{kind}_pool2d")(x, **hyper)
    np.testing.assert_allclose(y, y_t.detach().numpy().transpose(0, 2, 3, 1), atol=1e-12)
    dy = normal(*y.shape, seed=1)
    y_t.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2).copy()))
    dx = getattr(sn, f"{kind}_pool2d_backward")(dy, x, **hyper)
    np.testing.assert_allclose(dx, x_t.grad.numpy().transpose(0, 2, 3, 1), atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss(smoothing):
    x, labels = normal(6, 5), np.array([0, 4, 1, 1, 3, 2])
    x_t = leaf(x)
    loss_t = torch.nn.functional.cross_entropy(x_t, torch.from_numpy(labels), label_smoothing=smoothing)
    loss_t.backward()
    np.testing.assert_allclose(sn.softmax_cross_entropy(x, labels, smoothing=smoothing), loss_t.item())
    dx = sn.softmax_cross_entropy_backward(1.0, x, labels, smoothing=smoothing)
    np.testing.assert_allclose(dx, x_t.grad.numpy(), atol=1e-14)


@pytest.mark.parametrize(("name", "reduction", "bias"), [("resnet8", None, False), ("se_resnet14", 4, True)])
def test_a_network_trained_for_a_few_steps(name, reduction, bias):
    """Logits, gradients, running statistics and parameters agree with PyTorch in float64 after each step."""
    net, shape = models.build(name, reduction=reduction, bias=bias, classes=6), (13, 12, 3)
    params, state = init(net, shape, np.random.default_rng(0), np.float64)
    module = torch_peer.modules(net, shape).double()
    torch_peer.copy_weights(net, dict(tree.leaves(params)) | dict(tree.leaves(state)), module)
    w, v = tree.flatten(params), np.zeros(tree.size(params))
    params = tree.unflatten(w, params)
    ours = optim.SGD(momentum=0.9, weight_decay=1e-2, nesterov=True)
    theirs = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2, nesterov=True)
    names = dict(torch_peer.torch_names(net))
    rng = np.random.default_rng(1)
    for _ in range(3):
        X, labels = rng.standard_normal((5, *shape)), rng.integers(0, 6, 5)
        logits, cache = net.forward(params, state, X, train=True)
        net.update_running(state, cache)
        dlogits = ops.softmax_cross_entropy_backward(1.0, logits, labels)
        _, grads = net.backward(params, cache, dlogits)

        theirs.zero_grad()
        logits_t = module(torch.from_numpy(X.transpose(0, 3, 1, 2).copy()))
        torch.nn.functional.cross_entropy(logits_t, torch.from_numpy(labels)).backward()
        np.testing.assert_allclose(logits, logits_t.detach().numpy(), atol=1e-10)
        gradients = dict(module.named_parameters())
        for ours_name, g in tree.leaves(grads):
            expected = gradients[names[ours_name]].grad.numpy()
            np.testing.assert_allclose(torch_peer.to_torch(g).numpy(), expected, atol=1e-10)
        theirs.step()
        ours.step(w, tree.flatten(grads), v, 0.05)
    after = module.state_dict()
    for ours_name, array in (*tree.leaves(params), *tree.leaves(state)):
        np.testing.assert_allclose(torch_peer.to_torch(array).numpy(), after[names[ours_name]].numpy(), atol=1e-10)
    X = rng.standard_normal((4, *shape))
    module.eval()
    with torch.no_grad():
        expected = module(torch.from_numpy(X.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(net.forward(params, state, X)[0], expected, atol=1e-9)
