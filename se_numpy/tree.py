"""Trees: nested dicts of arrays, the one shape of parameters, gradients and running statistics.

A tree may live in one flat vector, its leaves being views into it; then an optimiser's step is a few operations on that
vector, however many tensors there are.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

from se_numpy.arrays import Array, array_module

Tree = dict[str, Any]  # str -> array, or another Tree


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """("stage1.block1.conv1.V", array) of each leaf, in the order of the dicts."""
    for name, value in tree.items():
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(value, dict):
            yield from leaves(value, path)
        else:
            yield path, value


def map_leaves(f: Callable[[Any], Any], tree: Tree) -> Tree:
    """The same tree with f(leaf) for each leaf."""
    return {k: map_leaves(f, v) if isinstance(v, dict) else f(v) for k, v in tree.items()}


def from_leaves(items: dict[str, Any]) -> Tree:
    """The tree whose ``leaves`` are these: dotted names to values."""
    tree: Tree = {}
    for path, value in items.items():
        *parents, name = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree


def differences(found: Tree, expected: Tree) -> list[str]:
    """What keeps ``found`` from standing in for ``expected``, in words: leaves missing, left over, of another shape."""
    have, want = dict(leaves(found)), dict(leaves(expected))
    missing = [f"{name} is missing" for name in want if name not in have]
    surplus = [f"{name} is left over" for name in have if name not in want]
    others = [
        f"{name} has shape {have[name].shape}, expected {want[name].shape}"
        for name in want if name in have and have[name].shape != want[name].shape
    ]  # fmt: skip
    return missing + surplus + others


def in_order_of(found: Tree, like: Tree) -> Tree:
    """Return ``found`` with its leaves in the order of ``like``, so that both flatten alike.

    Raises ValueError where they differ in more than the order.
    """
    names, have = [name for name, _ in leaves(like)], dict(leaves(found))
    if list(have) == names:
        return found
    if wrong := differences(found, like):
        raise ValueError(f"a layer returned other arrays than its parameters or statistics: {'; '.join(wrong)}")
    return from_leaves({name: have[name] for name in names})


def size(tree: Tree) -> int:
    """How many numbers the leaves hold together."""
    return sum(prod(leaf.shape) for _, leaf in leaves(tree))


def flatten(tree: Tree, out: Array | None = None) -> Array:
    """All leaves one after the other in one vector (size,), written to ``out`` if given.

    Raises ValueError for a tree without leaves.
    """
    parts = [leaf.reshape(-1) for _, leaf in leaves(tree)]
    if not parts:
        raise ValueError("the tree has no leaves; expected at least one array")
    return array_module(*parts).concatenate(parts, out=out)


def unflatten(vector: Array, like: Tree) -> Tree:
    """A tree shaped as ``like`` whose leaves are views into the vector.  Raises ValueError if the sizes differ."""
    if vector.shape != (size(like),):
        raise ValueError(f"vector has shape {vector.shape}; expected ({size(like)},), the numbers of the tree")
    position = 0

    def view(leaf: Any) -> Array:
        nonlocal position
        part = vector[position : position + prod(leaf.shape)]
        position += prod(leaf.shape)
        return part.reshape(leaf.shape)

    return map_leaves(view, like)
