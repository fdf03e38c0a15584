"""A single layer as a node: the engine's implementation of its exact type, or the layer's own forward and backward."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from se_numpy import se
from se_numpy.arrays import Array
from se_numpy.engine import conv, functions, norm
from se_numpy.engine.affine_maps import AffineMaps, affine
from se_numpy.engine.lanes import add
from se_numpy.engine.node import Node, Pass, Upstream
from se_numpy.engine.sums import batch_sum, pixel_sum
from se_numpy.layers import (
    SE,
    BatchNorm,
    Bias,
    Conv,
    GlobalAveragePool,
    Layer,
    Linear,
    Pool,
    ReLU,
    Result,
    SEVariant,
)
from se_numpy.layers.excitation import SQUEEZES, SECache
from se_numpy.layers.simple import BatchNormCache
from se_numpy.shapes import check
from se_numpy.tree import Tree


class Form(NamedTuple):
    """The engine's implementation of a layer.

    The calls are forward(layer, params, state, X, train) and backward(layer, params, cache, dY). The caches are the
    layer's own, so its other methods accept them.
    """

    forward: Callable[[Any, Tree, Tree, Array, bool], Result]
    backward: Callable[[Any, Tree, Any, Array], tuple[Array, Tree]]


def _conv(layer: Conv, params: Tree, state: Tree, X: Array, train: bool) -> Result:
    return functions.conv2d(X, params["V"], **layer.hyper), X


def _conv_backward(layer: Conv, params: Tree, X: Array, dY: Array) -> tuple[Array, Tree]:
    dX, dV = functions.conv2d_backward(dY, X, params["V"], **layer.hyper)
    return dX, {"V": dV}


def _filters_gradient(layer: Conv, params: Tree, X: Array, dY: Array) -> Tree:
    """Return only the gradient of the filters, for the first layer of a network."""
    hyper: dict[str, Any] = layer.hyper
    _, dV, _ = conv.convolve_backward(AffineMaps(dY), AffineMaps(X), params["V"], **hyper, input_gradient=False)
    return {"V": dV}


def _batch_norm(layer: BatchNorm, params: Tree, state: Tree, X: Array, train: bool) -> Result:
    gamma, beta = params["gamma"], params["beta"]
    check("x: N ... C, gamma: C, beta: C", X, gamma, beta)
    if train:
        mean, var, _, a, c = norm.statistics(X, gamma, beta, layer.eps)
    else:
        mean, var = state["mean"], state["var"]
        a, c = norm.scale_and_shift(mean, var, gamma, beta, layer.eps)
    return affine(X, a, c), BatchNormCache(X, mean, var, train)


def _batch_norm_backward(layer: BatchNorm, params: Tree, cache: BatchNormCache, dY: Array) -> tuple[Array, Tree]:
    x, mean, var, of_batch = cache
    dX, dgamma, dbeta = norm.batch_norm_backward_from(dY, x, mean, var, params["gamma"], layer.eps, of_batch=of_batch)
    return dX, {"gamma": dgamma, "beta": dbeta}


def _linear(layer: Linear, params: Tree, state: Tree, X: Array, train: bool) -> Result:
    return functions.linear(X, **params), X


def _linear_backward(layer: Linear, params: Tree, X: Array, dY: Array) -> tuple[Array, Tree]:
    dX, *dW = functions.linear_backward(dY, X, **params)
    return dX, dict(zip(params, dW, strict=True))


def _bias(layer: Bias, params: Tree, state: Tree, X: Array, train: bool) -> Result:
    check("X: N ... C, b: C", X, params["b"])
    return AffineMaps(X, c=params["b"]).write(), None


def _bias_backward(layer: Bias, params: Tree, cache: None, dY: Array) -> tuple[Array, Tree]:
    return dY, {"b": batch_sum(dY if dY.ndim == 2 else pixel_sum(dY))}


def _relu(layer: ReLU, params: Tree, state: Tree, X: Array, train: bool) -> Result:
    Y = functions.relu(X)
    return Y, Y


def _relu_backward(layer: ReLU, params: Tree, Y: Array, dY: Array) -> tuple[Array, Tree]:
    return functions.relu_backward(dY, Y), {}


def _global_average_pool(layer: GlobalAveragePool, params: Tree, state: Tree, X: Array, train: bool) -> Result:
    return functions.squeeze(X), X


def _global_average_pool_backward(layer: GlobalAveragePool, params: Tree, X: Array, dY: Array) -> tuple[Array, Tree]:
    return se.squeeze_backward(dY, X), {}


def _pool(layer: Pool, params: Tree, state: Tree, X: Array, train: bool) -> Result:
    return functions.by_images(lambda x: layer.forward({}, {}, x)[0], X), X


def _pool_backward(layer: Pool, params: Tree, X: Array, dY: Array) -> tuple[Array, Tree]:
    return functions.by_images(lambda dy, x: layer.backward({}, x, dy)[0], dY, X), {}


def _se(layer: SE, params: Tree, state: Tree, X: Array, train: bool) -> Result:
    z = SQUEEZES["max"][0](X) if _squeezes_by_maximum(layer) else functions.squeeze(X)
    s = se.excite(z, **params, gate=getattr(layer, "gate", "sigmoid"))
    return affine(X, s), SECache(X, z, s)


def _se_backward(layer: SE, params: Tree, cache: SECache, dY: Array) -> tuple[Array, Tree]:
    if _squeezes_by_maximum(layer):
        return layer.backward(params, cache, dY)
    weights = tuple(params.get(name) for name in ("W1", "W2", "b1", "b2"))
    dU, *dW = functions.se_block_backward_from(dY, *cache, weights, getattr(layer, "gate", "sigmoid"))
    return dU, dict(zip(params, dW, strict=True))


def _squeezes_by_maximum(layer: SE) -> bool:
    return isinstance(layer, SEVariant) and layer.squeeze == "max"


FORMS: dict[type[Layer], Form] = {  # exact types: a subclass may compute something else
    Conv: Form(_conv, _conv_backward),
    BatchNorm: Form(_batch_norm, _batch_norm_backward),
    Bias: Form(_bias, _bias_backward),
    Linear: Form(_linear, _linear_backward),
    ReLU: Form(_relu, _relu_backward),
    GlobalAveragePool: Form(_global_average_pool, _global_average_pool_backward),
    Pool: Form(_pool, _pool_backward),
    SE: Form(_se, _se_backward),
    SEVariant: Form(_se, _se_backward),
}


@dataclass(frozen=True)
class LayerNode(Node):
    """A single layer.  With ``plain``, its own forward and backward are always used."""

    layer: Layer
    keep_gates: str | None = None  # the name under which an SE block's gates are kept
    plain: bool = False

    @property
    def form(self) -> Form | None:
        """The engine's implementation of the layer, or None if there is none for its exact type."""
        return None if self.plain else FORMS.get(type(self.layer))

    def forward_lazy(self, params: Tree, state: Tree, X: AffineMaps, run: Pass) -> tuple[AffineMaps, Any]:
        if self.form:
            Y, cache = self.form.forward(self.layer, params, state, X.write(), run.train)
        else:
            Y, cache = self.layer.forward(params, state, X.write(), train=run.train, rng=run.rng)
        if self.keep_gates is not None:
            if not hasattr(cache, "s"):
                raise ValueError(f"{self.layer} keeps no gates; expected a cache with the attribute s, like SE's")
            run.kept[self.keep_gates] = cache.s
        return AffineMaps(Y), cache

    def backward_lazy(
        self, params: Tree, cache: Any, up: Upstream, *, extra: Array | None = None, input_gradient: bool = True
    ) -> tuple[Upstream, Tree]:
        if type(self.layer) is Conv and self.form and not input_gradient:
            return Upstream(None), _filters_gradient(self.layer, params, cache, up.dY)
        if self.form:
            dX, grads = self.form.backward(self.layer, params, cache, up.dY)
        else:
            dX, grads = self.layer.backward(params, cache, up.dY)
        return Upstream(dX if extra is None else add(dX, extra)), grads

    def batch_stats(self, cache: Any) -> Tree:
        return self.layer.batch_stats(cache)
