"""The graph of a network in ONNX's operators: one converter for each kind of layer, found in a table by its exact type.

The graph is plain data, and building it does not need the onnx package. Tensors inside it have the channels first, as
in ONNX: maps (N, C, H, W) and filters (C, C'/groups, k, k). They are named after the layers: "stage1.block1.relu.out"
is an output, "conv.V" a parameter, and "stage1.block1.unit.branch.se1.s" the gates of an SE block.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from se_numpy import layers
from se_numpy.arrays import to_host
from se_numpy.engine.folding import fold as fold_batch_norm
from se_numpy.layers import Combinator, Layer, Shape
from se_numpy.tree import Tree, map_leaves

INPUT, OUTPUT = "images", "logits"
FLOAT = 1  # ONNX's number for float32
GATES = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}
SQUEEZES = {"avg": "GlobalAveragePool", "max": "GlobalMaxPool"}


@dataclass(frozen=True)
class Node:
    """An operator with the names of its inputs and its output, and its attributes."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Graph:
    """The nodes in the order of the forward pass, the constants by name, and the names of the gates by SE block."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    gates: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """A layer's place in the network: its dotted name, input shape (H, W, C) or (D,), parameters and statistics."""

    graph: Graph
    path: str
    shape: Shape
    params: Tree
    state: Tree

    def add(self, op: str, *inputs: str, name: str = "out", **attributes: Any) -> str:
        """Add an operator to the graph and return the name of its output."""
        output = self.name(name)
        self.graph.nodes.append(Node(op, inputs, output, attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        """Add a constant to the graph, floats as float32 and integers as int64, and return its name."""
        array = np.asarray(value)
        self.graph.constants[self.name(name)] = np.array(array, np.float32 if array.dtype.kind == "f" else np.int64)
        return self.name(name)

    def name(self, part: str) -> str:
        """Return the name of a tensor that belongs to this layer."""
        return f"{self.path}.{part}" if self.path else part

    def inside(self, part: str, shape: Shape) -> "Place":
        """Return the place of a part of a combinator."""
        params, state = self.params.get(part, {}), self.state.get(part, {})
        return replace(self, path=self.name(part), shape=shape, params=params, state=state)


Converter = Callable[[Place, Any, str], str]  # place, layer, name of the input -> name of the output


def to_graph(net: Layer, shape: Shape, params: Tree, state: Tree, *, fold: bool = True, normalise: Any = None) -> Graph:
    """Return the graph of a network in evaluation mode; ``fold`` moves batch norms into the convolutions before them.

    Its input is ``INPUT``, (N, C, H, W) float32, or, with a ``Normalisation``, bytes (N, H, W, C). Its output is
    ``OUTPUT``.

    Raises
    ------
    ValueError
        If a layer has no converter; the message names it.
    """
    params, state = map_leaves(to_host, params), map_leaves(to_host, state)
    if fold:
        net, params, state = fold_batch_norm(net, params, state)
    graph = Graph()
    x = INPUT if normalise is None else _normalised(Place(graph, f"{INPUT}/255", shape, {}, {}), normalise)
    y = convert(Place(graph, "", shape, params, state), net, x)
    graph.nodes.append(Node("Identity", (y,), OUTPUT))
    _merge_biases(graph)
    return graph


def convert(at: Place, layer: Layer, x: str) -> str:
    """Add a layer to the graph by the converter of its exact type, for a subclass may have another forward pass.

    Raises
    ------
    ValueError
        If there is none.
    """
    kind = type(layer)
    if kind not in CONVERTERS:
        where = f" ({at.path})" if at.path else ""
        raise ValueError(f"the layer {kind.__name__}{where} cannot be written to ONNX: it has no converter; add one to "
                         "se_numpy.interop.onnx_graph.CONVERTERS")  # fmt: skip
    return CONVERTERS[kind](at, layer, x)


def _normalised(at: Place, normalise: Any) -> str:
    """Add x = scale · byte + shift, as in ``Normalisation``, and put the channels first."""
    scale, shift = normalise.scale_and_shift(np, np.float32)
    x = at.add("Cast", INPUT, name="float", to=FLOAT)
    x = at.add("Mul", x, at.constant("scale", scale), name="scaled")
    x = at.add("Add", x, at.constant("shift", shift), name="normalised")
    return at.add("Transpose", x, perm=[0, 3, 1, 2])


def _merge_biases(graph: Graph) -> None:
    """Make a bias an input of the convolution before it, if nothing else uses that convolution's output."""
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    convolutions = {node.output: node for node in graph.nodes if node.op == "Conv" and uses[node.output] == 1}
    for i, node in enumerate(graph.nodes):
        conv = convolutions.get(node.inputs[0])
        if conv is not None and node.op == "Add" and node.inputs[1] in graph.constants:
            b = graph.constants[node.inputs[1]]
            graph.constants[node.inputs[1]] = b.reshape(-1)
            graph.nodes[i] = replace(conv, inputs=(*conv.inputs, node.inputs[1]), output=node.output)
            graph.nodes[graph.nodes.index(conv)] = replace(conv, op="")
    graph.nodes[:] = [node for node in graph.nodes if node.op]


def _serial(at: Place, net: layers.Serial, x: str) -> str:
    for (name, layer), shape in zip(net.parts, net.input_shapes(at.shape), strict=True):
        x = convert(at.inside(name, shape), layer, x)
    return x


def _parallel(at: Place, net: Combinator, x: str) -> list[str]:
    return [convert(at.inside(name, at.shape), layer, x) for name, layer in net.parts]


def _sum(at: Place, net: layers.Sum, x: str) -> str:
    y, *others = _parallel(at, net, x)
    for i, other in enumerate(others, start=1):
        y = at.add("Add", y, other, name="out" if i == len(others) else f"sum{i}")
    return y


def _concat(at: Place, net: layers.Concat, x: str) -> str:
    return at.add("Concat", *_parallel(at, net, x), axis=1)


def _conv(at: Place, layer: layers.Conv, x: str) -> str:
    V = at.constant("V", at.params["V"].transpose(3, 2, 0, 1))
    p, stride = layer.hyper["padding"], layer.stride
    return at.add("Conv", x, V, kernel_shape=[layer.k] * 2, strides=[stride] * 2, pads=[p] * 4, group=layer.groups)


def _batch_norm(at: Place, layer: layers.BatchNorm, x: str) -> str:
    numbers = {**at.params, **at.state}
    names = [at.constant(name, numbers[name]) for name in ("gamma", "beta", "mean", "var")]
    return at.add("BatchNormalization", x, *names, epsilon=float(layer.eps))


def _bias(at: Place, layer: layers.Bias, x: str) -> str:
    b = at.params["b"]
    return at.add("Add", x, at.constant("b", b.reshape(-1, *[1] * (len(at.shape) - 1))))


def _relu(at: Place, layer: layers.ReLU, x: str) -> str:
    return at.add("Relu", x)


def _nothing(at: Place, layer: layers.Dropout, x: str) -> str:
    return x


def _global_average_pool(at: Place, layer: layers.GlobalAveragePool, x: str) -> str:
    return at.add("Flatten", at.add("GlobalAveragePool", x, name="mean"), axis=1)


def _linear(at: Place, layer: layers.Linear, x: str) -> str:
    return _fully_connected(at, x, "W", "b", name="out")


def _fully_connected(at: Place, x: str, W: str, b: str, *, name: str) -> str:
    names = [at.constant(param, at.params[param]) for param in (W, b) if param in at.params]
    return at.add("Gemm", x, *names, name=name, transB=1)


def _pool(at: Place, layer: layers.Pool, x: str) -> str:
    k, p = layer.k, layer.padding
    stride = k if layer.stride is None else layer.stride
    sizes = zip(at.shape[:2], layer.output_shape(at.shape)[:2], strict=True)
    ends = [max(p, (windows - 1) * stride + k - size - p) for size, windows in sizes]  # more than p only with ceil
    window: dict[str, Any] = {"kernel_shape": [k, k], "strides": [stride, stride], "pads": [p, p, *ends]}
    if layer.kind == "max":
        return at.add("MaxPool", x, **window)
    return at.add("AveragePool", x, **window, count_include_pad=1)


def _flatten(at: Place, layer: layers.Flatten, x: str) -> str:
    return at.add("Flatten", at.add("Transpose", x, name="channels_last", perm=[0, 2, 3, 1]), axis=1)


def _channel_shuffle(at: Place, layer: layers.ChannelShuffle, x: str) -> str:
    H, W, C = at.shape
    x = at.add("Reshape", x, at.constant("grouped", [0, layer.groups, C // layer.groups, H, W]), name="groups")
    x = at.add("Transpose", x, name="shuffled", perm=[0, 2, 1, 3, 4])
    return at.add("Reshape", x, at.constant("shape", [0, C, H, W]))


def _se(at: Place, layer: layers.SE, x: str) -> str:
    """Add Eqs. (2) to (4), or those of a variant; z, h and s are the paper's symbols."""
    gate, squeeze = (layer.gate, layer.squeeze) if isinstance(layer, layers.SEVariant) else ("sigmoid", "avg")
    z = at.add("Flatten", at.add(SQUEEZES[squeeze], x, name="squeezed"), name="z", axis=1)
    h = at.add("Relu", _fully_connected(at, z, "W1", "b1", name="a1"), name="h")
    s = at.add(GATES[gate], _fully_connected(at, h, "W2", "b2", name="a2"), name="s")
    at.graph.gates[at.path] = s
    return at.add("Mul", x, at.add("Unsqueeze", s, at.constant("pixels", [2, 3]), name="of_maps"))


def _no_squeeze(at: Place, layer: layers.NoSqueeze, x: str) -> str:
    """Add the block without a squeeze, whose fully connected layers are 1x1 convolutions."""

    def pixelwise(u: str, W: str, b: str, name: str) -> str:
        filters = at.constant(W, at.params[W][:, :, None, None])
        biases = [at.constant(b, at.params[b])] if b in at.params else []
        return at.add("Conv", u, filters, *biases, name=name, kernel_shape=[1, 1])

    h = at.add("Relu", pixelwise(x, "W1", "b1", "a1"), name="h")
    return at.add("Mul", x, at.add(GATES[layer.gate], pixelwise(h, "W2", "b2", "a2"), name="s"))


CONVERTERS: dict[type[Layer], Converter] = {
    layers.Serial: _serial,
    layers.Sum: _sum,
    layers.Concat: _concat,
    layers.Conv: _conv,
    layers.BatchNorm: _batch_norm,
    layers.Bias: _bias,
    layers.ReLU: _relu,
    layers.Dropout: _nothing,
    layers.GlobalAveragePool: _global_average_pool,
    layers.Linear: _linear,
    layers.Pool: _pool,
    layers.Flatten: _flatten,
    layers.ChannelShuffle: _channel_shuffle,
    layers.SE: _se,
    layers.SEVariant: _se,
    layers.NoSqueeze: _no_squeeze,
}
