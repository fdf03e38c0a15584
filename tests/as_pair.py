"""A network as a pair f, f_backward, so that the checks of pairs apply to it."""

from se_numpy import tree


def functions(net, params, state, train):
    """Return f(X, w) and f_backward(dY, X, w) of a network, where the vector w holds all its parameters."""

    def f(X, *w):
        p = tree.unflatten(*w, params) if w else params
        return net.forward(p, state, X, train=train)[0]

    def f_backward(dY, X, *w):
        p = tree.unflatten(*w, params) if w else params
        _, cache = net.forward(p, state, X, train=train)
        dX, grads = net.backward(p, cache, dY)
        assert [name for name, _ in tree.leaves(grads)] == [name for name, _ in tree.leaves(params)]
        return (dX, tree.flatten(grads)) if w else (dX,)

    return f, f_backward
