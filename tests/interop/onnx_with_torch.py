"""Run a graph of ``onnx_graph`` with PyTorch's functions: a second opinion that needs no ONNX library."""

import torch
from torch.nn import functional

torch.set_num_threads(1)  # the networks are small


def run(graph, images):
    """Return all tensors of a graph by name, given its input as a NumPy array."""
    tensors = {name: torch.from_numpy(array) for name, array in graph.constants.items()}
    tensors["images"] = torch.from_numpy(images)
    for node in graph.nodes:
        assert node.output not in tensors, f"{node.output} is computed twice"
        tensors[node.output] = OPERATORS[node.op](*(tensors[name] for name in node.inputs), **node.attributes)
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _padded(x, pads, value=0.0):
    top, left, bottom, right = pads
    return functional.pad(x, (left, right, top, bottom), value=value)


def _conv(x, V, b=None, *, kernel_shape, strides=(1, 1), pads=(0, 0, 0, 0), group=1):
    assert list(V.shape[2:]) == kernel_shape
    return functional.conv2d(_padded(x, pads), V, b, stride=strides, groups=group)


def _max_pool(x, *, kernel_shape, strides, pads):
    return functional.max_pool2d(_padded(x, pads, -torch.inf), kernel_shape, strides)


def _average_pool(x, *, kernel_shape, strides, pads, count_include_pad):
    assert count_include_pad == 1
    return functional.avg_pool2d(_padded(x, pads), kernel_shape, strides)


def _gemm(x, W, b=0.0, *, transB):
    assert transB == 1
    return x @ W.T + b


def _reshape(x, shape):
    return x.reshape([size if size else x.shape[i] for i, size in enumerate(shape.tolist())])


OPERATORS = {
    "Add": torch.add,
    "AveragePool": _average_pool,
    "BatchNormalization": lambda x, gamma, beta, mean, var, *, epsilon: functional.batch_norm(
        x, mean, var, gamma, beta, eps=epsilon
    ),
    "Cast": lambda x, *, to: x.float() if to == 1 else None,
    "Concat": lambda *x, axis: torch.cat(x, axis),
    "Conv": _conv,
    "Flatten": lambda x, *, axis: x.flatten(axis),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    "GlobalMaxPool": lambda x: x.amax((2, 3), keepdim=True),
    "Identity": lambda x: x,
    "MaxPool": _max_pool,
    "Mul": torch.mul,
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Transpose": lambda x, *, perm: x.permute(perm),
    "Unsqueeze": lambda x, axes: x.reshape(*x.shape, *[1] * len(axes)),
}
