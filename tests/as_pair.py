"""A network as a pair f, f_backward, for the checks that hold for pairs."""

from se_numpy import tree


def functions(net, params, state, train):
    """The network as a pair f(X, w), f_backward(dY, X, w), w all its parameters in one vector."""

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
