"""The differences between a network in PyTorch and the same network here: logits, gradients, running statistics."""

import numpy as np
import torch

from se_numpy import tree


def relative_error(ours, theirs):
    """Return the largest difference, relative to the largest absolute value of ``theirs``, which must not be 0."""
    assert np.abs(theirs).max() > 0
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def as_state_dict(module):
    return {name: t.detach().numpy().copy() for name, t in module.state_dict().items()}


def evaluation_errors(module, net, params, state, X_t, X):
    with torch.no_grad():
        return {"logits, eval": relative_error(net.forward(params, state, X)[0], module.eval()(X_t).numpy())}


def training_errors(module, net, params, state, X_t, X, wanted):
    """Return the errors of logits, of all gradients for a random upstream gradient, and of the running statistics."""
    logits_t = module.train()(X_t)
    dlogits = np.random.default_rng(6).standard_normal(logits_t.shape)
    logits_t.backward(torch.from_numpy(dlogits))
    logits, cache = net.forward(params, state, X, train=True)
    net.update_running(state, cache)
    grads = dict(tree.leaves(net.backward(params, cache, dlogits)[1]))
    theirs = {n: p.grad.numpy() for n, p in module.named_parameters()}
    learned = [t for t in wanted if t.tree == "params"]
    # All gradients are compared, except for biases before a batch norm, which our networks do not have.
    assert {t.ours for t in learned} == set(grads)
    assert {t.theirs for t in learned} == set(theirs) - {t.conv_bias for t in wanted}
    after, ours = as_state_dict(module), dict(tree.leaves(state))
    return {
        "logits, train": relative_error(logits, logits_t.detach().numpy()),
        "gradients": max(relative_error(t.form.to_theirs(grads[t.ours]), theirs[t.theirs]) for t in learned),
        "running statistics": max(
            relative_error(ours[t.ours] + after.get(t.conv_bias, 0), after[t.theirs])
            for t in wanted
            if t.tree == "state"
        ),
    }
