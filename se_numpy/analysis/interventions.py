"""Interventions on gates: replace the gates with others and measure how much accuracy that costs.

    one               every gate is 1: the network without its excitation
    mean              the mean gate over all images: a constant, which γ and β before the block could absorb
    class mean        the mean gate over the images of the true class, which reveals something about the label
    shuffled          the gates of another image, which is the same in every block
    within class      the gates of another image of the same class

If the images have a cue (see ``group_by_cue``), there are also "cue mean" and "within cue". Each intervention runs a
copy of the network in which ``GivenGates`` replaces the SE block.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from math import sqrt

import numpy as np

from se_numpy import engine, se
from se_numpy.analysis.gates import Groups, Progress, Recorded, group_means
from se_numpy.analysis.network import Network, with_layers, with_numbers
from se_numpy.arrays import Array, array_module
from se_numpy.data.batches import slices
from se_numpy.layers import Layer, Parameter, Result, Rng, Shape, walk
from se_numpy.tree import Tree

ALL = "all blocks"
BATCH = 125


@dataclass(frozen=True)
class GivenGates(Layer):
    """x̃_c = s_c u_c with given gates: the parameter s is (N, C), or (C,) for the same gates on all images."""

    def parameters(self, shape: Shape) -> Tree:
        return {"s": Parameter(shape[-1:], mean=1.0)}

    def forward(self, params: Tree, state: Tree, X: Array, *, train: bool = False, rng: Rng = None) -> Result:
        return engine.scale(X, self._gates(params, X)), X

    def backward(self, params: Tree, cache: Array, dY: Array) -> tuple[Array, Tree]:
        dU, ds = se.scale_backward(dY, cache, self._gates(params, cache))
        return dU, {"s": ds if params["s"].ndim == 2 else ds.sum(0)}

    def _gates(self, params: Tree, U: Array) -> Array:
        s = params["s"]
        return s if s.ndim == 2 else array_module(s).broadcast_to(s, (len(U), len(s)))


@dataclass(frozen=True)
class Outcome:
    """The result of one intervention: the answers, the accuracy, and the cost with its 95 % interval."""

    block: str
    kind: str
    accuracy: float
    cost: float
    low: float
    high: float
    answers: np.ndarray = field(repr=False)


def kinds(groupings: Sequence[Groups]) -> list[str]:
    """Return the names of the interventions, in order."""
    return ["one", "mean", *(f"{g.what} mean" for g in groupings), "shuffled", *(f"within {g.what}" for g in groupings)]


def donors(of: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each image, draw another image from its group; an image that is alone in its group gets itself."""
    donor = np.empty(len(of), int)
    for k in np.unique(of):
        members = rng.permutation(np.flatnonzero(of == k))
        donor[members] = np.roll(members, 1)  # a cyclic shift has no fixed points
    return donor


