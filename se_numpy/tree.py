"""Trees: nested dicts of arrays that hold parameters, gradients and running statistics.

The leaves of a tree may be views into one flat vector. An optimiser's step is then a few operations on that vector,
however many arrays the tree has. Values assigned to a part of such a tree are copied into the vector.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any, NoReturn, Self

from se_numpy.arrays import Array, array_module, check_plain, moved_to

Tree = dict[str, Any]  # str -> array, or another Tree


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over (dotted name, array) of all leaves, such as ("stage1.block1.conv1.V", V), in the dicts' order."""
    found: list[tuple[str, Any]] = []
    _collect(tree, f"{prefix}." if prefix else "", found)
    return iter(found)


def _collect(tree: Tree, prefix: str, found: list[tuple[str, Any]]) -> None:
    for name, value in tree.items():
        if isinstance(value, dict):
            _collect(value, f"{prefix}{name}.", found)
        else:
            found.append((prefix + name, value))


def map_leaves(f: Callable[[Any], Any], tree: Tree) -> Tree:
    """Return a tree of the same structure with f(leaf) in place of each leaf."""
    return {k: map_leaves(f, v) if isinstance(v, dict) else f(v) for k, v in tree.items()}


def from_leaves(items: dict[str, Any]) -> Tree:
    """Return the tree with these leaves, given as dotted names and values: the inverse of ``leaves``."""
    tree: Tree = {}
    for path, value in items.items():
        *parents, name = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree


def differences(found: Tree, expected: Tree) -> list[str]:
    """Describe how the leaves of ``found`` differ from ``expected``: missing, unexpected, or of a different shape."""
    have, want = dict(leaves(found)), dict(leaves(expected))
    missing = [f"{name} is missing" for name in want if name not in have]
    extra = [f"{name} is unexpected" for name in have if name not in want]
    others = [
        f"{name} has shape {_shape(have[name])}, expected {_shape(want[name])}"
        for name in want if name in have and _shape(have[name]) != _shape(want[name])
    ]  # fmt: skip
    return missing + extra + others


def _shape(leaf: Any) -> tuple[int, ...]:
    return tuple(getattr(leaf, "shape", ()))


def assign(into: Tree, found: Tree) -> None:
    """Copy the values of ``found`` into the arrays of ``into``, matched by name, from the host or a device.

    Nothing is written if an error is raised.

    Raises
    ------
    ValueError
        If names or shapes differ.
    TypeError
        If a leaf of ``found`` is not an array of real numbers.
    """
    if wrong := differences(found, into):
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"the tree does not fit: {'; '.join(wrong[:3])}{more}")
    have, copies = dict(leaves(found)), []
    for name, leaf in leaves(into):
        value = have[name]
        check_plain(name, value)
        if getattr(getattr(value, "dtype", None), "kind", "?") not in "fiu":
            kind = getattr(value, "dtype", type(value).__name__)
            raise TypeError(f"{name} is {kind}; expected an array of real numbers of shape {_shape(leaf)}")
        copies.append(moved_to(leaf, value).astype(leaf.dtype))  # copied first: it may be a view into ``into``
    for (_, leaf), value in zip(leaves(into), copies, strict=True):
        leaf[...] = value


class Views(dict[str, Any]):
    """A tree whose leaves are views into one vector.  Values assigned to a part are copied in, as by ``assign``.

    A copy or a pickle of it is a plain dict with independent arrays.
    """

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self:
            raise ValueError(f"the tree has no part {name!r}; expected one of {', '.join(self)}")
        assign({name: self[name]}, {name: value})

    def update(self, *args: Any, **named: Any) -> None:
        found = dict(*args, **named)
        for name in found:
            self[name] = found[name]

    # dict's | may widen the types of keys and values; |= on views cannot.
    def __ior__(self, other: Any) -> Self:  # type: ignore[override, misc]
        self.update(other)
        return self

    def __reduce__(self) -> tuple[type, tuple[Tree]]:
        return dict, (dict(self),)

    def _refuse(self, *args: Any, **named: Any) -> NoReturn:
        raise TypeError(
            "the parts of this tree are views into one vector; they can be assigned to, but not added or removed"
        )

    __delitem__ = pop = popitem = clear = setdefault = _refuse


def in_order_of(found: Tree, like: Tree) -> Tree:
    """Return ``found`` with its leaves in the order of ``like``, so that both flatten in the same order.

    Raises
    ------
    ValueError
        If the two differ in more than the order of their leaves.
    """
    have = dict(leaves(found))
    if list(have) == [name for name, _ in leaves(like)]:
        return found
    if wrong := differences(found, like):
        raise ValueError(f"a layer returned arrays that do not match its parameters or statistics: {'; '.join(wrong)}")
    return from_leaves({name: have[name] for name, _ in leaves(like)})


def size(tree: Tree) -> int:
    """Return the total number of elements in the leaves."""
    return sum(prod(leaf.shape) for _, leaf in leaves(tree))


def flatten(tree: Tree, out: Array | None = None) -> Array:
    """Concatenate all leaves into one vector (size,), written to ``out`` if given.

    Raises
    ------
    ValueError
        If the tree has no leaves.
    """
    parts = [leaf.reshape(-1) for _, leaf in leaves(tree)]
    if not parts:
        raise ValueError("the tree has no leaves; expected at least one array")
    return array_module(*parts).concatenate(parts, out=out)


def unflatten(vector: Array, like: Tree) -> Tree:
    """Return a tree with the structure and shapes of ``like`` whose leaves are views into the vector (``Views``).

    Raises
    ------
    ValueError
        If the sizes differ.
    """
    if vector.shape != (size(like),):
        raise ValueError(f"vector has shape {vector.shape}; expected ({size(like)},), the size of the tree")
    position = 0

    def view(leaf: Any) -> Array:
        nonlocal position
        part = vector[position : position + prod(leaf.shape)]
        position += prod(leaf.shape)
        return part.reshape(leaf.shape)

    return _as_views(map_leaves(view, like))


def _as_views(tree: Tree) -> Views:
    return Views((name, _as_views(value) if isinstance(value, dict) else value) for name, value in tree.items())
