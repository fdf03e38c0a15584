"""A trained network for analysis: load it from a run, list its SE blocks by name, and replace layers in a copy.

A network is a value, so inspecting one needs no hooks: a copy with a different layer in one place is another network,
and the layers' own functions run it. The copies share all parameters with the original network.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from se_numpy.arg_types import user_path
from se_numpy.data import Dataset
from se_numpy.data.dataset import check_dataset
from se_numpy.layers import SE, Combinator, Layer, walk
from se_numpy.train import Trained
from se_numpy.tree import Tree


class Network(Trained):
    """A trained network that lists its SE blocks by name."""

    @property
    def blocks(self) -> dict[str, str]:
        """The dotted name and the short name of each SE block, in the order of the forward pass."""
        return short_names([name for name, layer, _ in walk(self.net, self.shape) if isinstance(layer, SE)])

    @property
    def why_no_gates(self) -> str:
        """The description of a network without ``blocks``: its name, the reason, and the kind of network expected."""
        model = self.config["model"]
        if self.config.get("squeeze") == "none":
            return f"{model} without squeeze, whose gates differ from pixel to pixel; expected a network with a squeeze"
        return (f"{model}, which has no SE blocks and therefore no gates; "
                f"expected the run of a network such as se_{model}")  # fmt: skip


def load(run: str | Path) -> Network:
    """Load the network of a run from the run's folder, which holds best.npz, or from a checkpoint.

    Raises
    ------
    ValueError
        If the folder holds no best.npz, or if ``Trained.load`` raises it.
    """
    path = user_path(run)
    if path.is_dir():
        path = path / "best.npz"
        if not path.is_file():
            raise ValueError(f"{run} contains no best.npz; expected the folder of a run or a checkpoint (.npz)")
    return Network.load(path)


def load_gated(run: str | Path) -> Network:
    """Load the network of a run, as ``load`` does, and require that it has gates.

    Raises
    ------
    ValueError
        If the network has no SE blocks, or if ``load`` raises it.
    """
    network = load(run)
    if not network.blocks:
        raise ValueError(f"{run} holds {network.why_no_gates}")
    return network


def check_fit(network: Trained, dataset: Dataset) -> None:
    """Check that the network and the data set have the same classes and image shape.

    Raises
    ------
    ValueError
        If they differ.
    TypeError
        If ``dataset`` is not a Dataset.
    """
    check_dataset(dataset)
    classes = network.task.class_names(dataset)
    if network.shape != tuple(dataset.image_shape) or network.classes != classes:
        raise ValueError(
            f"the network expects {_set(network.classes, network.shape)}; the data set has "
            f"{_set(classes, dataset.image_shape)}; give --data the data set the network was trained on"
        )


def _set(classes: tuple[str, ...], shape: tuple[int, ...]) -> str:
    return f"{'x'.join(map(str, shape))} images of {len(classes)} classes ({', '.join(classes[:3])}, …)"


def short_names(names: list[str]) -> dict[str, str]:
    """Map dotted names to names without their common ending.

    For example "stage1.block1.unit.branch.se1" becomes "stage1.block1" if all names end in ".unit.branch.se1".
    """
    parts = [name.split(".") for name in names]
    shared = 0
    while len(names) > 1 and len({tuple(p[-shared - 1 :]) for p in parts}) == 1:
        shared += 1
    return {name: ".".join(p[: len(p) - shared]) for name, p in zip(names, parts, strict=True)}


def with_layers(layer: Layer, places: Mapping[str, Layer]) -> Any:
    """Return a copy of a network in which the layers at these dotted names are replaced.

    Raises
    ------
    KeyError
        If the network has no layer with a given name.
    """
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
    """Return a copy of a tree in which the subtrees at these dotted names are replaced; the other leaves are shared."""
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