def all_donors(groupings: Sequence[Groups], n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the donor of each of n images for each shuffling intervention."""
    rng = np.random.default_rng(seed)
    return {
        "shuffled": donors(np.zeros(n, int), rng),
        **{f"within {g.what}": donors(g.of, rng) for g in groupings},
    }


def replacements(s: np.ndarray, groupings: Sequence[Groups], donor_of: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the gates (N, C) with which each intervention replaces s (N, C)."""
    s_mean = np.broadcast_to(s.mean(0), s.shape)
    means = {f"{g.what} mean": group_means(s, g)[g.of].astype(s.dtype) for g in groupings}
    return {"one": np.ones_like(s), "mean": s_mean, **means, **{kind: s[donor] for kind, donor in donor_of.items()}}


def intervene(
    network: Network, images: np.ndarray, labels: np.ndarray, recorded: Recorded, groupings: Sequence[Groups],
    donor_of: dict[str, np.ndarray], progress: Progress = lambda n: None,
) -> Iterator[Outcome]:  # fmt: skip
    """Run each intervention in each block, then in all blocks at once, on the recorded images (N, H, W, C) uint8.

    ``donor_of`` is the result of ``all_donors``. ``progress`` is called with the size of each batch.
    """
    before = recorded.answers == labels
    for block in [*recorded.gates, ALL]:
        names = list(recorded.gates) if block == ALL else [block]
        gates = {name: replacements(recorded.gates[name], groupings, donor_of) for name in names}
        for kind in kinds(groupings):
            answers = run_with(network, images, {name: gates[name][kind] for name in names}, progress)
            after = answers == labels
            yield Outcome(block, kind, float(after.mean()), *cost(before, after), answers)


def run_with(
    network: Network, images: np.ndarray, gates: dict[str, np.ndarray], progress: Progress = lambda n: None
) -> np.ndarray:
    """Return the predicted classes (N,) for images (N, H, W, C) uint8 with the given gates.

    ``gates`` maps full names of blocks, as in ``network.blocks``, to gates (N, C) of any real dtype.

    Raises
    ------
    ValueError
        If a name is not that of an SE block of the network, or if the gates do not have the block's shape.
    """
    return np.concatenate([logits.argmax(1) for logits in outputs_with(network, images, gates, progress)])


def outputs_with(
    network: Network, images: np.ndarray, gates: dict[str, np.ndarray], progress: Progress = lambda n: None
) -> Iterator[np.ndarray]:
    """Yield the outputs of the network with the given gates, a batch at a time.

    Raises
    ------
    ValueError
        As ``run_with`` does.
    """
    gates = {name: _checked_gates(network, len(images), name, np.asarray(s)) for name, s in gates.items()}
    net = with_layers(network.net, dict.fromkeys(gates, GivenGates()))
    bare = with_numbers(network.params, {name: {} for name in gates})
    folded = engine.compile(net).predictor(bare, network.state)
    for part in slices(len(images), network.shape, BATCH):
        X = network.normalise(images[part])
        numbers = {name: {"s": np.ascontiguousarray(s[part], X.dtype)} for name, s in gates.items()}
        yield replace(folded, params=with_numbers(folded.params, numbers))(X)
        progress(part.stop - part.start)


def _checked_gates(network: Network, images: int, name: str, s: np.ndarray) -> np.ndarray:
    """Return the gates s if their shape is (N, C) for the block of this name."""
    blocks = network.blocks
    if name not in blocks:
        # A short name is refused: it is also the name of the unit around the block, which would be replaced silently.
        full = {short: block for block, short in blocks.items()} | {block: block for block in blocks}
        near = get_close_matches(name, full, n=1, cutoff=0)
        hint = f", such as {full[near[0]]!r}" if near else ""
        raise ValueError(f"the network has no SE block {name!r}; expected a name from network.blocks{hint}")
    C = next(given[-1] for place, _, given in walk(network.net, network.shape) if place == name)
    if s.shape != (images, C) or s.dtype.kind not in "fiub":
        raise ValueError(f"the gates of {name} have shape {s.shape}, dtype {s.dtype}; "
                         f"expected real numbers of shape (N, C) = ({images}, {C})")  # fmt: skip
    return s


def cost(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """Return the loss of accuracy and its 95 % interval; ``before`` and ``after`` (N,) mark the correct answers.

    The answers are paired by image, so only those that changed count. Half an image is added to each of the four cells,
    so that the width of the interval is not 0 even if no answer changed.

    References
    ----------
    Agresti and Min (2005), Simple improved confidence intervals for comparing matched proportions.
    """
    n, lost, won = len(before), int((before & ~after).sum()), int((~before & after).sum())
    centre = (lost - won) / (n + 2)
    half = 1.96 * sqrt((lost + won + 1) - (lost - won) ** 2 / (n + 2)) / (n + 2)
    return (lost - won) / n, max(-1.0, centre - half), min(1.0, centre + half)
