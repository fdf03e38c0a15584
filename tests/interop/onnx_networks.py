"""Networks for the tests of ONNX: every kind of layer, and named networks whose statistics fit their images."""

import numpy as np

from se_numpy import engine, layers, models
from se_numpy.data.batches import Normalisation
from se_numpy.layers import (
    SE,
    BatchNorm,
    Bias,
    ChannelShuffle,
    Conv,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Linear,
    NoSqueeze,
    Pool,
    ReLU,
    SEVariant,
    concat,
    residual,
    serial,
    walk,
)
from se_numpy.train import Trained
from se_numpy.tree import leaves

END = (GlobalAveragePool(), Linear(3))
NETWORKS = {
    "strides and groups": serial(Conv(6, 3, 2), ReLU(), Conv(6, 5, 1, 1, 3), Conv(4, 1, 2, 0, 2), *END),
    "batch norm first, after a filter, and after another": serial(
        BatchNorm(1e-2), Conv(4), BatchNorm(), BatchNorm(1e-4), ReLU(), *END
    ),
    "biases": serial(Conv(4), Bias(), Bias(), ReLU(), Bias(), GlobalAveragePool(), Bias(), Linear(3, bias=False)),
    "a bias beside its own input": serial(Conv(4), residual(Bias()), ReLU(), *END),
    "a bias in a part beside another user": serial(Conv(4), residual(serial(Bias(), ReLU()), BatchNorm()), *END),
    "pooling": serial(Conv(4), Pool("max", 3, 2, 1), Pool("avg", 3, 1, 1), Pool("avg", 2), *END),
    "pooling beyond the edge": serial(Conv(4), Pool("max", 3, 2, ceil=True), Pool("max", 2, 3, ceil=True), *END),
    "windows that leave pixels out": serial(Conv(4), Pool("max", 3, 4), Flatten(), Linear(3)),
    "flattened": serial(Conv(4), ReLU(), Flatten(), Dropout(), Linear(5), BatchNorm(), ReLU(), Linear(3)),
    "shuffled": serial(Conv(6), ChannelShuffle(3), Conv(6, groups=3), ChannelShuffle(2), *END),
    "SE": serial(Conv(6), SE(2), residual(serial(Conv(6), SE(3, bias=True)), SE(6, divisor=4)), *END),
    "variants": serial(Conv(6), SEVariant(2, gate="tanh"), SEVariant(2, True, "relu", "max"), *END),
    "no squeeze": serial(Conv(6), NoSqueeze(2), NoSqueeze(3, True, "tanh"), *END),
    "side by side": serial(concat(Conv(2), Pool("max", 3, 1, 1), serial()), concat(Conv(3, 1), Conv(2, 1)), *END),
    "three summands": serial(
        Conv(4), layers.Sum((("a", Conv(4)), ("b", Conv(4, 1)), ("c", serial()))), layers.Sum((("d", ReLU()),)), *END
    ),
    "a residual at the top": residual(serial(*END), serial(Conv(2), *END)),
    "parts named as tensors": serial(images=Conv(4), out=ReLU(), pool=GlobalAveragePool(), logits=Linear(3)),
}


def trained(net, shape=(11, 9, 3), seed=0, model="own"):
    """Return a network whose statistics, gains and biases differ from their initial values."""
    rng = np.random.default_rng(seed)
    params, state = layers.init(net, shape, rng)
    normalise = Normalisation(rng.random(shape[-1]), rng.random(shape[-1]) + 0.1)
    for _, leaf in leaves(params):
        if leaf.ndim == 1:
            leaf += rng.normal(0, 0.3, leaf.shape).astype(leaf.dtype)
    _quieten(params, net, shape)
    compiled = engine.compile(net)
    pixels = images(shape, 16 if shape[0] < 100 else 4)
    _, cache = compiled.forward(params, state, normalise(pixels), train=True, rng=rng)
    compiled.update_running(state, cache, momentum=1.0)
    classes = tuple(f"class {k}" for k in range(net.output_shape(shape)[0]))
    return Trained(net, params, state, normalise, classes, shape, {"model": model})


def _quieten(params, net, shape):
    """Scale the last layer of each residual branch: in deep untrained networks rounding grows from unit to unit."""
    last = {
        name.partition(".branch.")[0]: f"{name}.{'V' if type(layer) is Conv else 'gamma'}"
        for name, layer, _ in walk(net, shape) if ".branch." in name and type(layer) in (Conv, BatchNorm)
    }  # fmt: skip
    arrays = dict(leaves(params))
    for name in last.values():
        arrays[name] *= 0.3


def named(name, seed=0):
    """Return a network of ``models`` by its name."""
    return trained(models.build(name), models.image_shape(name), seed, name)


def images(shape=(11, 9, 3), n=3, seed=1):
    """Return noise on flat colours: batch norm would magnify the little that distinguishes images of noise alone."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (n, 1, 1, shape[-1]))
    return (0.6 * colours + 0.4 * rng.integers(0, 256, (n, *shape))).astype(np.uint8)


def expected(network, pixels):
    """Return the logits by the plain equations."""
    return network.net.forward(network.params, network.state, network.normalise(pixels))[0]


def error(found, right):
    """Return the largest difference relative to the largest value."""
    assert found.shape == right.shape
    return abs(found - right).max() / abs(right).max()
