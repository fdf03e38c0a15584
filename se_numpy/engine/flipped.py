"""The filters of a whole network, flipped and transposed for the backward pass by one launch.

At stride 1, dX is a convolution of dU with the filters flipped in both directions and with input and output channels
exchanged. For filters of one pixel, these are the right ones at any stride. On a GPU one launch for each layer would
cost more than the copy of its few thousand numbers.
"""

from collections.abc import Iterator

import numpy as np

from se_numpy.arrays import array_module
from se_numpy.engine import cuda
from se_numpy.engine.conv_bn import FLIPPED, FusedConvBN
from se_numpy.engine.node import Node
from se_numpy.engine.nodes import FusedSerial, KeptMaps, ParallelNodes
from se_numpy.tree import Tree

Path = tuple[str, ...]


def convolutions(node: Node, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of the fused convolutions whose backward pass needs flipped filters."""
    if isinstance(node, KeptMaps):
        yield from convolutions(node.node, path)
    elif isinstance(node, FusedConvBN):
        if node.conv.groups == 1 and (node.conv.stride == 1 or node.conv.k == 1):
            yield *path, node.parts[0][0]
    elif isinstance(node, (FusedSerial, ParallelNodes)):
        for name, part in node.nodes:
            yield from convolutions(part, path if part.spans else (*path, name))


def with_flipped_filters(params: Tree, paths: tuple[Path, ...]) -> Tree:
    """Return the parameters with flipped filters (1, kh·kw·C, c) beside V (kh, kw, c, C) if kernels can make them."""
    found = [_at(params, path)["V"] for path in paths]
    if not found or not cuda.has_kernels(array_module(*found), *found):
        return params
    views = [V[::-1, ::-1].transpose(0, 1, 3, 2) for V in found]
    vector = cuda.gather(views, array_module(*found).empty(sum(V.size for V in found), found[0].dtype))
    ends = np.cumsum([0, *(V.size for V in found)]).tolist()
    for path, V, start, stop in zip(paths, found, ends, ends[1:], strict=False):
        matrix = vector[start:stop].reshape(1, -1, V.shape[2])
        params = _with(params, path, matrix)
    return params


def _at(tree: Tree, path: Path) -> Tree:
    for name in path:
        tree = tree[name]
    return tree


def _with(tree: Tree, path: Path, matrix: object) -> Tree:
    """Return the tree with one more leaf; the parts on the way to it are new dicts."""
    if not path:
        return {**tree, FLIPPED: matrix}
    return {**tree, path[0]: _with(tree[path[0]], path[1:], matrix)}
