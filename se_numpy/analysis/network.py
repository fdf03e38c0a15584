"""A trained network to look into: from a run's folder, its SE blocks by name, copies with other layers in their places.

A network is a value, so looking into one needs no hook: a copy with another layer in one place is another network, and
the layers' own functions run it. The copies here share all numbers with the network they come from.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from se_numpy.data import Dataset
from se_numpy.layers import SE, Combinator, Layer, walk
from se_numpy.train import Trained
from se_numpy.tree import Tree


class Network(Trained):
    """A trained network whose SE blocks are asked for by name."""

    @property
    def blocks(self) -> dict[str, str]:
        """Each SE block's dotted name and a short one for people, in the order of the forward pass."""
        return short_names([name for name, layer, _ in walk(self.net, self.shape) if isinstance(layer, SE)])

    @property
    def why_no_gates(self) -> str:
        """For a network without ``blocks``: what it is, why it has none, and which would have them."""
        model = self.config["model"]
        if self.config.get("squeeze") == "none":
            return f"{model} without squeeze, whose gates differ from pixel to pixel; expected one with a squeeze"
        return (f"{model}, which has no SE blocks and so no gates; "
                f"expected the run of a network such as se_{model}")  # fmt: skip


def load(run: str | Path) -> Network:
    """The network of a run: its folder, whose best.npz is taken, or a checkpoint.  Raises as ``Trained.load``."""
    path = Path(run)
    if path.is_dir():
        path = path / "best.npz"
        if not path.is_file():
            raise ValueError(f"{run} holds no best.npz; expected the folder of a run, or a checkpoint (a .npz file)")
    return Network.load(path)


def load_gated(run: str | Path) -> Network:
    """The same for whoever looks at gates.  Raises ValueError for a network without SE blocks, and as ``load``."""
    network = load(run)
    if not network.blocks:
        raise ValueError(f"{run} holds a {network.why_no_gates}")
    return network


def check_fit(network: Trained, dataset: Dataset) -> None:
    """Raises ValueError where the network knows other classes, or images of another size, than the data set has."""
    if network.shape != tuple(dataset.image_shape) or network.classes != tuple(dataset.classes):
        raise ValueError(
            f"the network knows {_set(network.classes, network.shape)}, the data set shows "
            f"{_set(dataset.classes, dataset.image_shape)}; expected the same: give --data the set it was trained on"
        )


def _set(classes: tuple[str, ...], shape: tuple[int, ...]) -> str:
    return f"{len(classes)} classes ({', '.join(classes[:3])}, …) of images {'x'.join(map(str, shape))}"


def short_names(names: list[str]) -> dict[str, str]:
    """Names without the end that all share: "stage1.block1" for "stage1.block1.unit.branch.se1", if all end in that."""
    parts = [name.split(".") for name in names]
    shared = 0
    while len(names) > 1 and len({tuple(p[-shared - 1 :]) for p in parts}) == 1:
        shared += 1
    return {name: ".".join(p[: len(p) - shared]) for name, p in zip(names, parts, strict=True)}


def with_layers(layer: Layer, places: Mapping[str, Layer]) -> Any:
    """A copy of a network with other layers in these places: dotted names to layers.  KeyError for no such place."""
    missing = dict(places)

    def copy(layer: Layer, name: str) -> Layer:
        if name in missing:
            return missing.pop(name)
        if not isinstance(layer, Combinator):
            return layer
        inside = f"{name}." if name else ""
        return replace(layer, parts=tuple((part, copy(child, inside + part)) for part, child in layer.parts))

    copied = copy(layer, "")
    if missing:
        raise KeyError(f"the network has no layer {', '.join(missing)}")
    return copied


def with_numbers(params: Tree, places: Mapping[str, Tree]) -> Tree:
    """A copy of a tree with other subtrees in these places; whatever is not replaced is shared, not copied."""
    params = dict(params)
    inner: dict[str, dict[str, Tree]] = {}
    for place, subtree in places.items():
        first, _, rest = place.partition(".")
        if rest:
            inner.setdefault(first, {})[rest] = subtree
        else:
            params[first] = subtree
    for first, rest_of in inner.items():
        params[first] = with_numbers(params.get(first, {}), rest_of)
    return params
